/* calc, the client stub, with the grader as its server. */
#include "suites/rpc/peer/rpc.h"

TEST(client, call, "every byte of a call")
{
    struct random r = random_from_test();
    int64_t a = (int64_t)random_u64(&r) >> 1, b = -(int64_t)between(&r, 1, 100000);
    struct endpoint *server = our_listener();
    struct program *p = calc("", server, text("add %lld %lld", (long long)a, (long long)b));
    struct wire call;
    struct endpoint *e = accept_call(server, &call);
    expect_call(&call, call_two(0, ADD, a, b), "the call of ADD");
    expect_nothing(e, "one call, and nothing behind it");
    struct wire reply = reply_value(get_u32(call.bytes), a + b);
    record_send(e, &reply);
    expect_printed(p, text("%lld\n", (long long)(a + b)), "the value of the reply");
}

TEST(client, prints, "the reply's value is printed, whatever it is; null prints nothing")
{
    struct random r = random_from_test();
    /* No sum of anything: it is the server that calculates. */
    const int64_t values[] = {(int64_t)random_u64(&r), -(int64_t)between(&r, 1, 100000), 0,
                              (int64_t)random_u64(&r) >> 40};
    struct endpoint *server = our_listener();
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct wire call, reply;
        struct program *p = run("calc localhost %d mul 2 3", endpoint_port(server));
        struct endpoint *e = accept_call(server, &call);
        expect_call(&call, call_two(0, MUL, 2, 3), "the call of MUL");
        reply = reply_value(get_u32(call.bytes), values[i]);
        record_send(e, &reply);
        expect_printed(p, text("%lld\n", (long long)values[i]), "the value of the reply");
    }
    struct wire call, reply;
    struct program *p = calc("", server, "null");
    struct endpoint *e = accept_call(server, &call);
    expect_call(&call, call_null(0), "the call of NULL");
    wait_quiet(p, "calc waits for the reply");
    reply = reply_begin(get_u32(call.bytes));
    record_send(e, &reply);
    expect_printed(p, "", "null has no value");
}

TEST(client, calculator_error, "CALC_DIVIDE_BY_ZERO and CALC_OVERFLOW: exit 1, nothing printed")
{
    struct endpoint *server = our_listener();
    for (uint32_t status = CALC_OK; status <= CALC_OVERFLOW; status++) {
        struct wire call, reply;
        struct program *p = calc("", server, "div 7 2");
        struct endpoint *e = accept_call(server, &call);
        expect_call(&call, call_two(0, DIV, 7, 2), "the call of DIV");
        reply = status == CALC_OK ? reply_value(get_u32(call.bytes), 3)
                                  : reply_status(get_u32(call.bytes), status);
        record_send(e, &reply);
        if (status == CALC_OK)
            expect_printed(p, "3\n", "the value of the reply");
        else
            expect_failure(p, status == CALC_OVERFLOW ? "the reply says CALC_OVERFLOW"
                                                      : "the reply says CALC_DIVIDE_BY_ZERO");
    }
}

TEST(client, foreign_xid, "a record with another xid is no reply to this call")
{
    struct random r = random_from_test();
    struct endpoint *server = our_listener();
    int value = between(&r, 1, 1000);
    struct program *p = calc("", server, "sub 4 1");
    struct wire call, reply;
    struct endpoint *e = accept_call(server, &call);
    uint32_t xid = get_u32(call.bytes);
    const uint32_t foreign[] = {xid + 1, xid - 1, ~xid, xid ^ 0x80000000u, 0};
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        reply = i % 2 ? reply_value(foreign[i], -value) : reply_rejected(foreign[i], SYSTEM_ERR);
        record_send(e, &reply);
    }
    wait_quiet(p, "calc waits on for the reply with its own xid");
    reply = reply_value(xid, value);
    record_send(e, &reply);
    expect_printed(p, text("%d\n", value), "the value of the reply with the call's xid");
}

TEST(client, no_server, "nobody listens, or HOST has no IPv4 address: exit 3")
{
    struct endpoint *server = our_listener();
    struct program *p = calc("", server, "add 1 2");
    struct wire call, reply;
    struct endpoint *e = accept_call(server, &call);
    reply = reply_value(get_u32(call.bytes), 3);
    record_send(e, &reply);
    expect_printed(p, "3\n", "with a server there is a value");

    p = run("calc ::1 %d add 1 2", endpoint_port(server));
    expect_unanswered(p, "::1 is no IPv4 address");
    endpoint_close(server);
    p = run("calc 127.0.0.1 %d add 1 2", endpoint_port(server));
    expect_unanswered(p, "nobody listens at that port any more");
}
