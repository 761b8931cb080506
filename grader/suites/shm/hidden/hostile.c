/* Rings that a stranger has broken: refused with a sentence, never followed. */
#include "suites/shm/peer/shm.h"

#include <string.h>

TEST(hostile, length, "an item whose length is over 256 is not printed and not taken")
{
    static const uint32_t lengths[] = {257, 300, 0x7fffffff, 0x80000000, UINT32_MAX};
    struct random r = random_from_test();
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct segment *s = segment_make(ring_name(&r), 4, false);
        const char *line = word(&r), *whole = letters(&r, ITEM_MAX);

        segment_attach(s);
        segment_put_text(s, line);
        segment_put(s, whole, ITEM_MAX); /* the longest that is right */
        segment_put_text(s, "bad");
        memcpy(segment_item(s, 2), &lengths[i], sizeof lengths[i]);
        struct program *c = consumer(s->name);
        expect_failure(c, text("an item's length is %u", lengths[i]));
        expect_output_text(c, text("%s\n%s\n", line, whole));
        expect_field(s, AT_HEAD, 2, "the items before the broken one are taken, and not it");
        expect_field(s, AT_TAIL, 3, "a broken item is left as it is");
        expect_sem(s, AT_MUTEX, 1, "who refuses an item lets 'mutex' go");
    }

    /* Who makes the ring grow puts it into another place, or refuses it, and copies no such length.
     */
    for (uint64_t head = 2; head <= 6; head += 4) {
        struct segment *s = segment_make(ring_name(&r), 4, true);
        static const int both[] = {0, 1};
        uint32_t length = lengths[between(&r, 2, 4)];
        const char *line = word(&r);

        set64(s, AT_HEAD, head);
        set64(s, AT_TAIL, head);
        for (int i = 0; i < 4; i++)
            segment_put_text(s, line);
        for (uint64_t n = head + 1; n < head + 4; n++)
            memcpy(segment_item(s, n), &length, sizeof length);
        struct program *p = producer(s->name);
        send_line(p, "more");
        program_close_input(p);
        expect_exit_one_of(p, both, 2);
        expect_sem(s, AT_MUTEX, 1, "who leaves a ring lets 'mutex' go");
        struct program *c = consumer(s->name);
        expect_failure(c, text("an item's length is %u", length));
        expect_output_text(c, text("%s\n", line));
        expect_field(s, AT_HEAD, head + 1, "the item before the broken one is taken, and not it");
    }
}

/* A ring whose counters can't be. */
static struct segment *with_counters(struct random *r, bool unbounded, uint64_t head, uint64_t tail)
{
    struct segment *s = segment_make(ring_name(r), 4, unbounded);
    set64(s, AT_HEAD, head);
    set64(s, AT_TAIL, tail);
    sem_set(s, AT_ITEMS, 4);
    return s;
}

TEST(hostile, counters,
     "more items than places, or fewer than none: refused unchanged; ring info still prints it")
{
    struct random r = random_from_test();
    uint64_t base = random_below(&r, 1000000) + 10;
    uint64_t counters[][2] = {{base, base + 5},
                              {base, base - 1},
                              {0, UINT64_MAX},
                              {base, base + (UINT64_C(1) << 32) + 1}}; /* in 32 bits: one item */

    for (size_t i = 0; i < 2 * (sizeof counters / sizeof *counters); i++) {
        struct segment *s = with_counters(&r, i % 2 == 1, counters[i / 2][0], counters[i / 2][1]);
        struct snapshot before = segment_snapshot(s);
        struct program *p = ring("info", s->name);
        expect_output_text(p, info_line(s));
        expect_success(p);
        p = producer(s->name);
        program_send_text(p, "a line\n");
        program_close_input(p);
        expect_failure(p, "a ring of 4 places can't hold so many items");
        struct program *c = consumer(s->name);
        expect_failure(c, "a ring of 4 places can't hold so many items");
        expect_no_output(c);
        expect_unchanged(s, &before, "a broken ring is left as it was");
        expect_sem(s, AT_MUTEX, 1, "who refuses a ring lets 'mutex' go");
    }
    struct segment *full = with_counters(&r, false, base, base + 4); /* just full is right */
    for (uint64_t n = base; n < base + 4; n++)
        item_write(full, n, "x", 1);
    struct program *c = consumer_of(full->name, 4);
    expect_success(c);
    expect_output_text(c, "x\nx\nx\nx\n");
}

