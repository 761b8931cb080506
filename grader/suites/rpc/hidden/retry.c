/* calc over UDP: its own reply among others, its repetitions, a bad network. */
#include "suites/rpc/peer/rpc.h"

#include <string.h>
#include <unistd.h>

enum { TRIES = 4 };

static struct endpoint *our_server(void)
{
    return net_datagrams(AF_INET, "our server");
}

static void reply_to(struct endpoint *server, int port, const struct wire *reply)
{
    net_send_to(server, port, reply->bytes, reply->len);
}

static struct wire first_call(struct endpoint *server, int *from)
{
    return receive_call(server, from, "calc -u sends its call");
}

TEST(retry, foreign, "a reply from another port or address, or with another xid, is not its own")
{
    struct random r = random_from_test();
    struct endpoint *other = net_datagrams(AF_INET, "a stranger's socket");
    int value = between(&r, 1, 1000);
    for (int kind = 0; kind < 4; kind++) {
        /* A new one each time: to the old one the last calc may have sent its call again. */
        struct endpoint *server = our_server();
        int from, elsewhere = elsewhere_socket(server);
        struct program *p = calc("-u", server, "add 1 2");
        struct wire call = first_call(server, &from), reply;
        uint32_t xid = get_u32(call.bytes);
        reply = reply_value(xid, -value);
        if (kind == 0)
            reply_to(other, from, &reply);
        if (kind == 1 && elsewhere >= 0)
            send_from(elsewhere, from, &reply);
        if (kind == 2) {
            const uint32_t foreign[] = {xid + 1, xid - 1, ~xid, 0, xid ^ 0x80000000u};
            for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
                reply = i % 2 ? reply_value(foreign[i], -value)
                              : reply_rejected(foreign[i], PROG_UNAVAIL);
                reply_to(server, from, &reply);
            }
        }
        if (kind == 3) { /* garbage, without an xid or with another one */
            for (size_t len = 0; len < 4; len++)
                net_send_to(server, from, reply.bytes, len);
            net_send_to(server, from, "garbage, and no reply", 21);
        }
        wait_quiet_or_end(p, "calc waits on for its own reply");
        reply = reply_value(xid, value);
        reply_to(server, from, &reply);
        static const char *const kinds[] = {"from another port", "from another address",
                                            "with another xid", "that is garbage"};
        expect_printed(p, text("%d\n", value),
                       text("the value of its own reply, after a datagram %s", kinds[kind]));
        if (elsewhere >= 0)
            close(elsewhere);
    }
}

/* How many datagrams come until `p` has ended; when, since `start`, in milliseconds. */
static int count_calls(struct program *p, struct endpoint *server, int64_t start, int at[], int max)
{
    struct wire first = {.len = 0};
    int count = 0;
    const struct datagram *d;
    for (;;) {
        bool ended = program_has_ended(p);
        if ((d = net_receive_now(server)) == NULL) {
            if (ended)
                return count;
            let_pass(1);
            continue;
        }
        struct wire call = wire_of(d);
        if (count == 0)
            first = call;
        EXPECT(call.len == first.len && memcmp(call.bytes, first.bytes, call.len) == 0,
               "the same call, each time", hex(call.bytes, call.len));
        if (count < max)
            at[count] = (int)((clock_ns() - start) / NS_PER_MS);
        count++;
    }
}

TEST(retry, times, "sent at 0, 200, 600, 1,400 and 3,000 ms, and not again")
{
    static const int due[] = {0, 200, 600, 1400, 3000};
    enum { SENT = 5, WHOLE_MS = 6200, SHORT_MS = 1000 };
    struct endpoint *server = our_server();
    int at[SENT + 1] = {0}, count = 0;

    /* Within a second it is three times. On a machine that is too busy to wake calc up in time it
     * can be another number: then again. */
    for (int i = 0; i < TRIES && count != 3; i++) {
        int64_t start = clock_ns();
        struct program *p = calc(text("-u -t %d", SHORT_MS), server, "add 1 2");
        count = count_calls(p, server, start, at, SENT);
        expect_over(p, start, SHORT_MS, "no reply comes");
    }
    EXPECT(count == 3, "calc -u -t 1000 sends at 0, 200 and 600 ms: three times",
           text("%d times, and not three times in any of %d tries", count, TRIES));

    int64_t start = clock_ns();
    struct program *p = calc("-u", server, "add 1 2");
    count = count_calls(p, server, start, at, SENT);
    for (int i = 0; i < SENT && i < count; i++)
        EXPECT(at[i] >= due[i] - CLOCKS_DIFFER_MS,
               text("the call is sent for the %d. time when %d ms have passed", i + 1, due[i]),
               text("it came after %d ms", at[i]));
    EXPECT(count == SENT, "five times, at 0, 200, 600, 1,400 and 3,000 ms, if no reply comes",
           text("%d times", count));
    expect_over(p, start, WHOLE_MS, "no reply comes within 6,200 ms, which is the default");
}

