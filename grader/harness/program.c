/*
 * program.c - the settings of a program, and its start.
 *
 * The child is forked from a process that may have a second thread (refused.c), so between fork and
 * exec it makes system calls and nothing else. What fails there comes back over a close-on-exec
 * pipe as errno and the name of the step; end of file there means that exec has succeeded.
 */
#include "harness/program.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "harness/internal.h"
#include "harness/memcheck.h"
#include "harness/test.h"
#include "support/clock.h"
#include "support/files.h"
#include "support/signals.h"
#include "support/text.h"

enum { WANTED_MAX = GIVEN_MAX + 5, CHILD_STACK = 1 << 18, WHY_MAX = 1 << 12 };

/* ---- making one, and its settings ---- */

static const char *clean_name(const char *name)
{
    struct strbuf s = STRBUF_INIT;
    text_clean_line(&s, name, strlen(name), 64);
    const char *kept = text("%s", s.text);
    strbuf_release(&s);
    return kept;
}

static struct program *program_make(const char *name, const char *path)
{
    struct program *p = test_alloc(sizeof *p);
    p->name = clean_name(name);
    p->path = path;
    p->pid = -1;
    p->pidfd = -1;
    p->in.fd = p->out[1].fd = p->out[2].fd = p->xml.fd = p->log.fd = -1;
    p->in.last = &p->in.first;
    sigemptyset(&p->ignored);
    sigemptyset(&p->blocked);
    *harness.last_program = p;
    harness.last_program = &p->next;
    return p;
}

struct program *program_new(const char *name)
{
    const char *path = text("%s/%s", harness.job.programs, name);
    struct stat st;
    if (stat(path, &st) == 0 && (st.st_mode & S_IXUSR) == 0) { /* build.h */
        struct strbuf why = STRBUF_INIT;
        file_read(path, WHY_MAX, &why, NULL);
        const char *kept = text("%s", why.text);
        strbuf_release(&why);
        test_fail(text("%s compiles", name), kept);
    }
    return program_make(name, path);
}

struct program *program_new_peer(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        test_broken("program_new_peer: '%s' is no absolute path", path);
    struct program *p = program_make(slash + 1, text("%s", path));
    p->peer = true;
    return p;
}

const char *program_path(const struct program *p)
{
    return p->path;
}

static void before_start(const struct program *p, const char *setting)
{
    if (p->started)
        test_broken("%s: '%s' has been started already", setting, p->name);
}

void program_arg(struct program *p, const char *arg)
{
    before_start(p, "program_arg");
    if (p->arg_count == p->arg_capacity) {
        size_t capacity = p->arg_capacity ? 2 * p->arg_capacity : 16;
        const char **args = test_alloc(capacity * sizeof *args);
        if (p->arg_count > 0)
            memcpy(args, p->args, p->arg_count * sizeof *args);
        p->args = args;
        p->arg_capacity = capacity;
    }
    p->args[p->arg_count++] = text("%s", arg);
}

struct program *program_from_words(const char *words)
{
    struct program *p = NULL;
    char *rest = (char *)text("%s", words);
    for (char *w; (w = strsep(&rest, " ")) != NULL;) {
        if (p == NULL)
            p = program_new(w);
        else
            program_arg(p, strcmp(w, "''") == 0 ? "" : w);
    }
    return p;
}

void program_args(struct program *p, const char *arg, ...)
{
    va_list args;
    va_start(args, arg);
    for (; arg != NULL; arg = va_arg(args, const char *))
        program_arg(p, arg);
    va_end(args);
}

void program_argv(struct program *p, const char *const *args)
{
    for (; *args != NULL; args++)
        program_arg(p, *args);
}

void program_stream(struct program *p, int fd, enum stream kind)
{
    before_start(p, "program_stream");
    if (fd < 0 || fd > 2 || kind == STREAM_GIVEN || (kind == STREAM_SAME && fd != 2))
        test_broken("program_stream: descriptor %d can't be of kind %d", fd, (int)kind);
    p->stream[fd] = kind;
}

void program_give(struct program *p, int fd, int given)
{
    before_start(p, "program_give");
    if (fd >= 0 && fd <= 2) {
        p->stream[fd] = STREAM_GIVEN;
        p->stream_given[fd] = given;
        return;
    }
    if (fd < 0 || fd >= 1000 || p->given_count == GIVEN_MAX)
        test_broken("program_give: descriptor %d can't be given", fd);
    p->given[p->given_count++] = (struct given){fd, given};
}

