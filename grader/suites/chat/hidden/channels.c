/* Channels: the rest. */
#include "suites/chat/peer/chat.h"

#include <string.h>

static const char *capitals(const char *name)
{
    char *copy = kept(strlen(name) + 1);
    for (size_t i = 0; name[i] != '\0'; i++)
        copy[i] = (char)(name[i] >= 'a' && name[i] <= 'z' ? name[i] - 'a' + 'A' : name[i]);
    return copy;
}

TEST(join, twice, "JOIN of a channel that one is on does nothing")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *channel = a_channel(&r);
    struct user *ann = member_on(d, a_nick(&r), channel);
    struct user *bob = member_on(d, a_nick(&r), channel);
    hear(ann, "bob joins", ":%s JOIN %s", bob->nick, channel);
    say(bob, "JOIN %s", channel);
    silent(bob, "it is on it");
    say(bob, "JOIN %s", capitals(channel));
    silent(bob, "it is on it, whatever the case");
    silent(ann, "nobody has joined");
    say(ann, "PRIVMSG %s :once", channel);
    hear(bob, "a message", ":%s PRIVMSG %s :once", ann->nick, channel);
    silent(bob, "a member gets a message once");
    say(bob, "PART %s", channel);
    hear(bob, "one's own PART", ":%s PART %s ...", bob->nick, channel);
    hear(ann, "bob leaves", ":%s PART %s ...", bob->nick, channel);
    say(ann, "NAMES %s", channel);
    expect_members(ann, channel, "who has left is on it no more", ann->nick, NULL);
}

TEST(part, last, "a channel ends with its last member, whichever way that one goes")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    struct user *bob = member(d, a_nick(&r));
    for (int way = 0; way < 3; way++) {
        const char *channel = a_channel(&r);
        struct user *ann = member_on(d, a_nick(&r), channel);
        say(bob, "PRIVMSG %s :there is one", channel);
        hear(bob, "there is the channel, and bob is not on it", "404 %s %s", bob->nick, channel);
        if (way == 0) {
            say(ann, "PART %s", channel);
            hear(ann, "one's own PART", ":%s PART %s ...", ann->nick, channel);
        } else {
            if (way == 1)
                say(ann, "QUIT");
            else
                endpoint_close_input(ann->e);
            expect_end(ann, "it has gone");
        }
        say(bob, "PRIVMSG %s :there is none", channel);
        hear(bob, "there is no such channel any more", "401 %s %s", bob->nick, channel);
        say(bob, "PART %s", channel);
        hear(bob, "there is no such channel any more", "403 %s %s", bob->nick, channel);
        say(bob, "NAMES %s", channel);
        hear(bob, "there is no such channel any more", "366 %s %s", bob->nick, channel);
        enter(bob, channel);
        say(bob, "NAMES %s", channel);
        expect_members(bob, channel, "a new channel of that name", bob->nick, NULL);
    }
}

TEST(names, many, "353 is repeated as often as the nicks need, and none is cut")
{
    enum { MANY = 150, EVEN = 60 };
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *channel = text("#%s", letters(&r, CHANNEL_MAX - 1)), *nicks[MANY + 1];
    struct user *users[MANY + 1], *u;
    for (int i = 0; i <= MANY; i++)
        nicks[i] = text("%s%03d", letters(&r, (size_t)between(&r, 1, NICK_MAX - 3)), i);
    crowd_on(d, channel, MANY, nicks, users);
    u = users[MANY] = member(d, nicks[MANY]);
    say(u, "JOIN %s", channel);
    hear(u, "its own JOIN", ":%s JOIN %s", u->nick, channel);
    expect_names(u, channel, "each nick once, in lines of at most 512 bytes", MANY + 1, nicks);
    say(u, "NAMES %s", channel);
    expect_names(u, channel, "each nick once, in lines of at most 512 bytes", MANY + 1, nicks);

    /* A nick and its blank have 9 bytes. The line begins with who asks, of 1 to 9 bytes: for one of
     * these the last nick has just as much room as it needs, and for another one byte less. */
    channel = a_channel(&r);
    for (int i = 0; i < EVEN; i++)
        nicks[i] = text("%s%03d", letters(&r, NICK_MAX - 4), i);
    crowd_on(d, channel, EVEN, nicks, users);
    for (int len = 1; len <= NICK_MAX; len++) {
        const char *nick = text("%.*s", len, "_________");
        say(u, "NICK %s", nick);
        hear(u, "its own change", ":%s NICK %s", u->nick, nick);
        u->nick = nick;
        say(u, "NAMES %s", channel);
        expect_names(u, channel, "each nick once, in lines of at most 512 bytes", EVEN, nicks);
    }
}

