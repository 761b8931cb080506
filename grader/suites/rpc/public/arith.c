/* The procedures. */
#include "suites/rpc/peer/rpc.h"

static void called(struct endpoint *e, struct random *r, enum procedure p, int64_t a, int64_t b)
{
    struct wire call = call_two((uint32_t)random_u64(r), p, a, b);
    expect_called(e, &call, NULL);
}

TEST(arith, add_sub, "ADD and SUB of positive, negative and large numbers")
{
    struct random r = random_from_test();
    struct server s = calcd("");
    struct endpoint *e = connection(&s, "a client");
    for (enum procedure p = ADD; p <= SUB; p++) {
        called(e, &r, p, between(&r, 1, 1000), between(&r, 1, 1000));
        called(e, &r, p, between(&r, 1, 1000), -between(&r, 1001, 2000));
        called(e, &r, p, -between(&r, 1, 1000), -between(&r, 1, 1000));
        called(e, &r, p, 0, 0);
        for (int i = 0; i < 20; i++) /* far more than 32 bits, far from any overflow */
            called(e, &r, p, (int64_t)random_u64(&r) >> 2, (int64_t)random_u64(&r) >> 2);
    }
}

TEST(arith, mul_div, "MUL and DIV; DIV cuts towards zero, and by zero it is an error of 4 bytes")
{
    struct random r = random_from_test();
    struct server s = calcd("");
    struct endpoint *e = connection(&s, "a client");
    int64_t seven = 10 * between(&r, 1, 1000) + 7;
    for (int i = 0; i < 4; i++) {
        int64_t a = i & 1 ? -seven : seven, b = i & 2 ? -10 : 10;
        called(e, &r, DIV, a, b);
        called(e, &r, MUL, a, b);
    }
    for (int i = 0; i < 20; i++) {
        called(e, &r, MUL, (int64_t)random_u64(&r) >> 32, (int64_t)random_u64(&r) >> 32);
        called(e, &r, DIV, (int64_t)random_u64(&r), between(&r, 2, 100000));
    }
    called(e, &r, DIV, seven, 0);
    called(e, &r, DIV, 0, seven);
}

TEST(arith, sum, "SUM of vectors of 0, 1 and a few numbers")
{
    struct random r = random_from_test();
    struct server s = calcd("");
    struct endpoint *e = connection(&s, "a client");
    int64_t numbers[20];
    for (int i = 0; i < 20; i++)
        numbers[i] = (int64_t)random_u64(&r) >> 8;
    const uint32_t counts[] = {2, 0, 1, 3, (uint32_t)between(&r, 4, 19), 20};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct wire call = call_sum((uint32_t)random_u64(&r), numbers, counts[i]);
        expect_called(e, &call, NULL);
    }
}

TEST(arith, accumulate, "ACCUMULATE: one total for all connections, from 0")
{
    struct random r = random_from_test();
    struct server s = calcd("");
    struct endpoint *e[] = {connection(&s, "the first client"), connection(&s, "the second client"),
                            NULL};
    int64_t total = 0;
    for (int i = 0; i < 12; i++) {
        if (i == 9) {
            endpoint_close(e[0]);
            e[0] = connection(&s, "a client that comes later");
        }
        struct wire call = call_accumulate((uint32_t)random_u64(&r), hyper_random(&r) >> 8);
        expect_called(e[i % 2], &call, &total);
    }
    struct wire call = call_accumulate((uint32_t)random_u64(&r), 0);
    expect_answered(net_datagrams(AF_INET, "a client over UDP"), &s, &call, &total);
}
