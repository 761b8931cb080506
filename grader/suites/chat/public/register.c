/* Registration, nicks, PING. */
#include "suites/chat/peer/chat.h"

TEST(register, welcome, "NICK and USER are answered by 001, 002, 003, 004 and 422")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *nick = a_nick(&r);
    struct user *u = guest(d, nick);
    say(u, "NICK %s", nick);
    u->nick = nick;
    silent(u, "a nick alone does not register");
    say(u, "USER %s 0 * :Real Name", letters(&r, 6));
    hear_welcome(u, "registered");
    silent(u, "422 is the last line of the welcome");
}

static void expect_451(struct user *u)
{
    const char *const lines[] = {"JOIN #c",        "JOIN",    "PART #c",       "PART",
                                 "PRIVMSG ann :x", "PRIVMSG", "NOTICE ann :x", "NOTICE",
                                 "NAMES #c",       "NAMES",   "PRIVMSG #c"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        say(u, "%s", lines[i]);
        hear(u, text("'%s' before registration", lines[i]), "451 %s", u->nick);
    }
}

TEST(register, not_yet, "before registration JOIN, PART, PRIVMSG, NOTICE and NAMES are 451")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *nick = a_nick(&r);
    struct user *ann = member(d, "ann"), *u = guest(d, nick);
    expect_451(u);
    say(u, "NICK %s", nick);
    u->nick = nick;
    expect_451(u);
    silent(ann, "nothing of it was done");
    say(u, "USER u 0 * :Real Name");
    hear_welcome(u, "registered");
    say(u, "PRIVMSG ann :now");
    hear(ann, "registered, its messages come", ":%s PRIVMSG ann :now", nick);
}

TEST(nick, bad, "a nick is 1 to 9 characters that the RFC allows, else 432")
{
    struct chatd *d = chatd_start();
    struct user *u = member(d, "ann");
    const char *const good[] = {"a",         "[]\\`_^{|}", "x-0-9-", "Z",        "_",  "ninechars",
                                "b12345678", "`tick",      "{bob}",  "bob|away", "ann"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        say(u, "NICK %s", good[i]);
        hear(u, "a nick that is allowed", ":%s NICK %s", u->nick, good[i]);
        u->nick = good[i];
    }
    const char *const bad[] = {"ten_chars_", "1ann",     "0",    "9z",   "-ann",
                               "ann!",       "an.n",     "#ann", "an,n", "a@b",
                               "a:b",        "\xc3\xa4", "a*",   "a~",   "averyveryverylongnick"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        say(u, "NICK %s", bad[i]);
        hear(u, "a nick that is not allowed", "432 ann %s", bad[i]);
    }
    say(u, "NICK :an n");
    struct line l = next_line(u, "432 for a nick with a blank in it");
    EXPECT(is_numeric(&l, 432), "432 for a nick with a blank in it",
           quoted(l.raw.at, l.raw.len, 100));
    silent(u, "who is refused a nick keeps the old one");
    say(u, "PRIVMSG ann :still me");
    hear(u, "the old nick", ":ann PRIVMSG ann :still me");
}

TEST(nick, taken, "a nick that another client has is 433, in whatever case")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *nick = a_nick(&r), *other = a_nick(&r);
    struct user *ann = member(d, nick), *u = guest(d, "a client");
    char *capitals = kept(NICK_MAX + 1);
    for (size_t i = 0; nick[i] != '\0'; i++)
        capitals[i] = (char)(nick[i] - 'a' + 'A');

    say(u, "NICK %s", nick);
    hear(u, "the nick of a client that is registered", "433 * %s", nick);
    say(u, "NICK %s", capitals);
    hear(u, "the same nick in capitals", "433 * %s", nick);
    say(u, "USER u 0 * :Real Name");
    silent(u, "still without a nick");
    say(u, "NICK %s", other);
    u->nick = other;
    hear_welcome(u, "a nick that is free");
    say(u, "NICK %s", capitals);
    hear(u, "a change to a nick that is taken", "433 %s %s", other, nick);
    silent(ann, "who has the nick is told nothing");

    /* NICK alone takes it. */
    struct user *early = guest(d, "a client that is not registered");
    say(early, "NICK early");
    early->nick = "early";
    silent(early, "NICK alone does not register");
    say(u, "NICK Early");
    hear(u, "the nick of a client that is not registered yet", "433 %s early", other);
}

TEST(ping, pong, "PING is answered by PONG with its token, registered or not")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    struct user *u = guest(d, "a client");
    for (int round = 0; round < 2; round++) {
        const char *token = letters(&r, (size_t)between(&r, 1, 30));
        say(u, "PING %s", token);
        struct line l = hear_line(u, "its token comes back", text(":? PONG ? :%s", token));
        EXPECT(l.user == NULL && l.nick != NULL && same_name(l.nick, l.parameter[0].at),
               "the server's name as the prefix and as the first parameter",
               quoted(l.raw.at, l.raw.len, 100));
        say(u, "PING :%s with blanks :and colons", token);
        hear(u, "all of the token comes back", ":? PONG ? :%s with blanks :and colons", token);
        say(u, "PING");
        hear(u, "there is no token", "409 %s", u->nick);
        say(u, "PONG :%s", token);
        say(u, "PONG");
        silent(u, "PONG is accepted and not answered");
        if (round == 0)
            register_as(u, a_nick(&r));
    }
}