void program_env(struct program *p, const char *name, const char *value)
{
    before_start(p, "program_env");
    const char **env = test_alloc((p->env_count + 1) * sizeof *env);
    if (p->env_count > 0)
        memcpy(env, p->env, p->env_count * sizeof *env);
    env[p->env_count++] = text("%s=%s", name, value);
    p->env = env;
}

void program_ignore_signal(struct program *p, int signal)
{
    before_start(p, "program_ignore_signal");
    sigaddset(&p->ignored, signal);
}

void program_block_signal(struct program *p, int signal)
{
    before_start(p, "program_block_signal");
    sigaddset(&p->blocked, signal);
}

void program_limit_descriptors(struct program *p, long count)
{
    before_start(p, "program_limit_descriptors");
    p->limit_descriptors = count;
}

void program_limit_processes(struct program *p, long count)
{
    before_start(p, "program_limit_processes");
    p->limit_processes = count;
}

void program_limit_file(struct program *p, long bytes)
{
    before_start(p, "program_limit_file");
    p->limit_file = bytes;
}

void program_pipe_size(struct program *p, int bytes)
{
    before_start(p, "program_pipe_size");
    p->pipe_size = bytes;
}

void program_memcheck(struct program *p)
{
    before_start(p, "program_memcheck");
    p->memcheck = true;
}

void program_stays_itself(struct program *p, const char *why)
{
    before_start(p, "program_stays_itself");
    p->stays_itself = text("%s", why);
}

void program_carries(struct program *p, bool ours, const char *why)
{
    before_start(p, "program_carries");
    p->carries_ours = ours;
    p->carries = text("%s", why);
}

#ifndef IPCLAB_FLOOR
/* Allows it all that `allow` allows a policy. */
static void widen(struct sandbox *s, void (*allow)(struct policy *p))
{
    struct error err = ERROR_INIT;
    struct policy more;
    policy_init(&more);
    allow(&more);
    for (size_t i = 0; i < more.path_count; i++)
        if (sandbox_allow(s, more.paths[i].path, more.paths[i].rights, &err) != 0)
            test_broken("%s", err.text);
    policy_release(&more);
}

static struct sandbox *ready_sandbox(bool of_peer)
{
    struct sandbox *s = &harness.sandbox[of_peer];
    struct error err = ERROR_INIT;
    if (harness.sandbox_ready[of_peer])
        return s;
    if (sandbox_prepare(s, &harness.job.policy, harness.job.layers_off, &err) != 0)
        test_broken("%s", err.text);
    harness.sandbox_ready[of_peer] = true;
    if (of_peer)
        widen(s, policy_allow_commands);
    return s;
}

static void may_execute(const char *path)
{
    struct error err = ERROR_INIT;
    if (sandbox_allow(ready_sandbox(false), path, PATH_READ | PATH_EXECUTE, &err) != 0)
        test_broken("%s", err.text);
}
#endif

void program_may_run(struct program *p, const char *command)
{
    before_start(p, "program_may_run");
#ifndef IPCLAB_FLOOR
    char *path = policy_find_command(command);
    if (path != NULL) {
        may_execute(path);
        widen(ready_sandbox(false), policy_allow_libraries);
    }
    free(path);
#else
    (void)command;
#endif
}

/* ---- the start ---- */

/* A failure on the way to exec, as it travels; the step's text is the same memory in both. */
struct start_failure {
    int error;
    const char *step;
};

/* Everything that the child needs, made before fork. */
struct start {
    const struct program *p;
    const char *path;
    char **argv, **env;
    struct given wanted[WANTED_MAX]; /* descriptor number in the child <- ours */
    size_t wanted_count;
    int keep; /* the exec pipe's number in the child: above all that are wanted */
    int exec_pipe;
    struct rlimit limits[2];
    int limit_of[2];
    size_t limit_count;
    const char *directory;
    struct sandbox sandbox;
    struct policy policy;
};

static void start_want(struct start *s, int target, int source)
{
    s->wanted[s->wanted_count++] = (struct given){target, source};
    if (target >= s->keep)
        s->keep = target + 1;
}

