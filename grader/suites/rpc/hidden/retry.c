/* calc over UDP: its own reply among others, its repetitions, a bad network. */
#include "harness/observe.h"
#include "suites/rpc/peer/rpc.h"

#include <string.h>
#include <unistd.h>

enum { TRIES = 4, SENT_MAX = 8 };

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

/* A calc -u to a server of its own, and what comes from it until it ends. */
struct sender {
    struct program *p;
    struct endpoint *server;
    int64_t start;
    int ms, port; /* its time; where its datagrams come from */
    bool ended;
    struct wire first;
    int count, at[SENT_MAX]; /* when each came, in ms from the start */
};

static void sender_start(struct sender *s, const char *options, int ms)
{
    *s = (struct sender){.server = our_server(), .start = clock_ns(), .ms = ms};
    s->p = calc(options, s->server, "add 1 2");
}

/* Takes what has come. */
static void sender_look(struct sender *s)
{
    const struct datagram *d;
    bool ended = program_has_ended(s->p); /* so nothing will come behind what is there now */
    while ((d = net_receive_now(s->server)) != NULL) {
        struct wire call = wire_of(d);
        if (s->count == 0)
            s->first = call;
        s->port = d->port;
        EXPECT(call.len == s->first.len && memcmp(call.bytes, s->first.bytes, call.len) == 0,
               "the same call, each time", hex(call.bytes, call.len));
        if (s->count < SENT_MAX)
            s->at[s->count] = (int)((clock_ns() - s->start) / NS_PER_MS);
        s->count++;
    }
    s->ended = ended;
}

/* A reply to somebody else, if its call is here by now. */
static void sender_disturb(const struct sender *s)
{
    if (s->count == 0 || s->ended)
        return;
    struct wire reply = reply_value(get_u32(s->first.bytes) + 1, 3);
    reply_to(s->server, s->port, &reply);
}

/* Never before its moment: that is no matter of load. */
static void sender_not_early(const struct sender *s, const char *meanwhile)
{
    static const int due[] = {0, 200, 600, 1400, 3000};
    for (int i = 0; i < (int)(sizeof due / sizeof *due) && i < s->count; i++)
        EXPECT(s->at[i] >= due[i] - CLOCKS_DIFFER_MS,
               text("the call is sent for the %d. time when %d ms have passed%s", i + 1, due[i],
                    meanwhile),
               text("it came after %d ms", s->at[i]));
}

/* Until it has ended. */
static void sender_wait(struct sender *s)
{
    while (!s->ended) {
        sender_look(s);
        if (!s->ended)
            let_pass(1);
    }
}

TEST(retry, times, "sent at 0, 200, 600, 1,400 and 3,000 ms, and not again")
{
    enum { SENT = 5, WHOLE_MS = 6200, LONGER_MS = 6600, KINDS = 5, DISTURBED = 4, PAUSE_MS = 70 };
    /* How often it is sent within so many ms. On a machine that is too busy to wake calc up in time
     * it can be another number: then again. Of the last kind replies to others come meanwhile. */
    static const struct {
        int ms, count;
    } due[KINDS] = {{450, 2}, {850, 3}, {2000, 4}, {4200, SENT}, {850, 3}};
    static struct sender whole, longer, shorter[KINDS];
    int64_t disturbed = clock_ns();
    int tries[KINDS] = {0};
    /* Over TCP the time is the same; here, so that it passes once. */
    int64_t start = clock_ns();
    struct program *over_tcp = calc("", our_listener(), "add 1 2");
    sender_start(&whole, "-u", WHOLE_MS);
    sender_start(&longer, text("-u -t %d", LONGER_MS), LONGER_MS);
    for (int i = 0; i < KINDS; i++)
        sender_start(&shorter[i], text("-u -t %d", due[i].ms), due[i].ms);
    for (int left = KINDS; left > 0; let_pass(1)) {
        sender_look(&whole);
        sender_look(&longer);
        if (clock_ns() - disturbed > PAUSE_MS * NS_PER_MS) {
            sender_disturb(&shorter[DISTURBED]);
            disturbed = clock_ns();
        }
        for (int i = 0; i < KINDS; i++) {
            struct sender *s = &shorter[i];
            const char *meanwhile = i == DISTURBED ? ", also when replies to others come" : "";
            if (tries[i] < 0)
                continue;
            sender_look(s);
            if (!s->ended)
                continue;
            sender_not_early(s, meanwhile);
            expect_over(s->p, s->start, s->ms, "no reply comes");
            if (s->count != due[i].count) {
                EXPECT(++tries[i] < TRIES,
                       text("calc -u -t %d sends at 0, 200, 600, 1,400 and 3,000 ms, as far as its "
                            "time goes%s: %d times",
                            s->ms, meanwhile, due[i].count),
                       text("%d times, and not %d times in any of %d tries", s->count, due[i].count,
                            TRIES));
                sender_start(s, text("-u -t %d", s->ms), s->ms);
                continue;
            }
            tries[i] = -1;
            left--;
        }
    }
    sender_wait(&whole);
    sender_not_early(&whole, "");
    EXPECT(whole.count == SENT, "five times, at 0, 200, 600, 1,400 and 3,000 ms, if no reply comes",
           text("%d times", whole.count));
    expect_over(whole.p, whole.start, WHOLE_MS,
                "no reply comes within 6,200 ms, which is the default");
    expect_over(over_tcp, start, WHOLE_MS,
                "no reply comes over TCP within 6,200 ms, which is the default");
    sender_wait(&longer);
    EXPECT(longer.count == SENT,
           text("calc -u -t %d sends five times and not again, but waits on", LONGER_MS),
           text("%d times", longer.count));
    expect_over(longer.p, longer.start, LONGER_MS,
                text("-t %d: no reply comes, and it waits on after the fifth", LONGER_MS));
}

