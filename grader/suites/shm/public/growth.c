/* The unbounded buffer: the ring grows, and everybody follows. */
#include "suites/shm/peer/shm.h"

#include <string.h>

TEST(growth, doubles,
     "the producer of an unbounded ring never waits: a full ring doubles and keeps its items")
{
    enum { START = 2, COUNT = 11 };
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), START, true);
    const char *lines[COUNT];

    sem_set(s, AT_SPACES, 0); /* not used: any value is right */
    struct program *p = producer(s->name);
    wait_attached(s, 1, p);
    for (int i = 0; i < COUNT; i++)
        send_line(p, lines[i] = letters(&r, (size_t)between(&r, 1, 250)));
    program_close_input(p);
    expect_success(p);
    expect_field(s, AT_CAPACITY, 16, "after 11 items in a ring that began with 2 places");
    expect_field(s, AT_TAIL, COUNT, "after 11 items");
    expect_sem(s, AT_ITEMS, COUNT + 1, "11 items, and one more for the end");
    for (uint64_t n = 0; n < COUNT; n++)
        expect_item(s, n, lines[n], strlen(lines[n]), "after the growth");
    struct program *c = consumer(s->name);
    expect_end(c);
    for (uint64_t n = 0; n < COUNT; n++)
        expect_line_text(c, lines[n]);
}

TEST(growth, consumer_follows, "a consumer that waits follows a growth of the ring")
{
    enum { COUNT = 100 };
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 1, true);
    const char *lines[COUNT];

    segment_attach(s);
    struct program *c = consumer(s->name);
    wait_asleep(c, "the consumer waits while the ring is empty");
    /* All of it at once: it has had no moment to follow step by step. */
    segment_lock(s);
    for (int i = 0; i < COUNT; i++) {
        lines[i] = letters(&r, (size_t)between(&r, 1, 250));
        if (get64(s, AT_TAIL) == get32(s, AT_CAPACITY))
            segment_grow(s);
        segment_append(s, lines[i], strlen(lines[i]));
    }
    segment_unlock(s);
    for (int i = 0; i < COUNT; i++)
        sem_give(s, AT_ITEMS);
    for (int i = 0; i < COUNT; i++)
        expect_line_text(c, lines[i]);
    segment_detach(s);
    expect_end(c);
}
