#include "run/suite_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/namespaces.h"
#include "support/clock.h"
#include "support/files.h"
#include "support/json.h"
#include "support/memory.h"

enum {
    GRACE_SECONDS = 5,    /* the harness ends a test at its limit and says why; we come after it */
    START_SECONDS = 60,   /* for a suite to start a program on a machine that has no time for it */
    CLEANUP_SECONDS = 90, /* the sweep's own limits: processes 10 s, files 60 s */
    EVENT_MAX_BYTES = 1 << 20,
};

static void make_policy(struct policy *policy, const struct slot *slot, const struct grading *g,
                        const char *filter, const char *tools)
{
    const struct manifest_limits *l = &g->manifest.limits;
    bool fifos = !(g->manifest.excludes & EXCLUDE_NAMED_PIPES);
    policy_init(policy);
    policy->own_ids = slot->own_ids;
    policy->uid = slot->uid;
    policy->gid = slot->gid;
    policy->directory = xstrdup(slot->directory);
    policy->excludes = g->manifest.excludes;
    policy->filter = filter ? xstrdup(filter) : NULL;
    policy->cpu_seconds = l->cpu_seconds;
    policy->descriptors = l->descriptors;
    policy->processes = l->processes;
    policy->memory_mb = l->memory_mb;
    policy->file_mb = l->file_mb;
    policy_allow_runtime(policy);
    policy_allow(policy, g->build.directory, PATH_READ | PATH_EXECUTE);
    policy_allow(policy, tools, PATH_READ | PATH_EXECUTE);
    policy_allow(policy, slot->directory,
                 PATH_READ | PATH_EXECUTE | PATH_WRITE | (fifos ? PATH_FIFO : 0u));
    if (!(g->manifest.excludes & EXCLUDE_SHARED_MEMORY))
        policy_allow(policy, "/dev/shm", PATH_READ | PATH_WRITE);
}

int suite_process_open(struct suite_process *p, const struct grading *g, int index, bool namespaces,
                       const char *filter, const char *tools, struct error *err)
{
    *p = (struct suite_process){.control = -1, .events = -1, .pidfd = -1, .pending = STRBUF_INIT};
    if (slot_open(&p->slot, g->work, index, err))
        return -1;
    p->slot.namespaces = namespaces;
    make_policy(&p->policy, &p->slot, g, filter, tools);
    p->job_path = path_join(p->slot.private, "job.json");
    p->board_path = path_join(p->slot.private, "board");
    p->log_path = path_join(p->slot.private, "suite.log");
    p->board = board_map(p->board_path, true, err);
    return p->board ? 0 : -1;
}

void suite_process_close(struct suite_process *p)
{
    if (p->keeper) {
        suite_process_kill(p);
        suite_process_reap(p, NULL);
    }
    board_unmap(p->board);
    policy_release(&p->policy);
    if (p->slot.directory)
        slot_close(&p->slot);
    strbuf_release(&p->pending);
    free(p->runs);
    free(p->job_path);
    free(p->board_path);
    free(p->log_path);
    *p = (struct suite_process){.control = -1, .events = -1, .pidfd = -1, .pending = STRBUF_INIT};
}

static int write_job(struct suite_process *p, const struct grading *g, const char *tools,
                     const char *layers_off, struct error *err)
{
    struct job job = {.slot = p->slot,
                      .policy = p->policy,
                      .programs = g->build.directory,
                      .tools = tools,
                      .board = p->board_path,
                      .layers_off = layers_off,
                      .seal_key = g->seal_key,
                      .test_count = p->run_count};
    job.tests = xcalloc(p->run_count, sizeof(*job.tests));
    for (size_t i = 0; i < p->run_count; i++) {
        job.tests[i] = (struct job_test){.id = p->runs[i]->test->id,
                                         .seed = p->runs[i]->seed,
                                         .seconds = p->runs[i]->test->seconds};
    }
    int result = job_write(&job, p->job_path, err);
    free(job.tests);
    return result;
}

/* In the child that becomes the suite. */
static _Noreturn void exec_suite(const struct suite_process *p, const char *suite, int events,
                                 pid_t keeper)
{
    char *job = xasprintf("IPCLAB_JOB=%s", p->job_path);
    char *argv[] = {(char *)suite, NULL};
    char *env[] = {job, "PATH=/usr/bin:/bin", "LC_ALL=C", "HOME=/", NULL};
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != (p->slot.namespaces ? 1 : keeper))
        _exit(3);
    int null = open("/dev/null", O_RDONLY);
    int log = open(p->log_path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
    /* Above 3 first, so that none of the moves below overwrites another's source. */
    events = fcntl(events, F_DUPFD, 10);
    null = fcntl(null, F_DUPFD, 10);
    log = fcntl(log, F_DUPFD, 10);
    if (dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0 ||
        dup2(events, SUITE_EVENTS_FD) < 0)
        _exit(3);
    close_range(SUITE_EVENTS_FD + 1, ~0u, 0);
    execve(suite, argv, env);
    dprintf(2, "cannot start the suite '%s': %s\n", suite, strerror(errno));
    _exit(3);
}

