/* The bounded buffer: put and take, waiting when full and when empty, the mutex. */
#include "suites/shm/peer/shm.h"

#include <string.h>

TEST(put, item, "a producer puts its lines as the layout says: item, tail, semaphores")
{
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 4, false);

    struct program *p = producer(s->name);
    wait_attached(s, 1, p);
    for (uint64_t n = 0; n < 3; n++) {
        const char *line = letters(&r, (size_t)between(&r, 2, 60));
        send_line(p, line);
        wait_sem(s, AT_ITEMS, (int)n + 1, p, "a line is put as soon as it has come");
        expect_field(s, AT_TAIL, n + 1, "after a put");
        expect_item(s, n, line, strlen(line), "after a put");
        expect_field(s, AT_HEAD, 0, "after a put");
        wait_sem(s, AT_MUTEX, 1, p, "whoever takes 'mutex' posts it");
        expect_sem(s, AT_SPACES, 3 - (int)n, "after a put");
    }
    expect_field(s, AT_PRODUCERS, 1, "while its input is open");
    program_close_input(p);
    expect_success(p);
}

TEST(put, waits_when_full,
     "a producer waits while the ring is full, without the mutex, and goes on when a space comes")
{
    struct random r = random_from_test();
    uint32_t capacity = (uint32_t)between(&r, 2, 5);
    struct segment *s = segment_make(ring_name(&r), capacity, false);
    const char *lines[8];
    size_t len;

    for (int i = 0; i < 8; i++)
        lines[i] = word(&r);

    struct program *p = producer(s->name);
    for (uint32_t i = 0; i < capacity + 3; i++)
        send_line(p, lines[i]);
    wait_field(s, AT_TAIL, capacity, p, "a producer fills the ring");
    for (uint32_t i = 0; i < 3; i++) {
        wait_asleep(p, "the producer waits while the ring is full");
        expect_field(s, AT_TAIL, capacity + i, "while the ring is full");
        expect_mutex_free(s, "while the producer waits for a space");
        expect_sem(s, AT_ITEMS, (int)capacity, "while the ring is full");
        expect_sem(s, AT_SPACES, 0, "while the ring is full");
        const char *got = segment_take(s, &len);
        EXPECT(
            strcmp(got, lines[i]) == 0, "the oldest item is not overwritten",
            text("%s instead of %s", quoted(got, len, 40), quoted(lines[i], strlen(lines[i]), 40)));
        wait_field(s, AT_TAIL, capacity + i + 1, p, "a space has come, so the producer goes on");
    }
    program_close_input(p);
    expect_success(p);
}

TEST(take, item, "a consumer prints the items in order and gives each space back")
{
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 5, false);
    const char *lines[4];

    segment_attach(s);
    for (int i = 0; i < 2; i++)
        segment_put_text(s, lines[i] = letters(&r, (size_t)between(&r, 2, 60)));
    struct program *c = consumer_of(s->name, 4);
    for (int i = 0; i < 4; i++) {
        if (i >= 2)
            segment_put_text(s, lines[i] = letters(&r, (size_t)between(&r, 2, 60)));
        expect_line_text(c, lines[i]);
        if (i == 0)
            continue; /* the next one is being taken */
        wait_sem(s, AT_SPACES, 5, c, "a space is given back for each item taken");
        expect_field(s, AT_HEAD, (uint64_t)i + 1, "after a take");
        expect_field(s, AT_TAIL, (uint64_t)i + 1, "after a take");
    }
    wait_sem(s, AT_MUTEX, 1, c, "whoever takes 'mutex' posts it");
    expect_sem(s, AT_ITEMS, 0, "after all items are taken");
    expect_success(c);
}

TEST(take, waits_when_empty,
     "a consumer waits while the ring is empty, without the mutex, and goes on when an item comes")
{
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 2, false);

    segment_attach(s);
    struct program *c = consumer_of(s->name, 3);
    for (int i = 0; i < 3; i++) {
        wait_asleep(c, "the consumer waits while the ring is empty");
        expect_mutex_free(s, "while the consumer waits for an item");
        expect_field(s, AT_HEAD, (uint64_t)i, "while the ring is empty");
        const char *line = word(&r);
        segment_put_text(s, line);
        expect_line_text(c, line);
    }
    expect_success(c);
}

TEST(mutex, producer, "while another process holds the mutex a producer changes nothing")
{
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 3, false);
    const char *line = word(&r), *what = "nothing changes while the grader holds 'mutex'";

    struct program *p = producer(s->name);
    wait_attached(s, 1, p);
    wait_sem(s, AT_MUTEX, 1, p, "whoever takes 'mutex' posts it");
    segment_lock(s);
    struct snapshot before = segment_snapshot(s);
    send_line(p, line);
    wait_asleep(p, "the producer waits for 'mutex', which the grader holds");
    expect_unchanged(s, &before, what);
    expect_sem(s, AT_ITEMS, 0, "an item is announced when it is in the ring, not before");
    segment_unlock(s);
    wait_sem(s, AT_ITEMS, 1, p, "the grader has let 'mutex' go, and the line is put");
    expect_item(s, 0, line, strlen(line), "after 'mutex' was let go");
    program_close_input(p);
    expect_success(p);
}

TEST(mutex, consumer, "while another process holds the mutex a consumer takes nothing")
{
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 3, false);
    const char *first = word(&r), *line = word(&r);
    const char *what = "nothing changes while the grader holds 'mutex'";

    segment_attach(s);
    struct program *c = consumer_of(s->name, 2);
    segment_put_text(s, first); /* so that it is past its start */
    expect_line_text(c, first);
    wait_sem(s, AT_SPACES, 3, c, "the item is taken");
    wait_asleep(c, "the consumer waits while the ring is empty");
    expect_mutex_free(s, "while the consumer waits for an item");
    segment_lock(s);
    sem_take(s, AT_SPACES);
    segment_append(s, line, strlen(line));
    struct snapshot before = segment_snapshot(s);
    uint64_t printed = program_output_total(c, 1);
    sem_give(s, AT_ITEMS);
    wait_asleep(c, "the consumer waits for 'mutex', which the grader holds");
    expect_unchanged(s, &before, what);
    expect_sem(s, AT_SPACES, 2,
               "a space is given back when its item is out of the ring, not before");
    EXPECT(program_output_total(c, 1) == printed, what, "the item has been printed");
    segment_unlock(s);
    expect_line_text(c, line);
    expect_success(c);
}
