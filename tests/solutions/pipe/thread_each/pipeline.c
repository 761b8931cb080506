/*
 * A thread for each stage, which starts it and waits for it, a thread for
 * each link, and a conductor. The first thread of the process ends early; the conductor's status is
 * the process's.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
    pthread_t thread;
    sem_t started; /* `pid` is known */
    char **argv;
    int in, out;
    pid_t pid;
    int status;
} player;

typedef struct {
    pthread_t thread;
    int from, to;
    uint64_t bytes;
} wire;

static struct {
    bool pipefail, meter, coprocess;
    char **words;
    int count;
} job;
static struct sigaction pipe_action, child_action;

static void complain(const char *what, int error)
{
    dprintf(STDERR_FILENO, "pipeline: %s: %s\n", what, strerror(error));
}

static void drop(int fd)
{
    if (fd > STDERR_FILENO)
        close(fd);
}

static bool make_pipe(int ends[2])
{
    int low[6], lows = 0;
    bool made = true;
    /* Numbers of 0 to 2 are kept busy until a pipe lies above them. */
    for (;;) {
        if (pipe2(ends, O_CLOEXEC) < 0) {
            complain("pipe", errno);
            made = false;
            break;
        }
        if (ends[0] > 2 && ends[1] > 2)
            break;
        low[lows++] = ends[0];
        low[lows++] = ends[1];
    }
    while (lows > 0)
        close(low[--lows]);
    return made;
}

static _Noreturn void become(const player *me)
{
    if (me->in != 0)
        dup2(me->in, 0);
    if (me->out != 1)
        dup2(me->out, 1);
    sigaction(SIGPIPE, &pipe_action, NULL);
    sigaction(SIGCHLD, &child_action, NULL);
    execvp(me->argv[0], me->argv);
    int error = errno;
    signal(SIGPIPE, SIG_IGN);
    complain(me->argv[0], error);
    _exit(error == ENOENT || error == ENOTDIR ? 127 : 126);
}

static void *play(void *argument)
{
    player *me = argument;
    int status;

    me->pid = fork();
    if (me->pid == 0)
        become(me);
    if (me->pid < 0)
        complain("fork", errno);
    drop(me->in);
    drop(me->out);
    sem_post(&me->started);
    if (me->pid < 0)
        return NULL;
    while (waitpid(me->pid, &status, 0) < 0 && errno == EINTR)
        ;
    me->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return NULL;
}

static int small_thread(pthread_t *thread, void *(*run)(void *), void *argument)
{
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 96 * 1024);
    int error = pthread_create(thread, &small, run, argument);
    pthread_attr_destroy(&small);
    return error;
}

/* Starts the stage and returns once it runs; false: there is none. */
static bool enter(player *p, char **argv, int in, int out)
{
    *p = (player){.argv = argv, .in = in, .out = out, .pid = -1};
    sem_init(&p->started, 0, 0);
    int error = small_thread(&p->thread, play, p);
    if (error != 0) {
        complain("thread", error);
        drop(in);
        drop(out);
        return false;
    }
    while (sem_wait(&p->started) < 0)
        ;
    if (p->pid < 0)
        pthread_join(p->thread, NULL);
    return p->pid > 0;
}

static void *transmit(void *argument)
{
    wire *w = argument;
    char a[3000], b[5000];

    for (;;) {
        struct pollfd p[2] = {{w->from, POLLIN, 0}, {w->to, 0, 0}};
        if (poll(p, 2, -1) < 0)
            continue;
        if (p[1].revents != 0)
            break;
        struct iovec into[2] = {{a, sizeof a}, {b, sizeof b}};
        ssize_t got = readv(w->from, into, 2);
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got <= 0)
            break;
        size_t done = 0, all = (size_t)got;
        while (done < all) {
            size_t split = all < sizeof a ? all : sizeof a;
            struct iovec of[2] = {
                {a + (done < split ? done : split), done < split ? split - done : 0},
                {b + (done > split ? done - split : 0), all - (done > split ? done : split)}};
            ssize_t put = writev(w->to, of, 2);
            if (put >= 0) {
                done += (size_t)put;
                w->bytes += (uint64_t)put;
            } else if (errno == EAGAIN) {
                struct pollfd room = {w->to, POLLOUT, 0};
                poll(&room, 1, -1);
            } else if (errno != EINTR) {
                goto end;
            }
        }
    }
end:
    close(w->from);
    close(w->to);
    return NULL;
}

