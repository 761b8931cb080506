/* Clients that go, and too many of them. */
#include "suites/chat/peer/chat.h"

#include <signal.h>
#include <string.h>

TEST(ends, unread, "clients that go before they read harm nobody")
{
    enum { ROUNDS = 18, PINGS = 200 };
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *channel = a_channel(&r), *lines = "";
    struct user *ann = member_on(d, a_nick(&r), channel);
    for (int i = 0; i < PINGS; i++)
        lines = text("%sPING :%s\r\n", lines, letters(&r, 40));
    for (int i = 0; i < ROUNDS; i++) {
        struct user *u = member_on(d, a_nick(&r), channel);
        hear(ann, "one more joins", ":%s JOIN %s", u->nick, channel);
        if (i % 3 == 0) {
            /* It has read everything: an end comes, and a reset only for the first reply. */
            program_stop(d->p);
            say_bytes(u, lines, strlen(lines));
            endpoint_close(u->e);
            program_signal(d->p, SIGCONT);
        } else {
            endpoint_hold(u->e, true);
            endpoint_queue(u->e, lines, strlen(lines));
            say(ann, "PRIVMSG %s :are you there", channel);
            if (i % 3 == 1)
                endpoint_reset(u->e);
            else
                endpoint_close(u->e); /* what it has not read makes a reset of it */
        }
        hear(ann, "it has gone", ":%s QUIT ...", u->nick);
        silent(ann, "the others are served");
    }
}

static size_t descriptors_of(const struct chatd *d)
{
    return process_family_descriptors(program_pid(d->p));
}

static struct {
    const struct chatd *d;
    size_t count;
} wanted;

static bool has_few(void *context)
{
    (void)context;
    return descriptors_of(wanted.d) <= wanted.count;
}

enum way { RESET, CLOSE, CLOSE_INPUT, QUIT, WAYS };

static void go(struct user *u, enum way way)
{
    if (way == RESET)
        endpoint_reset(u->e);
    else if (way == CLOSE)
        endpoint_close(u->e);
    else if (way == CLOSE_INPUT)
        endpoint_close_input(u->e);
    else
        say(u, "QUIT");
}

TEST(crowd, come_and_go, "hundreds of clients that have gone leave no descriptor behind")
{
    enum { GROUP = 40, GROUPS = 10 };
    struct chatd *d = chatd_start();
    struct user *ann = member_on(d, "ann", "#c"), *u[GROUP];
    const char *nicks[GROUP];
    wanted.d = d;
    wanted.count = descriptors_of(d);
    for (int i = 0; i < GROUP; i++)
        nicks[i] = text("u%d", i);
    for (int group = 0; group < GROUPS; group++) {
        crowd_on(d, "#c", GROUP, nicks, u);
        endpoint_close(guest(d, "one that says nothing")->e);
        settle(ann);
        for (int i = 0; i < GROUP; i++)
            go(u[i], (enum way)(i % WAYS));
        for (int i = 0; i < GROUP; i++) {
            struct line l = next_line(ann, text("QUIT of each of %d clients", GROUP));
            EXPECT(line_matches(&l, ":? QUIT ..."), "QUIT of a client that has gone",
                   quoted(l.raw.at, l.raw.len, 100));
        }
        for (int i = 0; i < GROUP; i++)
            if (i % WAYS >= CLOSE_INPUT)
                endpoint_wait_end(u[i]->e, "chatd closes the connection of who has gone");
    }
    silent(ann, "it is served");
    if (!wait_until_or_stuck(has_few, NULL, "chatd closes what belongs to clients that have gone"))
        test_fail(text("chatd has %zu descriptors open, as many as before %d clients came and went",
                       wanted.count, GROUP * GROUPS),
                  text("%zu", descriptors_of(d)));
}

/* The processor's time of a server before a client came: one that spins never lets all sleep. */
static double seconds_before;

static bool is_answered(void *context)
{
    const struct user *u = context;
    return endpoint_total(u->e) > 0 || endpoint_ended(u->e) ||
           process_cpu_seconds(program_pid(u->chatd->p)) - seconds_before > 1;
}

/* One more that never registers, and asks for a PONG. */
static struct user *one_more(struct chatd *d)
{
    static const char ping[] = "PING :in\r\n";
    struct user *u = guest(d, "one that never registers");
    endpoint_queue(u->e, ping, strlen(ping));
    return u;
}

