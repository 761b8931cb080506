/*
 * chatd.c - a chat server over sockets: it speaks a part of IRC (RFC 2812).
 *
 *     chatd [-p PORT]
 *
 * What it teaches: one socket listens, and each client that connects has a connection of its own, a
 * pair of endpoints. What comes through a connection are bytes, and lines have to be made of them;
 * what goes out may have to wait, because a client need not read. One process serves all of them:
 * it sleeps in poll() until something can be done for somebody, does that, and never waits for one
 * client while others are there.
 *
 * irc.h has the limits, numbers and texts.
 */
#define _GNU_SOURCE
#include "irc.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    EXIT_FAILED = 1, /* a failure at run time */
    EXIT_USAGE = 2,
    CHUNK = 4096, /* bytes that are read from a client before it is the others' turn */
};

/* Who is connected. Add what you need. */
struct client {
    int fd;                      /* -1: closed, nothing is to be done for it any more */
    char nick[IRC_NICK_MAX + 1]; /* "": none yet, or none any more */
    char user[IRC_USER_MAX + 1]; /* "": no USER yet */
    char host[64];               /* its address, in digits */
    bool registered;             /* nick and user are there, and the welcome was sent */
#ifndef STARTER
    bool leaving;          /* has quit: is not read any more, what waits still goes out */
    const char *dropped;   /* NULL, or why it is to be cut off */
    unsigned long reached; /* the number of the last announcement that it got */

    char line[IRC_CONTENT_MAX + 1]; /* what has come of a line that is not complete */
    size_t line_len;
    char *waiting; /* what was not sent yet */
    size_t waiting_len, waiting_size;
    bool is_full; /* the kernel takes no more until poll() says so */
#endif
};

/* A channel lives as long as it has members. */
struct channel {
    struct channel *next;
    char name[IRC_CHANNEL_MAX + 1]; /* as it was spelled by the first who joined */
    struct client **members;        /* in the order in which they came */
    size_t count, size;
};

/* One line that a client has sent, in parts. All strings lie in that line. */
struct message {
    char *command;
    char *parameters[IRC_PARAMETERS_MAX];
    size_t count;
};

/* All that the server knows. It is one process with one thread, so nobody else looks at it. */
struct server {
    int listener;
    struct client **clients;
    size_t count, size;
    struct channel *channels;
#ifndef STARTER
    int signals;                 /* signalfd: becomes readable by SIGTERM and SIGINT */
    bool can_accept;             /* false: there are no descriptors left */
    bool any_dropped;            /* some client's `dropped` is set */
    unsigned long announcements; /* that were made so far, see announce() */
    struct pollfd *polled;
    size_t polled_size;
#endif
};

