/* Opening: what is behind a name is checked before it is believed. */
#include "suites/shm/peer/shm.h"

#include <string.h>

/* All three programs refuse what `name` leads to. */
static void expect_all_refuse(const char *name, const char *why)
{
    expect_failure(ring("info", name), why);
    expect_failure(consumer(name), why);
    expect_failure(producer(name), why);
}

/* It is accepted where nothing has to be put or taken: that is another step of the handout. */
static void expect_accepted(const struct segment *s)
{
    struct program *p = ring("info", s->name);
    expect_output_text(p, info_line(s));
    expect_success(p);
    p = consumer_of(s->name, 0);
    expect_success(p);
    expect_no_output(p);
}

TEST(open, missing, "a name that is not there is refused, and not made")
{
    struct random r = random_from_test();
    const char *name = ring_name(&r);

    expect_all_refuse(name, "there is no ring of that name");
    EXPECT(!segment_there(name), "who opens a ring that is not there does not make one",
           "the object is there now");
    expect_accepted(segment_make(name, 3, false));
}

TEST(open, magic,
     "an object whose magic is wrong is refused, unchanged; with the right one it is a ring")
{
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), (uint32_t)between(&r, 3, 20), false);

    for (int bit = 0; bit < 32; bit++) {
        set32(s, AT_MAGIC, MAGIC ^ (UINT32_C(1) << bit));
        expect_failure(ring("info", s->name), text("bit %d of magic is wrong", bit));
    }
    set32(s, AT_MAGIC, MAGIC ^ (UINT32_C(1) << between(&r, 0, 31)));
    struct snapshot before = segment_snapshot(s);
    expect_all_refuse(s->name, "magic is wrong, so this is no ring");
    expect_unchanged(s, &before, "what is no ring is left as it was");
    set32(s, AT_MAGIC, MAGIC);
    expect_accepted(s);
}

TEST(open, size, "an object too short for its capacity is refused; longer than needed is right")
{
    struct random r = random_from_test();
    uint32_t capacity = (uint32_t)between(&r, 3, 20);
    struct segment *s = segment_make(ring_name(&r), capacity, false);

    segment_resize(s, ring_bytes(capacity) - 1); /* one byte of the last item is missing */
    struct snapshot before = segment_snapshot(s);
    expect_all_refuse(s->name, "the object is too short for so many items");
    expect_unchanged(s, &before, "a ring that is too short is left as it was");
    segment_resize(s, ring_bytes(capacity) + (size_t)between(&r, 1, 100000));
    expect_accepted(s);
}
