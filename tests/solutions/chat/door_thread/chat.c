#define _GNU_SOURCE
#include "irc.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What the listener tells the typist: a letter, then a text up to a newline. */
enum { WELCOME = 'w', REFUSED = 'r', ASKED = 'a', CLOSED = 'c' };

static void print(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void print(const char *format, ...)
{
    char line[2048];
    va_list list;
    va_start(list, format);
    int len = vsnprintf(line, sizeof line - 1, format, list);
    va_end(list);
    line[len++] = '\n';
    if (write(1, line, (size_t)len) != len) { /* at once: the other process prints, too */
        fprintf(stderr, "chat: stdout: %s\n", strerror(errno));
        _exit(1);
    }
}

/* ---- the listener: a process of its own ---- */

static void understand(char *line, FILE *typist)
{
    char *parts[18], *nick = "";
    int n = 0;
    if (*line == ':') {
        nick = line + 1;
        line = strchrnul(line, ' ');
        if (*line)
            *line++ = '\0';
        *strchrnul(nick, '!') = '\0';
    }
    while (*(line += strspn(line, " ")) && n < 16) {
        parts[n++] = line;
        if (*line == ':' && n > 1) {
            parts[n - 1]++;
            break;
        }
        line = strchrnul(line, ' ');
        if (*line)
            *line++ = '\0';
    }
    if (n == 0)
        return;
    parts[n] = "";
    parts[n + 1] = "";
    const char *verb = parts[0];
    if (strcmp(verb, "PING") == 0) {
        fprintf(typist, "%c%s\n", ASKED, parts[1]);
    } else if (strcmp(verb, "PRIVMSG") == 0 || strcmp(verb, "NOTICE") == 0) {
        print(parts[1][0] == '#' ? "<%s> %s" : "*%s* %s", nick, parts[2]);
    } else if (strcmp(verb, "PONG") != 0) {
        char all[1600] = "";
        for (int i = 0; i < n; i++)
            snprintf(all + strlen(all), sizeof all - strlen(all), " %s", parts[i]);
        print("-- %s:%s", nick, all);
    }
    if (strcmp(verb, "001") == 0)
        fprintf(typist, "%c\n", WELCOME);
    if (strcmp(verb, "432") == 0 || strcmp(verb, "433") == 0)
        fprintf(typist, "%c\n", REFUSED);
    fflush(typist);
}

static int listen_to(int server, int typist_fd)
{
    FILE *typist = fdopen(typist_fd, "w");
    char bytes[999], line[1024];
    size_t len = 0;
    ssize_t n;
    while ((n = recv(server, bytes, sizeof bytes, 0)) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            if (bytes[i] == '\n') {
                line[len] = '\0';
                len = 0;
                understand(line, typist);
            } else if (bytes[i] != '\r' && len < 700) {
                line[len++] = bytes[i];
            }
        }
    }
    fprintf(typist, "%c%s\n", CLOSED, n < 0 ? strerror(errno) : "the server has gone");
    fclose(typist);
    close(server);
    return 0;
}

/* ---- the typist ---- */

static int server;
static char channel[1024];
static int lines;

static bool command(const char *format, ...) __attribute__((format(printf, 1, 2)));
static bool command(const char *format, ...)
{
    char line[2048];
    va_list list;
    va_start(list, format);
    int len = vsnprintf(line, sizeof line - 2, format, list), sent = 0;
    va_end(list);
    if (len > IRC_CONTENT_MAX)
        return false;
    line[len++] = '\r';
    line[len++] = '\n';
    while (sent < len) {
        ssize_t n = send(server, line + sent, (size_t)(len - sent), MSG_NOSIGNAL);
        if (n < 0)
            break; /* the listener will say so */
        sent += (int)n;
    }
    return true;
}

/* 0: go on; 1: this was the last line; -1: it is too long. */
static int typed(char *line)
{
    char *rest = line, *word;
    bool fits = true;
    lines++;
    if (line[0] == '\0')
        return 0;
    if (line[0] != '/') {
        if (channel[0] == '\0')
            print("-- you are on no channel");
        else
            fits = command("PRIVMSG %s :%s", channel, line);
        return fits ? 0 : -1;
    }
    char *verb = strsep(&rest, " ");
    if (rest == NULL)
        rest = verb + strlen(verb);
    rest += strspn(rest, " ");
    if (strcmp(verb, "/quit") == 0)
        return command("QUIT :%s", rest) ? 1 : -1;
    if (strcmp(verb, "/part") == 0 && channel[0]) {
        command("PART %s", channel);
        channel[0] = '\0';
        return 0;
    }
    word = strsep(&rest, " ");
    if (word[0] == '\0' || (strcmp(verb, "/msg") == 0 && (rest == NULL || rest[0] == '\0')))
        print("-- %s: this lacks something, or there is no such command", verb);
    else if (strcmp(verb, "/msg") == 0)
        fits = command("PRIVMSG %s :%s", word, rest);
    else if (strcmp(verb, "/nick") == 0)
        fits = command("NICK %s", word);
    else if (strcmp(verb, "/join") == 0) {
        fits = command("JOIN %s", word);
        strcpy(channel, word);
    } else
        print("-- %s: there is no such command", verb);
    return fits ? 0 : -1;
}

