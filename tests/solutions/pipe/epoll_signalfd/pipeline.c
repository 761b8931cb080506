/* An event loop around epoll and signalfd; nothing in it ever blocks but epoll_wait. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct flow {
    int in, out;
    bool in_always, out_always; /* epoll refuses regular files: they are always ready */
    bool shared_out;            /* the caller's stdout: at most PIPE_BUF bytes when it is ready */
    bool can_read, can_write;
    unsigned long long total;
    size_t have, done;
    char data[8192];
};

static struct flow *flows;
static size_t flow_count, flows_open;
static pid_t *pids;
static int *codes;
static size_t stage_count, running;
static int loop = -1, deaths = -1;
static sigset_t first_mask;
static struct sigaction first_chld, first_pipe;

static int trouble(const char *what)
{
    fprintf(stderr, "pipeline: %s: %m\n", what);
    return -1;
}

static void drop(int *fd)
{
    if (*fd > 2)
        close(*fd);
    *fd = -1;
}

static int pair(int p[2])
{
    if (pipe2(p, O_CLOEXEC) < 0)
        return trouble("pipe");
    for (int i = 0; i < 2; i++)
        if (p[i] < 3) {
            int up = fcntl(p[i], F_DUPFD_CLOEXEC, 3);
            close(p[i]);
            if ((p[i] = up) < 0) {
                if (p[1 - i] >= 0)
                    close(p[1 - i]);
                return trouble("pipe");
            }
        }
    return 0;
}

static int launch(size_t i, char **argv, int in, int out)
{
    pid_t pid = fork();
    if (pid < 0)
        return trouble("fork");
    if (pid == 0) {
        if (in >= 3)
            dup2(in, 0);
        if (out >= 3)
            dup2(out, 1);
        sigaction(SIGCHLD, &first_chld, NULL);
        sigaction(SIGPIPE, &first_pipe, NULL);
        sigprocmask(SIG_SETMASK, &first_mask, NULL);
        execvp(argv[0], argv);
        int code = errno == ENOENT || errno == ENOTDIR ? 127 : 126;
        signal(SIGPIPE, SIG_IGN);
        trouble(argv[0]);
        _exit(code);
    }
    pids[i] = pid;
    running++;
    return 0;
}

static void reap(void)
{
    for (size_t i = 0; i < stage_count; i++) {
        int status;
        if (pids[i] > 0 && waitpid(pids[i], &status, WNOHANG) == pids[i]) {
            codes[i] = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            pids[i] = 0;
            running--;
        }
    }
}

static void finish(struct flow *f)
{
    if (f->in < 0)
        return;
    if (f->in >= 0 && !f->in_always)
        epoll_ctl(loop, EPOLL_CTL_DEL, f->in, NULL);
    if (f->out >= 0 && !f->out_always)
        epoll_ctl(loop, EPOLL_CTL_DEL, f->out, NULL);
    if (f->in > 2)
        close(f->in);
    if (f->out > 2)
        close(f->out);
    f->in = f->out = -1;
    flows_open--;
}

/* What is waited for follows from what the flow holds. */
static void rearm(struct flow *f, bool add)
{
    if (f->in < 0)
        return;
    size_t i = (size_t)(f - flows);
    struct epoll_event in = {.events = f->have == f->done ? EPOLLIN : 0, .data.u64 = 2 * i},
                       out = {.events = f->have == f->done ? 0 : EPOLLOUT, .data.u64 = 2 * i + 1};
    int op = add ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    if (!f->out_always && epoll_ctl(loop, op, f->out, &out) < 0) {
        if (errno != EPERM) {
            f->in_always = f->out_always = true;
            finish(f);
            return;
        }
        f->out_always = true;
    }
    if (f->in_always)
        return;
    /* A pipe that has hung up reports so even when nobody asks: take it off while it is not read.
     */
    if (f->have != f->done) {
        epoll_ctl(loop, EPOLL_CTL_DEL, f->in, NULL);
    } else if (epoll_ctl(loop, EPOLL_CTL_MOD, f->in, &in) < 0 &&
               epoll_ctl(loop, EPOLL_CTL_ADD, f->in, &in) < 0) {
        if (errno == EPERM)
            f->in_always = true;
        else { /* closed from the start: no input */
            f->in_always = true;
            finish(f);
        }
    }
}

static void pump(struct flow *f)
{
    if (f->in >= 0 && f->have == f->done && (f->can_read || f->in_always)) {
        ssize_t n = read(f->in, f->data, sizeof f->data);
        f->can_read = false;
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            finish(f);
            return;
        }
        f->done = 0;
        f->have = (size_t)n;
        rearm(f, false);
    } else if (f->in >= 0 && f->have != f->done && (f->can_write || f->out_always)) {
        size_t n = f->have - f->done;
        if (f->shared_out && n > PIPE_BUF)
            n = PIPE_BUF;
        ssize_t k = write(f->out, f->data + f->done, n);
        f->can_write = false;
        if (k < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (k < 0) {
            finish(f);
            return;
        }
        f->done += (size_t)k;
        f->total += (unsigned long long)k;
        rearm(f, false);
    }
}

