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
#ifndef STARTER
    bool is_over; /* the server has gone, or this program can't go on */
    int status;   /* what it ends with */
    bool leaving; /* QUIT was said */
    struct timespec deadline;
    char *waiting; /* what could not be sent yet */
    size_t waiting_len;
    struct line typed, received;
    unsigned long lines; /* of stdin, so far */
#endif
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
#ifdef STARTER
    /* Your code goes here: getaddrinfo(), then socket() and connect() for each of the results. */
    (void)port;
    fail(host, "not written yet");
    return -1;
#else
    const struct addrinfo wanted = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    int error = getaddrinfo(host, port, &wanted, &found), fd = -1;

    if (error != 0) {
        fail(host, gai_strerror(error));
        return -1;
    }
    for (const struct addrinfo *a = found; a != NULL && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd < 0) {
            error = errno;
        } else if (connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
            error = errno;
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    if (fd < 0)
        fail(host, strerror(error));
    return fd;
#endif
}

#ifndef STARTER
/* Sends what waits, as much as the kernel takes now. Whether the server is gone, recv() will say.
 */
static void send_waiting(struct chat *chat)
{
    size_t sent = 0;

    while (sent < chat->waiting_len) {
        ssize_t count = send(chat->fd, chat->waiting + sent, chat->waiting_len - sent,
                             MSG_NOSIGNAL | MSG_DONTWAIT);

        if (count < 0 && errno == EAGAIN)
            break;
        if (count < 0 && errno != EINTR)
            sent = chat->waiting_len;
        else if (count > 0)
            sent += (size_t)count;
    }
    chat->waiting_len -= sent;
    memmove(chat->waiting, chat->waiting + sent, chat->waiting_len);
}

#endif
/*
 * Sends a command, given without its CRLF as printf() takes it. Returns false if it is longer than
 * IRC_CONTENT_MAX bytes, and has not been sent then. Does not wait for a server that is slow to
 * read: we would not hear meanwhile what it says.
 */
bool send_command(struct chat *chat, const char *format, ...)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)chat, (void)format;
    return false;
#else
    char line[IRC_LINE_MAX + 1], *larger;
    va_list arguments;
    int len;

    va_start(arguments, format);
    len = vsnprintf(line, IRC_CONTENT_MAX + 1, format, arguments);
    va_end(arguments);
    if (len < 0 || len > IRC_CONTENT_MAX)
        return false;
    memcpy(line + len, "\r\n", 2);
    larger = realloc(chat->waiting, chat->waiting_len + (size_t)len + 2);
    if (larger == NULL) {
        chat->status = fail("out of memory", "a command is lost");
        chat->is_over = true;
        return true;
    }
    chat->waiting = larger;
    memcpy(chat->waiting + chat->waiting_len, line, (size_t)len + 2);
    chat->waiting_len += (size_t)len + 2;
    send_waiting(chat);
    return true;
#endif
}

#ifndef STARTER
/* ---- what is printed ---- */

/* Prints a line, at once: whoever reads it may be a program at the other end of a pipe. */
static void say(struct chat *chat, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct chat *chat, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    if (fflush(stdout) != 0 && !chat->is_over) {
        chat->status = fail("stdout", strerror(errno));
        chat->is_over = true;
    }
}

/* ---- leaving ---- */

/*
 * Says QUIT. What comes until the server closes is still printed, but not longer than GOODBYE_MS.
 * Returns false if the text is too long, and has done nothing then.
 */
static bool leave(struct chat *chat, const char *text, int status)
{
    if (!send_command(chat, text[0] == '\0' ? "QUIT%s" : "QUIT :%s", text))
        return false;
    chat->leaving = true;
    chat->status = status;
    clock_gettime(CLOCK_MONOTONIC, &chat->deadline);
    chat->deadline.tv_sec += GOODBYE_MS / 1000;
    return true;
}

/* The milliseconds that are left until the deadline, rounded up; for poll(): -1 is for ever. */
static int time_left(const struct chat *chat)
{
    struct timespec now;
    long long ns;

    if (!chat->leaving)
        return -1;
    clock_gettime(CLOCK_MONOTONIC, &now);
    ns = (chat->deadline.tv_sec - now.tv_sec) * 1000000000LL + chat->deadline.tv_nsec - now.tv_nsec;
    return ns <= 0 ? 0 : (int)((ns + 999999) / 1000000);
}

/* ---- what is typed ---- */

/* Cuts the first word off *rest. Exactly one space behind it is taken, so that a text keeps its
 * own. */
static char *next_word(char **rest)
{
    char *word = *rest + strspn(*rest, " ");

    *rest = word + strcspn(word, " ");
    if (**rest != '\0')
        *(*rest)++ = '\0';
    return word;
}

