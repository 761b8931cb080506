/* The end of the stream, COUNT, and peers that die. */
#include "suites/shm/peer/shm.h"

#include <signal.h>
#include <string.h>

TEST(end, drains_first, "what is in the ring when it closes is printed before the end")
{
    enum { COUNT = 5 };
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), COUNT, false);
    const char *lines[COUNT];
    struct program *c[2];

    segment_attach(s);
    for (int i = 0; i < COUNT; i++)
        segment_put_text(s, lines[i] = word(&r));
    segment_detach(s);
    c[0] = consumer(s->name);
    for (int i = 0; i < COUNT; i++)
        expect_line_text(c[0], lines[i]);
    expect_success(c[0]);
    expect_field(s, AT_HEAD, COUNT, "all items are taken");
    expect_sem(s, AT_ITEMS, 1, "the token of the end is posted back");
    expect_sem(s, AT_SPACES, COUNT, "the token of the end is no item: it frees no space");
    c[1] = consumer(s->name);
    expect_success(c[1]);
    expect_no_output(c[1]);
    expect_sem(s, AT_ITEMS, 1, "the token of the end is posted back");
    expect_sem(s, AT_SPACES, COUNT, "the token of the end is no item: it frees no space");
}

TEST(end, under_mutex, "the end is looked for under the mutex: one more item may have come")
{
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 4, false);
    const char *line = word(&r);

    segment_attach(s);
    struct program *c = consumer(s->name);
    wait_asleep(c, "the consumer waits while the ring is empty");
    segment_lock(s);
    set32(s, AT_CLOSED, 1); /* as a producer that leaves ... */
    set32(s, AT_PRODUCERS, 0);
    sem_give(s, AT_ITEMS);
    wait_asleep(c, "the consumer waits for 'mutex', which the grader holds");
    sem_take(s, AT_SPACES); /* ... but its last item is written just now */
    segment_append(s, line, strlen(line));
    segment_unlock(s);
    sem_give(s, AT_ITEMS);
    expect_line_text(c, line);
    expect_success(c);
    expect_sem(s, AT_ITEMS, 1, "the token of the end is posted back");

    /* No token is left, and yet there is an item: it is not the tokens that tell what is there. */
    s = segment_make(ring_name(&r), 4, false);
    segment_attach(s);
    c = consumer(s->name);
    wait_asleep(c, "the consumer waits while the ring is empty");
    segment_lock(s);
    sem_take(s, AT_SPACES);
    segment_append(s, line, strlen(line));
    sem_give(s, AT_ITEMS);
    set32(s, AT_CLOSED, 1);
    set32(s, AT_PRODUCERS, 0);
    wait_asleep(c, "the consumer waits for 'mutex', which the grader holds");
    segment_unlock(s);
    expect_line_text(c, line);
    sem_give(s, AT_ITEMS);
    expect_success(c);
    expect_sem(s, AT_ITEMS, 1, "the token of the end is posted back");
}

TEST(end, empty_stream, "a producer without a line closes the ring, and a consumer that waits ends")
{
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 1, false);

    struct program *c = consumer(s->name);
    wait_asleep(c, "the consumer waits: nobody has come yet, and nobody has closed the ring");
    struct program *p = producer(s->name);
    program_close_input(p);
    expect_success(p);
    expect_success(c);
    expect_no_output(c);
    expect_field(s, AT_CLOSED, 1, "the only producer has left");
    expect_sem(s, AT_ITEMS, 1, "the end is told once");
    expect_sem(s, AT_SPACES, 1, "nothing was put");
}

TEST(end, told_by_the_last,
     "of three producers only the last to leave closes the ring and tells it, whatever is in it")
{
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 8, false);
    struct program *p[3];

    for (int i = 0; i < 3; i++) {
        p[i] = producer(s->name);
        wait_attached(s, (uint32_t)i + 1, p[i]);
    }
    struct program *c = consumer(s->name);
    wait_asleep(c, "the consumer waits while the ring is empty");
    int order[] = {0, 1, 2};
    random_shuffle(&r, order, 3, sizeof *order);
    for (int i = 0; i < 2; i++) {
        program_stop(c); /* it must not take away a token that is one too many */
        program_close_input(p[order[i]]);
        expect_success(p[order[i]]);
        expect_field(s, AT_PRODUCERS, 2 - (uint64_t)i, "a producer has left");
        expect_field(s, AT_CLOSED, 0, "a producer is still attached");
        expect_sem(s, AT_ITEMS, 0, "the end is not told before it has come");
        program_signal(c, SIGCONT);
        wait_asleep(c, "the consumer waits: a producer is still attached");
    }
    const char *line = word(&r);
    send_line(p[order[2]], line);
    expect_line_text(c, line);
    program_close_input(p[order[2]]);
    expect_success(p[order[2]]);
    expect_success(c);
    expect_sem(s, AT_ITEMS, 1, "the end is told once");
}