static bool connect_wire(wire *w, int from, int to)
{
    w->from = from;
    w->to = to;
    int error = small_thread(&w->thread, transmit, w);
    if (error == 0)
        return true;
    complain("thread", error);
    close(from);
    close(to);
    return false;
}

static int perform_coprocess(void)
{
    int down[2], up[2];
    player child;
    wire wires[2] = {0};

    if (!make_pipe(down))
        return 1;
    if (!make_pipe(up)) {
        close(down[0]);
        close(down[1]);
        return 1;
    }
    if (!enter(&child, job.words, down[0], up[1])) {
        close(down[1]);
        close(up[0]);
        return 1;
    }
    bool first = connect_wire(&wires[0], 0, down[1]), second = connect_wire(&wires[1], up[0], 1);
    if (first)
        pthread_join(wires[0].thread, NULL);
    if (second)
        pthread_join(wires[1].thread, NULL);
    pthread_join(child.thread, NULL);
    return first && second ? child.status : 1;
}

static int perform(void)
{
    player *players = calloc((size_t)job.count, sizeof *players);
    wire *wires = calloc((size_t)job.count, sizeof *wires);
    int started = 0, wired = 0, in = 0, status = 0, failure = 0;
    bool good = players != NULL && wires != NULL;
    char **argv = job.words;

    while (good && started < job.count) {
        int near[2] = {-1, 1}, far[2] = {-1, -1};
        if (started + 1 < job.count) {
            good = make_pipe(near);
            if (good && job.meter && !(good = make_pipe(far))) {
                close(near[0]);
                close(near[1]);
            }
            if (!good)
                break;
        }
        good = enter(&players[started], argv, in, near[1]);
        started += good;
        in = near[0];
        if (job.meter && started + (good ? 0 : 1) < job.count) {
            in = far[0];
            if (!good) {
                close(near[0]);
                close(far[1]);
            } else {
                good = connect_wire(&wires[wired], near[0], far[1]);
                wired += good;
            }
        }
        while (*argv != NULL)
            argv++;
        argv++;
        if (started == job.count)
            in = -1;
    }
    drop(in);
    for (int i = 0; i < started; i++) {
        pthread_join(players[i].thread, NULL);
        status = players[i].status;
        failure = status != 0 ? status : failure;
    }
    for (int i = 0; i < wired; i++)
        pthread_join(wires[i].thread, NULL);
    for (int i = 0; good && i < wired; i++)
        dprintf(STDERR_FILENO, "link %d: %ju bytes\n", i + 1, (uintmax_t)wires[i].bytes);
    free(players);
    free(wires);
    return !good ? 1 : job.pipefail ? failure : status;
}

static void *conduct(void *first)
{
    pthread_join(*(pthread_t *)first, NULL);
    exit(job.coprocess ? perform_coprocess() : perform());
}

static int usage(void)
{
    fputs("usage: pipeline [-o pipefail] [--meter] CMD [ARG...] ['|' CMD [ARG...]]...\n"
          "       pipeline --coprocess CMD [ARG...]\n",
          stderr);
    return 2;
}

int main(int argc, char **argv)
{
    static pthread_t first;
    pthread_t conductor;
    int i = 1;

    for (; i < argc && argv[i][0] == '-' && argv[i][1] != '\0'; i++) {
        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        } else if (strcmp(argv[i], "--meter") == 0) {
            job.meter = true;
        } else if (strcmp(argv[i], "--coprocess") == 0) {
            job.coprocess = true;
        } else if (strcmp(argv[i], "-o") == 0 && i + 1 < argc &&
                   strcmp(argv[i + 1], "pipefail") == 0) {
            job.pipefail = true;
            i++;
        } else {
            return usage();
        }
    }
    job.words = argv + i;
    job.count = 1;
    bool empty = true;
    for (; i < argc; i++) {
        bool bar = strcmp(argv[i], "|") == 0;
        if (bar && (empty || job.coprocess))
            return usage();
        if (bar) {
            argv[i] = NULL;
            job.count++;
        }
        empty = bar;
    }
    if (empty || (job.coprocess && (job.meter || job.pipefail)))
        return usage();

    struct sigaction ignore = {.sa_handler = SIG_IGN}, standard = {.sa_handler = SIG_DFL};
    sigaction(SIGPIPE, &ignore, &pipe_action);
    sigaction(SIGCHLD, &standard, &child_action);
    first = pthread_self();
    int error = pthread_create(&conductor, NULL, conduct, &first);
    if (error != 0) {
        complain("thread", error);
        return 1;
    }
    pthread_detach(conductor);
    pthread_exit(NULL);
}