static bool was_refused(const struct user *u)
{
    return endpoint_total(u->e) > 0 || endpoint_ended(u->e);
}

/* Whether chatd takes it; else it waits, or has been refused. */
static bool gets_in(struct user *u)
{
    size_t len;
    seconds_before = process_cpu_seconds(program_pid(u->chatd->p));
    if (!wait_until_or_stuck(is_answered, u, "PONG") || !was_refused(u))
        return false;
    const char *at = endpoint_read_line(u->e, "PONG", &len);
    struct line l = at != NULL ? line_parse(at, len) : (struct line){0};
    return at != NULL && line_matches(&l, ":? PONG ? :in");
}

/* No descriptor is left and `out` has come; then `goes` goes, and there is room. Returns who is
 * served then: who was refused comes again. */
static struct user *room_again(struct user *out, struct user *goes, enum way way, const char *why)
{
    struct chatd *d = out->chatd;
    bool refused = was_refused(out);
    go(goes, way);
    if (way == QUIT) {
        expect_end(goes, "it has quit");
        endpoint_close(goes->e);
    }
    wait_rest(d->p, "chatd has done what it can do when a client has gone");
    if (refused) {
        out = one_more(d);
        EXPECT(gets_in(out), text("%s: who comes now is served", why), "no answer to PING");
    } else {
        hear(out, text("%s: who has waited is served", why), ":? PONG ? :in");
    }
    settle(out);
    return out;
}

TEST(crowd, descriptors, "out of descriptors chatd sleeps, serves who is on, and later others")
{
    enum { LIMIT = 40 };
    static const char *const full = "chatd sleeps while it has no descriptor for one more client";
    struct program *p = program_new("chatd");
    program_args(p, "-p", "0", NULL);
    program_limit_descriptors(p, LIMIT);
    struct chatd *d = chatd_start_as(p);
    struct user *in[LIMIT + 1], *out;
    int count = 0;
    /* Those who fill it never register: they are clients as any other. */
    harness_stuck_after(300);
    while (out = one_more(d), gets_in(out)) {
        EXPECT(count < LIMIT, text("at most %d clients with %d descriptors", LIMIT, LIMIT),
               "one more is served");
        in[count++] = out;
    }
    harness_stuck_after(1000);
    EXPECT(count >= LIMIT / 2, text("%d clients or more with %d descriptors", LIMIT / 2, LIMIT),
           text("only %d", count));
    wait_rest(p, full);
    register_as(in[0], "u0");
    register_as(in[1], "u1");
    say(in[0], "PRIVMSG u1 :hello");
    hear(in[1], "who is on is served", ":u0 PRIVMSG u1 :hello");
    wait_rest(p, full);

    /* However one goes, and whoever it was, there is room for another one. */
    room_again(out, in[2], RESET, "one that never registered was reset");
    out = one_more(d);
    wait_rest(p, full);
    room_again(out, in[3], CLOSE, "one that never registered has closed");
    out = one_more(d);
    wait_rest(p, full);
    out = room_again(out, in[0], QUIT, "one has quit");
    for (int i = 4; i < count; i++)
        settle(in[i]);
    register_as(out, "u2");
    say(in[1], "PRIVMSG u2 :welcome");
    hear(out, "it is served as any other", ":u1 PRIVMSG u2 :welcome");
}

TEST(ends, reset, "a client whose connection is reset has quit, and nobody else is harmed")
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    const char *channel = a_channel(&r);
    struct user *ann = member_on(d, a_nick(&r), channel);
    struct user *bob = member_on(d, a_nick(&r), channel);
    settle(ann);
    endpoint_reset(bob->e);
    hear(ann, "the reset is a QUIT", ":%s QUIT ...", bob->nick);
    say(ann, "PRIVMSG %s :gone", bob->nick);
    hear(ann, "who has gone is not there", "401 %s %s", ann->nick, bob->nick);
    silent(member(d, bob->nick), "its nick is free");
    program_stop(d->p);
    endpoint_reset(guest(d, "one that is gone before it is accepted")->e);
    program_signal(d->p, SIGCONT);
    silent(ann, "the others are served");
}
