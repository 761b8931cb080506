/* Hostile, silent and broken clients, and very many calls. */
#include "suites/rpc/peer/rpc.h"

#include <signal.h>
#include <string.h>

enum { STREAM = 1 << 20 };
static unsigned char stream[STREAM];
/* Who reads byte by byte works for seconds on what some clients send without reading. */
enum { WORK_S = 6 };

TEST(strangers, many, "150 connections at once are served")
{
    enum { CLIENTS = 150 }; /* as many threads or processes are allowed, too */
    struct random r = random_from_test();
    static struct endpoint *e[CLIENTS];
    struct server s = calcd("");
    for (int i = 0; i < CLIENTS; i++)
        e[i] = connection(&s, text("client %d", i + 1));
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < CLIENTS; i++) {
            int which = round == 0 ? i : CLIENTS - 1 - i;
            struct wire call = call_two((uint32_t)random_u64(&r), ADD, which, round);
            expect_called(e[which], &call, NULL);
        }
    }
}

/* As many of `len` bytes again and again as calcd takes, at most `max`; whether it stopped. */
static bool send_until_full(struct endpoint *e, const struct server *s, size_t len, size_t max)
{
    size_t at = 0;
    for (size_t sent = 0; sent < max;) {
        size_t now = endpoint_send_some(e, stream + at, len - at);
        at = (at + now) % len;
        sent += now;
        if (endpoint_is_gone(e))
            return true;
        if (now > 0)
            continue;
        wait_quiet_after_work(s->p, WORK_S, "calcd waits");
        if (endpoint_send_some(e, stream + at, 1) == 0)
            return true;
        at = (at + 1) % len;
        sent++;
    }
    return false;
}

/* A stream, taken apart byte by byte. */
struct replies {
    unsigned char mark[4];
    size_t mark_len;
    uint32_t left; /* bytes of the fragment that have not come yet */
    struct wire got;
};

/* Takes the next byte; true when a record is whole by it. */
static bool next_byte(struct replies *s, char byte)
{
    if (s->mark_len < sizeof s->mark) {
        s->mark[s->mark_len++] = (unsigned char)byte;
        if (s->mark_len < sizeof s->mark)
            return false;
        s->left = get_u32(s->mark) & 0x7FFFFFFF;
        EXPECT(s->left <= WIRE_MAX - s->got.len, "a reply", hex(s->mark, sizeof s->mark));
    } else {
        put_bytes(&s->got, &byte, 1);
        s->left--;
    }
    if (s->left > 0)
        return false;
    s->mark_len = 0;
    return (s->mark[0] & 0x80) != 0;
}

/* Calls of ADD that differ in their xid, which counts them from 0, and what each is answered. */
static size_t calls_counted(size_t count, struct wire *want)
{
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        struct wire call = call_two((uint32_t)i, ADD, 1, 2);
        record_append(stream, sizeof stream, &len, &call, WIRE_MAX);
        if (i == 0)
            answer_to(call.bytes, call.len, NULL, want);
    }
    return len;
}

/*
 * Reads `count` replies to calls of calls_counted(), which were `period` and come again and again;
 * `want` is the first one's. false: the end came first.
 */
static bool read_replies(struct endpoint *e, size_t count, size_t period, const struct wire *want)
{
    static struct replies s;
    size_t done = 0;
    s = (struct replies){.left = 0};
    while (done < count) {
        size_t len;
        endpoint_peek(e, &len);
        len = len > 0 ? len : 1;
        const char *bytes = endpoint_read(e, len, "every reply comes, once the client reads");
        if (bytes == NULL)
            return false;
        for (size_t i = 0; i < len; i++) {
            if (!next_byte(&s, bytes[i]))
                continue;
            EXPECT(done < count, "one reply to each call", "more replies than calls");
            struct wire next = {.len = 0};
            put_u32(&next, (uint32_t)(done++ % period));
            put_bytes(&next, want->bytes + next.len, want->len - next.len);
            expect_reply(&s.got, &next, "each reply, in their order, once the client reads");
            s.got.len = 0;
        }
    }
    return true;
}

