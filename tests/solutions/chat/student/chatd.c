#define _GNU_SOURCE
#include "irc.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct {
    int connected, registered, closing, dead;
    char nick[IRC_NICK_MAX + 1];
    char user[IRC_USER_MAX + 1];
    char host[INET6_ADDRSTRLEN];
    char in[IRC_CONTENT_MAX + 2];
    int in_len;
    char *out;
    size_t out_len, out_size;
} client_t;

typedef struct channel {
    struct channel *next;
    char name[IRC_CHANNEL_MAX + 1];
    char member[FD_SETSIZE];
} channel_t;

client_t *clients[FD_SETSIZE];
channel_t *channels;
int listen_fd, full;
volatile sig_atomic_t stop;

void on_signal(int sig)
{
    (void)sig;
    stop = 1;
}

void try_send(int fd)
{
    client_t *c = clients[fd];
    ssize_t n;
    if (c->out_len == 0 || c->dead)
        return;
    n = send(fd, c->out, c->out_len, MSG_NOSIGNAL);
    if (n > 0) {
        c->out_len -= n;
        memmove(c->out, c->out + n, c->out_len);
    } else if (errno != EAGAIN && errno != EINTR) {
        c->dead = 1;
    }
    if (c->out_len == 0) {
        free(c->out);
        c->out = NULL;
        c->out_size = 0;
    }
}

void put_line(int fd, const char *line)
{
    client_t *c = clients[fd];
    size_t len = strlen(line);
    if (len > IRC_CONTENT_MAX)
        len = IRC_CONTENT_MAX;
    if (c->dead)
        return;
    if (c->out_len + len + 2 > IRC_WAITING_MAX)
        try_send(fd);
    if (c->dead)
        return;
    if (c->out_len + len + 2 > IRC_WAITING_MAX) {
        c->dead = 1;
        return;
    }
    if (c->out_len + len + 2 > c->out_size) {
        c->out_size = c->out_size ? IRC_WAITING_MAX : 8192; /* nearly nobody needs more */
        c->out = realloc(c->out, c->out_size);
        if (c->out == NULL) {
            c->dead = 1;
            c->out_len = 0;
            return;
        }
    }
    memcpy(c->out + c->out_len, line, len);
    memcpy(c->out + c->out_len + len, "\r\n", 2);
    c->out_len += len + 2;
}

