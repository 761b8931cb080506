#define _GNU_SOURCE
#include "irc.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* A line on its way to several clients; the last of them frees it. */
struct text {
    int users;
    size_t len;
    char bytes[IRC_LINE_MAX];
};

struct item {
    STAILQ_ENTRY(item) next;
    struct text *text;
};

struct membership {
    LIST_ENTRY(membership) of_client;
    TAILQ_ENTRY(membership) of_room;
    struct peer *peer;
    struct room *room;
};

struct room {
    LIST_ENTRY(room) next;
    TAILQ_HEAD(, membership) members;
    char name[64];
};

struct peer {
    LIST_ENTRY(peer) next;
    int fd;
    char nick[16], user[16], host[INET6_ADDRSTRLEN];
    bool is_in, is_quitting, is_dead, is_marked, has_more;
    unsigned char in[IRC_CONTENT_MAX + 1];
    size_t in_len;
    STAILQ_HEAD(, item) out;
    size_t out_bytes, out_offset;
    LIST_HEAD(, membership) rooms;
};

static LIST_HEAD(, peer) peers = LIST_HEAD_INITIALIZER(peers);
static LIST_HEAD(, room) rooms = LIST_HEAD_INITIALIZER(rooms);
static int epoll, listener, signals, reserve;

static bool same(const char *a, const char *b)
{
    while (*a != '\0' && tolower((unsigned char)*a) == tolower((unsigned char)*b))
        a++, b++;
    return *a == *b;
}

static void *need(size_t size)
{
    void *memory = calloc(1, size);
    if (memory == NULL) {
        fprintf(stderr, "chatd: memory: %s\n", strerror(errno));
        exit(1);
    }
    return memory;
}

/* ---- output ---- */

static void release(struct text *text)
{
    if (--text->users == 0)
        free(text);
}

static void write_out(struct peer *p)
{
    while (!p->is_dead && !STAILQ_EMPTY(&p->out)) {
        struct item *item = STAILQ_FIRST(&p->out);
        ssize_t n = send(p->fd, item->text->bytes + p->out_offset, item->text->len - p->out_offset,
                         MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            if (errno != EAGAIN)
                p->is_dead = true;
            return;
        }
        p->out_offset += (size_t)n;
        p->out_bytes -= (size_t)n;
        if (p->out_offset < item->text->len)
            continue;
        p->out_offset = 0;
        STAILQ_REMOVE_HEAD(&p->out, next);
        release(item->text);
        free(item);
    }
}

static void give(struct peer *p, struct text *text)
{
    struct item *item;
    if (p->is_dead)
        return;
    if (p->out_bytes + text->len > IRC_WAITING_MAX)
        write_out(p);
    if (p->out_bytes + text->len > IRC_WAITING_MAX) {
        p->is_dead = true;
        return;
    }
    item = need(sizeof *item);
    item->text = text;
    text->users++;
    STAILQ_INSERT_TAIL(&p->out, item, next);
    p->out_bytes += text->len;
    if (STAILQ_FIRST(&p->out) == item)
        write_out(p);
}

__attribute__((format(printf, 1, 2))) static struct text *compose(const char *format, ...)
{
    struct text *text = need(sizeof *text);
    char line[2048];
    va_list list;
    int len;
    va_start(list, format);
    len = vsnprintf(line, sizeof line, format, list);
    va_end(list);
    if (len > IRC_CONTENT_MAX)
        len = IRC_CONTENT_MAX;
    memcpy(text->bytes, line, (size_t)len);
    memcpy(text->bytes + len, "\r\n", 2);
    text->len = (size_t)len + 2;
    text->users = 1;
    return text;
}

static void give_and_release(struct peer *p, struct text *text)
{
    give(p, text);
    release(text);
}

static void number(struct peer *p, int n, const char *parameters)
{
    give_and_release(p, compose(":%s %03d %s %s%s:%s", IRC_SERVER, n, p->nick[0] ? p->nick : "*",
                                parameters, parameters[0] ? " " : "", irc_text(n)));
}