/* A line that begins with a slash. Returns false if it is too long to be sent. */
static bool serve_slash(struct chat *chat, char *line)
{
    char *rest = line;
    const char *command = next_word(&rest), *word;

    if (strcmp(command, "/quit") == 0)
        return leave(chat, rest, 0);
    if (strcmp(command, "/part") == 0) {
        if (chat->channel[0] == '\0')
            say(chat, "-- there is no current channel to leave");
        else
            send_command(chat, "PART %s", chat->channel);
        chat->channel[0] = '\0';
        return true;
    }
    if (strcmp(command, "/join") != 0 && strcmp(command, "/nick") != 0 &&
        strcmp(command, "/msg") != 0) {
        say(chat, "-- %s is no command: there are /join, /part, /msg, /nick and /quit", command);
        return true;
    }
    word = next_word(&rest);
    if (word[0] == '\0' || (strcmp(command, "/msg") == 0 && rest[0] == '\0')) {
        say(chat, "-- %s needs more: /join CHANNEL, /nick NICK, /msg NICK TEXT", command);
        return true;
    }
    if (strcmp(command, "/msg") == 0)
        return send_command(chat, "PRIVMSG %s :%s", word, rest);
    if (strcmp(command, "/nick") == 0)
        return send_command(chat, "NICK %s", word);
    if (!send_command(chat, "JOIN %s", word))
        return false;
    strcpy(chat->channel, word);
    return true;
}

#endif
/* One line of stdin, without its newline. */
void serve_typed(struct chat *chat, char *line)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)chat, (void)line;
#else
    bool fits = true;

    chat->lines++;
    if (line[0] == '/')
        fits = serve_slash(chat, line);
    else if (line[0] != '\0' && chat->channel[0] == '\0')
        say(chat, "-- join a channel first: /join CHANNEL");
    else if (line[0] != '\0')
        fits = send_command(chat, "PRIVMSG %s :%s", chat->channel, line);
    if (!fits) {
        fprintf(stderr, "chat: line %lu: too long to be sent\n", chat->lines);
        leave(chat, "", EXIT_FAILED);
    }
#endif
}

/* ---- what the server says ---- */

/*
 * Takes a line apart: [:PREFIX] COMMAND [PARAMETER...] [:LAST PARAMETER, WITH SPACES]. Writes into
 * the line. Returns false if there is no command.
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
    message->sender = "";
    if (*at == ':') {
        message->sender = at + 1;
        at += strcspn(at, " ");
        if (*at != '\0')
            *at++ = '\0';
        at += strspn(at, " ");
        message->sender[strcspn(message->sender, "!")] = '\0';
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

#ifndef STARTER
/* An event that has no sentence of its own, and every number: its parts, one after the other. */
static void say_parts(struct chat *chat, const struct message *message, bool is_numeric)
{
    char text[IRC_LINE_MAX + IRC_PARAMETERS_MAX + 1] = "";

    /* The first parameter of a number is our own nick. */
    for (size_t i = is_numeric ? 1 : 0; i < message->count; i++) {
        strcat(text, " ");
        strcat(text, message->parameters[i]);
    }
    if (is_numeric || message->sender[0] == '\0')
        say(chat, "-- %s%s", message->command, text);
    else
        say(chat, "-- %s: %s%s", message->sender, message->command, text);
}

static void serve_numeric(struct chat *chat, const struct message *message)
{
    int number = atoi(message->command);

    say_parts(chat, message, true);
    if (number == RPL_WELCOME)
        chat->registered = true;
    if (!chat->registered && !chat->leaving &&
        (number == ERR_ERRONEUSNICKNAME || number == ERR_NICKNAMEINUSE)) {
        chat->status = fail(chat->nick, irc_text((enum irc_numeric)number));
        chat->is_over = true;
    }
}

static void serve_text(struct chat *chat, const struct message *message)
{
    if (strchr("#&+!", message->parameters[0][0]) != NULL && message->parameters[0][0] != '\0')
        say(chat, "<%s> %s", message->sender, message->parameters[1]);
    else
        say(chat, "*%s* %s", message->sender, message->parameters[1]);
}

