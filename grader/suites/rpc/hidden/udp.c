/* Datagrams, and calls that come more than once. */
#include "suites/rpc/peer/rpc.h"

#include <string.h>
#include <unistd.h>

static const char never_before[] = "such a call has not come before";

static struct endpoint *udp_client(const char *name)
{
    return net_datagrams(AF_INET, name);
}

/* Sends a call that is a repetition, and expects the reply that it had. */
static void again(struct endpoint *e, const struct server *s, const struct wire *call,
                  const struct wire *reply, const char *what)
{
    net_send_to(e, s->port, call->bytes, call->len);
    struct wire got = wire_of(net_receive(e, what));
    expect_reply(&got, reply, what);
}

/* A first call, which is new, since `why`: its reply goes to `reply`. */
static void first(struct endpoint *e, const struct server *s, const struct wire *call,
                  int64_t *total, struct wire *reply, const char *why)
{
    int64_t before = *total;
    answer_to(call->bytes, call->len, &before, reply);
    expect_executed(e, s, call, total, why);
}

TEST(udp, rejected, "rejections over UDP are those over TCP")
{
    struct random r = random_from_test();
    struct server s = calcd("");
    struct endpoint *u = udp_client("a UDP client");
    struct header wrong[5];
    struct wire call;
    for (int i = 0; i < 5; i++)
        wrong[i] = right_header((uint32_t)random_u64(&r), ADD);
    wrong[0].rpcvers = 3;
    wrong[1].program++;
    wrong[2].version = 0;
    wrong[3].procedure = 7;
    for (int i = 0; i < 5; i++) { /* the last one lacks its arguments alone */
        call = call_with(wrong[i]);
        expect_answered(u, &s, &call, NULL);
        call = call_two((uint32_t)random_u64(&r), SUB, between(&r, 1, 1000), 1);
        expect_answered(u, &s, &call, NULL);
    }
    call = call_sum((uint32_t)random_u64(&r), (int64_t[VECTOR_MAX + 1]){0}, VECTOR_MAX + 1);
    expect_answered(u, &s, &call, NULL);
    call = call_with(wrong[0]);
    call.len = 12;
    expect_answered(u, &s, &call, NULL);
    call = call_null((uint32_t)random_u64(&r));
    put_bytes(&call, "more", 4);
    expect_answered(u, &s, &call, NULL);
}

TEST(udp, large, "a datagram is read whole: 1,024 numbers, and bytes behind them")
{
    struct random r = random_from_test();
    int64_t numbers[VECTOR_MAX];
    for (int i = 0; i < VECTOR_MAX; i++)
        numbers[i] = (int64_t)random_u64(&r) >> 12;
    struct server s = calcd("");
    struct endpoint *u = udp_client("a UDP client");
    struct wire call = call_null((uint32_t)random_u64(&r));
    expect_answered(u, &s, &call, NULL);
    for (uint32_t count = VECTOR_MAX; count > 0; count /= 2) {
        call = call_sum((uint32_t)random_u64(&r), numbers, count);
        expect_answered(u, &s, &call, NULL);
    }
    static unsigned char large[65507]; /* the largest datagram that there is, udp(7) */
    struct wire want;
    call = call_sum((uint32_t)random_u64(&r), numbers, VECTOR_MAX);
    answer_to(call.bytes, call.len, NULL, &want);
    memcpy(large, call.bytes, call.len);
    net_send_to(u, s.port, large, sizeof large);
    struct wire got = wire_of(net_receive(u, "the reply to a call of 65,507 bytes"));
    expect_reply(&got, &want, "the reply to a call of 65,507 bytes");
}

TEST(once, key, "address and port, xid and procedure are what a call is known by")
{
    static const char other_xid[] = "it has another xid than the calls before";
    struct random r = random_from_test();
    struct server s = calcd("");
    struct endpoint *a = udp_client("client a"), *b = udp_client("client b");
    int64_t total = 0;
    uint32_t xid = (uint32_t)random_u64(&r) & 0x7FFFFFFF;
    struct wire call = call_accumulate(xid, between(&r, 1, 1000)), reply, other, added;
    first(a, &s, &call, &total, &reply, "it is the first of all");
    expect_executed(b, &s, &call, &total, "it comes from another port than the call before");
    int elsewhere = elsewhere_socket(a);
    if (elsewhere >= 0) {
        struct wire want, got;
        const char *what = "the reply to a call with the port, xid and procedure of an earlier "
                           "one, but from another address (127.0.0.2): it is executed";
        answer_to(call.bytes, call.len, &total, &want);
        send_from(elsewhere, s.port, &call);
        got = receive_elsewhere(elsewhere, what);
        expect_reply(&got, &want, what);
        close(elsewhere);
    }
    again(a, &s, &call, &reply, "the same reply to a call that is repeated");
    other = call_accumulate(xid, -between(&r, 1, 1000));
    again(a, &s, &other, &reply,
          "a repetition is known by address, port, xid and procedure, not by its arguments");
    other = call_two(xid, ADD, 3, 4);
    first(a, &s, &other, &total, &added, "it calls another procedure");
    other = call_two(xid, ADD, 5, 6);
    again(a, &s, &other, &added,
          "the same reply to an ADD that is repeated, whatever its arguments are now");
    other = call_accumulate(xid ^ 0x80000000u, between(&r, 1, 1000));
    expect_executed(a, &s, &other, &total, other_xid);
    other = call_accumulate(xid + 0x10000, between(&r, 1, 1000));
    expect_executed(a, &s, &other, &total, other_xid);
    other = call_null(xid);
    expect_executed(a, &s, &other, NULL, "it calls another procedure");
    const uint32_t edges[] = {0, UINT32_MAX}; /* are xids, too */
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
        other = call_accumulate(edges[i], between(&r, 1, 1000));
        first(a, &s, &other, &total, &added, other_xid);
        again(a, &s, &other, &added,
              text("the same reply to a call that is repeated, with the xid %08x", edges[i]));
    }
    again(a, &s, &call, &reply, "the same reply to a call that is repeated after others");
    /* An error is a result, too: repeated when it would be none any more. */
    struct wire up = call_accumulate(xid + 1, INT64_MAX), overflow;
    first(b, &s, &up, &total, &overflow, other_xid);
    struct wire down = call_accumulate(xid + 2, -total);
    expect_executed(b, &s, &down, &total, other_xid);
    again(b, &s, &up, &overflow, "CALC_OVERFLOW again, when that call is repeated");
    down = call_accumulate(xid + 3, 0);
    expect_executed(b, &s, &down, &total, other_xid);
}

