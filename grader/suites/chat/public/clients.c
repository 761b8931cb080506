/* Clients that go, and many at once. */
#include "suites/chat/peer/chat.h"

#include <signal.h>
#include <string.h>

TEST(crowd, many, "300 clients are on one channel, and each hears what one says")
{
    enum { MANY = 300 };
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *channel = a_channel(&r), *said = letters(&r, 20);
    static struct user *all[MANY];
    static const char *nicks[MANY];
    for (int i = 0; i < MANY; i++)
        nicks[i] = text("u%d", i);
    crowd_on(d, channel, MANY, nicks, all);
    say(all[MANY - 1], "PRIVMSG %s :%s", channel, said);
    for (int i = 0; i < MANY - 1; i++)
        hear(all[i], "what the last one says", ":u%d PRIVMSG %s :%s", MANY - 1, channel, said);
    silent(all[MANY - 1], "nobody hears what they have said themselves");
    silent(all[0], "once");

    /* All are told what one more does, too. */
    struct user *more = member(d, "more");
    enter(more, channel);
    say(more, "NICK other");
    say(more, "QUIT :%s", said);
    for (int i = 0; i < MANY; i++) {
        hear(all[i], "one more joins", ":more JOIN %s", channel);
        hear(all[i], "it has a new nick", ":more NICK other");
        hear(all[i], "it quits", ":other QUIT :%s", said);
    }
}

TEST(slow, half_a_line, "a client that has sent half a line holds nobody up")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    struct user *half = guest(d, "a client with half a line"), *mute = guest(d, "a silent client");
    say_bytes(half, "NICK ", 5);
    struct user *ann = member(d, a_nick(&r)), *bob = member(d, a_nick(&r));
    say(ann, "PRIVMSG %s :hello", bob->nick);
    hear(bob, "the others talk", ":%s PRIVMSG %s :hello", ann->nick, bob->nick);
    const char *nick = a_nick(&r);
    say(half, "%s", nick);
    say(half, "PING :whole");
    hear(half, "the other half has come", ":? PONG ? :whole");
    say(bob, "NICK %s", nick);
    hear(bob, "the whole line was served", "433 %s %s", bob->nick, nick);
    silent(mute, "a client may be silent for as long as it wants");
}

TEST(idle, quiet, "chatd sleeps while its clients are silent, or have half a line")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    expect_rest(d->p, "nobody is on");
    struct user *ann = member_on(d, a_nick(&r), "#c"), *bob = member_on(d, a_nick(&r), "#c");
    struct user *half = guest(d, "a client with half a line");
    say_bytes(half, "PING ", 5);
    settle(ann);
    expect_rest(d->p, "all clients are silent, and one has sent half a line");
    program_stop_and_continue(d->p);
    expect_rest(d->p, "all clients are silent, after it was stopped and continued");
    endpoint_close_input(bob->e);
    expect_end(bob, "its input has ended");
    endpoint_reset(half->e);
    expect_rest(d->p, "two clients have gone, and one is silent");
    hear(ann, "bob has gone", ":%s QUIT ...", bob->nick);
    silent(ann, "it is served");
}

TEST(ends, half_close, "the end of input is a QUIT behind the lines before it, which are answered")
{
    enum { LAST = 300 };
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *channel = a_channel(&r), *token = letters(&r, 10);
    struct user *ann = member_on(d, a_nick(&r), channel);
    struct user *bob = member_on(d, a_nick(&r), channel);
    settle(ann);
    const char *lines = "";
    for (int i = 0; i < LAST; i++)
        lines = text("%sPRIVMSG %s :last words %d %s\r\n", lines, channel, i, token);
    lines = text("%sPING :%s\r\nPRIVMSG %s :half a line", lines, token, channel);
    /* When it looks all is there, the end too, and more than one recv() may take. */
    program_stop(d->p);
    say_bytes(bob, lines, strlen(lines));
    endpoint_close_input(bob->e);
    program_signal(d->p, SIGCONT);
    for (int i = 0; i < LAST; i++)
        hear(ann, "what came before the end", ":%s PRIVMSG %s :last words %d %s", bob->nick,
             channel, i, token);
    hear(ann, "the end is a QUIT, a line without its newline is none", ":%s QUIT ...", bob->nick);
    hear(bob, "what came before the end is answered", ":? PONG ? :%s", token);
    expect_end(bob, "its input has ended");
    say(ann, "NAMES %s", channel);
    expect_members(ann, channel, "who has gone is on no channel", ann->nick, NULL);
}
