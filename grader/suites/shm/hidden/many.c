/* Many processes: 20,000 items, one place, and processes that are stopped and continued. */
#include "suites/shm/peer/shm.h"

#include <signal.h>

enum { SIDE = 4 };

struct crowd {
    struct segment *s;
    struct program *p[SIDE], *c[SIDE];
};

static struct crowd crowd_make(struct random *r, uint32_t capacity, bool unbounded)
{
    struct crowd crowd = {.s = segment_make(ring_name(r), capacity, unbounded)};
    for (int i = 0; i < SIDE; i++) {
        crowd.c[i] = consumer(crowd.s->name);
        crowd.p[i] = producer(crowd.s->name);
        wait_attached(crowd.s, (uint32_t)i + 1, crowd.p[i]);
    }
    return crowd;
}

static void crowd_ends(struct crowd *crowd, int each)
{
    for (int i = 0; i < SIDE; i++)
        expect_success(crowd->p[i]);
    for (int i = 0; i < SIDE; i++)
        expect_success(crowd->c[i]);
    expect_all_items(crowd->c, SIDE, SIDE, each);
    expect_field(crowd->s, AT_HEAD, (uint64_t)SIDE * (uint64_t)each, "every item has been taken");
    expect_sem(crowd->s, AT_ITEMS, 1, "the end is told once");
    expect_sem(crowd->s, AT_MUTEX, 1, "all have ended");
    if (get32(crowd->s, AT_UNBOUNDED) == 0)
        expect_sem(crowd->s, AT_SPACES, (int)get32(crowd->s, AT_CAPACITY), "all have ended");
}

TEST(many, twenty_thousand,
     "four producers and four consumers, 20,000 items: none lost, none twice, in order")
{
    struct random r = random_from_test();
    struct crowd crowd = crowd_make(&r, (uint32_t)between(&r, 10, 100), false);
    for (int i = 0; i < SIDE; i++)
        send_numbered(crowd.p[i], i, 20000 / SIDE);
    crowd_ends(&crowd, 20000 / SIDE);
}

TEST(many, one_place, "four producers and four consumers share a ring of one place")
{
    struct random r = random_from_test();
    struct crowd crowd = crowd_make(&r, 1, false);
    for (int i = 0; i < SIDE; i++)
        send_numbered(crowd.p[i], i, 300);
    crowd_ends(&crowd, 300);
}

TEST(many, unbounded, "four producers and four consumers on a ring that grows under them")
{
    struct random r = random_from_test();
    struct crowd crowd = crowd_make(&r, 1, true);
    for (int i = 0; i < SIDE; i++) {
        wait_asleep(crowd.c[i], "a consumer waits while the ring is empty");
        program_stop(crowd.c[i]); /* so that it has to grow */
    }
    for (int i = 0; i < SIDE; i++)
        send_numbered(crowd.p[i], i, 500);
    for (int i = 0; i < SIDE; i++)
        expect_success(crowd.p[i]);
    expect_field(crowd.s, AT_CAPACITY, 2048, "2,000 items are in the ring");
    for (int i = 0; i < SIDE; i++)
        program_signal(crowd.c[i], SIGCONT);
    crowd_ends(&crowd, 500);
}

/* The ring has moved on by so many items, or everybody waits, or the end has come. */
struct pace {
    struct segment *s;
    uint64_t goal;
    struct activity last;
};

static bool moved_on(void *context)
{
    struct pace *pace = context;
    if (get64(pace->s, AT_HEAD) >= pace->goal || get32(pace->s, AT_CLOSED) != 0)
        return true;
    struct activity now = activity_sample(0);
    bool rests = now.all_asleep && activity_same(&now, &pace->last);
    pace->last = now;
    return rests;
}

TEST(many, stopped, "20,000 items while processes are stopped and continued in turn")
{
    enum { ROUNDS = 60 };
    struct random r = random_from_test();
    struct crowd crowd = crowd_make(&r, (uint32_t)between(&r, 2, 30), false);

    for (int i = 0; i < SIDE; i++)
        send_numbered(crowd.p[i], i, 20000 / SIDE);
    for (int i = 0; i < ROUNDS; i++) {
        int which = between(&r, 0, 2 * SIDE - 1);
        struct program *p = which < SIDE ? crowd.p[which] : crowd.c[which - SIDE];
        if (program_has_ended(p))
            continue;
        program_signal(p, SIGSTOP);
        struct pace pace = {
            crowd.s, get64(crowd.s, AT_HEAD) + random_below(&r, 400), {.all_asleep = false}};
        wait_until(moved_on, &pace, "the others go on, or wait for the one that is stopped");
        program_signal(p, SIGCONT);
    }
    crowd_ends(&crowd, 20000 / SIDE);
}