void putf(int fd, const char *fmt, ...)
{
    char line[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    put_line(fd, line);
}

void numeric(int fd, int n, const char *param)
{
    const char *nick = clients[fd]->nick[0] ? clients[fd]->nick : "*";
    if (param)
        putf(fd, ":%s %03d %s %s :%s", IRC_SERVER, n, nick, param, irc_text(n));
    else
        putf(fd, ":%s %03d %s :%s", IRC_SERVER, n, nick, irc_text(n));
}

channel_t *get_channel(const char *name)
{
    channel_t *ch;
    for (ch = channels; ch; ch = ch->next)
        if (strcasecmp(ch->name, name) == 0)
            return ch;
    return NULL;
}

int get_nick(const char *nick)
{
    int fd;
    for (fd = 0; fd < FD_SETSIZE; fd++)
        if (clients[fd] && clients[fd]->nick[0] && strcasecmp(clients[fd]->nick, nick) == 0)
            return fd;
    return -1;
}

int share(int a, int b)
{
    channel_t *ch;
    for (ch = channels; ch; ch = ch->next)
        if (ch->member[a] && ch->member[b])
            return 1;
    return 0;
}

void remove_empty(void)
{
    channel_t **p = &channels;
    while (*p) {
        channel_t *ch = *p;
        if (memchr(ch->member, 1, FD_SETSIZE)) {
            p = &ch->next;
        } else {
            *p = ch->next;
            free(ch);
        }
    }
}

void make_prefix(int fd, char *prefix)
{
    sprintf(prefix, ":%s!%s@%s", clients[fd]->nick, clients[fd]->user, clients[fd]->host);
}

void leave_all(int fd, const char *text)
{
    char prefix[100];
    int other;
    channel_t *ch;
    make_prefix(fd, prefix);
    for (other = 0; other < FD_SETSIZE; other++)
        if (clients[fd]->registered && other != fd && clients[other] && share(fd, other))
            putf(other, "%s QUIT :%s", prefix, text);
    for (ch = channels; ch; ch = ch->next)
        ch->member[fd] = 0;
    remove_empty();
    clients[fd]->registered = 0;
    clients[fd]->nick[0] = 0;
    clients[fd]->closing = 1;
}

void send_names(int fd, channel_t *ch, const char *name)
{
    char line[IRC_LINE_MAX];
    int other, len = 0, n = 0;
    for (other = 0; ch && other < FD_SETSIZE; other++) {
        if (!ch->member[other])
            continue;
        if (n == 0)
            len = sprintf(line, ":%s 353 %s = %s :", IRC_SERVER, clients[fd]->nick, ch->name);
        len += sprintf(line + len, "%s ", clients[other]->nick);
        if (++n == 35) {
            put_line(fd, line);
            n = 0;
        }
    }
    if (n > 0)
        put_line(fd, line);
    numeric(fd, RPL_ENDOFNAMES, name);
}

void welcome(int fd)
{
    client_t *c = clients[fd];
    if (c->registered || !c->nick[0] || !c->user[0])
        return;
    c->registered = 1;
    numeric(fd, RPL_WELCOME, NULL);
    numeric(fd, RPL_YOURHOST, NULL);
    numeric(fd, RPL_CREATED, NULL);
    numeric(fd, RPL_MYINFO, IRC_SERVER " 1.0 - -");
    numeric(fd, ERR_NOMOTD, NULL);
}

void cmd_nick(int fd, char **arg)
{
    char prefix[100];
    int other = get_nick(arg[0]), i;
    if (!arg[0][0]) {
        numeric(fd, ERR_NONICKNAMEGIVEN, NULL);
        return;
    }
    for (i = 0; arg[0][i]; i++)
        if (i >= 9 || !strchr(i ? "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ[]\\`_^{|}-0123456789"
                                : "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ[]\\`_^{|}",
                              arg[0][i])) {
            numeric(fd, ERR_ERRONEUSNICKNAME, arg[0]);
            return;
        }
    if (other >= 0 && other != fd) {
        numeric(fd, ERR_NICKNAMEINUSE, arg[0]);
        return;
    }
    if (strcmp(clients[fd]->nick, arg[0]) == 0)
        return;
    make_prefix(fd, prefix);
    for (other = 0; other < FD_SETSIZE; other++)
        if (clients[fd]->registered && clients[other] && (other == fd || share(fd, other)))
            putf(other, "%s NICK :%s", prefix, arg[0]);
    strcpy(clients[fd]->nick, arg[0]);
    welcome(fd);
}

void cmd_join(int fd, char *name)
{
    channel_t *ch = get_channel(name);
    char prefix[100];
    int other;
    if (name[0] != '#' || strlen(name) < 2 || strlen(name) > IRC_CHANNEL_MAX || strpbrk(name, " \a")) {
        numeric(fd, ERR_NOSUCHCHANNEL, name);
        return;
    }
    if (ch && ch->member[fd])
        return;
    if (!ch) {
        ch = calloc(1, sizeof(channel_t));
        if (!ch)
            return;
        strcpy(ch->name, name);
        ch->next = channels;
        channels = ch;
    }
    ch->member[fd] = 1;
    make_prefix(fd, prefix);
    for (other = 0; other < FD_SETSIZE; other++)
        if (ch->member[other])
            putf(other, "%s JOIN %s", prefix, ch->name);
    send_names(fd, ch, name);
}

void cmd_part(int fd, char *name, char *text)
{
    channel_t *ch = get_channel(name);
    char prefix[100];
    int other;
    if (!ch) {
        numeric(fd, ERR_NOSUCHCHANNEL, name);
        return;
    }
    if (!ch->member[fd]) {
        numeric(fd, ERR_NOTONCHANNEL, name);
        return;
    }
    make_prefix(fd, prefix);
    for (other = 0; other < FD_SETSIZE; other++)
        if (ch->member[other])
            putf(other, "%s PART %s :%s", prefix, ch->name, text);
    ch->member[fd] = 0;
    remove_empty();
}

void cmd_text(int fd, char **arg, int notice)
{
    channel_t *ch = get_channel(arg[0]);
    int other = get_nick(arg[0]), error = 0;
    char prefix[100];
    make_prefix(fd, prefix);
    strcat(prefix, notice ? " NOTICE" : " PRIVMSG");
    if (!arg[0][0])
        error = ERR_NORECIPIENT;
    else if (!arg[1][0])
        error = ERR_NOTEXTTOSEND;
    else if (!ch && (other < 0 || !clients[other]->registered))
        error = ERR_NOSUCHNICK;
    else if (ch && !ch->member[fd])
        error = ERR_CANNOTSENDTOCHAN;
    if (error) {
        if (!notice)
            numeric(fd, error, error > 410 ? NULL : arg[0]);
        return;
    }
    if (ch) {
        for (other = 0; other < FD_SETSIZE; other++)
            if (ch->member[other] && other != fd)
                putf(other, "%s %s :%s", prefix, ch->name, arg[1]);
    } else {
        putf(other, "%s %s :%s", prefix, clients[other]->nick, arg[1]);
    }
}

int is(const char *a, const char *b)
{
    return strcasecmp(a, b) == 0;
}

void do_line(int fd, char *line)
{
    client_t *c = clients[fd];
    char *arg[40], *cmd, *name, *save, empty[] = "";
    int n = 0, i;
    for (i = 0; i < 40; i++)
        arg[i] = empty;
    while (*line == ' ')
        line++;
    if (*line == ':') {
        while (*line && *line != ' ')
            line++;
        while (*line == ' ')
            line++;
    }
    if (!*line)
        return;
    cmd = line;
    while (*line && *line != ' ')
        line++;
    while (*line) {
        while (*line == ' ')
            *line++ = 0;
        if (!*line)
            break;
        if (*line == ':' || n == 14) {
            arg[n++] = *line == ':' ? line + 1 : line;
            break;
        }
        arg[n++] = line;
        while (*line && *line != ' ')
            line++;
    }
    if (is(cmd, "NICK")) {
        cmd_nick(fd, arg);
    } else if (is(cmd, "USER")) {
        if (n < 4) {
            numeric(fd, ERR_NEEDMOREPARAMS, "USER");
        } else if (c->user[0]) {
            numeric(fd, ERR_ALREADYREGISTRED, NULL);
        } else {
            arg[0][strcspn(arg[0], "@!")] = 0;
            strncpy(c->user, arg[0][0] ? arg[0] : "none", IRC_USER_MAX);
            welcome(fd);
        }
    } else if (is(cmd, "PING")) {
        if (n == 0)
            numeric(fd, ERR_NOORIGIN, NULL);
        else
            putf(fd, ":%s PONG %s :%s", IRC_SERVER, IRC_SERVER, arg[0]);
    } else if (is(cmd, "PONG")) {
        return;
    } else if (is(cmd, "QUIT")) {
        leave_all(fd, n ? arg[0] : "quit");
    } else if (!is(cmd, "JOIN") && !is(cmd, "PART") && !is(cmd, "NAMES") && !is(cmd, "PRIVMSG") &&
               !is(cmd, "NOTICE")) {
        numeric(fd, ERR_UNKNOWNCOMMAND, cmd);
    } else if (!c->registered) {
        numeric(fd, ERR_NOTREGISTERED, NULL);
    } else if (is(cmd, "PRIVMSG") || is(cmd, "NOTICE")) {
        cmd_text(fd, arg, is(cmd, "NOTICE"));
    } else if (!arg[0][0]) {
        if (is(cmd, "NAMES"))
            numeric(fd, RPL_ENDOFNAMES, "*");
        else
            numeric(fd, ERR_NEEDMOREPARAMS, cmd);
    } else {
        for (name = strtok_r(arg[0], ",", &save); name; name = strtok_r(NULL, ",", &save)) {
            if (is(cmd, "JOIN"))
                cmd_join(fd, name);
            else if (is(cmd, "PART"))
                cmd_part(fd, name, arg[1]);
            else
                send_names(fd, get_channel(name), name);
        }
    }
}

void do_read(int fd)
{
    char buf[1024];
    client_t *c = clients[fd];
    ssize_t n = recv(fd, buf, sizeof(buf), 0), i;
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
            c->dead = 1;
        return;
    }
    if (n == 0)
        leave_all(fd, "end of file");
    for (i = 0; i < n && !c->closing && !c->dead; i++) {
        if (buf[i] == '\n') {
            c->in[c->in_len] = 0;
            c->in_len = 0;
            do_line(fd, c->in);
        } else if (buf[i] != '\r' && c->in_len < IRC_CONTENT_MAX) {
            c->in[c->in_len++] = buf[i];
        }
    }
}

