/*
 * Only the header is mapped. The object is a file as well, and what pread() and pwrite() see of it
 * is the same memory that others have mapped: items are copied in and out that way, and a ring that
 * has grown needs nothing done about it. A read behind the end of the object is short, no SIGBUS.
 *
 * A new ring has no name until it is whole.
 */
#define _GNU_SOURCE
#include "ring.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct ring_view {
    int fd;
    struct ring *ring; /* the header */
};

static off_t place(uint64_t slot)
{
    return (off_t)(offsetof(struct ring, item) + slot * sizeof(struct ring_item));
}

/* Runs `work` with the mutex held, whichever way it goes. */
static enum ring_status locked(struct ring_view *view,
                               enum ring_status (*work)(struct ring_view *, void *), void *argument)
{
    enum ring_status status;
    int error;

    while (sem_wait(&view->ring->mutex) != 0) {
        if (errno != EINTR)
            return RING_SYSTEM;
    }
    status = work(view, argument);
    error = errno;
    sem_post(&view->ring->mutex);
    errno = error;
    return status;
}

static enum ring_status check(const struct ring_view *view)
{
    uint32_t capacity = __atomic_load_n(&view->ring->capacity, __ATOMIC_SEQ_CST);
    struct stat object;

    if (capacity - 1 >= RING_CAPACITY_MAX)
        return RING_WRONG;
    if (fstat(view->fd, &object) != 0)
        return RING_SYSTEM;
    return object.st_size >= place(capacity) ? RING_OK : RING_WRONG;
}

/* With the mutex: the same, and the counters. */
static enum ring_status check_counters(const struct ring_view *view)
{
    enum ring_status status = check(view);

    if (status == RING_WRONG || view->ring->tail - view->ring->head > view->ring->capacity)
        return RING_BROKEN;
    return status;
}

enum ring_status ring_create(const char *name, uint32_t capacity, bool unbounded)
{
    char path[sizeof "/dev/shm/" + RING_NAME_MAX], self[64];
    struct ring ring;
    int fd = open("/dev/shm", O_TMPFILE | O_RDWR, 0600), error;

    if (fd < 0)
        return RING_SYSTEM;
    memset(&ring, 0, sizeof ring); /* padding too: it is written out */
    ring.capacity = capacity;
    ring.unbounded = unbounded;
    sem_init(&ring.mutex, 1, 1);
    sem_init(&ring.items, 1, 0);
    sem_init(&ring.spaces, 1, capacity);
    ring.magic = RING_MAGIC; /* nobody sees anything of it yet */
    snprintf(path, sizeof path, "/dev/shm/%s", name);
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    while ((error = posix_fallocate(fd, 0, place(capacity))) == EINTR)
        continue;
    if (error == 0 && (pwrite(fd, &ring, sizeof ring, 0) != sizeof ring ||
                       linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW) != 0))
        error = errno;
    close(fd);
    errno = error;
    return error == 0 ? RING_OK : RING_SYSTEM;
}

enum ring_status ring_destroy(const char *name)
{
    char path[1 + RING_NAME_MAX + 1] = "/";

    return shm_unlink(strncat(path, name, RING_NAME_MAX)) == 0 ? RING_OK : RING_SYSTEM;
}

enum ring_status ring_open(struct ring_view **result, const char *name)
{
    char path[1 + RING_NAME_MAX + 1] = "/";
    struct ring_view *view = malloc(sizeof *view);
    enum ring_status status = RING_SYSTEM;
    struct stat object;
    int error;

    if (view == NULL)
        return RING_SYSTEM;
    view->ring = MAP_FAILED;
    view->fd = shm_open(strncat(path, name, RING_NAME_MAX), O_RDWR, 0);
    if (view->fd >= 0 && fstat(view->fd, &object) == 0) {
        status = object.st_size < place(0) ? RING_WRONG : RING_OK;
        if (status == RING_OK) {
            view->ring =
                mmap(NULL, sizeof *view->ring, PROT_READ | PROT_WRITE, MAP_SHARED, view->fd, 0);
            if (view->ring == MAP_FAILED)
                status = RING_SYSTEM;
            else if (__atomic_load_n(&view->ring->magic, __ATOMIC_SEQ_CST) != RING_MAGIC)
                status = RING_WRONG;
            else
                status = check(view);
        }
    }
    if (status == RING_OK) {
        *result = view;
        return RING_OK;
    }
    error = errno;
    ring_close(view);
    errno = error;
    return status;
}

