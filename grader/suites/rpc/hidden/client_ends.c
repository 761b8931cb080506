/* calc without a reply: closed, out of time; and what is found before it calls. */
#include "suites/rpc/peer/rpc.h"

#include <signal.h>
#include <string.h>

TEST(client, closed, "closed without a reply, or in the middle of it: exit 3")
{
    struct endpoint *server = our_listener();
    static const size_t sent[] = {0, 2, 4, 20, 39};
    answer_with_value(server, calc("", server, "add 1 2"), 3, "3\n");
    for (size_t i = 0; i < 2 * (sizeof sent / sizeof *sent); i++) {
        size_t len = 0;
        unsigned char stream[64];
        struct wire call, reply;
        struct program *p = calc("", server, "add 1 2");
        struct endpoint *e = accept_call(server, &call);
        reply = reply_value(get_u32(call.bytes), 3);
        record_append(stream, sizeof stream, &len, &reply, WIRE_MAX);
        endpoint_send(e, stream, sent[i / 2]);
        if (i % 2)
            endpoint_reset(e);
        else
            endpoint_close(e);
        expect_unanswered(p, text("the connection is %s after %zu of the reply's %zu bytes",
                                  i % 2 ? "reset" : "closed", sent[i / 2], len));
    }
    /* Another reply is none. */
    struct wire call, reply;
    struct program *p = calc("", server, "add 1 2");
    struct endpoint *e = accept_call(server, &call);
    reply = reply_value(get_u32(call.bytes) + 1, 3);
    record_send(e, &reply);
    endpoint_close(e);
    expect_unanswered(p, "the connection is closed after a reply with another xid");
}

TEST(client, time_out, "-t bounds the whole call: silence, half a reply, replies to others")
{
    enum { MS = 300, LATE_MS = 1000 };
    struct endpoint *server = our_listener();
    for (int kind = 0; kind < 3; kind++) {
        int64_t start = clock_ns();
        struct program *p = calc(text("-t %d", MS), server, "add 1 2");
        struct wire call, reply;
        struct endpoint *e = accept_call(server, &call);
        int64_t called = clock_ns();
        reply = reply_value(get_u32(call.bytes) + (kind == 2), 3);
        if (kind == 1) {
            send_word(e, mark(true, (uint32_t)reply.len));
            endpoint_send(e, reply.bytes, reply.len - 1);
        }
        while (kind == 2 && !program_has_ended(p)) {
            record_send(e, &reply);
            wait_quiet_or_end(p, "calc waits on");
            /* Asleep, long after its time: it will not wake up by itself. */
            EXPECT(program_has_ended(p) || clock_ns() - called < (MS + LATE_MS) * NS_PER_MS,
                   text("-t %d: replies to others don't make the call longer", MS),
                   text("calc sleeps on, %d ms after its time was over", LATE_MS));
            let_pass(MS / 5);
        }
        const char *why = kind == 0   ? "no reply comes"
                          : kind == 1 ? "the reply does not come to its end"
                                      : "only replies with another xid come";
        if (kind == 2)
            expect_over(p, start, MS, why);
        else
            expect_timeout(p, start, MS, why);
    }
    int64_t start = clock_ns();
    struct endpoint *full = net_listen_full(AF_INET, "a server that is busy");
    expect_timeout(calc(text("-t %d", MS), full, "add 1 2"), start, MS,
                   "the connection is not taken");
    expect_over(calc("-t 0", our_listener(), "add 1 2"), start, 0, "with -t 0 it does not wait");
    struct wire call;
    struct program *p = calc("-t 60000", server, "add 1 2");
    accept_call(server, &call);
    wait_quiet(p, "calc waits for the reply");
    program_signal(p, SIGINT);
    expect_killed(p, SIGINT);
    answer_with_value(server, calc("-t 60000", server, "add 1 2"), 3, "3\n");
}

TEST(client, xid, "the xid is random")
{
    enum { CALLS = 8, NEAR = 1 << 20 };
    struct endpoint *server = our_listener();
    uint32_t xid[CALLS];
    bool all_near = true;
    for (int i = 0; i < CALLS; i++) {
        struct program *p = calc("", server, "add 1 2");
        struct wire call, reply;
        struct endpoint *e = accept_call(server, &call);
        xid[i] = get_u32(call.bytes);
        reply = reply_value(xid[i], i);
        record_send(e, &reply);
        expect_printed(p, text("%d\n", i), "the value of the reply");
        for (int j = 0; j < i; j++)
            EXPECT(xid[j] != xid[i], "two calls have different xids",
                   text("%08x in call %d and in call %d", xid[i], j + 1, i + 1));
        all_near &= xid[i] - xid[0] + NEAR / 2 < NEAR;
    }
    EXPECT(!all_near, "the xid is random",
           text("eight calls have neighbouring ones: %08x, %08x, ... %08x", xid[0], xid[1],
                xid[CALLS - 1]));
}

static void right(struct endpoint *server, const char *words)
{
    struct program *p = calc("-t 60000", server, words);
    struct wire call, reply;
    struct endpoint *e = net_accept(
        server, text("calc calls, since '%s' is right usage: numbers may begin with zeros", words));
    static const char expected[] = "calc sends its call as one record";
    if (!record_read(e, &call, expected))
        test_fail(expected, "the connection ended before a whole record had come");
    reply = reply_value(get_u32(call.bytes), 3);
    record_send(e, &reply);
    expect_printed(p, "3\n", "the value of the reply");
}

TEST(client, usage, "wrong usage is found before anybody is called")
{
    struct endpoint *server = our_listener();
    static const char *const wrong[] = {"add 1",
                                        "add",
                                        "add 1 2 3",
                                        "div 1",
                                        "acc",
                                        "acc 1 2",
                                        "null 1",
                                        "pow 1 2",
                                        "ADD 1 2",
                                        "add 1 x",
                                        "add 1 2x",
                                        "add '' 2",
                                        "add 9223372036854775808 1",
                                        "add 1 -9223372036854775809",
                                        "sum 1 99999999999999999999",
                                        "sum 1 2 three",
                                        "add 1 0x10",
                                        "add 1 1.5",
                                        "mul - 1",
                                        "''"};
    int port = endpoint_port(server);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        expect_usage(text("calc 127.0.0.1 %d %s", port, wrong[i]), "wrong usage");
    expect_usage("calc", "nothing is given");
    expect_usage("calc 127.0.0.1", "no port");
    expect_usage(text("calc 127.0.0.1 %d", port), "no operation");
    expect_usage("calc 127.0.0.1 x add 1 2", "the port is no number");
    expect_usage("calc 127.0.0.1 65536 add 1 2", "there is no such port");
    expect_usage("calc 127.0.0.1 -1 add 1 2", "there is no such port");
    expect_usage(text("calc -x 127.0.0.1 %d add 1 2", port), "there is no such option");
    expect_usage(text("calc -t x 127.0.0.1 %d add 1 2", port), "the time is no number");
    expect_usage(text("calc -t -5 127.0.0.1 %d add 1 2", port), "a time is not negative");
    expect_usage("calc -t", "no time");
    const char *many = "sum 1";
    for (int i = 0; i < VECTOR_MAX; i++)
        many = text("%s 1", many);
    expect_usage(text("calc 127.0.0.1 %d %s", port, many), "1,025 numbers");
    right(server, "add 01 -0");
    right(server, "add 00000000000000000000000000000001 -00000000000000000000002");
}
