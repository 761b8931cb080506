/* What the dispatcher can't serve, in its order, and what is no call at all. */
#include "suites/rpc/peer/rpc.h"

enum { HEADER = 40 };

static struct wire vector_of(struct random *r, uint32_t claimed, uint32_t bytes)
{
    struct wire w = call_with(right_header((uint32_t)random_u64(r), SUM));
    put_u32(&w, claimed);
    for (uint32_t i = 0; i < bytes; i++)
        put_bytes(&w, "\1", 1);
    return w;
}

TEST(reject, vector, "vectors that are too long, or longer than their data: GARBAGE_ARGS")
{
    struct random r = random_from_test();
    static const struct {
        uint32_t claimed, bytes;
    } vectors[] = {{2, 16},          {2, 15},
                   {2, 8},           {1, 0},
                   {1024, 8192},     {1024, 8191},
                   {1024, 8184},     {1025, 8200},
                   {1025, 8192},     {1025, 0},
                   {0x10000, 8},     {0x20000000, 16},
                   {0x20000001, 16}, {0x20000400, 8192},
                   {0x80000000, 8},  {0x80000001, 8},
                   {0xE0000001, 8},  {0xFFFFFFFF, 16},
                   {0x01000000, 8},  {0x0FFFFFFF, 8},
                   {0, 0},           {0x00010001, 8}};
    const long limit_kb = 1024 * MIB_KB;
    struct server s = calcd("");
    struct endpoint *e = connection(&s, "a client");
    long before = process_family_peak_asked_kb(program_pid(s.p));
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        struct wire call = vector_of(&r, vectors[i].claimed, vectors[i].bytes);
        expect_called(e, &call, NULL);
    }
    long grown = process_family_peak_asked_kb(program_pid(s.p)) - before;
    EXPECT(grown <= limit_kb,
           "calcd asks for no more memory than a message has bytes, whatever a vector claims",
           text("it has asked for %ld MiB", grown / MIB_KB));
}

TEST(reject, rpc_version, "another rpcvers: RPC_MISMATCH, 2 to 2, whatever follows")
{
    struct random r = random_from_test();
    const uint32_t versions[] = {0, 1, 3, 0x200, 0xFFFFFFFFu, (uint32_t)random_u64(&r) | 4};
    struct server s = calcd("");
    struct endpoint *e = connection(&s, "a client");
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        struct header h = right_header((uint32_t)random_u64(&r), PROC_NULL);
        struct wire call = call_with(h);
        expect_called(e, &call, NULL);
        h.rpcvers = versions[i];
        h.program = i % 2 ? PROGRAM : (uint32_t)random_u64(&r);
        call = call_with(h);
        expect_called(e, &call, NULL);
        for (size_t len = 12; len < HEADER; len += 1 + random_below(&r, 9)) {
            call.len = len;
            expect_called(e, &call, NULL);
        }
        call.len = 24;
        put_auth(&call, 1, (unsigned char[AUTH_MAX + 4]){0}, AUTH_MAX + 4);
        expect_called(e, &call, NULL);
    }
}

/*
 * Sends what is no call. Returns the connection, or a new one, where it was closed.
 */
static struct endpoint *no_call(const struct server *s, struct endpoint *e, const struct wire *w,
                                const char *what)
{
    static uint32_t xid;
    struct wire reply;
    int64_t total = 0;
    if (answer_to(w->bytes, w->len, &total, &reply))
        suite_failed("this is a call:", hex(w->bytes, w->len));
    record_send(e, w);
    if (alive_or_closed(e, ++xid, what))
        return e;
    endpoint_close(e);
    return connection(s, "the next client");
}

TEST(reject, order, "of several faults the first in the order of the checks counts")
{
    struct random r = random_from_test();
    struct server s = calcd("");
    struct endpoint *e = connection(&s, "a client");
    /* Each of program, version, procedure and arguments right or wrong. */
    for (unsigned wrong = 0; wrong < 32; wrong++) {
        struct header h = right_header((uint32_t)random_u64(&r), ADD);
        h.rpcvers = wrong & 16 ? 3 : 2;
        h.program = wrong & 8 ? PROGRAM + 1 : PROGRAM;
        h.version = wrong & 4 ? 9 : VERSION;
        h.procedure = wrong & 2 ? 77 : ADD;
        struct wire call = call_with(h);
        put_hyper(&call, 1);
        if (!(wrong & 1))
            put_hyper(&call, 2);
        expect_called(e, &call, NULL);
    }
    /* A header that does not end comes before all of them but rpcvers. */
    for (int i = 0; i < 3; i++) {
        struct header h = right_header((uint32_t)random_u64(&r), i == 2 ? 99 : ADD);
        h.program = i == 0 ? PROGRAM + 1 : PROGRAM;
        h.version = i == 1 ? 2 : VERSION;
        struct wire call = call_with(h);
        call.len = HEADER - (size_t)between(&r, 1, 16);
        e = no_call(&s, e, &call, "a header that does not end, of a call that would be rejected");
        call.len = 24;
        put_auth(&call, 0, (unsigned char[AUTH_MAX + 1]){0}, AUTH_MAX + 1);
        put_auth(&call, 0, NULL, 0);
        e = no_call(&s, e, &call, "credentials of 401 bytes, of a call that would be rejected");
    }
}

