/* Messages: PRIVMSG and NOTICE. */
#include "suites/chat/peer/chat.h"

#include <string.h>

TEST(message, channel, "a message to a channel goes to all its other members, once")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *channel = a_channel(&r), *said = letters(&r, 12);
    struct user *ann = member_on(d, a_nick(&r), channel), *eve = member(d, a_nick(&r));
    struct user *bob = member_on(d, a_nick(&r), channel);
    struct user *carl = member_on(d, a_nick(&r), channel);
    enter(eve, "#elsewhere");
    settle(ann);
    settle(bob);
    say(ann, "PRIVMSG %s :%s to all", channel, said);
    struct line l = hear_line(bob, "what ann says",
                              text(":%s PRIVMSG %s :%s to all", ann->nick, channel, said));
    expect_full_prefix(&l, "who says it");
    hear(carl, "what ann says", ":%s PRIVMSG %s :%s to all", ann->nick, channel, said);
    silent(ann, "nobody hears what they have said themselves");
    silent(bob, "once");
    silent(carl, "once");
    silent(eve, "on another channel");
}

TEST(message, private, "a message to a nick goes to this one alone, to one's own comes back")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *channel = a_channel(&r), *said = letters(&r, 12);
    struct user *ann = member_on(d, a_nick(&r), channel);
    struct user *bob = member_on(d, a_nick(&r), channel);
    struct user *carl = member_on(d, a_nick(&r), channel);
    settle(ann);
    settle(bob);
    say(ann, "PRIVMSG %s :%s for bob", bob->nick, said);
    struct line l = hear_line(bob, "a private message",
                              text(":%s PRIVMSG %s :%s for bob", ann->nick, bob->nick, said));
    expect_full_prefix(&l, "who says it");
    silent(bob, "once");
    silent(carl, "it was for another one");
    silent(ann, "who sends hears nothing");
    say(ann, "PRIVMSG %s :%s for me", ann->nick, said);
    hear(ann, "to one's own nick", ":%s PRIVMSG %s :%s for me", ann->nick, ann->nick, said);
    silent(ann, "once");
}

TEST(message, unknown, "a message to a nick or a channel that there is not is 401")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *nobody = a_nick(&r), *none = a_channel(&r);
    const char *channel = a_channel(&r);
    struct user *ann = member(d, a_nick(&r)), *bob = member_on(d, a_nick(&r), channel);
    say(ann, "PRIVMSG %s :hello", nobody);
    hear(ann, "nobody has that nick", "401 %s %s", ann->nick, nobody);
    say(ann, "PRIVMSG %s :hello", none);
    hear(ann, "there is no such channel", "401 %s %s", ann->nick, none);
    const char *const names[] = {bob->nick, channel};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *longer = text("%sx", names[i]);
        const char *shorter = text("%.*s", (int)strlen(names[i]) - 1, names[i]);
        say(ann, "PRIVMSG %s :hello", longer);
        hear(ann, text("there is %s, which is another name", names[i]), "401 %s %s", ann->nick,
             longer);
        say(ann, "PRIVMSG %s :hello", shorter);
        hear(ann, text("there is %s, which is another name", names[i]), "401 %s %s", ann->nick,
             shorter);
    }
    say(ann, "PRIVMSG %s :hello", bob->nick);
    hear(bob, "a nick that there is", ":%s PRIVMSG %s :hello", ann->nick, bob->nick);
    silent(ann, "a message that is delivered has no answer");
}
