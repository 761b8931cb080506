/* Channels: JOIN, PART, NAMES, and who sees what. */
#include "suites/chat/peer/chat.h"

TEST(join, replies, "who joins gets the JOIN itself, 353 and 366")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *channel = a_channel(&r);
    struct user *u = member(d, a_nick(&r));
    say(u, "JOIN %s", channel);
    struct line l = hear_line(u, "its own JOIN", text(":%s JOIN %s", u->nick, channel));
    expect_full_prefix(&l, "who joins");
    expect_members(u, channel, "the joiner is on it", u->nick, NULL);
    silent(u, "366 is the last line");
}

TEST(join, seen, "all members see who joins, and the joiner gets the names of all")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *channel = a_channel(&r);
    struct user *ann = member_on(d, a_nick(&r), channel), *eve = member(d, a_nick(&r));
    struct user *bob = member(d, a_nick(&r));
    say(bob, "JOIN %s", channel);
    hear(bob, "its own JOIN", ":%s JOIN %s", bob->nick, channel);
    expect_members(bob, channel, "two are on it", ann->nick, bob->nick, NULL);
    struct line l = hear_line(ann, "bob joins", text(":%s JOIN %s", bob->nick, channel));
    expect_full_prefix(&l, "who joins");

    struct user *carl = member(d, a_nick(&r));
    say(carl, "JOIN %s", channel);
    hear(carl, "its own JOIN", ":%s JOIN %s", carl->nick, channel);
    expect_members(carl, channel, "three are on it", ann->nick, bob->nick, carl->nick, NULL);
    hear(ann, "a third one joins", ":%s JOIN %s", carl->nick, channel);
    hear(bob, "a third one joins", ":%s JOIN %s", carl->nick, channel);
    silent(ann, "a JOIN is seen once, and 353 is for the joiner");
    silent(eve, "who is not on the channel does not see it");
}

TEST(part, seen, "all members and the leaver see who leaves")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *channel = a_channel(&r), *why = letters(&r, 10);
    struct user *ann = member_on(d, a_nick(&r), channel), *eve = member(d, a_nick(&r));
    struct user *bob = member_on(d, a_nick(&r), channel);
    hear(ann, "bob joins", ":%s JOIN %s", bob->nick, channel);
    say(bob, "PART %s :%s, and more", channel, why);
    hear(bob, "one's own PART", ":%s PART %s :%s, and more", bob->nick, channel, why);
    hear(ann, "bob leaves, with a text", ":%s PART %s :%s, and more", bob->nick, channel, why);
    silent(eve, "who is not on the channel does not see it");
    say(ann, "PRIVMSG %s :who is left", channel);
    silent(ann, "it is on the channel");
    silent(bob, "it is not on the channel any more");
    say(ann, "NAMES %s", channel);
    expect_members(ann, channel, "bob has left", ann->nick, NULL);
    say(ann, "PART %s", channel);
    hear(ann, "one's own PART, without a text", ":%s PART %s ...", ann->nick, channel);
}

TEST(names, answers, "NAMES lists a channel's members; an unknown channel is 366 alone")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *one = a_channel(&r), *two = a_channel(&r), *none = a_channel(&r);
    struct user *ann = member_on(d, a_nick(&r), one), *bob = member_on(d, a_nick(&r), two);
    enter(bob, one);
    settle(ann);
    say(ann, "NAMES %s", one);
    expect_members(ann, one, "both are on it", ann->nick, bob->nick, NULL);
    say(ann, "NAMES %s", two);
    expect_members(ann, two, "also of a channel that one is not on", bob->nick, NULL);
    say(ann, "NAMES %s", none);
    hear(ann, "no 353 of a channel that there is not", "366 %s %s", ann->nick, none);
    say(ann, "NAMES");
    hear(ann, "NAMES without a parameter is 366 alone", "366 %s ?", ann->nick);
    say(ann, "NAMES ,%s,%s,,%s,", one, none, two);
    expect_members(ann, one, "the first of a list", ann->nick, bob->nick, NULL);
    hear(ann, "the second of a list", "366 %s %s", ann->nick, none);
    expect_members(ann, two, "the last of a list", bob->nick, NULL);
    silent(ann, "one answer for each");
    silent(bob, "the answers are for who asks");
}

TEST(join, list, "JOIN and PART take lists: each name has its own answer, an empty one none")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *one = a_channel(&r), *two = a_channel(&r), *three = a_channel(&r);
    struct user *ann = member_on(d, a_nick(&r), three), *u = member(d, a_nick(&r));
    say(u, "JOIN ,%s,,bad,%s, key,keys", one, two);
    hear(u, "the first of the list", ":%s JOIN %s", u->nick, one);
    expect_members(u, one, "who joins", u->nick, NULL);
    hear(u, "a name that is no channel's", "403 %s bad", u->nick);
    hear(u, "the last of the list", ":%s JOIN %s", u->nick, two);
    expect_members(u, two, "who joins", u->nick, NULL);
    silent(u, "one answer for each");
    say(u, "PART ,%s,,%s,bad,%s, :bye all", one, three, two);
    hear(u, "the first of the list", ":%s PART %s :bye all", u->nick, one);
    hear(u, "one that it is not on", "442 %s %s", u->nick, three);
    hear(u, "a name that is no channel's", "403 %s bad", u->nick);
    hear(u, "the last of the list", ":%s PART %s :bye all", u->nick, two);
    silent(u, "one answer for each");
    silent(ann, "its channel was not joined");
}
