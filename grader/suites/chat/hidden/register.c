/* Registration, nicks, PING: the rest. */
#include "suites/chat/peer/chat.h"

#include <string.h>

TEST(register, parameters, "missing parameters are 461, an empty one is missing for JOIN and PART")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *nick = a_nick(&r), *channel = a_channel(&r);
    struct user *u = guest(d, nick);
    const char *const users[] = {"USER", "USER u", "USER u 0", "USER u 0 *"};
    for (size_t i = 0; i < sizeof users / sizeof users[0]; i++) {
        say(u, "%s", users[i]);
        hear(u, "USER has four parameters", "461 * USER");
    }
    say(u, "NICK %s", nick);
    u->nick = nick;
    silent(u, "a USER that was refused does not register");
    say(u, "USER u 0 * Real Name");
    hear_welcome(u, "a fifth parameter is ignored");
    say(u, "NICK %s2 more", nick);
    hear(u, "a second parameter is ignored", ":%s NICK %s2", nick, nick);
    u->nick = text("%s2", nick);
    say(u, "PING one two");
    hear(u, "a second parameter is ignored", ":? PONG ? :one");
    const char *const lines[] = {"JOIN", "JOIN :", "PART", "PART :"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        say(u, "%s", lines[i]);
        hear(u, text("'%s' lacks its channel", lines[i]), "461 %s %.4s", u->nick, lines[i]);
    }
    silent(u, "one answer for each");
    enter(u, channel);
    say(u, "PART :");
    hear(u, "'PART :' lacks its channel", "461 %s PART", u->nick);
    say(u, "PART %s", channel);
    hear(u, "it was still on it", ":%s PART %s ...", u->nick, channel);
}

TEST(register, hidden, "who has a nick and is not registered gets no messages")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *nick = a_nick(&r);
    struct user *ann = member(d, a_nick(&r)), *u = guest(d, nick);
    say(u, "NICK %s", nick);
    u->nick = nick;
    silent(u, "NICK alone does not register");
    say(ann, "PRIVMSG %s :too early", nick);
    hear(ann, "nobody of that nick is registered", "401 %s %s", ann->nick, nick);
    silent(u, "not registered yet");
    say(u, "USER u 0 * :Real Name");
    struct line l;
    do
        l = next_line(u, "the welcome");
    while (!is_numeric(&l, 422));
    say(ann, "PRIVMSG %s :in time", nick);
    hear(u, "registered by now", ":%s PRIVMSG %s :in time", ann->nick, nick);
}

TEST(nick, free_again, "a nick is free when its client is off, or has another one")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *nick = a_nick(&r), *second = a_nick(&r);
    struct user *ann = member(d, nick), *bob = member(d, a_nick(&r));
    say(bob, "NICK %s", nick);
    hear(bob, "the nick of another client", "433 %s %s", bob->nick, nick);
    say(ann, "NICK %s", second);
    hear(ann, "its own change", ":%s NICK %s", nick, second);
    ann->nick = second;
    say(bob, "NICK %s", nick);
    hear(bob, "the one who had the nick has changed it", ":%s NICK %s", bob->nick, nick);
    bob->nick = nick;
    say(ann, "QUIT");
    expect_end(ann, "it has quit");
    say(bob, "NICK %s", second);
    hear(bob, "the one who had the nick has quit", ":%s NICK %s", nick, second);
    bob->nick = second;

    /* One that is not registered lets go of its nick, too. */
    struct user *early = guest(d, "a client");
    say(early, "NICK %s", nick);
    say(early, "NICK %s2", nick);
    settle(early);
    say(bob, "NICK %s", nick);
    hear(bob, "the one who had the nick has changed it", ":%s NICK %s", second, nick);
    bob->nick = nick;
    say(bob, "NICK %s2", nick);
    hear(bob, "the other client has that nick now", "433 %s %s2", nick, nick);
}

TEST(register, unknown, "a command that there is not is 421, registered or not")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *made_up = letters(&r, 7);
    struct user *u = guest(d, "a client");
    say(u, "CAP LS 302");
    hear(u, "chatd does not know CAP", "421 * CAP");
    say(u, "%s", made_up);
    hear(u, "before registration", "421 * %s", made_up);
    register_as(u, a_nick(&r));
    const char *const commands[] = {"MODE", "WHO", "TOPIC", "JOINS", "PIN", made_up};
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        say(u, "%s #c", commands[i]);
        hear(u, "after registration", "421 %s %s", u->nick, commands[i]);
    }
    silent(u, "one answer for each");
}

