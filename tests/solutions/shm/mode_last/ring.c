/* Right, but different: the object has no rights at all until its creator is done, and gets its
 * mode last, before magic. */
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
#ifndef STARTER
/*
 * Two rules hold throughout. Who waits for `items` or `spaces` doesn't hold `mutex`: the one it
 * waits for would need it. And what was read without `mutex`, or by a mapping from before a growth,
 * is not believed: lock() brings the view up to date and checks each time.
 */
#endif
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

#ifndef STARTER
/* The object's name: a slash, and what people type. */
struct object_name {
    char text[1 + RING_NAME_MAX + 1];
};

static struct object_name object_name(const char *name)
{
    struct object_name object;

    snprintf(object.text, sizeof object.text, "/%s", name);
    return object;
}

/* How long an object must be that holds a ring of this capacity. At most 273 million. */
static size_t ring_size(uint32_t capacity)
{
    return sizeof(struct ring) + (size_t)capacity * sizeof(struct ring_item);
}

static bool capacity_is_possible(uint32_t capacity)
{
    return capacity >= 1 && capacity <= RING_CAPACITY_MAX;
}

/* sem_wait() that a signal doesn't end. */
static enum ring_status wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0) {
        if (errno != EINTR)
            return RING_SYSTEM;
    }
    return RING_OK;
}

static enum ring_status post(sem_t *semaphore)
{
    return sem_post(semaphore) == 0 ? RING_OK : RING_SYSTEM;
}

/*
 * Makes the object at least `size` bytes long, with memory behind each of them. (After ftruncate()
 * alone the memory is looked for when it is first written to, and if there is none the process dies
 * of SIGBUS.)
 */
static enum ring_status reserve(int fd, size_t size)
{
    int error;

    do {
        error = posix_fallocate(fd, 0, (off_t)size);
    } while (error == EINTR); /* stopped and continued on the way, say */
    if (error == 0)
        return RING_OK;
    errno = error; /* posix_fallocate() returns it and leaves errno alone */
    return RING_SYSTEM;
}

/* Maps the first `size` bytes of the object, in place of what is mapped now. */
static enum ring_status map(struct ring_view *view, size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, view->fd, 0);

    if (memory == MAP_FAILED)
        return RING_SYSTEM;
    if (view->ring != NULL)
        munmap(view->ring, view->size);
    view->ring = memory;
    view->size = size;
    return RING_OK;
}

/*
 * Makes sure that item[] is mapped as far as the ring uses it, which others may have made longer.
 * Without the mutex the order matters: whoever grows the ring lengthens the object first and writes
 * the capacity afterwards, so the capacity is read first here, and the size afterwards.
 */
static enum ring_status follow(struct ring_view *view)
{
    uint32_t capacity = __atomic_load_n(&view->ring->capacity, __ATOMIC_ACQUIRE);
    struct stat object;

    if (!capacity_is_possible(capacity))
        return RING_WRONG;
    if (ring_size(capacity) <= view->size)
        return RING_OK;
    if (fstat(view->fd, &object) != 0)
        return RING_SYSTEM;
    if ((uint64_t)object.st_size < ring_size(capacity))
        return RING_WRONG;
    return map(view, ring_size(capacity));
}

static void unlock(struct ring_view *view)
{
    sem_post(&view->ring->mutex);
}

/*
 * Waits for the mutex, follows a growth, and checks what can be checked. On anything but RING_OK
 * the mutex is not held.
 */
static enum ring_status lock(struct ring_view *view)
{
    enum ring_status status = wait_for(&view->ring->mutex);

    if (status != RING_OK)
        return status;
    status = follow(view);
    if (status == RING_WRONG ||
        (status == RING_OK && view->ring->tail - view->ring->head > view->ring->capacity))
        status = RING_BROKEN;
    if (status != RING_OK) {
        int error = errno;
        unlock(view);
        errno = error;
    }
    return status;
}

/*
 * Doubles a full ring, whose mutex is held. Item n moves from item[n % capacity] to
 * item[n % (2 * capacity)]: that is where it was, or one old capacity further on, in the new half,
 * where nothing else is. The capacity is written last: whatever fails before that, or whoever dies,
 * the ring is as it was.
 */
static enum ring_status grow(struct ring_view *view)
{
    uint32_t old = view->ring->capacity, doubled = 2 * old;
    enum ring_status status;

