/*
 * ring.c - a ring of items in POSIX shared memory, for any number of producers and consumers.
 *
 * What it teaches: how processes that share nothing are given one region of memory, and what it
 * takes to use it together. The kernel only establishes the region. That a producer waits while the
 * ring is full and a consumer while it is empty, that no two change it at once, that what is read
 * there may have been written by a stranger: all that is up to the code in this file.
 *
 * ring.h has the layout, and what each function promises to its caller. Here stands what each does
 * in the shared memory.
 */
#define _GNU_SOURCE
#include "ring.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* What this process needs in order to reach the ring. Add what you need. */
struct ring_view {
    int fd;            /* of the shared memory object */
    struct ring *ring; /* where it is mapped, here */
    size_t size;       /* bytes that are mapped */
};

/* ---- Step 1: create and destroy ---- */

/*
 * Makes the object "/name" with mode 0600, and only if there is none (two creators at once: one of
 * them makes it, and the other leaves it as it is). Reserves its memory, writes every field, and
 * `magic` as the last one, so that nobody takes a half-made ring for a ring. Semaphores: mutex 1,
 * items 0, spaces `capacity`, for use between processes. If anything fails the name is removed
 * again, but only if it is ours (not when O_EXCL has said that there is one).
 */
enum ring_status ring_create(const char *name, uint32_t capacity, bool unbounded)
{
    /* Your code goes here. */
    (void)name, (void)capacity, (void)unbounded;
    errno = ENOSYS;
    return RING_SYSTEM;
}

/* Removes the name "/name", whatever object has it. */
enum ring_status ring_destroy(const char *name)
{
    /* Your code goes here. */
    (void)name;
    errno = ENOSYS;
    return RING_SYSTEM;
}

/* ---- Step 2: open and check ---- */

/*
 * Opens "/name" and believes nothing: RING_WRONG unless the object is long enough for the header,
 * `magic` is right, `capacity` is possible, and the object is long enough for that many items
 * (longer is right). Another process may make the ring grow at this moment: it lengthens the object
 * before it writes `capacity`, so read `capacity` before you ask for the size. Maps the header and
 * the items. Waits for nothing, the mutex neither; changes nothing.
 */
enum ring_status ring_open(struct ring_view **view, const char *name)
{
    /* Your code goes here. */
    (void)name;
    *view = NULL;
    errno = ENOSYS;
    return RING_SYSTEM;
}

/* Unmaps, closes, frees. */
void ring_close(struct ring_view *view)
{
    /* Your code goes here. */
    (void)view;
}

/* Reads six fields. Waits for nothing: it shows a ring whose mutex is held, too. */
void ring_info(const struct ring_view *view, struct ring_info *info)
{
    /* Your code goes here. */
    (void)view, (void)info;
}

/* ---- Steps 3 to 9: what producers do (growth is step 7) ---- */

/*
 * Under `mutex`: RING_CLOSED if the ring is closed, RING_BROKEN if its counters can't be
 * (tail - head over capacity), and then nothing has changed; else `producers` + 1.
 */
enum ring_status ring_attach(struct ring_view *view)
{
    /* Your code goes here. */
    (void)view;
    errno = ENOSYS;
    return RING_SYSTEM;
}

/*
 * Under `mutex`: `producers` - 1, and when that makes 0, `closed` = 1. The one that closes posts
 * `items` once, so that a consumer that waits, or comes later, wakes up and sees it.
 */
enum ring_status ring_detach(struct ring_view *view)
{
    /* Your code goes here. */
    (void)view;
    errno = ENOSYS;
    return RING_SYSTEM;
}

/*
 * Waits for one of `spaces` (not if unbounded), then for `mutex`; grows the ring if it is unbounded
 * and full; writes the item to its place, `tail` + 1; posts `mutex` and `items`. Counters that
 * can't be are RING_BROKEN, and nothing has changed.
 */
enum ring_status ring_put(struct ring_view *view, const char *data, size_t len)
{
    /* Your code goes here. */
    (void)view, (void)data, (void)len;
    errno = ENOSYS;
    return RING_SYSTEM;
}

/* ---- Steps 3 to 9: what consumers do ---- */

/*
 * Waits for one of `items`, then for `mutex`; copies the oldest item (a `len` over RING_ITEM_MAX,
 * or counters that can't be: RING_BROKEN, nothing changed), `head` + 1; posts `mutex` and, unless
 * the ring is unbounded, `spaces`.
 * If the ring is empty and closed, the token of `items` was that of the close: it goes back, for
 * the next consumer, and the answer is RING_END.
 */
enum ring_status ring_take(struct ring_view *view, struct ring_item *item)
{
    /* Your code goes here. */
    (void)view, (void)item;
    errno = ENOSYS;
    return RING_SYSTEM;
}
