/* What the dispatcher can't serve. */
#include "suites/rpc/peer/rpc.h"

static void rejected(struct endpoint *e, struct header h)
{
    struct wire call = call_with(h);
    expect_called(e, &call, NULL);
}

TEST(reject, program, "another program: PROG_UNAVAIL")
{
    struct random r = random_from_test();
    const uint32_t programs[] = {PROGRAM + 1,
                                 PROGRAM - 1,
                                 0,
                                 100000,
                                 0xFFFFFFFFu,
                                 0x15040020,
                                 (uint32_t)random_u64(&r) | 0x40000000u};
    struct server s = calcd("");
    struct endpoint *e = connection(&s, "a client");
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
        struct header h = right_header((uint32_t)random_u64(&r), PROC_NULL);
        rejected(e, h);
        h.program = programs[i];
        rejected(e, h);
    }
}

TEST(reject, version, "another version: PROG_MISMATCH, 1 to 1")
{
    struct random r = random_from_test();
    const uint32_t versions[] = {0, 2, 3, 0x100, 0xFFFFFFFFu, (uint32_t)random_u64(&r) | 2};
    struct server s = calcd("");
    struct endpoint *e = connection(&s, "a client");
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        struct header h = right_header((uint32_t)random_u64(&r), PROC_NULL);
        rejected(e, h);
        h.version = versions[i];
        rejected(e, h);
    }
}

TEST(reject, procedure, "another procedure: PROC_UNAVAIL")
{
    struct random r = random_from_test();
    const uint32_t procedures[] = {7, 8, 0x100, 0x106, 0xFFFFFFFFu, (uint32_t)random_u64(&r) | 8};
    struct server s = calcd("");
    struct endpoint *e = connection(&s, "a client");
    for (size_t i = 0; i < sizeof procedures / sizeof *procedures; i++) {
        rejected(e, right_header((uint32_t)random_u64(&r), PROC_NULL));
        rejected(e, right_header((uint32_t)random_u64(&r), procedures[i]));
    }
}

/* All lengths of the arguments of `call`, from none up to all of them. */
static void cut_arguments(struct endpoint *e, struct random *r, struct wire call, int64_t *total)
{
    enum { HEADER = 40 };
    size_t whole = call.len;
    for (size_t len = HEADER; len <= whole; len++) {
        struct wire w = {.len = 0};
        put_u32(&w, (uint32_t)random_u64(r));
        put_bytes(&w, call.bytes + 4, len - 4);
        expect_called(e, &w, total);
    }
}

TEST(reject, garbage, "arguments that are short: GARBAGE_ARGS")
{
    struct random r = random_from_test();
    const int64_t numbers[] = {between(&r, 1, 1000), between(&r, 1, 1000)};
    int64_t total = 0;
    struct server s = calcd("");
    struct endpoint *e = connection(&s, "a client");
    for (enum procedure p = ADD; p <= DIV; p++)
        cut_arguments(e, &r, call_two(0, p, numbers[0], numbers[1]), NULL);
    cut_arguments(e, &r, call_sum(0, numbers, 2), NULL);
    cut_arguments(e, &r, call_accumulate(0, numbers[0]), &total);
}
