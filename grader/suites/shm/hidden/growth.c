/* The unbounded buffer, at the moments at which a growth hurts. */
#include "suites/shm/peer/step.h"

#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { FIRST_DOUBLINGS = 5, DOUBLINGS = 10 };

TEST(growth, created, "ring create --unbounded makes a ring that grows; a bounded one never does")
{
    struct random r = random_from_test();
    struct segment *s = ring_create(ring_name(&r), 1, true);

    struct program *p = producer(s->name);
    for (int i = 0; i < 5; i++)
        send_line(p, "x");
    program_close_input(p);
    expect_success(p);
    expect_field(s, AT_CAPACITY, 8, "five items in an unbounded ring that began with one place");
    expect_field(s, AT_UNBOUNDED, 1, "after ring create --unbounded");

    s = ring_create(ring_name(&r), 1, false);
    p = producer(s->name);
    send_line(p, "x");
    send_line(p, "x");
    wait_field(s, AT_TAIL, 1, p, "a line is put");
    wait_asleep(p, "the producer waits while the ring is full");
    expect_field(s, AT_CAPACITY, 1, "a bounded ring");
    size_t len;
    segment_take(s, &len);
    program_close_input(p);
    expect_success(p);
}

TEST(growth, wrapped, "a full ring whose items wrap around is grown without mixing them")
{
    struct random r = random_from_test();
    /* On even rounds of the ring those that have wrapped around move, on odd ones the others. */
    for (int round = 0; round < 12; round++) {
        static const uint32_t capacities[] = {3, 4, 7};
        uint32_t capacity = capacities[round / 4];
        uint64_t even = 2 * random_below(&r, 500); /* rounds */
        if (capacity != 4)                         /* head needs more than 32 bits */
            even = (UINT64_C(1) << 33) / capacity / 2 * 2 + even;
        uint64_t head = capacity * (even + (uint64_t)round % 2);
        if (round / 2 % 2 == 0) /* else it begins at item[0], and nothing has wrapped around */
            head += 1 + random_below(&r, capacity - 1);
        struct segment *s = segment_make(ring_name(&r), capacity, true);
        const char *lines[8], *what = text("after a ring of capacity %u has grown with its head "
                                           "at %" PRIu64,
                                           capacity, head);

        set64(s, AT_HEAD, head);
        set64(s, AT_TAIL, head);
        for (uint32_t i = 0; i < capacity; i++)
            segment_put_text(s, lines[i] = letters(&r, (size_t)between(&r, 1, 250)));
        struct program *p = producer(s->name);
        send_line(p, lines[capacity] = letters(&r, (size_t)between(&r, 1, 250)));
        program_close_input(p);
        expect_success(p);
        expect_field(s, AT_CAPACITY, 2 * capacity, what);
        expect_field(s, AT_HEAD, head, what);
        for (uint64_t i = 0; i <= capacity; i++)
            expect_item(s, head + i, lines[i], strlen(lines[i]), what);
        struct program *c = consumer(s->name);
        for (uint64_t i = 0; i <= capacity; i++)
            expect_line_text(c, lines[i]);
        expect_success(c);
    }
}

