/*
 * What carries bytes is this program once more, started by its path in a process group of its own,
 * which tells its count through a pipe. A stage that cannot be executed tells its errno through a
 * close-on-exec pipe, and pipeline says why. It takes the children in whatever order they end, and
 * drops the statuses of those it did not start.
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
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#define CARRIER "pipeline: carrier"

struct child {
    pid_t pid;
    int status;
    int running;
};

static struct sigaction pipe_was, chld_was;
static struct child *children;
static int child_count;

static void say(const char *what, int error)
{
    const char *why = strerror(error);
    struct iovec v[] = {{"pipeline: ", 10},
                        {(char *)what, strlen(what)},
                        {": ", 2},
                        {(char *)why, strlen(why)},
                        {"\n", 1}};
    if (writev(2, v, 5) < 0)
        return;
}

static void shut(int *fd)
{
    if (*fd > 2)
        close(*fd);
    *fd = -1;
}

static int tube(int ends[2])
{
    if (pipe2(ends, O_CLOEXEC) < 0) {
        say("pipe", errno);
        return -1;
    }
    for (int i = 0; i < 2; i++) {
        int up = fcntl(ends[i], F_DUPFD_CLOEXEC, 8);
        if (up < 0)
            up = fcntl(ends[i], F_DUPFD_CLOEXEC, 3);
        if (up < 0) {
            say("pipe", errno);
            close(ends[0]);
            close(ends[1]);
            return -1;
        }
        close(ends[i]);
        ends[i] = up;
    }
    return 0;
}

/* The search on PATH by hand, and a script without #! given to sh. */
static int execute(char **argv)
{
    const char *path = getenv("PATH");
    int closed = 0, error;
    size_t n = 0;

    while (argv[n] != NULL)
        n++;
    if (path == NULL)
        path = "/bin:/usr/bin";
    if (strchr(argv[0], '/') != NULL)
        path = "";
    if (argv[0][0] == '\0')
        return ENOENT;
    for (;;) {
        size_t len = strcspn(path, ":");
        char name[4096];
        if (snprintf(name, sizeof name, "%.*s%s%s", (int)len, path, len > 0 ? "/" : "", argv[0]) <
            (int)sizeof name) {
            execve(name, argv, environ);
            error = errno;
        } else {
            error = ENAMETOOLONG;
        }
        if (error == ENOEXEC) {
            char *shell[n + 2];
            shell[0] = "sh";
            shell[1] = name;
            memcpy(shell + 2, argv + 1, n * sizeof *argv);
            execve("/bin/sh", shell, environ);
            return errno;
        }
        closed = closed || error == EACCES;
        if (strchr(argv[0], '/') != NULL)
            return error;
        if (error != ENOENT && error != ENOTDIR && error != EACCES)
            return error;
        if (path[len] == '\0')
            return closed ? EACCES : ENOENT;
        path += len + 1;
    }
}

static struct child *add(pid_t pid)
{
    struct child *c = &children[child_count++];
    *c = (struct child){.pid = pid, .running = 1};
    return c;
}

/* Returns NULL when there is no process for it. */
static struct child *stage(char **argv, int in, int out)
{
    int told[2], error;

    if (tube(told) < 0)
        return NULL;
    pid_t pid = vfork();
    if (pid == 0) {
        if (in != 0)
            dup2(in, 0);
        if (out != 1)
            dup2(out, 1);
        sigaction(SIGPIPE, &pipe_was, NULL);
        sigaction(SIGCHLD, &chld_was, NULL);
        error = execute(argv);
        signal(SIGPIPE, SIG_IGN); /* the told status is read later */
        if (write(told[1], &error, sizeof error) < 0)
            _exit(1);
        _exit(error == ENOENT || error == ENOTDIR ? 127 : 126);
    }
    int why = errno;
    close(told[1]);
    if (pid < 0)
        say("vfork", why);
    else if (read(told[0], &error, sizeof error) == (ssize_t)sizeof error)
        say(argv[0], error);
    close(told[0]);
    return pid < 0 ? NULL : add(pid);
}

/* A carrier between `in` and `out`; its count comes out of *report, when there is one. */
static struct child *carrier(int in, int out, int *report)
{
    int told[2] = {-1, -1};

    if (report != NULL && tube(told) < 0)
        return NULL;
    pid_t pid = fork();
    if (pid == 0) {
        char a[16], b[16], c[16], *argv[] = {CARRIER, a, b, c, NULL};
        setpgid(0, 0);
        snprintf(a, sizeof a, "%d", in);
        snprintf(b, sizeof b, "%d", out);
        snprintf(c, sizeof c, "%d", told[1]);
        fcntl(in, F_SETFD, 0);
        fcntl(out, F_SETFD, 0);
        if (told[1] >= 0)
            fcntl(told[1], F_SETFD, 0);
        char self[4096];
        ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
        self[len > 0 ? len : 0] = 0;
        execve(self, argv, environ);
        say("/proc/self/exe", errno);
        _exit(1);
    }
    int why = errno;
    if (told[1] >= 0)
        close(told[1]);
    if (pid < 0) {
        say("fork", why);
        if (told[0] >= 0)
            close(told[0]);
        return NULL;
    }
    if (report != NULL)
        *report = told[0];
    return add(pid);
}

