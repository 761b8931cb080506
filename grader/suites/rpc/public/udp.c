/* Datagrams: calls over UDP, executed at most once. */
#include "suites/rpc/peer/rpc.h"

TEST(udp, call, "calls over UDP at the port that calcd has told, without record marks")
{
    struct random r = random_from_test();
    struct server s = calcd("");
    struct endpoint *e = net_datagrams(AF_INET, "a client over UDP");
    struct wire call = call_null((uint32_t)random_u64(&r));
    expect_answered(e, &s, &call, NULL);
    for (enum procedure p = ADD; p <= DIV; p++) {
        call = call_two((uint32_t)random_u64(&r), p, between(&r, -1000, 1000), between(&r, 0, 50));
        expect_answered(e, &s, &call, NULL);
    }
    call = call_null((uint32_t)random_u64(&r));
    expect_called(connection(&s, "a client over TCP"), &call, NULL);
    EXPECT(net_receive_now(e) == NULL, "one reply to each call", "another datagram has come");
}

TEST(once, repeated, "a call that comes again is answered from memory, and not executed again")
{
    enum { AGAIN = 5 };
    struct random r = random_from_test();
    struct server s = calcd("");
    struct endpoint *e = net_datagrams(AF_INET, "a client over UDP");
    int64_t total = 0;
    struct wire first = call_accumulate((uint32_t)random_u64(&r), between(&r, 1, 1000));
    struct wire second = call_accumulate(get_u32(first.bytes) + 1, between(&r, 1, 1000)), want;
    expect_answered(e, &s, &first, &total);
    answer_to(first.bytes, first.len, &(int64_t){0}, &want);
    for (int i = 0; i < AGAIN; i++) {
        net_send_to(e, s.port, first.bytes, first.len);
        struct wire got = wire_of(net_receive(e, "the reply to a call that comes again"));
        expect_reply(&got, &want, "the same reply as before to a call that comes again");
        if (i == AGAIN / 2)
            expect_answered(e, &s, &second, &total);
    }
    struct wire look = call_accumulate(get_u32(first.bytes) + 2, 0);
    expect_answered(e, &s, &look, &total);
}