TEST(growth, capacity_last,
     "until the capacity is written the ring is as it was; then all items are in their new places")
{
    enum { CAPACITY = 4 };
    struct random r = random_from_test();
    for (uint64_t head = 3 * CAPACITY + 2; head <= 4 * CAPACITY + 2; head += CAPACITY) {
        struct segment *s = segment_make(ring_name(&r), CAPACITY, true);
        const char *lines[CAPACITY + 1];

        set64(s, AT_HEAD, head);
        set64(s, AT_TAIL, head);
        for (int i = 0; i <= CAPACITY; i++)
            lines[i] = letters(&r, (size_t)between(&r, 1, 250));
        for (int i = 0; i < CAPACITY; i++)
            segment_put_text(s, lines[i]);
        struct program *p = producer(s->name);
        wait_attached(s, 1, p);
        wait_asleep(p, "the producer waits for input");
        struct trace_stop stop;
        step_attach(p);
        struct snapshot before = segment_snapshot(s);
        send_line(p, lines[CAPACITY]);
        while (get32(s, AT_CAPACITY) == CAPACITY) {
            EXPECT(memcmp(s->at + AT_ITEM, before.bytes + AT_ITEM, CAPACITY * ITEM_SIZE) == 0 &&
                       get64(s, AT_TAIL) == head + CAPACITY,
                   "until the larger 'capacity' is written the items are where they were, for "
                   "whoever looks, and if the producer dies",
                   "'capacity' is the old one, and an item is not in its place any more");
            /* Only a longer object can have the capacity written. */
            if (!(segment_size(s) < ring_bytes(2 * CAPACITY) ? step_to_call(&stop)
                                                             : step_instruction()))
                break;
        }
        expect_field(s, AT_CAPACITY, 2 * CAPACITY, "a full ring doubles");
        for (uint64_t i = 0; i < CAPACITY; i++)
            expect_item(s, head + i, lines[i], strlen(lines[i]),
                        "when 'capacity' is written all items are in their new places");
        trace_end();
        wait_sem(s, AT_ITEMS, CAPACITY + 1, p, "the line is put");
        expect_item(s, head + CAPACITY, lines[CAPACITY], strlen(lines[CAPACITY]),
                    "after the growth");
        program_close_input(p);
        expect_success(p);
    }
}

TEST(growth, producer_follows, "a producer follows a growth that another one has made")
{
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 1, true);
    const char *line = word(&r);

    struct program *p = producer(s->name);
    wait_attached(s, 1, p);
    wait_asleep(p, "the producer waits for input");
    for (int i = 0; i < 150; i++)
        segment_put_text(s, "x"); /* it has grown to 256 places */
    send_line(p, line);
    wait_field(s, AT_TAIL, 151, p, "a line is put");
    segment_lock(s);
    expect_field(s, AT_CAPACITY, 256, "151 items");
    expect_item(s, 150, line, strlen(line), "after another producer has grown the ring");
    segment_unlock(s);
    program_close_input(p);
    expect_success(p);
    expect_field(s, AT_PRODUCERS, 0, "the producer has left the ring that has grown");

    /* One that has opened it, and waits to attach. */
    s = segment_make(ring_name(&r), 1, true);
    segment_lock(s);
    p = producer(s->name);
    wait_asleep(p, "the producer waits for 'mutex', which the grader holds");
    for (int i = 0; i < 3; i++)
        segment_grow(s);
    for (int i = 0; i < 5; i++)
        segment_append(s, "x", 1);
    segment_unlock(s);
    wait_attached(s, 1, p);
    send_line(p, line);
    wait_field(s, AT_TAIL, 6, p, "a line is put");
    segment_lock(s);
    expect_item(s, 5, line, strlen(line), "after another producer has grown the ring");
    segment_unlock(s);
    program_close_input(p);
    expect_success(p);
}

TEST(growth, behind_the_mutex,
     "a ring that grows while others wait for the mutex is followed by them")
{
    enum { GROWN = 7 };
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 1, true);
    const char *first = word(&r), *line = word(&r), *put = word(&r);

    segment_attach(s);
    struct program *c = consumer(s->name), *p = producer(s->name);
    wait_attached(s, 2, p);
    segment_put_text(s, first);
    expect_line_text(c, first);
    wait_asleep(c, "the consumer waits while the ring is empty");
    wait_asleep(p, "the producer waits for input");
    segment_lock(s);
    sem_give(s, AT_ITEMS); /* of the item that follows */
    send_line(p, put);
    wait_asleep(c, "the consumer waits for 'mutex', which the grader holds");
    wait_asleep(p, "the producer waits for 'mutex', which the grader holds");
    for (int i = 0; i < GROWN; i++)
        segment_grow(s);
    set64(s, AT_HEAD, 100); /* at a place that the old mapping does not have */
    set64(s, AT_TAIL, 100);
    segment_append(s, line, strlen(line));
    segment_unlock(s);
    expect_line_text(c, line);
    expect_line_text(c, put);
    program_close_input(p);
    expect_success(p);
    segment_detach(s);
    expect_success(c);
}

