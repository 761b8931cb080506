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

/* ---- Step 1: a server that listens ---- */

/*
 * A socket that listens at `port` (0: the system chooses one), on all addresses of IPv6 and IPv4,
 * or of IPv4 alone where there is no IPv6. Non-blocking, and closed on exec.
 * Returns it, or -1 with errno.
 */
int open_listener(int port)
{
    /* Your code goes here: socket(), setsockopt(), bind(), listen(). */
    (void)port;
    errno = ENOSYS;
    return -1;
}

/*
 * Takes all clients that wait at the listener: each becomes a non-blocking connection of its own in
 * server.clients. When there are no descriptors left, those that wait go on waiting, and poll()
 * must not report them again until a client has left, else it would never sleep.
 */
void accept_clients(void)
{
    /* Your code goes here. */
}

/* ---- Step 2: lines out of a stream of bytes ---- */

/*
 * Reads what there is from a client, at most CHUNK bytes, and hands on each byte. The end of input
 * is a QUIT; an error, such as a reset, is the end of the connection.
 */
void receive(struct client *client)
{
    /* Your code goes here. */
    (void)client;
}

/*
 * One more byte of a client's line. A newline completes it: it is parsed and served. A CR is no
 * part of any line; what is over IRC_CONTENT_MAX bytes is dropped up to the newline.
 */
void receive_byte(struct client *client, char byte)
{
    /* Your code goes here. */
    (void)client, (void)byte;
}

/*
 * Takes a line apart: [:PREFIX] COMMAND [PARAMETER...] [:LAST PARAMETER, WITH SPACES]. Any number
 * of spaces stands between two parts. Writes into the line. Returns false if there is no command.
 */
bool parse_line(char *line, struct message *message)
{
    /* Your code goes here. */
    (void)line, (void)message;
    return false;
}

/* ---- Steps 2 and 7: sending, and what can't be sent yet ---- */

/*
 * Sends a line, given without its CRLF as printf() takes it, and cut to IRC_CONTENT_MAX bytes. What
 * the kernel does not take now waits in our memory, in order. When more than IRC_WAITING_MAX bytes
 * would have to wait, the client is dropped. Never waits, and never closes a client at once: the
 * caller may be in the middle of a list.
 */
void send_line(struct client *client, const char *format, ...)
{
    /* Your code goes here: vsnprintf(), then send() with MSG_NOSIGNAL. */
    (void)client, (void)format;
}

/*
 * ":SERVER NUMERIC NICK PARAMETER :TEXT", the text from irc.h; a client without a nick is "*", and
 * `parameter` may be NULL.
 */
void send_numeric(struct client *client, enum irc_numeric numeric, const char *parameter)
{
    /* Your code goes here. */
    (void)client, (void)numeric, (void)parameter;
}

/* ---- Steps 3 and 4: names, and who is there ---- */

/* 1 to IRC_NICK_MAX letters, digits, '-' and []\`_^{|}, beginning with no digit and no '-'. */
bool nick_is_right(const char *nick)
{
    /* Your code goes here. */
    (void)nick;
    return true;
}

/* '#', then 1 to 49 bytes without space, comma and control-G. */
bool channel_is_right(const char *name)
{
    /* Your code goes here. */
    (void)name;
    return true;
}

/* Who has this nick, registered or not, in whatever case; NULL: nobody. */
struct client *find_client(const char *nick)
{
    /* Your code goes here. */
    (void)nick;
    return NULL;
}

/* The channel of this name, in whatever case; NULL: there is none. */
struct channel *find_channel(const char *name)
{
    /* Your code goes here. */
    (void)name;
    return NULL;
}

/*
 * Serves one command, given in any case. The checks, in this order: a command that is none of the
 * ten (421); one that only registered clients may use (451); missing parameters.
 */
void serve(struct client *client, struct message *message)
{
    /* Your code goes here: a table of names and functions is better than ten times strcasecmp(). */
    (void)client, (void)message;
}

/* ---- Steps 6 and 7: leaving ---- */

/*
 * From here on nobody sees the client: those who share a channel are told, with `why`; it is on no
 * channel, and its nick is free. Its connection stays as it is.
 */
void sign_off(struct client *client, const char *why)
{
    /* Your code goes here. */
    (void)client, (void)why;
}

/*
 * From here on SIGTERM and SIGINT do not kill: they are something that run() will notice, also when
 * they come before it waits. Returns false with errno.
 */
bool catch_signals(void)
{
    /* Your code goes here: sigprocmask() and signalfd(). */
    return true;
}

/*
 * Serves until SIGTERM or SIGINT comes: sleeps in poll() until a client waits at the listener, has
 * sent something, or can be sent something. Closes and frees everything at the end. Returns 0, or
 * -1 with errno.
 */
int run(void)
{
    /* Your code goes here. */
    errno = ENOSYS;
    return -1;
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