static void to_room(struct room *r, const struct peer *except, struct text *text)
{
    struct membership *m;
    TAILQ_FOREACH (m, &r->members, of_room) {
        if (m->peer != except)
            give(m->peer, text);
    }
    release(text);
}

/* Marks who is to get it, then gives, then takes the marks off. */
static void to_neighbours(struct peer *p, bool self, struct text *text)
{
    struct membership *mine, *m;
    struct peer *other;
    LIST_FOREACH (mine, &p->rooms, of_client) {
        TAILQ_FOREACH (m, &mine->room->members, of_room)
            m->peer->is_marked = true;
    }
    p->is_marked = self;
    LIST_FOREACH (other, &peers, next) {
        if (other->is_marked)
            give(other, text);
        other->is_marked = false;
    }
    release(text);
}

/* ---- rooms and peers ---- */

static struct room *room_named(const char *name)
{
    struct room *r;
    LIST_FOREACH (r, &rooms, next) {
        if (same(r->name, name))
            break;
    }
    return r;
}

static struct membership *membership_of(const struct peer *p, const struct room *r)
{
    struct membership *m = NULL;
    if (r != NULL) {
        LIST_FOREACH (m, &p->rooms, of_client) {
            if (m->room == r)
                break;
        }
    }
    return m;
}

static struct peer *peer_named(const char *nick)
{
    struct peer *p;
    LIST_FOREACH (p, &peers, next) {
        if (p->nick[0] != '\0' && same(p->nick, nick))
            break;
    }
    return p;
}

static void leave(struct membership *m)
{
    struct room *r = m->room;
    LIST_REMOVE(m, of_client);
    TAILQ_REMOVE(&r->members, m, of_room);
    free(m);
    if (TAILQ_EMPTY(&r->members)) {
        LIST_REMOVE(r, next);
        free(r);
    }
}

static void farewell(struct peer *p, const char *text)
{
    if (p->is_in)
        to_neighbours(p, false, compose(":%s!%s@%s QUIT :%s", p->nick, p->user, p->host, text));
    p->is_in = false;
    while (!LIST_EMPTY(&p->rooms))
        leave(LIST_FIRST(&p->rooms));
    p->nick[0] = '\0';
}

static void destroy(struct peer *p)
{
    LIST_REMOVE(p, next);
    close(p->fd);
    while (!STAILQ_EMPTY(&p->out)) {
        struct item *item = STAILQ_FIRST(&p->out);
        STAILQ_REMOVE_HEAD(&p->out, next);
        release(item->text);
        free(item);
    }
    free(p);
}

/* ---- commands; v[0] is the command, v[n] and further ones are "" ---- */

static void maybe_welcome(struct peer *p)
{
    if (p->is_in || !p->nick[0] || !p->user[0])
        return;
    p->is_in = true;
    number(p, 1, "");
    number(p, 2, "");
    number(p, 3, "");
    give_and_release(p, compose(":%s 004 %s %s x", IRC_SERVER, p->nick, IRC_SERVER));
    number(p, 422, "");
}

static bool good_nick(const char *nick)
{
    size_t i = 0;
    for (; nick[i] != '\0'; i++) {
        unsigned char c = (unsigned char)nick[i];
        bool letter = (c >= 'A' && c <= '}') || (i > 0 && (c == '-' || (c >= '0' && c <= '9')));
        if (!letter)
            return false;
    }
    return i >= 1 && i <= 9;
}

static void do_nick(struct peer *p, char **v)
{
    struct peer *holder;
    if (v[1][0] == '\0') {
        number(p, 431, "");
        return;
    }
    if (!good_nick(v[1])) {
        number(p, 432, v[1]);
        return;
    }
    holder = peer_named(v[1]);
    if (holder != NULL && holder != p) {
        number(p, 433, v[1]);
        return;
    }
    if (p->is_in && strcmp(v[1], p->nick) != 0)
        to_neighbours(p, true, compose(":%s!%s@%s NICK %s", p->nick, p->user, p->host, v[1]));
    strcpy(p->nick, v[1]);
    maybe_welcome(p);
}

