/* Attaching, detaching, and the end of the stream. */
#include "suites/shm/peer/shm.h"

#include <string.h>

TEST(attach, counts,
     "producers are counted; the last one to leave closes the ring and tells it once")
{
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 8, false);

    struct program *a = producer(s->name);
    wait_attached(s, 1, a);
    struct program *b = producer(s->name);
    wait_attached(s, 2, b);
    send_line(a, word(&r));
    program_close_input(a);
    expect_success(a);
    expect_field(s, AT_PRODUCERS, 1, "one of two producers has left");
    expect_field(s, AT_CLOSED, 0, "one of two producers has left");
    expect_sem(s, AT_ITEMS, 1, "one item, and no end yet");
    send_line(b, word(&r));
    program_close_input(b);
    expect_success(b);
    expect_field(s, AT_PRODUCERS, 0, "both producers have left");
    expect_field(s, AT_CLOSED, 1, "both producers have left");
    expect_sem(s, AT_ITEMS, 3, "two items, and one more for the end");
    expect_sem(s, AT_MUTEX, 1, "both producers have left");
}

TEST(attach, closed, "a producer that comes after the close is refused and changes nothing")
{
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 4, false);
    const char *line = word(&r);

    struct program *p = producer(s->name);
    send_line(p, line);
    program_close_input(p);
    expect_success(p);
    struct snapshot before = segment_snapshot(s);
    struct program *late = producer(s->name);
    program_send_text(late, "too late\n");
    program_close_input(late);
    expect_failure(late, "the ring is closed: its last producer has left");
    expect_unchanged(s, &before, "a producer that is refused changes nothing");
    expect_sem(s, AT_ITEMS, 2, "the end is told once: one item, and one more");
    expect_sem(s, AT_MUTEX, 1, "a producer that is refused lets 'mutex' go");
    struct program *c = consumer(s->name);
    expect_end(c);
    expect_output_text(c, text("%s\n", line));
}

TEST(end, several_consumers,
     "every consumer that waits learns of the end, and so does one that comes later")
{
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 4, false);
    struct program *c[3];
    const char *line = word(&r);

    segment_attach(s);
    for (int i = 0; i < 3; i++) {
        c[i] = consumer(s->name);
        wait_asleep(c[i], "a consumer waits while the ring is empty and open");
    }
    segment_put_text(s, line);
    wait_field(s, AT_HEAD, 1, NULL, "one of the waiting consumers takes the item");
    segment_detach(s);
    uint64_t printed = 0;
    for (int i = 0; i < 3; i++) {
        expect_end(c[i]);
        program_wait_output_end(c[i], 1);
        printed += program_output_total(c[i], 1);
    }
    EXPECT(printed == strlen(line) + 1, "the item is printed once, by one consumer",
           text("%d bytes of output in all", (int)printed));
    expect_sem(s, AT_ITEMS, 1, "each consumer posts the token of the end back, for the next one");
    struct program *later = consumer(s->name);
    expect_end(later);
    expect_no_output(later);
    expect_sem(s, AT_ITEMS, 1, "each consumer posts the token of the end back, for the next one");
}