TEST(growth, full_behind_the_mutex, "whether a ring is full is looked at under the mutex")
{
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 2, true);
    const char *other[2] = {word(&r), word(&r)}, *line = word(&r);

    struct program *p = producer(s->name);
    wait_attached(s, 1, p);
    wait_asleep(p, "the producer waits for input");
    segment_lock(s);
    send_line(p, line);
    wait_asleep(p, "the producer waits for 'mutex', which the grader holds");
    for (int i = 0; i < 2; i++) /* full only now */
        segment_append(s, other[i], strlen(other[i]));
    segment_unlock(s);
    wait_field(s, AT_TAIL, 3, p, "the line is put, and the ring has grown for it");
    segment_lock(s);
    expect_field(s, AT_CAPACITY, 4, "three items");
    for (uint64_t i = 0; i < 2; i++)
        expect_item(s, i, other[i], strlen(other[i]), "after the growth");
    expect_item(s, 2, line, strlen(line), "after the growth");
    segment_unlock(s);
    program_close_input(p);
    expect_success(p);

    /* The same, full only until it has the mutex: another one has taken an item, or grown it. */
    for (int grown = 0; grown < 2; grown++) {
        s = segment_make(ring_name(&r), 2, true);
        p = producer(s->name);
        wait_attached(s, 1, p);
        wait_asleep(p, "the producer waits for input");
        for (int i = 0; i < 2; i++)
            segment_put_text(s, other[i]);
        segment_lock(s);
        send_line(p, line);
        wait_asleep(p, "the producer waits for 'mutex', which the grader holds");
        size_t len;
        if (grown)
            segment_grow(s);
        else
            segment_remove(s, &len);
        segment_unlock(s);
        wait_field(s, AT_TAIL, 3, p, "the line is put");
        segment_lock(s);
        expect_field(s, AT_CAPACITY, grown ? 4 : 2, "there was room for the line");
        expect_item(s, 2, line, strlen(line), "there was room for the line");
        segment_unlock(s);
        program_close_input(p);
        expect_success(p);
    }
}

TEST(growth, while_consumer_waits,
     "a consumer that waits goes on after another producer has grown the ring")
{
    enum { COUNT = 40 };
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 1, true);
    const char *lines[COUNT];

    struct program *c = consumer(s->name);
    wait_asleep(c, "the consumer waits while the ring is empty");
    struct program *p = producer(s->name);
    wait_attached(s, 1, p);
    program_stop(c);
    for (int i = 0; i < COUNT; i++)
        send_line(p, lines[i] = letters(&r, (size_t)between(&r, 1, 250)));
    wait_field(s, AT_TAIL, COUNT, p, "the producer of an unbounded ring never waits");
    program_signal(c, SIGCONT);
    for (int i = 0; i < COUNT; i++)
        expect_line_text(c, lines[i]);
    wait_asleep(c, "the consumer waits while the ring is empty");
    program_close_input(p);
    expect_success(p);
    expect_success(c);
}

TEST(growth, thirty_thousand, "30,000 items fit into an unbounded ring, and come out in order")
{
    enum { COUNT = 30000 };
    struct random r = random_from_test();
    uint32_t capacity = 3; /* sums of equal steps do not end where doublings do */
    struct segment *s = segment_make(ring_name(&r), capacity, true);

    struct program *p = producer(s->name);
    send_numbered(p, 0, COUNT);
    expect_success(p);
    while (capacity < COUNT)
        capacity *= 2;
    expect_field(s, AT_CAPACITY, capacity, "each growth doubles it");
    expect_field(s, AT_TAIL, COUNT, "30,000 items");
    expect_sem(s, AT_ITEMS, COUNT + 1, "30,000 items, and the end");
    struct program *c = consumer(s->name);
    expect_success(c);
    expect_all_items(&c, 1, 1, COUNT);
}

