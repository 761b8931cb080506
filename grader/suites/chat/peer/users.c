/* chatd, and the users that the suite plays. */
#include "suites/chat/peer/chat.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { SHOWN = 200, STUCK_SOON_MS = 1000 };

static const struct about about_listening = {"Step 1: a server that listens",
                                             "socket, bind, listen, and one line on stdout that is "
                                             "flushed. Which port has the system chosen?"};
static const struct about about_registering = {"Step 3: registration and PING",
                                               "When both NICK and USER have come, in either "
                                               "order, the welcome goes out: 001 to 004 and 422."};
static const struct about about_joining = {"Step 4: channels",
                                           "Who joins gets the JOIN itself, then 353 and 366."};
static const struct about about_lines = {
    "Step 2: lines",
    "Each line that goes out ends in CRLF and has at most 512 bytes with it, the prefix counted."};

static const struct about about_prefixes = {"Step 3: registration and PING",
                                            "What a user does has the prefix ':nick!user@host'; a "
                                            "numeric and PONG have the server's name."};

/* ---- chatd ---- */

struct chatd *chatd_start_for(struct program *p, const char *want)
{
    const struct about *before = test_about(&about_listening);
    struct chatd *d = kept(sizeof *d);
    char end;

    harness_stuck_after(STUCK_SOON_MS);
    program_start(p);
    d->p = p;
    size_t len;
    const char *line = program_expect_line(p, 1, want, &len);
    if (line == NULL)
        test_fail(want, text("its output ended (%s)", errors_shown(p)));
    if (sscanf(line, "listening on %d%c", &d->port, &end) != 1 || d->port < 1 || d->port > 65535)
        test_fail(want, quoted(line, len, SHOWN));
    test_about(before);
    return d;
}

struct chatd *chatd_start_as(struct program *p)
{
    return chatd_start_for(p, "'listening on PORT' on stdout");
}

struct chatd *chatd_start(void)
{
    struct program *p = program_new("chatd");
    program_args(p, "-p", "0", NULL);
    return chatd_start_as(p);
}

/* ---- users ---- */

static struct user *guest_by(struct chatd *d, int family, const char *name,
                             struct endpoint *(*connect_to)(int, int, const char *))
{
    const struct about *before = test_about(&about_listening);
    struct user *u = kept(sizeof *u);
    u->nick = "*";
    u->chatd = d;
    u->e = connect_to(family, d->port, name);
    test_about(before);
    return u;
}

struct user *guest_over(struct chatd *d, int family, const char *name)
{
    return guest_by(d, family, name, net_connect);
}

struct user *guest(struct chatd *d, const char *name)
{
    return guest_over(d, AF_INET, name);
}

void say_bytes(struct user *u, const void *bytes, size_t len)
{
    endpoint_send(u->e, bytes, len);
}

void say(struct user *u, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *line = text("%s\r\n", formatted(format, args));
    va_end(args);
    endpoint_send_text(u->e, line);
}

static const char *name_of(const struct user *u)
{
    return strcmp(u->nick, "*") != 0 ? u->nick : "who has no nick";
}

/* What the server says itself has its name in front, what users do nick, user and host. */
static void expect_prefix(const struct line *l)
{
    static const char *const by_users[] = {"JOIN", "PART", "PRIVMSG", "NOTICE", "NICK", "QUIT"};
    bool is_full = l->nick != NULL && l->user != NULL && l->host != NULL && *l->nick != '\0' &&
                   *l->host != '\0' && strpbrk(l->user, "!@") == NULL;
    bool is_server = l->nick != NULL && *l->nick != '\0' && l->user == NULL && l->host == NULL;
    bool by_server = same_name(l->command, "PONG") ||
                     (strlen(l->command) == 3 && strspn(l->command, "0123456789") == 3);
    bool by_user = false;
    for (size_t i = 0; i < sizeof by_users / sizeof by_users[0]; i++)
        by_user |= same_name(l->command, by_users[i]);
    /* A NOTICE may be of the server, too. */
    if (by_user && same_name(l->command, "NOTICE") && is_server)
        by_user = false;

    if ((by_server && !is_server) || (by_user && !is_full)) {
        test_about(&about_prefixes);
        test_fail(by_user ? text("%s has the prefix ':nick!user@host' of who does it", l->command)
                          : "the server's name, one word, is the prefix of each numeric and PONG",
                  quoted(l->raw.at, l->raw.len, SHOWN));
    }
}

/* The next line; no `command` in it: the connection has ended. */
static struct line line_or_end(struct user *u, const char *expected)
{
    size_t len;
    const char *at = endpoint_read_line(u->e, expected, &len);
    if (at == NULL)
        return (struct line){0};
    struct line l = line_parse(at, len);
    if (!l.crlf || l.raw.len > CONTENT_MAX) {
        test_about(&about_lines);
        test_fail("each line of chatd ends in CRLF and has at most 512 bytes with it",
                  text("%zu bytes%s: %s", len + 1, l.crlf ? "" : " that end in LF alone",
                       quoted(at, len, SHOWN)));
    }
    expect_prefix(&l);
    return l;
}

