/*
 * chat.c - a chat client over a socket: it speaks a part of IRC (RFC 2812).
 *
 *     chat HOST PORT NICK
 *
 * What it teaches: a client has two sources that may speak at any moment, a person and a server. It
 * must not wait for one while the other has something, so it waits for both, in poll(). And it
 * leaves in an order: says QUIT, then listens until the server has closed its end, so that nothing
 * which was under way is lost.
 *
 * irc.h has the limits and numbers.
 */
#define _GNU_SOURCE
#include "irc.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    EXIT_FAILED = 1, /* a failure at run time */
    EXIT_USAGE = 2,
    GOODBYE_MS = 2000, /* how long the server may take to close after QUIT */
    TYPED_MAX = 1024,  /* what is over that can't be sent anyway */
};

/* One line of the server's, in parts. All strings lie in that line. */
struct message {
    char *sender;  /* the nick in its prefix, or a server's name; "": it has no prefix */
    char *command; /* a word or a number */
    char *parameters[IRC_PARAMETERS_MAX];
    size_t count;
};

/* A line that is being put together from what has come. */
struct line {
    char bytes[TYPED_MAX + 1];
    size_t len, max;
};

/* Add what you need. */
struct chat {
    int fd;                            /* the connection */
    const char *nick;                  /* as the command line has it */
    char channel[IRC_CONTENT_MAX + 1]; /* the current one; "": none */
    bool registered;                   /* 001 has come */
};

/* The functions of this file, as they stand below, each under its contract. */
int connect_to(const char *host, const char *port);
bool send_command(struct chat *chat, const char *format, ...) __attribute__((format(printf, 2, 3)));
void serve_typed(struct chat *chat, char *line);
bool parse_line(char *line, struct message *message);
void serve_received(struct chat *chat, char *line);
int run(struct chat *chat);

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "chat: %s: %s\n", what, why);
    return EXIT_FAILED;
}

/* ---- the connection ---- */

/*
 * Connects to `port` at `host`: a name may have several addresses, of IPv6 and IPv4, and the first
 * that answers is taken. Returns the socket, or -1 after a message.
 */
int connect_to(const char *host, const char *port)
{
    /* Your code goes here: getaddrinfo(), then socket() and connect() for each of the results. */
    (void)port;
    fail(host, "not written yet");
    return -1;
}

/*
 * Sends a command, given without its CRLF as printf() takes it. Returns false if it is longer than
 * IRC_CONTENT_MAX bytes, and has not been sent then. Does not wait for a server that is slow to
 * read: we would not hear meanwhile what it says.
 */
bool send_command(struct chat *chat, const char *format, ...)
{
    /* Your code goes here. */
    (void)chat, (void)format;
    return false;
}

/* One line of stdin, without its newline. */
void serve_typed(struct chat *chat, char *line)
{
    /* Your code goes here. */
    (void)chat, (void)line;
}

/* ---- what the server says ---- */

/*
 * Takes a line apart: [:PREFIX] COMMAND [PARAMETER...] [:LAST PARAMETER, WITH SPACES]. Writes into
 * the line. Returns false if there is no command.
 */
bool parse_line(char *line, struct message *message)
{
    /* Your code goes here. */
    (void)line, (void)message;
    return false;
}

/* One line of the server's, without its end: prints what there is to be seen, answers PING. */
void serve_received(struct chat *chat, char *line)
{
    /* Your code goes here. */
    (void)chat, (void)line;
}

/*
 * Registers, then serves both sides until one of them ends. Returns the exit status, and has said
 * why if it is not 0.
 */
int run(struct chat *chat)
{
    /* Your code goes here. */
    (void)chat;
    return fail("run", "not written yet");
}

/* ---- the command line ---- */

/* 1 to 65535, in decimal digits. */
static bool port_is_right(const char *text)
{
    long number = strtol(text, NULL, 10);

    return text[0] != '\0' && text[strspn(text, "0123456789")] == '\0' && number >= 1 &&
           number <= 65535;
}

/* One word on the wire: with a space or a line's end in it, it would be something else. */
static bool nick_can_be_sent(const char *nick)
{
    return nick[0] != '\0' && nick[0] != ':' && strlen(nick) < 100 &&
           nick[strcspn(nick, " \r\n")] == '\0';
}

int main(int argc, char **argv)
{
    struct chat chat = {0};
    int status;

    if (argc != 4 || !port_is_right(argv[2]) || !nick_can_be_sent(argv[3])) {
        fprintf(stderr, "usage: chat HOST PORT NICK\n");
        return EXIT_USAGE;
    }
    chat.nick = argv[3];
    chat.fd = connect_to(argv[1], argv[2]);
    if (chat.fd < 0)
        return EXIT_FAILED;
    status = run(&chat);
    close(chat.fd);
    return status;
}
