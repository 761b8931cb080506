/* The bounded buffer, slot by slot. */
#include "suites/shm/peer/shm.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const uint32_t capacities[] = {1, 2, 3, 7};

TEST(put, wrap, "a producer's items go round the ring, at capacities 1, 2, 3 and 7")
{
    struct random r = random_from_test();
    for (size_t i = 0; i < sizeof capacities / sizeof *capacities; i++) {
        uint32_t capacity = capacities[i], rounds = 2 * capacity + 3;
        struct segment *s = segment_make(ring_name(&r), capacity, false);
        size_t len;
        struct program *p = producer(s->name);

        for (uint64_t n = 0; n < rounds; n++) {
            const char *line = letters(&r, (size_t)between(&r, 1, 40));
            send_line(p, line);
            wait_field(s, AT_TAIL, n + 1, p, text("with capacity %u a line is put", capacity));
            segment_lock(s);
            expect_item(s, n, line, strlen(line), text("with capacity %u", capacity));
            segment_unlock(s);
            if (n + 1 >= capacity) { /* full: the oldest goes */
                wait_asleep(p, "the producer waits for input");
                expect_sem(s, AT_SPACES, 0, text("with capacity %u, full", capacity));
                segment_take(s, &len);
            }
        }
        program_close_input(p);
        expect_success(p);
        expect_sem(s, AT_ITEMS, (int)capacity, "one item less than full, and the end");
    }
}

TEST(take, wrap, "a consumer's items come round the ring, at capacities 1, 2, 3 and 7")
{
    struct random r = random_from_test();
    for (size_t i = 0; i < sizeof capacities / sizeof *capacities; i++) {
        uint32_t capacity = capacities[i];
        struct segment *s = segment_make(ring_name(&r), capacity, false);
        struct program *c = consumer(s->name);

        segment_attach(s);
        for (uint32_t n = 0; n < 2 * capacity + 3; n++) {
            const char *line = letters(&r, (size_t)between(&r, 1, 40));
            segment_put_text(s, line);
            expect_line_text(c, line);
        }
        segment_detach(s);
        expect_success(c);
        expect_sem(s, AT_SPACES, (int)capacity, text("with capacity %u, empty", capacity));
    }
}

/* Two more, and the counters need more than 32 bits, or are negative as signed ones. */
static const uint64_t far_on[] = {UINT32_MAX - 1, INT64_MAX - 1};
enum { FAR_COUNT = sizeof far_on / sizeof *far_on };

static struct segment *far_ring(struct random *r, int i)
{
    struct segment *s = segment_make(ring_name(r), 7, false);
    set64(s, AT_HEAD, far_on[i]);
    set64(s, AT_TAIL, far_on[i]);
    return s;
}

TEST(put, beyond_32_bits, "a producer goes on where tail needs more than 32 bits")
{
    struct random r = random_from_test();
    for (int which = 0; which < FAR_COUNT; which++) {
        struct segment *s = far_ring(&r, which);
        uint64_t n = far_on[which];
        struct program *p = producer(s->name);

        for (int i = 0; i < 6; i++, n++) {
            const char *line = word(&r);
            send_line(p, line);
            wait_field(s, AT_TAIL, n + 1, p, "a line is put");
            segment_lock(s);
            expect_item(s, n, line, strlen(line), "beyond 32 bits");
            segment_unlock(s);
        }
        program_close_input(p);
        expect_success(p);
    }
}

TEST(take, beyond_32_bits, "a consumer goes on where head needs more than 32 bits")
{
    struct random r = random_from_test();
    for (int which = 0; which < FAR_COUNT; which++) {
        struct segment *s = far_ring(&r, which);
        struct program *c = consumer(s->name);

        segment_attach(s);
        for (int i = 0; i < 6; i++) {
            const char *line = word(&r);
            segment_put_text(s, line);
            expect_line_text(c, line);
        }
        segment_detach(s);
        expect_success(c);
        expect_field(s, AT_HEAD, far_on[which] + 6, "after six items");
    }
}

