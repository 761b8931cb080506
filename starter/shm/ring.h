/*
 * ring.h - a ring of items in POSIX shared memory: its layout, and what one can do with it.
 *
 * Given and fixed: the grader uses its own copy. The layout is public, so that any two programs
 * that keep to it can work on one ring, whoever wrote them; one of them is the grader's.
 *
 *     0          40      72      104      136       396             136 + 260 * capacity
 *     +----------+-------+-------+--------+---------+---------+-----+
 *     | magic    | mutex | items | spaces | item[0] | item[1] | ... |
 *     |  .. tail |       |       |        |         |         |     |
 *     +----------+-------+-------+--------+---------+---------+-----+
 *
 * One call is made at a time on one view (no threads are needed). Functions that return an enum
 * ring_status print nothing: the mains say it, with ring_complain().
 */
#ifndef RING_H
#define RING_H

#include <assert.h>
#include <errno.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* ---- The layout ---- */

enum {
    RING_MAGIC = 0x474E4952, /* in memory the bytes R, I, N, G */
    RING_CAPACITY_MAX = 1048576,
    RING_ITEM_MAX = 256,
    RING_NAME_MAX = 255,
};

struct ring_item {
    uint32_t len;             /* 0 to RING_ITEM_MAX */
    char data[RING_ITEM_MAX]; /* any bytes, no NUL at the end */
};

struct ring {
    uint32_t magic;          /* RING_MAGIC, written last by the creator: the ring is ready */
    uint32_t capacity;       /* items in item[] now */
    uint32_t unbounded;      /* 0: capacity is fixed; 1: it doubles when the ring is full */
    uint32_t producers;      /* attached now */
    uint32_t closed;         /* 1 once the last producer has detached */
    uint64_t head;           /* items ever taken */
    uint64_t tail;           /* items ever put; tail - head are in the ring */
    sem_t mutex;             /* guards everything above and the items */
    sem_t items;             /* counts full slots, and one more once the ring is closed */
    sem_t spaces;            /* counts empty slots (any value when unbounded) */
    struct ring_item item[]; /* item n is at item[n % capacity] */
};

static_assert(sizeof(sem_t) == 32, "the layout is that of 64-bit Linux");
static_assert(sizeof(struct ring_item) == 260, "no padding in an item");
static_assert(offsetof(struct ring_item, len) == 0, "layout");
static_assert(offsetof(struct ring_item, data) == 4, "layout");
static_assert(offsetof(struct ring, magic) == 0, "layout");
static_assert(offsetof(struct ring, capacity) == 4, "layout");
static_assert(offsetof(struct ring, unbounded) == 8, "layout");
static_assert(offsetof(struct ring, producers) == 12, "layout");
static_assert(offsetof(struct ring, closed) == 16, "layout");
static_assert(offsetof(struct ring, head) == 24, "layout");
static_assert(offsetof(struct ring, tail) == 32, "layout");
static_assert(offsetof(struct ring, mutex) == 40, "layout");
static_assert(offsetof(struct ring, items) == 72, "layout");
static_assert(offsetof(struct ring, spaces) == 104, "layout");
static_assert(offsetof(struct ring, item) == 136, "layout");
static_assert(sizeof(struct ring) == 136, "the header's size is where the items begin");

/* ---- What is answered ---- */

enum ring_status {
    RING_OK,
    RING_END,    /* ring_take() alone: closed and empty, nothing will ever come */
    RING_CLOSED, /* too late: the last producer has detached */
    RING_WRONG,  /* what is behind the name is no ring, or one that is not ready yet */
    RING_BROKEN, /* a ring whose counters or lengths can't be */
    RING_LIMIT,  /* full, and twice its capacity would be over RING_CAPACITY_MAX */
    RING_SYSTEM, /* a call failed; errno says why */
};

/* What `ring info` prints. */
struct ring_info {
    uint32_t capacity, unbounded, producers, closed;
    uint64_t head, tail;
};

/* One process's view of a ring: descriptor, mapping, ... It is yours, in ring.c. */
struct ring_view;

/* ---- What you write: ring.c (there stands what each does in the shared memory) ---- */

/*
 * `name` is as people type it, 1 to RING_NAME_MAX bytes without a slash: the object is "/name".
 * `capacity` is 1 to RING_CAPACITY_MAX.
 * Makes the object, mode 0600, with an empty ring that nobody has attached to. RING_SYSTEM when
 * that fails: EEXIST and the old object as it was, if there is one; else no name is left behind.
 */
enum ring_status ring_create(const char *name, uint32_t capacity, bool unbounded);

/* Removes the name, whatever is behind it. Who has the ring open goes on with it. RING_SYSTEM. */
enum ring_status ring_destroy(const char *name);

/*
 * Opens the ring and checks it; never waits, and changes nothing. On RING_OK *view is the caller's
 * until ring_close(); else (RING_WRONG, RING_SYSTEM) there is nothing to close.
 */
enum ring_status ring_open(struct ring_view **view, const char *name);

/* Gives everything back that ring_open() took. A producer detaches before. */
void ring_close(struct ring_view *view);

/* Fills *info from the ring's fields as they are now, without taking the mutex. */
void ring_info(const struct ring_view *view, struct ring_info *info);

/* The caller becomes one of the producers. RING_CLOSED, RING_BROKEN: it did not. */
enum ring_status ring_attach(struct ring_view *view);

/*
 * An attached producer leaves; the last one closes the ring. Whatever the counters say: it works on
 * a broken ring too. RING_SYSTEM.
 */
enum ring_status ring_detach(struct ring_view *view);

/*
 * An attached producer puts `len` bytes (0 to RING_ITEM_MAX) into the ring as one item, and waits
 * while a bounded ring is full. An unbounded one grows instead: RING_LIMIT or RING_SYSTEM when it
 * can't. On anything but RING_OK the item is not in the ring, whose items are as they were.
 */
enum ring_status ring_put(struct ring_view *view, const char *data, size_t len);

/*
 * Takes the oldest item out, into *item, and waits while the ring is empty. RING_END once it is
 * empty and closed, for every consumer and every later call. RING_BROKEN: nothing was taken.
 */
enum ring_status ring_take(struct ring_view *view, struct ring_item *item);

/* ---- Given ---- */

/* Says on stderr what went wrong, and returns the exit status for it: 1. */
static inline int ring_complain(const char *program, const char *name, enum ring_status status)
{
    static const char *const why[] = {
        [RING_OK] = "no error",
        [RING_END] = "closed and empty",
        [RING_CLOSED] = "closed: its last producer has left",
        [RING_WRONG] = "not a ring, or not ready yet",
        [RING_BROKEN] = "broken: its counters or a length can't be",
        [RING_LIMIT] = "full, and too large to grow",
    };

    fprintf(stderr, "%s: %s: %s\n", program, name,
            status == RING_SYSTEM ? strerror(errno) : why[status]);
    return 1;
}

#endif