TEST(reject, no_call, "what is no call has no reply, and calls that follow are served")
{
    struct random r = random_from_test();
    struct server s = calcd("");
    struct endpoint *e = connection(&s, "a client"), *u = net_datagrams(AF_INET, "a UDP client");
    const uint32_t types[] = {REPLY, 2, 0x01000000, 0xFFFFFFFFu};
    uint32_t xid = (uint32_t)random_u64(&r);
    for (size_t len = 0; len < HEADER; len++) {
        struct wire w = call_null(++xid);
        w.len = len;
        e = no_call(&s, e, &w,
                    len < 12 ? text("a message of %zu bytes is no call", len)
                             : text("a header that ends after %zu bytes is no call", len));
        net_send_to(u, s.port, w.bytes, w.len);
    }
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct header h = right_header(++xid, ADD);
        h.type = types[i];
        h.rpcvers = i % 2 ? 2 : 3;
        struct wire w = call_with(h);
        put_hyper(&w, 1);
        put_hyper(&w, 2);
        e = no_call(&s, e, &w, text("a message of type %u is no call", h.type));
        net_send_to(u, s.port, w.bytes, w.len);
    }
    struct wire call = call_two(++xid, ADD, 1, 2);
    expect_answered(u, &s, &call, NULL);
    wait_quiet(s.p, "calcd waits for the next call");
    EXPECT(net_receive_now(u) == NULL, "no reply over UDP to what is no call", "one more datagram");
    expect_called(e, &call, NULL);
}

static struct wire call_as(struct random *r, uint32_t credentials, uint32_t verifier)
{
    static unsigned char bytes[AUTH_MAX + 8];
    random_bytes(r, bytes, sizeof bytes);
    struct wire w = call_null((uint32_t)random_u64(r));
    put_u32(&w, 0); /* room for a flavor below */
    w.len = 20;
    put_u32(&w, ADD);
    put_auth(&w, (uint32_t)random_u64(r) >> random_below(r, 32), bytes, credentials);
    put_auth(&w, (uint32_t)random_u64(r) >> random_below(r, 32), bytes + 4, verifier);
    put_hyper(&w, between(r, 1, 1000));
    put_hyper(&w, between(r, 1, 1000));
    return w;
}

TEST(reject, credentials, "credentials and verifiers of any flavour, up to 400 bytes")
{
    struct random r = random_from_test();
    static const uint32_t sizes[] = {0, 1, 2, 3, 4, 5, 20, 397, 399, 400};
    static const uint32_t claims[] = {404,        0x400,      0x7FFFFFFF, 0x80000000, 0xFFFFFFFC,
                                      0xFFFFFFFD, 0xFFFFFFFF, 28,         400};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    struct server s = calcd("");
    struct endpoint *e = connection(&s, "a client");
    for (int i = 0; i < SIZES; i++) {
        for (int j = 0; j < SIZES; j++) {
            struct wire call = call_as(&r, sizes[i], sizes[j]);
            expect_called(e, &call, NULL);
        }
    }
    for (int i = 0; i < 4; i++) {
        uint32_t len = i < 2 ? 401 : 404;
        struct wire w = i % 2 ? call_as(&r, len, 0) : call_as(&r, 8, len);
        e = no_call(&s, e, &w, text("%s of %u bytes", i % 2 ? "credentials" : "a verifier", len));
    }
    for (size_t i = 0; i < 2 * (sizeof claims / sizeof *claims); i++) {
        struct wire w = call_two((uint32_t)random_u64(&r), ADD, 0, 0), claim = {.len = 0};
        put_u32(&claim, claims[i / 2]);
        for (int j = 0; j < 4; j++)
            w.bytes[(i % 2 ? 28 : 36) + j] = claim.bytes[j];
        e = no_call(
            &s, e, &w,
            text("%s that claims %u bytes", i % 2 ? "a credential" : "a verifier", claims[i / 2]));
    }
    for (uint32_t len = 1; len < 8; len++) { /* NULL: nothing stands behind the padding */
        for (uint32_t missing = len % 4 == 0 ? 0 : 1; missing <= (4 - len % 4) % 4; missing++) {
            struct wire w = call_null((uint32_t)random_u64(&r));
            w.len = HEADER - 8;
            put_auth(&w, 1, "12345678", len);
            w.len -= missing;
            if (missing == 0)
                expect_called(e, &w, NULL);
            else
                e = no_call(
                    &s, e, &w,
                    text("a header that ends in the padding of its verifier of %u bytes is no call",
                         len));
        }
    }
    struct wire call = call_as(&r, 8, 8);
    expect_called(e, &call, NULL);
}

TEST(reject, more_bytes, "bytes after the arguments are ignored")
{
    struct random r = random_from_test();
    unsigned char more[300];
    int64_t total = 0;
    struct server s = calcd("");
    struct endpoint *e = connection(&s, "a client");
    random_bytes(&r, more, sizeof more);
    for (int i = 0; i < 60; i++) {
        struct wire call = call_random(&r, (uint32_t)random_u64(&r));
        if (i == 0)
            call = call_null((uint32_t)random_u64(&r));
        put_bytes(&call, more, (size_t)between(&r, 1, sizeof more));
        expect_called(e, &call, &total);
    }
}