static const char *end_shown(const struct user *u)
{
    /* A program that dies loses its connections first; its death explains this end. */
    wait_quiet_or_end(u->chatd->p, "chatd has ended a connection, and waits for what others say");
    return text("the connection %s", endpoint_was_reset(u->e) ? "was reset" : "has ended");
}

struct line next_line(struct user *u, const char *why)
{
    const char *expected = text("for %s: %s", name_of(u), why);
    struct line l = line_or_end(u, expected);
    if (l.command == NULL)
        test_fail(expected, end_shown(u));
    return l;
}

struct line hear_line(struct user *u, const char *why, const char *pattern)
{
    const char *expected =
        text("for %s: %s (%s)", name_of(u), quoted(pattern, strlen(pattern), SHOWN), why);
    struct line l = line_or_end(u, expected);
    if (l.command == NULL)
        test_fail(expected, end_shown(u));
    if (!line_matches(&l, pattern))
        test_fail(expected, quoted(l.raw.at, l.raw.len, SHOWN));
    return l;
}

void hear(struct user *u, const char *why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *pattern = formatted(format, args);
    va_end(args);
    hear_line(u, why, pattern);
}

void hear_bytes(struct user *u, const char *why, const char *from, const char *target,
                const void *bytes, size_t len)
{
    const char *expected = text("for %s: PRIVMSG of %s to %s with the text %s (%s)", name_of(u),
                                from, target, quoted(bytes, len, SHOWN), why);
    struct line l = line_or_end(u, expected);
    if (l.command == NULL)
        test_fail(expected, end_shown(u));
    if (!line_matches(&l, text(":%s PRIVMSG %s ?", from, target)) || l.parameter[1].len != len ||
        memcmp(l.parameter[1].at, bytes, len) != 0)
        test_fail(expected, quoted(l.raw.at, l.raw.len, SHOWN));
}

static bool is_line(struct line l, const char *pattern)
{
    return line_matches(&l, pattern);
}

static const char *fence_of(struct user *u)
{
    static unsigned fences;
    const char *token = text("fence-%u", ++fences);
    say(u, "PING :%s", token);
    return text(":? PONG ? :%s", token);
}

void silent(struct user *u, const char *why)
{
    const char *pong = fence_of(u);
    const char *expected =
        text("nothing for %s but the PONG that the test has asked for: %s", name_of(u), why);
    struct line l = line_or_end(u, expected);
    if (l.command == NULL)
        test_fail(expected, end_shown(u));
    if (!line_matches(&l, pong))
        test_fail(expected, quoted(l.raw.at, l.raw.len, SHOWN));
}

void settle(struct user *u)
{
    const char *pong = fence_of(u);
    const char *expected = text("for %s: PONG for the test's PING", name_of(u));
    struct bytes raw;
    do {
        raw.at = endpoint_read_line(u->e, expected, &raw.len);
        if (raw.at == NULL)
            test_fail(expected, end_shown(u));
        /* There may be thousands: only what may be the PONG is looked at. */
    } while (memmem(raw.at, raw.len, "fence-", 6) == NULL ||
             !is_line(line_parse(raw.at, raw.len), pong));
}

bool hear_end(struct user *u, const char *why, const char *end, struct bytes *raw)
{
    size_t len = strlen(end);
    raw->at = endpoint_read_line(u->e, why, &raw->len);
    if (raw->at == NULL)
        test_fail(text("for %s: %s", name_of(u), why), end_shown(u));
    return raw->len > len && raw->at[raw->len - 1] == '\r' && raw->len <= CONTENT_MAX + 1 &&
           memcmp(raw->at + raw->len - 1 - len, end, len) == 0;
}

void expect_end(struct user *u, const char *why)
{
    const char *expected = text("chatd closes the connection of %s: %s", name_of(u), why);
    struct line l;
    do
        l = line_or_end(u, expected);
    while (l.command != NULL && same_name(l.command, "ERROR"));
    if (l.command != NULL)
        test_fail(expected, quoted(l.raw.at, l.raw.len, SHOWN));
}

void hear_welcome(struct user *u, const char *why)
{
    struct line l = hear_line(u, why, text("001 %s", u->nick));
    EXPECT(l.nick != NULL && l.user == NULL, "a numeric has the server's name as its prefix",
           quoted(l.raw.at, l.raw.len, 100));
    for (int number = 2; number <= 4; number++)
        hear(u, why, "%03d %s", number, u->nick);
    hear(u, why, "422 %s", u->nick);
}

