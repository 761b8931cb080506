/*
 * chatd.c - ppoll() and a handler, one large buffer for each client in which lines are looked for
 * with memchr(), what waits as a list of pieces that writev() sends, everybody in lists of
 * <sys/queue.h>, membership as pairs of client and channel. No ERROR, no text of its own.
 */
#define _GNU_SOURCE
#include "irc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { ROOM = 16384, PIECES = 64 };

struct piece {
    STAILQ_ENTRY(piece) next;
    size_t len, at;
    char bytes[];
};

struct member;

struct client {
    TAILQ_ENTRY(client) next;
    LIST_HEAD(, member) on;
    STAILQ_HEAD(, piece) out;
    size_t owed, have;
    int fd;
    bool known, skips, over, broken, mark;
    char nick[IRC_NICK_MAX + 1], user[IRC_USER_MAX + 1], host[INET6_ADDRSTRLEN];
    char in[ROOM + 1];
};

struct channel {
    LIST_ENTRY(channel) next;
    TAILQ_HEAD(members, member) members;
    char name[IRC_CHANNEL_MAX + 1];
};

struct member {
    LIST_ENTRY(member) of_client;
    TAILQ_ENTRY(member) of_channel;
    struct client *client;
    struct channel *channel;
};

static TAILQ_HEAD(, client) clients = TAILQ_HEAD_INITIALIZER(clients);
static LIST_HEAD(, channel) channels = LIST_HEAD_INITIALIZER(channels);
static size_t count;
static int door = -1;
static bool shut;
static volatile sig_atomic_t ended;

static void on_signal(int signal)
{
    (void)signal;
    ended = 1;
}

static void flush_client(struct client *c)
{
    while (!c->broken && !STAILQ_EMPTY(&c->out)) {
        struct iovec v[PIECES];
        struct piece *p;
        int n = 0;
        STAILQ_FOREACH(p, &c->out, next)
        {
            if (n == PIECES)
                break;
            v[n].iov_base = p->bytes + p->at;
            v[n++].iov_len = p->len - p->at;
        }
        struct msghdr m = {.msg_iov = v, .msg_iovlen = (size_t)n};
        ssize_t sent = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) {
            if (errno == EAGAIN)
                return;
            if (errno != EINTR)
                c->broken = true;
            continue;
        }
        c->owed -= (size_t)sent;
        while (sent > 0) {
            p = STAILQ_FIRST(&c->out);
            size_t k = p->len - p->at < (size_t)sent ? p->len - p->at : (size_t)sent;
            p->at += k;
            sent -= (ssize_t)k;
            if (p->at == p->len) {
                STAILQ_REMOVE_HEAD(&c->out, next);
                free(p);
            }
        }
    }
}

static void tell(struct client *c, const char *format, ...)
{
    char line[IRC_LINE_MAX + 2];
    va_list a;
    if (c->broken)
        return;
    va_start(a, format);
    int n = vsnprintf(line, IRC_CONTENT_MAX + 1, format, a);
    va_end(a);
    if (n > IRC_CONTENT_MAX)
        n = IRC_CONTENT_MAX;
    memcpy(line + n, "\r\n", 2);
    n += 2;
    if (c->owed + (size_t)n > IRC_WAITING_MAX)
        flush_client(c);
    if (c->owed + (size_t)n > IRC_WAITING_MAX) {
        c->broken = true;
        return;
    }
    struct piece *p = malloc(sizeof *p + (size_t)n);
    if (p == NULL) {
        c->broken = true;
        return;
    }
    p->len = (size_t)n;
    p->at = 0;
    memcpy(p->bytes, line, (size_t)n);
    STAILQ_INSERT_TAIL(&c->out, p, next);
    c->owed += (size_t)n;
}

static const char *who(const struct client *c)
{
    static char prefix[128];
    snprintf(prefix, sizeof prefix, "%s!%s@%s", c->nick, c->user, c->host);
    return prefix;
}

static const char *nick_of(const struct client *c)
{
    return c->nick[0] != '\0' ? c->nick : "*";
}

static void number(struct client *c, int n, const char *parameters, const char *words)
{
    tell(c, ":me %03d %s%s%s :%s", n, nick_of(c), *parameters != '\0' ? " " : "", parameters,
         words);
}

static struct client *by_nick(const char *nick)
{
    struct client *c;
    TAILQ_FOREACH(c, &clients, next)
    if (c->nick[0] != '\0' && strcasecmp(c->nick, nick) == 0)
        return c;
    return NULL;
}

static struct channel *by_name(const char *name)
{
    struct channel *c;
    LIST_FOREACH(c, &channels, next)
    if (strcasecmp(c->name, name) == 0)
        return c;
    return NULL;
}

