/* model.c - the contract as a function: which reply any bytes are due, if any. */
#include "suites/rpc/peer/rpc.h"

/* Bytes that are read to their end, and no further. */
struct reader {
    const unsigned char *at;
    size_t left;
    bool over; /* more was asked for than there is */
};

static const unsigned char *take(struct reader *r, size_t len)
{
    static const unsigned char zero[8];
    if (r->over || len > r->left) {
        r->over = true;
        return zero;
    }
    const unsigned char *at = r->at;
    r->at += len;
    r->left -= len;
    return at;
}

static uint32_t take_u32(struct reader *r)
{
    return get_u32(take(r, 4));
}

static int64_t take_hyper(struct reader *r)
{
    uint64_t high = take_u32(r);
    return (int64_t)(high << 32 | take_u32(r));
}

/* False: it ends the message, or is too long. */
static bool skip_auth(struct reader *r)
{
    take_u32(r);
    uint32_t len = take_u32(r);
    if (r->over || len > AUTH_MAX)
        return false;
    take(r, (len + 3) / 4 * 4);
    return !r->over;
}

/* ---- arithmetic, in a type that holds every result ---- */

__extension__ typedef __int128 wide;

static bool fits(wide value)
{
    return value >= INT64_MIN && value <= INT64_MAX;
}

static struct wire result_of(uint32_t xid, wide value)
{
    return fits(value) ? reply_value(xid, (int64_t)value) : reply_status(xid, CALC_OVERFLOW);
}

static struct wire two_of(uint32_t xid, uint32_t procedure, wide a, wide b)
{
    switch (procedure) {
    case ADD:
        return result_of(xid, a + b);
    case SUB:
        return result_of(xid, a - b);
    case MUL:
        return result_of(xid, a * b);
    default:
        return b == 0 ? reply_status(xid, CALC_DIVIDE_BY_ZERO) : result_of(xid, a / b);
    }
}

static struct wire accumulate(uint32_t xid, int64_t number, int64_t *total)
{
    if (total == NULL)
        suite_failed("no total is kept for", "ACCUMULATE");
    wide sum = (wide)*total + number;
    if (fits(sum))
        *total = (int64_t)sum;
    return result_of(xid, sum);
}

/* The vector has `count` numbers; all of them are there, or none counts. */
static struct wire sum_of(uint32_t xid, struct reader *r, uint32_t count)
{
    wide sum = 0;
    bool overflow = false;
    for (uint32_t i = 0; i < count && !r->over; i++) {
        sum += take_hyper(r);
        overflow |= !fits(sum);
        if (overflow)
            sum = 0; /* the first partial sum that overflows is the result */
    }
    return overflow ? reply_status(xid, CALC_OVERFLOW) : result_of(xid, sum);
}

static struct wire procedure(uint32_t xid, uint32_t number, struct reader *r, int64_t *total)
{
    struct wire reply;
    int64_t a, b;
    uint32_t count;
    switch (number) {
    case PROC_NULL:
        return reply_begin(xid);
    case SUM:
        count = take_u32(r);
        if (count > VECTOR_MAX)
            return reply_rejected(xid, GARBAGE_ARGS);
        reply = sum_of(xid, r, count);
        return r->over ? reply_rejected(xid, GARBAGE_ARGS) : reply;
    case ACCUMULATE:
        a = take_hyper(r);
        return r->over ? reply_rejected(xid, GARBAGE_ARGS) : accumulate(xid, a, total);
    default:
        a = take_hyper(r);
        b = take_hyper(r);
        return r->over ? reply_rejected(xid, GARBAGE_ARGS) : two_of(xid, number, a, b);
    }
}

bool answer_to(const void *bytes, size_t len, int64_t *total, struct wire *reply)
{
    struct reader r = {bytes, len, false};
    uint32_t xid = take_u32(&r), type = take_u32(&r), rpcvers = take_u32(&r);
    if (r.over || type != CALL)
        return false;
    if (rpcvers != 2) {
        *reply = reply_rpc_mismatch(xid, 2, 2);
        return true;
    }
    uint32_t program = take_u32(&r), version = take_u32(&r), number = take_u32(&r);
    if (!skip_auth(&r) || !skip_auth(&r))
        return false;
    if (program != PROGRAM)
        *reply = reply_rejected(xid, PROG_UNAVAIL);
    else if (version != VERSION)
        *reply = reply_rejected(xid, PROG_MISMATCH);
    else if (number >= PROCEDURES)
        *reply = reply_rejected(xid, PROC_UNAVAIL);
    else
        *reply = procedure(xid, number, &r, total);
    return true;
}
