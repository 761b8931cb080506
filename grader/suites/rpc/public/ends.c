/* How calcd ends, and both halves together. */
#include "suites/rpc/peer/rpc.h"

#include <signal.h>

TEST(ends, signals, "SIGTERM and SIGINT end calcd with 0")
{
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
