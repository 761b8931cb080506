#define _GNU_SOURCE
#include "irc.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

struct guest {
    struct guest *before, *after;
    int fd, state; /* 0 stranger, 1 registered, 2 leaving */
    bool broken;
    unsigned round;
    char nick[10], user[11], host[48];
    char in[2 * IRC_LINE_MAX];
    size_t in_len;
    char *out;
    size_t out_len, out_room;
    bool asks_out;
};

struct hall {
    struct hall *after;
    struct guest **guests;
    size_t count;
    char name[IRC_CHANNEL_MAX + 1];
};

static struct guest *guests;
static struct hall *halls;
static int epoll, listener, handover[2], end_event;
static unsigned round_number;
static bool any_broken;

/* The door's thread waits here while there are no descriptors. */
static pthread_mutex_t door_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t door_free = PTHREAD_COND_INITIALIZER;
static unsigned closed_count;

static void stop_with(const char *what)
{
    fprintf(stderr, "chatd: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *door(void *unused)
{
    for (;;) {
        pthread_mutex_lock(&door_lock);
        unsigned before = closed_count;
        pthread_mutex_unlock(&door_lock);
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM)) {
            pthread_mutex_lock(&door_lock);
            while (closed_count == before)
                pthread_cond_wait(&door_free, &door_lock);
            pthread_mutex_unlock(&door_lock);
        } else if (fd < 0 && errno == EINVAL) { /* shut down: the server ends */
            return unused;
        } else if (fd >= 0 && write(handover[1], &fd, sizeof fd) < 0) {
            close(fd);
        }
    }
}

static void *signals(void *set)
{
    int which;
    while (sigwait(set, &which) != 0 || which == SIGUSR1)
        ;
    eventfd_write(end_event, 1);
    return NULL;
}

/* ---- out ---- */

static void want(struct guest *g)
{
    struct epoll_event e = {.data.ptr = g};
    g->asks_out = g->out_len > 0;
    e.events = (g->state == 2 ? 0 : EPOLLIN) | (g->asks_out ? EPOLLOUT : 0);
    epoll_ctl(epoll, EPOLL_CTL_MOD, g->fd, &e);
}

static void push(struct guest *g)
{
    while (g->out_len > 0 && !g->broken) {
        ssize_t n = send(g->fd, g->out, g->out_len, MSG_NOSIGNAL);
        if (n >= 0) {
            g->out_len -= (size_t)n;
            memmove(g->out, g->out + n, g->out_len);
        } else if (errno == EAGAIN) {
            break;
        } else if (errno != EINTR) {
            any_broken = g->broken = true;
        }
    }
    if (!g->broken && g->asks_out != (g->out_len > 0))
        want(g);
}

static void tell_bytes(struct guest *g, const char *line, size_t len)
{
    if (g->broken)
        return;
    if (g->out_len + len > IRC_WAITING_MAX)
        push(g);
    if (g->out_len + len > IRC_WAITING_MAX) {
        any_broken = g->broken = true;
        return;
    }
    if (g->out_len + len > g->out_room) {
        g->out_room = (g->out_len + len) * 2;
        g->out = realloc(g->out, g->out_room);
        if (g->out == NULL)
            stop_with("memory");
    }
    memcpy(g->out + g->out_len, line, len);
    g->out_len += len;
    if (g->out_len == len) /* else it waits for EPOLLOUT */
        push(g);
}

struct line {
    size_t len;
    char bytes[IRC_LINE_MAX + 1];
};

static struct line make(const char *format, ...) __attribute__((format(printf, 1, 2)));
static struct line make(const char *format, ...)
{
    struct line line;
    va_list list;
    va_start(list, format);
    vsnprintf(line.bytes, IRC_CONTENT_MAX + 1, format, list);
    va_end(list);
    line.len = strlen(line.bytes);
    line.bytes[line.len++] = '\r';
    line.bytes[line.len++] = '\n';
    return line;
}