/*
 * The keeper: starts the suite, reaps whatever comes back, ends everything when the suite has ended
 * or when the engine has closed the control pipe (told us to, or died).
 */
static _Noreturn void keep(const struct suite_process *p, const char *suite, int control,
                           int events)
{
    pid_t self = getpid();
    setsid(); /* ^C at the terminal is the engine's affair */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    pid_t runner = signals < 0 ? -1 : p->slot.namespaces ? namespaces_fork() : fork();
    if (runner == 0)
        exec_suite(p, suite, events, self);
    /* Ours must close before the suite ends, or the engine would never see the end of events. */
    int low = control < signals ? control : signals, high = control < signals ? signals : control;
    close_range(0, (unsigned)low - 1, 0);
    if (high > low + 1)
        close_range((unsigned)low + 1, (unsigned)high - 1, 0);
    close_range((unsigned)high + 1, ~0u, 0);
    bool alive = runner > 0, told = false;
    while (alive) {
        struct pollfd fds[] = {{.fd = signals, .events = POLLIN},
                               {.fd = told ? -1 : control, .events = POLLIN}};
        poll(fds, 2, 1000);
        struct signalfd_siginfo info;
        while (read(signals, &info, sizeof(info)) > 0)
            ;
        for (pid_t pid; (pid = waitpid(-1, NULL, WNOHANG)) > 0;)
            alive = alive && pid != runner;
        if (fds[1].revents && alive) {
            told = true;
            kill(runner, SIGKILL);
        }
    }
    char socket[64]; /* what a killed Criterion leaves behind */
    snprintf(socket, sizeof(socket), "/tmp/criterion_%d.sock", (int)runner); /* inside too */
    unlink(socket);
    /* First by descent: the runner's worker, which is root's, came back to us with its programs. */
    struct error err = ERROR_INIT;
    int killed = slot_kill_tree(self, NULL, &err);
    int swept = killed < 0 ? -1 : slot_sweep(&p->slot, self, NULL, NULL, &err);
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    _exit(swept ? 2 : 0);
}

int suite_process_start(struct suite_process *p, const struct grading *g, const char *suite,
                        const char *tools, const char *layers_off, struct pool *pool,
                        struct error *err)
{
    int control[2], events[2];
    free(p->runs);
    p->runs = xcalloc(pool->count + 1, sizeof(*p->runs));
    p->run_count = pool->count;
    for (size_t i = 0; i < pool->count; i++)
        p->runs[i] = pool->waiting[i];
    p->pool = pool;
    p->asked = false;
    p->ended = 0;
    p->granted = p->current = NULL;
    strbuf_reset(&p->pending);
    board_reset(p->board);
    if (write_job(p, g, tools, layers_off, err))
        return -1;
    if (pipe2(control, O_CLOEXEC))
        return error_errno(err, "cannot make a pipe to the suite's keeper");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, events)) {
        error_errno(err, "cannot make a socket to the suite");
        close(control[0]);
        close(control[1]);
        return -1;
    }
    p->keeper = fork();
    if (p->keeper == 0) {
        close(control[1]);
        keep(p, suite, control[0], events[1]);
    }
    if (p->keeper < 0)
        error_errno(err, "cannot start the suite '%s'", suite);
    close(control[0]);
    close(events[1]);
    if (p->keeper < 0) {
        p->keeper = 0;
        close(control[1]);
        close(events[0]);
        return -1;
    }
    p->pidfd = (int)syscall(SYS_pidfd_open, p->keeper, 0);
    p->since_ns = clock_ns();
    p->control = control[1];
    p->events = events[0];
    fcntl(p->events, F_SETFL, O_NONBLOCK);
    return 0;
}

static struct run *find_run(const struct suite_process *p, const char *id)
{
    for (size_t i = 0; i < p->run_count; i++) {
        if (strcmp(p->runs[i]->test->id, id) == 0)
            return p->runs[i];
    }
    return NULL;
}

static bool pool_take(struct pool *pool, const struct run *run)
{
    for (size_t i = 0; i < pool->count; i++) {
        if (pool->waiting[i] == run) {
            pool->count--;
            memmove(pool->waiting + i, pool->waiting + i + 1,
                    (pool->count - i) * sizeof(*pool->waiting));
            return true;
        }
    }
    return false;
}

