/*
 * Clients that do not read: what chatd has for them fills the kernel's buffers, then waits in its
 * own memory. How large the former are is the system's matter: it is read in /proc/net/tcp. They
 * are small where something has to wait: so a send() of much of it takes a part, again and again.
 */
#include "suites/chat/peer/chat.h"

#include <signal.h>
#include <string.h>

enum {
    LINES = 128, /* in one go, some 64 KiB: less than what chatd may keep for one that reads */
    TEXT = 400,
    STEPS = 32,
    A_LITTLE = 1 << 10,
    ENOUGH = 64 << 10,        /* surely in the memory of chatd */
    UNKNOWN_MOST = 700 << 10, /* where the kernel does not tell: nobody is dropped for that */
    TOO_MUCH = 3 << 20,       /* chatd keeps 1 MiB at most */
    MOST = 64 << 20,
    MOST_KB = 8 << 10,
};

/* A channel with one who talks, one who listens, and one who does not read. */
struct scene {
    struct chatd *d;
    const char *channel, *filler;
    struct user *talks, *listens, *deaf;
    int said;        /* lines so far */
    long owed;       /* bytes of them, as they come for `listens` and for `deaf` */
    bool deaf_quits; /* was told to `listens` */
};

static struct scene scene_make(struct random *r)
{
    struct scene s = {.d = chatd_start(), .channel = a_channel(r), .filler = letters(r, TEXT)};
    s.deaf = narrow_member_on(s.d, a_nick(r), s.channel);
    /* Behind the one who does not read stands the one whose lines are looked at: whoever takes the
     * first out of the list while it sends a line skips the second. */
    s.listens = member_on(s.d, a_nick(r), s.channel);
    s.talks = member_on(s.d, a_nick(r), s.channel);
    settle(s.deaf);
    settle(s.listens);
    endpoint_hold(s.deaf->e, true);
    return s;
}

/* One of the lines, as its parts or as the end of its bytes. */
static const char *line_of(const struct scene *s, const char *target, int number)
{
    return text("PRIVMSG %s :%d %s", target, number, s->filler);
}

/* Line `number` comes for `u`; `quits` of who does not read may come before. Returns its bytes. */
static long expect_line(struct scene *s, struct user *u, const char *target, int number,
                        bool *quits)
{
    const char *why = text("line %d of those that are said: who reads gets each, in their order",
                           number),
               *end = line_of(s, target, number);
    for (;;) {
        struct bytes raw;
        if (hear_end(u, why, end, &raw) &&
            strncmp(raw.at, text(":%s!", s->talks->nick), strlen(s->talks->nick) + 2) == 0)
            return (long)raw.len + 1;
        struct line l = line_parse(raw.at, raw.len);
        if (quits != NULL && !*quits && line_matches(&l, text(":%s QUIT ...", s->deaf->nick))) {
            *quits = true;
            continue;
        }
        EXPECT(line_matches(&l, text(":%s %s", s->talks->nick, end)), why,
               quoted(raw.at, raw.len, 100));
        return (long)raw.len + 1;
    }
}

static void queue_line(struct scene *s, const char *target, int number)
{
    const char *line = text("%s\r\n", line_of(s, target, number));
    endpoint_queue(s->talks->e, line, strlen(line));
}

/* So many lines more are said, and heard by who listens. */
static void say_lines(struct scene *s, int lines)
{
    for (int i = 0; i < lines; i++)
        queue_line(s, s->channel, s->said + i);
    for (int i = 0; i < lines; i++)
        s->owed += expect_line(s, s->listens, s->channel, s->said++, &s->deaf_quits);
}

static void talk(struct scene *s)
{
    say_lines(s, LINES);
}

/* LINES lines more are said to the one who does not read alone, and one to who listens. */
static void talk_in_private(struct scene *s)
{
    for (int i = 0; i < LINES; i++)
        queue_line(s, s->deaf->nick, s->said);
    queue_line(s, s->listens->nick, s->said);
    long len = expect_line(s, s->listens, s->listens->nick, s->said++, &s->deaf_quits);
    s->owed += LINES * (len + (long)strlen(s->deaf->nick) - (long)strlen(s->listens->nick));
}

/* Whether more than `most` of `owed` bytes for `u` are in no kernel: chatd itself keeps them. */
static bool keeps_more(const struct chatd *d, const struct user *u, long owed, long most)
{
    long kernel = in_the_kernel(u);
    if (kernel < 0 || owed - kernel <= most)
        return false;
    wait_rest(d->p, "chatd sleeps when it has done what it can do");
    return owed - in_the_kernel(u) > most;
}

/* Whether chatd surely keeps something for `u`, and not so much that it may drop it. */
static bool something_waits(const struct chatd *d, const struct user *u, long owed)
{
    return in_the_kernel(u) < 0 ? owed > UNKNOWN_MOST : keeps_more(d, u, owed, ENOUGH);
}

static void talk_until_something_waits(struct scene *s)
{
    do
        talk(s);
    while (!something_waits(s->d, s->deaf, s->owed) && s->owed < MOST && !s->deaf_quits);
    EXPECT(!s->deaf_quits, "a client that does not read is kept while less than 1 MiB waits for it",
           "its QUIT");
}

