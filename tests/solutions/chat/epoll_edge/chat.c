#include "irc.h"

#include <errno.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int server = -1;
static char out[1 << 16], current[512], nick[512];
static size_t out_len;
static bool welcome, goodbye;
static long long deadline;
static int line_number;

static long long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "chat: %s: %s\n", what, why);
    exit(1);
}

static void flush_out(void)
{
    ssize_t n = send(server, out, out_len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0)
        memmove(out, out + n, out_len -= (size_t)n);
    else if (n < 0 && errno != EAGAIN && errno != EINTR)
        out_len = 0;
}

__attribute__((format(printf, 1, 2))) static void command(const char *format, ...)
{
    char line[4096];
    va_list list;
    va_start(list, format);
    int len = vsnprintf(line, sizeof line, format, list);
    va_end(list);
    if (len > IRC_CONTENT_MAX) {
        char what[32];
        if (send(server, out, out_len, MSG_NOSIGNAL) < 0) /* what was typed before goes out */
            die("server", strerror(errno));
        snprintf(what, sizeof what, "line %d", line_number);
        die(what, "too long");
    }
    memcpy(line + len, "\r\n", 2);
    if (out_len + (size_t)len + 2 > sizeof out)
        return; /* only answers to a server that asks without reading: it can't miss them */
    memcpy(out + out_len, line, (size_t)len + 2);
    out_len += (size_t)len + 2;
}

static void show(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void show(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vprintf(format, list);
    va_end(list);
    if (putchar('\n') == EOF || fflush(stdout) == EOF)
        die("stdout", strerror(errno));
}

static void say_goodbye(const char *text)
{
    command("QUIT :%s", text);
    goodbye = true;
    deadline = now_ms() + 2000;
}

static void typed(char *line)
{
    char word[16] = "", name[1024] = "";
    int at = 0;
    line_number++;
    if (line[0] == '\0')
        return;
    if (line[0] != '/') {
        if (current[0])
            command("PRIVMSG %s :%s", current, line);
        else
            show("-- no channel");
        return;
    }
    if (line[1] != ' ')
        sscanf(line, "/%15s %n", word, &at);
    if (at == 0)
        at = (int)strlen(line);
    sscanf(line + at, "%1023s", name);
    const char *rest = line + at + strlen(name);
    if (*rest == ' ')
        rest++;
    if (!strcmp(word, "quit")) {
        say_goodbye(line + at);
    } else if (!strcmp(word, "part") && current[0]) {
        command("PART %s :", current);
        current[0] = '\0';
    } else if (!strcmp(word, "join") && name[0]) {
        command("JOIN %s", name);
        strcpy(current, name);
    } else if (!strcmp(word, "nick") && name[0]) {
        command("NICK %s", name);
    } else if (!strcmp(word, "msg") && name[0] && rest[0]) {
        command("PRIVMSG %s :%s", name, rest);
    } else {
        show("-- this is not understood: %s", line);
    }
}

static void came(char *line)
{
    char *from = "", *verb, *text = NULL, *to = "";
    if (line[0] == ':') {
        from = line + 1;
        line += strcspn(line, " ");
        if (*line)
            *line++ = '\0';
        from[strcspn(from, "!")] = '\0';
        line += strspn(line, " ");
    }
    verb = line;
    line += strcspn(line, " ");
    if (*line)
        *line++ = '\0';
    line += strspn(line, " ");
    text = line[0] == ':' ? line : strstr(line, " :");
    if (!strcmp(verb, "PING")) {
        command("PONG %s", line);
    } else if (!strcmp(verb, "PONG")) {
        return;
    } else if (!strcmp(verb, "PRIVMSG") || !strcmp(verb, "NOTICE")) {
        to = line;
        line += strcspn(line, " ");
        if (*line)
            *line++ = '\0';
        line += strspn(line, " ");
        if (*line == ':')
            line++;
        show(*to == '#' ? "<%s> %s" : "*%s* %s", from, line);
    } else if (verb[0] != '\0') {
        if (text != NULL) /* the colon goes */
            memmove(text + (text != line), text + (text != line) + 1, strlen(text + (text != line)));
        show("-- %s %s %s", from, verb, line);
        if (!strcmp(verb, "001"))
            welcome = true;
        if (!welcome && (!strcmp(verb, "432") || !strcmp(verb, "433")))
            die(nick, "the server does not take this nick");
    }
}

static void feed(char *buffer, size_t *len, size_t max, const char *bytes, ssize_t n, void (*f)(char *))
{
    for (ssize_t i = 0; i < n; i++) {
        if (bytes[i] == '\n') {
            if (*len > 0 && buffer[*len - 1] == '\r' && f == came)
                --*len;
            buffer[*len] = '\0';
            *len = 0;
            f(buffer);
        } else if (*len < max) {
            buffer[(*len)++] = bytes[i];
        }
        if (goodbye && f == typed)
            break;
    }
}

int main(int argc, char **argv)
{
    static char in[1001], line[2001];
    size_t in_len = 0, line_len = 0;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found, *a;
    int error;
    if (argc != 4 || atoi(argv[2]) < 1 || atoi(argv[2]) > 65535 || strlen(argv[3]) > 500 ||
        argv[2][strspn(argv[2], "0123456789")]) {
        fprintf(stderr, "usage: chat HOST PORT NICK\n");
        return 2;
    }
    strcpy(nick, argv[3]);
    if ((error = getaddrinfo(argv[1], argv[2], &hints, &found)) != 0)
        die(argv[1], gai_strerror(error));
    for (a = found; a != NULL; a = a->ai_next) {
        server = socket(a->ai_family, a->ai_socktype, 0);
        if (server >= 0 && connect(server, a->ai_addr, a->ai_addrlen) == 0)
            break;
        error = errno;
        if (server >= 0)
            close(server);
    }
    if (a == NULL)
        die(argv[1], strerror(error));
    freeaddrinfo(found);
    command("NICK %s", nick);
    command("USER %.9s 0 * :%s", nick, nick);
    for (;;) {
        char bytes[256];
        fd_set readable, writable;
        struct timeval time, *limit = NULL;
        bool hear = !goodbye && out_len < sizeof out / 4;
        FD_ZERO(&readable);
        FD_ZERO(&writable);
        FD_SET(server, &readable);
        if (hear)
            FD_SET(0, &readable);
        if (out_len > 0)
            FD_SET(server, &writable);
        if (goodbye) {
            long long left = deadline - now_ms();
            if (left <= 0)
                break;
            time = (struct timeval){left / 1000, left % 1000 * 1000};
            limit = &time;
        }
        if (select(server + 1, &readable, &writable, NULL, limit) < 0)
            continue;
        if (FD_ISSET(server, &writable))
            flush_out();
        if (FD_ISSET(server, &readable)) {
            ssize_t n = recv(server, bytes, sizeof bytes, 0);
            if (n <= 0 && goodbye)
                break;
            if (n <= 0)
                die("server", n == 0 ? "has gone" : strerror(errno));
            feed(in, &in_len, sizeof in - 1, bytes, n, came);
        }
        if (hear && FD_ISSET(0, &readable)) {
            ssize_t n = read(0, bytes, sizeof bytes);
            if (n < 0)
                die("stdin", strerror(errno));
            feed(line, &line_len, sizeof line - 1, bytes, n, typed);
            if (n == 0 && line_len > 0)
                feed(line, &line_len, sizeof line - 1, "\n", 1, typed);
            if (n == 0 && !goodbye)
                say_goodbye("");
        }
    }
    close(server);
    return 0;
}
