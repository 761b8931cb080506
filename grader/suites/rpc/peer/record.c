/* record.c - record marking (RFC 5531, section 11), and what is expected of a connection. */
#include "suites/rpc/peer/rpc.h"

#include <string.h>

enum { LAST = 1u << 31, MARK = 4 };

uint32_t mark(bool last, uint32_t len)
{
    return (last ? (uint32_t)LAST : 0) | len;
}

void send_word(struct endpoint *e, uint32_t word)
{
    struct wire w = {.len = 0};
    put_u32(&w, word);
    endpoint_send(e, w.bytes, w.len);
}

void record_append(unsigned char *stream, size_t size, size_t *len, const struct wire *w,
                   size_t piece)
{
    size_t done = 0;
    do {
        size_t now = w->len - done < piece ? w->len - done : piece;
        struct wire m = {.len = 0};
        put_u32(&m, mark(done + now == w->len, (uint32_t)now));
        if (*len + MARK + now > size)
            suite_failed("a stream is too long for", "its buffer");
        memcpy(stream + *len, m.bytes, MARK);
        memcpy(stream + *len + MARK, w->bytes + done, now);
        *len += MARK + now;
        done += now;
    } while (done < w->len);
}

void record_send(struct endpoint *e, const struct wire *w)
{
    unsigned char stream[WIRE_MAX + MARK];
    size_t len = 0;
    record_append(stream, sizeof stream, &len, w, WIRE_MAX);
    endpoint_send(e, stream, len);
}

bool record_read(struct endpoint *e, struct wire *w, const char *what)
{
    w->len = 0;
    for (;;) {
        size_t there;
        endpoint_peek(e, &there);
        /* What is still missing is told: so a mark that is wrong is seen. */
        const char *more = w->len == 0 || there >= MARK
                               ? what
                               : text("%s: of it %zu bytes have come, and no mark had the "
                                      "last-fragment bit, so another fragment follows",
                                      what, w->len);
        const char *bytes = endpoint_read(e, MARK, more);
        if (bytes == NULL)
            return false;
        uint32_t word = get_u32(bytes), len = word & ~(uint32_t)LAST;
        EXPECT(len <= WIRE_MAX - w->len, what,
               text("a record mark %08x, which announces %u bytes", word, len));
        endpoint_peek(e, &there);
        if (there < len)
            more = text("%s, with the %u bytes that its mark announces", what, len);
        if (len > 0 && (bytes = endpoint_read(e, len, more)) == NULL)
            return false;
        put_bytes(w, bytes, len);
        if (word & (uint32_t)LAST)
            return true;
    }
}

void expect_record(struct endpoint *e, const struct wire *want, const char *what)
{
    struct wire got;
    if (record_read(e, &got, what)) {
        expect_reply(&got, want, what);
        return;
    }
    size_t left;
    const char *rest = endpoint_peek(e, &left);
    test_fail(what, text("the connection was %s before that; what had come of the reply: %s",
                         endpoint_was_reset(e) ? "reset" : "closed", hex(rest, left)));
}

void expect_called(struct endpoint *e, const struct wire *call, int64_t *total)
{
    struct wire want;
    if (!answer_to(call->bytes, call->len, total, &want))
        suite_failed("this is no call:", hex(call->bytes, call->len));
    record_send(e, call);
    expect_record(e, &want, text("the reply to %s", described(call)));
}

void expect_nothing(struct endpoint *e, const char *what)
{
    size_t len;
    const char *more = endpoint_peek(e, &len);
    EXPECT(len == 0, what, text("%zu bytes more: %s", len, hex(more, len)));
}