TEST(slow, others, "who does not read holds nobody up, and gets everything when it reads again")
{
    struct random r = random_from_test();
    struct scene s = scene_make(&r);
    talk_until_something_waits(&s);
    expect_rest(s.d->p, "a client does not read, and nobody talks");
    say(s.listens, "PRIVMSG %s :are you there", s.talks->nick);
    hear(s.talks, "the others are served", ":%s PRIVMSG %s :are you there", s.listens->nick,
         s.talks->nick);

    /* It reads a little, again and again: for the next line there is room in chatd's system, though
     * others wait before it, and mostly chatd was not told of the room. */
    for (int i = 0; i < STEPS; i++) {
        endpoint_let_in(s.deaf->e, A_LITTLE);
        say_lines(&s, 1);
    }
    expect_rest(s.d->p, "a client has read a little");

    endpoint_hold(s.deaf->e, false);
    for (int i = 0; i < s.said; i++)
        expect_line(&s, s.deaf, s.channel, i, NULL);
    silent(s.deaf, "it reads and is served again");
    say(s.deaf, "PRIVMSG %s :back", s.channel);
    hear(s.listens, "who reads again is a member as before", ":%s PRIVMSG %s :back", s.deaf->nick,
         s.channel);
    settle(s.talks);

    /* The end of a server does not wait for anybody. (Another one: for who has read fast, its
     * system has made much room.) */
    struct scene last = scene_make(&r);
    talk_until_something_waits(&last);
    program_signal(last.d->p, SIGTERM);
    expect_status(last.d->p, 0,
                  "SIGTERM ends a server, whatever waits for a client that does not read");
}

/* More and more is said, until others see QUIT of who does not read. */
static void talk_until_dropped(struct scene *s, void (*talk_more)(struct scene *))
{
    long before = process_family_peak_kb(program_pid(s->d->p));
    do
        talk_more(s);
    while (!s->deaf_quits && s->owed < MOST && !keeps_more(s->d, s->deaf, s->owed, TOO_MUCH));
    EXPECT(s->deaf_quits, "QUIT of the client that does not read, once 1 MiB waits for it",
           text("%ld KiB were sent to it, the kernel has %ld KiB of them, and no QUIT has come",
                s->owed >> 10, in_the_kernel(s->deaf) >> 10));
    long after = process_family_peak_kb(program_pid(s->d->p));
    EXPECT(after - before <= MOST_KB, "chatd keeps at most 1 MiB for a client that does not read",
           text("its memory grew by %ld KiB", after - before));
}

TEST(slow, dropped, "a client that never reads is dropped, and little is kept for it")
{
    struct random r = random_from_test();
    struct scene s = scene_make(&r);
    talk_until_dropped(&s, talk);
    hear(s.talks, "all others are told", ":%s QUIT ...", s.deaf->nick);
    talk(&s);
    say(s.talks, "NAMES %s", s.channel);
    expect_members(s.talks, s.channel, "who was dropped is on no channel", s.talks->nick,
                   s.listens->nick, NULL);
    silent(s.listens, "a QUIT is told once");
    endpoint_discard(s.deaf->e);
    endpoint_hold(s.deaf->e, false);
    endpoint_wait_end(s.deaf->e, "the connection of a client that is dropped is closed");

    /* Whoever comes next has nothing of that one, be it in the same place of a table. */
    struct user *next = guest(s.d, s.deaf->nick);
    say(next, "NICK %s", s.deaf->nick);
    say(next, "USER u 0 * :Real Name");
    next->nick = s.deaf->nick;
    hear_welcome(next, "the nick of who was dropped is free, and what waited for that one is gone");
    enter(next, s.channel);
    hear(s.listens, "it joins", ":%s JOIN %s", next->nick, s.channel);
}

TEST(slow, private, "a client that never reads what is said to it alone is dropped, too")
{
    struct random r = random_from_test();
    struct scene s = scene_make(&r);
    talk_until_dropped(&s, talk_in_private);
}

/* One that asks for much and has not read it; all that it has said was served. Returns how often.
 */
static int asks_much(struct chatd *d, struct user *u, struct user *ann, const char *channel,
                     const char *token)
{
    enum { PINGS = 200 };
    say(u, "PING :%s", token);
    struct line l = next_line(u, "PONG");
    int asked = 0;
    endpoint_hold(u->e, true);
    const char *ping = text("PING :%s\r\n", token);
    do {
        for (int i = 0; i < PINGS; i++)
            endpoint_queue(u->e, ping, strlen(ping));
        asked += PINGS;
        say(u, "PRIVMSG %s :%d", channel, asked);
        hear(ann, "all that was asked before has been read", ":%s PRIVMSG %s :%d", u->nick, channel,
             asked);
    } while (!something_waits(d, u, asked * (long)(l.raw.len + 2)) &&
             asked * (long)l.raw.len < MOST);
    return asked;
}

/* All of them come now, and then the end. */
static void expect_answers(struct user *late, int asked, const char *token, const char *why)
{
    endpoint_hold(late->e, false);
    for (int i = 0; i < asked; i++) {
        struct bytes raw;
        EXPECT(hear_end(late, text("PONG for each of %d PINGs: %s", asked, why), token, &raw),
               text("PONG for each of %d PINGs: %s", asked, why), quoted(raw.at, raw.len, 100));
    }
    expect_end(late, why);
}

TEST(ends, late_reader, "replies go out although the client has ended its side and reads later")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *token = letters(&r, TEXT), *channel = a_channel(&r);
    struct user *ann = member_on(d, a_nick(&r), channel);
    struct user *late = narrow_member_on(d, a_nick(&r), channel);
    settle(ann);
    int asked = asks_much(d, late, ann, channel, token);
    endpoint_close_input(late->e);
    hear(ann, "its end is a QUIT", ":%s QUIT ...", late->nick);
    expect_rest(d->p, "a client has ended its side and does not read");
    expect_answers(late, asked, token, "its input has ended, and all was answered");
}
