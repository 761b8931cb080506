/*
 * All children are forked first and wait at a gate, a pipe that is closed when all are there. What
 * exec says goes through a second pipe, and is told at the very end. The pipes of links have one
 * page. What is the caller's and not ours to use, we close as soon as the stages have it. Links:
 * poll().
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
    bool pipefail, meter, coprocess;
    char ***stages;
    int count;
} cmd;
static struct sigaction was_pipe, was_chld;

static void oops(const char *what)
{
    fprintf(stderr, "pipeline: %s: %m\n", what);
}

static void shut(int *fd)
{
    if (*fd > 2)
        close(*fd);
    *fd = -1;
}

/* 0, or 2 for wrong usage */
static int parse(int argc, char **argv)
{
    int i = 1;
    for (; i < argc && argv[i][0] == '-' && argv[i][1]; i++) {
        if (!strcmp(argv[i], "--")) {
            i++;
            break;
        } else if (!strcmp(argv[i], "-o")) {
            if (++i == argc || strcmp(argv[i], "pipefail"))
                goto wrong;
            cmd.pipefail = true;
        } else if (!strcmp(argv[i], "--meter"))
            cmd.meter = true;
        else if (!strcmp(argv[i], "--coprocess"))
            cmd.coprocess = true;
        else
            goto wrong;
    }
    cmd.stages = calloc((size_t)argc + 1, sizeof *cmd.stages);
    if (cmd.stages == NULL) {
        oops("memory");
        exit(1);
    }
    cmd.stages[cmd.count++] = argv + i;
    for (; i < argc; i++)
        if (!strcmp(argv[i], "|")) {
            argv[i] = NULL;
            cmd.stages[cmd.count++] = argv + i + 1;
        }
    for (i = 0; i < cmd.count; i++)
        if (*cmd.stages[i] == NULL)
            goto wrong;
    if (!cmd.coprocess || (cmd.count == 1 && !cmd.pipefail && !cmd.meter))
        return 0;
wrong:
    fputs("usage: pipeline [-o pipefail] [--meter] CMD [ARG...] ['|' CMD [ARG...]]...\n"
          "       pipeline --coprocess CMD [ARG...]\n",
          stderr);
    free(cmd.stages);
    return 2;
}

static int shell_status(int s)
{
    return WIFEXITED(s) ? WEXITSTATUS(s) : 128 + WTERMSIG(s);
}

static int tube(int p[2])
{
    if (pipe2(p, O_CLOEXEC) < 0) {
        oops("pipe");
        return -1;
    }
    for (int i = 0; i < 2; i++)
        if (p[i] < 3) {
            int up = fcntl(p[i], F_DUPFD_CLOEXEC, 3);
            if (up < 0) {
                oops("pipe");
                close(p[0]);
                close(p[1]);
                return -1;
            }
            close(p[i]);
            p[i] = up;
        }
    return 0;
}

enum { CHUNK = 4096 };

typedef struct {
    int in, out;
    int from, to;
    unsigned long long sum;
    char b[CHUNK];
} trickle;

struct bad {
    int stage, error;
};

static int gate[2], news[2];

static pid_t spawn(int i, int in, int out)
{
    pid_t pid = fork();
    if (pid < 0)
        oops("fork");
    if (pid)
        return pid;
    char c;
    close(gate[1]);
    if (in > 0)
        dup2(in, 0);
    if (out > 1)
        dup2(out, 1);
    while (read(gate[0], &c, 1) < 0)
        ;
    sigaction(SIGPIPE, &was_pipe, NULL);
    sigaction(SIGCHLD, &was_chld, NULL);
    execvp(cmd.stages[i][0], cmd.stages[i]);
    struct bad bad = {i, errno};
    signal(SIGPIPE, SIG_IGN);
    if (write(news[1], &bad, sizeof bad) < 0)
        _exit(1);
    _exit(bad.error == ENOENT || bad.error == ENOTDIR ? 127 : 126);
}

static void stop(trickle *t)
{
    if (t->in >= 0)
        close(t->in);
    if (t->out >= 0)
        close(t->out);
    t->in = t->out = -1;
}