static void tell(struct guest *g, struct line line)
{
    tell_bytes(g, line.bytes, line.len);
}

static void tell_hall(const struct hall *h, const struct guest *not, struct line line)
{
    for (size_t i = 0; i < h->count; i++)
        if (h->guests[i] != not)
            tell(h->guests[i], line);
}

static bool sits_in(const struct hall *h, const struct guest *g)
{
    for (size_t i = 0; i < h->count; i++)
        if (h->guests[i] == g)
            return true;
    return false;
}

static void tell_company(struct guest *g, struct line line)
{
    g->round = ++round_number;
    for (struct hall *h = halls; h != NULL; h = h->after) {
        for (size_t i = 0; sits_in(h, g) && i < h->count; i++) {
            if (h->guests[i]->round != round_number)
                tell(h->guests[i], line);
            h->guests[i]->round = round_number;
        }
    }
}

static void code(struct guest *g, int n, const char *about)
{
    tell(g, make(":%s %03d %s%s%s :%s", IRC_SERVER, n, g->nick[0] ? g->nick : "*",
                 about[0] ? " " : "", about, irc_text((enum irc_numeric)n)));
}

/* ---- halls ---- */

static struct hall **hall_at(const char *name)
{
    struct hall **at = &halls;
    while (*at != NULL && strcasecmp((*at)->name, name) != 0)
        at = &(*at)->after;
    return at;
}

static struct guest *guest_of(const char *nick)
{
    struct guest *g = guests;
    while (g != NULL && (g->nick[0] == '\0' || strcasecmp(g->nick, nick) != 0))
        g = g->after;
    return g;
}

static bool stand_up(struct hall **at, const struct guest *g)
{
    struct hall *h = *at;
    size_t kept = 0;
    for (size_t i = 0; i < h->count; i++)
        if (h->guests[i] != g)
            h->guests[kept++] = h->guests[i];
    h->count = kept;
    if (kept > 0)
        return false;
    *at = h->after;
    free(h->guests);
    free(h);
    return true;
}

static void goodbye(struct guest *g, const char *why)
{
    if (g->state == 1)
        tell_company(g, make(":%s!%s@%s QUIT :%s", g->nick, g->user, g->host, why));
    for (struct hall **at = &halls; *at != NULL;)
        if (!stand_up(at, g))
            at = &(*at)->after;
    g->nick[0] = '\0';
    g->state = 2;
    if (!g->broken)
        want(g);
}

/* ---- commands ---- */

static void registered(struct guest *g)
{
    static const int greeting[] = {1, 2, 3, 4, 422};
    if (g->state != 0 || !g->nick[0] || !g->user[0])
        return;
    g->state = 1;
    for (size_t i = 0; i < 5; i++) {
        if (greeting[i] == 4)
            tell(g, make(":%s 004 %s %s 0 0 0", IRC_SERVER, g->nick, IRC_SERVER));
        else
            code(g, greeting[i], "");
    }
}

static void nick(struct guest *g, const char *name)
{
    const char *special = "[]\\`_^{|}", *letters = "abcdefghijklmnopqrstuvwxyz";
    struct guest *other = guest_of(name);
    bool good = strlen(name) <= 9;
    for (size_t i = 0; name[i] != '\0'; i++) {
        char lower = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + 32 : name[i]);
        if (!strchr(letters, lower) && !strchr(special, lower) &&
            (i == 0 || !strchr("0123456789-", lower)))
            good = false;
    }
    if (name[0] == '\0')
        code(g, 431, "");
    else if (!good)
        code(g, 432, name);
    else if (other != NULL && other != g)
        code(g, 433, name);
    else if (strcmp(g->nick, name) != 0) {
        if (g->state == 1) {
            struct line line = make(":%s!%s@%s NICK :%s", g->nick, g->user, g->host, name);
            tell_company(g, line);
            tell(g, line);
        }
        strcpy(g->nick, name);
        registered(g);
    }
}