TEST(retry, time_out, "-t bounds the call over UDP, whatever comes meanwhile")
{
    enum { MS = 150, LONG_MS = 300, LATE_MS = 1000 };
    struct endpoint *server = our_server();
    static struct sender s;
    int from;
    for (int i = 0; i < TRIES && s.count != 1; i++) { /* as in retry/times */
        sender_start(&s, text("-u -t %d", MS), MS);
        sender_wait(&s);
        expect_over(s.p, s.start, MS, "no reply comes");
        EXPECT(s.count == 1 || i + 1 < TRIES, "a call of 150 ms is sent once",
               text("%d times", s.count));
    }

    int64_t start = clock_ns();
    struct program *p = calc(text("-u -t %d", LONG_MS), server, "add 1 2");
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

    start = clock_ns();
    expect_over(calc("-u -t 0", our_server(), "add 1 2"), start, 0, "with -t 0 it does not wait");

    endpoint_close(server);
    p = calc(text("-u -t %d", LONG_MS), server, "add 1 2");
    expect_unanswered(p, "nobody has the port");
}

/* The largest call that there is, and the largest reply. */
static void largest(struct random *r)
{
    static int64_t numbers[VECTOR_MAX];
    static unsigned char bytes[AUTH_MAX];
    struct endpoint *server = our_server();
    const char *words = "sum";
    int from, value = between(r, 1, 1000);
    for (int i = 0; i < VECTOR_MAX; i++) {
        numbers[i] = between(r, -1000, 1000);
        words = text("%s %d", words, (int)numbers[i]);
    }
    random_bytes(r, bytes, sizeof bytes);
    struct program *p = calc("-u", server, words);
    struct wire call = first_call(server, &from), reply = {.len = 0};
    expect_call(&call, call_sum(0, numbers, VECTOR_MAX), "the call of SUM of 1,024 numbers");
    put_u32(&reply, get_u32(call.bytes));
    put_u32(&reply, REPLY);
    put_u32(&reply, 0);
    put_auth(&reply, 7, bytes, AUTH_MAX);
    put_u32(&reply, SUCCESS);
    put_u32(&reply, CALC_OK);
    put_hyper(&reply, value);
    reply_to(server, from, &reply);
    expect_printed(p, text("%d\n", value),
                   "the value of a reply with a verifier of 400 bytes, over UDP");
}

TEST(retry, undecodable, "its own reply that can't be decoded, or rejects the call, is a failure")
{
    struct random r = random_from_test();
    struct wire call, w;
    largest(&r);
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

/* The next call of any of them; one that has none of its own to come has ended too early. */
static struct wire next_of(const struct caller *all, struct endpoint *server, int *from)
{
    static const char expected[] = "calc -u sends its call again until its own reply comes";
    const struct datagram *d = net_receive(server, NULL);
    for (int i = 0; i < CLIENTS && d == NULL; i++)
        if (!all[i].delivered && program_has_ended(all[i].p))
            test_fail(expected,
                      text("one of %d at once has ended: %s (%s)", CLIENTS,
                           status_sentence(program_wait(all[i].p)), errors_shown(all[i].p)));
    EXPECT(d != NULL, expected, text("nothing comes any more:\n%s", describe_waiting()));
    *from = d->port;
    return wire_of(d);
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
        struct wire call = next_of(all, server, &from);
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
    for (int i = 1; i < CLIENTS; i++)
        for (int j = 0; j < i; j++)
            EXPECT(all[i].xid != all[j].xid, "two calls have different xids, over UDP too",
                   text("%08x in call %d and in call %d", all[i].xid, j + 1, i + 1));
    for (int i = 0; i < CLIENTS; i++)
        expect_printed(all[i].p, text("%lld\n", (long long)all[i].value),
                       "the value of its own reply, over a network that loses and doubles");
}
