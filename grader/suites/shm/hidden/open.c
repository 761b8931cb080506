/* Opening what a stranger may have made. */
#include "suites/shm/peer/step.h"

#include <string.h>

static void expect_all_refuse(struct segment *s, const char *why)
{
    struct snapshot before = segment_snapshot(s);
    expect_failure(ring("info", s->name), why);
    expect_failure(consumer(s->name), why);
    expect_failure(producer(s->name), why);
    expect_unchanged(s, &before, "what is refused is left as it was");
}

/* The same name is a right ring now. */
static void expect_consumed(struct segment *s, struct random *r)
{
    const char *line = word(r);
    segment_attach(s);
    segment_put_text(s, line);
    segment_detach(s);
    struct program *p = ring("info", s->name);
    expect_output_text(p, info_line(s));
    p = consumer(s->name);
    expect_success(p);
    expect_output_text(p, text("%s\n", line));
}

TEST(open, not_ready, "a ring that is not ready yet is refused at once: nobody waits for it")
{
    struct random r = random_from_test();
    /* Its name is as long as a name can be, and differs in its last byte from another ring's. */
    const char *begin = ring_name(&r);
    segment_make(ring_longest(begin, 'a'), 4, false);
    struct segment *s = segment_zero(ring_longest(begin, 'b'), ring_bytes(4));

    expect_all_refuse(s, "the object is all zeros yet");
    segment_init(s, 4, false);
    set32(s, AT_MAGIC, 0);
    expect_all_refuse(s, "everything is there but magic");
    set32(s, AT_MAGIC, MAGIC);
    expect_consumed(s, &r);
}

TEST(open, no_header, "an object shorter than the header is refused, an empty one too")
{
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 1, false);
    size_t sizes[] = {HEADER_SIZE - 1, (size_t)between(&r, 5, 100), 4, 0};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        segment_resize(s, sizes[i]);
        const char *why = text("the object has %zu bytes, fewer than the header", sizes[i]);
        expect_failure(ring("info", s->name), why);
        expect_failure(consumer(s->name), why);
        expect_failure(producer(s->name), why);
        EXPECT(segment_size(s) == sizes[i], "what is refused is left as it was",
               text("the object has %zu bytes now", segment_size(s)));
    }
    segment_resize(s, ring_bytes(4));
    segment_init(s, 4, false);
    expect_consumed(s, &r);
}

TEST(open, capacity, "a capacity of 0, or over 1,048,576, is refused, and 1 is not")
{
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 4, false);
    /* The last three: times 260 they are small again in 32 bits. */
    uint32_t wrong[] = {0, CAPACITY_MAX + 1, UINT32_MAX, 16519105, 0x40000000, 0x80000000};

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        set32(s, AT_CAPACITY, wrong[i]);
        expect_all_refuse(s, text("its capacity is %u", wrong[i]));
    }
    segment_resize(s, ring_bytes(CAPACITY_MAX + 1)); /* long enough, but without memory behind it */
    set32(s, AT_CAPACITY, CAPACITY_MAX + 1);
    struct snapshot before = {.size = segment_size(s)};
    expect_failure(ring("info", s->name), "its capacity is one too large");
    expect_failure(consumer(s->name), "its capacity is one too large");
    EXPECT(segment_size(s) == before.size, "what is refused is left as it was", "it is shorter");
    segment_resize(s, ring_bytes(1));
    set32(s, AT_CAPACITY, 1);
    sem_set(s, AT_SPACES, 1);
    expect_consumed(s, &r);
}

TEST(open, too_short, "an object too short for its capacity is refused, whatever is missing")
{
    struct random r = random_from_test();
    uint32_t capacity = (uint32_t)between(&r, 40, 90);
    struct segment *s = segment_make(ring_name(&r), capacity, true);
    size_t sizes[] = {ring_bytes(capacity - 1), ring_bytes(1), HEADER_SIZE};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        segment_resize(s, sizes[i]);
        const char *why = text("%zu bytes are too few for %u items", sizes[i], capacity);
        expect_failure(ring("info", s->name), why);
        expect_failure(consumer(s->name), why);
        expect_failure(producer(s->name), why);
        EXPECT(segment_size(s) == sizes[i], "what is refused is left as it was",
               text("the object has %zu bytes now", segment_size(s)));
    }
    segment_resize(s, ring_bytes(capacity));
    segment_init(s, capacity, true);
    expect_consumed(s, &r);
}

TEST(open, meanwhile, "a ring that grows while it is opened is a right one at each moment")
{
    enum { LARGEST = 1 << 15 };
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 1, true);
    uint32_t capacity = 1;

    struct program *p = program_new("ring");
    program_args(p, "info", s->name, NULL);
    struct trace_stop stop;
    step_start(p);
    while (step_to_call(&stop))
        if (capacity < LARGEST && descriptors_of(p, s->name) > 0) {
            capacity *= 2; /* first the object, then the capacity; the items are not looked at */
            segment_resize(s, ring_bytes(capacity));
            set32(s, AT_CAPACITY, capacity);
        }
    EXPECT(capacity > 1, "ring info opens the object", "it has ended and did not");
    expect_exit(p, 0);
}
