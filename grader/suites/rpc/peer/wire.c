/*
 * wire.c - XDR and the messages of ONC RPC, written from RFC 4506 and RFC 5531.
 *
 * Numbers go high byte first, an opaque is its length, its bytes and zero bytes up to a multiple of
 * four.
 */
#include "suites/rpc/peer/rpc.h"

#include <stdio.h>
#include <string.h>

void put_bytes(struct wire *w, const void *bytes, size_t len)
{
    if (w->len + len > WIRE_MAX)
        suite_failed("a message is too long for", "struct wire");
    if (len > 0)
        memcpy(w->bytes + w->len, bytes, len);
    w->len += len;
}

void put_u32(struct wire *w, uint32_t value)
{
    const unsigned char bytes[] = {(unsigned char)(value >> 24), (unsigned char)(value >> 16),
                                   (unsigned char)(value >> 8), (unsigned char)value};
    put_bytes(w, bytes, sizeof bytes);
}

void put_hyper(struct wire *w, int64_t value)
{
    put_u32(w, (uint32_t)((uint64_t)value >> 32));
    put_u32(w, (uint32_t)value);
}

void put_auth(struct wire *w, uint32_t flavor, const void *bytes, uint32_t len)
{
    static const unsigned char zero[4];
    put_u32(w, flavor);
    put_u32(w, len);
    put_bytes(w, bytes, len);
    put_bytes(w, zero, (4 - len % 4) % 4);
}

