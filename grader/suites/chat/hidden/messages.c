/* Messages: refusals, texts, order, the prefix. */
#include "suites/chat/peer/chat.h"

#include <string.h>

TEST(message, not_on, "a message to a channel that one is not on is 404, and nobody gets it")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *channel = a_channel(&r);
    struct user *ann = member_on(d, a_nick(&r), channel), *bob = member(d, a_nick(&r));
    say(bob, "PRIVMSG %s :from outside", channel);
    hear(bob, "not on that channel", "404 %s %s", bob->nick, channel);
    say(bob, "NOTICE %s :from outside", channel);
    silent(bob, "NOTICE has no error");
    silent(ann, "who is not on a channel does not speak on it");
    enter(bob, channel);
    hear(ann, "bob joins", ":%s JOIN %s", bob->nick, channel);
    say(bob, "PRIVMSG %s :from inside", channel);
    hear(ann, "from a member", ":%s PRIVMSG %s :from inside", bob->nick, channel);
    say(bob, "PART %s", channel);
    say(bob, "PRIVMSG %s :from outside again", channel);
    hear(bob, "one's own PART", ":%s PART %s ...", bob->nick, channel);
    hear(bob, "not on that channel any more", "404 %s %s", bob->nick, channel);
    hear(ann, "bob leaves", ":%s PART %s ...", bob->nick, channel);
    silent(ann, "who is not on a channel does not speak on it");
}

TEST(message, one_target, "a message has one target and one text")
{
    enum { WORDS = 200 };
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    struct user *ann = member(d, a_nick(&r)), *bob = member(d, a_nick(&r));
    struct user *carl = member(d, a_nick(&r));
    say(ann, "PRIVMSG %s,%s :to both", bob->nick, carl->nick);
    hear(ann, "nobody has a nick with a comma", "401 %s %s,%s", ann->nick, bob->nick, carl->nick);
    silent(bob, "it is not its nick");
    silent(carl, "it is not its nick");
    say(ann, "PRIVMSG %s one two three", bob->nick);
    hear(bob, "the second parameter is the text", ":%s PRIVMSG %s :one", ann->nick, bob->nick);
    const char *words = "";
    for (int i = 0; i < WORDS; i++)
        words = text("%s x", words);
    say(ann, "PRIVMSG %s%s", bob->nick, words);
    hear(bob, text("the first of %d words", WORDS), ":%s PRIVMSG %s :x", ann->nick, bob->nick);
    silent(ann, "further parameters are ignored");
}

TEST(message, last_parameter,
     "a text keeps its colons and blanks; a colon before one word means nothing")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    struct user *ann = member(d, a_nick(&r)), *bob = member(d, a_nick(&r));
    const char *word = letters(&r, 8);
    const char *const texts[] = {":",     "::)",  " leading", "trailing  ", "a  b   c", " ",
                                 ":a :b", "word", "/quit",    "#c",         ",",        "%s%n%d"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        say(ann, "PRIVMSG %s :%s", bob->nick, texts[i]);
        hear_bytes(bob, "the text as it was sent", ann->nick, bob->nick, texts[i],
                   strlen(texts[i]));
    }
    say(ann, "PRIVMSG   %s   %s", bob->nick, word);
    hear(bob, "a text without a colon", ":%s PRIVMSG %s :%s", ann->nick, bob->nick, word);
    say(ann, "PRIVMSG %s %s:%s", bob->nick, word, word);
    hear(bob, "a colon inside a word", ":%s PRIVMSG %s :%s:%s", ann->nick, bob->nick, word, word);

    /* Whatever the last parameter is. */
    const char *channel = a_channel(&r), *nick = a_nick(&r);
    say(ann, "JOIN :%s", channel);
    hear(ann, "a channel behind a colon", ":%s JOIN %s", ann->nick, channel);
    expect_members(ann, channel, "who joins", ann->nick, NULL);
    say(ann, "NAMES :%s", channel);
    expect_members(ann, channel, "a channel behind a colon", ann->nick, NULL);
    say(ann, "PART :%s", channel);
    hear(ann, "a channel behind a colon", ":%s PART %s ...", ann->nick, channel);
    say(ann, "NICK :%s", nick);
    hear(ann, "a nick behind a colon", ":%s NICK %s", ann->nick, nick);
}

