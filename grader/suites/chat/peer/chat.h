/*
 * chat.h - what the tests of the chat lab share: the grader's side of a connection.
 *
 * chatd is tested by users: connections of ours that speak the protocol. chat is tested by a host:
 * a listener of ours that plays the server. Lines are taken apart and compared here, written from
 * the handout alone: the lab's own irc.h is not included, so that one mistake can't hide in both.
 *
 * What a program must not send is proven by a fence and not by waiting: a PING is sent behind, and
 * the next line must be its PONG.
 */
#ifndef CHAT_PEER_CHAT_H
#define CHAT_PEER_CHAT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "harness/harness.h"

/* Zeroed memory that lives until the test ends. */
void *kept(size_t size);
const char *formatted(const char *format, va_list args) __attribute__((format(printf, 1, 0)));

/* ---- lines ---- */

enum { PARAMETERS_MAX = 64, CONTENT_MAX = 510, NICK_MAX = 9, CHANNEL_MAX = 50, USER_MAX = 10 };

struct bytes {
    const char *at; /* a NUL is behind the last */
    size_t len;
};

/* A line in its parts; what is not there is NULL. */
struct line {
    struct bytes raw; /* without its line end */
    bool crlf;        /* it ended in both */
    const char *prefix, *nick, *user, *host;
    const char *command;
    size_t count;
    struct bytes parameter[PARAMETERS_MAX];
};

struct line line_parse(const char *bytes, size_t len); /* without the newline */
bool same_name(const char *a, const char *b);          /* without case, ASCII */
bool is_numeric(const struct line *l, int number);

/*
 * Whether `l` has the parts of `pattern`, which is written as a line of the protocol:
 *
 *   :ann PRIVMSG #c :a text     the nick of the prefix, the command, parameters
 *   :ann QUIT ...               at most one parameter more, whatever it is
 *   401 ann bob                 of a numeric: the parameters before its text
 *   :? PONG ? :token            ? is anything
 *
 * Names are compared without case, texts byte by byte.
 */
bool line_matches(const struct line *l, const char *pattern);

/* ---- names and texts from the seed ---- */

const char *a_nick(struct random *r); /* 4 to 8 letters, different in each call */
const char *a_channel(struct random *r);

/* ---- chatd and its users ---- */

struct chatd {
    struct program *p;
    int port;
};

struct user {
    const char *nick; /* "*" before it has one */
    struct endpoint *e;
    struct chatd *chatd;
};

/* `chatd -p 0`, listening. */
struct chatd *chatd_start(void);
/* The same for a program whose settings are made. */
struct chatd *chatd_start_as(struct program *p);
/* The same, and `want` is what is expected of its first line. */
struct chatd *chatd_start_for(struct program *p, const char *want);

/* A connection, nothing said; `name` is for messages. */
struct user *guest(struct chatd *d, const char *name);
struct user *guest_over(struct chatd *d, int family, const char *name);
/* Registered; all that came for it is read. */
struct user *member(struct chatd *d, const char *nick);
/* Joins `channel`; what came for it before is thrown away. */
void enter(struct user *u, const char *channel);
struct user *member_on(struct chatd *d, const char *nick, const char *channel);
/* The same; its connection soon takes no more, while it is held (net_connect_narrow()). */
struct user *narrow_member_on(struct chatd *d, const char *nick, const char *channel);
/* 001 to 004 and 422, in this order and alone. */
void hear_welcome(struct user *u, const char *why);
void register_as(struct user *u, const char *nick);

/* Many of them at once, registered and on `channel`; what came for them meanwhile is read. */
void crowd_on(struct chatd *d, const char *channel, size_t count, const char *const *nicks,
              struct user **users);

/* Sends a line, CRLF behind it. */
void say(struct user *u, const char *format, ...) __attribute__((format(printf, 2, 3)));
void say_bytes(struct user *u, const void *bytes, size_t len); /* as they are */

/* The next line that comes for `u`; `why` is what is expected. The end of the connection fails. */
struct line next_line(struct user *u, const char *why);
/* The next line matches the pattern. */
void hear(struct user *u, const char *why, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same, and the whole of the line is returned. */
struct line hear_line(struct user *u, const char *why, const char *pattern);
/* The next line is a PRIVMSG of these bytes. */
void hear_bytes(struct user *u, const char *why, const char *from, const char *target,
                const void *text, size_t len);
/* For thousands of lines: the next one, untouched, and whether it ends in `end` and CRLF. */
bool hear_end(struct user *u, const char *why, const char *end, struct bytes *raw);
/* Nothing has come for `u` that is not read, by all that chatd had received before. */
void silent(struct user *u, const char *why);
/* chatd has done all that `u` has said so far; what came is thrown away. */
void settle(struct user *u);
/* chatd ends the connection: at most ERROR comes before. */
void expect_end(struct user *u, const char *why);
/* 353 for `channel`, as many as it takes, with these nicks and no other, then 366. */
void expect_names(struct user *u, const char *channel, const char *why, size_t count,
                  const char *const *nicks);
/* The same for up to four, NULL at the end. */
void expect_members(struct user *u, const char *channel, const char *why, ...)
    __attribute__((sentinel));
/* The prefix has a nick, a user and a host. */
void expect_full_prefix(const struct line *l, const char *why);

/* The bytes of this connection that are in the kernel, of both sides: in no program. -1: the
 * system does not tell. */
long in_the_kernel(const struct user *u);

/* expect_idle() and wait_quiet(), which a program that spins fails early. */
void expect_rest(struct program *p, const char *when);
void wait_rest(struct program *p, const char *what);

/* ---- chat and its host ---- */

struct chat {
    struct program *p;
    struct endpoint *listener;
    struct endpoint *e; /* the connection */
    const char *nick;
};

/* chat, connected to a listener of ours; nothing is read. */
struct chat *chat_start(const char *nick);
struct chat *chat_start_as(struct program *p, int family, const char *host, const char *nick);
/* NICK and USER are read, and the welcome is sent. */
struct chat *chat_on(const char *nick);
/* The same; there is little room for what it sends, while its connection is held
 * (net_listen_narrow()). */
struct chat *chat_on_narrow(const char *nick);
void chat_registers(struct chat *c);
void chat_welcome(struct chat *c);
/* On a channel: /join is typed, read and confirmed. */
void chat_joins(struct chat *c, const char *channel);

void type(struct chat *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
void tell(struct chat *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The next line that chat sends matches the pattern. */
void chat_sends(struct chat *c, const char *why, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* It has sent nothing for what was typed before: /msg is the fence. */
void chat_sends_nothing(struct chat *c, const char *why);
/* The next line of stdout that is no "-- " line. */
void chat_prints(struct chat *c, const char *why, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A "-- " line with one of the words in it (NULL at the end); "-- " lines before it are skipped. */
void chat_notes(struct chat *c, const char *why, ...) __attribute__((sentinel));
/* It has printed nothing but "-- " lines for what was told before. */
void chat_prints_nothing(struct chat *c, const char *why);
/* How it has ended, and what it has said on stderr; or that its stdout alone is at its end. */
const char *chat_end(struct chat *c);
/* Wrong usage: 2 and a line on stderr. `words` with single blanks between them. */
void expect_usage(const char *words, const char *why);

#endif
