/*
 * Maps as much as the largest ring would need, once. A mapping may reach beyond the end of its
 * object as long as nobody touches what is there, so a growth moves nothing: it is enough to know
 * how far the object reaches (view.slots), and to ask again when the capacity is beyond that.
 */
#define _GNU_SOURCE
#include "ring.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LENGTH(slots) (offsetof(struct ring, item) + sizeof(struct ring_item) * (size_t)(slots))

struct ring_view {
    int fd;
    struct ring *r;
    uint32_t slots; /* item[0] to item[slots - 1] were seen to exist */
};

static struct ring_view the_view; /* a program has one */

static const char *path_of(const char *name)
{
    static char path[NAME_MAX + 2];

    path[0] = '/';
    strncpy(path + 1, name, NAME_MAX);
    return path;
}

static bool down(sem_t *s)
{
    int r;

    do
        r = sem_wait(s);
    while (r == -1 && errno == EINTR);
    return r == 0;
}

static int allocate(int fd, size_t length)
{
    int e = EINTR;

    while (e == EINTR)
        e = posix_fallocate(fd, 0, (off_t)length);
    errno = e;
    return e;
}

static struct ring *map_all(int fd)
{
    void *p = mmap(NULL, LENGTH(RING_CAPACITY_MAX), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_NORESERVE, fd, 0);

    return p == MAP_FAILED ? NULL : p;
}

/* How many slots there are, going by the capacity, or 0 if that can't be. */
static uint32_t slots_of(struct ring_view *v)
{
    uint32_t capacity = *(volatile uint32_t *)&v->r->capacity;
    struct stat st;

    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (capacity == 0 || capacity > RING_CAPACITY_MAX)
        return 0;
    if (capacity > v->slots) {
        if (fstat(v->fd, &st) != 0 || st.st_size < (off_t)LENGTH(capacity))
            return 0;
        v->slots = capacity;
    }
    return capacity;
}

enum ring_status ring_create(const char *name, uint32_t capacity, bool unbounded)
{
    enum ring_status status = RING_SYSTEM;
    int fd = shm_open(path_of(name), O_CREAT | O_EXCL | O_RDWR, S_IRUSR | S_IWUSR), why;
    struct ring *r = NULL;

    if (fd == -1)
        return status;
    if (allocate(fd, LENGTH(capacity)) == 0 && (r = map_all(fd)) != NULL &&
        sem_init(&r->spaces, 1, unbounded ? 0 : capacity) == 0 && sem_init(&r->items, 1, 0) == 0 &&
        sem_init(&r->mutex, 1, 1) == 0) {
        r->unbounded = unbounded ? 1 : 0;
        r->capacity = capacity;
        r->head = r->tail = 0;
        r->producers = r->closed = 0;
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        *(volatile uint32_t *)&r->magic = RING_MAGIC;
        status = RING_OK;
    }
    why = errno;
    if (r != NULL)
        munmap(r, LENGTH(RING_CAPACITY_MAX));
    close(fd);
    if (status != RING_OK)
        shm_unlink(path_of(name));
    errno = why;
    return status;
}

enum ring_status ring_destroy(const char *name)
{
    return shm_unlink(path_of(name)) == -1 ? RING_SYSTEM : RING_OK;
}

enum ring_status ring_open(struct ring_view **view, const char *name)
{
    struct ring_view *v = &the_view;
    struct stat st;

    v->slots = 0;
    v->r = NULL;
    v->fd = shm_open(path_of(name), O_RDWR, 0);
    if (v->fd == -1)
        return RING_SYSTEM;
    if (fstat(v->fd, &st) == -1 || st.st_size < (off_t)LENGTH(0)) {
        close(v->fd);
        return RING_WRONG;
    }
    v->r = map_all(v->fd);
    if (v->r == NULL) {
        int why = errno;
        close(v->fd);
        errno = why;
        return RING_SYSTEM;
    }
    if (__atomic_load_n(&v->r->magic, __ATOMIC_SEQ_CST) == RING_MAGIC && slots_of(v) > 0) {
        *view = v;
        return RING_OK;
    }
    ring_close(v);
    return RING_WRONG;
}