TEST(put, lengths,
     "items of 0, 1, 255 and 256 bytes of any value; a last line without newline counts")
{
    static const size_t lengths[] = {0, 1, 255, 256, 0, 100};
    enum { COUNT = sizeof lengths / sizeof *lengths };
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), COUNT, false);
    char bytes[COUNT][ITEM_MAX + 1];

    memset(s->at + AT_ITEM, 0xAA, (size_t)COUNT * ITEM_SIZE); /* what earlier items left */
    struct program *p = producer(s->name);
    for (int i = 0; i < COUNT; i++) {
        random_bytes(&r, bytes[i], lengths[i]);
        if (lengths[i] > 2)
            bytes[i][lengths[i] / 2] = '\0';
        for (size_t j = 0; j < lengths[i]; j++)
            if (bytes[i][j] == '\n')
                bytes[i][j] = '\r';
        bytes[i][lengths[i]] = '\n';
        program_send(p, bytes[i], lengths[i] + (i + 1 < COUNT)); /* the last one without */
    }
    program_close_input(p);
    expect_success(p);
    expect_field(s, AT_TAIL, COUNT, "every line is an item");
    for (int i = 0; i < COUNT; i++)
        expect_item(s, (uint64_t)i, bytes[i], lengths[i], "any bytes");

    /* The place behind a whole one is another item's. */
    s = segment_make(ring_name(&r), 2, false);
    const char *neighbour = word(&r), *whole = letters(&r, ITEM_MAX);
    size_t len;
    segment_put_text(s, "first");
    segment_put_text(s, neighbour);
    segment_take(s, &len);
    p = producer(s->name);
    send_line(p, whole);
    program_close_input(p);
    expect_success(p);
    expect_item(s, 1, neighbour, strlen(neighbour), "an item beside one of 256 bytes");
    expect_item(s, 2, whole, ITEM_MAX, "an item of 256 bytes");
}

TEST(take, lengths, "a consumer prints items of 0, 1, 255 and 256 bytes of any value")
{
    static const size_t lengths[] = {0, 1, 255, 256, 0, 100};
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 2, false);
    struct program *c = consumer(s->name);
    char bytes[ITEM_MAX];

    segment_attach(s);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        random_bytes(&r, bytes, sizeof bytes);
        for (size_t j = 0; j < sizeof bytes; j++)
            if (bytes[j] == '\n')
                bytes[j] = '\0';
        segment_put(s, bytes, lengths[i]);
        expect_line(c, bytes, lengths[i]);
    }
    segment_detach(s);
    expect_success(c);
}

TEST(put, too_long,
     "a line of 257 bytes is an error: the lines before it are in, and the producer detaches")
{
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 8, false);
    const char *first = word(&r), *whole = letters(&r, ITEM_MAX);

    struct program *p = producer(s->name);
    send_line(p, first);
    send_line(p, whole);
    send_line(p, letters(&r, ITEM_MAX + 1));
    send_line(p, "after");
    program_close_input(p);
    expect_failure(p, "a line is longer than an item");
    expect_field(s, AT_TAIL, 2, "the lines before the long one are in the ring");
    expect_item(s, 0, first, strlen(first), "before the long line");
    expect_item(s, 1, whole, ITEM_MAX, "before the long line");
    expect_field(s, AT_PRODUCERS, 0, "the producer detaches on the way out of an error, too");
    expect_field(s, AT_CLOSED, 1, "the producer detaches on the way out of an error, too");
    expect_sem(s, AT_ITEMS, 3, "two items, and one more for the end");
}

/*
 * The object is cut after its first page: who touches what is not there any more dies of SIGBUS.
 * That is a whole item, or the end of one, whose length can still be read and written.
 */
static struct {
    uint32_t capacity;
    uint64_t cut; /* the item */
} cuts[2];

static void choose_cuts(void)
{
    uint32_t page = (uint32_t)sysconf(_SC_PAGESIZE);
    cuts[0].capacity = cuts[1].capacity = 2 * page / ITEM_SIZE;
    cuts[0].cut = cuts[0].capacity - 1;
    cuts[1].cut = (page - HEADER_SIZE - sizeof(uint32_t)) / ITEM_SIZE;
}

static const char *const reaches =
    "it reaches for the item, which the grader has cut off, and dies";

static void wait_death(struct program *p)
{
    int status = wait_for_end(p, reaches);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS)
        expect_killed(p, SIGBUS);
}

/* It lives: written with pwrite(2), say, the item has made the object longer, and is there. */
static void expect_written(struct segment *s, uint64_t n, const char *line, struct program *p)
{
    uint32_t capacity = get32(s, AT_CAPACITY);
    EXPECT(segment_size(s) >= ring_bytes((uint32_t)(n % capacity) + 1),
           "an item is written where the ring has it: the object is long enough for it afterwards",
           text("the producer goes on, and the object has %zu bytes", segment_size(s)));
    segment_resize(s, ring_bytes(capacity));
    expect_field(s, AT_TAIL, n + 1, "a line is put");
    expect_sem(s, AT_ITEMS, 2, "a line is put");
    expect_item(s, n, line, ITEM_MAX, "a line is put");
    program_close_input(p);
    expect_success(p);
}