static void list_hall(struct guest *g, const char *name, const char *unused)
{
    const struct hall *h = *hall_at(name);
    (void)unused;
    for (size_t i = 0; h != NULL && i < h->count;) {
        char names[420] = "";
        for (size_t n = 0; n < 40 && i < h->count; n++, i++)
            sprintf(names + strlen(names), " %s", h->guests[i]->nick);
        tell(g, make(":%s 353 %s = %s :%s", IRC_SERVER, g->nick, h->name, names + 1));
    }
    code(g, 366, name);
}

static void join(struct guest *g, const char *name, const char *unused)
{
    struct hall **at = hall_at(name), *h;
    (void)unused;
    if (name[0] != '#' || name[1] == '\0' || strlen(name) > 50 || strcspn(name, " ,\a") != strlen(name)) {
        code(g, 403, name);
        return;
    }
    if (*at != NULL && sits_in(*at, g))
        return;
    if (*at == NULL) {
        *at = calloc(1, sizeof **at);
        if (*at == NULL)
            stop_with("memory");
        strcpy((*at)->name, name);
    }
    h = *at;
    h->guests = reallocarray(h->guests, h->count + 1, sizeof *h->guests);
    if (h->guests == NULL)
        stop_with("memory");
    h->guests[h->count++] = g;
    tell_hall(h, NULL, make(":%s!%s@%s JOIN %s", g->nick, g->user, g->host, h->name));
    list_hall(g, h->name, "");
}

static void part(struct guest *g, const char *name, const char *text)
{
    struct hall **at = hall_at(name);
    if (*at == NULL)
        code(g, 403, name);
    else if (!sits_in(*at, g))
        code(g, 442, name);
    else {
        tell_hall(*at, NULL, make(":%s!%s@%s PART %s :%s", g->nick, g->user, g->host, name, text));
        stand_up(at, g);
    }
}

static void say(struct guest *g, const char *verb, const char *to, const char *text)
{
    struct hall *h = *hall_at(to);
    struct guest *other = guest_of(to);
    struct line line =
        make(":%s!%s@%s %s %s :%s", g->nick, g->user, g->host, verb, to, text);
    int error = 0;
    if (!*to)
        error = 411, to = "";
    else if (!*text)
        error = 412, to = "";
    else if (h != NULL && sits_in(h, g))
        tell_hall(h, g, line);
    else if (h != NULL)
        error = 404;
    else if (other != NULL && other->state == 1)
        tell(other, line);
    else
        error = 401;
    if (error && verb[0] == 'P')
        code(g, error, to);
}

static void every(struct guest *g, char *list, const char *text,
                  void (*f)(struct guest *, const char *, const char *))
{
    for (char *next = list; next != NULL;) {
        char *name = strsep(&next, ",");
        if (*name)
            f(g, name, text);
    }
}