/* To one who reads at last, and may have shut down its sending side meanwhile. */
static void expect_replies(struct endpoint *e, size_t count, size_t period, const struct wire *want,
                           bool shut)
{
    if (!read_replies(e, count, period, want) && !endpoint_was_reset(e))
        test_fail(text("all %zu replies, once the client reads%s, or the client is dropped", count,
                       shut ? " (it had shut down its sending side before)" : ""),
                  "the connection has ended in their middle, as if there were no more");
}

TEST(strangers, not_reading, "a client that does not read costs the others nothing")
{
    enum { CALLS = 1000, MAX = 16 << 20, LIMIT_KB = 3 * MIB_KB };
    struct random r = random_from_test();
    struct server s = calcd("");
    struct endpoint *fast = connection(&s, "a fast client"), *slow = narrow_connection(&s);
    endpoint_hold(slow, true);
    struct wire want, quick;
    size_t len = calls_counted(CALLS, &want);
    quick = call_null((uint32_t)random_u64(&r));
    expect_called(fast, &quick, NULL);
    long before = memory_kb(&s);
    bool stopped = send_until_full(slow, &s, len, MAX);
    expect_memory(&s, before, LIMIT_KB, "a client sends calls without end and reads no reply");
    EXPECT(stopped, "calcd reads no more calls of a client that takes no replies, or drops it",
           "it reads on without end");
    for (int i = 0; i < 20; i++) {
        quick = call_two((uint32_t)random_u64(&r), SUB, i, 1);
        expect_called(fast, &quick, NULL);
    }
    expect_alive(&s, "while a client reads no replies");
    /* When it reads again, the replies are whole, and all of them come, but to who was dropped. */
    bool dropped = endpoint_is_gone(slow);
    size_t calls = (size_t)(endpoint_taken(slow) / (len / CALLS));
    endpoint_close_input(slow); /* it has said all, and only reads from now on */
    endpoint_hold(slow, false);
    if (!dropped)
        expect_replies(slow, calls, CALLS, &want, true);
    expect_alive(&s, "after a client has read its replies at last");
}

/*
 * What it gets is more than the connection holds, so that calcd finds the end while replies wait;
 * how many it lets wait before it reads on is its own affair, hence clients of many sizes. Half of
 * them do not shut down before they have their replies: nothing more comes then that would wake a
 * calcd with calls that it has read and not answered. Of these, some have half a call behind the
 * others; the rest read a little and call once more: so there is room for that one's reply in
 * calcd's system, though others wait before it, and calcd was not told of the room.
 */
TEST(strangers, late_reader,
     "a client that has said all, and reads its replies late, gets them all, in their order")
{
    enum { CLIENTS = 12, STEP = 500, HALF = 30, A_LITTLE = 8192 }; /* calls, 40 bytes a reply */
    struct server s = calcd("");
    struct endpoint *e[CLIENTS];
    struct wire want;
    const size_t call_len =
        calls_counted((size_t)(CLIENTS * STEP + 1), &want) / (CLIENTS * STEP + 1);
    for (int i = 0; i < CLIENTS; i++) {
        e[i] = narrow_connection(&s);
        endpoint_hold(e[i], true);
        endpoint_queue(e[i], stream, (size_t)(i + 1) * STEP * call_len + (i % 3 == 0 ? HALF : 0));
        if (i % 2 == 0)
            endpoint_close_input(e[i]);
    }
    wait_quiet_after_work(s.p, WORK_S, "calcd waits until its clients read");
    for (int i = 0; i < CLIENTS; i++) {
        size_t calls = (size_t)(i + 1) * STEP;
        if (i % 2 != 0 && i % 3 != 0) {
            endpoint_let_in(e[i], A_LITTLE);
            endpoint_queue(e[i], stream + calls++ * call_len, call_len);
            wait_quiet_after_work(s.p, WORK_S, "calcd waits until its client reads on");
        }
        endpoint_hold(e[i], false);
        expect_replies(e[i], calls, calls, &want, i % 2 == 0);
        if (i % 2 != 0)
            endpoint_close_input(e[i]);
        endpoint_wait_end(e[i], "calcd closes the connection when all calls are answered");
    }
    expect_alive(&s, "after clients that read late");
}