#endif
/* One line of the server's, without its end: prints what there is to be seen, answers PING. */
void serve_received(struct chat *chat, char *line)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)chat, (void)line;
#else
    struct message m;

    if (!parse_line(line, &m))
        return;
    const char *first = m.count > 0 ? m.parameters[0] : "";
    const char *second = m.count > 1 ? m.parameters[1] : "";

    if (strcmp(m.command, "PING") == 0)
        send_command(chat, "PONG :%s", first);
    else if (strcmp(m.command, "PONG") == 0)
        return;
    else if ((strcmp(m.command, "PRIVMSG") == 0 || strcmp(m.command, "NOTICE") == 0) && m.count > 1)
        serve_text(chat, &m);
    else if (strcmp(m.command, "JOIN") == 0 && m.count > 0)
        say(chat, "-- %s has joined %s", m.sender, first);
    else if (strcmp(m.command, "PART") == 0 && m.count > 0)
        say(chat, "-- %s has left %s (%s)", m.sender, first, second);
    else if (strcmp(m.command, "QUIT") == 0)
        say(chat, "-- %s has quit (%s)", m.sender, first);
    else if (strcmp(m.command, "NICK") == 0 && m.count > 0)
        say(chat, "-- %s is now known as %s", m.sender, first);
    else if (strspn(m.command, "0123456789") == strlen(m.command))
        serve_numeric(chat, &m);
    else
        say_parts(chat, &m, false);
#endif
}

#ifndef STARTER
/* ---- bytes become lines, on both sides alike ---- */

/*
 * Adds what was read to `line`, and calls `serve` for each line that becomes complete. A CR is no
 * part of a line; what is over its maximum is dropped.
 */
static void take_bytes(struct chat *chat, struct line *line, const char *bytes, ssize_t count,
                       void (*serve)(struct chat *, char *))
{
    for (ssize_t i = 0; i < count; i++) {
        if (bytes[i] == '\n') {
            line->bytes[line->len] = '\0';
            line->len = 0;
            serve(chat, line->bytes);
        } else if (bytes[i] != '\r' && line->len < line->max) {
            line->bytes[line->len++] = bytes[i];
        }
        if (chat->is_over || (chat->leaving && serve == serve_typed))
            return;
    }
}

static void read_server(struct chat *chat)
{
    char bytes[4096];
    ssize_t count = recv(chat->fd, bytes, sizeof bytes, MSG_DONTWAIT);

    if (count > 0) {
        take_bytes(chat, &chat->received, bytes, count, serve_received);
    } else if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
        /* After QUIT this is what we have waited for. */
        if (!chat->leaving)
            chat->status =
                fail("server", count == 0 ? "has closed the connection" : strerror(errno));
        chat->is_over = true;
    }
}

static void read_stdin(struct chat *chat)
{
    char bytes[4096];
    ssize_t count = read(0, bytes, sizeof bytes);

    if (count < 0 && errno != EINTR && errno != EAGAIN) {
        chat->status = fail("stdin", strerror(errno));
        chat->is_over = true;
    } else if (count > 0) {
        take_bytes(chat, &chat->typed, bytes, count, serve_typed);
    } else if (count == 0) {
        if (chat->typed.len > 0) /* a last line without a newline is one, too */
            take_bytes(chat, &chat->typed, "\n", 1, serve_typed);
        if (!chat->leaving)
            leave(chat, "", 0);
    }
}

#endif
/*
 * Registers, then serves both sides until one of them ends. Returns the exit status, and has said
 * why if it is not 0.
 */
int run(struct chat *chat)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)chat;
    return fail("run", "not written yet");
#else
    chat->typed.max = TYPED_MAX;
    chat->received.max = IRC_CONTENT_MAX;
    send_command(chat, "NICK %s", chat->nick);
    send_command(chat, "USER %.*s 0 * :%s", IRC_USER_MAX, chat->nick, chat->nick);
    while (!chat->is_over) {
        /* What is typed waits in the kernel until the server knows us, and while it does not read:
         * so nothing piles up here. */
        bool can_type = chat->registered && !chat->leaving && chat->waiting_len == 0;
        /* Nor do answers to a server that asks and asks, and does not read. */
        int events = (chat->waiting_len < IRC_WAITING_MAX ? POLLIN : 0) |
                     (chat->waiting_len > 0 ? POLLOUT : 0);
        struct pollfd polled[] = {{.fd = chat->fd, .events = (short)events},
                                  {.fd = can_type ? 0 : -1, .events = POLLIN}};
        int left = time_left(chat);

        if (left == 0)
            break; /* the server does not close: its own affair */
        if (poll(polled, 2, left) < 0) {
            if (errno == EINTR)
                continue;
            chat->status = fail("poll", strerror(errno));
            break;
        }
        if (polled[0].revents & POLLOUT)
            send_waiting(chat);
        if (polled[0].revents & ~POLLOUT)
            read_server(chat);
        if (polled[1].revents != 0 && !chat->is_over)
            read_stdin(chat);
    }
    free(chat->waiting);
    return chat->status;
#endif
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