static struct member *on(const struct client *c, const struct channel *h)
{
    struct member *m;
    LIST_FOREACH(m, &c->on, of_client)
    if (m->channel == h)
        return m;
    return NULL;
}

static void off(struct member *m)
{
    struct channel *h = m->channel;
    LIST_REMOVE(m, of_client);
    TAILQ_REMOVE(&h->members, m, of_channel);
    free(m);
    if (TAILQ_EMPTY(&h->members)) {
        LIST_REMOVE(h, next);
        free(h);
    }
}

static void neighbours(struct client *c, const char *format, const char *a, const char *b)
{
    struct member *m, *n;
    struct client *o;
    TAILQ_FOREACH(o, &clients, next)
    o->mark = o == c;
    LIST_FOREACH(m, &c->on, of_client)
    TAILQ_FOREACH(n, &m->channel->members, of_channel)
    if (!n->client->mark) {
        n->client->mark = true;
        tell(n->client, format, a, b);
    }
}

static void gone(struct client *c, const char *why)
{
    if (c->known)
        neighbours(c, why[0] != '\0' ? ":%s QUIT :%s" : ":%s QUIT", who(c), why);
    while (!LIST_EMPTY(&c->on))
        off(LIST_FIRST(&c->on));
    c->known = false;
    c->nick[0] = '\0';
    c->over = true;
}

static void welcome(struct client *c)
{
    if (c->known || c->nick[0] == '\0' || c->user[0] == '\0')
        return;
    c->known = true;
    number(c, 1, "", "hello");
    number(c, 2, "", "a");
    number(c, 3, "", "b");
    tell(c, ":me 004 %s me 0 a b", c->nick);
    number(c, 422, "", "none");
}

static void names(struct client *c, struct channel *h)
{
    char line[IRC_LINE_MAX];
    struct member *m;
    int start = snprintf(line, sizeof line, ":me 353 %s = %s :", c->nick, h->name), at = start;
    TAILQ_FOREACH(m, &h->members, of_channel)
    {
        if (at + 1 + (int)strlen(m->client->nick) > IRC_CONTENT_MAX) {
            tell(c, "%s", line);
            at = start;
        }
        at += sprintf(line + at, "%s ", m->client->nick);
    }
    tell(c, "%s", line);
}

