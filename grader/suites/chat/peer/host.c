/* chat, and the host that the suite plays for it. */
#include "suites/chat/peer/chat.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { SHOWN = 200, STUCK_SOON_MS = 1000 };

static const struct about about_client = {
    "Step 8: the client",
    "chat connects, sends NICK and USER, then waits for its stdin and the socket at once."};

/* ---- starting ---- */

static struct chat *start_at(struct endpoint *listener, struct program *p, const char *host,
                             const char *nick)
{
    struct chat *c = kept(sizeof *c);
    harness_stuck_after(STUCK_SOON_MS);
    c->p = p;
    c->nick = nick;
    c->listener = listener;
    program_args(p, host, text("%d", endpoint_port(c->listener)), nick, NULL);
    program_start(p);
    c->e = net_accept(c->listener, "chat connects to HOST and PORT");
    return c;
}

struct chat *chat_start_as(struct program *p, int family, const char *host, const char *nick)
{
    return start_at(net_listen(family, "our server"), p, host, nick);
}

struct chat *chat_start(const char *nick)
{
    const struct about *before = test_about(&about_client);
    struct chat *c = chat_start_as(program_new("chat"), AF_INET, "127.0.0.1", nick);
    test_about(before);
    return c;
}

static struct line sent_line(struct chat *c, const char *expected)
{
    size_t len;
    const char *at = endpoint_read_line(c->e, expected, &len);
    if (at == NULL)
        test_fail(expected,
                  text("the connection %s (%s)",
                       endpoint_was_reset(c->e) ? "was reset" : "has ended", errors_shown(c->p)));
    struct line l = line_parse(at, len);
    if (!l.crlf || l.raw.len > CONTENT_MAX)
        test_fail("each line that chat sends ends in CRLF and has at most 512 bytes with it",
                  text("%zu bytes%s: %s", len + 1, l.crlf ? "" : " that end in LF alone",
                       quoted(at, len, SHOWN)));
    return l;
}

void chat_registers(struct chat *c)
{
    const char *expected = text("chat sends NICK %s and USER with four parameters first", c->nick);
    bool nick = false, user = false;
    while (!nick || !user) {
        struct line l = sent_line(c, expected);
        bool is_nick = line_matches(&l, text("NICK %s", c->nick));
        bool is_user = line_matches(&l, "USER ? ? ? ?");
        if ((!is_nick && !is_user) || (is_nick && nick) || (is_user && user))
            test_fail(expected, quoted(l.raw.at, l.raw.len, SHOWN));
        nick |= is_nick;
        user |= is_user;
    }
}

void chat_welcome(struct chat *c)
{
    tell(c, ":our.server 001 %s :Welcome", c->nick);
    tell(c, ":our.server 002 %s :Your host is our.server", c->nick);
    tell(c, ":our.server 003 %s :This server was made for a test", c->nick);
    tell(c, ":our.server 004 %s our.server 1 o o", c->nick);
    tell(c, ":our.server 422 %s :No message of the day", c->nick);
}

static struct chat *on_at(struct endpoint *listener, const char *nick)
{
    const struct about *before = test_about(&about_client);
    struct chat *c = start_at(listener, program_new("chat"), "127.0.0.1", nick);
    chat_registers(c);
    chat_welcome(c);
    test_about(before);
    return c;
}

struct chat *chat_on(const char *nick)
{
    return on_at(net_listen(AF_INET, "our server"), nick);
}

struct chat *chat_on_narrow(const char *nick)
{
    return on_at(net_listen_narrow(AF_INET, "our server"), nick);
}

void chat_joins(struct chat *c, const char *channel)
{
    type(c, "/join %s", channel);
    chat_sends(c, "/join was typed", "JOIN %s", channel);
    tell(c, ":%s!u@127.0.0.1 JOIN %s", c->nick, channel);
    tell(c, ":our.server 353 %s = %s :%s", c->nick, channel, c->nick);
    tell(c, ":our.server 366 %s %s :End of names", c->nick, channel);
}

/* ---- both directions ---- */

void type(struct chat *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *line = text("%s\n", formatted(format, args));
    va_end(args);
    program_send_text(c->p, line);
}