TEST(growth, longer_object, "an object that is longer than its capacity needs is grown, never cut")
{
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 2, true);
    size_t size = ring_bytes(64) + 77;

    segment_resize(s, size); /* as one that has begun to grow and died */
    struct program *p = producer(s->name);
    for (int i = 0; i < 3; i++)
        send_line(p, "x");
    program_close_input(p);
    expect_success(p);
    expect_field(s, AT_CAPACITY, 4, "three items in a ring that began with two places");
    EXPECT(segment_size(s) >= size,
           "an object is not made shorter: others may have mapped all of it",
           text("it has %zu bytes now, and had %zu", segment_size(s), size));
    struct program *c = consumer(s->name);
    expect_success(c);
    expect_output_text(c, "x\nx\nx\n");

    /* Others grow it, and nobody's mapping has to become longer for that. */
    s = segment_make(ring_name(&r), 2, true);
    segment_resize(s, size);
    segment_attach(s);
    c = consumer(s->name);
    p = producer(s->name);
    wait_attached(s, 2, p);
    const char *line = word(&r), *other = word(&r);
    send_line(p, line);
    expect_line_text(c, line);
    wait_asleep(p, "the producer waits for input");
    wait_asleep(c, "the consumer waits while the ring is empty");
    program_stop(c);
    segment_lock(s);
    for (int i = 0; i < 2; i++)
        segment_grow(s);
    set64(s, AT_HEAD, 13); /* item[5] of 8, item[1] of 2 or 4 */
    set64(s, AT_TAIL, 13);
    segment_unlock(s);
    send_line(p, line);
    wait_sem(s, AT_ITEMS, 1, p, "a line is put");
    expect_item(s, 13, line, strlen(line), "after others have grown a ring from 2 to 8 places");
    program_signal(c, SIGCONT);
    expect_line_text(c, line);
    segment_put_text(s, other); /* at item[6] */
    expect_line_text(c, other);
    program_close_input(p);
    expect_success(p);
    segment_detach(s);
    expect_success(c);
}

TEST(growth, destroyed, "a ring whose name is gone still grows, for all who have it open")
{
    enum { COUNT = 40 };
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 1, true);
    const char *lines[COUNT];

    struct program *c = consumer(s->name), *p = producer(s->name);
    wait_attached(s, 1, p);
    wait_asleep(c, "the consumer waits while the ring is empty");
    segment_unlink(s->name);
    program_stop(c);
    for (int i = 0; i < COUNT; i++)
        send_line(p, lines[i] = word(&r));
    program_close_input(p);
    expect_success(p);
    expect_field(s, AT_CAPACITY, 64, "40 items");
    EXPECT(!segment_there(s->name), "nobody makes the name anew", "it is there again");
    program_signal(c, SIGCONT);
    for (int i = 0; i < COUNT; i++)
        expect_line_text(c, lines[i]);
    expect_success(c);
}

TEST(growth, no_memory, "a ring that can't grow keeps its items; its producer detaches and exits 1")
{
    struct random r = random_from_test();
    /* So many that twice as many need more pages than the object has. */
    uint32_t capacity = capacity_with_rest(6 * (uint32_t)sysconf(_SC_PAGESIZE) / ITEM_SIZE) / 2;
    struct segment *s = segment_make(ring_name(&r), capacity, true);
    size_t size = ring_bytes(4 * capacity);
    char *expected = (char *)text("%*s", (int)capacity * 6 + 12, ""), *end = expected;

    segment_resize(s, size); /* longer, but there is no memory behind that */
    struct program *p = producer(s->name), *other = producer(s->name);
    wait_attached(s, 2, p);
    for (uint32_t i = 0; i < capacity; i++)
        end = stpcpy(end, text("i%04u\n", i));
    program_send(p, expected, (size_t)(end - expected));
    wait_field(s, AT_TAIL, capacity, p, "the ring is full");
    shared_memory_fill(0);
    send_line(p, "one too many");
    expect_failure(p, "there is no memory for a larger ring");
    expect_field(s, AT_CAPACITY, capacity, "a ring that could not grow");
    expect_field(s, AT_TAIL, capacity, "a ring that could not grow");
    expect_field(s, AT_PRODUCERS, 1, "the producer detaches on the way out of an error, too");
    expect_field(s, AT_CLOSED, 0, "another producer is still attached");
    expect_sem(s, AT_ITEMS, (int)capacity, "a ring that could not grow");
    expect_sem(s, AT_MUTEX, 1, "a ring that could not grow");
    EXPECT(segment_size(s) >= size,
           "an object is not made shorter: others may have mapped all of it",
           text("it has %zu bytes now, and had %zu", segment_size(s), size));

    shared_memory_free();
    send_line(other, "last");
    stpcpy(end, "last\n");
    wait_field(s, AT_TAIL, capacity + 1, other, "there is memory again, so the ring grows");
    expect_field(s, AT_CAPACITY, 2 * capacity, "a ring that has grown");
    EXPECT(segment_memory(s) >= ring_bytes(2 * capacity),
           text("memory is reserved for the header and all %u items, %zu bytes", 2 * capacity,
                ring_bytes(2 * capacity)),
           text("there is memory for %zu bytes", segment_memory(s)));
    program_close_input(other);
    expect_success(other);
    expect_sem(s, AT_ITEMS, (int)capacity + 2, "all items, and the end");
    struct program *c = consumer(s->name);
    expect_success(c);
    expect_output_text(c, expected);
}