TEST(message, prefix, "a prefix is nick!user@host, whatever USER says; its user has 10 bytes")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    struct user *reader = member(d, a_nick(&r));
    const char *const names[] = {"a!b@c", "x@y!z", letters(&r, 300), "u:v", "exactly_10"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *nick = a_nick(&r), *said = letters(&r, 350);
        struct user *u = guest(d, nick);
        say(u, "USER %s 0 * :Real Name", names[i]);
        say(u, "NICK %s", nick);
        u->nick = nick;
        settle(u);
        say(u, "PRIVMSG %s :%s", reader->nick, said);
        struct line l = hear_line(reader, "a text that fits behind a user of 10 bytes is not cut",
                                  text(":%s PRIVMSG %s :%s", nick, reader->nick, said));
        expect_full_prefix(&l, text("USER %.20s", names[i]));
        EXPECT(strlen(l.user) <= USER_MAX, "a user of at most 10 bytes in the prefix",
               quoted(l.raw.at, l.raw.len, 100));
    }
}

TEST(message, missing, "PRIVMSG without a target is 411, without a text 412")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *channel = a_channel(&r);
    struct user *ann = member(d, a_nick(&r)), *bob = member_on(d, a_nick(&r), channel);
    say(ann, "PRIVMSG");
    hear(ann, "no target", "411 %s", ann->nick);
    say(ann, "PRIVMSG :");
    hear(ann, "an empty target", "411 %s", ann->nick);
    say(ann, "PRIVMSG %s", bob->nick);
    hear(ann, "no text", "412 %s", ann->nick);
    say(ann, "PRIVMSG %s :", bob->nick);
    hear(ann, "an empty text", "412 %s", ann->nick);
    silent(bob, "nothing was sent");
    /* The text is looked for before anybody asks who the target is. */
    const char *const targets[] = {a_nick(&r), a_channel(&r), channel};
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        say(ann, "PRIVMSG %s", targets[i]);
        hear(ann, "no text, whoever the target is", "412 %s", ann->nick);
    }
    say(ann, "PRIVMSG %s :from outside", channel);
    hear(ann, "there is a text, and ann is not on that channel", "404 %s %s", ann->nick, channel);
    say(ann, "PRIVMSG %s x", bob->nick);
    hear(bob, "a text of one letter", ":%s PRIVMSG %s :x", ann->nick, bob->nick);
    silent(ann, "a message that is delivered has no answer");
}

TEST(notice, delivers, "NOTICE goes where PRIVMSG goes, and is never answered by an error")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *channel = a_channel(&r), *said = letters(&r, 12);
    struct user *ann = member_on(d, a_nick(&r), channel);
    struct user *bob = member_on(d, a_nick(&r), channel);
    settle(ann);
    const char *const lines[] = {
        "NOTICE",          "NOTICE :",     "NOTICE nobody9", "NOTICE nobody9 :x",
        "NOTICE #none :x", "NOTICE #none", "NOTICE a,b :x"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        say(ann, "%s", lines[i]);
        silent(ann, text("'%s' has no answer", lines[i]));
    }
    say(ann, "NOTICE %s :", bob->nick);
    silent(bob, "an empty notice is not delivered");
    say(ann, "NOTICE %s :%s to all", channel, said);
    hear(bob, "a notice to a channel", ":%s NOTICE %s :%s to all", ann->nick, channel, said);
    say(ann, "NOTICE %s :%s for bob", bob->nick, said);
    hear(bob, "a notice to a nick", ":%s NOTICE %s :%s for bob", ann->nick, bob->nick, said);
    silent(ann, "who sends hears nothing");
    say(ann, "NOTICE %s :%s for me", ann->nick, said);
    hear(ann, "a notice to one's own nick", ":%s NOTICE %s :%s for me", ann->nick, ann->nick, said);
}
