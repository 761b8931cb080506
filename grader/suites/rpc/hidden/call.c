/* The port that calcd is told. */
#include "suites/rpc/peer/rpc.h"

static void expect_taken(int port, const char *why)
{
    struct program *p = run("calcd -p %d", port);
    expect_failure(p, why);
}

TEST(call, port, "-p PORT is the port, and one that somebody has is a failure")
{
    struct random r = random_from_test();
    struct endpoint *taken = net_listen(AF_INET, "a server of ours");
    expect_taken(endpoint_port(taken), "somebody listens at the port of calcd -p PORT over TCP");
    endpoint_close(taken);

    struct server s = calcd(text("-p %d", endpoint_port(taken)));
    EXPECT(s.port == endpoint_port(taken),
           text("listening on %d, as -p says", endpoint_port(taken)),
           text("listening on %d", s.port));
    struct wire call = call_null((uint32_t)random_u64(&r));
    expect_called(connection(&s, "a client"), &call, NULL);
    expect_answered(net_datagrams(AF_INET, "a client over UDP"), &s, &call, NULL);
    expect_taken(s.port, "another calcd has the port");

    taken = net_datagrams(AF_INET, "a socket of ours");
    expect_taken(endpoint_port(taken), "somebody has the port of calcd -p PORT over UDP");
    expect_alive(&s, "another calcd was to have its port");

    /* With -p 0 it needs one that is free for both: the first one turns out not to be. */
    int first;
    if (!calcd_without_port(&s, &first))
        return;
    EXPECT(s.port != first, "another port, when TCP and UDP can't both have the first one",
           text("listening on %d, which it has not got for both", first));
    call = call_null((uint32_t)random_u64(&r));
    expect_called(connection(&s, "a client"), &call, NULL);
    expect_answered(net_datagrams(AF_INET, "a client over UDP"), &s, &call, NULL);
}