/*
 * What a program has of the ring. Before the first growths it may have less: not all of it need be
 * mapped by who has not come to an item yet, and the old mapping may be given back a growth later.
 */
struct holding {
    int mappings, descriptors;
};

static struct holding holding_of(struct program *p, const char *name)
{
    wait_asleep(p, "it waits for the next item");
    return (struct holding){mappings_of(p, name), descriptors_of(p, name)};
}

static void expect_no_more(struct program *p, const char *name, struct holding first)
{
    struct holding last = holding_of(p, name);
    EXPECT(
        last.mappings <= first.mappings,
        text("after %d growths a program has as many mappings of the ring as after %d",
             (int)DOUBLINGS, (int)FIRST_DOUBLINGS),
        text("it had %d mappings of the ring then and has %d now", first.mappings, last.mappings));
    EXPECT(last.descriptors <= first.descriptors,
           text("after %d growths a program has as many descriptors as after %d", (int)DOUBLINGS,
                (int)FIRST_DOUBLINGS),
           text("it had %d of the ring then and has %d now", first.descriptors, last.descriptors));
}

TEST(growth, old_mappings, "who makes a growth, or follows one, gives the old mapping back")
{
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 1, true);

    segment_attach(s);
    struct program *c = consumer(s->name), *p = producer(s->name);
    struct holding consumers = {0}, producers = {0};
    wait_attached(s, 2, p);
    wait_asleep(c, "the consumer waits while the ring is empty");
    for (int i = 0; i < DOUBLINGS; i++) {
        const char *line = word(&r), *other = word(&r);
        segment_lock(s);
        segment_grow(s);
        segment_unlock(s);
        segment_put_text(s, line);
        expect_line_text(c, line);
        send_line(p, other);
        expect_line_text(c, other);
        if (i + 1 == FIRST_DOUBLINGS) {
            consumers = holding_of(c, s->name);
            producers = holding_of(p, s->name);
        }
    }
    expect_no_more(c, s->name, consumers);
    expect_no_more(p, s->name, producers);
    program_close_input(p);
    expect_success(p);
    segment_detach(s);
    expect_success(c);

    s = segment_make(ring_name(&r), 1, true);
    p = producer(s->name);
    int sent = 0;
    for (; sent <= 1 << (FIRST_DOUBLINGS - 1); sent++)
        send_line(p, "x");
    wait_field(s, AT_CAPACITY, 1 << FIRST_DOUBLINGS, p,
               "the producer of an unbounded ring never waits");
    producers = holding_of(p, s->name);
    for (; sent <= 1 << (DOUBLINGS - 1); sent++)
        send_line(p, "x");
    wait_field(s, AT_CAPACITY, 1 << DOUBLINGS, p, "the producer of an unbounded ring never waits");
    expect_no_more(p, s->name, producers);
    program_close_input(p);
    expect_success(p);
}