/* Until all flows have ended and all children are reaped. */
static int run(void)
{
    struct epoll_event wake = {.events = EPOLLIN, .data.u64 = ~0ull};

    loop = epoll_create1(EPOLL_CLOEXEC);
    if (loop < 0 || epoll_ctl(loop, EPOLL_CTL_ADD, deaths, &wake) < 0)
        return trouble("epoll");
    for (size_t i = 0; i < flow_count; i++)
        if (flows[i].in >= 0)
            rearm(&flows[i], true);
    reap();
    while (flows_open > 0 || running > 0) {
        struct epoll_event events[64];
        int timeout = -1;
        for (size_t i = 0; i < flow_count; i++) {
            struct flow *f = &flows[i];
            if (f->in >= 0 &&
                ((f->have == f->done && f->in_always) || (f->have != f->done && f->out_always)))
                timeout = 0; /* a file is ready */
        }
        int n = epoll_wait(loop, events, 64, timeout);
        for (int i = 0; i < n; i++) {
            if (events[i].data.u64 == ~0ull) {
                struct signalfd_siginfo info;
                if (read(deaths, &info, sizeof info) > 0)
                    reap();
                continue;
            }
            struct flow *f = &flows[events[i].data.u64 / 2];
            if (events[i].data.u64 % 2 == 0)
                f->can_read = true;
            else if (events[i].events & (EPOLLERR | EPOLLHUP))
                finish(f);
            else
                f->can_write = true;
        }
        for (size_t i = 0; i < flow_count; i++)
            pump(&flows[i]);
    }
    close(loop);
    return 0;
}

static void add_flow(int in, int out, bool shared_out)
{
    struct flow *f = &flows[flow_count++];
    *f = (struct flow){.in = in, .out = out, .shared_out = shared_out};
    if (!shared_out)
        fcntl(out, F_SETFL, O_NONBLOCK);
    flows_open++;
}

int main(int argc, char **argv)
{
    bool pipefail = false, meter = false, co = false, bad = argc < 2;
    char **word = argv + 1;

    while (!bad && *word && (*word)[0] == '-' && (*word)[1]) {
        char *w = *word++;
        if (!strcmp(w, "--"))
            break;
        else if (!strcmp(w, "--meter"))
            meter = true;
        else if (!strcmp(w, "--coprocess"))
            co = true;
        else if (!strcmp(w, "-o") && *word && !strcmp(*word, "pipefail"))
            pipefail = true, word++;
        else
            bad = true;
    }
    size_t words = 0;
    while (!bad && word[words])
        words++;
    char ***stages = calloc(words + 1, sizeof *stages);
    bool fresh = true;
    for (size_t i = 0; i <= words && !bad; i++) {
        if (i == words || !strcmp(word[i], "|")) {
            bad = fresh;
            fresh = true;
            word[i] = NULL;
        } else {
            if (fresh)
                stages[stage_count++] = word + i;
            fresh = false;
        }
    }
    if (bad || (co && (meter || pipefail || stage_count > 1))) {
        fputs("usage: pipeline [-o pipefail] [--meter] CMD [ARG...] ['|' CMD [ARG...]]...\n"
              "usage: pipeline --coprocess CMD [ARG...]\n",
              stderr);
        free(stages);
        return 2;
    }

    sigset_t chld;
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    sigprocmask(SIG_BLOCK, &chld, &first_mask);
    sigaction(SIGCHLD, &(struct sigaction){.sa_handler = SIG_DFL}, &first_chld);
    sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, &first_pipe);
    int low = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
    deaths = fcntl(low, F_DUPFD_CLOEXEC, 3);
    if (low < 0 || deaths < 0) {
        trouble("signalfd");
        free(stages);
        return 1;
    }
    close(low);

    pids = calloc(stage_count, sizeof *pids);
    codes = calloc(stage_count, sizeof *codes);
    flows = calloc(stage_count + 1, sizeof *flows);
    bool ok = true;
    if (co) {
        int down[2] = {-1, -1}, up[2] = {-1, -1};
        ok = pair(down) == 0 && pair(up) == 0 && launch(0, stages[0], down[0], up[1]) == 0;
        drop(&down[0]);
        drop(&up[1]);
        if (ok) {
            add_flow(0, down[1], false);
            add_flow(up[0], 1, true);
        } else {
            drop(&down[1]);
            drop(&up[0]);
        }
    } else {
        /* From right to left. Stage i reads what `in` will be, and writes to `out`. */
        int out = 1;
        for (size_t i = stage_count; ok && i-- > 0;) {
            int p[2] = {0, 1}, q[2] = {-1, -1};
            if (i > 0) {
                ok = pair(p) == 0;
                if (ok && meter) {
                    if (pair(q) == 0) {
                        add_flow(p[0], q[1], false);
                        p[0] = q[0];
                    } else {
                        ok = false;
                        drop(&p[0]);
                        drop(&p[1]);
                    }
                }
            }
            ok = ok && launch(i, stages[i], p[0], out) == 0;
            if (p[0] > 2)
                drop(&p[0]);
            drop(&out);
            out = p[1];
        }
        drop(&out);
    }
    int result = 1;
    if (run() == 0 && ok) {
        result = codes[stage_count - 1];
        for (size_t i = stage_count; pipefail && i-- > 0;)
            if ((result = codes[i]) != 0)
                break;
        for (size_t i = 1; meter && i < stage_count; i++)
            fprintf(stderr, "link %zu: %llu bytes\n", i, flows[flow_count - i].total);
    }
    close(deaths);
    free(flows);
    free(codes);
    free(pids);
    free(stages);
    return result;
}