static void serve(struct guest *g, char *line)
{
    char *word[32] = {0}, *tail, *verb;
    size_t n = 0;
    while (*line == ' ')
        line++;
    if (*line == ':') {
        line = strchrnul(line, ' ');
        while (*line == ' ')
            line++;
    }
    tail = strstr(line, " :");
    if (tail != NULL) {
        *tail = '\0';
        tail += 2;
    }
    for (char *w; n < 15 && (w = strsep(&line, " ")) != NULL;)
        if (*w)
            word[n++] = w;
    if (n == 0)
        return;
    if (tail != NULL && n < 16)
        word[n++] = tail;
    verb = word[0];
    for (size_t i = n; i < 32; i++)
        word[i] = verb + strlen(verb); /* "" */
#define IS(name) (strcasecmp(verb, name) == 0)
    bool late = IS("JOIN") || IS("PART") || IS("PRIVMSG") || IS("NOTICE") || IS("NAMES");
    if (late && g->state == 0)
        code(g, 451, "");
    else if (IS("NICK"))
        nick(g, word[1]);
    else if (IS("USER") && n < 5)
        code(g, 461, "USER");
    else if (IS("USER") && g->user[0])
        code(g, 462, "");
    else if (IS("USER")) {
        snprintf(g->user, 11, "%.*s", (int)strcspn(word[1], "@!"), word[1]);
        if (!g->user[0])
            strcpy(g->user, "-");
        registered(g);
    } else if (IS("PING") && n < 2)
        code(g, 409, "");
    else if (IS("PING"))
        tell(g, make(":%s PONG %s :%s", IRC_SERVER, IRC_SERVER, word[1]));
    else if (IS("QUIT")) {
        goodbye(g, n > 1 ? word[1] : "left");
        tell(g, make("ERROR :bye"));
    } else if ((IS("JOIN") || IS("PART")) && !*word[1])
        code(g, 461, verb);
    else if (IS("JOIN"))
        every(g, word[1], "", join);
    else if (IS("PART"))
        every(g, word[1], word[2], part);
    else if (IS("NAMES") && !*word[1])
        code(g, 366, "*");
    else if (IS("NAMES"))
        every(g, word[1], "", list_hall);
    else if (late)
        say(g, IS("NOTICE") ? "NOTICE" : "PRIVMSG", word[1], word[2]);
    else if (!IS("PONG"))
        code(g, 421, verb);
}

/* ---- in ---- */

static void hear(struct guest *g)
{
    ssize_t n = recv(g->fd, g->in + g->in_len, sizeof g->in - g->in_len, 0);
    char *begin = g->in, *newline;
    if (n == 0) {
        goodbye(g, "end of input");
        return;
    }
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
            any_broken = g->broken = true;
        return;
    }
    g->in_len += (size_t)n;
    while (g->state != 2 && !g->broken &&
           (newline = memchr(begin, '\n', g->in_len - (size_t)(begin - g->in))) != NULL) {
        char line[IRC_CONTENT_MAX + 1];
        size_t len = (size_t)(newline - begin);
        if (len > 0 && begin[len - 1] == '\r')
            len--;
        if (len > IRC_CONTENT_MAX)
            len = IRC_CONTENT_MAX;
        memcpy(line, begin, len);
        line[len] = '\0';
        serve(g, line);
        begin = newline + 1;
    }
    g->in_len -= (size_t)(begin - g->in);
    memmove(g->in, begin, g->in_len);
    if (g->in_len == sizeof g->in) /* a line without end: more than this of it is not looked at */
        g->in_len = IRC_CONTENT_MAX + 2;
}

static void remove_guest(struct guest *g)
{
    char rest[1024];
    if (g->state != 2)
        goodbye(g, "connection lost");
    for (int i = 0; i < 64 && !g->broken && recv(g->fd, rest, sizeof rest, 0) > 0; i++)
        ;
    close(g->fd);
    if (g->before != NULL)
        g->before->after = g->after;
    else
        guests = g->after;
    if (g->after != NULL)
        g->after->before = g->before;
    free(g->out);
    free(g);
    pthread_mutex_lock(&door_lock);
    closed_count++;
    pthread_cond_signal(&door_free);
    pthread_mutex_unlock(&door_lock);
}

static void new_guest(int fd)
{
    struct guest *g = calloc(1, sizeof *g);
    struct sockaddr_storage peer;
    socklen_t len = sizeof peer;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = g};
    int one = 1;
    if (g == NULL)
        stop_with("memory");
    g->fd = fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    strcpy(g->host, "gone");
    if (getpeername(fd, (struct sockaddr *)&peer, &len) == 0)
        getnameinfo((struct sockaddr *)&peer, len, g->host, sizeof g->host, NULL, 0, NI_NUMERICHOST);
    if (strncmp(g->host, "::ffff:", 7) == 0)
        memmove(g->host, g->host + 7, strlen(g->host) - 6);
    g->after = guests;
    if (guests != NULL)
        guests->before = g;
    guests = g;
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
}

