#define _GNU_SOURCE
#include "irc.h"
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int sock, line_no, quitting, registered;
char channel[1200];
char out[100000];
int out_len;
double quit_time;

double now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec + ts.tv_nsec / 1e9;
}

void error(const char *what, const char *why)
{
    fprintf(stderr, "chat: %s: %s\n", what, why);
    exit(1);
}

void do_send(void)
{
    int n = send(sock, out, out_len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) {
        out_len -= n;
        memmove(out, out + n, out_len);
    } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
        out_len = 0; /* recv will notice */
    }
}

int command(const char *fmt, ...)
{
    char line[3000];
    va_list ap;
    int n;
    va_start(ap, fmt);
    n = vsnprintf(line, sizeof(line) - 2, fmt, ap);
    va_end(ap);
    if (n > IRC_CONTENT_MAX) {
        struct pollfd p = {sock, POLLOUT, 0};
        char text[40];
        while (out_len > 0 && poll(&p, 1, -1) > 0)
            do_send();
        sprintf(text, "line %d", line_no);
        error(text, "too long");
    }
    memcpy(line + n, "\r\n", 2);
    n += 2;
    if (out_len + n <= (int)sizeof(out)) {
        memcpy(out + out_len, line, n);
        out_len += n;
    }
    do_send();
    return 0;
}

void print(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
    if (fflush(stdout))
        error("stdout", strerror(errno));
}

void quit(const char *text)
{
    command("QUIT :%s", text);
    quitting = 1;
    quit_time = now() + 2;
}

void typed(char *line)
{
    line_no++;
    if (!strncmp(line, "/msg ", 5)) {
        char *nick = line + 5 + strspn(line + 5, " ");
        char *text = strchr(nick, ' ');
        if (!text || !text[1]) {
            print("-- /msg NICK TEXT");
            return;
        }
        *text++ = 0;
        command("PRIVMSG %s :%s", nick, text);
    } else if (!strcmp(line, "/quit") || !strncmp(line, "/quit ", 6)) {
        quit(line[5] ? line + 6 : "");
    } else if (!strcmp(line, "/part") || !strncmp(line, "/part ", 6)) {
        if (channel[0])
            command("PART %s", channel);
        else
            print("-- no channel");
        channel[0] = 0;
    } else if (!strncmp(line, "/join ", 6) || !strncmp(line, "/nick ", 6)) {
        char *word = strtok(line + 6, " ");
        if (!word) {
            print("-- what?");
        } else if (line[1] == 'n') {
            command("NICK %s", word);
        } else {
            command("JOIN %s", word);
            strcpy(channel, word);
        }
    } else if (line[0] == '/') {
        print("-- unknown or incomplete: %s", line);
    } else if (!channel[0]) {
        print("-- no channel");
    } else {
        command("PRIVMSG %s :%s", channel, line);
    }
}

void received(char *line)
{
    char copy[600], *nick = "", *cmd, *to, *text, *save;
    strcpy(copy, line);
    if (line[0] == ':') {
        nick = strtok_r(line + 1, " ", &save);
        if (!nick)
            return;
        line = save;
        nick[strcspn(nick, "!")] = 0;
    }
    cmd = strtok_r(line, " ", &save);
    if (!cmd)
        return;
    if (!strcmp(cmd, "PING")) {
        text = save + strspn(save, " ");
        command("PONG %s", text);
        return;
    }
    if (!strcmp(cmd, "PONG"))
        return;
    if (!strcmp(cmd, "PRIVMSG") || !strcmp(cmd, "NOTICE")) {
        to = strtok_r(NULL, " ", &save);
        if (to && save) {
            text = save + strspn(save, " ");
            if (text[0] == ':')
                text++;
            print(to[0] == '#' ? "<%s> %s" : "*%s* %s", nick, text);
            return;
        }
    }
    print("-- %s", copy);
    if (!strcmp(cmd, "001"))
        registered = 1;
    if (!registered && (!strcmp(cmd, "432") || !strcmp(cmd, "433")))
        error("nick", "the server does not want it");
}

int main(int argc, char **argv)
{
    struct addrinfo hints, *res, *ai;
    char in[512], line[1100], buf[700], typing[600];
    int in_len = 0, line_len = 0, n, i, e;
    if (argc != 4 || atoi(argv[2]) <= 0 || atoi(argv[2]) > 65535 ||
        strspn(argv[2], "0123456789") != strlen(argv[2])) {
        fprintf(stderr, "usage: chat HOST PORT NICK\n");
        return 2;
    }
    memset(&hints, 0, sizeof(hints));
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    e = getaddrinfo(argv[1], argv[2], &hints, &res);
    if (e)
        error(argv[1], gai_strerror(e));
    sock = -1;
    for (ai = res; ai; ai = ai->ai_next) {
        sock = socket(ai->ai_family, ai->ai_socktype, ai->ai_protocol);
        if (sock < 0)
            continue;
        if (connect(sock, ai->ai_addr, ai->ai_addrlen) == 0)
            break;
        close(sock);
        sock = -1;
    }
    freeaddrinfo(res);
    if (sock < 0)
        error(argv[1], "cannot connect");
    command("NICK %s", argv[3]);
    command("USER guest 0 * :%s", argv[3]);
    while (!quitting || now() < quit_time) {
        struct pollfd p[2];
        p[0].fd = sock;
        p[0].events = POLLIN | (out_len ? POLLOUT : 0);
        p[1].fd = quitting || out_len ? -1 : 0;
        p[1].events = POLLIN;
        p[1].revents = 0;
        if (poll(p, 2, quitting ? (int)((quit_time - now()) * 1000) + 1 : -1) < 0)
            continue;
        if (p[0].revents & POLLOUT)
            do_send();
        if (p[0].revents & (POLLIN | POLLERR | POLLHUP)) {
            n = recv(sock, buf, sizeof(buf), 0);
            if (n <= 0) {
                if (quitting)
                    break;
                error("server", n ? strerror(errno) : "closed");
            }
            for (i = 0; i < n; i++) {
                if (buf[i] == '\n') {
                    in[in_len] = 0;
                    in_len = 0;
                    received(in);
                } else if (buf[i] != '\r' && in_len < 511) {
                    in[in_len++] = buf[i];
                }
            }
        }
        if (p[1].revents) {
            n = read(0, typing, sizeof(typing));
            if (n < 0)
                error("stdin", strerror(errno));
            if (n == 0)
                typing[0] = '\n';
            for (i = 0; i < n || (i == 0 && n == 0); i++) {
                if (typing[i] == '\n') {
                    line[line_len] = 0;
                    if (line_len && !quitting)
                        typed(line);
                    else
                        line_no++;
                    line_len = 0;
                } else if (line_len < 1099) {
                    line[line_len++] = typing[i];
                }
            }
            if (n == 0 && !quitting)
                quit("");
        }
    }
    close(sock);
    return 0;
}
