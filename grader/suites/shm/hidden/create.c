/* Establishing a region, looked at closely. */
#include "suites/shm/peer/step.h"

#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

TEST(create, magic_last, "magic is written last: whoever sees it sees a whole ring")
{
    struct random r = random_from_test();
    uint32_t capacity = (uint32_t)between(&r, 2, 9);
    struct segment *s = create_step_by_step(ring_name(&r), capacity,
                                            "the creator writes 'magic' last, so that nobody takes "
                                            "a half-made ring for a ring");
    expect_field(s, AT_CAPACITY, capacity, "after ring create");
    expect_sem(s, AT_MUTEX, 1, "after ring create");
    expect_sem(s, AT_SPACES, (int)capacity, "after ring create");
}

TEST(create, semaphores, "the semaphores that ring create makes work between processes")
{
    struct random r = random_from_test();
    struct segment *s = ring_create(ring_name(&r), 1, false);
    const char *first = word(&r), *second = word(&r);
    size_t len;

    segment_attach(s);
    struct program *c = consumer(s->name);
    wait_asleep(c, "the consumer waits while the ring is empty");
    segment_put_text(s, first); /* wakes the one who waits for an item */
    expect_line_text(c, first);
    wait_sem(s, AT_SPACES, 1, c, "the space is given back");
    program_signal(c, SIGKILL);
    expect_killed(c, SIGKILL);

    segment_lock(s);
    struct program *p = producer(s->name);
    wait_asleep(p, "the producer waits for 'mutex', which the grader holds");
    segment_unlock(s); /* wakes the one who waits for mutex */
    wait_attached(s, 2, p);
    send_line(p, first);
    send_line(p, second);
    wait_field(s, AT_TAIL, 2, p, "the first line fills the ring");
    wait_asleep(p, "the producer waits while the ring is full");
    const char *got = segment_take(s, &len); /* wakes the one who waits for a space */
    EXPECT(strcmp(got, first) == 0, "the lines come in order", quoted(got, len, 40));
    wait_field(s, AT_TAIL, 3, p, "a space has come, so the producer goes on");
    program_close_input(p);
    expect_success(p);
}

TEST(create, no_memory,
     "a ring that /dev/shm has no room for is refused, and leaves no name behind")
{
    struct random r = random_from_test();
    const char *name = ring_name(&r);
    struct segment *whole = ring_create(ring_name(&r), capacity_with_rest(50), false);

    EXPECT(segment_memory(whole) >= ring_bytes(get32(whole, AT_CAPACITY)),
           text("memory is reserved for the header and all %u items, %zu bytes",
                get32(whole, AT_CAPACITY), ring_bytes(get32(whole, AT_CAPACITY))),
           text("there is memory for %zu bytes", segment_memory(whole)));
    shared_memory_fill(1 << 20);
    struct program *p = program_new("ring");
    program_args(p, "create", name, text("%d", between(&r, 8000, 9000)), NULL);
    program_start(p);
    expect_failure(p, "there is no room in /dev/shm for so many items");
    EXPECT(!segment_there(name), "a creator that fails leaves no name behind",
           "the object is there");
    struct segment *s = ring_create(name, 3, false); /* 1 MiB is enough for this one */
    expect_field(s, AT_CAPACITY, 3, "after a ring that fits is made");
}

TEST(create, nothing_else,
     "in /dev/shm there is the ring and nothing else, and nothing after its end")
{
    struct random r = random_from_test();
    size_t before = segment_names();
    struct segment *s = ring_create(ring_name(&r), 2, true);
    const char *line = word(&r);

    EXPECT(segment_names() == before + 1, "ring create makes one name",
           text("%zu new names", segment_names() - before));
    struct program *c = consumer(s->name);
    struct program *p = producer(s->name);
    wait_attached(s, 1, p);
    send_line(p, line);
    expect_line_text(c, line);
    EXPECT(segment_names() == before + 1, "programs that use a ring make no names",
           text("%zu new names", segment_names() - before));
    program_close_input(p);
    expect_success(p);
    expect_success(c);
    EXPECT(segment_there(s->name), "the ring stays when producers and consumers have left it",
           "its name is gone");
    expect_success(ring("destroy", s->name));
    EXPECT(segment_names() == before, "ring destroy removes what ring create made",
           text("%zu names are left", segment_names() - before));
}

TEST(create, foreign_object, "ring create leaves an object alone that is no ring, too")
{
    struct random r = random_from_test();
    const char *name = ring_name(&r), *other = ring_name(&r);
    struct segment *s = segment_zero(name, 1000);
    struct snapshot before = segment_snapshot(s);

    struct program *p = program_new("ring");
    program_args(p, "create", name, "5", NULL);
    program_start(p);
    expect_failure(p, "there is an object of that name already");
    EXPECT(segment_there(name), "the object keeps its name", "the name is gone");
    expect_unchanged(s, &before, "the object is as it was");
    ring_create(other, 5, false);

    /* Names are as long as 255 bytes, and each byte of them counts. */
    char *longest[2];
    for (int i = 0; i < 2; i++) {
        longest[i] = (char *)text("%s%*s", other, 255 - (int)strlen(other), "");
        memset(longest[i] + strlen(other), 'n', 255 - strlen(other));
        longest[i][254] = (char)('a' + i);
        s = ring_create(ring_named(longest[i]), 2 + (uint32_t)i, false);
        expect_field(s, AT_CAPACITY, 2 + (uint64_t)i, "a ring with a name of 255 bytes");
    }
    expect_success(ring("destroy", longest[1]));
    EXPECT(segment_there(longest[0]) && !segment_there(longest[1]),
           "of two names that differ in their last byte the one that is asked for is removed",
           segment_there(longest[1]) ? "it is still there" : "the other one is gone, too");
}

TEST(destroy, whatever, "ring destroy removes a name whatever is behind it")
{
    struct random r = random_from_test();
    struct segment *s[3];

    s[0] = segment_zero(ring_name(&r), 0);
    s[1] = segment_zero(ring_name(&r), 5000); /* no magic */
    s[2] = segment_make(ring_name(&r), 3, false);
    segment_lock(s[2]); /* nobody waits for it */
    for (int i = 0; i < 3; i++) {
        expect_success(ring("destroy", s[i]->name));
        EXPECT(!segment_there(s[i]->name), "the name is gone", "it is still there");
    }
}

TEST(create, meanwhile, "somebody else makes the name at the last moment: that ring stays as it is")
{
    struct random r = random_from_test();
    const char *name = ring_name(&r);
    struct segment *s = NULL;

    struct program *p = program_new("ring");
    program_args(p, "create", name, "5", NULL);
    struct trace_stop stop;
    step_start(p);
    while (s == NULL && step_to_call(&stop))
        if (makes_name(&stop))
            s = segment_make(name, 3, true);
    EXPECT(s != NULL, "ring create makes the shared memory object /NAME",
           "it has ended and made none");
    struct snapshot before = segment_snapshot(s);
    trace_end();
    expect_exit(p, 1);
    EXPECT(segment_there(name), "the ring of the creator that was first keeps its name",
           "the name is gone");
    expect_unchanged(s, &before, "the ring of the creator that was first is as it was");
    expect_sem(s, AT_SPACES, 3, "the ring of the creator that was first is as it was");
}