static void start_limit(struct start *s, int resource, rlim_t soft, rlim_t hard)
{
    s->limits[s->limit_count] = (struct rlimit){soft, hard};
    s->limit_of[s->limit_count++] = resource;
}

/*
 * First every source is put out of the way of every target, then each target is set. Returns the
 * exec pipe's descriptor (s->keep), or -1.
 */
static int child_descriptors(struct start *s)
{
    int above = s->keep + 1;
    for (size_t i = 0; i < s->wanted_count; i++) {
        s->wanted[i].source = fcntl(s->wanted[i].source, F_DUPFD_CLOEXEC, above);
        if (s->wanted[i].source < 0)
            return -1;
    }
    int exec_pipe = fcntl(s->exec_pipe, F_DUPFD_CLOEXEC, above);
    if (exec_pipe < 0)
        return -1;
    int *of_sandbox[] = {&s->sandbox.ruleset, &s->sandbox.notify_socket};
    for (int i = 0; i < 2; i++)
        if (*of_sandbox[i] >= 0 &&
            (*of_sandbox[i] = fcntl(*of_sandbox[i], F_DUPFD_CLOEXEC, above)) < 0)
            return -1;
    if (syscall(SYS_close_range, 0u, (unsigned)s->keep, 0u) != 0)
        for (int fd = 0; fd <= s->keep; fd++)
            close(fd);
    for (size_t i = 0; i < s->wanted_count; i++)
        if (dup2(s->wanted[i].source, s->wanted[i].target) < 0)
            return -1;
    if (dup3(exec_pipe, s->keep, O_CLOEXEC) < 0)
        return -1;
    return s->keep;
}

static int child_run_program(void *argument)
{
    struct start *s = argument;
    struct start_failure failure = {0, "descriptors"};
    umask(022); /* the worker's own is for itself */
    signals_set(&s->p->ignored, &s->p->blocked);
    int keep = child_descriptors(s);
    if (keep < 0)
        goto failed;
#ifdef IPCLAB_FLOOR
    failure.step = "session and working folder";
    setsid();
    if (chdir(s->directory) != 0)
        goto failed;
    syscall(SYS_close_range, (unsigned)keep + 1, ~0u, 0u);
#else
    if (sandbox_enter(&s->sandbox, keep, &failure.step) != 0)
        goto failed;
#endif
    failure.step = "limits";
    for (size_t i = 0; i < s->limit_count; i++)
        if (setrlimit(s->limit_of[i], &s->limits[i]) != 0)
            goto failed;
    failure.step = "exec";
    execve(s->path, s->argv, s->env);
failed:
    failure.error = errno;
    if (write(keep >= 0 ? keep : s->exec_pipe, &failure, sizeof failure) < 0)
        _exit(126);
    _exit(127);
}

static pid_t start_child(struct start *s)
{
    static char stack[CHILD_STACK] __attribute__((aligned(16)));
    sigset_t all, old;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &old); /* no handler of ours runs in the child */
    pid_t pid = clone(child_run_program, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, s);
    int error = errno;
    sigprocmask(SIG_SETMASK, &old, NULL);
    errno = error;
    return pid;
}

static void own_pipe(int fd)
{
    /* So that /dev/stdin and its kind open in the program, as they do in a shell. */
    if (harness.job.policy.own_ids)
        (void)!fchown(fd, harness.job.policy.uid, harness.job.policy.gid);
}

/* A pipe; ours[0 or 1 = `our_end`] is made nonblocking. */
static void make_pipe(int ends[2], int our_end)
{
    if (pipe2(ends, O_CLOEXEC) != 0)
        test_broken("no pipe: %s", strerror(errno));
    fcntl(ends[our_end], F_SETFL, fcntl(ends[our_end], F_GETFL) | O_NONBLOCK);
}

