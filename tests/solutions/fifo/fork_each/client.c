/* Calls that wait, and SIGALRM: its handler cleans up and ends the process with 3. */
#define _GNU_SOURCE
#include "proto.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

static char own[PATH_MAX];
static int ms = PROTO_TIMEOUT_MS, to_server, from_server;
static long id;

static void over(int n)
{
    static const char text[] = "client: time is over\n";

    unlink(own);
    if (write(2, text, sizeof text - 1) < n)
        _exit(3);
    _exit(3);
}

static void set_alarm(int in_ms)
{
    struct itimerval timer = {.it_value = {in_ms / 1000, in_ms % 1000 * 1000}};

    setitimer(ITIMER_REAL, &timer, NULL);
}

static int quit(int status, const char *what, const char *why)
{
    if (why != NULL)
        fprintf(stderr, "client: %s: %s\n", what, why);
    if (own[0] != '\0')
        unlink(own);
    return status;
}

/* Byte by byte: what follows the reply stays in the FIFO. Returns its length, -1 without one. */
static ssize_t read_line(char line[PIPE_BUF])
{
    size_t len = 0;
    char byte;

    for (;;) {
        if (read(from_server, &byte, 1) != 1)
            return -1;
        if (byte == '\n')
            return (ssize_t)len;
        if (len < PIPE_BUF)
            line[len++] = byte;
    }
}

/* 0 OK, 1 ERR, 3 no answer, 4 not sent or not printed */
static int ask(const char *what, const char *words, size_t len)
{
    char line[PIPE_BUF + 128];
    int head = snprintf(line, sizeof line, "%d %ld ", (int)getpid(), ++id);
    char *reply = line, own_id[24];
    ssize_t got;

    snprintf(own_id, sizeof own_id, "%ld ", id);
    if ((size_t)head + len >= PIPE_BUF)
        return quit(4, what, "too long");
    memcpy(line + head, words, len);
    line[(size_t)head + len] = '\n';
    set_alarm(ms);
    if (write(to_server, line, (size_t)head + len + 1) < 0)
        return quit(3, what, strerror(errno));
    for (;;) {
        got = read_line(line);
        if (got < 0)
            return quit(3, what, "no answer");
        line[got] = '\0';
        if (strncmp(line, own_id, strlen(own_id)) == 0) {
            reply = line + strlen(own_id);
            got -= reply - line;
            break;
        }
    }
    set_alarm(0);
    if (strncmp(reply, "ERR", 3) == 0) {
        fprintf(stderr, "client: %s\n", reply);
        return 1;
    }
    reply += 3; /* "OK " */
    got -= 3;
    if (got > 0)
        fwrite(reply, 1, (size_t)got, stdout);
    putchar('\n');
    return fflush(stdout) == 0 ? 0 : quit(4, "stdout", strerror(errno));
}

static int ask_lines(void)
{
    char *line = NULL, where[40];
    size_t room = 0;
    ssize_t len;
    int result = 0, one = 0;

    for (int n = 1; one < 2 && (len = getline(&line, &room, stdin)) != -1; n++) {
        if (line[len - 1] == '\n')
            len--;
        snprintf(where, sizeof where, "line %d", n);
        if (strnlen(line, (size_t)len) < (size_t)len)
            one = quit(4, where, "NUL");
        else
            one = ask(where, line, (size_t)len);
        if (one > result)
            result = one;
    }
    free(line);
    return result == 4 ? 1 : result;
}

int main(int argc, char **argv)
{
    char path[PATH_MAX], *words;
    int option, status;
    struct stat st;

    while ((option = getopt(argc, argv, "+t:")) == 't') {
        ms = proto_number(optarg);
        if (ms < 0)
            option = '?';
        if (option == '?')
            break;
    }
    argv += optind;
    argc -= optind;
    if (option == '?' || argc < 2 || argc > 3 || (argc == 3 && strcmp(argv[1], "-") == 0) ||
        strchr(argv[1], '\n') != NULL || (argc == 3 && strchr(argv[2], '\n') != NULL))
        return quit(2, "usage", "client [-t MS] DIR OP [TEXT]");
    signal(SIGPIPE, SIG_IGN);
    signal(SIGALRM, over);
    snprintf(path, sizeof path, "%s/requests", argv[0]);
    if (lstat(path, &st) < 0 || !S_ISFIFO(st.st_mode))
        return quit(3, path, "no FIFO");
    to_server = open(path, O_WRONLY | O_NONBLOCK);
    if (to_server < 0)
        return quit(3, path, strerror(errno));
    snprintf(own, sizeof own, "%s/reply.%d", argv[0], (int)getpid());
    if (remove(own) < 0 && errno != ENOENT)
        return quit(1, own, strerror(errno));
    if (mkfifo(own, 0600) < 0)
        return quit(1, own, strerror(errno));
    from_server = open(own, O_RDWR | O_NONBLOCK);
    if (ms > 0) { /* from here on calls wait; with 0 none does */
        fcntl(to_server, F_SETFL, 0);
        fcntl(from_server, F_SETFL, 0);
    }
    if (strcmp(argv[1], "-") == 0) {
        status = ask_lines();
    } else {
        words = malloc(strlen(argv[1]) + 2 + (argc == 3 ? strlen(argv[2]) : 0));
        strcpy(words, argv[1]);
        if (argc == 3)
            strcat(strcat(words, " "), argv[2]);
        status = ask("the request", words, strlen(words));
        free(words);
    }
    close(to_server);
    close(from_server);
    return quit(status == 4 ? 1 : status, NULL, NULL);
}
