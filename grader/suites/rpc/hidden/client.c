/* calc over TCP: every operation, every kind of reply, and of none. */
#include "suites/rpc/peer/rpc.h"

#include <string.h>

static void operation(struct endpoint *server, const char *words, const struct wire *want)
{
    struct program *p = calc("", server, words);
    struct wire call, reply;
    struct endpoint *e = accept_call(server, &call);
    expect_call(&call, *want, text("the call of '%.40s'", words));
    reply = reply_value(get_u32(call.bytes), 5);
    record_send(e, &reply);
    expect_printed(p, "5\n", "the value of the reply");
}

TEST(client, operations, "the call of each operation")
{
    static const char *const two[] = {"add", "sub", "mul", "div"};
    struct random r = random_from_test();
    struct endpoint *server = our_listener();
    int64_t numbers[VECTOR_MAX];
    const char *words = "sum";
    struct wire want;
    for (int i = 0; i < 4; i++) {
        int64_t a = (int64_t)random_u64(&r), b = (int64_t)random_u64(&r);
        want = call_two(0, (enum procedure)(ADD + i), a, b);
        operation(server, text("%s %lld %lld", two[i], (long long)a, (long long)b), &want);
    }
    for (uint32_t i = 0; i < VECTOR_MAX; i++) {
        numbers[i] = (int64_t)random_u64(&r);
        if (i == 0 || i == 1 || i == 5) {
            want = call_sum(0, numbers, i);
            operation(server, words, &want);
        }
        words = text("%s %lld", words, (long long)numbers[i]);
    }
    want = call_sum(0, numbers, VECTOR_MAX);
    operation(server, words, &want);
    want = call_accumulate(0, numbers[0]);
    operation(server, text("acc %lld", (long long)numbers[0]), &want);
}

TEST(client, hypers, "arguments and results at the edges of 64 bits")
{
    static const struct {
        const char *word;
        int64_t value;
    } hypers[] = {{"9223372036854775807", INT64_MAX},
                  {"-9223372036854775808", INT64_MIN},
                  {"4294967296", 4294967296},
                  {"-4294967297", -4294967297},
                  {"2147483648", 2147483648},
                  {"-1", -1},
                  {"0", 0},
                  {"4294967295", 4294967295}};
    struct endpoint *server = our_listener();
    for (size_t i = 0; i < sizeof hypers / sizeof *hypers; i++) {
        struct program *p = calc("", server, text("acc %s", hypers[i].word));
        struct wire call, reply;
        struct endpoint *e = accept_call(server, &call);
        expect_call(&call, call_accumulate(0, hypers[i].value),
                    text("the call of 'acc %s'", hypers[i].word));
        reply = reply_value(get_u32(call.bytes), hypers[i].value);
        record_send(e, &reply);
        expect_printed(p, text("%s\n", hypers[i].word), "the value of the reply");
    }
}

/* What fails with 1: the reply, made from the call's xid, cut after `len` bytes. */
static void fails(struct endpoint *server, struct wire reply, size_t len, const char *why)
{
    struct program *p = calc("", server, "add 1 2");
    struct wire call, w = {.len = 0};
    struct endpoint *e = accept_call(server, &call);
    put_bytes(&w, call.bytes, 4);
    put_bytes(&w, reply.bytes + 4, (len < reply.len ? len : reply.len) - 4);
    record_send(e, &w);
    expect_failure(p, why);
}

TEST(client, rejected, "each rejection is a failure with its reason")
{
    static const char *const names[] = {"SUCCESS",      "PROG_UNAVAIL", "PROG_MISMATCH",
                                        "PROC_UNAVAIL", "GARBAGE_ARGS", "SYSTEM_ERR"};
    struct endpoint *server = our_listener();
    answer_with_value(server, calc("", server, "add 1 2"), 3, "3\n");
    for (uint32_t status = PROG_UNAVAIL; status <= SYSTEM_ERR; status++)
        fails(server, reply_rejected(0, status), SIZE_MAX,
              text("the call was rejected: %s", names[status]));
    fails(server, reply_rpc_mismatch(0, 3, 4), SIZE_MAX, "the call was rejected: RPC_MISMATCH");
    for (uint32_t why = 1; why < 8; why += 3)
        fails(server, reply_auth_error(0, why), SIZE_MAX, "the call was rejected: AUTH_ERROR");
    struct program *p = calc("", server, "null");
    struct wire call, reply;
    struct endpoint *e = accept_call(server, &call);
    reply = reply_rejected(get_u32(call.bytes), PROC_UNAVAIL);
    record_send(e, &reply);
    expect_failure(p, "the call of NULL was rejected: PROC_UNAVAIL");
}

static struct wire with_word(struct wire w, size_t at, uint32_t word)
{
    struct wire bytes = {.len = 0};
    put_u32(&bytes, word);
    memcpy(w.bytes + at, bytes.bytes, bytes.len);
    return w;
}

