/* One process, one poll loop. Whoever starts us with 0, 1 or 2 closed gets /dev/null there. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define RING 16384u

typedef struct {
    int source, sink;  /* -1: closed */
    unsigned put, got; /* ever put into the ring, ever taken out of it */
    long long written;
    char ring[RING];
} channel;

static int opened[3], opened_count;
static struct sigaction saved[32];

static void say(const char *about)
{
    int e = errno;
    char text[512];
    int n = snprintf(text, sizeof text, "pipeline: %.300s: %s\n", about, strerror(e));
    if (write(2, text, (size_t)n) < 0)
        return;
}

static int finish(int status)
{
    while (opened_count > 0)
        close(opened[--opened_count]);
    return status;
}

static void put_away(int *fd)
{
    if (*fd > 2)
        close(*fd);
    *fd = -1;
}

static size_t fill(channel *c)
{
    return c->put - c->got;
}

/* read into the free part of the ring, in up to two pieces */
static ssize_t ring_read(channel *c)
{
    unsigned at = c->put % RING, room = RING - (unsigned)fill(c);
    unsigned first = room < RING - at ? room : RING - at;
    struct iovec v[2] = {{c->ring + at, first}, {c->ring, room - first}};
    ssize_t n = readv(c->source, v, 2);
    if (n > 0)
        c->put += (unsigned)n;
    return n;
}

static ssize_t ring_write(channel *c)
{
    unsigned at = c->got % RING, n = (unsigned)fill(c);
    if (n > RING - at)
        n = RING - at;
    if (n > PIPE_BUF)
        n = PIPE_BUF; /* so much a writable pipe takes without blocking */
    ssize_t k = write(c->sink, c->ring + at, n);
    if (k > 0) {
        c->got += (unsigned)k;
        c->written += k;
    }
    return k;
}

static int retry(void)
{
    return errno == EINTR || errno == EAGAIN;
}

static int pump_all(channel *c, int n)
{
    struct pollfd *p = calloc(2 * (size_t)n + 1, sizeof *p);
    if (p == NULL) {
        say("memory");
        return -1;
    }
    for (;;) {
        int alive = 0;
        for (int i = 0; i < n; i++) {
            if (c[i].source < 0 && fill(&c[i]) == 0)
                put_away(&c[i].sink);
            if (c[i].sink < 0)
                put_away(&c[i].source);
            alive += c[i].sink >= 0;
            /* a hang-up is reported unasked: leave a source out while the ring is full */
            p[2 * i].fd = fill(&c[i]) < RING ? c[i].source : -1;
            p[2 * i].events = POLLIN;
            p[2 * i + 1].fd = c[i].sink;
            p[2 * i + 1].events = fill(&c[i]) > 0 ? POLLOUT : 0;
            p[2 * i].revents = p[2 * i + 1].revents = 0;
        }
        if (!alive)
            break;
        if (poll(p, 2 * (nfds_t)n, -1) < 0)
            continue;
        for (int i = 0; i < n; i++) {
            if (p[2 * i + 1].revents & ~POLLOUT) {
                put_away(&c[i].sink);
                continue;
            }
            if (p[2 * i + 1].revents && ring_write(&c[i]) < 0 && !retry())
                put_away(&c[i].sink);
            if (p[2 * i].revents) {
                ssize_t k = ring_read(&c[i]);
                if (k == 0 || (k < 0 && !retry()))
                    put_away(&c[i].source);
            }
        }
    }
    free(p);
    return 0;
}

static pid_t go(char **argv, int in, int out)
{
    pid_t pid = fork();
    if (pid < 0)
        say("fork");
    if (pid)
        return pid;
    if (in)
        dup2(in, 0);
    if (out != 1)
        dup2(out, 1);
    for (int s = 1; s < 32; s++)
        sigaction(s, &saved[s], NULL);
    execvp(argv[0], argv);
    int e = errno, status = e == ENOENT || e == ENOTDIR ? 127 : 126;
    signal(SIGPIPE, SIG_IGN);
    errno = e;
    say(argv[0]);
    _exit(status);
}

static int await(pid_t pid)
{
    int s;
    for (;;) {
        if (waitpid(pid, &s, 0) == pid)
            return WIFSIGNALED(s) ? WTERMSIG(s) + 128 : WEXITSTATUS(s);
        if (errno != EINTR)
            return 1;
    }
}