/* Makes stream `fd` of `p`; the child's end goes into `theirs` and is closed after the fork. */
static void start_stream(struct start *s, struct program *p, int fd, int *theirs)
{
    int ends[2];
    struct stat st;
    *theirs = -1;
    switch (p->stream[fd]) {
    case STREAM_PIPE:
        make_pipe(ends, fd == 0 ? 1 : 0);
        own_pipe(ends[0]);
        if (fd <= 1 && fstat(ends[0], &st) == 0)
            p->own_pipe[fd] = st.st_ino;
        if (p->pipe_size > 0 && fcntl(ends[0], F_SETPIPE_SZ, p->pipe_size) < 0)
            test_broken("program_pipe_size: %d bytes: %s", p->pipe_size, strerror(errno));
        *theirs = ends[fd == 0 ? 0 : 1];
        if (fd == 0) {
            p->in.fd = ends[1];
            p->in.is_pipe = true;
        } else {
            stream_open_output(p, &p->out[fd], ends[0]);
        }
        break;
    case STREAM_NULL:
        *theirs = open("/dev/null", (fd == 0 ? O_RDONLY : O_WRONLY) | O_CLOEXEC);
        if (*theirs < 0)
            test_broken("/dev/null: %s", strerror(errno));
        break;
    case STREAM_GIVEN:
        start_want(s, fd, p->stream_given[fd]);
        return;
    case STREAM_SAME: /* the source is found once stdout has one */
    case STREAM_CLOSED:
        return;
    }
    start_want(s, fd, *theirs);
}

static void start_streams(struct start *s, struct program *p, int theirs[5])
{
    for (int fd = 0; fd <= 2; fd++)
        start_stream(s, p, fd, &theirs[fd]);
    if (p->stream[2] == STREAM_SAME && p->stream[1] != STREAM_CLOSED) {
        int out = p->stream[1] == STREAM_GIVEN ? p->stream_given[1] : theirs[1];
        start_want(s, 2, out);
    }
    for (size_t i = 0; i < p->given_count; i++)
        start_want(s, p->given[i].target, p->given[i].source);
}

long program_descriptors(const struct program *p)
{
    enum { UNLIMITED = 256 };
    long limit = p->limit_descriptors > 0 ? p->limit_descriptors : harness.job.policy.descriptors;
    return limit > 0 ? limit : UNLIMITED;
}

static void start_limits(struct start *s, const struct program *p)
{
    s->policy = harness.job.policy; /* shares its strings with the job's */
    if (p->limit_descriptors > 0)
        s->policy.descriptors = p->limit_descriptors;
    if (p->limit_processes > 0)
        s->policy.processes = p->limit_processes;
    if (p->limit_file > 0)
        start_limit(s, RLIMIT_FSIZE, (rlim_t)p->limit_file, (rlim_t)p->limit_file);
    if (p->memcheck) {
        /* valgrind keeps its own descriptors between the soft and the hard limit. */
        long soft = program_descriptors(p);
        s->policy.descriptors = soft + MEMCHECK_RESERVED;
        start_limit(s, RLIMIT_NOFILE, (rlim_t)soft, (rlim_t)(soft + MEMCHECK_RESERVED));
        s->policy.memory_mb = -1;
        if (s->policy.cpu_seconds > 0)
            s->policy.cpu_seconds *= MEMCHECK_CPU_FACTOR;
    }
#ifdef IPCLAB_FLOOR
    else if (s->policy.descriptors > 0)
        start_limit(s, RLIMIT_NOFILE, (rlim_t)s->policy.descriptors, (rlim_t)s->policy.descriptors);
#endif
}

static void start_argv(struct start *s, const struct program *p)
{
    const char **argv = test_alloc((p->arg_count + 32) * sizeof *argv);
    size_t n = 0;
    s->path = p->path;
    if (p->memcheck) {
        long base = program_descriptors(p);
        n = memcheck_argv(p, (int)base, (int)base + 1, argv, 31);
        s->path = argv[0];
    } else {
        argv[n++] = p->name;
    }
    tools_seal(p, p->args, p->arg_count, argv + n);
    const char **env = test_alloc((p->env_count + 8) * sizeof *env);
    size_t e = 0;
    /* valgrind finds a program without a slash on PATH, and keeps that argv[0]. */
    env[e++] =
        p->memcheck ? text("PATH=%s:/usr/bin:/bin", memcheck_folder(p)) : "PATH=/usr/bin:/bin";
    env[e++] = text("HOME=%s", test_directory());
    env[e++] = text("TMPDIR=%s", test_directory());
    env[e++] = "LC_ALL=C";
    for (size_t i = 0; i < p->env_count; i++)
        env[e++] = p->env[i];
    s->argv = (char **)argv; /* execve changes neither */
    s->env = (char **)env;
}