static int carry(char **argv)
{
    int in = atoi(argv[1]), out = atoi(argv[2]), told = atoi(argv[3]);
    static char buffer[12345];
    uint64_t count = 0;

    signal(SIGPIPE, SIG_IGN);
    if (in != 0)
        close(0);
    if (out != 1)
        close(1);
    for (;;) {
        struct pollfd p[2] = {{in, POLLIN, 0}, {out, 0, 0}};
        if (poll(p, 2, -1) < 0)
            continue;
        if (p[1].revents != 0)
            break;
        ssize_t n = read(in, buffer, sizeof buffer), done = 0;
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0)
            break;
        while (done < n) {
            ssize_t k = write(out, buffer + done, (size_t)(n - done));
            if (k >= 0) {
                done += k;
                count += (uint64_t)k;
            } else if (errno == EAGAIN) {
                struct pollfd q = {out, POLLOUT, 0};
                poll(&q, 1, -1);
            } else if (errno != EINTR) {
                goto end;
            }
        }
    }
end:
    close(in);
    close(out);
    if (told >= 0 && write(told, &count, sizeof count) != (ssize_t)sizeof count)
        return 1;
    return 0;
}

static void collect(void)
{
    for (int left = child_count; left > 0;) {
        int status;
        pid_t pid = wait(&status);
        if (pid < 0 && errno == EINTR)
            continue;
        if (pid < 0)
            return;
        for (int i = 0; i < child_count; i++) {
            if (children[i].running && children[i].pid == pid) {
                children[i].running = 0;
                children[i].status =
                    WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
                left--;
            }
        }
    }
}

static int coprocess(char **argv)
{
    int down[2], up[2], good;

    if (tube(down) < 0)
        return 1;
    if (tube(up) < 0) {
        shut(&down[0]);
        shut(&down[1]);
        return 1;
    }
    struct child *child = stage(argv, down[0], up[1]), *one = NULL, *two = NULL;
    shut(&down[0]);
    shut(&up[1]);
    if (child != NULL)
        one = carrier(0, down[1], NULL);
    shut(&down[1]);
    if (one != NULL)
        two = carrier(up[0], 1, NULL);
    shut(&up[0]);
    good = two != NULL;
    collect();
    return good && one->status == 0 && two->status == 0 ? child->status : 1;
}

static int usage(void)
{
    fputs("usage: pipeline [-o pipefail] [--meter] CMD [ARG...] ['|' CMD [ARG...]]...\n"
          "       pipeline --coprocess CMD [ARG...]\n",
          stderr);
    return 2;
}

static int run(char ***stages, int count, int meter, int pipefail)
{
    struct child *of[count];
    int reports[count], links = 0, started = 0, in = 0, good = 1, status = 0, failure = 0;

    while (good && started < count) {
        int a[2] = {-1, 1}, b[2] = {-1, -1}, linked = meter && started + 1 < count;
        good = started + 1 == count || tube(a) == 0;
        if (good && linked && tube(b) < 0)
            good = 0;
        if (good)
            good = (of[started] = stage(stages[started], in, a[1])) != NULL;
        started += good;
        shut(&in);
        if (a[1] != 1)
            shut(&a[1]);
        if (good && linked)
            good = carrier(a[0], b[1], &reports[links]) != NULL ? (links++, 1) : 0;
        if (linked) {
            shut(&a[0]);
            shut(&b[1]);
        }
        in = linked ? b[0] : a[0];
        if (!good)
            shut(&in);
    }
    collect();
    for (int i = 0; i < started; i++) {
        status = of[i]->status;
        failure = status != 0 ? status : failure;
    }
    for (int i = 0; i < links; i++) {
        uint64_t bytes;
        if (read(reports[i], &bytes, sizeof bytes) != (ssize_t)sizeof bytes)
            good = 0;
        else if (good)
            dprintf(2, "link %d: %ju bytes\n", i + 1, (uintmax_t)bytes);
        close(reports[i]);
    }
    return !good ? 1 : pipefail ? failure : status;
}

int main(int argc, char **argv)
{
    int i = 1, pipefail = 0, meter = 0, both = 0, count = 1, status;

    if (argc == 4 && strcmp(argv[0], CARRIER) == 0)
        return carry(argv);
    for (; i < argc && argv[i][0] == '-' && argv[i][1] != '\0'; i++) {
        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        }
        if (strcmp(argv[i], "-o") == 0 && i + 1 < argc && strcmp(argv[i + 1], "pipefail") == 0)
            pipefail = ++i;
        else if (strcmp(argv[i], "--meter") == 0)
            meter = i;
        else if (strcmp(argv[i], "--coprocess") == 0)
            both = i;
        else
            return usage();
    }
    char **stages[argc + 1];
    stages[0] = argv + i;
    for (; i < argc; i++) {
        if (strcmp(argv[i], "|") == 0) {
            argv[i] = NULL;
            stages[count++] = argv + i + 1;
        }
    }
    for (i = 0; i < count; i++)
        if (*stages[i] == NULL)
            return usage();
    if (both && (meter || pipefail || count > 1))
        return usage();
    struct sigaction ignore = {.sa_handler = SIG_IGN}, standard = {.sa_handler = SIG_DFL};
    sigaction(SIGPIPE, &ignore, &pipe_was);
    sigaction(SIGCHLD, &standard, &chld_was);
    children = calloc(2 * (size_t)count + 2, sizeof *children);
    if (children == NULL) {
        say("memory", errno);
        return 1;
    }
    status = both ? coprocess(stages[0]) : run(stages, count, meter, pipefail);
    free(children);
    return status;
}
