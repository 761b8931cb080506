/*
 * The end of the FIFO comes, each time that its last writer has closed it, and then it is opened
 * again, for poll() to wait for the next writer; the old end is closed only afterwards, so that
 * there is always a reader. The signals' handler cleans up and ends the process.
 */
#define _GNU_SOURCE
#include "proto.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[PATH_MAX];
static int in;

static void handler(int n)
{
    (void)n;
    unlink(path);
    for (int fd = 3; fd < 16; fd++) /* whatever was open in this moment */
        close(fd);
    _exit(0);
}

static void deliver(const char *dir, const char *pid, const char *id, const char *status,
                    const char *text)
{
    char reply[PIPE_BUF + 64], name[PATH_MAX];
    struct stat st;
    int out;

    snprintf(reply, sizeof reply, *text ? "%s %s %s\n" : "%s %s\n", id, status, text);
    if (!proto_reply_path(name, dir, pid) || lstat(name, &st) < 0 || !S_ISFIFO(st.st_mode))
        return;
    out = open(name, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (out < 0)
        return;
    if (write(out, reply, strlen(reply)) < 0)
        errno = 0;
    close(out);
}

static void serve(const char *dir, char *line)
{
    static unsigned long count;
    char number[24], *fields[3] = {NULL, NULL, NULL}, *text = line;

    for (int i = 0; i < 3 && text != NULL; i++)
        fields[i] = strsep(&text, " ");
    for (int i = 0; i < 2; i++) {
        size_t len = fields[i] == NULL ? 0 : strlen(fields[i]);

        if (len < 1 || len > 10 || strspn(fields[i], "0123456789") != len)
            return;
    }
    if (fields[2] == NULL)
        fields[2] = "";
    if (text == NULL)
        text = strchr(line, '\0');
    if (strcmp(fields[2], "ECHO") == 0) {
    } else if (strcmp(fields[2], "UPPER") == 0) {
        for (char *c = text; *c != '\0'; c++)
            *c = *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c;
    } else if (strcmp(fields[2], "REVERSE") == 0) {
        for (char *a = text, *b = strchr(text, '\0') - 1; a < b; a++, b--) {
            char c = *a;

            *a = *b;
            *b = c;
        }
    } else if (strcmp(fields[2], "COUNT") == 0) {
        sprintf(number, "%zu", strlen(text));
        text = number;
    } else if (strcmp(fields[2], "NEXT") == 0) {
        sprintf(number, "%lu", ++count);
        text = number;
    } else {
        deliver(dir, fields[0], fields[1], "ERR", "not an operation of mine");
        return;
    }
    deliver(dir, fields[0], fields[1], "OK", text);
}

static int fail(const char *why)
{
    fprintf(stderr, "server: %s: %s\n", path, why);
    return 1;
}

int main(int argc, char **argv)
{
    static char line[PIPE_BUF], bytes[4 * PIPE_BUF];
    struct sigaction action = {.sa_handler = handler};
    size_t len = 0;
    bool drop = false;
    struct stat st;
    sigset_t ends;

    if (argc != 2) {
        fputs("usage: server DIR\n", stderr);
        return 2;
    }
    if (!proto_requests_path(path, argv[1]))
        return fail("too long");
    if (lstat(path, &st) == 0) {
        if (!S_ISFIFO(st.st_mode))
            return fail("is something else");
        in = open(path, O_WRONLY | O_NONBLOCK);
        if (in >= 0)
            return fail("has a server");
    }
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    action.sa_mask = ends;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    unlink(path);
    umask(077);
    if (mkfifo(path, 0600) < 0)
        return fail(strerror(errno));
    in = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* a reader, before any writer is there */
    if (in < 0)
        return fail(strerror(errno));
    sigprocmask(SIG_UNBLOCK, &ends, NULL);
    for (;;) {
        struct pollfd readable = {.fd = in, .events = POLLIN};
        ssize_t count;

        poll(&readable, 1, -1);
        count = read(in, bytes, sizeof bytes);
        for (ssize_t i = 0; i < count; i++) {
            if (bytes[i] == '\n') {
                line[len] = '\0';
                if (!drop)
                    serve(argv[1], line);
                drop = false;
                len = 0;
            } else if (bytes[i] == '\0' || len == sizeof line - 1) {
                drop = true;
            } else {
                line[len++] = bytes[i];
            }
        }
        if (count == 0) {
            /* A new description has not seen a writer go, so poll() waits for the next one. */
            int again = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

            close(in);
            in = again;
            len = 0; /* whoever wrote half a line has gone */
            drop = false;
        }
        if (in < 0 || (count < 0 && errno != EAGAIN))
            break;
    }
    unlink(path);
    return fail(strerror(errno));
}
