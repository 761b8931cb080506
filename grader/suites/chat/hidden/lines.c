/* Lines: what is ignored, bytes of any value, lines without end, the exact limit. */
#include "suites/chat/peer/chat.h"

#include <string.h>

TEST(lines, ignored, "an empty line is none, and a prefix that a client sends means nothing")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    struct user *ann = member(d, a_nick(&r)), *bob = member(d, a_nick(&r));
    say_bytes(ann, "\r\n\r\n\n\r\n", 7);
    silent(ann, "empty lines are ignored");
    say(ann, ":%s PRIVMSG %s :who says that", bob->nick, bob->nick);
    hear(bob, "the sender is whose connection it is", ":%s PRIVMSG %s :who says that", ann->nick,
         bob->nick);
    say(ann, ":some.where PING :token");
    hear(ann, "the command behind a prefix", ":? PONG ? :token");
    silent(ann, "nothing else has come of the prefix");
}

TEST(lines, endless, "megabytes without a newline are dropped as they come")
{
    enum { PIECE = 64 << 10, PIECES = 256, MOST_KB = 4 << 10 };
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    struct user *ann = member(d, a_nick(&r)), *bob = member(d, a_nick(&r));
    const char *piece = letters(&r, PIECE);
    long before = process_family_peak_kb(program_pid(d->p));

    say_bytes(ann, "PRIVMSG ", 8);
    for (int i = 0; i < PIECES; i++)
        say_bytes(ann, piece, PIECE);
    silent(bob, "the others are served meanwhile");
    long after = process_family_peak_kb(program_pid(d->p));
    EXPECT(after - before <= MOST_KB,
           text("chatd keeps 512 bytes of a line, and not the %d MiB of it that came",
                PIECE / 1024 * PIECES / 1024),
           text("its memory grew by %ld KiB", after - before));
    say(ann, "PING :evil");
    say(ann, "PING :good");
    struct line l = next_line(ann, "an error for the long line, or PONG for the line behind it");
    if (!line_matches(&l, ":? PONG ? :good"))
        hear(ann, "the line behind the long one", ":? PONG ? :good");
    EXPECT(!line_matches(&l, ":? PONG ? :evil"), "all of a line up to its newline is dropped",
           "PONG for the end of the line");
}

/* JOIN of channels that fill a line of `len` bytes; the last one is *last. */
static const char *joins_of(struct random *r, size_t len, size_t *count, const char **last)
{
    const char *line = "JOIN ";
    *count = 0;
    while (len - strlen(line) > CHANNEL_MAX + 10) {
        line = text("%s#%c%s,", line, (char)('a' + *count), letters(r, 30));
        (*count)++;
    }
    *last = text("#%s", letters(r, len - strlen(line) - 1));
    (*count)++;
    return text("%s%s", line, *last);
}

TEST(lines, exact, "510 bytes of content are a line, the next ones are cut off")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *nick = a_nick(&r), *last;
    struct user *u = member(d, nick);
    for (size_t way = 0; way < 6; way++) {
        size_t count, more = way % 3;
        const char *line = joins_of(&r, CONTENT_MAX, &count, &last);
        line = text("%s%s%s", line, letters(&r, more), way < 3 ? "\r\n" : "\n");
        say_bytes(u, line, strlen(line));
        for (size_t i = 1; i < count; i++) {
            next_line(u, "JOIN of a channel of the list");
            next_line(u, "353 of a channel of the list");
            next_line(u, "366 of a channel of the list");
        }
        hear(u,
             text("the last channel of a line with %zu bytes of content and %s", CONTENT_MAX + more,
                  way < 3 ? "CRLF" : "LF"),
             ":%s JOIN %s", nick, last);
        expect_members(u, last, "who joins", nick, NULL);
    }
}