/* The functions of this file, as they stand below, each under its contract. */
int open_listener(int port);
void accept_clients(void);
void receive(struct client *client);
void receive_byte(struct client *client, char byte);
bool parse_line(char *line, struct message *message);
void send_line(struct client *client, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void send_numeric(struct client *client, enum irc_numeric numeric, const char *parameter);
bool nick_is_right(const char *nick);
bool channel_is_right(const char *name);
struct client *find_client(const char *nick);
struct channel *find_channel(const char *name);
void serve(struct client *client, struct message *message);
void sign_off(struct client *client, const char *why);
bool catch_signals(void);
int run(void);

struct server server = {.listener = -1};

#ifndef STARTER
/* ---- memory ---- */

/* Makes room for `count` elements in *array. Returns false when there is no memory. */
static bool make_room(void *array, size_t *size, size_t count, size_t element)
{
    size_t larger = *size == 0 ? 16 : *size;
    void *moved;

    if (count <= *size)
        return true;
    while (larger < count)
        larger *= 2;
    memcpy(&moved, array, sizeof moved);
    moved = realloc(moved, larger * element);
    if (moved == NULL)
        return false;
    memcpy(array, &moved, sizeof moved);
    *size = larger;
    return true;
}

#endif
/* ---- Step 1: a server that listens ---- */

/*
 * A socket that listens at `port` (0: the system chooses one), on all addresses of IPv6 and IPv4,
 * or of IPv4 alone where there is no IPv6. Non-blocking, and closed on exec.
 * Returns it, or -1 with errno.
 */
int open_listener(int port)
{
#ifdef STARTER
    /* Your code goes here: socket(), setsockopt(), bind(), listen(). */
    (void)port;
    errno = ENOSYS;
    return -1;
#else
    struct sockaddr_in6 all6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    struct sockaddr_in all4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    const int on = 1, off = 0;
    bool has_ipv6 = true;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int error;

    if (fd < 0 && errno == EAFNOSUPPORT) {
        has_ipv6 = false;
        fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    }
    if (fd < 0)
        return -1;
    /* Connections of an earlier chatd that are not quite over must not keep the port from us. */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    /* One socket for both: a client by IPv4 has an address of the form ::ffff:192.0.2.1 then. */
    if (has_ipv6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if ((has_ipv6 ? bind(fd, (struct sockaddr *)&all6, sizeof all6)
                  : bind(fd, (struct sockaddr *)&all4, sizeof all4)) == 0 &&
        listen(fd, SOMAXCONN) == 0)
        return fd;
    error = errno;
    close(fd);
    errno = error;
    return -1;
#endif
}

/*
 * Takes all clients that wait at the listener: each becomes a non-blocking connection of its own in
 * server.clients. When there are no descriptors left, those that wait go on waiting, and poll()
 * must not report them again until a client has left, else it would never sleep.
 */
void accept_clients(void)
{
#ifdef STARTER
    /* Your code goes here. */
#else
    for (;;) {
        struct sockaddr_storage address;
        socklen_t len = sizeof address;
        const int on = 1;
        int fd = accept4(server.listener, (struct sockaddr *)&address, &len,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        struct client *client;

        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                server.can_accept = false;
            if (errno == EINTR || errno == ECONNABORTED)
                continue;
            return;
        }
        client = calloc(1, sizeof *client);
        if (client == NULL ||
            !make_room(&server.clients, &server.size, server.count + 1, sizeof(*server.clients))) {
            free(client);
            close(fd);
            return;
        }
        client->fd = fd;
        /* What we send are whole lines, so the kernel need not wait for more to send with them. */
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (getnameinfo((struct sockaddr *)&address, len, client->host, sizeof client->host, NULL,
                        0, NI_NUMERICHOST) != 0)
            strcpy(client->host, "unknown");
        if (strncmp(client->host, "::ffff:", 7) == 0 && strchr(client->host, '.') != NULL)
            memmove(client->host, client->host + 7, strlen(client->host + 7) + 1);
        server.clients[server.count++] = client;
    }
#endif
}

/* ---- Step 2: lines out of a stream of bytes ---- */

#ifndef STARTER
static void drop(struct client *client, const char *why);
static void quit(struct client *client, const char *why);
static void cut_off_dropped(void);

#endif
/*
 * Reads what there is from a client, at most CHUNK bytes, and hands on each byte. The end of input
 * is a QUIT; an error, such as a reset, is the end of the connection.
 */
void receive(struct client *client)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)client;
#else
    char bytes[CHUNK];
    ssize_t count = recv(client->fd, bytes, sizeof bytes, 0);

    if (count < 0 && errno != EAGAIN && errno != EINTR)
        drop(client, "Connection lost");
    if (count == 0)
        quit(client, "Connection closed");
    for (ssize_t i = 0; i < count && client->fd >= 0 && !client->leaving; i++)
        receive_byte(client, bytes[i]);
#endif
}

/*
 * One more byte of a client's line. A newline completes it: it is parsed and served. A CR is no
 * part of any line; what is over IRC_CONTENT_MAX bytes is dropped up to the newline.
 */
void receive_byte(struct client *client, char byte)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)client, (void)byte;
#else
    struct message message;

    if (byte == '\n') {
        client->line[client->line_len] = '\0';
        client->line_len = 0;
        if (parse_line(client->line, &message))
            serve(client, &message);
        cut_off_dropped();
    } else if (byte != '\r' && client->line_len < IRC_CONTENT_MAX) {
        client->line[client->line_len++] = byte;
    }
#endif
}

/*
 * Takes a line apart: [:PREFIX] COMMAND [PARAMETER...] [:LAST PARAMETER, WITH SPACES]. Any number
 * of spaces stands between two parts. Writes into the line. Returns false if there is no command.
 */
bool parse_line(char *line, struct message *message)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)line, (void)message;
    return false;
