/* How calcd ends, and both halves together. */
#include "harness/trace.h"
#include "suites/rpc/peer/rpc.h"

#include <signal.h>

/*
 * A signal when calcd has come to the beginning or end of a call of the system for the `stops`th
 * time, since a call of a client came. False: it went to sleep before that, or can't be held.
 */
static bool ended_in_a_call(struct random *r, int stops)
{
    enum { SLEEPS_MS = 100 };
    struct server s = calcd("");
    struct endpoint *e = connection(&s, "a client");
    struct wire call = call_null((uint32_t)random_u64(r));
    struct trace_stop stop;
    int passed = 0;
    expect_called(e, &call, NULL);
    wait_quiet(s.p, "calcd waits for the next call");
    bool held = trace_begin(s.p);
    record_send(e, &call);
    while (held && passed < stops && trace_next(&stop, SLEEPS_MS))
        passed++;
    program_signal(s.p, stops % 2 == 0 ? SIGTERM : SIGINT);
    if (held)
        trace_end();
    expect_status(s.p, 0,
                  text("%s ends calcd cleanly, also when it comes while a call is being answered",
                       stops % 2 == 0 ? "SIGTERM" : "SIGINT"));
    return held && passed == stops;
}

/* Lets calcd, which sleeps, go on with one more byte of a mark, for at most `most` instructions.
 * How many it were until it slept again; -1: it can't be held. */
static int instructions(const struct server *s, struct endpoint *e, int most)
{
    enum { SLEEPS_MS = 100 };
    int passed = 0;
    wait_quiet(s->p, "calcd waits for its client");
    if (!trace_begin(s->p))
        return -1;
    endpoint_send(e, "", 1);
    while (passed < most && trace_step(SLEEPS_MS))
        passed++;
    return passed;
}

/* The signal comes when calcd has looked for one, and is about to wait. */
static void ended_before_it_waits(void)
{
    enum { MOST = 100000, BEFORE = 2 };
    struct server s = calcd("");
    struct endpoint *e = connection(&s, "a client in the middle of a mark");
    endpoint_send(e, "", 1);
    int passed = instructions(&s, e, MOST);
    if (passed < 0)
        return;
    trace_end();
    instructions(&s, e, passed - BEFORE);
    program_signal(s.p, SIGTERM);
    trace_end();
    expect_status(s.p, 0,
                  "SIGTERM ends calcd cleanly, also when it comes after calcd's last look and just "
                  "before the call in which it waits (part 1: a signal while you wait)");
}

TEST(ends, signals, "SIGTERM and SIGINT end calcd with 0")
{
    enum { STOPS_MAX = 20 };
    struct random r = random_from_test();
    const int signals[] = {SIGTERM, SIGINT};
    for (int i = 0; i < 2; i++) {
        struct server s = calcd("");
        struct endpoint *e = connection(&s, "a client");
        struct wire call = call_null((uint32_t)random_u64(&r));
        expect_called(e, &call, NULL);
        struct endpoint *half = connection(&s, "a client in the middle of a call");
        send_word(half, mark(true, 40));
        wait_quiet(s.p, "calcd waits for its clients");
        program_signal(s.p, signals[i]);
        expect_status(s.p, 0, i == 0 ? "SIGTERM ends calcd cleanly" : "SIGINT ends calcd cleanly");
        endpoint_wait_end(e, "the connections are closed with calcd's end");
    }
    for (int stops = 1; stops <= STOPS_MAX && ended_in_a_call(&r, stops); stops++)
        ;
    ended_before_it_waits();
}

TEST(together, both, "calc calls calcd, over TCP and UDP")
{
    struct random r = random_from_test();
    struct server s = calcd("");
    int64_t total = 0;
    for (int i = 0; i < 2; i++) {
        const char *options = i == 0 ? "" : "-u ";
        int a = between(&r, 1, 1000), b = between(&r, 1, 1000);
        expect_printed(run("calc %s127.0.0.1 %d add %d %d", options, s.port, a, -b),
                       text("%d\n", a - b), "the sum");
        expect_printed(run("calc %s127.0.0.1 %d sum %d %d %d", options, s.port, a, b, a),
                       text("%d\n", 2 * a + b), "the sum of three");
        expect_failure(run("calc %s127.0.0.1 %d div %d 0", options, s.port, a),
                       "a division by zero");
        expect_printed(run("calc %s127.0.0.1 %d null", options, s.port), "", "null has no value");
        total_moves(s.port, &r, &total);
        total += a;
        expect_printed(run("calc %s127.0.0.1 %d acc %d", options, s.port, a),
                       text("%lld\n", (long long)total),
                       "the running total, to which another client has added before");
    }
    total_moves(s.port, &r, &total);
}