TEST(end, count, "-n COUNT: so many items and no more; fewer when the ring ends; 0 takes nothing")
{
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 8, false);
    const char *lines[6];

    segment_attach(s);
    for (int i = 0; i < 6; i++)
        segment_put_text(s, lines[i] = word(&r));
    struct program *c = consumer_of(s->name, 0);
    expect_success(c);
    expect_no_output(c);
    c = consumer_of(s->name, 1);
    expect_success(c);
    expect_output_text(c, text("%s\n", lines[0]));
    expect_field(s, AT_HEAD, 1, "after -n 0 and -n 1");
    c = consumer_of(s->name, 3);
    expect_success(c);
    expect_output_text(c, text("%s\n%s\n%s\n", lines[1], lines[2], lines[3]));
    expect_field(s, AT_HEAD, 4, "after -n 0, -n 1 and -n 3");
    expect_sem(s, AT_ITEMS, 2, "after -n 0, -n 1 and -n 3");
    expect_sem(s, AT_SPACES, 6, "after -n 0, -n 1 and -n 3");
    segment_detach(s);
    c = consumer_of(s->name, 9);
    expect_success(c);
    expect_output_text(c, text("%s\n%s\n", lines[4], lines[5]));
    expect_sem(s, AT_ITEMS, 1, "the token of the end is posted back");
}

TEST(death, consumer, "a consumer that is killed while it waits takes nothing with it")
{
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 3, false);
    static const int signals[] = {SIGKILL, SIGTERM, SIGINT};
    struct program *dies[3];
    const char *first = word(&r), *second = word(&r);

    segment_attach(s);
    for (int i = 0; i < 3; i++) {
        dies[i] = consumer(s->name);
        wait_asleep(dies[i], "a consumer waits while the ring is empty");
    }
    struct program *c = consumer(s->name);
    wait_asleep(c, "a consumer waits while the ring is empty");
    for (int i = 0; i < 3; i++) {
        program_signal(dies[i], signals[i]);
        expect_killed(dies[i], signals[i]);
    }
    segment_put_text(s, first);
    segment_put_text(s, second);
    expect_line_text(c, first);
    expect_line_text(c, second);
    segment_detach(s);
    expect_success(c);
    expect_sem(s, AT_SPACES, 3, "the killed consumers took nothing with them");
    expect_sem(s, AT_ITEMS, 1, "the end is told once");
}

TEST(death, producer,
     "a producer that is killed while it waits leaves a ring that works, and stays counted")
{
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 1, false);
    const char *first = word(&r), *second = word(&r);
    static const int signals[] = {SIGKILL, SIGTERM, SIGINT};
    struct program *dies[3];
    size_t len;

    for (int i = 0; i < 3; i++) {
        dies[i] = producer(s->name);
        wait_attached(s, (uint32_t)i + 1, dies[i]);
        if (i == 0)
            send_line(dies[i], first);
        send_line(dies[i], "never");
        wait_field(s, AT_TAIL, 1, dies[i], "the first line fills the ring");
        wait_asleep(dies[i], "the producer waits while the ring is full");
    }
    for (int i = 0; i < 3; i++) {
        program_signal(dies[i], signals[i]);
        expect_killed(dies[i], signals[i]);
    }
    expect_field(s, AT_PRODUCERS, 3, "nobody has counted the dead ones off");
    expect_mutex_free(s, "after the death of producers that waited for a space");

    struct program *p = producer(s->name);
    wait_attached(s, 4, p);
    send_line(p, second);
    wait_asleep(p, "the producer waits while the ring is full");
    const char *got = segment_take(s, &len);
    EXPECT(strcmp(got, first) == 0, "the dead one's item is there", quoted(got, len, 40));
    wait_field(s, AT_TAIL, 2, p, "a space has come, so the living producer goes on");
    got = segment_take(s, &len);
    EXPECT(strcmp(got, second) == 0, "the living one's item is there", quoted(got, len, 40));
    program_close_input(p);
    expect_success(p);
    expect_field(s, AT_PRODUCERS, 3, "the dead ones are still counted");
    expect_field(s, AT_CLOSED, 0, "the dead ones are still counted, so the ring stays open");
    struct program *c = consumer(s->name);
    wait_asleep(c, "the consumer waits: the ring is empty and open");
}