TEST(client, undecodable, "its own reply that can't be decoded is a failure")
{
    struct random r = random_from_test();
    const struct wire whole = reply_value(0, (int64_t)random_u64(&r)), begin = reply_begin(0);
    struct endpoint *server = our_listener();
    answer_with_value(server, calc("", server, "add 1 2"), 3, "3\n");
    static const size_t cuts[] = {4, 8, 11, 12, 16, 20, 23, 24, 25, 28, 30, 32, 35};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++)
        fails(server, whole, cuts[i], text("the reply ends after %zu of its 36 bytes", cuts[i]));
    static const struct {
        size_t at;
        uint32_t word;
        const char *why;
    } words[] = {{8, 2, "an unknown reply status"},
                 {16, 400, "a verifier that is longer than the reply"},
                 {16, 0xFFFFFFFF, "a verifier of 2^32 - 1 bytes"},
                 {16, 0x7FFFFFFD, "a verifier of 2^31 - 3 bytes"},
                 {20, 6, "an unknown accept status"},
                 {20, 0xFFFFFFFF, "an unknown accept status"},
                 {24, 3, "an unknown status of the calculator"},
                 {24, 0xFFFFFFFF, "an unknown status of the calculator"},
                 {24, 0x100, "an unknown status of the calculator"}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        fails(server, with_word(whole, words[i].at, words[i].word), SIZE_MAX, words[i].why);
    fails(server, with_word(reply_rpc_mismatch(0, 2, 2), 12, 2), SIZE_MAX,
          "an unknown reject status");
    fails(server, begin, SIZE_MAX, "a reply without a result");
    fails(server, reply_rpc_mismatch(0, 2, 2), 12, "a denial that ends before its reason");
}

/* calc waits for more, wherever the reply is cut. */
static void in_two(struct endpoint *server, size_t cut)
{
    struct program *p = calc("", server, "add 1 2");
    unsigned char stream[64];
    struct wire call, reply;
    size_t len = 0;
    struct endpoint *e = accept_call(server, &call);
    reply = reply_value(get_u32(call.bytes), (int64_t)cut - 50);
    record_append(stream, sizeof stream, &len, &reply, cut % 2 ? 9 : WIRE_MAX);
    endpoint_send(e, stream, cut);
    wait_quiet_or_end(p, "calc waits for the rest of the reply");
    endpoint_send(e, stream + cut, len - cut);
    expect_printed(p, text("%d\n", (int)cut - 50),
                   text("the value of a reply whose first %zu bytes came before the others", cut));
}

/* Records that are not the reply, and the reply behind them. */
static void skipped(struct endpoint *server)
{
    enum { LARGE = 60000 };
    static const size_t sizes[] = {4, 28, 500, LARGE};
    static unsigned char stream[LARGE + 100];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct wire call, reply, m = {.len = 0};
        size_t len = 4 + sizes[i];
        struct program *p = calc("", server, "sub 9 2");
        struct endpoint *e = accept_call(server, &call);
        put_u32(&m, mark(true, (uint32_t)sizes[i]));
        memset(stream, 0, sizeof stream);
        memcpy(stream, m.bytes, m.len);
        for (size_t j = 0; j < 4; j++) /* another xid */
            stream[m.len + j] = call.bytes[j] ^ (j == 3);
        reply = reply_value(get_u32(call.bytes), 7);
        record_append(stream, sizeof stream, &len, &reply, WIRE_MAX);
        endpoint_queue(e, stream, len);
        expect_printed(p, "7\n",
                       text("the value of the reply, behind a record of %zu bytes with another xid",
                            sizes[i]));
    }
}

TEST(client, fragments, "a reply in any fragments and segments")
{
    struct endpoint *server = our_listener();
    struct random r = random_from_test();
    static const size_t cuts[] = {1, 3, 4, 5, 13, 17, 28, 36, 39};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++)
        in_two(server, cuts[i]);
    for (size_t piece = 1; piece < 40; piece = piece * 2 + 1) {
        unsigned char stream[600];
        struct wire call, reply, foreign;
        size_t len = 0;
        int64_t value = (int64_t)random_u64(&r);
        struct program *p = calc("", server, "sub 1 2");
        struct endpoint *e = accept_call(server, &call);
        reply = reply_value(get_u32(call.bytes), value);
        foreign = reply_value(get_u32(call.bytes) + 1, 1);
        record_append(stream, sizeof stream, &len, &foreign, piece); /* and its own behind it */
        memset(stream + len, 0, 8);                                  /* two empty fragments */
        len += 8;
        record_append(stream, sizeof stream, &len, &reply, piece);
        endpoint_send(e, stream, len);
        expect_printed(p, text("%lld\n", (long long)value),
                       text("the value of a reply in fragments of %zu bytes", piece));
    }
    skipped(server);
}

TEST(client, verifier, "a reply with any verifier is accepted")
{
    struct random r = random_from_test();
    unsigned char bytes[AUTH_MAX];
    static const uint32_t sizes[] = {0, 1, 2, 3, 4, 37, 400};
    struct endpoint *server = our_listener();
    random_bytes(&r, bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct wire call, reply = {.len = 0};
        struct program *p = calc("", server, "mul 2 2");
        struct endpoint *e = accept_call(server, &call);
        put_u32(&reply, get_u32(call.bytes));
        put_u32(&reply, REPLY);
        put_u32(&reply, 0);
        put_auth(&reply, (uint32_t)random_u64(&r), bytes, sizes[i]);
        put_u32(&reply, SUCCESS);
        put_u32(&reply, CALC_OK);
        put_hyper(&reply, sizes[i]);
        record_send(e, &reply);
        expect_printed(p, text("%u\n", sizes[i]),
                       text("the value of a reply with a verifier of %u bytes", sizes[i]));
    }
}