void tell(struct chat *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *line = text("%s\r\n", formatted(format, args));
    va_end(args);
    endpoint_send_text(c->e, line);
}

void chat_sends(struct chat *c, const char *why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *pattern = formatted(format, args);
    va_end(args);
    const char *expected = text("chat sends %s (%s)", quoted(pattern, strlen(pattern), SHOWN), why);
    struct line l = sent_line(c, expected);
    if (!line_matches(&l, pattern))
        test_fail(expected, text("it sends %s", quoted(l.raw.at, l.raw.len, SHOWN)));
}

void chat_sends_nothing(struct chat *c, const char *why)
{
    static unsigned fences;
    const char *word = text("fence-%u", ++fences);
    type(c, "/msg nobody %s", word);
    const char *expected = text("chat sends nothing (%s), and then the PRIVMSG of the test's next "
                                "line, '/msg nobody %s'",
                                why, word);
    struct line l = sent_line(c, expected);
    if (!line_matches(&l, text("PRIVMSG nobody :%s", word)))
        test_fail(expected, text("it sends %s", quoted(l.raw.at, l.raw.len, SHOWN)));
}

static bool is_note(const char *line, size_t len)
{
    return len >= 3 && memcmp(line, "-- ", 3) == 0;
}

const char *chat_end(struct chat *c)
{
    wait_quiet_or_end(c->p, "chat has ended its output, and then itself");
    if (!program_has_ended(c->p))
        return text("its output has ended, it has not (%s)", errors_shown(c->p));
    return text("chat has ended: %s (%s)", status_sentence(program_wait(c->p)), errors_shown(c->p));
}

static const char *printed_line(struct chat *c, const char *expected, size_t *len)
{
    const char *line = program_expect_line(c->p, 1, expected, len);
    if (line == NULL)
        test_fail(expected, chat_end(c));
    return line;
}

void chat_prints(struct chat *c, const char *why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *want = formatted(format, args);
    va_end(args);
    const char *expected = text("chat prints %s (%s)", quoted(want, strlen(want), SHOWN), why);
    const char *line;
    size_t len;
    do
        line = printed_line(c, expected, &len);
    while (is_note(line, len));
    if (len != strlen(want) || memcmp(line, want, len) != 0)
        test_fail(expected, text("it prints %s", quoted(line, len, SHOWN)));
}

void chat_notes(struct chat *c, const char *why, ...)
{
    enum { WORDS_MAX = 4 };
    const char *words[WORDS_MAX], *shown = "";
    size_t count = 0, len;
    va_list args;
    va_start(args, why);
    while (count < WORDS_MAX && (words[count] = va_arg(args, const char *)) != NULL) {
        shown = text("%s%s'%s'", shown, count == 0 ? "" : " or ", words[count]);
        count++;
    }
    va_end(args);
    const char *expected = text("chat prints a line that begins with '-- '%s%s (%s)",
                                count > 0 ? " and has in it " : "", shown, why);
    for (;;) {
        const char *line = printed_line(c, expected, &len);
        if (!is_note(line, len))
            test_fail(expected, text("it prints %s", quoted(line, len, SHOWN)));
        bool found = count == 0;
        for (size_t i = 0; i < count; i++)
            found |= memmem(line, len, words[i], strlen(words[i])) != NULL;
        if (found)
            return;
    }
}

void chat_prints_nothing(struct chat *c, const char *why)
{
    static unsigned fences;
    const char *word = text("fence-%u", ++fences);
    tell(c, ":tester!t@127.0.0.1 PRIVMSG %s :%s", c->nick, word);
    chat_prints(c, text("and nothing but '-- ' lines before it: %s", why), "*tester* %s", word);
}

/* ---- ends and usage ---- */

void expect_usage(const char *words, const char *why)
{
    struct program *p = program_from_words(words);
    const char *expected =
        text("exit status 2 and a usage line on stderr for '%s': %s", words, why);
    program_start(p);
    program_close_input(p);
    int got = wait_for_end(p, expected);
    EXPECT(WIFEXITED(got) && WEXITSTATUS(got) == 2, expected,
           text("%s (%s)", status_sentence(got), errors_shown(p)));
    expect_error_line(p);
}
