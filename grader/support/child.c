/*
 * Processes here: ours, the child, and whatever the child starts. Pipes: its stdout and stderr, and
 * `failure`, which closes at a successful exec and else carries a struct start_failure. We reap the
 * child alone; what it leaves behind in its group is killed before that (the unreaped child keeps
 * the group's number from being given away).
 */
#include "support/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/clock.h"
#include "support/memory.h"
#include "support/signals.h"

enum {
    CHILD_TIMEOUT_MS = 60000,
    CHILD_MAX_OUT = 1 << 20,
    CHILD_DRAIN_MS = 1000,
    CHILD_STOP_MS = 100
};

struct start_failure {
    int error;
    char step[60];
};

/* One stream: its first half of `max` bytes in `head`, the last half in the ring `tail`. */
struct stream {
    int fd;
    size_t max, total;
    struct strbuf head;
    char *tail;
    size_t tail_size;
};

/* What lies between child_start() and child_finish(). */
struct running {
    pid_t pid;
    int pidfd;
    int64_t deadline;
    struct stream streams[2]; /* stdout, stderr */
};

static void stream_add(struct stream *s, const char *bytes, size_t len)
{
    size_t head_size = s->max - s->tail_size;
    size_t room = head_size - s->head.len;
    size_t now = len < room ? len : room;
    strbuf_add(&s->head, bytes, now);
    for (size_t i = now; i < len && s->tail_size > 0; i++)
        s->tail[(s->total + i - head_size) % s->tail_size] = bytes[i];
    s->total += len;
}

/* Reads what is there. Closes at the end of the stream, or when it fails. */
static void stream_read(struct stream *s)
{
    char buffer[16384];
    ssize_t n;
    do {
        n = read(s->fd, buffer, sizeof buffer);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        stream_add(s, buffer, (size_t)n);
    } else if (n == 0 || errno != EAGAIN) {
        close(s->fd);
        s->fd = -1;
    }
}

static void stream_finish(struct stream *s, struct strbuf *out)
{
    size_t head_size = s->head.len;
    strbuf_add(out, s->head.text, s->head.len);
    if (s->total > head_size && s->tail_size > 0) {
        size_t in_tail = s->total - head_size;
        if (in_tail > s->tail_size) {
            size_t start = in_tail % s->tail_size;
            strbuf_addf(out, "\n[... %zu bytes left out ...]\n", in_tail - s->tail_size);
            strbuf_add(out, s->tail + start, s->tail_size - start);
            strbuf_add(out, s->tail, start);
        } else {
            strbuf_add(out, s->tail, in_tail);
        }
    }
    strbuf_release(&s->head);
    free(s->tail);
    if (s->fd >= 0)
        close(s->fd);
}

static void stream_init(struct stream *s, int fd, size_t max)
{
    *s = (struct stream){.fd = fd, .max = max, .tail_size = max / 2, .head = STRBUF_INIT};
    s->tail = xmalloc(s->tail_size);
    fcntl(fd, F_SETFL, O_NONBLOCK);
}

/* The child: arranges its descriptors and signals, becomes the program. */
static _Noreturn void become(const struct child *child, int out, int err, int failure)
{
    struct start_failure told = {.error = 0};
    const char *step = "its preparation";
    signals_reset();
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
        goto fail;
    if (child->directory && chdir(child->directory) != 0) {
        step = "its working folder";
        goto fail;
    }
    if (child->before_exec && child->before_exec(child->before_exec_argument, failure, &step) != 0)
        goto fail;
    /* Behind before_exec, which may want setsid(): a group's leader is refused that. */
    if (getpgrp() != getpid() && setpgid(0, 0) != 0)
        goto fail;
    step = NULL;
    if (child->env)
        execvpe(child->argv[0], child->argv, child->env);
    else
        execvp(child->argv[0], child->argv);
fail:
    told.error = errno;
    if (step)
        strncpy(told.step, step, sizeof told.step - 1);
    if (write(failure, &told, sizeof told) < 0) {
        /* ours is gone: nobody to tell */
    }
    _exit(127);
}

/* A pipe whose ends are above 2, so that dup2() onto 0, 1, 2 cannot lose one. */
static int make_pipe(int ends[2])
{
    int made[2];
    if (pipe2(made, O_CLOEXEC) != 0)
        return -1;
    for (int i = 0; i < 2; i++) {
        ends[i] = made[i] > 2 ? made[i] : fcntl(made[i], F_DUPFD_CLOEXEC, 3);
        if (ends[i] != made[i])
            close(made[i]);
    }
    if (ends[0] >= 0 && ends[1] >= 0)
        return 0;
    for (int i = 0; i < 2; i++) {
        if (ends[i] >= 0)
            close(ends[i]);
        ends[i] = -1;
    }
    return -1;
}

static void close_pipe(int ends[2])
{
    for (int i = 0; i < 2; i++) {
        if (ends[i] >= 0)
            close(ends[i]);
    }
}

static int reap(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return 0;
    }
    return status;
}