    if (doubled > RING_CAPACITY_MAX)
        return RING_LIMIT;
    status = reserve(view->fd, ring_size(doubled));
    if (status == RING_OK && view->size < ring_size(doubled))
        status = map(view, ring_size(doubled));
    if (status != RING_OK)
        return status;
    for (uint64_t n = view->ring->head; n != view->ring->tail; n++) {
        if (n % doubled >= old)
            view->ring->item[n % doubled] = view->ring->item[n % old];
    }
    __atomic_store_n(&view->ring->capacity, doubled, __ATOMIC_RELEASE);
    return RING_OK;
}

/* Writes a whole, empty ring into the new object `fd`. */
static enum ring_status write_ring(int fd, uint32_t capacity, bool unbounded)
{
    struct ring_view view = {.fd = fd};
    enum ring_status status = reserve(fd, ring_size(capacity));

    if (status == RING_OK)
        status = map(&view, ring_size(capacity));
    if (status != RING_OK)
        return status;
    view.ring->capacity = capacity; /* all others are 0: so is new memory */
    view.ring->unbounded = unbounded;
    if (sem_init(&view.ring->mutex, 1, 1) != 0 || sem_init(&view.ring->items, 1, 0) != 0 ||
        sem_init(&view.ring->spaces, 1, capacity) != 0)
        status = RING_SYSTEM;
    else if (fchmod(fd, 0600) != 0)
        status = RING_SYSTEM;
    else /* after everything above, for every processor: "release" */
        __atomic_store_n(&view.ring->magic, RING_MAGIC, __ATOMIC_RELEASE);
    munmap(view.ring, view.size);
    return status;
}

#endif
/* ---- Step 1: create and destroy ---- */

/*
 * Makes the object "/name" with mode 0600, and only if there is none (two creators at once: one of
 * them makes it, and the other leaves it as it is). Reserves its memory, writes every field, and
 * `magic` as the last one, so that nobody takes a half-made ring for a ring. Semaphores: mutex 1,
 * items 0, spaces `capacity`, for use between processes. If anything fails the name is removed
 * again, but only if it is ours.
 */
enum ring_status ring_create(const char *name, uint32_t capacity, bool unbounded)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)name, (void)capacity, (void)unbounded;
    errno = ENOSYS;
    return RING_SYSTEM;
#else
    struct object_name object = object_name(name);
    int fd = shm_open(object.text, O_RDWR | O_CREAT | O_EXCL, 0);
    enum ring_status status;
    int error;

    if (fd < 0)
        return RING_SYSTEM;
    status = write_ring(fd, capacity, unbounded);
    error = errno;
    close(fd);
    if (status != RING_OK)
        shm_unlink(object.text);
    errno = error;
    return status;
#endif
}

/* Removes the name "/name", whatever object has it. */
enum ring_status ring_destroy(const char *name)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)name;
    errno = ENOSYS;
    return RING_SYSTEM;
#else
    return shm_unlink(object_name(name).text) == 0 ? RING_OK : RING_SYSTEM;
#endif
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
#ifdef STARTER
    /* Your code goes here. */
    (void)name;
    *view = NULL;
    errno = ENOSYS;
    return RING_SYSTEM;
#else
    struct ring_view *opened = calloc(1, sizeof *opened);
    struct stat object;
    enum ring_status status = RING_SYSTEM;

    if (opened == NULL)
        return RING_SYSTEM;
    opened->fd = shm_open(object_name(name).text, O_RDWR, 0);
    if (opened->fd >= 0 && fstat(opened->fd, &object) == 0) {
        if (object.st_size < (off_t)sizeof(struct ring))
            status = RING_WRONG;
        else
            status = map(opened, sizeof(struct ring));
    }
    if (status == RING_OK && __atomic_load_n(&opened->ring->magic, __ATOMIC_ACQUIRE) != RING_MAGIC)
        status = RING_WRONG;
    if (status == RING_OK)
        status = follow(opened);
    if (status == RING_OK) {
        *view = opened;
    } else {
        int error = errno;
        ring_close(opened);
        errno = error;
    }
    return status;
#endif
}

/* Unmaps, closes, frees. */
void ring_close(struct ring_view *view)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)view;
#else
    if (view->ring != NULL)
        munmap(view->ring, view->size);
    if (view->fd >= 0)
        close(view->fd);
    free(view);
#endif
}