uint32_t get_u32(const void *at)
{
    const unsigned char *b = at;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* ---- calls ---- */

struct header right_header(uint32_t xid, uint32_t procedure)
{
    return (struct header){xid, CALL, 2, PROGRAM, VERSION, procedure};
}

struct wire call_with(struct header h)
{
    struct wire w = {.len = 0};
    const uint32_t words[] = {h.xid, h.type, h.rpcvers, h.program, h.version, h.procedure};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        put_u32(&w, words[i]);
    put_auth(&w, 0, NULL, 0);
    put_auth(&w, 0, NULL, 0);
    return w;
}

struct wire call_null(uint32_t xid)
{
    return call_with(right_header(xid, PROC_NULL));
}

struct wire call_two(uint32_t xid, enum procedure p, int64_t a, int64_t b)
{
    struct wire w = call_with(right_header(xid, p));
    put_hyper(&w, a);
    put_hyper(&w, b);
    return w;
}

struct wire call_sum(uint32_t xid, const int64_t *numbers, uint32_t count)
{
    struct wire w = call_with(right_header(xid, SUM));
    put_u32(&w, count);
    for (uint32_t i = 0; i < count; i++)
        put_hyper(&w, numbers[i]);
    return w;
}

struct wire call_accumulate(uint32_t xid, int64_t number)
{
    struct wire w = call_with(right_header(xid, ACCUMULATE));
    put_hyper(&w, number);
    return w;
}

int64_t hyper_random(struct random *r)
{
    static const int64_t edges[] = {0,         1,         -1,         INT64_MAX,    INT64_MIN,
                                    INT32_MAX, INT32_MIN, UINT32_MAX, INT64_MAX - 1};
    switch (random_below(r, 4)) {
    case 0:
        return edges[random_below(r, sizeof edges / sizeof *edges)];
    case 1:
        return (int64_t)random_u64(r);
    case 2:
        return (int64_t)random_u64(r) >> random_below(r, 64);
    default:
        return between(r, -1000, 1000);
    }
}

struct wire call_random(struct random *r, uint32_t xid)
{
    enum { SHORT_VECTOR = 9 };
    enum procedure p = (enum procedure)random_below(r, PROCEDURES);
    int64_t a[SHORT_VECTOR];
    for (int i = 0; i < SHORT_VECTOR; i++)
        a[i] = hyper_random(r);
    if (p == PROC_NULL)
        return call_null(xid);
    if (p == SUM)
        return call_sum(xid, a, (uint32_t)random_below(r, SHORT_VECTOR + 1));
    if (p == ACCUMULATE)
        return call_accumulate(xid, a[0]);
    return call_two(xid, p, a[0], a[1]);
}

/* ---- replies ---- */

static struct wire reply_accepted(uint32_t xid, uint32_t status)
{
    struct wire w = {.len = 0};
    put_u32(&w, xid);
    put_u32(&w, REPLY);
    put_u32(&w, 0); /* MSG_ACCEPTED */
    put_auth(&w, 0, NULL, 0);
    put_u32(&w, status);
    return w;
}

struct wire reply_begin(uint32_t xid)
{
    return reply_accepted(xid, SUCCESS);
}

struct wire reply_status(uint32_t xid, uint32_t status)
{
    struct wire w = reply_begin(xid);
    put_u32(&w, status);
    return w;
}

struct wire reply_value(uint32_t xid, int64_t value)
{
    struct wire w = reply_status(xid, CALC_OK);
    put_hyper(&w, value);
    return w;
}

struct wire reply_rejected(uint32_t xid, uint32_t accept)
{
    struct wire w = reply_accepted(xid, accept);
    if (accept == PROG_MISMATCH) {
        put_u32(&w, VERSION);
        put_u32(&w, VERSION);
    }
    return w;
}

static struct wire reply_denied(uint32_t xid, uint32_t why)
{
    struct wire w = {.len = 0};
    put_u32(&w, xid);
    put_u32(&w, REPLY);
    put_u32(&w, 1); /* MSG_DENIED */
    put_u32(&w, why);
    return w;
}

struct wire reply_rpc_mismatch(uint32_t xid, uint32_t low, uint32_t high)
{
    struct wire w = reply_denied(xid, 0);
    put_u32(&w, low);
    put_u32(&w, high);
    return w;
}

struct wire reply_auth_error(uint32_t xid, uint32_t why)
{
    struct wire w = reply_denied(xid, 1);
    put_u32(&w, why);
    return w;
}

/* ---- for messages ---- */

const char *hex(const void *bytes, size_t len)
{
    enum { SHOWN = 80, HEAD = 48, WORD = 4 };
    const unsigned char *b = bytes;
    char shown[4 * SHOWN];
    size_t at = 0;
    for (size_t i = 0; i < len; i++) {
        if (len > SHOWN && i == HEAD) {
            size_t to = (len - (SHOWN - HEAD)) & ~(size_t)(WORD - 1);
            at += (size_t)snprintf(shown + at, sizeof shown - at, " ... (%zu bytes) ...", to - i);
            i = to;
        }
        at += (size_t)snprintf(shown + at, sizeof shown - at, "%s%02x",
                               i > 0 && i % WORD == 0 ? " " : "", b[i]);
    }
    return len == 0 ? "no bytes" : text("%s", shown);
}

static int64_t get_hyper(const unsigned char *at)
{
    return (int64_t)((uint64_t)get_u32(at) << 32 | get_u32(at + 4));
}

const char *described(const struct wire *call)
{
    static const char *const names[] = {"NULL", "ADD", "SUB", "MUL", "DIV", "SUM", "ACCUMULATE"};
    enum { HEADER = 40, SHOWN = 3 };
    const unsigned char *args = call->bytes + HEADER;
    if (call->len < HEADER || get_u32(call->bytes + 20) >= PROCEDURES)
        return text("a call of %zu bytes", call->len);
    enum procedure p = (enum procedure)get_u32(call->bytes + 20);
    size_t left = call->len - HEADER;
    if (p == SUM && left >= 4) {
        const char *numbers = "";
        uint32_t count = get_u32(args);
        for (uint32_t i = 0; i < count && i < SHOWN && left >= 4 + 8 * ((size_t)i + 1); i++)
            numbers = text("%s%s%lld", numbers, i == 0 ? "" : ", ",
                           (long long)get_hyper(args + 4 + (size_t)8 * i));
        return text("SUM of %u numbers (%s%s)", count, numbers, count > SHOWN ? ", ..." : "");
    }
    if (p == ACCUMULATE && left >= 8)
        return text("ACCUMULATE(%lld)", (long long)get_hyper(args));
    if (p >= ADD && p <= DIV && left >= 16)
        return text("%s(%lld, %lld)", names[p], (long long)get_hyper(args),
                    (long long)get_hyper(args + 8));
    return names[p];
}

/* What stands at byte `at` of the reply `want`. */
static const char *field(const struct wire *want, size_t at)
{
    static const char *const accepted[] = {"the xid",
                                           "the message type (REPLY is 1)",
                                           "the reply status (MSG_ACCEPTED is 0)",
                                           "the verifier's flavor (AUTH_NONE is 0)",
                                           "the verifier's length (0)",
                                           "the accept status"};
    static const char *const denied[] = {"the xid",
                                         "the message type (REPLY is 1)",
                                         "the reply status (MSG_DENIED is 1)",
                                         "the reject status (RPC_MISMATCH is 0)",
                                         "the lowest version (2)",
                                         "the highest version (2)"};
    bool is_denied = want->len >= 12 && get_u32(want->bytes + 8) == 1;
    if (at / 4 < 6)
        return is_denied ? denied[at / 4] : accepted[at / 4];
    if (get_u32(want->bytes + 20) == PROG_MISMATCH)
        return at < 28 ? "the lowest version (1)" : "the highest version (1)";
    return at < 28 ? "the calculator's status" : "the value";
}

void expect_reply(const struct wire *got, const struct wire *want, const char *what)
{
    size_t same = 0;
    while (same < got->len && same < want->len && got->bytes[same] == want->bytes[same])
        same++;
    if (same == got->len && same == want->len)
        return;
    const char *expected =
        text("%s: the %zu bytes %s", what, want->len, hex(want->bytes, want->len));
    const char *difference = same < want->len && same < got->len
                                 ? text("different in %s", field(want, same))
                             : same == want->len ? "more bytes than the reply has"
                                                 : text("it ends before %s", field(want, same));
    test_fail(expected, text("%zu bytes, %s: %s", got->len, difference, hex(got->bytes, got->len)));
}
