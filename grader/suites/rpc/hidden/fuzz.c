/* Mutated calls from the seed, more than 20,000 in each grading, and the reply to each. */
#include "suites/rpc/peer/rpc.h"

#include <string.h>

enum { STREAM = 1 << 20 };
static unsigned char stream[STREAM];

enum { FUZZ_CALLS = 10200, FUZZ_WARM = 2000, FUZZ_LIMIT_KB = 3 * MIB_KB };

static uint32_t odd_word(struct random *r)
{
    static const uint32_t words[] = {0,          1,          2,          7,      400,
                                     401,        1024,       1025,       65536,  0x7FFFFFFF,
                                     0x80000000, 0xFFFFFFFF, 0xFFFFFFFD, PROGRAM};
    return words[random_below(r, sizeof words / sizeof *words)];
}

/* Changes something, mostly. */
static void mutate(struct random *r, struct wire *w)
{
    struct wire piece = {.len = 0};
    size_t at = 4 + random_below(r, w->len < 5 ? 1 : (w->len < 64 ? w->len : 64) - 4);
    switch (random_below(r, 6)) {
    case 0: /* a bit */
        if (at < w->len)
            w->bytes[at] ^= (unsigned char)(1u << random_below(r, 8));
        break;
    case 1: /* a byte */
        if (at < w->len)
            w->bytes[at] = (unsigned char)random_u64(r);
        break;
    case 2: /* a word */
    case 3:
        put_u32(&piece, odd_word(r));
        if (at / 4 * 4 + 4 <= w->len)
            memcpy(w->bytes + at / 4 * 4, piece.bytes, piece.len);
        break;
    case 4: /* cut */
        w->len = random_below(r, w->len + 1);
        break;
    default: /* longer */
        random_bytes(r, piece.bytes, piece.len = random_below(r, 60));
        if (w->len + piece.len <= WIRE_MAX)
            put_bytes(w, piece.bytes, piece.len);
    }
}

/* A call with one or two changes: it may be a call all the same. The xid stays. */
static struct wire mutated(struct random *r, uint32_t xid)
{
    static int64_t numbers[VECTOR_MAX];
    struct wire call = random_below(r, 40) == 0
                           ? call_sum(xid, numbers, (uint32_t)random_below(r, VECTOR_MAX + 1))
                           : call_random(r, xid);
    struct wire w = call;
    do
        for (size_t times = 1 + random_below(r, 2); times > 0; times--)
            mutate(r, &w);
    while (w.len == call.len && memcmp(w.bytes, call.bytes, w.len) == 0);
    return w;
}

/* "the 56 bytes 00000001 ...", so that it can be sent again by hand. */
static const char *shown(const struct wire *w)
{
    return text("the %zu bytes %s", w->len, hex(w->bytes, w->len));
}

/*
 * What is no call, alone on the connection, and a NULL call behind it. Returns the connection, or a
 * new one.
 */
static struct endpoint *no_call(const struct server *s, struct endpoint *e, const struct wire *w,
                                uint32_t xid)
{
    record_send(e, w);
    if (alive_or_closed(e, xid, text("no call are %s", shown(w))))
        return e;
    endpoint_close(e);
    return connection(s, "a client of many calls");
}

/* Large batches: a server that sends each reply by itself, and without TCP_NODELAY, is made to wait
 * by Nagle's algorithm once in each. */
enum { BATCH = 510 };

TEST(strangers, fuzz_tcp, "10,200 mutated calls over TCP, each answered as the contract says")
{
    static struct wire calls[BATCH], want[BATCH], none[BATCH];
    struct random r = random_from_test();
    struct server s = calcd("");
    struct endpoint *e = connection(&s, "a client of many calls");
    int64_t total = 0;
    uint32_t xid = 0;
    long before = 0;
    for (int sent = 0; sent < FUZZ_CALLS; sent += BATCH) {
        size_t len = 0, count = 0, no_calls = 0;
        if (sent >= FUZZ_WARM && before == 0)
            before = memory_kb(&s);
        for (int i = 0; i < BATCH; i++) {
            struct wire call = mutated(&r, ++xid);
            if (answer_to(call.bytes, call.len, &total, &want[count])) {
                record_append(stream, sizeof stream, &len, &call, 1 + random_below(&r, 2000));
                calls[count++] = call;
            } else if (random_below(&r, 8) == 0) {
                none[no_calls++] = call;
            } else {
                i--; /* not sent: few are enough, since each may cost a connection */
            }
        }
        endpoint_queue(e, stream, len);
        for (size_t i = 0; i < count; i++)
            expect_record(
                e, &want[i],
                text("the reply to one of many calls over TCP, which is the first without one of "
                     "those that were sent together: %s",
                     shown(&calls[i])));
        for (size_t i = 0; i < no_calls; i++)
            e = no_call(&s, e, &none[i], xid);
    }
    expect_memory(&s, before, FUZZ_LIMIT_KB, "thousands of mutated calls over TCP");
    expect_alive(&s, "after 10,200 mutated calls over TCP");
}

