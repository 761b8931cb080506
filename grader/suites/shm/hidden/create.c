/* Establishing a region, looked at closely. */
#include "suites/shm/peer/step.h"

#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

TEST(create, magic_last, "magic is written last: whoever sees it sees a whole ring")
{
    struct random r = random_from_test();
    for (int unbounded = 0; unbounded < 2; unbounded++) {
        uint32_t capacity = (uint32_t)between(&r, 2, 9);
        struct segment *s = create_step_by_step(ring_name(&r), capacity, unbounded,
                                                "the creator writes 'magic' last, so that nobody "
                                                "takes a half-made ring for a ring");
        expect_field(s, AT_CAPACITY, capacity, "after ring create");
        expect_field(s, AT_UNBOUNDED, (uint64_t)unbounded, "after ring create");
        expect_sem(s, AT_MUTEX, 1, "after ring create");
        if (!unbounded)
            expect_sem(s, AT_SPACES, (int)capacity, "after ring create");
    }
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
    const uint32_t wholes[] = {50, 40000}; /* the second one needs more than 15 bits */

    for (int i = 0; i < 4; i++) {
        uint32_t capacity = capacity_with_rest(wholes[i / 2]);
        struct segment *whole = ring_create(ring_name(&r), capacity, i % 2);
        expect_field(whole, AT_CAPACITY, capacity, "after ring create");
        EXPECT(segment_memory(whole) >= ring_bytes(capacity),
               text("memory is reserved for the header and all %u items, %zu bytes", capacity,
                    ring_bytes(capacity)),
               text("there is memory for %zu bytes", segment_memory(whole)));
        segment_unlink(whole->name);
        segment_resize(whole, 0);
    }
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

/* `ring create` refuses this one's name, and does nothing to it. */
static void expect_left_alone(struct segment *s)
{
    struct stat old, now;
    struct snapshot before = segment_snapshot(s);
    struct program *p = program_new("ring");
    program_args(p, "create", s->name, "5", "--unbounded", NULL);
    program_start(p);
    expect_failure(p, "there is an object of that name already");
    EXPECT(segment_there(s->name), "the object keeps its name", "the name is gone");
    EXPECT(fstat(s->fd, &old) == 0 && stat(text("/dev/shm/%s", s->name), &now) == 0 &&
               old.st_ino == now.st_ino,
           "the name still leads to the object", "it leads to another one");
    expect_unchanged(s, &before, "the object is as it was");
}

TEST(create, foreign_object, "ring create leaves an object alone that is no ring, too")
{
    struct random r = random_from_test();
    const char *name = ring_name(&r), *other = ring_name(&r);
    struct segment *s = segment_zero(name, 1000);

    expect_left_alone(s); /* zeros */
    expect_left_alone(segment_zero(ring_name(&r), 0));
    segment_init(s, 3, false);
    expect_left_alone(s); /* a ring that nobody uses */
    set32(s, AT_CLOSED, 1);
    sem_give(s, AT_ITEMS);
    expect_left_alone(s); /* one that has ended */
    set32(s, AT_CAPACITY, 0);
    expect_left_alone(s); /* one that is none any more */
    segment_shut(s);
    expect_left_alone(s); /* one that may not be opened */
    ring_create(other, 5, false);

    /* Names are as long as 255 bytes, and each byte of them counts. */
    const char *longest[2];
    for (int i = 0; i < 2; i++) {
        longest[i] = ring_longest(other, (char)('a' + i));
        s = ring_create(longest[i], 2 + (uint32_t)i, false);
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
    struct segment *s[6];

    s[0] = segment_zero(ring_name(&r), 0);
    s[1] = segment_zero(ring_name(&r), 5000); /* no magic */
    s[2] = segment_make(ring_name(&r), 3, false);
    segment_lock(s[2]);                          /* nobody waits for it */
    s[3] = segment_make(ring_name(&r), 3, true); /* nobody uses it */
    s[4] = segment_make(ring_name(&r), 3, false);
    segment_attach(s[4]); /* it has ended, with something in it */
    segment_put_text(s[4], word(&r));
    segment_detach(s[4]);
    s[5] = segment_make(ring_name(&r), 3, false);
    segment_shut(s[5]); /* it may not be opened */
    for (int i = 0; i < 6; i++) {
        struct snapshot before = segment_snapshot(s[i]);
        expect_success(ring("destroy", s[i]->name));
        EXPECT(!segment_there(s[i]->name), "the name is gone", "it is still there");
        expect_unchanged(s[i], &before, "whoever has it open goes on with it as it was");
        if (i < 2)
            continue;
        const char *what = "ring destroy wakes nobody, and lets nobody in";
        expect_sem(s[i], AT_MUTEX, i == 2 ? 0 : 1, what);
        expect_sem(s[i], AT_ITEMS, i == 4 ? 2 : 0, what);
        expect_sem(s[i], AT_SPACES, i == 4 ? 2 : 3, what);
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