/* What is left of a client, in one of several ways. */
static void strange_end(struct server *s, struct random *r, int kind)
{
    struct endpoint *e = connection(s, "a strange client");
    struct wire call = call_two((uint32_t)random_u64(r), ADD, 1, 2);
    size_t len = 0;
    if (kind == 0) { /* comes and goes */
        endpoint_close(e);
        return;
    }
    if (kind <= 2) { /* goes in the middle of a call */
        record_append(stream, sizeof stream, &len, &call, 50);
        endpoint_send(e, stream, 1 + random_below(r, len - 1));
    } else if (kind <= 4) { /* goes before many replies are written */
        /* 200 fit into the connection, and our end behind them: with that, a reply to nobody is
         * EPIPE, and without it ECONNRESET. */
        for (int i = 0; i < (kind == 4 ? 200 : 3000); i++)
            record_append(stream, sizeof stream, &len, &call, 50);
        program_signal(s->p, SIGSTOP);
        endpoint_hold(e, true);
        endpoint_send_some(e, stream, len); /* as many as there is room for */
    } else if (kind == 5) {                 /* announces too much */
        send_word(e, mark(false, 0x7FFFFFFF));
        endpoint_wait_end(e, "calcd closes the connection of too long a record");
    } else if (kind == 6) { /* has nothing more to say */
        expect_called(e, &call, NULL);
        endpoint_close_input(e);
        endpoint_wait_end(e, "calcd closes the connection when the client has ended its direction");
    } else { /* is served */
        expect_called(e, &call, NULL);
    }
    if (kind % 2)
        endpoint_reset(e);
    else
        endpoint_close(e);
    program_signal(s->p, SIGCONT);
}

TEST(strangers, resets, "clients that are gone, by a reset too, before their replies are written")
{
    struct random r = random_from_test();
    struct server s = calcd("");
    struct endpoint *e = connection(&s, "a client that stays");
    for (int i = 0; i < 24; i++) {
        struct wire call = call_two((uint32_t)random_u64(&r), ADD, i, 2);
        strange_end(&s, &r, 1 + i % 4);
        expect_called(e, &call, NULL);
    }
    expect_alive(&s, "after clients that were gone before their replies");
}

struct count {
    const struct server *s;
    size_t wanted;
};

static bool as_before(void *context)
{
    const struct count *c = context;
    return process_family_descriptors(program_pid(c->s->p)) <= c->wanted;
}

TEST(strangers, descriptors, "after 1,100 connections as many descriptors are open as before")
{
    /* The others: more than there may be descriptors, processes, or stacks of 8 MiB. */
    enum { CONNECTIONS = 300, KINDS = 8, OTHERS = 800 };
    struct random r = random_from_test();
    struct server s = calcd("");
    expect_alive(&s, "at the beginning");
    wait_quiet(s.p, "calcd waits for clients");
    struct count c = {&s, process_family_descriptors(program_pid(s.p))};
    for (int i = 0; i < CONNECTIONS; i++)
        strange_end(&s, &r, i % KINDS);
    for (int i = 0; i < OTHERS; i++)
        expect_alive(&s, text("after %d connections", CONNECTIONS + i));
    if (!wait_until_or_stuck(as_before, &c, "calcd closes what it has opened"))
        test_fail(text("%zu open descriptors, as before the connections", c.wanted),
                  text("%zu open descriptors", process_family_descriptors(program_pid(s.p))));
}

TEST(strangers, idle,
     "without work calcd sleeps: no clients, half calls, replies that nobody takes")
{
    enum { CALLS = 1000, MAX = 16 << 20 };
    struct server s = calcd("");
    expect_idle(s.p, "there are no clients");
    struct endpoint *half = connection(&s, "a client in the middle of a call");
    struct wire call = call_two(1, ADD, 1, 2);
    size_t len = 0;
    record_append(stream, sizeof stream, &len, &call, WIRE_MAX);
    endpoint_send(half, stream, len / 2);
    expect_idle(s.p, "a client is silent in the middle of a call");
    struct endpoint *slow = narrow_connection(&s);
    endpoint_hold(slow, true);
    for (int i = 1; i < CALLS; i++)
        record_append(stream, sizeof stream, &len, &call, WIRE_MAX);
    send_until_full(slow, &s, len, MAX);
    expect_idle(s.p, "a client takes no replies");
    endpoint_reset(half);
    expect_alive(&s, "a client takes no replies");
    expect_idle(s.p, "a client takes no replies");
    program_signal(s.p, SIGTERM);
    expect_status(s.p, 0, "SIGTERM ends calcd, also while a client takes no replies");
}
