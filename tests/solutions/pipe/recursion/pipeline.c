/*
 * pipeline(a | rest) = start a, and in a child pipeline(rest). Every level waits for its own two
 * children and hands the result to the level above; what does not fit into an exit status (counts,
 * failures) lies in memory that all levels share.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static struct shared {
    volatile int failed;
    uint64_t count[];
} * shared;
static int pipefail, meter;
static struct sigaction sigpipe_before, sigchld_before;

static void failed(const char *what)
{
    perror(what);
    shared->failed = 1;
}

static int new_pipe(int *reader, int *writer)
{
    int p[2], keep[3], n = 0, ok;

    /* Fill the holes below 3, so that the pipe lies above. */
    while (n < 3 && (keep[n] = open("/", O_PATH | O_CLOEXEC)) >= 0 && keep[n] < 3)
        n++;
    if (n < 3 && keep[n] >= 0)
        close(keep[n]);
    ok = pipe2(p, O_CLOEXEC) == 0;
    int error = errno;
    while (n-- > 0)
        close(keep[n]);
    errno = error;
    if (!ok || p[0] < 3) {
        failed("pipeline: pipe");
        return 0;
    }
    *reader = p[0];
    *writer = p[1];
    return 1;
}

static void shut(int fd)
{
    if (fd > 2)
        close(fd);
}

static pid_t spawn(char **argv, int in, int out)
{
    pid_t pid = fork();

    if (pid < 0)
        failed("pipeline: fork");
    if (pid != 0)
        return pid;
    if (in > 2)
        dup2(in, STDIN_FILENO);
    if (out > 2)
        dup2(out, STDOUT_FILENO);
    sigaction(SIGCHLD, &sigchld_before, NULL);
    sigaction(SIGPIPE, &sigpipe_before, NULL);
    execvp(argv[0], argv);
    int status = errno == ENOENT || errno == ENOTDIR ? 127 : 126;
    char line[600];
    snprintf(line, sizeof line, "pipeline: %s", argv[0]);
    signal(SIGPIPE, SIG_IGN);
    perror(line);
    _exit(status);
}

static int await(pid_t pid)
{
    int status;

    if (pid < 0)
        return 1;
    while (waitpid(pid, &status, 0) != pid)
        if (errno != EINTR)
            return 1;
    if (WIFSIGNALED(status))
        return 128 + WTERMSIG(status);
    return WEXITSTATUS(status);
}

static void carry(int from, int to, uint64_t *count)
{
    static char block[20000];
    struct pollfd both[2] = {{.fd = from, .events = POLLIN}, {.fd = to, .events = 0}};

    for (;;) {
        if (poll(both, 2, -1) < 0)
            continue;
        if (both[1].revents != 0)
            break;
        ssize_t n = read(from, block, sizeof block), at = 0;
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0)
            break;
        while (at < n) {
            ssize_t k = write(to, block + at, (size_t)(n - at));
            if (k < 0 && errno == EAGAIN) {
                struct pollfd room = {.fd = to, .events = POLLOUT};
                poll(&room, 1, -1);
            } else if (k < 0 && errno != EINTR) {
                goto end;
            } else if (k > 0) {
                at += k;
                *count += (uint64_t)k;
            }
        }
    }
end:
    close(from);
    close(to);
}

static int level(char **words, int in, int number)
{
    char **bar = words;
    int reader = -1, writer = STDOUT_FILENO, link_in = -1, link_out = -1;

    while (*bar != NULL && strcmp(*bar, "|") != 0)
        bar++;
    if (*bar == NULL) {
        pid_t last = spawn(words, in, STDOUT_FILENO);
        shut(in);
        return await(last);
    }
    *bar = NULL;
    if (!new_pipe(&reader, &writer)) {
        shut(in);
        return 1;
    }
    if (meter) {
        link_in = reader;
        if (!new_pipe(&reader, &link_out)) {
            shut(in);
            shut(link_in);
            shut(writer);
            return 1;
        }
    }
    pid_t stage = spawn(words, in, writer);
    shut(in);
    shut(writer);
    if (stage < 0) {
        shut(reader);
        shut(link_in);
        shut(link_out);
        return 1;
    }
    pid_t rest = fork();
    if (rest < 0)
        failed("pipeline: fork");
    if (rest == 0) {
        shut(link_in);
        shut(link_out);
        close(STDIN_FILENO);
        _exit(level(bar + 1, reader, number + 1));
    }
    shut(reader);
    /* Only the last level writes to stdout: whoever reads it is not to wait for the others. */
    if (meter)
        carry(link_in, link_out, &shared->count[number]);
    int mine = await(stage), theirs = await(rest);
    return pipefail && theirs == 0 ? mine : theirs;
}

static int coprocess(char **argv)
{
    int child_in, child_out, to_child, from_child;
    uint64_t ignored = 0;

    if (!new_pipe(&child_in, &to_child))
        return 1;
    if (!new_pipe(&from_child, &child_out)) {
        close(child_in);
        close(to_child);
        return 1;
    }
    pid_t child = spawn(argv, child_in, child_out);
    close(child_in);
    close(child_out);
    /* Here the parent reads, and the helper feeds. */
    pid_t feeder = child < 0 ? -1 : fork();
    if (feeder == 0) {
        close(from_child);
        carry(STDIN_FILENO, to_child, &ignored);
        _exit(0);
    }
    if (child > 0 && feeder < 0)
        failed("pipeline: fork");
    close(to_child);
    close(STDIN_FILENO);
    if (feeder > 0) {
        /* Our copy of stdout stays open until the end; a duplicate is closed by carry(). */
        carry(from_child, STDOUT_FILENO, &ignored);
        await(feeder);
    } else {
        close(from_child);
    }
    return await(child);
}

int main(int argc, char **argv)
{
    int i, co = 0, status = 2, links = 0;

    for (i = 1; i < argc && argv[i][0] == '-' && argv[i][1] != 0; i++) {
        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        } else if (strcmp(argv[i], "-o") == 0 && i + 1 < argc &&
                   strcmp(argv[i + 1], "pipefail") == 0) {
            pipefail = 1;
            i++;
        } else if (strcmp(argv[i], "--meter") == 0) {
            meter = 1;
        } else if (strcmp(argv[i], "--coprocess") == 0) {
            co = 1;
        } else {
            goto usage;
        }
    }
    if (i >= argc || (co && (meter || pipefail)))
        goto usage;
    for (int k = i; k < argc; k++) {
        if (strcmp(argv[k], "|") != 0)
            continue;
        if (co || k == i || k + 1 == argc || strcmp(argv[k + 1], "|") == 0)
            goto usage;
        links++;
    }
    size_t size = sizeof *shared + sizeof(uint64_t) * (size_t)(links + 1);
    shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        perror("pipeline: memory");
        return 1;
    }
    struct sigaction action = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &action, &sigpipe_before);
    action.sa_handler = SIG_DFL;
    sigaction(SIGCHLD, &action, &sigchld_before);
    status = co ? coprocess(argv + i) : level(argv + i, STDIN_FILENO, 0);
    if (shared->failed)
        status = 1;
    else if (meter)
        for (int k = 0; k < links; k++)
            fprintf(stderr, "link %d: %llu bytes\n", k + 1, (unsigned long long)shared->count[k]);
    munmap(shared, size);
    return status;
usage:
    fprintf(stderr,
            "usage: %s [-o pipefail] [--meter] CMD [ARG...] ['|' CMD [ARG...]]... | "
            "--coprocess CMD [ARG...]\n",
            argc > 0 ? argv[0] : "pipeline");
    return 2;
}