#else
    char *at = line + strspn(line, " ");

    message->count = 0;
    if (*at == ':') {
        at += strcspn(at, " ");
        at += strspn(at, " ");
    }
    message->command = at;
    at += strcspn(at, " ");
    while (*at != '\0') {
        *at++ = '\0';
        at += strspn(at, " ");
        if (*at == '\0')
            break;
        if (*at == ':' || message->count == IRC_PARAMETERS_MAX - 1) {
            message->parameters[message->count++] = *at == ':' ? at + 1 : at;
            break;
        }
        message->parameters[message->count++] = at;
        at += strcspn(at, " ");
    }
    return message->command[0] != '\0';
#endif
}

/* ---- Steps 2 and 7: sending, and what can't be sent yet ---- */

#ifndef STARTER
/* The client will be cut off as soon as nobody is in the middle of a list of clients. */
static void drop(struct client *client, const char *why)
{
    if (client->dropped == NULL)
        client->dropped = why;
    server.any_dropped = true;
}

/* Sends what waits, as much as the kernel takes now. */
static void send_waiting(struct client *client)
{
    size_t sent = 0;

    while (sent < client->waiting_len && !client->is_full && client->dropped == NULL) {
        ssize_t count = send(client->fd, client->waiting + sent, client->waiting_len - sent,
                             MSG_NOSIGNAL | MSG_DONTWAIT);

        if (count >= 0)
            sent += (size_t)count;
        else if (errno == EAGAIN)
            client->is_full = true;
        else if (errno != EINTR)
            drop(client, "Connection lost");
    }
    client->waiting_len -= sent;
    if (client->waiting_len > 0) {
        memmove(client->waiting, client->waiting + sent, client->waiting_len);
    } else {
        free(client->waiting);
        client->waiting = NULL;
        client->waiting_size = 0;
    }
}

/* Puts bytes behind those that wait for a client; drops a client for whom too much waits. */
static void queue_bytes(struct client *client, const char *bytes, size_t len)
{
    if (client->fd < 0 || client->dropped != NULL)
        return;
    if (client->waiting_len + len > IRC_WAITING_MAX)
        send_waiting(client);
    if (client->waiting_len + len > IRC_WAITING_MAX) {
        drop(client, "Does not read");
    } else if (make_room(&client->waiting, &client->waiting_size, client->waiting_len + len, 1)) {
        memcpy(client->waiting + client->waiting_len, bytes, len);
        client->waiting_len += len;
    } else {
        drop(client, "Out of memory");
    }
}

/* Writes a line with its CRLF, cut to the limit. Returns its length. */
static size_t format_line(char line[IRC_LINE_MAX + 1], const char *format, va_list arguments)
{
    /* The terminating zero is one byte more, and is where the CR will be. */
    int len = vsnprintf(line, IRC_CONTENT_MAX + 1, format, arguments);

    if (len < 0)
        len = 0;
    if (len > IRC_CONTENT_MAX)
        len = IRC_CONTENT_MAX;
    line[len] = '\r';
    line[len + 1] = '\n';
    return (size_t)len + 2;
}

#endif
/*
 * Sends a line, given without its CRLF as printf() takes it, and cut to IRC_CONTENT_MAX bytes. What
 * the kernel does not take now waits in our memory, in order. When more than IRC_WAITING_MAX bytes
 * would have to wait, the client is dropped. Never waits, and never closes a client at once: the
 * caller may be in the middle of a list.
 */
void send_line(struct client *client, const char *format, ...)
{
#ifdef STARTER
    /* Your code goes here: vsnprintf(), then send() with MSG_NOSIGNAL. */
    (void)client, (void)format;
#else
    char line[IRC_LINE_MAX + 1];
    va_list arguments;

    va_start(arguments, format);
    queue_bytes(client, line, format_line(line, format, arguments));
    va_end(arguments);
#endif
}

/*
 * ":SERVER NUMERIC NICK PARAMETER :TEXT", the text from irc.h; a client without a nick is "*", and
 * `parameter` may be NULL.
 */
void send_numeric(struct client *client, enum irc_numeric numeric, const char *parameter)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)client, (void)numeric, (void)parameter;
#else
    const char *nick = client->nick[0] != '\0' ? client->nick : "*";

    if (parameter == NULL)
        send_line(client, ":%s %03d %s :%s", IRC_SERVER, numeric, nick, irc_text(numeric));
    else /* what came as a last parameter may hold spaces, and is none here: its first word */
        send_line(client, ":%s %03d %s %.*s :%s", IRC_SERVER, numeric, nick,
                  (int)strcspn(parameter, " "), parameter, irc_text(numeric));