/* Waits for the exec. 0, or -1 and `err` when there was none. */
static int wait_for_start(const struct child *child, int fd, int64_t deadline, struct error *err)
{
    struct start_failure told = {.error = 0};
    struct pollfd p = {.fd = fd, .events = POLLIN};
    ssize_t n;
    int ready;
    do {
        ready = poll(&p, 1, clock_poll_ms(deadline));
    } while (ready < 0 && errno == EINTR);
    if (ready == 0)
        return error_set(err, FAULT_GRADER, "'%s' was not started in time", child->argv[0]);
    do {
        n = read(fd, &told, sizeof told);
    } while (n < 0 && errno == EINTR);
    if (n != sizeof told)
        return 0;
    told.step[sizeof told.step - 1] = '\0';
    errno = told.error;
    return error_errno(err, told.step[0] ? "cannot start '%s': %s" : "cannot start '%s'%s",
                       child->argv[0], told.step);
}

/*
 * Drains both streams until the program has ended. False when the deadline or *stop came first: a
 * signal may come just before poll() begins, so that one is looked at in turns.
 */
static bool supervise(struct stream *out, struct stream *err, int pidfd, int64_t deadline,
                      const volatile int *stop)
{
    for (;;) {
        struct pollfd p[3] = {{.fd = out->fd, .events = POLLIN},
                              {.fd = err->fd, .events = POLLIN},
                              {.fd = pidfd, .events = POLLIN}};
        int left = clock_poll_ms(deadline);
        if (left == 0 || (stop && *stop))
            return false;
        if (stop && left > CHILD_STOP_MS)
            left = CHILD_STOP_MS;
        if (poll(p, 3, left) < 0)
            continue;
        if (p[0].revents)
            stream_read(out);
        if (p[1].revents)
            stream_read(err);
        if (p[2].revents)
            return true;
    }
}

/* What is in the pipe now: somebody outside the group may hold it open for ever. */
static void drain_rest(struct stream *s)
{
    int64_t deadline = clock_ns() + (int64_t)CHILD_DRAIN_MS * NS_PER_MS;
    size_t before;
    do {
        before = s->total;
        if (s->fd >= 0)
            stream_read(s);
    } while (s->fd >= 0 && s->total > before && clock_ns() < deadline);
}

int child_start(struct child *child, struct error *err)
{
    int out[2] = {-1, -1}, errs[2] = {-1, -1}, failure[2] = {-1, -1};
    int timeout_ms = child->timeout_ms ? child->timeout_ms : CHILD_TIMEOUT_MS;
    size_t max = child->max_out ? child->max_out : CHILD_MAX_OUT;
    int result = -1;

    child->timed_out = child->stopped = false;
    child->status = child->signal = 0;
    child->out_bytes = 0;
    if (make_pipe(out) != 0 || make_pipe(errs) != 0 || make_pipe(failure) != 0) {
        error_errno(err, "cannot start '%s': no pipe", child->argv[0]);
        goto close_pipes;
    }
    struct running *r = xmalloc(sizeof *r);
    r->deadline = clock_ns() + (int64_t)timeout_ms * NS_PER_MS;
    r->pid = fork();
    if (r->pid == 0)
        become(child, out[1], errs[1], failure[1]);
    if (r->pid < 0) {
        error_errno(err, "cannot start '%s': fork", child->argv[0]);
        free(r);
        goto close_pipes;
    }
    close(failure[1]);
    failure[1] = -1;
    r->pidfd = (int)syscall(SYS_pidfd_open, r->pid, 0);
    if (r->pidfd < 0)
        error_errno(err, "cannot watch '%s'", child->argv[0]);
    else
        result = wait_for_start(child, failure[0], r->deadline, err);
    if (result == 0) {
        stream_init(&r->streams[0], out[0], max);
        stream_init(&r->streams[1], errs[0], max);
        out[0] = errs[0] = -1;
        child->running = r;
    } else {
        kill(r->pid, SIGKILL);
        reap(r->pid);
        if (r->pidfd >= 0)
            close(r->pidfd);
        free(r);
    }
close_pipes:
    close_pipe(out);
    close_pipe(errs);
    close_pipe(failure);
    return result;
}

int child_finish(struct child *child, struct error *err)
{
    struct running *r = child->running;
    int result = -1;

    if (supervise(&r->streams[0], &r->streams[1], r->pidfd, r->deadline, child->stop)) {
        result = 0;
    } else if (child->stop && *child->stop) {
        child->stopped = true;
        error_set(err, FAULT_GRADER, "'%s' was interrupted", child->argv[0]);
    } else {
        int timeout_ms = child->timeout_ms ? child->timeout_ms : CHILD_TIMEOUT_MS;
        child->timed_out = true;
        error_set(err, FAULT_GRADER, "'%s' was out of time after %d.%03d s", child->argv[0],
                  timeout_ms / MS_PER_S, timeout_ms % MS_PER_S);
    }
    kill(-r->pid, SIGKILL); /* the group, while its leader is not reaped */
    if (result != 0)
        kill(r->pid, SIGKILL);
    int status = reap(r->pid);
    child->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    child->status = child->signal ? 128 + child->signal : WEXITSTATUS(status);
    for (int i = 0; i < 2; i++)
        drain_rest(&r->streams[i]);
    child->out_bytes = r->streams[0].total;
    stream_finish(&r->streams[0], &child->out);
    stream_finish(&r->streams[1], &child->err);
    close(r->pidfd);
    free(r);
    child->running = NULL;
    return result;
}

int child_run(struct child *child, struct error *err)
{
    return child_start(child, err) == 0 ? child_finish(child, err) : -1;
}

void child_release(struct child *child)
{
    strbuf_release(&child->out);
    strbuf_release(&child->err);
}
