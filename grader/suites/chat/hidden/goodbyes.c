/* New nicks and goodbyes: the rest. */
#include "suites/chat/peer/chat.h"

#include <string.h>

TEST(change, works, "after a change messages go to the new nick, and the old one is free")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *channel = a_channel(&r), *old = a_nick(&r), *fresh = a_nick(&r);
    struct user *ann = member_on(d, old, channel), *bob = member_on(d, a_nick(&r), channel);
    settle(ann);
    say(ann, "NICK %s", fresh);
    hear(ann, "one's own change", ":%s NICK %s", old, fresh);
    ann->nick = fresh;
    hear(bob, "the change", ":%s NICK %s", old, fresh);
    say(bob, "PRIVMSG %s :to the old one", old);
    hear(bob, "nobody has that nick any more", "401 %s %s", bob->nick, old);
    say(bob, "PRIVMSG %s :to the new one", fresh);
    hear(ann, "its new nick", ":%s PRIVMSG %s :to the new one", bob->nick, fresh);
    say(ann, "PRIVMSG %s :from the new one", channel);
    hear(bob, "it is still on the channel", ":%s PRIVMSG %s :from the new one", fresh, channel);
    say(bob, "NAMES %s", channel);
    expect_members(bob, channel, "the new nick", fresh, bob->nick, NULL);
    struct user *carl = member(d, old);
    say(bob, "PRIVMSG %s :to who has it now", old);
    hear(carl, "the nick is its own now", ":%s PRIVMSG %s :to who has it now", bob->nick, old);
    silent(ann, "the nick is another one's now");
}

/* Each user says SAID lines, a new nick before each: "nick-number". */
enum { CHANGERS = 8, SAID = 60 };

static const char *nick_of(const char *base, int number)
{
    return text("%s-%d", base, number);
}

static void queue_all(struct user *u, const char *base, const char *channel)
{
    for (int i = 1; i <= SAID; i++) {
        const char *lines = text("NICK %s\r\nPRIVMSG %s :%d\r\n", nick_of(base, i), channel, i);
        endpoint_queue(u->e, lines, strlen(lines));
    }
}

/* The next line of `who`, who has said `*lines` lines so far: a change, or what it says then. */
static void expect_step(const struct line *l, const char *who, int *lines, const char *channel)
{
    int number = *lines / 2 + 1;
    const char *want = *lines % 2 == 0
                           ? text(":%s NICK %s", nick_of(who, number - 1), nick_of(who, number))
                           : text(":%s PRIVMSG %s :%d", nick_of(who, number), channel, number);
    EXPECT(line_matches(l, want), text("the next line of this client is %s", want),
           quoted(l->raw.at, l->raw.len, 100));
    (*lines)++;
}

TEST(change, under_load, "changes and messages of many clients at once come in their order")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *channel = a_channel(&r), *base[CHANGERS];
    struct user *u[CHANGERS], *reader = member_on(d, a_nick(&r), channel);
    for (int i = 0; i < CHANGERS; i++) {
        base[i] = text("%c%s", 'a' + i, letters(&r, 4));
        u[i] = member_on(d, nick_of(base[i], 0), channel);
    }
    for (int i = 0; i < CHANGERS; i++)
        settle(u[i]);
    settle(reader);
    for (int i = 0; i < CHANGERS; i++)
        queue_all(u[i], base[i], channel);
    int lines[CHANGERS] = {0};
    for (int n = 0; n < CHANGERS * SAID * 2; n++) {
        struct line l = next_line(reader, "a change, or a message of the new nick");
        int i = l.nick != NULL ? l.nick[0] - 'a' : -1;
        EXPECT(i >= 0 && i < CHANGERS, "a line of one of the clients",
               quoted(l.raw.at, l.raw.len, 100));
        expect_step(&l, base[i], &lines[i], channel);
    }
    silent(reader, "each change and each message comes once");
}

TEST(quit, over, "behind QUIT nothing is done; who has quit is nowhere, and its nick is free")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *channel = a_channel(&r), *nick = a_nick(&r);
    struct user *bob = member_on(d, a_nick(&r), channel), *ann = member_on(d, nick, channel);
    settle(bob);
    const char *lines =
        text("PING :before\r\nQUIT :bye\r\nPRIVMSG %s :ghost\r\nJOIN %s\r\nPING :ghost\r\n",
             channel, channel);
    say_bytes(ann, lines, strlen(lines));
    hear(bob, "ann quits", ":%s QUIT :bye", nick);
    hear(ann, "the line before QUIT is answered", ":? PONG ? :before");
    expect_end(ann, "it has quit");
    silent(bob, "what stands behind QUIT is not done");
    say(bob, "PRIVMSG %s :are you there", nick);
    hear(bob, "who has quit is not there", "401 %s %s", bob->nick, nick);
    say(bob, "NAMES %s", channel);
    expect_members(bob, channel, "who has quit is on no channel", bob->nick, NULL);
    struct user *next = member_on(d, nick, channel);
    hear(bob, "another client with the nick", ":%s JOIN %s", nick, channel);
    say(bob, "PRIVMSG %s :are you there", nick);
    hear(next, "another client has the nick", ":%s PRIVMSG %s :are you there", bob->nick, nick);
    say(next, "QUIT word");
    hear(bob, "a text of one word needs no colon", ":%s QUIT :word", nick);
}

TEST(quit, unregistered, "who was never registered leaves silently, and its nick is free")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *channel = a_channel(&r);
    struct user *bob = member_on(d, a_nick(&r), channel);
    for (int way = 0; way < 3; way++) {
        const char *nick = a_nick(&r);
        struct user *u = guest(d, "a client that never registers");
        say(u, "NICK %s", nick);
        settle(u);
        if (way == 0)
            say(u, "QUIT :bye");
        else if (way == 1)
            endpoint_close_input(u->e);
        else
            endpoint_reset(u->e);
        if (way < 2)
            expect_end(u, "it has gone");
        else
            wait_rest(d->p, "chatd sees that the client has gone");
        silent(bob, "who never registered leaves silently");
        struct user *next = member(d, nick);
        say(bob, "PRIVMSG %s :free", nick);
        hear(next, "the nick is free", ":%s PRIVMSG %s :free", bob->nick, nick);
    }
}
