/* The first call: a daemon, its port, NULL. */
#include "suites/rpc/peer/rpc.h"

TEST(call, listening, "calcd tells its port and serves every address of its machine")
{
    struct server s = calcd("");
    struct random r = random_from_test();
    struct endpoint *e = connection(&s, "a client of 127.0.0.1");
    struct wire call = call_null((uint32_t)random_u64(&r));
    expect_called(e, &call, NULL);
    connection_elsewhere(&s);
    expect_still_running(s.p, "calcd goes on serving");
}

TEST(call, reply, "every byte of the reply to a NULL call, of several on one connection")
{
    struct random r = random_from_test();
    const uint32_t xids[] = {(uint32_t)random_u64(&r), 0, 0xFFFFFFFFu, (uint32_t)random_u64(&r)};
    struct server s = calcd("-p 0");
    struct endpoint *e = connection(&s, "a client");
    for (size_t i = 0; i < sizeof xids / sizeof *xids; i++) {
        struct wire call = call_null(xids[i]);
        expect_called(e, &call, NULL);
    }
    wait_quiet(s.p, "calcd waits for the next call");
    expect_nothing(e, "one reply to each call");
    EXPECT(!endpoint_ended(e), "the connection stays open for more calls", "calcd has closed it");
}