/* Reads six fields. Waits for nothing: it shows a ring whose mutex is held, too. */
void ring_info(const struct ring_view *view, struct ring_info *info)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)view, (void)info;
#else
    const struct ring *ring = view->ring;

    *info = (struct ring_info){.capacity = ring->capacity,
                               .unbounded = ring->unbounded,
                               .producers = ring->producers,
                               .closed = ring->closed,
                               .head = ring->head,
                               .tail = ring->tail};
#endif
}

/* ---- Steps 3 to 9: what producers do (growth is step 7) ---- */

/*
 * Under `mutex`: RING_CLOSED if the ring is closed, RING_BROKEN if its counters can't be
 * (tail - head over capacity), and then nothing has changed; else `producers` + 1.
 */
enum ring_status ring_attach(struct ring_view *view)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)view;
    errno = ENOSYS;
    return RING_SYSTEM;
#else
    enum ring_status status = lock(view);

    if (status != RING_OK)
        return status;
    if (view->ring->closed)
        status = RING_CLOSED;
    else if (view->ring->producers == UINT32_MAX)
        status = RING_BROKEN;
    else
        view->ring->producers++;
    unlock(view);
    return status;
#endif
}

/*
 * Under `mutex`: `producers` - 1, and when that makes 0, `closed` = 1. The one that closes posts
 * `items` once, so that a consumer that waits, or comes later, wakes up and sees it.
 */
enum ring_status ring_detach(struct ring_view *view)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)view;
    errno = ENOSYS;
    return RING_SYSTEM;
#else
    struct ring *ring = view->ring;
    enum ring_status status = wait_for(&ring->mutex); /* not lock(): a broken ring is left, too */
    bool last;

    if (status != RING_OK)
        return status;
    last = ring->producers == 1;
    if (ring->producers > 0)
        ring->producers--;
    if (last)
        ring->closed = 1;
    unlock(view);
    return last ? post(&ring->items) : RING_OK;
#endif
}

/*
 * Waits for one of `spaces` (not if unbounded), then for `mutex`; grows the ring if it is unbounded
 * and full; writes the item to its place, `tail` + 1; posts `mutex` and `items`. Counters that
 * can't be are RING_BROKEN, and nothing has changed.
 */
enum ring_status ring_put(struct ring_view *view, const char *data, size_t len)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)view, (void)data, (void)len;
    errno = ENOSYS;
    return RING_SYSTEM;
#else
    bool bounded = view->ring->unbounded == 0; /* never changes */
    enum ring_status status = bounded ? wait_for(&view->ring->spaces) : RING_OK;

    if (status != RING_OK)
        return status;
    status = lock(view);
    if (status == RING_OK) {
        if (view->ring->tail - view->ring->head == view->ring->capacity)
            status = bounded ? RING_BROKEN : grow(view); /* bounded, full, and yet a space */
        if (status == RING_OK) {
            struct ring *ring = view->ring; /* grow() may have moved it */
            struct ring_item *item = &ring->item[ring->tail % ring->capacity];
            item->len = (uint32_t)len;
            memcpy(item->data, data, len);
            ring->tail++;
        }
        int error = errno;
        unlock(view);
        errno = error;
    }
    if (status == RING_OK)
        return post(&view->ring->items);
    if (bounded) {
        int error = errno;
        post(&view->ring->spaces); /* the space is as empty as it was */
        errno = error;
    }
    return status;
#endif
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
#ifdef STARTER
    /* Your code goes here. */
    (void)view, (void)item;
    errno = ENOSYS;
    return RING_SYSTEM;
#else
    enum ring_status status;
    bool taken = false, bounded = view->ring->unbounded == 0;

    do {
        status = wait_for(&view->ring->items);
        if (status != RING_OK)
            return status;
        status = lock(view);
        if (status == RING_OK) {
            struct ring *ring = view->ring; /* lock() may have moved it */
            const struct ring_item *oldest = &ring->item[ring->head % ring->capacity];
            if (ring->head == ring->tail) {
                /* Empty. If it is open nobody should have posted: wait again. */
                status = ring->closed ? RING_END : RING_OK;
            } else if ((item->len = oldest->len) > RING_ITEM_MAX) {
                status = RING_BROKEN;
            } else {
                memcpy(item->data, oldest->data, item->len);
                ring->head++;
                taken = true;
            }
            unlock(view);
        }
    } while (status == RING_OK && !taken);
    if (taken)
        return bounded ? post(&view->ring->spaces) : RING_OK;
    int error = errno;
    post(&view->ring->items);
    errno = error;
    return status;
#endif
}