void do_accept(void)
{
    struct sockaddr_in6 sa;
    socklen_t len = sizeof(sa);
    int fd = accept(listen_fd, (struct sockaddr *)&sa, &len);
    client_t *c;
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE)
            full = 1;
        return;
    }
    c = fd < FD_SETSIZE ? calloc(1, sizeof(client_t)) : NULL;
    if (!c) {
        close(fd);
        return;
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    if (sa.sin6_family == AF_INET)
        inet_ntop(AF_INET, &((struct sockaddr_in *)&sa)->sin_addr, c->host, sizeof(c->host));
    else
        inet_ntop(AF_INET6, &sa.sin6_addr, c->host, sizeof(c->host));
    if (!strncmp(c->host, "::ffff:", 7))
        memmove(c->host, c->host + 7, strlen(c->host + 7) + 1);
    clients[fd] = c;
}

void do_close(int fd)
{
    char junk[4096];
    int i;
    leave_all(fd, "connection lost");
    for (i = 0; i < 10 && !clients[fd]->dead; i++)
        if (recv(fd, junk, sizeof(junk), 0) <= 0)
            break;
    close(fd);
    free(clients[fd]->out);
    free(clients[fd]);
    clients[fd] = NULL;
    full = 0;
}

int start_listening(int port)
{
    struct sockaddr_in6 sa6;
    struct sockaddr_in sa4;
    int one = 1, zero = 0, r;
    memset(&sa6, 0, sizeof(sa6));
    memset(&sa4, 0, sizeof(sa4));
    sa6.sin6_family = AF_INET6;
    sa6.sin6_port = htons(port);
    sa4.sin_family = AF_INET;
    sa4.sin_port = htons(port);
    listen_fd = socket(AF_INET6, SOCK_STREAM, 0);
    if (listen_fd >= 0) {
        setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        setsockopt(listen_fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
        r = bind(listen_fd, (struct sockaddr *)&sa6, sizeof(sa6));
    } else {
        listen_fd = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        r = bind(listen_fd, (struct sockaddr *)&sa4, sizeof(sa4));
    }
    if (r < 0 || listen(listen_fd, SOMAXCONN) < 0)
        return -1;
    fcntl(listen_fd, F_SETFL, O_NONBLOCK);
    return 0;
}

int main(int argc, char **argv)
{
    int port = IRC_PORT, fd, again;
    struct sockaddr_in6 sa;
    socklen_t len = sizeof(sa);
    sigset_t block, normal;
    if (argc == 3 && strcmp(argv[1], "-p") == 0 && argv[2][0] && strlen(argv[2]) <= 5 &&
        argv[2][strspn(argv[2], "0123456789")] == 0) {
        port = atoi(argv[2]);
    } else if (argc != 1) {
        port = 70000;
    }
    if (port > 65535) {
        fprintf(stderr, "usage: chatd [-p PORT]\n");
        return 2;
    }
    if (start_listening(port) < 0) {
        perror("chatd: listen");
        return 1;
    }
    sigemptyset(&block);
    sigaddset(&block, SIGINT);
    sigaddset(&block, SIGTERM);
    sigprocmask(SIG_BLOCK, &block, &normal);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    getsockname(listen_fd, (struct sockaddr *)&sa, &len);
    printf("listening on %d\n", ntohs(sa.sin6_port));
    fflush(stdout);
    while (!stop) {
        fd_set r, w;
        int max = listen_fd;
        FD_ZERO(&r);
        FD_ZERO(&w);
        if (!full)
            FD_SET(listen_fd, &r);
        for (fd = 0; fd < FD_SETSIZE; fd++) {
            if (!clients[fd])
                continue;
            if (!clients[fd]->closing)
                FD_SET(fd, &r);
            if (clients[fd]->out_len > 0)
                FD_SET(fd, &w);
            if (fd > max)
                max = fd;
        }
        if (pselect(max + 1, &r, &w, NULL, NULL, &normal) < 0)
            continue;
        for (fd = 0; fd <= max; fd++) {
            if (clients[fd] && FD_ISSET(fd, &w))
                try_send(fd);
            if (clients[fd] && FD_ISSET(fd, &r))
                do_read(fd);
        }
        if (FD_ISSET(listen_fd, &r))
            do_accept();
        for (fd = 0; fd < FD_SETSIZE; fd++)
            if (clients[fd])
                try_send(fd);
        do {
            again = 0;
            for (fd = 0; fd < FD_SETSIZE; fd++)
                if (clients[fd] && (clients[fd]->dead || (clients[fd]->closing && !clients[fd]->out_len))) {
                    do_close(fd);
                    again = 1;
                }
        } while (again);
    }
    for (fd = 0; fd < FD_SETSIZE; fd++)
        if (clients[fd]) {
            clients[fd]->registered = 0;
            do_close(fd);
        }
    close(listen_fd);
    return 0;
}