static void serve(struct client *c, char *line)
{
    static const char *const all[] = {"NICK", "USER", "PING",    "PONG",   "QUIT",
                                      "JOIN", "PART", "PRIVMSG", "NOTICE", "NAMES"};
    char *p[IRC_PARAMETERS_MAX + 1] = {0}, *word;
    int n = 0, k = 0;
    line += strspn(line, " ");
    if (*line == ':') {
        line += strcspn(line, " ");
        line += strspn(line, " ");
    }
    while (*line != '\0' && n <= IRC_PARAMETERS_MAX) {
        if (n > 0 && *line == ':') {
            p[n++] = line + 1;
            break;
        }
        p[n++] = line;
        line += strcspn(line, " ");
        if (*line != '\0')
            *line++ = '\0';
        line += strspn(line, " ");
    }
    if (n == 0)
        return;
    while (k < 10 && strcasecmp(all[k], p[0]) != 0)
        k++;
    bool has = n > 1 && p[1][0] != '\0';
    if (k == 10) {
        number(c, 421, p[0], "?");
    } else if (k > 4 && !c->known) {
        number(c, 451, "", "?");
    } else if (k == 0) {
        static const char letters[] = "[]\\`_^{|}abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVW"
                                      "XYZ-0123456789";
        struct client *o;
        if (!has) {
            number(c, 431, "", "?");
        } else if (strlen(p[1]) > IRC_NICK_MAX || p[1][strspn(p[1], letters)] != '\0' ||
                   strchr("-0123456789", p[1][0]) != NULL) {
            number(c, 432, strchr(p[1], ' ') == NULL ? p[1] : "nick", "?");
        } else if ((o = by_nick(p[1])) != NULL && o != c) {
            number(c, 433, p[1], "?");
        } else if (strcmp(c->nick, p[1]) != 0) {
            if (c->known) {
                neighbours(c, ":%s NICK %s", who(c), p[1]);
                tell(c, ":%s NICK %s", who(c), p[1]);
            }
            strcpy(c->nick, p[1]);
            welcome(c);
        }
    } else if (k == 1) {
        if (n < 5) {
            number(c, 461, "USER", "?");
        } else if (c->user[0] != '\0') {
            number(c, 462, "", "?");
        } else {
            p[1][strcspn(p[1], "@!")] = '\0';
            snprintf(c->user, sizeof c->user, "%s", p[1][0] != '\0' ? p[1] : "x");
            welcome(c);
        }
    } else if (k == 2) {
        if (has)
            tell(c, ":me PONG me :%s", p[1]);
        else
            number(c, 409, "", "?");
    } else if (k == 4) {
        gone(c, n > 1 ? p[1] : "");
    } else if (k == 5 || k == 6) {
        if (!has) {
            number(c, 461, all[k], "?");
            return;
        }
        for (char *save, *list = p[1]; (word = strtok_r(list, ",", &save)) != NULL; list = NULL) {
            struct channel *h = by_name(word);
            struct member *m;
            if (k == 6) {
                if (h == NULL) {
                    number(c, 403, strchr(word, ' ') == NULL ? word : "#", "?");
                } else if ((m = on(c, h)) == NULL) {
                    number(c, 442, word, "?");
                } else {
                    struct member *o;
                    TAILQ_FOREACH(o, &h->members, of_channel)
                    tell(o->client, n > 2 ? ":%s PART %s :%s" : ":%s PART %s", who(c), word, p[2]);
                    off(m);
                }
                continue;
            }
            if (word[0] != '#' || strlen(word) < 2 || strlen(word) > IRC_CHANNEL_MAX ||
                strpbrk(word, " \a") != NULL) {
                number(c, 403, strchr(word, ' ') == NULL ? word : "#", "?");
                continue;
            }
            if (h != NULL && on(c, h) != NULL)
                continue;
            if (h == NULL) {
                h = calloc(1, sizeof *h);
                strcpy(h->name, word);
                TAILQ_INIT(&h->members);
                LIST_INSERT_HEAD(&channels, h, next);
            }
            m = calloc(1, sizeof *m);
            m->client = c;
            m->channel = h;
            LIST_INSERT_HEAD(&c->on, m, of_client);
            TAILQ_INSERT_TAIL(&h->members, m, of_channel);
            TAILQ_FOREACH(m, &h->members, of_channel)
            tell(m->client, ":%s JOIN %s", who(c), word);
            names(c, h);
            number(c, 366, word, "end");
        }
    } else if (k == 9) {
        if (!has)
            number(c, 366, "*", "end");
        else
            for (char *save, *list = p[1]; (word = strtok_r(list, ",", &save)) != NULL;
                 list = NULL) {
                if (by_name(word) != NULL)
                    names(c, by_name(word));
                number(c, 366, word, "end");
            }
    } else if (k == 7 || k == 8) {
        struct channel *h = has ? by_name(p[1]) : NULL;
        struct client *o = has ? by_nick(p[1]) : NULL;
        struct member *m;
        int error = 0;
        if (!has)
            error = 411;
        else if (n < 3 || p[2][0] == '\0')
            error = 412;
        else if (h == NULL && (o == NULL || !o->known))
            error = 401;
        else if (h != NULL && on(c, h) == NULL)
            error = 404;
        if (error != 0) {
            if (k == 7)
                number(c, error, error < 410 ? p[1] : "", "?");
            return;
        }
        if (h == NULL)
            tell(o, ":%s %s %s :%s", who(c), all[k], p[1], p[2]);
        else
            TAILQ_FOREACH(m, &h->members, of_channel)
        if (m->client != c)
            tell(m->client, ":%s %s %s :%s", who(c), all[k], p[1], p[2]);
    }
}

static void hear(struct client *c)
{
    ssize_t n = recv(c->fd, c->in + c->have, ROOM - c->have, MSG_DONTWAIT);
    if (n < 0) {
        c->broken |= errno != EAGAIN && errno != EINTR;
        return;
    }
    if (n == 0) {
        gone(c, "end");
        return;
    }
    c->have += (size_t)n;
    char *from = c->in, *end = c->in + c->have, *at;
    while (!c->over && !c->broken && (at = memchr(from, '\n', (size_t)(end - from))) != NULL) {
        size_t len = (size_t)(at - from);
        if (len > 0 && at[-1] == '\r')
            len--;
        if (len > IRC_CONTENT_MAX)
            len = IRC_CONTENT_MAX;
        from[len] = '\0';
        if (!c->skips && strlen(from) == len)
            serve(c, from);
        c->skips = false;
        from = at + 1;
    }
    c->have = (size_t)(end - from);
    memmove(c->in, from, c->have);
    if (c->have > IRC_LINE_MAX) /* enough for a line: what comes now is thrown away */
        c->have = IRC_LINE_MAX - 1;
}