void ring_close(struct ring_view *view)
{
    if (view->ring != MAP_FAILED)
        munmap(view->ring, sizeof *view->ring);
    if (view->fd >= 0)
        close(view->fd);
    free(view);
}

void ring_info(const struct ring_view *view, struct ring_info *info)
{
    struct ring r;

    if (pread(view->fd, &r, sizeof r, 0) == sizeof r)
        *info = (struct ring_info){r.capacity, r.unbounded, r.producers, r.closed, r.head, r.tail};
}

static enum ring_status attach(struct ring_view *view, void *unused)
{
    enum ring_status status = check_counters(view);

    (void)unused;
    if (status == RING_OK && view->ring->closed)
        status = RING_CLOSED;
    if (status == RING_OK)
        view->ring->producers++;
    return status;
}

enum ring_status ring_attach(struct ring_view *view)
{
    return locked(view, attach, NULL);
}

static enum ring_status detach(struct ring_view *view, void *unused)
{
    (void)unused;
    if (--view->ring->producers == 0) {
        view->ring->closed = 1;
        sem_post(&view->ring->items);
    }
    return RING_OK;
}

enum ring_status ring_detach(struct ring_view *view)
{
    return locked(view, detach, NULL);
}

/* One item from slot `from` to slot `to`. */
static bool move_item(int fd, uint64_t from, uint64_t to)
{
    struct ring_item item;

    return pread(fd, &item, sizeof item, place(from)) == sizeof item &&
           pwrite(fd, &item, sizeof item, place(to)) == sizeof item;
}

static enum ring_status grow(struct ring_view *view)
{
    struct ring *ring = view->ring;
    uint64_t old = ring->capacity;
    int error;

    if (2 * old > RING_CAPACITY_MAX)
        return RING_LIMIT;
    while ((error = posix_fallocate(view->fd, 0, place(2 * old))) == EINTR)
        continue;
    errno = error;
    if (error != 0)
        return RING_SYSTEM;
    for (uint64_t n = ring->head; n != ring->tail; n++) {
        if (n % old != n % (2 * old) && !move_item(view->fd, n % old, n % (2 * old)))
            return RING_SYSTEM;
    }
    __atomic_store_n(&ring->capacity, (uint32_t)(2 * old), __ATOMIC_SEQ_CST);
    return RING_OK;
}

static enum ring_status put(struct ring_view *view, void *item)
{
    struct ring *ring = view->ring;
    enum ring_status status = check_counters(view);

    if (status == RING_OK && ring->unbounded && ring->tail - ring->head == ring->capacity)
        status = grow(view);
    if (status != RING_OK)
        return status;
    if (pwrite(view->fd, item, sizeof(struct ring_item), place(ring->tail % ring->capacity)) !=
        sizeof(struct ring_item))
        return RING_SYSTEM;
    ring->tail++;
    return RING_OK;
}

enum ring_status ring_put(struct ring_view *view, const char *data, size_t len)
{
    struct ring_item item = {.len = (uint32_t)len};
    bool bounded = !view->ring->unbounded;
    enum ring_status status;

    memcpy(item.data, data, len);
    while (bounded && sem_wait(&view->ring->spaces) != 0) {
        if (errno != EINTR)
            return RING_SYSTEM;
    }
    status = locked(view, put, &item);
    if (status == RING_OK)
        sem_post(&view->ring->items);
    else if (bounded)
        sem_post(&view->ring->spaces);
    return status;
}

static enum ring_status take(struct ring_view *view, void *argument)
{
    struct ring *ring = view->ring;
    struct ring_item *item = argument;
    enum ring_status status = check_counters(view);

    if (status == RING_OK && ring->head == ring->tail)
        status = RING_END;
    else if (status == RING_OK && (pread(view->fd, item, sizeof *item,
                                         place(ring->head % ring->capacity)) != sizeof *item ||
                                   item->len > RING_ITEM_MAX))
        status = RING_BROKEN;
    if (status == RING_OK)
        ring->head++;
    return status;
}

enum ring_status ring_take(struct ring_view *view, struct ring_item *item)
{
    enum ring_status status;

    while (sem_wait(&view->ring->items) != 0) {
        if (errno != EINTR)
            return RING_SYSTEM;
    }
    status = locked(view, take, item);
    if (status != RING_OK)
        sem_post(&view->ring->items);
    else if (!view->ring->unbounded)
        sem_post(&view->ring->spaces);
    return status;
}