TEST(retry, time_out, "-t bounds the call over UDP, whatever comes meanwhile")
{
    enum { MS = 150, LONG_MS = 300, LATE_MS = 1000 };
    struct endpoint *server = our_server();
    int from, at[2];
    int64_t start = 0;
    struct program *p = NULL;
    for (int i = 0, count = 0; i < TRIES && count != 1; i++) { /* as in retry/times */
        start = clock_ns();
        p = calc(text("-u -t %d", MS), server, "add 1 2");
        count = count_calls(p, server, start, at, 2);
        expect_over(p, start, MS, "no reply comes");
        EXPECT(count == 1 || i + 1 < TRIES, "a call of 150 ms is sent once",
               text("%d times", count));
    }

    start = clock_ns();
    p = calc(text("-u -t %d", LONG_MS), server, "add 1 2");
    struct wire call = first_call(server, &from), reply;
    int64_t called = clock_ns();
    reply = reply_value(get_u32(call.bytes) + 1, 3);
    while (!program_has_ended(p)) {
        reply_to(server, from, &reply);
        wait_quiet_or_end(p, "calc waits on");
        /* Asleep, long after its time: it will not wake up by itself. */
        EXPECT(program_has_ended(p) || clock_ns() - called < (LONG_MS + LATE_MS) * NS_PER_MS,
               text("-t %d: replies to others don't make the call longer", LONG_MS),
               text("calc sleeps on, %d ms after its time was over", LATE_MS));
        let_pass(LONG_MS / 5);
    }
    expect_over(p, start, LONG_MS, "only replies with another xid come");

    endpoint_close(server);
    p = calc(text("-u -t %d", LONG_MS), server, "add 1 2");
    expect_unanswered(p, "nobody has the port");
}

TEST(retry, undecodable, "its own reply that can't be decoded, or rejects the call, is a failure")
{
    struct wire call, w;
    for (int kind = 0; kind < 8; kind++) {
        struct endpoint *server = our_server();
        int from;
        struct program *p = calc("-u", server, "add 1 2");
        call = first_call(server, &from);
        uint32_t xid = get_u32(call.bytes);
        const struct wire replies[] = {reply_value(xid, 3),
                                       reply_value(xid, 3),
                                       reply_value(xid, 3),
                                       reply_status(xid, 3),
                                       reply_status(xid, CALC_OVERFLOW),
                                       reply_rejected(xid, PROG_UNAVAIL),
                                       reply_rejected(xid, PROG_MISMATCH),
                                       reply_rpc_mismatch(xid, 2, 2)};
        static const char *const why[] = {"",
                                          "the reply ends before the value's end",
                                          "the reply ends in its header",
                                          "an unknown status of the calculator",
                                          "CALC_OVERFLOW",
                                          "PROG_UNAVAIL",
                                          "PROG_MISMATCH",
                                          "RPC_MISMATCH"};
        w = replies[kind];
        w.len -= kind == 1 ? 4 : kind == 2 ? 24 : 0;
        net_send_to(server, from, w.bytes, w.len);
        if (kind == 0)
            expect_printed(p, "3\n", "the value of the reply");
        else
            expect_failure(p, why[kind]);
    }
}

/* ---- a bad network between calc and our server ---- */

enum { CLIENTS = 10, ARGUMENT = 40 + 4 };

struct caller {
    struct program *p;
    int port; /* 0: none of its calls has come yet */
    uint32_t xid;
    int64_t value;
    int lost; /* so many copies of its call never arrive */
    bool delivered;
};

/* Whose call it is stands in its first argument: nothing else is known of the sender at first. */
static struct caller *caller_of(struct caller *all, const struct wire *call, int port)
{
    uint32_t i = call->len >= ARGUMENT + 4 ? get_u32(call->bytes + ARGUMENT) : CLIENTS;
    EXPECT(i < CLIENTS, "the call of ADD(0..9, 1000)", hex(call->bytes, call->len));
    struct caller *c = &all[i];
    expect_call(call, call_two(0, ADD, i, 1000), "the call of ADD");
    if (c->port == 0) {
        c->port = port;
        c->xid = get_u32(call->bytes);
    }
    EXPECT(c->port == port && c->xid == get_u32(call->bytes),
           "a call that comes again has the same port and xid",
           text("another %s", c->port == port ? "xid" : "port"));
    return c;
}

TEST(retry, network, "loss, duplication and reordering between calc and the server")
{
    struct random r = random_from_test();
    struct endpoint *server = our_server();
    struct caller all[CLIENTS] = {0};
    for (int i = 0; i < CLIENTS; i++) {
        all[i].p = calc("-u", server, text("add %d 1000", i));
        all[i].value = (int64_t)random_u64(&r);
        all[i].lost = 1 + (int)random_below(&r, 2);
    }
    for (int left = CLIENTS; left > 0;) {
        int from;
        struct wire call = receive_call(server, &from, "calc -u sends its call again");
        struct caller *c = caller_of(all, &call, from);
        if (c->delivered || c->lost-- > 0)
            continue;
        /* Others' replies are led astray to it first, then comes its own, and once more. */
        for (int i = 0; i < CLIENTS; i++) {
            struct wire reply = reply_value(all[i].xid, all[i].value);
            if (all[i].port != 0 && &all[i] != c && random_below(&r, 2) == 0)
                reply_to(server, c->port, &reply);
        }
        struct wire reply = reply_value(c->xid, c->value);
        for (size_t copies = 1 + random_below(&r, 3); copies > 0; copies--)
            reply_to(server, c->port, &reply);
        c->delivered = true;
        left--;
    }
    for (int i = 0; i < CLIENTS; i++)
        expect_printed(all[i].p, text("%lld\n", (long long)all[i].value),
                       "the value of its own reply, over a network that loses and doubles");
}