TEST(lines, newline, "LF alone ends a line, CR alone does not")
{
    struct chatd *d = chatd_start();
    struct user *u = guest(d, "a client");
    say_bytes(u, "PING :one\nPING :two\n", 20);
    hear(u, "LF ends a line", ":? PONG ? :one");
    hear(u, "LF ends a line", ":? PONG ? :two");

    say_bytes(u, "PING :three\rPING :four\r\nPING :five\r\n", 36);
    struct line l = next_line(u, "PONG for PING :three, whose line has a CR in it");
    if (!line_matches(&l, ":? PONG ? :five")) { /* a line with a CR may be dropped, too */
        EXPECT(!line_matches(&l, ":? PONG ? :four"), "a CR ends no line",
               "PONG for the PING behind a CR");
        hear(u, "the line with a CR in it was one line", ":? PONG ? :five");
    }
}

TEST(lines, any_case, "commands are the same in capitals and in small letters")
{
    struct random r = random_from_test();
    const char *nick = a_nick(&r), *channel = a_channel(&r);
    struct chatd *d = chatd_start();
    struct user *u = guest(d, nick), *other = member(d, a_nick(&r));
    say(u, "nick %s", nick);
    say(u, "uSeR u 0 * :Real Name");
    u->nick = nick;
    for (int number = 1; number <= 4; number++)
        hear(u, "nick and uSeR", "%03d %s", number, nick);
    hear(u, "nick and uSeR", "422 %s", nick);
    say(u, "join %s", channel);
    hear(u, "join", ":%s JOIN %s", nick, channel);
    expect_members(u, channel, "join", nick, NULL);
    say(u, "PrivMsg %s :hello", other->nick);
    hear(other, "PrivMsg", ":%s PRIVMSG %s :hello", nick, other->nick);
    say(u, "ping :token");
    hear(u, "ping", ":? PONG ? :token");
    say(u, "part %s", channel);
    hear(u, "part", ":%s PART %s ...", nick, channel);
}

/* The next line for `u` is `start` and as much of a text that is too long as fits behind it. */
static void hear_cut(struct user *u, const char *start, size_t at, const char *said)
{
    struct line l = hear_line(u, "as much as fits behind the prefix", text("%s ?", start));
    EXPECT(l.raw.len == CONTENT_MAX, "510 bytes and CRLF, the prefix counted",
           text("%zu bytes and CRLF", l.raw.len));
    EXPECT(strncmp(l.parameter[at].at, said, l.parameter[at].len) == 0, "the beginning of the text",
           quoted(l.parameter[at].at, l.parameter[at].len, 100));
}

TEST(lines, long_out, "a line that the prefix makes longer is cut to 510 bytes and CRLF")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *channel = a_channel(&r);
    struct user *ann = member_on(d, a_nick(&r), channel);
    struct user *bob = member_on(d, a_nick(&r), channel);
    const char *start = text("PRIVMSG %s :", channel);
    const char *said = letters(&r, CONTENT_MAX - strlen(start));

    say(ann, "%s%s", start, said);
    hear_cut(bob, text(":%s PRIVMSG %s", ann->nick, channel), 1, said);
    say(ann, "%sshort", start);
    hear(bob, "the next line is whole", ":%s PRIVMSG %s :short", ann->nick, channel);

    /* Whatever the line is. */
    settle(ann);
    said = letters(&r, CONTENT_MAX - strlen("PRIVMSG  :") - NICK_MAX);
    const char *const commands[] = {"PRIVMSG", "NOTICE"};
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        say(ann, "%s %s :%s", commands[i], bob->nick, said);
        hear_cut(bob, text(":%s %s %s", ann->nick, commands[i], bob->nick), 1, said);
    }
    const char *word = letters(&r, CONTENT_MAX);
    say(ann, "%s", word);
    struct line l = next_line(ann, "421 for a command of 510 bytes");
    EXPECT(is_numeric(&l, 421) && l.count > 1 &&
               strncmp(l.parameter[1].at, word, strcspn(l.parameter[1].at, " ")) == 0,
           "421 with as much of the command as fits", quoted(l.raw.at, l.raw.len, 100));
    said = letters(&r, CONTENT_MAX - strlen("PART  :") - strlen(channel));
    say(ann, "PART %s :%s", channel, said);
    hear_cut(ann, text(":%s PART %s", ann->nick, channel), 1, said);
    hear_cut(bob, text(":%s PART %s", ann->nick, channel), 1, said);
    enter(ann, channel);
    settle(bob);
    said = letters(&r, CONTENT_MAX - strlen("QUIT :"));
    say(ann, "QUIT :%s", said);
    hear_cut(bob, text(":%s QUIT", ann->nick), 0, said);
}