static void do_names(struct peer *p, const char *name)
{
    struct room *r = room_named(name);
    struct membership *m;
    char list[IRC_LINE_MAX] = "";
    size_t len = 0;
    if (r != NULL) {
        TAILQ_FOREACH (m, &r->members, of_room) {
            if (len > 400) {
                give_and_release(p, compose(":%s 353 %s = %s :%s", IRC_SERVER, p->nick, name, list));
                len = 0;
            }
            len += (size_t)sprintf(list + len, "%s ", m->peer->nick);
        }
        give_and_release(p, compose(":%s 353 %s = %s :%s", IRC_SERVER, p->nick, name, list));
    }
    number(p, 366, name);
}

static void do_join(struct peer *p, const char *name, const char *ignored)
{
    struct room *r = room_named(name);
    struct membership *m;
    size_t len = strlen(name);
    (void)ignored;
    if (name[0] != '#' || len < 2 || len > 50 || strpbrk(name, " \a") != NULL) {
        number(p, 403, name);
        return;
    }
    if (membership_of(p, r) != NULL)
        return;
    if (r == NULL) {
        r = need(sizeof *r);
        strcpy(r->name, name);
        TAILQ_INIT(&r->members);
        LIST_INSERT_HEAD(&rooms, r, next);
    }
    m = need(sizeof *m);
    m->peer = p;
    m->room = r;
    LIST_INSERT_HEAD(&p->rooms, m, of_client);
    TAILQ_INSERT_HEAD(&r->members, m, of_room);
    to_room(r, NULL, compose(":%s!%s@%s JOIN %s", p->nick, p->user, p->host, r->name));
    do_names(p, r->name);
}

static void do_part(struct peer *p, const char *name, const char *text)
{
    struct room *r = room_named(name);
    struct membership *m = membership_of(p, r);
    if (m == NULL) {
        number(p, r == NULL ? 403 : 442, name);
        return;
    }
    TAILQ_REMOVE(&r->members, m, of_room); /* the leaver gets it first */
    TAILQ_INSERT_HEAD(&r->members, m, of_room);
    to_room(r, NULL, compose(":%s!%s@%s PART %s :%s", p->nick, p->user, p->host, r->name, text));
    leave(m);
}

static void for_each(struct peer *p, char *list, const char *text,
                     void (*act)(struct peer *, const char *, const char *))
{
    char *at = list;
    for (char *name = strtok_r(list, ",", &at); name != NULL; name = strtok_r(NULL, ",", &at))
        act(p, name, text);
}

static void names_of(struct peer *p, const char *name, const char *ignored)
{
    (void)ignored;
    do_names(p, name);
}

static void do_text(struct peer *p, char **v, bool notice)
{
    const char *what = notice ? "NOTICE" : "PRIVMSG";
    struct room *r = room_named(v[1]);
    struct peer *to = peer_named(v[1]);
    int error = 0;
    if (v[1][0] == '\0')
        error = 411;
    else if (v[2][0] == '\0')
        error = 412;
    else if (r != NULL && membership_of(p, r) == NULL)
        error = 404;
    else if (r != NULL)
        to_room(r, p, compose(":%s!%s@%s %s %s :%s", p->nick, p->user, p->host, what, v[1], v[2]));
    else if (to != NULL && to->is_in)
        give_and_release(
            to, compose(":%s!%s@%s %s %s :%s", p->nick, p->user, p->host, what, v[1], v[2]));
    else
        error = 401;
    if (error != 0 && !notice)
        number(p, error, error == 411 || error == 412 ? "" : v[1]);
}

