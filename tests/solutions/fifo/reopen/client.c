/* For each request the server is looked up anew, and a FIFO is made anew; poll(), byte by byte. */
#define _GNU_SOURCE
#include "proto.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *dir;
static long long time_out = 2000;

static long long now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static int find_server(void)
{
    char path[PATH_MAX];
    struct stat st;
    int fd = -1;

    if (proto_requests_path(path, dir) && lstat(path, &st) == 0 && S_ISFIFO(st.st_mode))
        fd = open(path, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        fprintf(stderr, "client: %s: nobody serves here\n", dir);
    return fd;
}

/* What came of it: 0 OK, 1 ERR, 3 nothing. */
static int talk(int out, int in, const char *request, size_t len, const char *id)
{
    struct pollfd fds[] = {{.fd = out, .events = POLLOUT}, {.fd = in, .events = POLLIN}};
    char line[PIPE_BUF + 1];
    size_t have = 0, id_len = strlen(id);
    long long end = now() + time_out + (time_out > 0);
    bool sent = false, gone = false;

    for (;;) {
        long long left = end - now();

        if (!sent) {
            if (write(out, request, len) > 0) {
                sent = true;
                fds[0].events = 0;
            } else if (errno != EAGAIN) {
                return 3;
            }
        }
        while (have <= PIPE_BUF && read(in, line + have, 1) == 1) {
            if (line[have++] != '\n')
                continue;
            line[have - 1] = '\0';
            if (have > id_len + 3 && strncmp(line, id, id_len) == 0 &&
                strncmp(line + id_len, " ERR", 4) == 0) {
                fprintf(stderr, "client: %s\n", line + id_len + 1);
                return 1;
            }
            if (have > id_len + 3 && strncmp(line, id, id_len) == 0 &&
                strncmp(line + id_len, " OK", 3) == 0) {
                size_t from = id_len + (line[id_len + 3] == ' ' ? 4 : 3);

                line[have - 1] = '\n';
                fwrite(line + from, 1, have - from, stdout);
                return 0;
            }
            have = 0;
            if (now() >= end)
                break;
        }
        if (have > PIPE_BUF)
            have = 0;
        if (gone || left <= 0)
            return 3;
        poll(fds, 2, left > INT_MAX ? INT_MAX : (int)left);
        gone = (fds[0].revents & POLLERR) != 0;
    }
}

/* 0 OK, 1 ERR, 2 failed, 3 no answer */
static int ask(const char *what, const char *words, size_t len)
{
    static unsigned number;
    char request[2 * PIPE_BUF], own[PATH_MAX], id[16];
    int head, out, in, status;

    snprintf(id, sizeof id, "%u", ++number);
    head = snprintf(request, sizeof request, "%d %s ", getpid(), id);
    if (len > PIPE_BUF || head + len + 1 > PIPE_BUF || memchr(words, '\n', len) ||
        memchr(words, '\0', len)) {
        fprintf(stderr, "client: %s: not a request\n", what);
        return 2;
    }
    memcpy(request + head, words, len);
    request[head + len] = '\n';
    out = find_server();
    if (out < 0)
        return 3;
    snprintf(own, sizeof own, "%s/reply.%d", dir, getpid());
    unlink(own);
    if (mkfifo(own, 0600) < 0 || (in = open(own, O_RDWR | O_NONBLOCK | O_CLOEXEC)) < 0) {
        fprintf(stderr, "client: %s: %s\n", own, strerror(errno));
        close(out);
        return 2;
    }
    fchmod(in, 0600);
    status = talk(out, in, request, head + len + 1, id);
    close(in);
    unlink(own);
    close(out);
    if (status == 3)
        fprintf(stderr, "client: %s: no answer\n", what);
    if (fflush(stdout) == EOF) {
        fprintf(stderr, "client: stdout: %s\n", strerror(errno));
        return 2;
    }
    return status;
}

static int usage(void)
{
    fputs("usage: client [-t MS] DIR (OP [TEXT] | -)\n", stderr);
    return 2;
}

int main(int argc, char **argv)
{
    int at = 1, status = 0, fd;
    char *line = NULL, what[32];
    size_t room = 0;
    ssize_t len;

    if (at < argc && strcmp(argv[at], "-t") == 0) {
        time_out = at + 1 < argc ? proto_number(argv[at + 1]) : -1;
        at += 2;
    }
    if (time_out < 0 || argc - at < 2 || argc - at > 3 ||
        (argc - at == 3 && strcmp(argv[at + 1], "-") == 0))
        return usage();
    dir = argv[at];
    signal(SIGPIPE, SIG_IGN);
    if (strcmp(argv[at + 1], "-") != 0) {
        len = asprintf(&line, "%s %s", argv[at + 1], argc - at == 3 ? argv[at + 2] : "");
        status = ask("request", line, (size_t)len);
        free(line);
        return status == 2 ? 1 : status;
    }
    fd = find_server();
    if (fd < 0)
        return 3;
    close(fd);
    for (int n = 1; status < 2 && (len = getline(&line, &room, stdin)) > 0; n++) {
        int one;

        sprintf(what, "line %d", n);
        one = ask(what, line, (size_t)len - (line[len - 1] == '\n'));
        status = one > status ? one : status;
    }
    free(line);
    return status == 2 ? 1 : status;
}