static int ear(const char *port)
{
    static const int families[] = {AF_INET6, AF_INET};
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    int one = 1, zero = 0;
    for (int i = 0; i < 2; i++) {
        struct addrinfo *all;
        hints.ai_family = families[i];
        if (getaddrinfo(NULL, port, &hints, &all) != 0)
            continue;
        int fd = socket(all->ai_family, all->ai_socktype | SOCK_CLOEXEC, 0);
        if (fd >= 0) {
            setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
            if (families[i] == AF_INET6)
                setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
            if (bind(fd, all->ai_addr, all->ai_addrlen) == 0 && listen(fd, 4096) == 0) {
                freeaddrinfo(all);
                return fd;
            }
            if (errno == EADDRINUSE || errno == EACCES)
                stop_with(port);
            close(fd);
        }
        freeaddrinfo(all);
    }
    stop_with(port);
    return -1;
}

int main(int argc, char **argv)
{
    const char *port = argc == 3 ? argv[2] : "6667";
    struct epoll_event events[32];
    struct sockaddr_in6 mine;
    socklen_t len = sizeof mine;
    pthread_t threads[2];
    sigset_t ends;
    bool going = true;
    if ((argc != 1 && (argc != 3 || strcmp(argv[1], "-p") != 0)) || !*port ||
        port[strspn(port, "0123456789")] || strlen(port) > 9 || atol(port) > 65535) {
        fprintf(stderr, "usage: chatd [-p PORT]\n");
        return 2;
    }
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);
    listener = ear(port);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    end_event = eventfd(0, EFD_CLOEXEC);
    if (epoll < 0 || end_event < 0 || pipe(handover) < 0)
        stop_with("start");
    epoll_ctl(epoll, EPOLL_CTL_ADD, end_event, &(struct epoll_event){.events = EPOLLIN, .data.ptr = &end_event});
    epoll_ctl(epoll, EPOLL_CTL_ADD, handover[0], &(struct epoll_event){.events = EPOLLIN, .data.ptr = handover});
    pthread_create(&threads[0], NULL, door, NULL);
    pthread_create(&threads[1], NULL, signals, &ends);
    getsockname(listener, (struct sockaddr *)&mine, &len);
    printf("listening on %d\n", ntohs(mine.sin6_port));
    fflush(stdout);
    while (going) {
        int n = epoll_wait(epoll, events, 32, -1), fd;
        for (int i = 0; i < n; i++) {
            struct guest *g = events[i].data.ptr;
            if (events[i].data.ptr == &end_event) {
                going = false;
            } else if (events[i].data.ptr == handover) {
                if (read(handover[0], &fd, sizeof fd) == sizeof fd)
                    new_guest(fd);
            } else {
                if (events[i].events & EPOLLOUT)
                    push(g);
                if (g->state == 2 && events[i].events & (EPOLLERR | EPOLLHUP))
                    any_broken = g->broken = true;
                else if (g->state != 2 && events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP))
                    hear(g);
            }
        }
        for (struct guest *g = guests, *next; g != NULL; g = next) {
            next = g->after;
            if (g->broken || (g->state == 2 && g->out_len == 0)) {
                any_broken = false;
                remove_guest(g);
                next = guests; /* from the beginning: that may have broken others */
            }
        }
    }
    shutdown(listener, SHUT_RDWR);
    pthread_mutex_lock(&door_lock);
    closed_count++;
    pthread_cond_signal(&door_free);
    pthread_mutex_unlock(&door_lock);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    while (guests != NULL) {
        guests->broken = true;
        guests->state = 2;
        for (struct hall **at = &halls; *at != NULL;)
            if (!stand_up(at, guests))
                at = &(*at)->after;
        remove_guest(guests);
    }
    close(listener);
    close(epoll);
    close(end_event);
    close(handover[0]);
    close(handover[1]);
    return 0;
}