static void obey(struct peer *p, char **v, int n)
{
    static const char *const all = " NICK USER PING PONG QUIT JOIN PART PRIVMSG NOTICE NAMES ";
    char name[16];
    const char *found;
    snprintf(name, sizeof name, " %s ", v[0]);
    found = strlen(v[0]) <= 7 ? strcasestr(all, name) : NULL;
    if (found == NULL) {
        number(p, 421, v[0]);
    } else if (!p->is_in && found >= strstr(all, "JOIN") - 1) {
        number(p, 451, "");
    } else if (same(v[0], "NICK")) {
        do_nick(p, v);
    } else if (same(v[0], "USER")) {
        if (n < 5) {
            number(p, 461, "USER");
        } else if (p->user[0]) {
            number(p, 462, "");
        } else {
            snprintf(p->user, IRC_USER_MAX + 1, "%.*s", (int)strcspn(v[1], "!@"), v[1]);
            if (!p->user[0])
                strcpy(p->user, "x");
            maybe_welcome(p);
        }
    } else if (same(v[0], "PING")) {
        if (n < 2)
            number(p, 409, "");
        else
            give_and_release(p, compose(":%s PONG %s :%s", IRC_SERVER, IRC_SERVER, v[1]));
    } else if (same(v[0], "QUIT")) {
        farewell(p, v[1]);
        p->is_quitting = true;
    } else if (same(v[0], "JOIN") || same(v[0], "PART")) {
        if (v[1][0] == '\0')
            number(p, 461, v[0]);
        else
            for_each(p, v[1], v[2], same(v[0], "JOIN") ? do_join : do_part);
    } else if (same(v[0], "NAMES")) {
        if (v[1][0] == '\0')
            number(p, 366, "*");
        else
            for_each(p, v[1], "", names_of);
    } else if (!same(v[0], "PONG")) {
        do_text(p, v, same(v[0], "NOTICE"));
    }
}

static void line_came(struct peer *p, char *line)
{
    char *v[17] = {0}, *at = line;
    int n = 0;
    for (int i = 0; i < 17; i++)
        v[i] = "";
    while (n < 16) {
        at += strspn(at, " ");
        if (*at == '\0')
            break;
        if (*at == ':' && n == 0 && at == line + strspn(line, " ")) {
            at += strcspn(at, " ");
            continue;
        }
        if ((*at == ':' && n > 0) || n == 15) {
            v[n++] = at + (*at == ':');
            break;
        }
        v[n++] = at;
        at += strcspn(at, " ");
        if (*at != '\0')
            *at++ = '\0';
    }
    if (n > 0)
        obey(p, v, n);
}

/* ---- events ---- */

/* Edge-triggered: what is not read now nobody tells us again, so we must remember it. */
static void read_in(struct peer *p)
{
    unsigned char chunk[16384];
    p->has_more = false;
    for (int rounds = 0; !p->is_dead && !p->is_quitting; rounds++) {
        ssize_t n;
        if (rounds == 4) {
            p->has_more = true;
            return;
        }
        n = recv(p->fd, chunk, sizeof chunk, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            if (errno != EAGAIN)
                p->is_dead = true;
            return;
        }
        if (n == 0) {
            farewell(p, "end of input");
            p->is_quitting = true;
        }
        for (ssize_t i = 0; i < n && !p->is_dead && !p->is_quitting; i++) {
            if (chunk[i] != '\n') {
                /* one byte more than the content: it may be the CR */
                if (p->in_len < sizeof p->in)
                    p->in[p->in_len++] = chunk[i];
                continue;
            }
            char line[IRC_CONTENT_MAX + 2];
            size_t len = p->in_len;
            if (len > 0 && p->in[len - 1] == '\r')
                len--;
            if (len > IRC_CONTENT_MAX)
                len = IRC_CONTENT_MAX;
            memcpy(line, p->in, len);
            line[len] = '\0';
            p->in_len = 0;
            line_came(p, line);
        }
    }
}

