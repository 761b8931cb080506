/* Every link has a process of its own, which moves pages from pipe to pipe with splice(2). */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static void (*old_pipe)(int), (*old_chld)(int);

static int lift(int fd)
{
    if (fd > 2 || fd < 0)
        return fd;
    int up = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    close(fd);
    return up;
}

static int conduit(int *r, int *w)
{
    int p[2];
    if (pipe2(p, O_CLOEXEC) < 0) {
        warn("pipe");
        return 0;
    }
    *r = lift(p[0]);
    *w = lift(p[1]);
    if (*r >= 0 && *w >= 0)
        return 1;
    warn("pipe");
    if (*r >= 0)
        close(*r);
    if (*w >= 0)
        close(*w);
    return 0;
}

static pid_t stage(char **argv, int in, int out)
{
    pid_t pid = fork();
    if (pid == -1)
        warn("fork");
    if (pid)
        return pid;
    if (in > 0)
        dup2(in, 0);
    if (out > 1)
        dup2(out, 1);
    signal(SIGPIPE, old_pipe);
    signal(SIGCHLD, old_chld);
    execvp(*argv, argv);
    int e = errno;
    signal(SIGPIPE, SIG_IGN);
    warn("%s", *argv);
    _exit(e == ENOENT || e == ENOTDIR ? 127 : 126);
}

/* Moves everything from `in` to `out`; returns as soon as one of the two has ended. */
static void move(int in, int out, unsigned long long *count)
{
    char buffer[32768];
    int can_splice = 1;

    for (;;) {
        struct pollfd p[2] = {{in, POLLIN, 0}, {out, 0, 0}};
        if (poll(p, 2, -1) < 0)
            continue;
        if (p[1].revents)
            return;
        ssize_t n = -1;
        if (can_splice) {
            n = splice(in, NULL, out, NULL, 1 << 16, SPLICE_F_MOVE);
            if (n < 0 && errno == EINVAL) {
                can_splice = 0;
                continue;
            }
            if (n > 0)
                *count += (unsigned long long)n;
        } else {
            n = read(in, buffer, sizeof buffer);
            for (ssize_t done = 0, k; n > 0 && done < n; done += k) {
                k = write(out, buffer + done, (size_t)(n - done));
                if (k < 0 && (errno == EINTR || errno == EAGAIN)) {
                    struct pollfd q = {out, POLLOUT, 0};
                    poll(&q, 1, -1);
                    k = 0;
                } else if (k < 0)
                    return;
                *count += (unsigned long long)k;
            }
        }
        if (n < 0 && errno == EAGAIN) { /* somebody made the caller's descriptors non-blocking */
            struct pollfd q[2] = {{in, POLLIN, 0}, {out, POLLOUT, 0}};
            poll(&q[0], 1, -1);
            poll(&q[1], 1, -1);
            continue;
        }
        if (n == 0 || (n < 0 && errno != EINTR))
            return;
    }
}

static pid_t carrier(int in, int out, const int *close_too, int n, unsigned long long *count)
{
    pid_t pid = fork();
    if (pid == -1)
        warn("fork");
    if (pid)
        return pid;
    for (int i = 0; i < n; i++)
        if (close_too[i] >= 0 && close_too[i] != in && close_too[i] != out)
            close(close_too[i]);
    move(in, out, count);
    _exit(0);
}

static int reap(pid_t pid)
{
    int s = 0;
    while (waitpid(pid, &s, 0) == -1 && errno == EINTR)
        ;
    return WIFEXITED(s) ? WEXITSTATUS(s) : 128 + WTERMSIG(s);
}

