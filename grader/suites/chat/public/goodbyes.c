/* New nicks and goodbyes: who is told, and how often. */
#include "suites/chat/peer/chat.h"

TEST(change, seen, "a new nick is told once to each who shares a channel, and to oneself")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *one = a_channel(&r), *two = a_channel(&r), *fresh = a_nick(&r);
    struct user *ann = member_on(d, a_nick(&r), one), *bob = member_on(d, a_nick(&r), one);
    struct user *carl = member_on(d, a_nick(&r), two), *eve = member(d, a_nick(&r));
    struct user *dora = member_on(d, a_nick(&r), one);
    enter(ann, two);
    enter(bob, two);
    enter(eve, "#elsewhere");
    settle(ann);
    settle(bob);
    settle(carl);
    settle(dora);
    const char *old = ann->nick;
    say(ann, "NICK %s", fresh);
    struct line l = hear_line(ann, "one's own change", text(":%s NICK %s", old, fresh));
    ann->nick = fresh;
    expect_full_prefix(&l, "who changes");
    hear(bob, "who shares two channels with it", ":%s NICK %s", old, fresh);
    hear(carl, "who shares a channel with it", ":%s NICK %s", old, fresh);
    hear(dora, "who shares the other channel with it", ":%s NICK %s", old, fresh);
    silent(ann, "a change is told once");
    silent(bob, "a change is told once, however many channels are shared");
    silent(carl, "a change is told once");
    silent(eve, "who shares no channel is not told");
}

TEST(quit, seen, "QUIT is told once to each who shares a channel; the connection is closed")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *one = a_channel(&r), *two = a_channel(&r), *why = letters(&r, 9);
    struct user *ann = member_on(d, a_nick(&r), one), *bob = member_on(d, a_nick(&r), one);
    struct user *carl = member_on(d, a_nick(&r), two), *eve = member(d, a_nick(&r));
    struct user *dora = member_on(d, a_nick(&r), one);
    enter(ann, two);
    enter(bob, two);
    enter(eve, "#elsewhere");
    settle(ann);
    settle(bob);
    settle(carl);
    settle(dora);
    say(ann, "QUIT :%s, all", why);
    struct line l = hear_line(bob, "who shares two channels with it",
                              text(":%s QUIT :%s, all", ann->nick, why));
    expect_full_prefix(&l, "who quits");
    hear(carl, "who shares a channel with it", ":%s QUIT :%s, all", ann->nick, why);
    hear(dora, "who shares the other channel with it", ":%s QUIT :%s, all", ann->nick, why);
    silent(bob, "a QUIT is told once, however many channels are shared");
    silent(carl, "a QUIT is told once");
    silent(eve, "who shares no channel is not told");
    expect_end(ann, "it has quit");
    say(bob, "NAMES %s", two);
    expect_members(bob, two, "who has quit is on no channel", bob->nick, carl->nick, NULL);
    say(bob, "QUIT");
    hear(carl, "a QUIT without a text", ":%s QUIT ...", bob->nick);
    expect_end(bob, "it has quit");
}