TEST(put, whole_before_told,
     "an item is whole before anybody is told of it, and before the mutex is let go")
{
    struct random r = random_from_test();
    choose_cuts();
    for (int i = 0; i < 2; i++) {
        uint64_t n = cuts[i].cut - 1;
        struct segment *s = segment_make(ring_name(&r), cuts[i].capacity, false);
        const char *line = word(&r), *whole = letters(&r, ITEM_MAX);
        const char *what = "the item is written, then tail, then 'mutex' and 'items' are posted: "
                           "of an item that could not be written nobody is told";

        set64(s, AT_HEAD, n);
        set64(s, AT_TAIL, n);
        struct program *p = producer(s->name);
        send_line(p, line);
        wait_sem(s, AT_ITEMS, 1, p, "a line is put");
        wait_sem(s, AT_MUTEX, 1, p, "whoever takes 'mutex' posts it");
        expect_item(s, n, line, strlen(line), "a line is put");
        wait_asleep(p, "the producer waits for input");
        segment_resize(s, (size_t)sysconf(_SC_PAGESIZE)); /* the header is still there */
        send_line(p, whole);
        wait_quiet_or_end(p, reaches);
        if (!program_has_ended(p)) {
            expect_written(s, n + 1, whole, p);
            continue;
        }
        wait_death(p);
        /* One that has noticed the cut, and refused the ring, has left it as any producer does. */
        expect_sem(s, AT_ITEMS, get32(s, AT_CLOSED) != 0 ? 2 : 1, what);
        EXPECT(get64(s, AT_TAIL) == n + 1 || sem_value(s, AT_MUTEX) == 0, what,
               "'mutex' is free, and tail counts an item that is not there");
    }
}

TEST(take, copied_before_given,
     "an item is copied before its place is given away, and before the mutex is let go")
{
    struct random r = random_from_test();
    choose_cuts();
    for (int i = 0; i < 2; i++) {
        uint64_t n = cuts[i].cut - 1;
        struct segment *s = segment_make(ring_name(&r), cuts[i].capacity, false);
        const char *line = word(&r), *what = "the item is copied, then head, then 'mutex' and "
                                             "'spaces' are posted: the place of an item that could "
                                             "not be copied is not given away";

        set64(s, AT_HEAD, n);
        set64(s, AT_TAIL, n);
        segment_attach(s);
        struct program *c = consumer(s->name);
        segment_put_text(s, line);
        expect_line_text(c, line);
        wait_asleep(c, "the consumer waits for an item");
        sem_take(s, AT_SPACES);
        segment_append(s, letters(&r, ITEM_MAX), ITEM_MAX);
        segment_resize(s, (size_t)sysconf(_SC_PAGESIZE)); /* the header is still there */
        sem_give(s, AT_ITEMS);
        wait_quiet_or_end(c, reaches);
        if (!program_has_ended(c)) { /* it has handled SIGBUS, and put an end to its cause */
            expect_field(s, AT_HEAD, n + 2, "an item is taken");
            expect_sem(s, AT_SPACES, (int)cuts[i].capacity, "an item is taken");
            continue;
        }
        wait_death(c);
        expect_sem(s, AT_SPACES, (int)cuts[i].capacity - 1, what);
        EXPECT(get64(s, AT_HEAD) == n + 1 || sem_value(s, AT_MUTEX) == 0, what,
               "'mutex' is free, and head has passed an item that was not copied");
    }
}

TEST(put, two_wait, "of two producers that wait, each space lets one go on")
{
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 1, false);
    struct program *p[2];
    size_t len;

    for (int i = 0; i < 2; i++) {
        p[i] = producer(s->name);
        wait_attached(s, (uint32_t)i + 1, p[i]);
    }
    for (int i = 0; i < 2; i++) {
        send_line(p[i], "a");
        send_line(p[i], "b");
        wait_field(s, AT_TAIL, 1, p[i], "the first line fills the ring");
        wait_asleep(p[i], "the producer waits while the ring is full");
    }
    for (uint64_t n = 1; n < 4; n++) {
        segment_take(s, &len);
        wait_field(s, AT_TAIL, n + 1, NULL, "one of the waiting producers goes on");
        wait_asleep(p[0], "the producer waits");
        wait_asleep(p[1], "the producer waits");
        expect_field(s, AT_TAIL, n + 1, "one space lets one producer go on");
        expect_mutex_free(s, "while both producers wait");
    }
    for (int i = 0; i < 2; i++) {
        program_close_input(p[i]);
        expect_success(p[i]);
    }
}
