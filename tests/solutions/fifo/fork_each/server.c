/*
 * A child for each reply (a server that is short of processes writes it itself); select(), and a
 * pipe to ourselves for the signals. SIGCHLD is ignored, so the children leave no zombies.
 */
#define _GNU_SOURCE
#include "proto.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int self[2];

static void handler(int n)
{
    int error = errno;
    char byte = (char)n;

    if (write(self[1], &byte, 1) < 0)
        byte = 0;
    errno = error;
}

static void send_reply(const char *dir, const char *pid, const char *reply, size_t len)
{
    pid_t child = fork();
    char path[PATH_MAX];
    struct stat st;
    int fd;

    if (child > 0)
        return;
    snprintf(path, sizeof path, "%s/reply.%s", dir, pid);
    if (lstat(path, &st) == 0 && S_ISFIFO(st.st_mode)) {
        fd = open(path, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0 && write(fd, reply, len) < 0)
            errno = 0;
        if (fd >= 0)
            close(fd);
    }
    if (child == 0)
        _exit(0);
}

static void serve_line(const char *dir, const char *line, size_t len)
{
    static unsigned counter;
    char pid[11] = "", id[11] = "", reply[PIPE_BUF + 1], *out = reply;
    const char *end = line + len, *op;
    char *fields[] = {pid, id};
    size_t op_len, text_len;

    for (int f = 0; f < 2; f++) {
        size_t n = 0;

        while (line < end && n < 10 && *line >= '0' && *line <= '9')
            fields[f][n++] = *line++;
        if (n == 0 || (line < end && *line != ' '))
            return;
        fields[f][n] = '\0';
        line += line < end;
    }
    for (op = line, op_len = 0; line < end && *line != ' '; line++)
        op_len++;
    line += line < end;
    text_len = (size_t)(end - line);
    out += sprintf(out, "%s ", id);
#define IS(name) (op_len == sizeof(name) - 1 && memcmp(op, name, op_len) == 0)
    if (IS("NEXT")) {
        out += sprintf(out, "OK %u", ++counter);
    } else if (IS("COUNT")) {
        out += sprintf(out, "OK %zu", text_len);
    } else if (IS("ECHO") || IS("UPPER") || IS("REVERSE")) {
        out += sprintf(out, text_len > 0 ? "OK " : "OK");
        for (size_t i = 0; i < text_len; i++) {
            unsigned char c = (unsigned char)(IS("REVERSE") ? end[-1 - (long)i] : line[i]);

            *out++ = (char)(IS("UPPER") && c < 128 ? toupper(c) : c);
        }
    } else {
        out += sprintf(out, "ERR bad operation");
    }
    *out++ = '\n';
    send_reply(dir, pid, reply, (size_t)(out - reply));
}

static int fail(const char *what)
{
    fprintf(stderr, "server: %s: %s\n", what, strerror(errno));
    return 1;
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    char path[PATH_MAX], buffer[PIPE_BUF + 1];
    size_t have = 0;
    bool skip = false;
    struct stat st;
    int in, out;

    if (argc != 2) {
        fputs("usage: server DIR\n", stderr);
        return 2;
    }
    if (pipe2(self, O_CLOEXEC | O_NONBLOCK) < 0)
        return fail("pipe");
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGCHLD, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    snprintf(path, sizeof path, "%s/requests", argv[1]);
    if (mkfifo(path, 0600) < 0) {
        if (errno != EEXIST || lstat(path, &st) < 0)
            return fail(path);
        if (!S_ISFIFO(st.st_mode)) {
            errno = EEXIST;
            return fail(path);
        }
        out = open(path, O_WRONLY | O_NONBLOCK);
        if (out >= 0 || errno != ENXIO) {
            errno = EBUSY;
            return fail(path);
        }
    }
    if (chmod(path, 0600) < 0)
        return fail(path);
    in = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    out = open(path, O_WRONLY | O_CLOEXEC); /* so that there is always a writer */
    if (in < 0 || out < 0)
        return fail(path);
    for (;;) {
        fd_set set;
        ssize_t count;
        char *newline;

        FD_ZERO(&set);
        FD_SET(in, &set);
        FD_SET(self[0], &set);
        if (select((in > self[0] ? in : self[0]) + 1, &set, NULL, NULL, NULL) < 0)
            continue;
        if (FD_ISSET(self[0], &set))
            break;
        count = read(in, buffer + have, sizeof buffer - have);
        if (count <= 0)
            continue;
        have += (size_t)count;
        while ((newline = memchr(buffer, '\n', have)) != NULL) {
            size_t len = (size_t)(newline - buffer);

            if (!skip && len < PIPE_BUF && memchr(buffer, 0, len) == NULL)
                serve_line(argv[1], buffer, len);
            skip = false;
            have -= len + 1;
            memmove(buffer, newline + 1, have);
        }
        if (have == sizeof buffer) {
            skip = true;
            have = 0;
        }
    }
    unlink(path);
    while (wait(NULL) > 0 || errno == EINTR) /* ends with the last child */
        ;
    close(in), close(out), close(self[0]), close(self[1]);
    return 0;
}