TEST(hostile, counters_later, "a ring that breaks while it is in use is noticed under the mutex")
{
    struct random r = random_from_test();
    const char *line = word(&r);

    static const uint64_t tails[] = {100,
                                     0}; /* far more items than places, and one less than none */
    for (int i = 0; i < 4; i++) {
        struct segment *s = segment_make(ring_name(&r), 4, i % 2 == 1);
        uint64_t tail = tails[i / 2];
        set64(s, AT_HEAD, 1);
        set64(s, AT_TAIL, 1);
        struct program *p = producer(s->name);
        send_line(p, line);
        wait_sem(s, AT_ITEMS, 1, p, "a line is put");
        wait_asleep(p, "the producer waits for input");
        segment_lock(s);
        set64(s, AT_TAIL, tail);
        segment_unlock(s);
        struct snapshot before = segment_snapshot(s);
        send_line(p, "more");
        expect_failure(p, "a ring of 4 places can't hold so many items");
        expect_field(s, AT_PRODUCERS, 0, "a producer that was attached still detaches");
        expect_field(s, AT_CLOSED, 1, "a producer that was attached still detaches");
        expect_sem(s, AT_ITEMS, 2, "a producer that closes a broken ring tells the end, too");
        expect_sem(s, AT_MUTEX, 1, "who refuses a ring lets 'mutex' go");
        set32(s, AT_PRODUCERS, 1);
        set32(s, AT_CLOSED, 0);
        expect_unchanged(s, &before, "nothing is put into a broken ring");
    }
    for (int unbounded = 0; unbounded < 2; unbounded++) {
        struct segment *s = segment_make(ring_name(&r), 4, unbounded);
        struct program *c = consumer(s->name);
        segment_attach(s);
        segment_put_text(s, line);
        expect_line_text(c, line);
        wait_asleep(c, "the consumer waits while the ring is empty");
        segment_lock(s);
        set64(s, AT_HEAD, 7); /* one taken, none was put */
        segment_unlock(s);
        struct snapshot before = segment_snapshot(s);
        sem_give(s, AT_ITEMS);
        expect_failure(c, "no more items can be taken than were put");
        expect_unchanged(s, &before, "nothing is taken from a broken ring");
        expect_sem(s, AT_MUTEX, 1, "who refuses a ring lets 'mutex' go");
    }
}

TEST(hostile, growth,
     "a growth is checked before it is followed: capacity, and the object's length")
{
    struct random r = random_from_test();
    uint32_t wrong[] = {0, CAPACITY_MAX + 1, UINT32_MAX, 1024};

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct segment *s = segment_make(ring_name(&r), 4, true);
        const char *line = word(&r),
                   *why = text("a capacity of %u in so short an object", wrong[i]);
        struct program *c = consumer(s->name), *p = producer(s->name);
        wait_attached(s, 1, p);
        send_line(p, line);
        expect_line_text(c, line);
        wait_asleep(p, "the producer waits for input");
        wait_asleep(c, "the consumer waits while the ring is empty");
        segment_lock(s);
        set64(s, AT_TAIL, 2); /* an item: so a consumer may look for it */
        set32(s, AT_CAPACITY, wrong[i]);
        segment_unlock(s);
        struct snapshot before = segment_snapshot(s);
        sem_give(s, AT_ITEMS);
        expect_failure(c, why);
        expect_unchanged(s, &before, "a broken ring is left as it was");
        send_line(p, "more");
        expect_failure(p, why);
        expect_field(s, AT_TAIL, 2, "nothing is put into a broken ring");
        expect_field(s, AT_PRODUCERS, 0, "a producer that was attached still detaches");
        expect_sem(s, AT_MUTEX, 1, "who refuses a ring lets 'mutex' go");
    }
}
