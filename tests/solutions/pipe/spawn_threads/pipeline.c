/* posix_spawn starts the stages; threads with blocking reads and writes carry the bytes. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

typedef struct {
    pthread_t thread;
    int from, to;
    uint64_t count;
} Carrier;

typedef struct {
    pid_t pid;  /* 0: never started */
    int status; /* valid when pid is 0 */
} Stage;

static struct sigaction was_pipe, was_chld;

static void complain(const char *what, int error)
{
    dprintf(2, "pipeline: %s: %s\n", what, strerror(error));
}

static int usage(void)
{
    dprintf(2, "usage: pipeline [-o pipefail] [--meter] CMD [ARG...] ['|' CMD [ARG...]]... "
               "or pipeline --coprocess CMD [ARG...]\n");
    return 2;
}

/* Both ends at 10 or above, so never 0 to 2. */
static int high_pipe(int p[2])
{
    int raw[2];
    if (pipe2(raw, O_CLOEXEC) == 0) {
        p[0] = fcntl(raw[0], F_DUPFD_CLOEXEC, 3);
        p[1] = fcntl(raw[1], F_DUPFD_CLOEXEC, 3);
        int error = errno;
        close(raw[0]);
        close(raw[1]);
        if (p[0] >= 0 && p[1] >= 0)
            return 0;
        if (p[0] >= 0)
            close(p[0]);
        if (p[1] >= 0)
            close(p[1]);
        errno = error;
    }
    complain("pipe", errno);
    return -1;
}

static int why_status(const char *name, int error)
{
    (void)name;
    return error == ENOENT || error == ENOTDIR ? 127 : 126;
}

/* posix_spawn has no way to make a signal ignored, so for a caller who ignores SIGCHLD: fork. */
static pid_t fork_stage(char **argv, int in, int out)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    if (in != 0)
        dup2(in, 0);
    if (out != 1)
        dup2(out, 1);
    sigaction(SIGPIPE, &was_pipe, NULL);
    sigaction(SIGCHLD, &was_chld, NULL);
    execvp(argv[0], argv);
    int error = errno;
    signal(SIGPIPE, SIG_IGN);
    complain(argv[0], error);
    _exit(why_status(argv[0], error));
}

static int start(Stage *stage, char **argv, int in, int out)
{
    if (was_chld.sa_handler == SIG_IGN) {
        stage->pid = fork_stage(argv, in, out);
        if (stage->pid < 0) {
            complain("fork", errno);
            return -1;
        }
        return 0;
    }

    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t standard;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    if (in != 0)
        posix_spawn_file_actions_adddup2(&actions, in, 0);
    if (out != 1)
        posix_spawn_file_actions_adddup2(&actions, out, 1);
    sigemptyset(&standard);
    if (was_pipe.sa_handler != SIG_IGN) {
        sigaddset(&standard, SIGPIPE);
        posix_spawnattr_setsigdefault(&attributes, &standard);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    }
    int error = posix_spawnp(&stage->pid, argv[0], &actions, &attributes, argv, environ);
    if (error == ENOEXEC) { /* a script without #!: execvp would give it to the shell */
        stage->pid = fork_stage(argv, in, out);
        error = stage->pid < 0 ? EAGAIN : 0;
    }
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (error == 0)
        return 0;
    stage->pid = 0;
    if (error == EAGAIN || error == ENOMEM || error == EMFILE || error == ENFILE) {
        complain("cannot start a process", error);
        return -1;
    }
    complain(argv[0], error);
    stage->status = why_status(argv[0], error);
    return 0;
}

static int finish(Stage *stage)
{
    if (stage->pid == 0)
        return stage->status;
    siginfo_t info;
    while (waitid(P_PID, (id_t)stage->pid, &info, WEXITED) < 0)
        if (errno != EINTR)
            return 1;
    return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
}

/* Waits until `fd` can be used (or is broken). */
static void wait_for(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    poll(&p, 1, -1);
}

static void *carry(void *argument)
{
    Carrier *c = argument;
    char buffer[16384];

    for (;;) {
        struct pollfd p[2] = {{.fd = c->from, .events = POLLIN}, {.fd = c->to}};
        if (poll(p, 2, -1) < 0)
            continue;
        if (p[1].revents)
            break;
        ssize_t got = read(c->from, buffer, sizeof buffer);
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got <= 0)
            break;
        for (ssize_t at = 0; at < got;) {
            ssize_t put = write(c->to, buffer + at, (size_t)(got - at));
            if (put < 0 && errno == EAGAIN)
                wait_for(c->to, POLLOUT);
            else if (put < 0 && errno != EINTR)
                goto gone;
            else if (put > 0) {
                at += put;
                c->count += (uint64_t)put;
            }
        }
    }
