/* Many clients, some of them strange. */
#include "suites/rpc/peer/rpc.h"

TEST(strangers, slow, "calls that come halfway on some connections hold up nobody else")
{
    enum { SLOW = 30 };
    struct random r = random_from_test();
    struct endpoint *slow[SLOW];
    struct wire call[SLOW];
    size_t sent[SLOW];
    unsigned char stream[64];
    struct server s = calcd("");
    for (int i = 0; i < SLOW; i++) {
        size_t len = 0;
        call[i] = call_two((uint32_t)random_u64(&r), ADD, between(&r, 1, 1000), i);
        record_append(stream, sizeof stream, &len, &call[i], WIRE_MAX);
        slow[i] = connection(&s, text("slow client %d", i + 1));
        sent[i] = (size_t)between(&r, 0, (int)len - 1);
        endpoint_send(slow[i], stream, sent[i]);
    }
    wait_quiet(s.p, "calcd waits for the rest of the calls");
    struct endpoint *fast = connection(&s, "a fast client");
    for (int i = 0; i < 50; i++) {
        struct wire quick = call_two((uint32_t)random_u64(&r), MUL, i, between(&r, 1, 1000));
        expect_called(fast, &quick, NULL);
    }
    struct wire quick = call_null((uint32_t)random_u64(&r));
    expect_answered(net_datagrams(AF_INET, "a client over UDP"), &s, &quick, NULL);
    for (int i = SLOW - 1; i >= 0; i--) {
        struct wire want;
        size_t len = 0;
        record_append(stream, sizeof stream, &len, &call[i], WIRE_MAX);
        endpoint_send(slow[i], stream + sent[i], len - sent[i]);
        answer_to(call[i].bytes, call[i].len, NULL, &want);
        expect_record(slow[i], &want, "the reply to a slow client, whose call is whole now");
    }
}