static long long milliseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1000LL * t.tv_sec + t.tv_nsec / 1000000;
}

static int complain(const char *what, const char *why)
{
    fprintf(stderr, "chat: %s: %s\n", what, why);
    return 1;
}

static int type(const char *nick, int from_listener)
{
    char line[1025], news[2048], bytes[512];
    size_t len = 0, news_len = 0;
    bool welcome = false, leaving = false;
    long long end = 0;
    command("NICK %s", nick);
    command("USER %.9s x x :%s", nick, nick);
    for (;;) {
        struct pollfd fds[] = {{.fd = from_listener, .events = POLLIN},
                               {.fd = welcome && !leaving ? 0 : -1, .events = POLLIN}};
        long long left = leaving ? end - milliseconds() : -1;
        ssize_t n;
        if (leaving && left <= 0)
            return 0;
        if (poll(fds, 2, (int)left) <= 0)
            continue;
        if (fds[0].revents) {
            n = read(from_listener, news + news_len, sizeof news - 1 - news_len);
            if (n <= 0)
                return leaving ? 0 : complain("listener", "has died");
            news_len += (size_t)n;
            for (char *newline; (newline = memchr(news, '\n', news_len)) != NULL;) {
                *newline++ = '\0';
                if (news[0] == WELCOME)
                    welcome = true;
                if (news[0] == ASKED)
                    command("PONG :%s", news + 1);
                if (news[0] == REFUSED && !welcome)
                    return complain(nick, "not this nick");
                if (news[0] == CLOSED)
                    return leaving ? 0 : complain("server", news + 1);
                news_len -= (size_t)(newline - news);
                memmove(news, newline, news_len);
            }
        }
        if (!fds[1].revents)
            continue;
        n = read(0, bytes, sizeof bytes);
        if (n < 0)
            return complain("stdin", strerror(errno));
        if (n == 0 && len > 0) {
            bytes[0] = '\n';
            n = 1; /* and the end comes again */
        }
        for (ssize_t i = 0; i < n && !leaving; i++) {
            int what = 0;
            if (bytes[i] == '\n') {
                line[len] = '\0';
                len = 0;
                what = typed(line);
            } else if (len < sizeof line - 1) {
                line[len++] = bytes[i];
            }
            if (what < 0) {
                snprintf(news, sizeof news, "line %d", lines);
                return complain(news, "too long");
            }
            leaving = what > 0;
        }
        if (n == 0) {
            command("QUIT");
            leaving = true;
        }
        if (leaving)
            end = milliseconds() + 2000;
    }
}

int main(int argc, char **argv)
{
    struct addrinfo *all, hints = {.ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP};
    int error, ends[2], result;
    pid_t child, parent = getpid();
    if (argc != 4 || argv[2][strspn(argv[2], "0123456789")] || atoi(argv[2]) < 1 ||
        atoi(argv[2]) > 65535 || argv[3][0] == '\0') {
        fprintf(stderr, "usage: chat HOST PORT NICK\n");
        return 2;
    }
    if ((error = getaddrinfo(argv[1], argv[2], &hints, &all)) != 0)
        return complain(argv[1], gai_strerror(error));
    server = -1;
    for (struct addrinfo *a = all; a != NULL && server < 0; a = a->ai_next) {
        server = socket(a->ai_family, a->ai_socktype, a->ai_protocol);
        if (server >= 0 && connect(server, a->ai_addr, a->ai_addrlen) != 0) {
            error = errno;
            close(server);
            server = -1;
        }
    }
    freeaddrinfo(all);
    if (server < 0)
        return complain(argv[1], strerror(error));
    if (pipe(ends) < 0 || (child = fork()) < 0)
        return complain("fork", strerror(errno));
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        close(ends[0]);
        _exit(listen_to(server, ends[1]));
    }
    close(ends[1]);
    result = type(argv[3], ends[0]);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(ends[0]);
    close(server);
    return result;
}