TEST(once, remembers, "the last 1,024 calls are remembered, counted from their first arrival")
{
    enum { KEPT = 1024, CLIENTS = 64, NEXT = KEPT + 1 };
    struct random r = random_from_test();
    static struct wire call[NEXT + 1], reply[NEXT + 1];
    struct endpoint *u[CLIENTS];
    int64_t total = 0;
    uint32_t xid = (uint32_t)random_u64(&r);
    struct server s = calcd("");
    for (int i = 0; i < CLIENTS; i++)
        u[i] = udp_client(text("client %d", i + 1));
    for (int i = 1; i <= KEPT; i++) {
        call[i] = call_accumulate(xid + (uint32_t)(i / CLIENTS), between(&r, 1, 1000));
        first(u[i % CLIENTS], &s, &call[i], &total, &reply[i], never_before);
        if (i % 100 == 0) /* a repetition is no new call, and makes no old one younger */
            again(u[1], &s, &call[1], &reply[1], "the same reply to the first call, repeated");
    }
    for (int i = 1; i <= KEPT; i++)
        again(u[i % CLIENTS], &s, &call[i], &reply[i],
              text("the same reply to call %d of %d, the last of all", i, KEPT));
    again(u[1], &s, &call[1], &reply[1], "the same reply to the first of 1,024 calls");
    call[NEXT] = call_accumulate(xid + KEPT, 1);
    first(u[0], &s, &call[NEXT], &total, &reply[NEXT], never_before);
    for (int i = 2; i <= NEXT; i++)
        again(u[i == NEXT ? 0 : i % CLIENTS], &s, &call[i], &reply[i],
              text("the same reply to call %d of 1,025: it is one of the last 1,024, counted from "
                   "their first arrival",
                   i));
    struct wire look = call_accumulate(xid + NEXT, 0);
    expect_answered(u[0], &s, &look, &total);
}

TEST(once, tcp_executes, "calls over TCP are always executed")
{
    struct random r = random_from_test();
    struct server s = calcd("");
    struct endpoint *u = udp_client("a UDP client"), *e = connection(&s, "a TCP client");
    int64_t total = 0;
    struct wire call = call_accumulate((uint32_t)random_u64(&r), between(&r, 1, 1000)), reply;
    expect_called(e, &call, &total);
    expect_called(e, &call, &total);
    first(u, &s, &call, &total, &reply, "over UDP it has not come before");
    expect_called(e, &call, &total);
    struct endpoint *other = connection(&s, "another TCP client");
    expect_called(other, &call, &total);
    again(u, &s, &call, &reply, "the same reply to a call that is repeated over UDP");
    expect_called(e, &call, &total);
}

/* ---- a network that loses, doubles and reorders, on paper: no time passes ---- */

enum { NET_CALLS = 60, NET_FLYING = 200 };

struct network {
    struct wire call[NET_CALLS], reply[NET_CALLS];
    bool executed[NET_CALLS], done[NET_CALLS];
    int flying[NET_FLYING]; /* copies of calls under way to calcd */
    size_t count;
};

static void fly(struct network *n, struct random *r, int i)
{
    size_t copies = random_below(r, 4); /* 0: lost; 2 and 3: doubled */
    while (copies-- > 0 && n->count < NET_FLYING)
        n->flying[n->count++] = i;
}