static int answer(struct suite_process *p, struct run *run, struct error *err)
{
    char word = ANSWER_RUN;
    if (pool_take(p->pool, run))
        p->granted = run;
    else
        word = p->pool->count ? ANSWER_SKIP : ANSWER_END;
    p->asked = true;
    p->since_ns = clock_ns();
    /* One that has died meanwhile reads no answer: its end is heard next. */
    if (send(p->events, &word, 1, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET)
        return error_errno(err, "cannot answer the suite");
    return 0;
}

static int handle_line(struct suite_process *p, const char *line, size_t len, event_handler *handle,
                       void *context, struct error *err)
{
    cJSON *event = json_parse(line, len, "the suite's event", err);
    if (!event)
        return -1;
    const char *kind = json_string_or(event, "event", "");
    const char *id = json_string_or(event, "test", "(none)");
    bool asks = strcmp(kind, "ask") == 0;
    /* It may ask for each of its runs, and tell of the one that it was given. */
    struct run *run = p->granted && strcmp(p->granted->test->id, id) == 0 ? p->granted : NULL;
    if (asks)
        run = find_run(p, id);
    int result = 0;
    int64_t at = (int64_t)json_integer_or(event, "at_us", 0) * 1000;
    if (p->control < 0) {
        /* We have ended it: what it still says comes too late. */
    } else if (!run) {
        result =
            error_set(err, FAULT_GRADER, "the suite told of a test that it was not given: %s", id);
    } else if (asks && p->granted) {
        result = error_set(err, FAULT_GRADER, "the suite asked for '%s' before the end of '%s'", id,
                           p->granted->test->id);
    } else if (asks) {
        result = answer(p, run, err);
    } else if (strcmp(kind, "start") == 0) {
        p->current = run;
        p->since_ns = at;
        handle(context, p, run, NULL, event);
    } else {
        suite_process_take_run(p);
        p->ended_ns = at;
        handle(context, p, run, json_string_or(event, "status", "broken"), event);
        p->since_ns = clock_ns();
    }
    cJSON_Delete(event);
    return result;
}

int suite_process_read(struct suite_process *p, event_handler *handle, void *context,
                       struct error *err)
{
    char bytes[65536];
    struct pollfd keeper = {.fd = p->pidfd, .events = POLLIN};
    if (p->events < 0) /* the keeper sweeps: only its end is waited for */
        return p->pidfd < 0 || poll(&keeper, 1, 0) > 0 ? 0 : 1;
    for (;;) {
        ssize_t n = read(p->events, bytes, sizeof(bytes));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return 1;
        if (n < 0 && errno == ECONNRESET)
            n = 0; /* it has died with an answer unread */
        if (n < 0)
            return error_errno(err, "cannot read the suite's events");
        if (n == 0) {
            close(p->events);
            p->events = -1;
            return p->pidfd < 0 ? 0 : 1;
        }
        strbuf_add(&p->pending, bytes, (size_t)n);
        char *newline;
        while ((newline = memchr(p->pending.text, '\n', p->pending.len))) {
            size_t len = (size_t)(newline - p->pending.text);
            if (handle_line(p, p->pending.text, len, handle, context, err))
                return -1;
            size_t rest = p->pending.len - len - 1;
            memmove(p->pending.text, newline + 1, rest);
            strbuf_setlen(&p->pending, rest);
        }
        if (p->pending.len > EVENT_MAX_BYTES)
            return error_set(err, FAULT_GRADER, "the suite's event has no end");
    }
}

int suite_process_descriptor(const struct suite_process *p)
{
    if (!p->keeper)
        return -1;
    return p->events >= 0 ? p->events : p->pidfd;
}

int64_t suite_process_deadline(const struct suite_process *p)
{
    if (!p->keeper || p->control < 0 || p->events < 0)
        return INT64_MAX;
    if (!p->current) /* before the first test, between two, behind the last */
        return p->since_ns + (int64_t)(START_SECONDS + CLEANUP_SECONDS) * NS_PER_S;
    int64_t started = atomic_load(&p->board->started_ns);
    int64_t seconds = p->current->test->seconds + GRACE_SECONDS;
    if (atomic_load(&p->board->verdict) != BOARD_NONE) /* judged: only its clean-up still runs */
        seconds += CLEANUP_SECONDS;
    if (started != 0)
        return started + seconds * NS_PER_S;
    return p->since_ns + (seconds + START_SECONDS) * NS_PER_S;
}

struct run *suite_process_take_run(struct suite_process *p)
{
    struct run *run = p->granted;
    p->granted = p->current = NULL;
    p->ended++;
    return run;
}

void suite_process_kill(struct suite_process *p)
{
    if (p->control >= 0)
        close(p->control);
    p->control = -1;
}

int suite_process_reap(struct suite_process *p, struct error *err)
{
    int status;
    pid_t pid;
    if (p->events >= 0)
        close(p->events);
    p->events = -1;
    do {
        pid = waitpid(p->keeper, &status, 0);
    } while (pid < 0 && errno == EINTR);
    suite_process_kill(p);
    if (p->pidfd >= 0)
        close(p->pidfd);
    p->pidfd = -1;
    p->keeper = 0;
    if (pid < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return error_set(err, FAULT_GRADER,
                         "slot %d could not be cleaned: a process of the submission does not die",
                         p->slot.index);
    return 0;
}
