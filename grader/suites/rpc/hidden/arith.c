/* The edges of 64 bits. */
#include "suites/rpc/peer/rpc.h"

static const int64_t edges[] = {0,
                                1,
                                -1,
                                2,
                                -2,
                                INT64_MAX,
                                INT64_MAX - 1,
                                INT64_MIN,
                                INT64_MIN + 1,
                                INT64_MAX / 2,
                                INT64_MAX / 2 + 1,
                                INT64_MIN / 2,
                                INT64_MIN / 2 - 1,
                                (int64_t)UINT32_MAX,
                                (int64_t)UINT32_MAX + 1,
                                -(int64_t)UINT32_MAX - 1,
                                INT32_MAX,
                                INT32_MIN,
                                3037000499, /* its square fits, that of the next one does not */
                                3037000500,
                                -3037000500};
enum { EDGES = sizeof edges / sizeof *edges };

/* Each edge with each other one, as many calls on a connection as there are. */
static void all_edges(enum procedure p)
{
    struct random r = random_from_test();
    struct server s = calcd("");
    struct endpoint *e = connection(&s, "a client");
    for (int i = 0; i < EDGES; i++) {
        for (int j = 0; j < EDGES; j++) {
            struct wire call = call_two((uint32_t)random_u64(&r), p, edges[i], edges[j]);
            expect_called(e, &call, NULL);
        }
    }
    for (int i = 0; i < 100; i++) {
        struct wire call =
            call_two((uint32_t)random_u64(&r), p, hyper_random(&r), hyper_random(&r));
        expect_called(e, &call, NULL);
    }
}

TEST(arith, add_edges, "ADD and SUB at every edge of 64 bits")
{
    all_edges(ADD);
    all_edges(SUB);
}

TEST(arith, mul_edges, "MUL at every edge of 64 bits")
{
    all_edges(MUL);
}

TEST(arith, div_edges, "DIV at every edge of 64 bits")
{
    all_edges(DIV);
}

static void sum(struct endpoint *e, struct random *r, const int64_t *numbers, uint32_t count)
{
    struct wire call = call_sum((uint32_t)random_u64(r), numbers, count);
    expect_called(e, &call, NULL);
}

TEST(arith, sum_edges, "SUM: the first partial sum that overflows counts")
{
    struct random r = random_from_test();
    static const int64_t vectors[][4] = {
        {INT64_MAX, 1, -1, -1},       {INT64_MAX, -1, 1, 0},
        {-1, INT64_MAX, 1, 0},        {INT64_MIN, -1, 1, 1},
        {INT64_MIN, 1, -1, 0},        {INT64_MIN, INT64_MAX, 1, -1},
        {INT64_MAX, 0, 0, 1},         {INT64_MIN, INT64_MIN, 0, 0},
        {INT64_MAX, INT64_MAX, 2, 0}, {0, INT64_MIN, 0, 0},
        {1, 1, INT64_MAX, INT64_MIN}, {-1, -1, INT64_MIN, INT64_MAX},
        {INT64_MAX, 1, -2, 3},        {INT64_MIN, INT64_MIN, INT64_MAX, INT64_MAX},
    };
    struct server s = calcd("");
    struct endpoint *e = connection(&s, "a client");
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        for (uint32_t count = 1; count <= 4; count++)
            sum(e, &r, vectors[i], count);
}

TEST(arith, sum_1024, "SUM of as many numbers as there can be")
{
    struct random r = random_from_test();
    int64_t numbers[VECTOR_MAX];
    struct server s = calcd("");
    struct endpoint *e = connection(&s, "a client");
    for (int i = 0; i < VECTOR_MAX; i++)
        numbers[i] = (int64_t)random_u64(&r) >> 12;
    const uint32_t counts[] = {VECTOR_MAX, VECTOR_MAX - 1, 512, 500, 1, 0, VECTOR_MAX};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        sum(e, &r, numbers, counts[i]);
    numbers[0] = INT64_MAX; /* the last number makes it overflow */
    for (int i = 1; i < VECTOR_MAX - 1; i++)
        numbers[i] = 0;
    numbers[VECTOR_MAX - 1] = 1;
    sum(e, &r, numbers, VECTOR_MAX - 1);
    sum(e, &r, numbers, VECTOR_MAX);
}

TEST(arith, accumulate_edges, "an overflow of ACCUMULATE leaves the total as it was")
{
    struct random r = random_from_test();
    static const int64_t numbers[] = {INT64_MAX, 1, 0,  INT64_MAX, -1, 1,         1, INT64_MIN,
                                      INT64_MIN, 0, -1, INT64_MIN, 0,  INT64_MAX, 5};
    int64_t total = 0;
    struct server s = calcd("");
    struct endpoint *e = connection(&s, "a client"), *u = net_datagrams(AF_INET, "a UDP client");
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct wire call = call_accumulate((uint32_t)random_u64(&r), numbers[i]);
        if (i % 3 == 2)
            expect_answered(u, &s, &call, &total);
        else
            expect_called(e, &call, &total);
    }
}
