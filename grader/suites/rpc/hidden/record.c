/* Record marking, in every fragmentation; marks that lie. */
#include "suites/rpc/peer/rpc.h"

#include <string.h>

enum { STREAM = 1 << 20 };
static unsigned char stream[STREAM];

/* Fragments of these sizes, -1 at the end: the last one has the bit. */
static size_t append_sizes(size_t len, const struct wire *w, const int *sizes)
{
    size_t done = 0;
    for (int i = 0; sizes[i] >= 0; i++) {
        size_t now = (size_t)sizes[i] < w->len - done ? (size_t)sizes[i] : w->len - done;
        struct wire m = {.len = 0};
        put_u32(&m, mark(sizes[i + 1] < 0, (uint32_t)now));
        memcpy(stream + len, m.bytes, m.len);
        memcpy(stream + len + m.len, w->bytes + done, now);
        len += m.len + now;
        done += now;
    }
    if (done < w->len)
        suite_failed("these sizes are too few for", described(w));
    return len;
}

TEST(record, empty_fragments, "empty fragments anywhere, and the last-fragment bit late")
{
    struct random r = random_from_test();
    static const int sizes[][12] = {
        {0, 100, -1},       {0, 0, 0, 100, -1},      {100, 0, -1},
        {100, 0, 0, 0, -1}, {10, 0, 10, 0, 100, -1}, {0, 1, 0, 4, 0, 0, 20, 0, 100, 0, -1}};
    struct server s = calcd("");
    struct endpoint *e = connection(&s, "a client");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct wire call = call_two((uint32_t)random_u64(&r), ADD, hyper_random(&r) >> 1, 1), want;
        answer_to(call.bytes, call.len, NULL, &want);
        endpoint_send(e, stream, append_sizes(0, &call, sizes[i]));
        expect_record(e, &want, "the reply to a call with empty fragments");
    }
    struct wire call = call_two((uint32_t)random_u64(&r), SUB, 7, 3), want;
    answer_to(call.bytes, call.len, NULL, &want);
    send_word(e, mark(false, (uint32_t)call.len));
    endpoint_send(e, call.bytes, call.len);
    wait_quiet(s.p, "calcd waits for the last fragment");
    expect_nothing(e, "no reply before the last fragment has come");
    for (int i = 0; i < 1000; i++)
        memset(stream + (size_t)4 * i, 0, 4); /* empty, and not the last */
    endpoint_send(e, stream, 4000);
    wait_quiet(s.p, "calcd waits for the last fragment");
    expect_nothing(e, "no reply before the last fragment has come");
    send_word(e, mark(true, 0));
    expect_record(e, &want, "the reply, once an empty last fragment has come");
}

TEST(record, every_cut, "a call cut at every byte: into two segments, into two fragments")
{
    struct random r = random_from_test();
    struct server s = calcd("");
    struct endpoint *e = connection(&s, "a client"), *other = connection(&s, "another client");
    const struct wire call = call_two((uint32_t)random_u64(&r), ADD, hyper_random(&r) >> 1, 1);
    struct wire want;
    answer_to(call.bytes, call.len, NULL, &want);
    size_t len = 0;
    record_append(stream, sizeof stream, &len, &call, WIRE_MAX);
    for (size_t cut = 1; cut < len; cut++) {
        struct wire null = call_null((uint32_t)cut);
        endpoint_send(e, stream, cut);
        expect_called(other, &null, NULL); /* so that the rest comes for itself */
        endpoint_send(e, stream + cut, len - cut);
        expect_record(e, &want,
                      text("the reply to a call that came as %zu and %zu bytes", cut, len - cut));
    }
    for (int cut = 1; cut < (int)call.len; cut++) {
        endpoint_send(e, stream, append_sizes(0, &call, (int[]){cut, 100, -1}));
        expect_record(
            e, &want,
            text("the reply to a call in fragments of %d and %d bytes", cut, (int)call.len - cut));
    }
    /* Many calls in fragments of all sizes, cut into segments anywhere. */
    for (int i = 0; i < 30; i++) {
        size_t count = 1 + random_below(&r, 6), done = 0;
        len = 0;
        for (size_t j = 0; j < count; j++)
            record_append(stream, sizeof stream, &len, &call, 1 + random_below(&r, 70));
        while (done < len) {
            size_t now = 1 + random_below(&r, len - done < 90 ? len - done : 90);
            endpoint_send(e, stream + done, now);
            done += now;
        }
        for (size_t j = 0; j < count; j++)
            expect_record(e, &want, "the reply to each of several calls, cut anywhere");
    }
}