void register_as(struct user *u, const char *nick)
{
    const struct about *before = test_about(&about_registering);
    struct line l;
    u->nick = nick;
    endpoint_send_text(u->e, text("NICK %s\r\nUSER %s 0 * :Real Name\r\n", nick, nick));
    for (;;) {
        l = next_line(u, "the welcome, 001 to 004 and 422, after NICK and USER");
        if (is_numeric(&l, 422))
            break;
        if (!same_name(l.command, "NOTICE") && (l.command[0] != '0' || strlen(l.command) != 3))
            test_fail(text("for %s: the welcome, 001 to 004 and 422, after NICK and USER", nick),
                      quoted(l.raw.at, l.raw.len, SHOWN));
    }
    test_about(before);
}

struct user *member(struct chatd *d, const char *nick)
{
    struct user *u = guest(d, nick);
    register_as(u, nick);
    return u;
}

void enter(struct user *u, const char *channel)
{
    const struct about *before = test_about(&about_joining);
    settle(u);
    say(u, "JOIN %s", channel);
    hear(u, "its own JOIN", ":%s JOIN %s", u->nick, channel);
    struct line l;
    do {
        l = next_line(u, text("353 and then 366 after JOIN %s", channel));
        if (!is_numeric(&l, 353) && !is_numeric(&l, 366))
            test_fail(text("for %s: 353 and then 366 after JOIN %s", name_of(u), channel),
                      quoted(l.raw.at, l.raw.len, SHOWN));
    } while (!is_numeric(&l, 366));
    test_about(before);
}

struct user *member_on(struct chatd *d, const char *nick, const char *channel)
{
    struct user *u = member(d, nick);
    enter(u, channel);
    return u;
}

struct user *narrow_member_on(struct chatd *d, const char *nick, const char *channel)
{
    struct user *u = guest_by(d, AF_INET, nick, net_connect_narrow);
    register_as(u, nick);
    enter(u, channel);
    return u;
}

void crowd_on(struct chatd *d, const char *channel, size_t count, const char *const *nicks,
              struct user **users)
{
    for (size_t i = 0; i < count; i++) {
        users[i] = guest(d, nicks[i]);
        users[i]->nick = nicks[i];
        const char *lines =
            text("NICK %s\r\nUSER u 0 * :Real Name\r\nJOIN %s\r\n", nicks[i], channel);
        endpoint_queue(users[i]->e, lines, strlen(lines));
    }
    for (size_t i = 0; i < count; i++)
        settle(users[i]);
    for (size_t i = 0; i < count; i++)
        settle(users[i]);
}

/* ---- what stands in lines ---- */

static void look_for(const char *list, size_t count, const char *const *nicks, bool *seen,
                     const char *expected)
{
    char *rest = (char *)text("%s", list);
    for (char *nick; (nick = strsep(&rest, " ")) != NULL;) {
        size_t i = 0;
        if (*nick == '\0')
            continue;
        while (i < count && !same_name(nick, nicks[i]))
            i++;
        if (i == count || seen[i])
            test_fail(expected, text("%s %s", quoted(nick, strlen(nick), SHOWN),
                                     i == count ? "is among them" : "is there twice"));
        seen[i] = true;
    }
}

void expect_names(struct user *u, const char *channel, const char *why, size_t count,
                  const char *const *nicks)
{
    const char *expected = text("for %s: 353 with the %zu nick%s on %s, then 366: %s", name_of(u),
                                count, count == 1 ? "" : "s", channel, why);
    bool *seen = kept(count + 1);
    for (;;) {
        struct line l = line_or_end(u, expected);
        if (l.command == NULL)
            test_fail(expected, end_shown(u));
        if (line_matches(&l, text("366 %s %s", u->nick, channel)))
            break;
        if (!line_matches(&l, text("353 %s = %s", u->nick, channel)) || l.count != 4)
            test_fail(expected, quoted(l.raw.at, l.raw.len, SHOWN));
        look_for(l.parameter[3].at, count, nicks, seen, expected);
    }
    for (size_t i = 0; i < count; i++)
        EXPECT(seen[i], expected, text("'%s' is missing", nicks[i]));
}

void expect_members(struct user *u, const char *channel, const char *why, ...)
{
    const char *nicks[4];
    size_t count = 0;
    va_list args;
    va_start(args, why);
    while (count < 4 && (nicks[count] = va_arg(args, const char *)) != NULL)
        count++;
    va_end(args);
    expect_names(u, channel, why, count, nicks);
}

void expect_full_prefix(const struct line *l, const char *why)
{
    EXPECT(l->nick != NULL && l->user != NULL && l->host != NULL && *l->nick != '\0' &&
               *l->user != '\0' && *l->host != '\0' && strpbrk(l->user, "!@") == NULL,
           text("the prefix ':nick!user@host': %s", why), quoted(l->raw.at, l->raw.len, SHOWN));
}
