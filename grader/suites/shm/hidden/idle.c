/* No busy waiting, no polling. */
#include "suites/shm/peer/shm.h"

#include <string.h>

/* Waits for the ring and for nothing else: no clock wakes it. */
static void expect_undisturbed(struct program *p, const char *what)
{
    wait_asleep(p, what);
    long before = process_switches(program_pid(p));
    wait_asleep(p, what);
    wait_asleep(p, what);
    EXPECT(process_switches(program_pid(p)) == before, what,
           "it wakes up although nothing happens");
}

TEST(idle, consumer,
     "a consumer sleeps in the kernel while the ring is empty, or the mutex is held")
{
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 2, false);
    const char *line = word(&r);

    segment_attach(s);
    struct program *c = consumer(s->name);
    expect_undisturbed(c, "the consumer sleeps while the ring is empty");
    segment_lock(s);
    sem_take(s, AT_SPACES);
    segment_append(s, line, strlen(line));
    sem_give(s, AT_ITEMS);
    expect_undisturbed(c, "the consumer sleeps while the grader holds 'mutex'");
    segment_unlock(s);
    expect_line_text(c, line);
    segment_detach(s);
    expect_success(c);
    EXPECT(program_cpu_seconds(c) < 0.5, "a consumer that waits uses no processor time",
           text("%.1f s", program_cpu_seconds(c)));
}

TEST(idle, producer, "a producer sleeps in the kernel while the ring is full, or the mutex is held")
{
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 1, false);
    size_t len;

    struct program *p = producer(s->name);
    wait_attached(s, 1, p);
    wait_sem(s, AT_MUTEX, 1, p, "whoever takes 'mutex' posts it");
    segment_lock(s);
    send_line(p, "a");
    expect_undisturbed(p, "the producer sleeps while the grader holds 'mutex'");
    segment_unlock(s);
    send_line(p, "b");
    wait_field(s, AT_TAIL, 1, p, "a line is put");
    expect_undisturbed(p, "the producer sleeps while the ring is full");
    segment_take(s, &len);
    wait_field(s, AT_TAIL, 2, p, "a space has come, so the producer goes on");
    program_close_input(p);
    expect_success(p);
    EXPECT(program_cpu_seconds(p) < 0.5, "a producer that waits uses no processor time",
           text("%.1f s", program_cpu_seconds(p)));
}
