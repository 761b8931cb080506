/* Many processes on one ring. */
#include "suites/shm/peer/shm.h"

TEST(many, order,
     "three producers and three consumers: no item is lost or doubled, each producer's order is "
     "kept")
{
    enum { EACH = 700, SIDES = 3 };
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), (uint32_t)between(&r, 2, 9), false);
    struct program *p[SIDES], *c[SIDES];

    for (int i = 0; i < SIDES; i++) {
        c[i] = consumer(s->name);
        p[i] = producer(s->name);
        wait_attached(s, (uint32_t)i + 1, p[i]);
    }
    for (int i = 0; i < SIDES; i++)
        send_numbered(p[i], i, EACH);
    for (int i = 0; i < SIDES; i++)
        expect_success(p[i]);
    for (int i = 0; i < SIDES; i++)
        expect_end(c[i]);
    expect_all_items(c, SIDES, SIDES, EACH);
    expect_field(s, AT_TAIL, SIDES * EACH, "every item has been put");
    expect_field(s, AT_HEAD, SIDES * EACH, "every item has been taken");
}
