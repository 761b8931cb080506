/* Waits with epoll; the time is a timerfd; our FIFO has two descriptors, one for each direction. */
#define _GNU_SOURCE
#include "proto.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

static int out, in, keep, events, timer, ms = 2000;
static char path[PATH_MAX];
static unsigned number;
static char replies[65536];
static size_t have;

static int say(const char *what, const char *why, int status)
{
    fprintf(stderr, "client: %s: %s\n", what, why);
    return status;
}

static void watch(int how, int fd, uint32_t what)
{
    epoll_ctl(events, how, fd, &(struct epoll_event){what, {.fd = fd}});
}

/* 1: what was watched has happened (or the server has gone: look), 0: the time is over. */
static int wait_event(bool *gone)
{
    struct epoll_event event[4];
    int count = epoll_wait(events, event, 4, ms == 0 ? 0 : -1), result = 1;

    if (ms == 0)
        result = count > 0;
    for (int i = 0; i < count; i++) {
        if (event[i].data.fd == timer)
            result = 0;
        if (event[i].data.fd == out && event[i].events & EPOLLERR)
            *gone = true;
    }
    return result;
}

/* -1: not there yet; else 0 or 1. */
static int own_reply(void)
{
    char id[32], *newline;
    int len = sprintf(id, "%u ", number), status = -1;

    while (status < 0 && (newline = memchr(replies, '\n', have)) != NULL) {
        size_t line = (size_t)(newline - replies);
        const char *rest = replies + len;
        int left = (int)(newline - rest);

        if (left >= 2 && !memcmp(replies, id, (size_t)len) && !memcmp(rest, "OK", 2) &&
            (left == 2 || rest[2] == ' ')) {
            status = 0;
            if (left > 3)
                fwrite(rest + 3, 1, (size_t)left - 3, stdout);
            puts("");
            if (fflush(stdout))
                status = say("stdout", strerror(errno), 2);
        } else if (left >= 4 && !memcmp(replies, id, (size_t)len) && !memcmp(rest, "ERR ", 4)) {
            status = say("error", strndupa(rest + 4, (size_t)left - 4), 1);
        }
        have -= line + 1;
        memmove(replies, newline + 1, have);
    }
    return status;
}

/* 0: OK, 1: ERR, 2: failed, 3: no answer */
static int ask(const char *what, const char *words, size_t len)
{
    struct itimerspec in_ms = {.it_value = {ms / 1000, ms % 1000 * 1000000}};
    char line[PIPE_BUF];
    int head = snprintf(line, sizeof line, "%d %u ", getpid(), ++number), status = 1;
    bool gone = false;

    if ((size_t)head + len + 1 > sizeof line)
        return say(what, "too long", 2);
    memcpy(line + head, words, len);
    line[(size_t)head + len] = '\n';
    timerfd_settime(timer, 0, &in_ms, NULL);
    watch(EPOLL_CTL_MOD, out, EPOLLOUT);
    while (write(out, line, (size_t)head + len + 1) < 0) {
        if (errno != EAGAIN || gone)
            return say("server", "gone", 3);
        if (!wait_event(&gone))
            return say("server", "busy", 3);
    }
    watch(EPOLL_CTL_MOD, out, 0);
    for (;;) {
        ssize_t got;
        int answer;

        status = wait_event(&gone);
        if (have == sizeof replies)
            have = 0;
        got = read(in, replies + have, sizeof replies - have);
        have += got > 0 ? (size_t)got : 0;
        answer = own_reply();
        if (answer >= 0)
            return answer;
        if (status == 0 || (gone && got <= 0))
            return say("server", gone ? "gone" : "no answer", 3);
    }
}

int main(int argc, char **argv)
{
    int first = 1, status = 0, answer;
    struct stat st;
    const char *requests;

    if (argc > 2 && !strcmp(argv[1], "-t")) {
        ms = proto_number(argv[2]);
        first = 3;
    }
    if (ms < 0 || argc - first < 2 || argc - first > 3 ||
        (!strcmp(argv[first + 1], "-") && argc - first > 2))
        return fputs("usage: client [-t MS] DIR OP [TEXT]\n", stderr), 2;
    for (int i = first + 1; i < argc; i++) {
        if (strchr(argv[i], '\n'))
            return fputs("usage: no newline in OP and TEXT\n", stderr), 2;
    }
    signal(SIGPIPE, SIG_IGN);
    if (asprintf((char **)&requests, "%s/requests", argv[first]) < 0)
        return 1;
    snprintf(path, sizeof path, "%s/reply.%d", argv[first], getpid());
    if (lstat(requests, &st) < 0 || !S_ISFIFO(st.st_mode) ||
        (out = open(requests, O_WRONLY | O_NONBLOCK | O_CLOEXEC)) < 0)
        return say(requests, "no server", 3);
    free((char *)requests);
    unlink(path);
    umask(0);
    if (mkfifo(path, 0600) < 0)
        return say(path, strerror(errno), 1);
    in = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    keep = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    events = epoll_create1(EPOLL_CLOEXEC);
    watch(EPOLL_CTL_ADD, out, 0);
    watch(EPOLL_CTL_ADD, in, EPOLLIN);
    watch(EPOLL_CTL_ADD, timer, EPOLLIN);
    if (strcmp(argv[first + 1], "-") != 0) {
        char *words;
        int len = asprintf(&words, "%s%s%s", argv[first + 1], argc - first > 2 ? " " : "",
                           argc - first > 2 ? argv[first + 2] : "");

        answer = ask("request", words, (size_t)len);
        status = answer == 2 ? 1 : answer;
        free(words);
    } else {
        char *line = NULL, what[32];
        size_t room = 0;
        ssize_t len;

        for (int n = 1; status < 2 && (len = getline(&line, &room, stdin)) > 0; n++) {
            len -= line[len - 1] == '\n';
            sprintf(what, "line %d", n);
            answer = memchr(line, 0, (size_t)len) ? say(what, "a NUL", 2)
                                                  : ask(what, line, (size_t)len);
            status = answer > status ? answer : status;
        }
        status = status == 2 ? 1 : status;
        free(line);
    }
    unlink(path);
    close(out), close(in), close(keep), close(timer), close(events);
    return status;
}