static int coprocess(char **argv)
{
    int fd[4]; /* child reads 0, we write 1; we read 2, child writes 3 */
    unsigned long long unused = 0;
    if (!conduit(&fd[0], &fd[1]))
        return 1;
    if (!conduit(&fd[2], &fd[3])) {
        close(fd[0]);
        close(fd[1]);
        return 1;
    }
    pid_t child = stage(argv, fd[0], fd[3]);
    close(fd[0]);
    close(fd[3]);
    int ours[2] = {fd[1], fd[2]};
    pid_t down = child < 0 ? -1 : carrier(0, fd[1], ours, 2, &unused);
    close(fd[1]);
    pid_t up = down < 0 ? -1 : carrier(fd[2], 1, ours, 2, &unused);
    close(fd[2]);
    if (down > 0)
        reap(down);
    if (up > 0)
        reap(up);
    int status = child > 0 ? reap(child) : 1;
    return up > 0 ? status : 1;
}

static int usage(void)
{
    fprintf(stderr, "usage: pipeline [-o pipefail] [--meter] CMD [ARG...] ['|' CMD [ARG...]]...\n"
                    "       pipeline --coprocess CMD [ARG...]\n");
    return 2;
}

int main(int argc, char **argv)
{
    int at = 1, fail = 0, meter = 0, co = 0;
    (void)argc;
    program_invocation_short_name = "pipeline";
    for (; argv[0] && argv[at]; at++) {
        if (!strcmp(argv[at], "-o") && argv[at + 1] && !strcmp(argv[at + 1], "pipefail"))
            fail = 1, at++;
        else if (!strcmp(argv[at], "--meter"))
            meter = 1;
        else if (!strcmp(argv[at], "--coprocess"))
            co = 1;
        else if (!strcmp(argv[at], "--")) {
            at++;
            break;
        } else if (argv[at][0] == '-' && argv[at][1])
            return usage();
        else
            break;
    }
    int n = 1;
    for (int i = at; argv[i]; i++)
        n += !strcmp(argv[i], "|");
    char **start[n];
    start[0] = argv + at;
    for (int i = at, k = 1; argv[i]; i++)
        if (!strcmp(argv[i], "|")) {
            argv[i] = NULL;
            start[k++] = argv + i + 1;
        }
    for (int k = 0; k < n; k++)
        if (!*start[k])
            return usage();
    if (co && (meter || fail || n > 1))
        return usage();

    old_pipe = signal(SIGPIPE, SIG_IGN);
    old_chld = signal(SIGCHLD, SIG_DFL);
    if (co)
        return coprocess(start[0]);

    pid_t pid[n], carriers[n];
    unsigned long long *count = mmap(NULL, sizeof *count * (size_t)n, PROT_READ | PROT_WRITE,
                                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (count == MAP_FAILED) {
        warn("memory");
        return 1;
    }
    int in = 0, started = 0, carrying = 0, ok = 1;
    while (ok && started < n) {
        int out = 1, next = -1, last = started == n - 1;
        int link_in = -1, link_out = -1;
        if (!last && !(ok = conduit(&next, &out)))
            break;
        if (!last && meter) {
            link_in = next;
            if (!(ok = conduit(&next, &link_out))) {
                close(link_in);
                close(out);
                break;
            }
        }
        pid[started] = stage(start[started], in, out);
        if (in > 2)
            close(in);
        if (out > 2)
            close(out);
        in = next;
        if (pid[started] < 0)
            ok = 0;
        else
            started++;
        if (link_in >= 0) {
            int others[] = {next};
            if (ok) {
                carriers[carrying] = carrier(link_in, link_out, others, 1, &count[carrying]);
                if (carriers[carrying] < 0)
                    ok = 0;
                else
                    carrying++;
            }
            close(link_in);
            close(link_out);
        }
    }
    if (in > 2)
        close(in);
    int status = 0, worst = 0;
    for (int i = 0; i < started; i++)
        if ((status = reap(pid[i])))
            worst = status;
    for (int i = 0; i < carrying; i++)
        reap(carriers[i]);
    for (int i = 0; ok && i < carrying; i++)
        fprintf(stderr, "link %d: %llu bytes\n", i + 1, count[i]);
    munmap(count, sizeof *count * (size_t)n);
    return !ok ? 1 : fail ? worst : status;
}
