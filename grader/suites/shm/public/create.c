/* Establishing a region: create, info, destroy. */
#include "suites/shm/peer/shm.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

TEST(create, layout,
     "ring create makes an empty ring: every field and semaphore, long enough, mode 0600")
{
    struct random r = random_from_test();
    for (int unbounded = 0; unbounded < 2; unbounded++) {
        const char *name = ring_name(&r);
        uint32_t capacity = (uint32_t)between(&r, 2, 200);
        struct segment *s = ring_create(name, capacity, unbounded);
        const char *what =
            text("after 'ring create NAME %u%s'", capacity, unbounded ? " --unbounded" : "");
        struct stat st;

        expect_field(s, AT_MAGIC, MAGIC, what);
        expect_field(s, AT_CAPACITY, capacity, what);
        expect_field(s, AT_UNBOUNDED, (uint64_t)unbounded, what);
        expect_field(s, AT_PRODUCERS, 0, what);
        expect_field(s, AT_CLOSED, 0, what);
        expect_field(s, AT_HEAD, 0, what);
        expect_field(s, AT_TAIL, 0, what);
        expect_sem(s, AT_MUTEX, 1, what);
        expect_sem(s, AT_ITEMS, 0, what);
        if (!unbounded)
            expect_sem(s, AT_SPACES, (int)capacity, what);
        EXPECT(segment_size(s) >= ring_bytes(capacity),
               text("%s: the object holds the header and %u items, %zu bytes", what, capacity,
                    ring_bytes(capacity)),
               text("it has %zu bytes", segment_size(s)));
        EXPECT(fstat(s->fd, &st) == 0 && (st.st_mode & 07777) == 0600,
               text("%s: the object has mode 0600", what),
               text("it has mode %04o", (unsigned)st.st_mode & 07777));
    }
}

TEST(create, twice, "a second ring create with that name fails and leaves the first ring as it was")
{
    struct random r = random_from_test();
    const char *name = ring_name(&r), *kept = word(&r);
    uint32_t capacity = (uint32_t)between(&r, 3, 9);
    struct segment *s = ring_create(name, capacity, false);

    segment_attach(s);
    segment_put_text(s, kept);
    struct snapshot before = segment_snapshot(s);
    struct program *second = program_new("ring");
    program_args(second, "create", name, text("%u", 2 * capacity), "--unbounded", NULL);
    program_start(second);
    expect_failure(second, "there is a ring of that name already");
    EXPECT(segment_there(name), "the first ring keeps its name", "the name is gone");
    expect_unchanged(s, &before, "the first ring is as it was");
    expect_sem(s, AT_MUTEX, 1, "the first ring is as it was");
    expect_sem(s, AT_ITEMS, 1, "the first ring is as it was");
    expect_sem(s, AT_SPACES, (int)capacity - 1, "the first ring is as it was");

    struct segment *again = segment_open(name, "the first ring keeps its name");
    struct stat first, now;
    EXPECT(fstat(s->fd, &first) == 0 && fstat(again->fd, &now) == 0 && first.st_ino == now.st_ino,
           "the name still leads to the first ring", "it leads to another object");
}

TEST(info, fields, "ring info prints the six fields as they are, also while the mutex is held")
{
    struct random r = random_from_test();
    const char *name = ring_name(&r);
    struct segment *s = segment_make(name, (uint32_t)between(&r, 1, 99), between(&r, 0, 1) == 1);

    set32(s, AT_PRODUCERS, (uint32_t)between(&r, 2, 99));
    set64(s, AT_HEAD, UINT64_C(5000000000) + random_below(&r, 1000000));
    set64(s, AT_TAIL, get64(s, AT_HEAD) + random_below(&r, get32(s, AT_CAPACITY) + 1));
    segment_lock(s);
    struct program *p = ring("info", name);
    expect_output_text(p, info_line(s));
    expect_success(p);
    set32(s, AT_CLOSED, 1); /* as in a ring that has ended */
    set32(s, AT_PRODUCERS, 0);
    struct snapshot before = segment_snapshot(s);
    p = ring("info", name);
    expect_output_text(p, info_line(s));
    expect_success(p);
    expect_unchanged(s, &before, "ring info changes nothing");
    expect_sem(s, AT_MUTEX, 0, "ring info leaves 'mutex' to the one who holds it");
}

TEST(destroy, name, "ring destroy removes the name, and leaves the ring to who has it open")
{
    struct random r = random_from_test();
    const char *name = ring_name(&r);
    struct segment *s = segment_make(name, 4, false);

    segment_attach(s);
    segment_put_text(s, word(&r));
    struct snapshot before = segment_snapshot(s);
    struct program *p = ring("destroy", name);
    expect_success(p);
    EXPECT(!segment_there(name), "the name is gone from /dev/shm", "it is still there");
    expect_unchanged(s, &before, "the ring itself stays as it was for whoever has it open");
    expect_sem(s, AT_ITEMS, 1, "the ring itself stays as it was for whoever has it open");
    p = ring("destroy", name);
    expect_failure(p, "there is no ring of that name any more");
}
