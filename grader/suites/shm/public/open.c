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

/* What is now a ring with one item is accepted by all three. */
static void expect_all_accept(struct segment *s, struct random *r)
{
    const char *first = word(r), *second = word(r);
    struct program *p = ring("info", s->name);
    expect_output_text(p, info_line(s));
    expect_success(p);
    segment_put_text(s, first);
    p = producer(s->name);
    wait_attached(s, 1, p);
    send_line(p, second);
    program_close_input(p);
    expect_success(p);
    p = consumer(s->name);
    expect_success(p);
    expect_output_text(p, text("%s\n%s\n", first, second));
}

TEST(open, missing, "a name that is not there is refused, and not made")
{
    struct random r = random_from_test();
    const char *name = ring_name(&r);

    expect_all_refuse(name, "there is no ring of that name");
    EXPECT(!segment_there(name), "who opens a ring that is not there does not make one",
           "the object is there now");
    expect_all_accept(segment_make(name, 3, false), &r);
}

TEST(open, magic,
     "an object whose magic is wrong is refused, unchanged; with the right one it is a ring")
{
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), (uint32_t)between(&r, 3, 20), false);

    set32(s, AT_MAGIC, MAGIC ^ (UINT32_C(1) << between(&r, 0, 31)));
    struct snapshot before = segment_snapshot(s);
    expect_all_refuse(s->name, "magic is wrong, so this is no ring");
    expect_unchanged(s, &before, "what is no ring is left as it was");
    set32(s, AT_MAGIC, MAGIC);
    expect_all_accept(s, &r);
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
    expect_all_accept(s, &r);
}
