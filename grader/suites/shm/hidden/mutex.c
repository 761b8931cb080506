/* The mutex: held by the grader while something else changes. */
#include "suites/shm/peer/step.h"

#include <string.h>

TEST(mutex, attach, "a producer attaches under the mutex, and looks at closed there")
{
    struct random r = random_from_test();
    for (int closed = 0; closed < 2; closed++) {
        struct segment *s = segment_make(ring_name(&r), 3, false);
        segment_lock(s);
        struct snapshot before = segment_snapshot(s);
        struct program *p = producer(s->name);
        wait_asleep(p, "the producer waits for 'mutex', which the grader holds");
        expect_unchanged(s, &before, "nothing changes while the grader holds 'mutex'");
        if (closed) { /* the last one leaves now */
            set32(s, AT_CLOSED, 1);
            sem_give(s, AT_ITEMS);
        }
        segment_unlock(s);
        if (closed) {
            expect_failure(p, "the ring was closed before the producer had 'mutex'");
            expect_field(s, AT_PRODUCERS, 0, "a producer that is refused");
            expect_sem(s, AT_ITEMS, 1, "a producer that is refused");
        } else {
            wait_attached(s, 1, p);
            program_close_input(p);
            expect_success(p);
        }
    }
}

TEST(mutex, detach, "a producer detaches under the mutex")
{
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 3, false);

    struct program *p = producer(s->name);
    wait_attached(s, 1, p);
    wait_asleep(p, "the producer waits for input");
    segment_lock(s);
    struct snapshot before = segment_snapshot(s);
    program_close_input(p);
    wait_asleep(p, "the producer waits for 'mutex', which the grader holds");
    expect_unchanged(s, &before, "nothing changes while the grader holds 'mutex'");
    expect_sem(s, AT_ITEMS, 0, "the end is told once the ring is closed");
    set32(s, AT_PRODUCERS, 2); /* another one attaches now */
    segment_unlock(s);
    expect_success(p);
    expect_field(s, AT_PRODUCERS, 1, "one of two producers has left");
    expect_field(s, AT_CLOSED, 0, "one of two producers has left");
    expect_sem(s, AT_ITEMS, 0, "one of two producers has left");
    expect_sem(s, AT_MUTEX, 1, "one of two producers has left");
}

TEST(mutex, fresh_values, "head and tail are read under the mutex, not before")
{
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 4, false);
    const char *other = word(&r), *line = word(&r);

    struct program *p = producer(s->name);
    wait_attached(s, 1, p);
    wait_asleep(p, "the producer waits for input");
    segment_lock(s);
    send_line(p, line);
    wait_asleep(p, "the producer waits for 'mutex', which the grader holds");
    sem_take(s, AT_SPACES); /* another producer was first */
    segment_append(s, other, strlen(other));
    segment_unlock(s);
    sem_give(s, AT_ITEMS);
    wait_sem(s, AT_ITEMS, 2, p, "both items are in the ring");
    expect_field(s, AT_TAIL, 2, "both items are in the ring");
    expect_item(s, 0, other, strlen(other), "the other producer was first");
    expect_item(s, 1, line, strlen(line), "the other producer was first");

    segment_lock(s);
    struct program *c = consumer(s->name);
    wait_asleep(c, "the consumer waits for 'mutex', which the grader holds");
    sem_take(s, AT_ITEMS); /* another consumer was first */
    size_t len;
    segment_remove(s, &len);
    segment_unlock(s);
    sem_give(s, AT_SPACES);
    expect_line_text(c, line);
    program_close_input(p);
    expect_success(p);
    expect_success(c);
}

TEST(mutex, free_at_rest, "nobody keeps the mutex while it waits for input, or for its reader")
{
    enum { COUNT = 1200 };
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 4, false);

    struct program *c = program_new("consumer");
    program_arg(c, s->name);
    program_pipe_size(c, 4096);
    program_start(c);
    program_hold_output(c, 1, true); /* nobody reads what it prints */
    struct program *p = producer(s->name);
    send_numbered(p, 0, COUNT);
    wait_asleep(c, "the consumer waits for the reader of its output");
    wait_asleep(p, "the producer waits while the ring is full");
    expect_mutex_free(s, "while the consumer waits for its reader, and the producer for a space");
    program_hold_output(c, 1, false);
    expect_success(p);
    expect_success(c);
    expect_all_items(&c, 1, 1, COUNT);

    s = segment_make(ring_name(&r), 4, false);
    p = producer(s->name);
    program_send_text(p, "the beginning of a li");
    wait_attached(s, 1, p);
    wait_asleep(p, "the producer waits for input");
    expect_mutex_free(s, "while the producer waits for input");
    expect_sem(s, AT_SPACES, 4, "a space is taken for a line that is there");
    program_close_input(p);
    expect_success(p);
}

/*
 * Between any two instructions of a program nothing of the ring is half done while 'mutex' is free,
 * and what it has seen under 'mutex' counts, not what has become of it afterwards.
 */
TEST(mutex, each_step, "attach, put, take and detach: all that they change changes under the mutex")
{
    struct random r = random_from_test();
    const char *waits = "it waits for 'mutex', which the grader holds";
    for (int unbounded = 0; unbounded < 2; unbounded++) {
        struct segment *s = segment_make(ring_name(&r), 2, unbounded);
        uint64_t head = 2 * random_below(&r, 100) + 1;

        set64(s, AT_HEAD, head);
        set64(s, AT_TAIL, head);
        segment_attach(s);
        segment_lock(s);
        struct program *p = producer(s->name);
        wait_asleep(p, waits);
        step_with_mutex(s, p, AT_PRODUCERS, 2, AT_ITEMS, 0);
        trace_end();
        /* The third one makes an unbounded ring grow. */
        for (int i = 0; i < 2 + unbounded; i++) {
            segment_lock(s);
            send_line(p, letters(&r, (size_t)between(&r, 1, 250)));
            wait_asleep(p, waits);
            step_with_mutex(s, p, AT_TAIL, head + (uint64_t)i + 1, AT_ITEMS, i + 1);
            trace_end();
            wait_asleep(p, "the producer waits for input");
        }
        int left = 2 + unbounded;
        segment_lock(s);
        struct program *c = consumer_of(s->name, 1);
        wait_asleep(c, waits);
        /* 'spaces' of an unbounded ring may have any value. */
        step_with_mutex(s, c, AT_HEAD, head + 1, unbounded ? AT_MUTEX : AT_SPACES, 1);
        trace_end();
        expect_success(c);
        left--;

        segment_lock(s);
        program_close_input(p);
        wait_asleep(p, waits);
        step_with_mutex(s, p, AT_PRODUCERS, 1, AT_ITEMS, left);
        segment_detach(s); /* the last one: it closes the ring and tells the end, and nobody else */
        trace_end();
        expect_success(p);
        expect_sem(s, AT_ITEMS, left + 1, "the one that closes the ring tells the end, once");
        c = consumer(s->name);
        expect_success(c);

        s = segment_make(ring_name(&r), 2, unbounded);
        p = producer(s->name);
        wait_attached(s, 1, p);
        wait_asleep(p, "the producer waits for input");
        segment_lock(s);
        program_close_input(p);
        wait_asleep(p, waits);
        step_with_mutex(s, p, AT_CLOSED, 1, AT_ITEMS, 1);
        trace_end();
        expect_success(p);
        expect_sem(s, AT_ITEMS, 1, "the end is told once");
    }
}