static void note_start(const struct program *p)
{
    struct strbuf line = STRBUF_INIT;
    for (size_t i = 0; i < p->arg_count && line.len < 300; i++) {
        const char *arg = tools_reveal(p->args[i]);
        bool plain = *arg != '\0' && strspn(arg, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVW"
                                                 "XYZ0123456789_-+=./:,@%") == strlen(arg);
        strbuf_addf(&line, plain ? " %s" : " '%s'", arg);
    }
    /* As a shell would be told, so that it can be tried by hand. */
    static const char *const closed[] = {" <&-", " >&-", " 2>&-"};
    static const char *const null[] = {" </dev/null", " >/dev/null", " 2>/dev/null"};
    for (int fd = 0; fd < 3; fd++)
        strbuf_addstr(&line, p->stream[fd] == STREAM_CLOSED ? closed[fd]
                             : p->stream[fd] == STREAM_NULL ? null[fd]
                             : p->stream[fd] == STREAM_SAME ? " 2>&1"
                                                            : "");
    test_note("$ %s%s%s", p->memcheck ? "valgrind " : "", p->name, line.text);
    strbuf_release(&line);
}

#ifndef IPCLAB_FLOOR
static void start_sandbox(struct start *s, const struct program *p, int notify[2])
{
    s->sandbox = *ready_sandbox(p->peer);
    if (p->memcheck)
        memcheck_files(may_execute);
    s->sandbox.policy = &s->policy;
    s->sandbox.parent = getpid();
    if (p->limit_processes > 0 && s->sandbox.processes > 0)
        s->sandbox.processes += p->limit_processes - harness.job.policy.processes;
    s->sandbox.notify_socket = -1;
    if (harness.job.policy.excludes == 0)
        return;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, notify) != 0)
        test_broken("no socket pair: %s", strerror(errno));
    s->sandbox.notify_socket = notify[1];
}
#endif

void program_start(struct program *p)
{
    before_start(p, "program_start");
    struct start *s = test_alloc(sizeof *s);
    int theirs[5] = {-1, -1, -1, -1, -1}, exec_pipe[2], notify[2] = {-1, -1};
    s->p = p;
    s->keep = 3;
    s->directory = test_directory();
    s->sandbox.ruleset = s->sandbox.notify_socket = -1;
    start_limits(s, p);
    start_streams(s, p, theirs);
    start_argv(s, p);
    if (p->memcheck) {
        long base = program_descriptors(p);
        for (int i = 0; i < 2; i++) {
            theirs[3 + i] = reports_open(i == 0 ? &p->xml : &p->log);
            start_want(s, (int)base + i, theirs[3 + i]);
        }
    }
    if (pipe2(exec_pipe, O_CLOEXEC) != 0)
        test_broken("no pipe: %s", strerror(errno));
    s->exec_pipe = exec_pipe[1];
#ifndef IPCLAB_FLOOR
    start_sandbox(s, p, notify);
#endif
    note_start(p);
    p->started = true;
    p->pid = start_child(s);
    if (p->pid < 0) {
        p->started = false;
        test_broken("can't fork: %s", strerror(errno));
    }
    p->log.only = p->pid; /* of descriptors: a child's are its parent's */
    for (int i = 0; i < 5; i++)
        if (theirs[i] >= 0)
            close(theirs[i]);
    close(exec_pipe[1]);
    if (notify[1] >= 0)
        close(notify[1]);
    p->pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
    struct start_failure failure;
    ssize_t n;
    do
        n = read(exec_pipe[0], &failure, sizeof failure);
    while (n < 0 && errno == EINTR);
    close(exec_pipe[0]);
    int listener = -1;
#ifndef IPCLAB_FLOOR
    if (notify[0] >= 0) {
        listener = sandbox_receive_listener(notify[0]); /* sent before exec: there, or never */
        if (listener < 0 && errno == EMFILE)
            test_broken("no descriptor is left for what '%s' is refused", p->path);
        close(notify[0]);
    }
#endif
    if (n == (ssize_t)sizeof failure)
        test_broken("'%s' can't be started: %s: %s", p->path,
                    failure.step != NULL ? failure.step : "sandbox", strerror(failure.error));
    if (listener >= 0)
        refused_watch(listener);
    int64_t not_yet = 0;
    if (!p->peer) /* the time is the submission's: a peer's start takes none of it */
        atomic_compare_exchange_strong(&harness.board->started_ns, &not_yet, clock_ns());
}