TEST(record, in_order, "many calls at once are answered in their order")
{
    enum { CALLS = 3000 };
    struct random r = random_from_test();
    static struct wire want[CALLS];
    int64_t total = 0;
    struct server s = calcd("");
    struct endpoint *e = connection(&s, "a client");
    size_t len = 0;
    for (int i = 0; i < CALLS; i++) {
        struct wire call = call_random(&r, (uint32_t)random_u64(&r));
        if (i % 7 == 0)
            call = call_with(right_header((uint32_t)i, 7 + (uint32_t)i));
        answer_to(call.bytes, call.len, &total, &want[i]);
        record_append(stream, sizeof stream, &len, &call, 1 + random_below(&r, 200));
    }
    endpoint_queue(e, stream, len);
    for (int i = 0; i < CALLS; i++)
        expect_record(e, &want[i],
                      text("the reply to call %d of %d, in their order", i + 1, CALLS));
    wait_quiet(s.p, "calcd waits for the next call");
    expect_nothing(e, "one reply to each call");
}

/* A NULL call with zero bytes up to `size`, in fragments of `piece` bytes. */
static void null_of(struct server *s, struct endpoint *e, size_t size, size_t piece)
{
    static unsigned char record[RECORD_MAX];
    struct wire call = call_null((uint32_t)(size + piece)), want;
    answer_to(call.bytes, call.len, NULL, &want);
    memset(record, 0, sizeof record);
    memcpy(record, call.bytes, call.len);
    for (size_t done = 0; done < size; done += piece) {
        size_t now = size - done < piece ? size - done : piece;
        send_word(e, mark(done + now == size, (uint32_t)now));
        endpoint_queue(e, record + done, now);
    }
    expect_record(e, &want,
                  text("the reply to a call of %zu bytes in fragments of %zu", size, piece));
    expect_still_running(s->p, "calcd goes on serving");
}

/* The same in fragments of one byte: five times as many bytes come as the record has. */
static void null_of_single_bytes(struct endpoint *e)
{
    struct wire call = call_null(1), want;
    answer_to(call.bytes, call.len, NULL, &want);
    for (size_t i = 0; i < RECORD_MAX; i++) {
        struct wire m = {.len = 0};
        put_u32(&m, mark(i + 1 == RECORD_MAX, 1));
        memcpy(stream + 5 * i, m.bytes, m.len);
        stream[5 * i + m.len] = i < call.len ? call.bytes[i] : 0;
    }
    endpoint_queue(e, stream, (size_t)5 * RECORD_MAX);
    expect_record(e, &want, "the reply to a call of 65536 bytes in fragments of one byte");
    memset(stream, 0, sizeof stream);
}

TEST(record, too_long, "65,536 bytes are a record; a mark that announces more ends the connection")
{
    struct server s = calcd("");
    struct endpoint *e = connection(&s, "a client");
    static const uint32_t announced[][2] = {
        {0, RECORD_MAX + 1},    {0, 0x7FFFFFFF}, {40000, 30000},   {RECORD_MAX, 1},
        {100, RECORD_MAX - 99}, {0, 0x01000000}, {100, 0x7FFFFFFF}};
    null_of(&s, e, RECORD_MAX, RECORD_MAX);
    null_of(&s, e, RECORD_MAX, 1000);
    null_of(&s, e, RECORD_MAX - 1, 50000);
    null_of_single_bytes(e);
    for (size_t i = 0; i < 2 * (sizeof announced / sizeof *announced); i++) {
        const uint32_t *a = announced[i / 2];
        struct endpoint *bad = connection(&s, "a client of too long a record");
        if (a[0] > 0) {
            send_word(bad, mark(false, a[0]));
            endpoint_send(bad, stream, a[0]);
        }
        send_word(bad, mark(i % 2, a[1]));
        endpoint_wait_end(bad, text("calcd closes the connection when a mark announces %u bytes%s",
                                    a[1], a[0] > 0 ? text(" after %u", a[0]) : ""));
        expect_nothing(bad, "no reply to a record that is too long");
    }
    null_of(&s, e, RECORD_MAX, 7000);
}

TEST(record, lying_mark, "a mark that announces more than comes, or less")
{
    struct random r = random_from_test();
    struct server s = calcd("");
    for (int i = 0; i < 20; i++) {
        struct wire call = call_two((uint32_t)random_u64(&r), ADD, 1, 2);
        struct endpoint *e = connection(&s, "a client");
        expect_called(e, &call, NULL);
        send_word(e, mark(i % 2, (uint32_t)call.len + (uint32_t)between(&r, 1, 40000)));
        endpoint_send(e, call.bytes, call.len);
        endpoint_close_input(e);
        endpoint_wait_end(e, "the client has sent less than its mark announced, and ended: "
                             "calcd closes the connection");
        expect_nothing(e, "no reply to a record that never came to its end");
    }
    for (uint32_t less = 20; less < 40; less += 4) {
        struct endpoint *e = connection(&s, "a client");
        struct wire null = call_null(less);
        send_word(e, mark(true, less)); /* what is behind it are marks, of empty fragments */
        endpoint_send(e, null.bytes, null.len);
        alive_or_closed(e, less + 100, "a mark that announces less than a header");
        endpoint_close(e);
    }
    expect_alive(&s, "after marks that lied");
}