/* One copy, any of them, arrives at calcd; the reply to it may be lost. */
static void arrive(struct network *n, struct random *r, struct endpoint *u, const struct server *s,
                   int64_t *total)
{
    size_t which = random_below(r, n->count);
    int i = n->flying[which];
    n->flying[which] = n->flying[--n->count];
    if (!n->executed[i])
        answer_to(n->call[i].bytes, n->call[i].len, total, &n->reply[i]);
    again(u, s, &n->call[i], &n->reply[i],
          n->executed[i] ? "the reply that the call had, to a copy of it that comes later"
                         : "the reply to the first copy of a call that arrives");
    n->executed[i] = true;
    n->done[i] |= random_below(r, 3) > 0;
}

TEST(once, network, "loss, duplication and reordering: each call counts once")
{
    struct random r = random_from_test();
    static struct network n;
    int64_t total = 0;
    uint32_t xid = (uint32_t)random_u64(&r);
    struct server s = calcd("");
    struct endpoint *u = udp_client("a client behind a bad network");
    n = (struct network){.count = 0};
    for (int i = 0; i < NET_CALLS; i++)
        n.call[i] = i % 4 == 3 ? call_two(xid + (uint32_t)i, MUL, i, between(&r, 1, 1000))
                               : call_accumulate(xid + (uint32_t)i, between(&r, -1000, 1000));
    for (int begun = 0, done = 0; done < NET_CALLS;) {
        /* Up to eight calls wait for their replies; each is sent again while it has none. */
        done = 0;
        for (int i = 0; i < begun; i++) {
            if (!n.done[i])
                fly(&n, &r, i);
            done += n.done[i];
        }
        if (begun < NET_CALLS && begun - done < 8)
            begun++;
        for (size_t k = random_below(&r, 6); k > 0 && n.count > 0; k--)
            arrive(&n, &r, u, &s, &total);
    }
    while (n.count > 0) /* what is under way still comes, late */
        arrive(&n, &r, u, &s, &total);
    struct wire look = call_accumulate(xid + NET_CALLS, 0);
    expect_answered(u, &s, &look, &total);
}

static const char *bounded_what(const struct wire *replies, size_t come, void *context)
{
    (void)replies, (void)come, (void)context;
    return "each of many different calls over UDP is answered";
}

/* A batch of calls, all from one port, and what they were answered at first. */
struct batch {
    uint32_t xid; /* of the first */
    struct wire want[BULK_MAX];
};

/* Its calls again, with other arguments: so that from memory is not what an execution gives. */
static void batch_again(const struct batch *first, struct bulk *b, struct random *r)
{
    static const char expected[] =
        "the reply that it had, to a call over UDP that is repeated (with other arguments) and is "
        "one of the last 1,024, of tens of thousands from this port";
    static struct wire replies[BULK_MAX];
    for (int i = 0; i < BULK_MAX; i++) {
        struct wire call = call_two(first->xid + (uint32_t)i, MUL, i + 1, between(r, 1001, 2000));
        bulk_send(b, &call);
    }
    bulk_collect(b, replies, BULK_MAX, bounded_what, NULL);
    for (int i = 0; i < BULK_MAX; i++) {
        uint32_t which = get_u32(replies[i].bytes) - first->xid;
        EXPECT(which < BULK_MAX, expected, "another xid");
        expect_reply(&replies[i], &first->want[which], expected);
    }
}

TEST(once, bounded, "what is remembered is bounded, and the last 1,024 calls always are")
{
    /* One batch in so many is called again before the next one is kept, so at no moment all that
     * was remembered can be lost unseen. 15 batches and the NULL calls behind them are 975. */
    enum { WARM = 2000, CALLS = 60000, LIMIT_KB = 5 * MIB_KB / 2, BACK = 14 };
    static struct wire replies[BULK_MAX];
    static struct batch kept;
    struct random r = random_from_test();
    struct server s = calcd("");
    struct bulk *b = bulk_open(&s);
    int64_t total = 0;
    uint32_t xid = 0;
    long before = 0;
    while (xid < WARM + CALLS) {
        struct wire want[BULK_MAX];
        if (xid >= WARM && before == 0)
            before = memory_kb(&s);
        for (int i = 0; i < BULK_MAX; i++) {
            struct wire call = call_two(xid + (uint32_t)i, MUL, i, between(&r, 1, 1000));
            answer_to(call.bytes, call.len, NULL, &want[i]);
            bulk_send(b, &call);
        }
        bulk_collect(b, replies, BULK_MAX, bounded_what, NULL);
        for (int i = 0; i < BULK_MAX; i++) {
            uint32_t which = get_u32(replies[i].bytes) - xid;
            EXPECT(which < BULK_MAX, "a reply to one of the calls", "another xid");
            expect_reply(&replies[i], &want[which], "the reply to one of many calls over UDP");
        }
        if (xid / BULK_MAX % BACK == 0) {
            if (xid > 0)
                batch_again(&kept, b, &r);
            kept.xid = xid;
            memcpy(kept.want, want, sizeof want);
        }
        xid += BULK_MAX;
    }
    expect_memory(&s, before, LIMIT_KB, text("%d different calls over UDP", CALLS));
    struct endpoint *u = udp_client("a UDP client");
    struct wire call = call_accumulate(1, 7), reply;
    first(u, &s, &call, &total, &reply, never_before);
    again(u, &s, &call, &reply, "the same reply to a call that is repeated");
}