TEST(join, bad, "a channel is # and 1 to 49 characters without control-G, else 403")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    struct user *u = member(d, a_nick(&r));
    const char *longest = text("#%s", letters(&r, CHANNEL_MAX - 1));
    const char *const good[] = {"#a", longest, "##", "#a:b!*@", "#\xc3\xa4\xff\001", "#%s%n%s%n"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        say(u, "JOIN %s", good[i]);
        hear(u, "a channel", ":%s JOIN %s", u->nick, good[i]);
        expect_members(u, good[i], "who joins", u->nick, NULL);
    }
    const char *const bad[] = {"chan", "0", "#", "&local", "#a\ab", text("%sx", longest)};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        say(u, "JOIN %s", bad[i]);
        hear(u, "no channel", "403 %s %s", u->nick, bad[i]);
    }
    say(u, "JOIN :#a b");
    struct line l = next_line(u, "403 for a channel with a blank in it");
    EXPECT(is_numeric(&l, 403), "403 for a channel with a blank in it",
           quoted(l.raw.at, l.raw.len, 100));
    silent(u, "one answer for each");
}

TEST(part, errors, "PART of a channel that there is not is 403, of one that one is not on 442")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *channel = a_channel(&r), *none = a_channel(&r);
    struct user *ann = member_on(d, a_nick(&r), channel), *bob = member(d, a_nick(&r));
    say(bob, "PART %s", channel);
    hear(bob, "bob is not on it", "442 %s %s", bob->nick, channel);
    say(bob, "PART %s", none);
    hear(bob, "there is no such channel", "403 %s %s", bob->nick, none);
    say(bob, "PART nothing");
    hear(bob, "no channel at all", "403 %s nothing", bob->nick);
    const char *const others[] = {text("%sx", channel),
                                  text("%.*s", (int)strlen(channel) - 1, channel)};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        say(bob, "PART %s", others[i]);
        hear(bob, text("not the same name as %s", channel), "403 %s %s", bob->nick, others[i]);
    }
    silent(ann, "nobody has left");
    say(ann, "PART %s word", channel);
    hear(ann, "ann is on it, and a text of one word needs no colon", ":%s PART %s :word", ann->nick,
         channel);
}

TEST(names, without_case, "channels and nicks are found in whatever case")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *channel = text("#abcdefghijklmnopqrstuvwxyz%s", letters(&r, 5));
    const char *other = capitals(channel);
    struct user *ann = member_on(d, a_nick(&r), channel), *bob = member(d, a_nick(&r));
    say(bob, "JOIN %s", other);
    hear(bob, "its own JOIN", ":%s JOIN %s", bob->nick, channel);
    expect_members(bob, channel, "one channel", ann->nick, bob->nick, NULL);
    hear(ann, "bob joins the channel", ":%s JOIN %s", bob->nick, channel);
    say(ann, "NAMES %s", other);
    expect_members(ann, channel, "one channel", ann->nick, bob->nick, NULL);
    say(ann, "PRIVMSG %s :to a channel", other);
    hear(bob, "to its channel", ":%s PRIVMSG %s :to a channel", ann->nick, channel);
    say(ann, "PRIVMSG %s :to a nick", capitals(bob->nick));
    hear(bob, "to its nick", ":%s PRIVMSG %s :to a nick", ann->nick, bob->nick);
    const char *const alphabet[] = {"abcdefghi", "jklmnopqr", "stuvwxyz"};
    for (size_t i = 0; i < sizeof alphabet / sizeof alphabet[0]; i++) {
        struct user *u = member(d, alphabet[i]);
        say(ann, "PRIVMSG %s :to a nick", capitals(u->nick));
        hear(u, "to its nick", ":%s PRIVMSG %s :to a nick", ann->nick, u->nick);
    }
    say(ann, "PART %s", other);
    hear(ann, "one's own PART", ":%s PART %s ...", ann->nick, channel);
    hear(bob, "ann leaves the channel", ":%s PART %s ...", ann->nick, channel);
}