static void come_in(void)
{
    for (;;) {
        struct sockaddr_in6 from;
        socklen_t len = sizeof from;
        int fd = accept4(listener, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
        struct peer *p;
        if (fd < 0 && (errno == EMFILE || errno == ENFILE) && reserve >= 0) {
            /* There is room for one more if the reserve goes: say goodbye to the one who waits. */
            close(reserve);
            fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
            if (fd >= 0)
                close(fd);
            reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
            if (fd < 0) /* nobody waits */
                return;
            continue;
        }
        if (fd < 0)
            return;
        p = need(sizeof *p);
        p->fd = fd;
        STAILQ_INIT(&p->out);
        LIST_INSERT_HEAD(&peers, p, next);
        if (from.sin6_family == AF_INET)
            inet_ntop(AF_INET, &((struct sockaddr_in *)&from)->sin_addr, p->host, sizeof p->host);
        else if (IN6_IS_ADDR_V4MAPPED(&from.sin6_addr))
            inet_ntop(AF_INET, &from.sin6_addr.s6_addr[12], p->host, sizeof p->host);
        else
            inet_ntop(AF_INET6, &from.sin6_addr, p->host, sizeof p->host);
        event.data.ptr = p;
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
}

/* Until nothing changes: the goodbye of one may be too much for another. */
static void bury(void)
{
    for (bool again = true; again;) {
        struct peer *p = LIST_FIRST(&peers), *next;
        again = false;
        for (; p != NULL; p = next) {
            next = LIST_NEXT(p, next);
            if (p->is_dead)
                farewell(p, "gone");
            if (p->is_dead || (p->is_quitting && STAILQ_EMPTY(&p->out))) {
                destroy(p);
                again = true;
            }
        }
    }
}

static int listen_at(int port)
{
    struct sockaddr_in6 any6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), yes = 1, no = 0;
    bool six = fd >= 0;
    if (!six)
        fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (six)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
    if (bind(fd, six ? (struct sockaddr *)&any6 : (struct sockaddr *)&any4,
             six ? sizeof any6 : sizeof any4) < 0 ||
        listen(fd, 511) < 0) {
        fprintf(stderr, "chatd: port %d: %s\n", port, strerror(errno));
        exit(1);
    }
    return fd;
}

int main(int argc, char **argv)
{
    struct epoll_event events[64];
    struct sockaddr_in6 bound;
    socklen_t len = sizeof bound;
    sigset_t ends;
    int port = 6667;
    char *end = "";
    if (argc == 3 && strcmp(argv[1], "-p") == 0 && isdigit((unsigned char)argv[2][0]))
        port = (int)strtol(argv[2], &end, 10);
    else if (argc != 1)
        port = -1;
    if (port < 0 || port > 65535 || *end != '\0') {
        fprintf(stderr, "usage: chatd [-p PORT]\n");
        return 2;
    }
    listener = listen_at(port);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    signals = signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener,
              &(struct epoll_event){.events = EPOLLIN | EPOLLET, .data.ptr = &listener});
    epoll_ctl(epoll, EPOLL_CTL_ADD, signals,
              &(struct epoll_event){.events = EPOLLIN, .data.ptr = &signals});
    getsockname(listener, (struct sockaddr *)&bound, &len);
    printf("listening on %d\n", ntohs(bound.sin6_port));
    fflush(stdout);
    for (bool going = true, has_more = false; going;) {
        int n = epoll_wait(epoll, events, 64, has_more ? 0 : -1);
        struct peer *reader;
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == &signals) {
                going = false;
            } else if (events[i].data.ptr == &listener) {
                come_in();
            } else {
                struct peer *p = events[i].data.ptr;
                if (events[i].events & EPOLLERR)
                    p->is_dead = true;
                if (events[i].events & EPOLLHUP && p->is_quitting)
                    p->is_dead = true;
                if (events[i].events & EPOLLOUT)
                    write_out(p);
                read_in(p);
            }
        }
        LIST_FOREACH (reader, &peers, next) {
            if (reader->has_more)
                read_in(reader);
        }
        bury();
        has_more = false;
        LIST_FOREACH (reader, &peers, next)
            has_more = has_more || reader->has_more;
    }
    while (!LIST_EMPTY(&peers)) {
        struct peer *p = LIST_FIRST(&peers);
        while (!LIST_EMPTY(&p->rooms))
            leave(LIST_FIRST(&p->rooms));
        destroy(p);
    }
    close(epoll);
    close(listener);
    close(signals);
    close(reserve);
    return 0;
}