static void flow(trickle *t, int n)
{
    struct pollfd p[2 * n + 1];
    for (;;) {
        int open = 0;
        for (int i = 0; i < n; i++) {
            bool some = t[i].from < t[i].to;
            p[2 * i] = (struct pollfd){some ? -1 : t[i].in, POLLIN, 0};
            p[2 * i + 1] = (struct pollfd){t[i].out, some ? POLLOUT : 0, 0};
            open += t[i].out >= 0;
        }
        if (!open)
            return;
        if (poll(p, 2 * (nfds_t)n, -1) < 0)
            continue;
        for (int i = 0; i < n; i++) {
            trickle *x = &t[i];
            ssize_t k = 1;
            if (p[2 * i + 1].revents & ~POLLOUT) {
                stop(x);
                continue;
            }
            if (p[2 * i + 1].revents) {
                k = write(x->out, x->b + x->from, (size_t)(x->to - x->from));
                if (k > 0) {
                    x->from += (int)k;
                    x->sum += (unsigned long long)k;
                }
            } else if (p[2 * i].revents) {
                k = read(x->in, x->b, CHUNK);
                x->from = 0;
                x->to = k > 0 ? (int)k : 0;
            }
            if (k == 0 || (k < 0 && errno != EINTR && errno != EAGAIN))
                stop(x);
        }
    }
}

static int small(int p[2])
{
    if (tube(p) < 0)
        return -1;
    if (cmd.meter || cmd.coprocess)
        fcntl(p[0], F_SETPIPE_SZ, 4096);
    return 0;
}

int main(int argc, char **argv)
{
    if (parse(argc, argv))
        return 2;
    sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, &was_pipe);
    sigaction(SIGCHLD, &(struct sigaction){.sa_handler = SIG_DFL}, &was_chld);
    int n = cmd.count, in = 0, started = 0, links = 0, status = 0, fail = 0;
    pid_t *pid = calloc((size_t)n, sizeof *pid);
    trickle *t = calloc((size_t)n + 1, sizeof *t);
    if (!pid || !t || tube(gate) < 0)
        return 1;
    if (tube(news) < 0)
        return 1;
    bool ok = true;
    if (cmd.coprocess) {
        int a[2] = {-1, -1}, b[2] = {-1, -1};
        ok = small(a) == 0 && small(b) == 0 && (pid[0] = spawn(0, a[0], b[1])) > 0;
        shut(&a[0]);
        shut(&b[1]);
        if (ok) {
            fcntl(a[1], F_SETFL, O_NONBLOCK);
            t[0].in = 0, t[0].out = a[1], t[1].in = b[0], t[1].out = 1;
            links = 2;
            started = 1;
        } else {
            shut(&a[1]);
            shut(&b[0]);
        }
    }
    while (ok && !cmd.coprocess && started < n) {
        int p[2] = {-1, 1}, q[2] = {-1, -1};
        bool last = started + 1 == n, link = !last && cmd.meter;
        ok = last || small(p) == 0;
        if (ok && link)
            ok = small(q) == 0;
        if (ok)
            ok = (pid[started] = spawn(started, in, p[1])) > 0;
        started += ok;
        shut(&in);
        shut(&p[1]);
        in = p[0];
        if (link && ok) {
            fcntl(q[1], F_SETFL, O_NONBLOCK);
            t[links].in = p[0];
            t[links++].out = q[1];
            in = q[0];
        } else if (link) {
            shut(&q[0]);
            shut(&q[1]);
        }
    }
    shut(&in);
    close(gate[0]);
    close(gate[1]);
    close(news[1]);
    if (!cmd.coprocess) {
        close(0);
        close(1);
    }
    flow(t, links);
    for (int i = 0; i < started; i++) {
        int s;
        while (waitpid(pid[i], &s, 0) < 0 && errno == EINTR)
            ;
        status = shell_status(s);
        fail = status ? status : fail;
    }
    for (int i = 0; ok && cmd.meter && i < links; i++)
        fprintf(stderr, "link %d: %llu bytes\n", i + 1, t[i].sum);
    struct bad bad;
    while (read(news[0], &bad, sizeof bad) == (ssize_t)sizeof bad) {
        errno = bad.error;
        oops(cmd.stages[bad.stage][0]);
    }
    close(news[0]);
    free(pid);
    free(t);
    free(cmd.stages);
    return !ok ? 1 : cmd.pipefail ? fail : status;
}