/* These bytes are a text of ann's in each command that has one. */
static void pass_unchanged(struct user *ann, struct user *bob, const char *channel,
                           const void *bytes, size_t len)
{
    const struct {
        struct user *hears;
        const char *said, *heard;
    } all[] = {
        {bob, text("PRIVMSG %s :", channel), text(":%s PRIVMSG %s ?", ann->nick, channel)},
        {bob, text("NOTICE %s :", bob->nick), text(":%s NOTICE %s ?", ann->nick, bob->nick)},
        {ann, "PING :", ":? PONG ? ?"},
        {bob, text("PART %s :", channel), text(":%s PART %s ?", ann->nick, channel)},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        say_bytes(ann, all[i].said, strlen(all[i].said));
        say_bytes(ann, bytes, len);
        say_bytes(ann, "\r\n", 2);
        struct line l = hear_line(all[i].hears,
                                  text("%s with each byte as it was sent", quoted(bytes, len, 100)),
                                  all[i].heard);
        EXPECT(l.parameter[1].len == len && memcmp(l.parameter[1].at, bytes, len) == 0,
               text("%s%s", all[i].said, quoted(bytes, len, 100)),
               quoted(l.raw.at, l.raw.len, 100));
    }
    enter(ann, channel);
    settle(bob);
}

TEST(lines, any_bytes, "bytes of any value but NUL, CR and LF pass unchanged; a NUL harms nobody")
{
    enum { PART = 100 };
    struct random r = random_from_test();
    unsigned char all[256];
    size_t count = 0;
    for (int value = 1; value < 256; value++)
        if (value != '\r' && value != '\n')
            all[count++] = (unsigned char)value;
    random_shuffle(&r, all, count, 1);

    struct chatd *d = chatd_start();
    const char *channel = a_channel(&r);
    struct user *ann = member_on(d, a_nick(&r), channel);
    struct user *bob = member_on(d, a_nick(&r), channel);
    settle(ann);
    for (size_t from = 0; from < count; from += PART) {
        size_t len = count - from < PART ? count - from : PART;
        pass_unchanged(ann, bob, channel, all + from, len);
    }
    /* What some programs take for something else, and %n of printf(3) writes where it should not.
     */
    const char *const texts[] = {"%s%n%s%n", "\001ACTION waves\001", "\xc3\xa4\xff"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        pass_unchanged(ann, bob, channel, texts[i], strlen(texts[i]));
    say(ann, "%s", texts[0]);
    hear(ann, "a command that there is not", "421 %s %s", ann->nick, texts[0]);
    struct user *carl = member_on(d, a_nick(&r), channel);
    settle(bob);
    say(carl, "QUIT :%s \xc3\xa4\xff", texts[0]);
    hear(bob, "each byte as it was sent", ":%s QUIT :%s \xc3\xa4\xff", carl->nick, texts[0]);
    settle(ann);

    /* A line with a NUL may be dropped, or cut. */
    say_bytes(ann, text("PRIVMSG %s :one", channel), strlen(channel) + 14);
    say_bytes(ann, "two\r\n\0\r\n\0\0\0\r\nPING\0 :x\r\n", 23);
    settle(ann);
    say(ann, "PRIVMSG %s :the next line", channel);
    struct line l = next_line(bob, "the line behind those with a NUL");
    if (!line_matches(&l, text(":%s PRIVMSG %s :the next line", ann->nick, channel)))
        hear(bob, "the line behind those with a NUL", ":%s PRIVMSG %s :the next line", ann->nick,
             channel);
}