static int make(int p[2])
{
    if (pipe(p) < 0) {
        say("pipe");
        return 0;
    }
    fcntl(p[0], F_SETFD, FD_CLOEXEC);
    fcntl(p[1], F_SETFD, FD_CLOEXEC);
    return 1;
}

int main(int argc, char **argv)
{
    static const char use[] =
        "usage: pipeline [-o pipefail] [--meter] CMD [ARG...] ['|' CMD [ARG...]]...\n"
        "       pipeline --coprocess CMD [ARG...]\n";
    int a = 1, fail = 0, meter = 0, co = 0, n = 1, broken = 0;

    for (int fd; (fd = open("/dev/null", O_RDWR)) >= 0;) {
        if (fd > 2) {
            close(fd);
            break;
        }
        opened[opened_count++] = fd;
    }
    while (a < argc && argv[a][0] == '-' && strcmp(argv[a], "-")) {
        const char *o = argv[a++];
        if (!strcmp(o, "--"))
            break;
        if (!strcmp(o, "-o") && a < argc && !strcmp(argv[a], "pipefail")) {
            fail = 1;
            a++;
        } else if (!strcmp(o, "--meter")) {
            meter = 1;
        } else if (!strcmp(o, "--coprocess")) {
            co = 1;
        } else {
            broken = 1;
        }
    }
    for (int i = a, empty = 1; i <= argc; i++) {
        int bar = i == argc || !strcmp(argv[i], "|");
        if (bar && empty)
            broken = 1;
        if (bar && i < argc)
            n++;
        empty = bar;
    }
    if (broken || (co && (n > 1 || fail || meter))) {
        if (write(2, use, sizeof use - 1) < 0)
            return finish(2);
        return finish(2);
    }
    for (int s = 1; s < 32; s++)
        sigaction(s, NULL, &saved[s]);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_DFL);

    pid_t *pid = calloc((size_t)n, sizeof *pid);
    channel *c = meter || co ? calloc((size_t)n + 1, sizeof *c) : NULL;
    if (pid == NULL || ((meter || co) && c == NULL)) {
        say("memory");
        free(pid);
        free(c);
        return finish(1);
    }
    int started = 0, links = 0, in = 0;
    if (co) {
        int x[2] = {-1, -1}, y[2] = {-1, -1};
        broken = !make(x) || !make(y) || (pid[0] = go(argv + a, x[0], y[1])) < 0;
        started = !broken;
        put_away(&x[0]);
        put_away(&y[1]);
        if (broken) {
            put_away(&x[1]);
            put_away(&y[0]);
        } else {
            fcntl(x[1], F_SETFL, O_NONBLOCK);
            c[0].source = 0;
            c[0].sink = x[1];
            c[1].source = y[0];
            c[1].sink = 1;
            links = 2;
        }
    }
    for (char **w = argv + a; !co && !broken && started < n; w++) {
        char **end = w;
        while (*end && strcmp(*end, "|"))
            end++;
        *end = NULL;
        int x[2] = {-1, 1}, y[2];
        if (started < n - 1) {
            broken = !make(x);
            if (!broken && meter) {
                if (make(y)) {
                    fcntl(y[1], F_SETFL, O_NONBLOCK);
                    c[links].source = x[0];
                    c[links++].sink = y[1];
                    x[0] = y[0];
                } else {
                    broken = 1;
                    put_away(&x[0]);
                    put_away(&x[1]);
                }
            }
        }
        if (!broken) {
            pid[started] = go(w, in, x[1]);
            broken = pid[started] < 0;
            started += !broken;
        }
        put_away(&in);
        put_away(&x[1]);
        in = x[0];
        w = end;
    }
    put_away(&in);
    if (c != NULL && pump_all(c, links) < 0)
        broken = 1;
    int status = 0, bad = 0;
    for (int i = 0; i < started; i++) {
        status = await(pid[i]);
        bad = status ? status : bad;
    }
    for (int i = 0; meter && !broken && i < links; i++) {
        char line[64];
        int k = snprintf(line, sizeof line, "link %d: %lld bytes\n", i + 1, c[i].written);
        if (write(2, line, (size_t)k) < 0)
            break;
    }
    free(pid);
    free(c);
    return finish(broken ? 1 : fail ? bad : status);
}