TEST(register, user_first, "USER may come before NICK")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *nick = a_nick(&r);
    struct user *u = guest(d, nick);
    say(u, "USER %s 0 * :Real Name", letters(&r, 6));
    silent(u, "USER alone does not register");
    say(u, "NICK %s", nick);
    u->nick = nick;
    hear_welcome(u, "registered");
}

TEST(nick, missing, "NICK without a nick is 431")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    struct user *u = guest(d, "a client");
    say(u, "NICK");
    hear(u, "NICK without a parameter", "431 *");
    say(u, "NICK :");
    hear(u, "NICK with an empty parameter", "431 *");
    const char *nick = a_nick(&r);
    say(u, "NICK %s", nick);
    u->nick = nick;
    say(u, "NICK");
    hear(u, "NICK without a parameter, before USER", "431 %s", nick);
    say(u, "NICK 9bad");
    hear(u, "a nick that is not allowed, before USER", "432 %s 9bad", nick);
    say(u, "USER u 0 * :Real Name");
    hear_welcome(u, "a NICK that is refused leaves the nick that the client has");
    say(u, "NICK");
    hear(u, "NICK without a parameter, registered", "431 %s", u->nick);
    silent(u, "one answer for each");
}

TEST(register, twice, "a second USER is 462, one with too few parameters 461")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *nick = a_nick(&r);
    struct user *u = guest(d, nick);
    say(u, "USER one 0 * :Real Name");
    silent(u, "USER alone does not register");
    say(u, "USER two 0 * :Other Name");
    hear(u, "a second USER before NICK", "462 *");
    say(u, "USER two");
    hear(u, "too few parameters", "461 * USER");
    say(u, "NICK %s", nick);
    u->nick = nick;
    struct line l;
    do
        l = next_line(u, "the welcome: the first USER counts");
    while (!is_numeric(&l, 422));
    say(u, "USER three 0 * :Real Name");
    hear(u, "a second USER after registration", "462 %s", nick);
    say(u, "USER three 0");
    hear(u, "too few parameters", "461 %s USER", nick);
    silent(u, "one answer for each");
}

TEST(nick, own, "NICK with one's own nick does nothing, in another case it is a change of spelling")
{
    struct chatd *d = chatd_start();
    struct user *early = guest(d, "early");
    say(early, "NICK early\r\nNICK early\r\nNICK EARLY");
    early->nick = "early";
    silent(early, "before registration NICK may come again: it has that nick already");
    say(early, "USER u 0 * :Real Name");
    hear_welcome(early, "one's own nick is not taken");
    struct user *ann = member_on(d, "ann", "#c"), *bob = member_on(d, "bob", "#c");
    hear(ann, "bob joins", ":bob JOIN #c");
    say(ann, "NICK ann");
    silent(ann, "that is its nick already");
    silent(bob, "nothing has changed");
    say(ann, "NICK AnN");
    struct line l = hear_line(ann, "one's own nick in another case", ":ann NICK AnN");
    EXPECT(strcmp(l.parameter[0].at, "AnN") == 0, "the nick 'AnN' in its new spelling",
           quoted(l.raw.at, l.raw.len, 100));
    hear(bob, "who shares a channel is told", ":ann NICK AnN");
    say(bob, "PRIVMSG aNn :hello");
    hear(ann, "it is the same nick", ":bob PRIVMSG ann :hello");
    say(ann, "PRIVMSG BOB :Hello");
    l = hear_line(bob, "a message", ":ann PRIVMSG bob :Hello");
    EXPECT(strcmp(l.nick, "AnN") == 0, "the nick 'AnN' in the prefix as it was made",
           quoted(l.raw.at, l.raw.len, 100));
    say(bob, "NAMES #c");
    l = hear_line(bob, "NAMES", "353 bob = #c");
    EXPECT(strstr(l.raw.at, "AnN") != NULL && strstr(l.raw.at, "bob") != NULL,
           "the nicks 'AnN' and 'bob' as they were made", quoted(l.raw.at, l.raw.len, 100));
}