static void enter(void)
{
    struct sockaddr_in6 a;
    socklen_t len = sizeof a;
    int fd = accept4(door, (struct sockaddr *)&a, &len, SOCK_CLOEXEC);
    struct client *c;
    if (fd < 0) {
        shut = errno == EMFILE || errno == ENFILE;
        return;
    }
    c = calloc(1, sizeof *c);
    c->fd = fd;
    STAILQ_INIT(&c->out);
    if (a.sin6_family == AF_INET)
        inet_ntop(AF_INET, &((struct sockaddr_in *)&a)->sin_addr, c->host, sizeof c->host);
    else if (IN6_IS_ADDR_V4MAPPED(&a.sin6_addr))
        inet_ntop(AF_INET, a.sin6_addr.s6_addr + 12, c->host, sizeof c->host);
    else
        inet_ntop(AF_INET6, &a.sin6_addr, c->host, sizeof c->host);
    TAILQ_INSERT_TAIL(&clients, c, next);
    count++;
}

static void bury(struct client *c)
{
    struct piece *p;
    if (!c->over)
        gone(c, "gone");
    while ((p = STAILQ_FIRST(&c->out)) != NULL) {
        STAILQ_REMOVE_HEAD(&c->out, next);
        free(p);
    }
    TAILQ_REMOVE(&clients, c, next);
    while (!c->broken && recv(c->fd, c->in, ROOM, MSG_DONTWAIT) > 0)
        ;
    close(c->fd);
    free(c);
    count--;
    shut = false;
}

static int open_door(int port)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1, zero = 0;
    for (int way = 0; way < 2; way++) {
        door = socket(way == 0 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (door < 0)
            continue;
        setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (way == 0)
            setsockopt(door, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
        if ((way == 0 ? bind(door, (struct sockaddr *)&six, sizeof six)
                      : bind(door, (struct sockaddr *)&four, sizeof four)) == 0 &&
            listen(door, 100) == 0)
            return 0;
        if (errno != EADDRNOTAVAIL)
            return -1;
        close(door);
    }
    return -1;
}

int main(int argc, char **argv)
{
    int port = 6667;
    if (argc == 3 && strcmp(argv[1], "-p") == 0 && argv[2][0] != '\0' && strlen(argv[2]) < 9 &&
        argv[2][strspn(argv[2], "0123456789")] == '\0')
        port = atoi(argv[2]);
    else if (argc != 1)
        port = -1;
    if (port < 0 || port > 65535) {
        fputs("usage: chatd [-p PORT]\n", stderr);
        return 2;
    }
    sigset_t both, none;
    sigemptyset(&none);
    sigemptyset(&both);
    sigaddset(&both, SIGTERM);
    sigaddset(&both, SIGINT);
    sigprocmask(SIG_BLOCK, &both, NULL);
    struct sigaction act = {.sa_handler = on_signal};
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGINT, &act, NULL);
    if (open_door(port) < 0) {
        fprintf(stderr, "chatd: port %d: %s\n", port, strerror(errno));
        return 1;
    }
    struct sockaddr_in6 a;
    socklen_t len = sizeof a;
    getsockname(door, (struct sockaddr *)&a, &len);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("listening on %d\n", ntohs(a.sin6_port));
    struct pollfd *p = NULL;
    struct client *c, *next;
    while (!ended) {
        size_t i = 1;
        p = realloc(p, (count + 1) * sizeof *p);
        p[0] = (struct pollfd){shut ? -1 : door, POLLIN, 0};
        TAILQ_FOREACH(c, &clients, next)
        p[i++] = (struct pollfd){
            c->fd, (short)((c->over ? 0 : POLLIN) | (STAILQ_EMPTY(&c->out) ? 0 : POLLOUT)), 0};
        if (ppoll(p, i, NULL, &none) < 0)
            continue;
        i = 1;
        TAILQ_FOREACH(c, &clients, next)
        {
            int r = p[i++].revents;
            if (c->over && r & (POLLERR | POLLHUP))
                c->broken = true;
            else if (!c->over && r & ~POLLOUT)
                hear(c);
        }
        if (p[0].revents != 0)
            enter();
        bool again;
        do {
            again = false;
            for (c = TAILQ_FIRST(&clients); c != NULL; c = next) {
                next = TAILQ_NEXT(c, next);
                flush_client(c);
                if (c->broken || (c->over && STAILQ_EMPTY(&c->out))) {
                    bury(c);
                    again = true;
                }
            }
        } while (again);
    }
    while (!TAILQ_EMPTY(&clients)) {
        c = TAILQ_FIRST(&clients);
        c->known = false;
        bury(c);
    }
    free(p);
    close(door);
    return 0;
}