void ring_close(struct ring_view *v)
{
    munmap(v->r, LENGTH(RING_CAPACITY_MAX));
    close(v->fd);
}

void ring_info(const struct ring_view *v, struct ring_info *i)
{
    memcpy(i, &v->r->capacity, 4 * sizeof(uint32_t)); /* capacity to closed, in this order */
    i->head = v->r->head;
    i->tail = v->r->tail;
}

/* With the mutex: the capacity, or 0 if the ring is broken. */
static uint32_t checked(struct ring_view *v)
{
    uint32_t capacity = slots_of(v);

    return v->r->tail - v->r->head <= capacity ? capacity : 0;
}

enum ring_status ring_attach(struct ring_view *v)
{
    enum ring_status status = RING_OK;

    if (!down(&v->r->mutex))
        return RING_SYSTEM;
    if (checked(v) == 0)
        status = RING_BROKEN;
    else if (v->r->closed != 0)
        status = RING_CLOSED;
    else
        v->r->producers += 1;
    sem_post(&v->r->mutex);
    return status;
}

enum ring_status ring_detach(struct ring_view *v)
{
    if (!down(&v->r->mutex))
        return RING_SYSTEM;
    v->r->producers -= 1;
    if (v->r->producers == 0) {
        v->r->closed = 1;
        sem_post(&v->r->items);
    }
    sem_post(&v->r->mutex);
    return RING_OK;
}

/* Full, and the mutex is held. What lies in front of the oldest item had wrapped around. */
static enum ring_status enlarge(struct ring_view *v, uint32_t capacity)
{
    struct ring *r = v->r;

    if (capacity > RING_CAPACITY_MAX / 2)
        return RING_LIMIT;
    if (allocate(v->fd, LENGTH(2 * capacity)) != 0)
        return RING_SYSTEM;
    uint32_t front = (uint32_t)(r->head % capacity);
    if (r->head % (2 * capacity) <
        capacity) /* the older part stays: the front goes to the new half */
        memcpy(&r->item[capacity], &r->item[0], front * sizeof r->item[0]);
    else /* the front is where it should be: the older part goes to the new half */
        memcpy(&r->item[capacity + front], &r->item[front], (capacity - front) * sizeof r->item[0]);
    v->slots = 2 * capacity;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    *(volatile uint32_t *)&r->capacity = 2 * capacity;
    return RING_OK;
}

enum ring_status ring_put(struct ring_view *v, const char *data, size_t len)
{
    struct ring *r = v->r;
    uint32_t capacity;
    enum ring_status status = RING_OK;

    if (!r->unbounded && !down(&r->spaces))
        return RING_SYSTEM;
    if (!down(&r->mutex))
        return RING_SYSTEM;
    capacity = checked(v);
    if (capacity == 0)
        status = RING_BROKEN;
    else if (r->unbounded && r->tail - r->head == capacity)
        status = enlarge(v, capacity);
    if (status == RING_OK) {
        struct ring_item *slot = r->item + r->tail % r->capacity;
        memcpy(slot->data, data, len);
        slot->len = (uint32_t)len;
        r->tail += 1;
        sem_post(&r->items);
    }
    sem_post(&r->mutex);
    return status;
}

enum ring_status ring_take(struct ring_view *v, struct ring_item *item)
{
    struct ring *r = v->r;
    uint32_t capacity;

    for (;;) {
        enum ring_status status = RING_OK;
        bool again = false;
        if (!down(&r->items) || !down(&r->mutex))
            return RING_SYSTEM;
        capacity = checked(v);
        if (capacity == 0) {
            status = RING_BROKEN;
        } else if (r->head == r->tail) {
            if (r->closed) {
                sem_post(&r->items);
                status = RING_END;
            } else {
                again = true;
            }
        } else {
            *item = r->item[r->head % capacity];
            if (item->len > RING_ITEM_MAX) {
                status = RING_BROKEN;
            } else {
                r->head += 1;
                if (!r->unbounded)
                    sem_post(&r->spaces);
            }
        }
        sem_post(&r->mutex);
        if (!again)
            return status;
    }
}
