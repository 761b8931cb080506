/* Record marking: messages in a stream. */
#include "suites/rpc/peer/rpc.h"

#include <signal.h>

enum { STREAM = 1 << 16 };

TEST(record, two_at_once, "two calls in one segment, and one and a half")
{
    struct random r = random_from_test();
    static unsigned char stream[STREAM];
    struct server s = calcd("");
    struct endpoint *e = connection(&s, "a client");
    struct wire call[3], want[3];
    size_t len = 0, two = 0;
    for (int i = 0; i < 3; i++) {
        call[i] = call_two((uint32_t)random_u64(&r), ADD, hyper_random(&r), between(&r, 1, 9));
        answer_to(call[i].bytes, call[i].len, NULL, &want[i]);
        two = len;
        record_append(stream, sizeof stream, &len, &call[i], WIRE_MAX);
    }
    endpoint_send(e, stream, two);
    expect_record(e, &want[0], "the reply to the first of two calls in one segment");
    expect_record(e, &want[1], "the reply to the second of two calls in one segment");

    size_t half = two + (size_t)between(&r, 1, (int)(len - two) - 1);
    endpoint_send(e, stream, half);
    expect_record(e, &want[0], "the reply to the first of two and a half calls in one segment");
    expect_record(e, &want[1], "the reply to the second of two and a half calls in one segment");
    wait_quiet(s.p, "calcd waits for the rest of the third call");
    endpoint_send(e, stream + half, len - half);
    expect_record(e, &want[2], "the reply to the third call, whose second half came later");
}

TEST(record, byte_by_byte, "a call that comes byte by byte")
{
    struct random r = random_from_test();
    unsigned char stream[64];
    struct server s = calcd("");
    struct endpoint *e = connection(&s, "a client"), *other = connection(&s, "another client");
    struct wire call = call_two((uint32_t)random_u64(&r), SUB, hyper_random(&r) >> 1, 1), want;
    size_t len = 0;
    answer_to(call.bytes, call.len, NULL, &want);
    record_append(stream, sizeof stream, &len, &call, WIRE_MAX);
    for (size_t i = 0; i < len; i++) {
        /* What another client asks is answered: so this byte is not read with the next one. */
        struct wire null = call_null((uint32_t)i);
        if (i > 0)
            expect_called(other, &null, NULL);
        endpoint_send(e, stream + i, 1);
    }
    expect_record(e, &want, "the reply to a call that came byte by byte");
}

TEST(record, fragments, "a call in several fragments, down to one byte each")
{
    struct random r = random_from_test();
    static unsigned char stream[STREAM];
    const size_t pieces[] = {20, 40, 7, 4, 1, (size_t)between(&r, 2, 30)};
    int64_t numbers[10];
    for (int i = 0; i < 10; i++)
        numbers[i] = (int64_t)random_u64(&r) >> 8;
    struct server s = calcd("");
    struct endpoint *e = connection(&s, "a client");
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        struct wire call = call_sum((uint32_t)random_u64(&r), numbers, 10), want;
        size_t len = 0;
        answer_to(call.bytes, call.len, NULL, &want);
        record_append(stream, sizeof stream, &len, &call, pieces[i]);
        endpoint_send(e, stream, len);
        expect_record(e, &want, text("the reply to a call in fragments of %zu bytes", pieces[i]));
    }
}

TEST(record, half_close, "calls are answered also when the client has shut down its sending side")
{
    enum { CALLS = 20 };
    struct random r = random_from_test();
    static unsigned char stream[STREAM];
    struct server s = calcd("");
    struct endpoint *e = connection(&s, "a client");
    struct wire want[CALLS];
    size_t len = 0;
    for (int i = 0; i < CALLS; i++) {
        struct wire call = call_two((uint32_t)random_u64(&r), ADD, between(&r, 1, 1000), i);
        answer_to(call.bytes, call.len, NULL, &want[i]);
        record_append(stream, sizeof stream, &len, &call, WIRE_MAX);
    }
    program_signal(s.p, SIGSTOP); /* so that it finds the calls and the end together */
    endpoint_send(e, stream, len);
    endpoint_close_input(e);
    program_signal(s.p, SIGCONT);
    for (int i = 0; i < CALLS; i++)
        expect_record(e, &want[i],
                      text("the reply to call %d of %d, after which the client has shut down its "
                           "sending side",
                           i + 1, CALLS));
    endpoint_wait_end(e, "calcd closes the connection when all calls are answered");
    expect_nothing(e, "one reply to each call");
    expect_alive(&s, "after a client has shut down its sending side");
}
