/* An event loop around epoll and signalfd; a stale FIFO is used again; names relative to the folder. */
#define _GNU_SOURCE
#include "proto.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

static int dir;
static unsigned long next;

static int end(const char *what)
{
    fprintf(stderr, "server: %s: %s\n", what, strerror(errno));
    return 1;
}

static void reply(const char *pid, const char *id, const char *rest, const char *text)
{
    char name[32], line[PIPE_BUF + 1];
    struct stat st;
    int fd, len;

    snprintf(name, sizeof name, "reply.%s", pid);
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISFIFO(st.st_mode))
        return;
    fd = openat(dir, name, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return;
    len = snprintf(line, sizeof line, "%s %s%s%s\n", id, rest, *text ? " " : "", text);
    if (fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode) && write(fd, line, (size_t)len) != len)
        len = 0;
    close(fd);
}

static char *number(char **at)
{
    char *field = strsep(at, " ");
    size_t len = field == NULL ? 0 : strlen(field);

    return len >= 1 && len <= 10 && strspn(field, "0123456789") == len ? field : NULL;
}

static void line(char *bytes, size_t len)
{
    char *at = bytes, *pid, *id, *op, *text, out[PIPE_BUF];
    size_t n;

    if (len + 1 > PIPE_BUF || memchr(bytes, 0, len) != NULL)
        return;
    bytes[len] = 0;
    pid = number(&at);
    id = at == NULL ? NULL : number(&at);
    if (pid == NULL || id == NULL)
        return;
    op = at == NULL ? "" : strsep(&at, " ");
    text = at == NULL ? "" : at;
    n = strlen(text);
    if (!strcmp(op, "ECHO")) {
        strcpy(out, text);
    } else if (!strcmp(op, "UPPER")) {
        for (size_t i = 0; i <= n; i++)
            out[i] = (char)(text[i] - (text[i] >= 'a' && text[i] <= 'z' ? 32 : 0));
    } else if (!strcmp(op, "REVERSE")) {
        for (size_t i = 0; i < n; i++)
            out[i] = text[n - 1 - i];
        out[n] = 0;
    } else if (!strcmp(op, "COUNT")) {
        sprintf(out, "%zu", n);
    } else if (!strcmp(op, "NEXT")) {
        sprintf(out, "%lu", ++next);
    } else {
        reply(pid, id, "ERR", "?");
        return;
    }
    reply(pid, id, "OK", out);
}

int main(int argc, char **argv)
{
    static char buffer[3 * PIPE_BUF];
    size_t have = 0;
    bool skip = false;
    sigset_t set;
    struct stat st;
    int in, keep, events, signals;

    if (argc != 2)
        return fputs("usage: server DIR\n", stderr), 2;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signals = signalfd(-1, &set, SFD_CLOEXEC);
    signal(SIGPIPE, SIG_IGN);
    dir = open(argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return end(argv[1]);
    umask(0);
    if (mkfifoat(dir, "requests", 0600) < 0) {
        if (errno != EEXIST)
            return end(argv[1]);
        if (fstatat(dir, "requests", &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISFIFO(st.st_mode))
            return errno = EEXIST, end("requests");
        keep = openat(dir, "requests", O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
        if (keep >= 0 || errno != ENXIO)
            return errno = EBUSY, end("requests");
    }
    in = openat(dir, "requests", O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (in < 0 || fchmod(in, 0600) < 0)
        return end("requests");
    keep = openat(dir, "requests", O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    events = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(events, EPOLL_CTL_ADD, in, &(struct epoll_event){EPOLLIN, {.fd = in}});
    epoll_ctl(events, EPOLL_CTL_ADD, signals, &(struct epoll_event){EPOLLIN, {.fd = signals}});
    for (;;) {
        struct epoll_event event[2];
        int count = epoll_wait(events, event, 2, -1);
        char *from = buffer, *newline;
        ssize_t got;

        while (count > 0 && event[count - 1].data.fd != signals)
            count--;
        if (count > 0)
            break;
        got = read(in, buffer + have, sizeof buffer - have);
        if (got <= 0)
            continue;
        have += (size_t)got;
        while ((newline = memchr(from, '\n', have)) != NULL) {
            if (!skip)
                line(from, (size_t)(newline - from));
            skip = false;
            have -= (size_t)(newline + 1 - from);
            from = newline + 1;
        }
        memmove(buffer, from, have);
        if (have >= PIPE_BUF) {
            have = 0;
            skip = true;
        }
    }
    unlinkat(dir, "requests", 0);
    close(in), close(keep), close(events), close(signals), close(dir);
    return 0;
}