enum { WINDOW = 32 };

/* Messages in the order in which they are sent, and what the calls among them are due. */
struct window {
    struct wire sent[BULK_MAX], want[BULK_MAX];
    bool is_call[BULK_MAX];
    size_t messages, calls;
};

static bool has_come(const struct wire *replies, size_t come, const struct wire *call)
{
    for (size_t i = 0; i < come; i++)
        if (replies[i].len >= 4 && get_u32(replies[i].bytes) == get_u32(call->bytes))
            return true;
    return false;
}

/* Which is the first that has no reply; of what is no call, behind which it was sent. */
static const char *window_what(const struct wire *replies, size_t come, void *context)
{
    const struct window *w = context;
    const char *behind = "";
    for (size_t i = 0; i < w->messages; i++) {
        if (!w->is_call[i])
            behind = text(", sent behind %s, which are no call", shown(&w->sent[i]));
        else if (has_come(replies, come, &w->sent[i]))
            behind = "";
        else
            return text("the reply to one of many calls over UDP, %s%s", shown(&w->sent[i]),
                        behind);
    }
    return text("the reply to a NULL call%s",
                *behind != '\0' ? behind : ", sent behind many others");
}

static void window_close(struct window *w, struct bulk *b)
{
    static struct wire got[BULK_MAX];
    bulk_collect(b, got, w->calls, window_what, w);
    for (size_t i = 0; i < w->calls; i++) {
        size_t j = 0;
        while (j < w->messages && (!w->is_call[j] || got[i].len < 4 ||
                                   get_u32(got[i].bytes) != get_u32(w->sent[j].bytes)))
            j++;
        EXPECT(j < w->messages, "a reply to one of the calls", hex(got[i].bytes, got[i].len));
        expect_reply(&got[i], &w->want[j],
                     text("the reply to one of many calls over UDP, %s", shown(&w->sent[j])));
    }
    w->messages = w->calls = 0;
}

TEST(strangers, fuzz_udp, "10,200 mutated calls over UDP, each answered as the contract says")
{
    static struct window w;
    struct random r = random_from_test();
    struct server s = calcd("");
    struct bulk *b = bulk_open(&s);
    int64_t total = 0;
    long before = 0;
    w.messages = w.calls = 0;
    for (uint32_t xid = 1; xid <= FUZZ_CALLS; xid++) {
        struct wire call = mutated(&r, xid), reply;
        int64_t after = total;
        bool is_call = answer_to(call.bytes, call.len, &after, &reply);
        /* Of datagrams under way no order is promised: one ACCUMULATE goes alone. */
        bool accumulates = call.len >= 24 && get_u32(call.bytes + 20) == ACCUMULATE;
        if (accumulates && random_below(&r, 8) > 0) {
            xid--; /* not so many of them: each is a wait */
            continue;
        }
        if (accumulates || w.calls == WINDOW || w.messages == BULK_MAX)
            window_close(&w, b);
        bulk_send(b, &call);
        total = after;
        w.sent[w.messages] = call;
        w.is_call[w.messages] = is_call;
        if (is_call)
            w.want[w.messages] = reply;
        w.messages++;
        w.calls += is_call;
        if (accumulates)
            window_close(&w, b);
        if (xid == FUZZ_WARM)
            before = memory_kb(&s);
    }
    window_close(&w, b);
    expect_memory(&s, before, FUZZ_LIMIT_KB, "thousands of mutated calls over UDP");
    expect_alive(&s, "after 10,200 mutated calls over UDP");
}