gone:
    close(c->from);
    close(c->to);
    return NULL;
}

static int launch(Carrier *c, int from, int to)
{
    pthread_attr_t attributes;
    c->from = from;
    c->to = to;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 128 * 1024);
    int error = pthread_create(&c->thread, &attributes, carry, c);
    pthread_attr_destroy(&attributes);
    if (error) {
        complain("thread", error);
        close(from);
        close(to);
    }
    return error;
}

static int coprocess(char **argv)
{
    int down[2], up[2];
    Stage child = {0};
    Carrier carriers[2] = {{0}};

    if (high_pipe(down) < 0)
        return 1;
    if (high_pipe(up) < 0) {
        close(down[0]);
        close(down[1]);
        return 1;
    }
    int failed = start(&child, argv, down[0], up[1]) < 0;
    close(down[0]);
    close(up[1]);
    if (failed) {
        close(down[1]);
        close(up[0]);
        return 1;
    }
    int first = launch(&carriers[0], 0, down[1]), second = launch(&carriers[1], up[0], 1);
    if (!first)
        pthread_join(carriers[0].thread, NULL);
    if (!second)
        pthread_join(carriers[1].thread, NULL);
    int status = finish(&child);
    return first || second ? 1 : status;
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {
        {"meter", no_argument, NULL, 'm'}, {"coprocess", no_argument, NULL, 'c'}, {0}};
    int pipefail = 0, meter = 0, co = 0, letter;

    opterr = 0;
    while ((letter = getopt_long(argc, argv, "+o:", longs, NULL)) != -1) {
        if (letter == 'o' && strcmp(optarg, "pipefail") == 0)
            pipefail = 1;
        else if (letter == 'm')
            meter = 1;
        else if (letter == 'c')
            co = 1;
        else
            return usage();
    }
    int words = argc - optind, count = 1;
    char **word = argv + optind;
    if (words == 0 || (co && (meter || pipefail)))
        return usage();
    for (int i = 0; i < words; i++) {
        if (strcmp(word[i], "|") != 0)
            continue;
        if (co || i == 0 || i == words - 1 || word[i - 1] == NULL)
            return usage();
        word[i] = NULL;
        count++;
    }

    struct sigaction ignore = {.sa_handler = SIG_IGN}, standard = {.sa_handler = SIG_DFL};
    sigaction(SIGCHLD, &standard, &was_chld);
    if (meter || co)
        sigaction(SIGPIPE, &ignore, &was_pipe);
    else
        sigaction(SIGPIPE, NULL, &was_pipe);
    if (co)
        return coprocess(word);

    Stage *stages = calloc((size_t)count, sizeof *stages);
    Carrier *carriers = calloc((size_t)count, sizeof *carriers);
    int *froms = malloc(sizeof(int) * (size_t)count), *tos = malloc(sizeof(int) * (size_t)count);
    if (!stages || !carriers || !froms || !tos)
        return 1;
    int started = 0, links = 0, failed = 0, in = 0;
    for (; started < count; started++) {
        int a[2] = {-1, 1}, b[2];
        if (started < count - 1) {
            if (high_pipe(a) < 0)
                failed = 1;
            else if (meter) {
                if (high_pipe(b) < 0) {
                    close(a[0]);
                    close(a[1]);
                    failed = 1;
                } else {
                    froms[links] = a[0];
                    tos[links++] = b[1];
                    a[0] = b[0];
                }
            }
            if (failed) {
                if (in > 2)
                    close(in);
                break;
            }
        }
        failed = start(&stages[started], word, in, a[1]) < 0;
        if (in > 2)
            close(in);
        if (a[1] > 2)
            close(a[1]);
        in = a[0];
        if (failed) {
            if (in > 2)
                close(in);
            break;
        }
        while (*word != NULL)
            word++;
        word++;
    }
    int running = 0;
    for (; running < links; running++)
        if (launch(&carriers[running], froms[running], tos[running]) != 0)
            break;
    if (running < links) {
        failed = 1;
        for (int i = running + 1; i < links; i++) {
            close(froms[i]);
            close(tos[i]);
        }
    }
    int status = 0, rightmost = 0;
    for (int i = 0; i < started; i++) {
        status = finish(&stages[i]);
        if (status != 0)
            rightmost = status;
    }
    for (int i = 0; i < running; i++)
        pthread_join(carriers[i].thread, NULL);
    if (!failed)
        for (int i = 0; i < links; i++)
            dprintf(2, "link %d: %" PRIu64 " bytes\n", i + 1, carriers[i].count);
    free(stages);
    free(carriers);
    free(froms);
    free(tos);
    return failed ? 1 : pipefail ? rightmost : status;
}