#endif
}

/* ---- Steps 3 and 4: names, and who is there ---- */

#ifndef STARTER
/*
 * Only ASCII letters have two cases here, whatever the locale says; chatd never calls setlocale(),
 * so strcasecmp() sees it the same way.
 */
static bool is_same(const char *a, const char *b)
{
    return strcasecmp(a, b) == 0;
}

#endif
/* 1 to IRC_NICK_MAX letters, digits, '-' and []\`_^{|}, beginning with no digit and no '-'. */
bool nick_is_right(const char *nick)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)nick;
    return true;
#else
    static const char all[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz[]\\`_^{|}"
                              "0123456789-";
    size_t len = strspn(nick, all);

    return len >= 1 && len <= IRC_NICK_MAX && nick[len] == '\0' &&
           strchr("0123456789-", nick[0]) == NULL;
#endif
}

/* '#', then 1 to 49 bytes without space, comma and control-G. */
bool channel_is_right(const char *name)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)name;
    return true;
#else
    size_t len = strcspn(name, " ,\a");

    return name[0] == '#' && len >= 2 && len <= IRC_CHANNEL_MAX && name[len] == '\0';
#endif
}

/* Who has this nick, registered or not, in whatever case; NULL: nobody. */
struct client *find_client(const char *nick)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)nick;
    return NULL;
#else
    for (size_t i = 0; i < server.count; i++) {
        if (server.clients[i]->nick[0] != '\0' && is_same(server.clients[i]->nick, nick))
            return server.clients[i];
    }
    return NULL;
#endif
}

/* The channel of this name, in whatever case; NULL: there is none. */
struct channel *find_channel(const char *name)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)name;
    return NULL;
#else
    struct channel *channel = server.channels;

    while (channel != NULL && !is_same(channel->name, name))
        channel = channel->next;
    return channel;
#endif
}

#ifndef STARTER
/* ---- channels and their members ---- */

static bool is_member(const struct channel *channel, const struct client *client)
{
    for (size_t i = 0; i < channel->count; i++) {
        if (channel->members[i] == client)
            return true;
    }
    return false;
}

/* Adds a member, to a new channel if there is none. Returns NULL when there is no memory. */
static struct channel *add_member(const char *name, struct client *client)
{
    struct channel *channel = find_channel(name), *made = NULL;

    if (channel == NULL) {
        channel = made = calloc(1, sizeof *made);
        if (made == NULL)
            return NULL;
        strcpy(made->name, name);
    }
    if (!make_room(&channel->members, &channel->size, channel->count + 1,
                   sizeof(*channel->members))) {
        free(made);
        return NULL;
    }
    if (made != NULL) {
        made->next = server.channels;
        server.channels = made;
    }
    channel->members[channel->count++] = client;
    return channel;
}

/* Removes a member, if it is one. The channel goes with its last member: returns true then. */
static bool remove_member(struct channel **place, const struct client *client)
{
    struct channel *channel = *place;
    size_t i = 0;

    while (i < channel->count && channel->members[i] != client)
        i++;
    if (i < channel->count) {
        channel->count--;
        memmove(channel->members + i, channel->members + i + 1,
                (channel->count - i) * sizeof(*channel->members));
    }
    if (channel->count > 0)
        return false;
    *place = channel->next;
    free(channel->members);
    free(channel);
    return true;
}

/* Sends a line to each member but `except`. */
static void send_to_channel(const struct channel *channel, const struct client *except,
                            const char *format, ...) __attribute__((format(printf, 3, 4)));
static void send_to_channel(const struct channel *channel, const struct client *except,
                            const char *format, ...)
{
    char line[IRC_LINE_MAX + 1];
    va_list arguments;
    size_t len;

    va_start(arguments, format);
    len = format_line(line, format, arguments);
    va_end(arguments);
    for (size_t i = 0; i < channel->count; i++) {
        if (channel->members[i] != except)
            queue_bytes(channel->members[i], line, len);
    }
}

/*
 * Sends a line once to each who shares a channel with `client`, but not to the client. Each such
 * announcement has a number, and who has got it carries that number: so nobody gets it twice.
 */
static void announce(struct client *client, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void announce(struct client *client, const char *format, ...)
{
    char line[IRC_LINE_MAX + 1];
    va_list arguments;
    size_t len;

    va_start(arguments, format);
    len = format_line(line, format, arguments);
    va_end(arguments);
    client->reached = ++server.announcements;
    for (const struct channel *c = server.channels; c != NULL; c = c->next) {
        if (!is_member(c, client))
            continue;
        for (size_t i = 0; i < c->count; i++) {
            if (c->members[i]->reached != server.announcements)
                queue_bytes(c->members[i], line, len);
            c->members[i]->reached = server.announcements;
        }
    }
}

/* ---- who says it: the prefix of what others get ---- */

struct prefix {
    char text[IRC_NICK_MAX + 1 + IRC_USER_MAX + 1 + 64];
};

static struct prefix prefix_of(const struct client *client)
{
    struct prefix prefix;

    snprintf(prefix.text, sizeof prefix.text, "%s!%s@%s", client->nick, client->user, client->host);
    return prefix;
}

/* ---- Steps 3 to 6: the commands ---- */

/* The next element of a list with commas, NULL at its end; empty ones are skipped. */
static char *next_element(char **list)
{
    char *element = NULL;

    while (*list != NULL && (element = strsep(list, ",")) != NULL && element[0] == '\0')
        element = NULL;
    return element;
}

/* A parameter that is empty is a missing one, where a command asks so. */
static bool has_parameter(const struct message *message, size_t i)
{
    return i < message->count && message->parameters[i][0] != '\0';
}

/* The registration is complete when NICK and USER have both come, in whatever order. */
static void register_client(struct client *client)
{
    if (client->registered || client->nick[0] == '\0' || client->user[0] == '\0')
        return;
    client->registered = true;
    send_numeric(client, RPL_WELCOME, NULL);
    send_numeric(client, RPL_YOURHOST, NULL);
    send_numeric(client, RPL_CREATED, NULL);
    send_line(client, ":%s %03d %s %s 1 o n", IRC_SERVER, RPL_MYINFO, client->nick, IRC_SERVER);
    send_numeric(client, ERR_NOMOTD, NULL);
}

static void serve_nick(struct client *client, struct message *message)
{
    const struct client *holder;
    const char *nick;

    if (!has_parameter(message, 0)) {
        send_numeric(client, ERR_NONICKNAMEGIVEN, NULL);
        return;
    }
    nick = message->parameters[0];
    if (!nick_is_right(nick)) {
        send_numeric(client, ERR_ERRONEUSNICKNAME, nick);
        return;
    }
    holder = find_client(nick);
    if (holder != NULL && holder != client) {
        send_numeric(client, ERR_NICKNAMEINUSE, nick);
        return;
    }
    if (strcmp(client->nick, nick) == 0)
        return;
    if (client->registered) {
        struct prefix old = prefix_of(client);

        send_line(client, ":%s NICK :%s", old.text, nick);
        announce(client, ":%s NICK :%s", old.text, nick);
    }
    strcpy(client->nick, nick);
    register_client(client);
}

static void serve_user(struct client *client, struct message *message)
{
    char *user = message->parameters[0];

    if (client->user[0] != '\0') {
        send_numeric(client, ERR_ALREADYREGISTRED, NULL);
        return;
    }
    user[strcspn(user, "@!")] = '\0'; /* they have a meaning in a prefix */
    snprintf(client->user, sizeof client->user, "%s", user[0] != '\0' ? user : "unknown");
    register_client(client);
}

static void serve_ping(struct client *client, struct message *message)
{
    if (has_parameter(message, 0))
        send_line(client, ":%s PONG %s :%s", IRC_SERVER, IRC_SERVER, message->parameters[0]);
    else
        send_numeric(client, ERR_NOORIGIN, NULL);
}

static void serve_pong(struct client *client, struct message *message)
{
    (void)client, (void)message;
}

static void serve_quit(struct client *client, struct message *message)
{
    quit(client, message->count > 0 ? message->parameters[0] : "Quit");
}

/* 353, as often as the nicks need, so that none is cut. */
static void send_names(struct client *client, const struct channel *channel)
{
    /* What stands before the nicks: ":SERVER 353 NICK = CHANNEL :" */
    size_t room = IRC_CONTENT_MAX - strlen(client->nick) - strlen(channel->name) -
                  strlen(":" IRC_SERVER " 353  =  :");
    char nicks[IRC_CONTENT_MAX + 1] = "";
    size_t len = 0;

    for (size_t i = 0; i < channel->count; i++) {
        const char *nick = channel->members[i]->nick;

        if (len + 1 + strlen(nick) > room) {
            send_line(client, ":%s %d %s = %s :%s", IRC_SERVER, RPL_NAMREPLY, client->nick,
                      channel->name, nicks);
            len = 0;
        }
        len += (size_t)sprintf(nicks + len, "%s%s", len > 0 ? " " : "", nick);
    }
    send_line(client, ":%s %d %s = %s :%s", IRC_SERVER, RPL_NAMREPLY, client->nick, channel->name,
              nicks);
}

static void join(struct client *client, const char *name)
{
    struct channel *channel = find_channel(name);

    if (!channel_is_right(name)) {
        send_numeric(client, ERR_NOSUCHCHANNEL, name);
        return;
    }
    if (channel != NULL && is_member(channel, client))
        return;
    channel = add_member(name, client);
    if (channel == NULL) {
        drop(client, "Out of memory");
        return;
    }
    send_to_channel(channel, NULL, ":%s JOIN :%s", prefix_of(client).text, channel->name);
    send_names(client, channel);
    send_numeric(client, RPL_ENDOFNAMES, channel->name);
}

static void serve_join(struct client *client, struct message *message)
{
    char *list = message->parameters[0];

    for (const char *name = next_element(&list); name != NULL; name = next_element(&list))
        join(client, name);
}

static void part(struct client *client, const char *name, const char *text)
{
    struct channel **place = &server.channels;

    while (*place != NULL && !is_same((*place)->name, name))
        place = &(*place)->next;
    if (*place == NULL) {
        send_numeric(client, ERR_NOSUCHCHANNEL, name);
        return;
    }
    if (!is_member(*place, client)) {
        send_numeric(client, ERR_NOTONCHANNEL, name);
        return;
    }
    send_to_channel(*place, NULL, ":%s PART %s%s%s", prefix_of(client).text, (*place)->name,
                    text != NULL ? " :" : "", text != NULL ? text : "");
    remove_member(place, client);
}

static void serve_part(struct client *client, struct message *message)
{
    const char *text = message->count > 1 ? message->parameters[1] : NULL;
    char *list = message->parameters[0];

    for (const char *name = next_element(&list); name != NULL; name = next_element(&list))
        part(client, name, text);
}

static void serve_names(struct client *client, struct message *message)
{
    char *list = has_parameter(message, 0) ? message->parameters[0] : NULL;
    const char *name = next_element(&list);

    if (name == NULL)
        send_numeric(client, RPL_ENDOFNAMES, "*");
    for (; name != NULL; name = next_element(&list)) {
        const struct channel *channel = find_channel(name);

        if (channel != NULL)
            send_names(client, channel);
        send_numeric(client, RPL_ENDOFNAMES, name);
    }
}

/* PRIVMSG and NOTICE: the second never has an error for an answer. */
static void serve_text(struct client *client, struct message *message)
{
    bool is_notice = is_same(message->command, "NOTICE");
    const char *command = is_notice ? "NOTICE" : "PRIVMSG";
    const char *target = message->parameters[0], *text = message->parameters[1];
    const struct channel *channel;
    struct client *receiver;
    enum irc_numeric error;

    if (!has_parameter(message, 0)) {
        error = ERR_NORECIPIENT;
        target = NULL;
    } else if (!has_parameter(message, 1)) {
        error = ERR_NOTEXTTOSEND;
        target = NULL;
    } else if ((channel = find_channel(target)) != NULL) {
        if (is_member(channel, client)) {
            send_to_channel(channel, client, ":%s %s %s :%s", prefix_of(client).text, command,
                            channel->name, text);
            return;
        }
        error = ERR_CANNOTSENDTOCHAN;
    } else {
        receiver = find_client(target);
        if (receiver != NULL && receiver->registered) {
            send_line(receiver, ":%s %s %s :%s", prefix_of(client).text, command, receiver->nick,
                      text);
            return;
        }
        error = ERR_NOSUCHNICK;
    }
    if (!is_notice)
        send_numeric(client, error, target);
}

#endif
/*
 * Serves one command, given in any case. The checks, in this order: a command that is none of the
 * ten (421); one that only registered clients may use (451); missing parameters.
 */
void serve(struct client *client, struct message *message)
{
#ifdef STARTER
    /* Your code goes here: a table of names and functions is better than ten times strcasecmp(). */
    (void)client, (void)message;
#else
    static const struct {
        const char *name;
        void (*serve)(struct client *, struct message *);
        bool registered_only;
        size_t parameters; /* that may not be missing or, the first of them, empty: else 461 */
    } commands[] = {
        {"NICK", serve_nick, false, 0},   {"USER", serve_user, false, 4},
        {"PING", serve_ping, false, 0},   {"PONG", serve_pong, false, 0},
        {"QUIT", serve_quit, false, 0},   {"JOIN", serve_join, true, 1},
        {"PART", serve_part, true, 1},    {"NAMES", serve_names, true, 0},
        {"PRIVMSG", serve_text, true, 0}, {"NOTICE", serve_text, true, 0},
    };
    const size_t count = sizeof commands / sizeof commands[0];
    size_t i = 0;

    while (i < count && !is_same(commands[i].name, message->command))
        i++;
    if (i == count)
        send_numeric(client, ERR_UNKNOWNCOMMAND, message->command);
    else if (commands[i].registered_only && !client->registered)
        send_numeric(client, ERR_NOTREGISTERED, NULL);
    else if (message->count < commands[i].parameters ||
             (commands[i].parameters == 1 && !has_parameter(message, 0)))
        send_numeric(client, ERR_NEEDMOREPARAMS, commands[i].name);
    else
        commands[i].serve(client, message);
#endif
}

/* ---- Steps 6 and 7: leaving ---- */

/*
 * From here on nobody sees the client: those who share a channel are told, with `why`; it is on no
 * channel, and its nick is free. Its connection stays as it is.
 */
void sign_off(struct client *client, const char *why)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)client, (void)why;
#else
    if (client->registered)
        announce(client, ":%s QUIT :%s", prefix_of(client).text, why);
    for (struct channel **place = &server.channels; *place != NULL;) {
        if (!remove_member(place, client))
            place = &(*place)->next;
    }
    client->registered = false;
    client->nick[0] = '\0';
#endif
}

#ifndef STARTER
/* It is not read any more; when all that waits for it has been sent, the connection is closed. */
static void quit(struct client *client, const char *why)
{
    sign_off(client, why);
    client->leaving = true;
    send_line(client, "ERROR :Closing link: %s", why);
}

/*
 * Closes a client's connection; the struct stays until sweep(). What it may have sent meanwhile is
 * read first: closing with bytes unread is a reset, which can destroy what we have sent last.
 */
static void close_client(struct client *client)
{
    char bytes[CHUNK];

    for (int i = 0; client->leaving && i < 16; i++) {
        if (recv(client->fd, bytes, sizeof bytes, MSG_DONTWAIT) <= 0)
            break;
    }
    close(client->fd);
    client->fd = -1;
    free(client->waiting);
    client->waiting = NULL;
    client->waiting_len = client->waiting_size = 0;
    server.can_accept = true; /* a descriptor is free */
}

/* Cuts off who is to be dropped. Telling others may show that some of these are to be dropped. */
static void cut_off_dropped(void)
{
    while (server.any_dropped) {
        server.any_dropped = false;
        for (size_t i = 0; i < server.count; i++) {
            struct client *client = server.clients[i];

            if (client->dropped != NULL && client->fd >= 0) {
                sign_off(client, client->dropped);
                close_client(client);
            }
        }
    }
}

/* ---- Steps 1 and 7: one loop for all of them ---- */

/* After each round: sends what waits, closes who has left, takes the closed ones out of the list.
 */
static void sweep(void)
{
    size_t kept = 0;

    for (size_t i = 0; i < server.count; i++)
        send_waiting(server.clients[i]);
    cut_off_dropped(); /* what this makes others wait for goes out in the next round */
    for (size_t i = 0; i < server.count; i++) {
        struct client *client = server.clients[i];

        if (client->fd >= 0 && client->leaving && client->waiting_len == 0)
            close_client(client);
        if (client->fd >= 0)
            server.clients[kept++] = client;
        else
            free(client);
    }
    server.count = kept;
}

/* What poll() is to look at: the signals, the listener, then the clients in their order. */
static bool prepare_poll(void)
{
    if (!make_room(&server.polled, &server.polled_size, server.count + 2, sizeof(*server.polled)))
        return false;
    server.polled[0] = (struct pollfd){.fd = server.signals, .events = POLLIN};
    server.polled[1] =
        (struct pollfd){.fd = server.can_accept ? server.listener : -1, .events = POLLIN};
    for (size_t i = 0; i < server.count; i++) {
        const struct client *client = server.clients[i];
        int events = (client->leaving ? 0 : POLLIN) | (client->waiting_len > 0 ? POLLOUT : 0);

        server.polled[i + 2] = (struct pollfd){.fd = client->fd, .events = (short)events};
    }
    return true;
}

/* What poll() has said about a client. */
static void serve_events(struct client *client, int events)
{
    if (client->fd < 0 || events == 0)
        return;
    if (events & POLLOUT)
        client->is_full = false; /* sweep() will send */
    if (client->leaving) {
        if (events & (POLLERR | POLLHUP)) /* nobody will read what waits */
            drop(client, "Connection lost");
    } else if (events & (POLLIN | POLLERR | POLLHUP)) {
        receive(client);
    }
    cut_off_dropped();
}

/* Closes and frees everything. */
static void forget_all(void)
{
    for (size_t i = 0; i < server.count; i++) {
        close(server.clients[i]->fd);
        free(server.clients[i]->waiting);
        free(server.clients[i]);
    }
    while (server.channels != NULL) {
        struct channel *next = server.channels->next;

        free(server.channels->members);
        free(server.channels);
        server.channels = next;
    }
    free(server.clients);
    free(server.polled);
    close(server.signals);
    close(server.listener);
}

#endif
/*
 * From here on SIGTERM and SIGINT do not kill: they are something that run() will notice, also when
 * they come before it waits. Returns false with errno.
 */
bool catch_signals(void)
{
#ifdef STARTER
    /* Your code goes here: sigprocmask() and signalfd(). */
    return true;
#else
    sigset_t ends;

    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    server.signals = signalfd(-1, &ends, SFD_CLOEXEC);
    return server.signals >= 0;
#endif
}

/*
 * Serves until SIGTERM or SIGINT comes: sleeps in poll() until a client waits at the listener, has
 * sent something, or can be sent something. Closes and frees everything at the end. Returns 0, or
 * -1 with errno.
 */
int run(void)
{
#ifdef STARTER
    /* Your code goes here. */
    errno = ENOSYS;
    return -1;
#else
    int result = -1;

    server.can_accept = true;
    while (prepare_poll()) {
        size_t count = server.count; /* those who come in this round are not in the list yet */

        if (poll(server.polled, count + 2, -1) < 0) {
            if (errno == EINTR)
                continue;
            break;
        }
        if (server.polled[0].revents != 0) {
            result = 0;
            break;
        }
        for (size_t i = 0; i < count; i++)
            serve_events(server.clients[i], server.polled[i + 2].revents);
        if (server.polled[1].revents != 0)
            accept_clients();
        sweep();
    }
    forget_all();
    return result;
#endif
}

/* ---- the command line ---- */

/* The number of a port in decimal digits, or -1. */
static int port_of(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    long number = strtol(text, NULL, 10);

    return digits > 0 && text[digits] == '\0' && number <= 65535 ? (int)number : -1;
}

/* The port that a socket has got. */
static int port_at(int fd)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;

    if (getsockname(fd, (struct sockaddr *)&address, &len) < 0)
        return -1;
    /* The port stands at the same place in both kinds of address. */
    return ntohs(((struct sockaddr_in *)&address)->sin_port);
}

static int fail(const char *what)
{
    fprintf(stderr, "chatd: %s: %s\n", what, strerror(errno));
    return EXIT_FAILED;
}

int main(int argc, char **argv)
{
    int port = IRC_PORT, status = 0;
    char what[32];

    if (argc == 3 && strcmp(argv[1], "-p") == 0)
        port = port_of(argv[2]);
    else if (argc != 1)
        port = -1;
    if (port < 0) {
        fprintf(stderr, "usage: chatd [-p PORT]\n");
        return EXIT_USAGE;
    }
    snprintf(what, sizeof what, "port %d", port);
    server.listener = open_listener(port);
    if (server.listener < 0)
        return fail(what);
    if (!catch_signals()) /* before anybody is told that we are here */
        return fail("signals");
    printf("listening on %d\n", port_at(server.listener));
    if (fflush(stdout) != 0)
        status = fail("stdout");
    else if (run() < 0)
        status = fail("poll");
    return status;
}
