/* Lines: a stream of bytes has no messages, they are made of it. */
#include "suites/chat/peer/chat.h"

#include <string.h>

TEST(lines, split, "a command is one, however many segments it comes in")
{
    struct random r = random_from_test();
    const char *nick = a_nick(&r), *token = letters(&r, 12);
    struct chatd *d = chatd_start();
    struct user *u = guest(d, nick);
    const char *all = text("NICK %s\r\nUSER u 0 * :Real Name\r\nPING :%s\r\n", nick, token);
    u->nick = nick;
    for (const char *at = all; *at != '\0'; at++)
        say_bytes(u, at, 1);
    hear(u, "registered byte by byte", "001 %s", nick);
    for (int number = 2; number <= 4; number++)
        hear(u, "registered byte by byte", "%03d %s", number, nick);
    hear(u, "registered byte by byte", "422 %s", nick);
    hear(u, "asked byte by byte", ":? PONG ? :%s", token);

    /* The CR has come, the line has not ended. */
    struct user *other = member(d, a_nick(&r));
    const char *half = text("PING :%s\r", token);
    say_bytes(u, half, strlen(half));
    settle(other);
    say_bytes(u, "\n", 1);
    hear(u, "CR in one segment, LF in the next", ":? PONG ? :%s", token);
    silent(u, "one line is answered once");
}

TEST(lines, several, "one segment may hold several commands and the beginning of the next")
{
    struct random r = random_from_test();
    const char *nick = a_nick(&r);
    struct chatd *d = chatd_start();
    struct user *u = guest(d, nick);
    u->nick = nick;
    const char *all =
        text("NICK %s\r\nUSER u 0 * :Real Name\r\nPING :one\r\nPING :two\r\nPIN", nick);
    say_bytes(u, all, strlen(all));
    for (int number = 1; number <= 4; number++)
        hear(u, "all in one segment", "%03d %s", number, nick);
    hear(u, "all in one segment", "422 %s", nick);
    hear(u, "all in one segment", ":? PONG ? :one");
    hear(u, "all in one segment", ":? PONG ? :two");
    all = "G :three\r\nPING :four\r\n";
    say_bytes(u, all, strlen(all));
    hear(u, "its beginning came with the lines before", ":? PONG ? :three");
    hear(u, "the next one", ":? PONG ? :four");
}

TEST(lines, long_in, "what is over 510 bytes of content is dropped up to the newline")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *channel = a_channel(&r);
    struct user *ann = member_on(d, a_nick(&r), channel);
    struct user *bob = member_on(d, a_nick(&r), channel);
    hear(ann, "bob joins", ":%s JOIN %s", bob->nick, channel);

    const int more[] = {0, 100, 512, 5000};
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) {
        const char *start = text("PRIVMSG %s :", channel);
        const char *said = letters(&r, CONTENT_MAX - strlen(start));
        say(ann, "%s%s%s PING :evil", start, said, letters(&r, (size_t)more[i]));
        struct line l = hear_line(bob, "the beginning of a line that is too long",
                                  text(":%s PRIVMSG %s ?", ann->nick, channel));
        EXPECT(strncmp(l.parameter[1].at, said, l.parameter[1].len) == 0 && l.parameter[1].len > 0,
               "the beginning of the text, as far as the line goes",
               quoted(l.parameter[1].at, l.parameter[1].len, 100));
        /* The rest must not be a line of its own: it may look like a command. */
        say_bytes(ann, text("PING :%s", letters(&r, 600)), 606);
        settle(bob);
        say(ann, "PING :evil\r\nPRIVMSG %s :next %zu", channel, i);
        hear(bob, "the next line", ":%s PRIVMSG %s :next %zu", ann->nick, channel, i);
        struct line pong = next_line(ann, "PONG for the second line, which is too long");
        EXPECT(same_name(pong.command, "PONG") && pong.raw.len == CONTENT_MAX,
               "one PONG, as long as a line may be", quoted(pong.raw.at, pong.raw.len, 100));
        silent(ann, "what is over 510 bytes is no command");
    }
}
