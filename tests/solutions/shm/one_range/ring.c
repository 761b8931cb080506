/*
 * Right, but different: the addresses of the largest ring there can be are taken once, without
 * memory; the object's pages are mapped over their beginning, and a growth maps its new pages
 * behind them (MAP_FIXED), so that no pointer is ever void. A SIGBUS in the critical section is
 * caught, and answers RING_BROKEN. Memory is reserved by touching it where nobody looks: by
 * MADV_POPULATE_WRITE in a mapping of its own. head is raised before the copy, both under mutex.
 */
#define _GNU_SOURCE
#include "ring.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SPAN (sizeof(struct ring) + RING_CAPACITY_MAX * sizeof(struct ring_item))

struct ring_view {
    struct ring *ring; /* of SPAN bytes of addresses */
    size_t backed;     /* of them are the object's, whole pages */
    int fd;
};

static struct ring_view only;
static sigjmp_buf out;
static volatile sig_atomic_t inside;

static void on_bus(int number)
{
    if (inside)
        siglongjmp(out, 1);
    signal(number, SIG_DFL);
    raise(number);
}

static size_t need(uint32_t capacity)
{
    return sizeof(struct ring) + (size_t)capacity * sizeof(struct ring_item);
}

static size_t pages(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    return (bytes + page - 1) & ~(page - 1);
}

static bool back(struct ring_view *v, size_t bytes)
{
    bytes = pages(bytes);
    if (bytes <= v->backed)
        return true;
    if (mmap((char *)v->ring + v->backed, bytes - v->backed, PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_FIXED, v->fd, (off_t)v->backed) == MAP_FAILED)
        return false;
    v->backed = bytes;
    return true;
}

static bool span(struct ring_view *v)
{
    void *at = mmap((void *)0x300000000000, SPAN, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    v->ring = at == MAP_FAILED ? NULL : at;
    v->backed = 0;
    return v->ring != NULL;
}

static off_t size_of(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 ? st.st_size : -1;
}

/* At least so long, with memory behind all of it; as it was, if that can't be. */
static bool reserve(int fd, size_t bytes)
{
    off_t before = size_of(fd);
    bool done = false;
    void *at;
    int error;

    if (before < (off_t)bytes && ftruncate(fd, (off_t)bytes) != 0)
        return false;
    at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at != MAP_FAILED) {
        while (!(done = madvise(at, bytes, MADV_POPULATE_WRITE) == 0) &&
               (errno == EINTR || errno == EAGAIN))
            continue;
        if (!done && errno == EFAULT)
            errno = ENOSPC;
        error = errno;
        munmap(at, bytes);
        errno = error;
    }
    if (!done) {
        error = errno;
        if (before < (off_t)bytes && ftruncate(fd, before) != 0)
            return false;
        errno = error;
    }
    return done;
}

static char *slash(char *path, const char *name)
{
    *path = '/';
    stpcpy(path + 1, name);
    return path;
}

enum ring_status ring_create(const char *name, uint32_t capacity, bool unbounded)
{
    char path[RING_NAME_MAX + 2];
    struct ring_view v = {.ring = NULL};
    int error = 0;

    v.fd = shm_open(slash(path, name), O_CREAT | O_RDWR | O_EXCL, 0600);
    if (v.fd < 0)
        return RING_SYSTEM;
    if (!reserve(v.fd, need(capacity)) || !span(&v) || !back(&v, need(capacity))) {
        error = errno;
        shm_unlink(path);
    } else {
        memset(v.ring, 0, need(capacity));
        sem_init(&v.ring->mutex, 1, 1);
        sem_init(&v.ring->items, 1, 0);
        sem_init(&v.ring->spaces, 1, capacity);
        v.ring->unbounded = unbounded ? 1 : 0;
        v.ring->capacity = capacity;
        __sync_synchronize();
        __atomic_exchange_n(&v.ring->magic, (uint32_t)RING_MAGIC, __ATOMIC_ACQ_REL);
    }
    if (v.ring != NULL)
        munmap(v.ring, SPAN);
    close(v.fd);
    errno = error;
    return error == 0 ? RING_OK : RING_SYSTEM;
}

enum ring_status ring_destroy(const char *name)
{
    char path[RING_NAME_MAX + 2];

    return shm_unlink(slash(path, name)) == 0 ? RING_OK : RING_SYSTEM;
}

static bool follow(struct ring_view *v)
{
    uint32_t capacity = __atomic_load_n(&v->ring->capacity, __ATOMIC_ACQUIRE);

    if (capacity == 0 || capacity > RING_CAPACITY_MAX)
        return false;
    return pages(need(capacity)) <= v->backed ||
           (size_of(v->fd) >= (off_t)need(capacity) && back(v, need(capacity)));
}

enum ring_status ring_open(struct ring_view **view, const char *name)
{
    char path[RING_NAME_MAX + 2];
    struct ring_view *v = &only;
    enum ring_status status = RING_WRONG;
    uint32_t capacity;

    v->fd = shm_open(slash(path, name), O_RDWR, 0);
    if (v->fd < 0)
        return RING_SYSTEM;
    if (size_of(v->fd) < (off_t)sizeof(struct ring)) {
        close(v->fd);
        return RING_WRONG;
    }
    if (!span(v) || !back(v, sizeof(struct ring))) {
        status = RING_SYSTEM;
    } else if (__atomic_load_n(&v->ring->magic, __ATOMIC_ACQUIRE) == RING_MAGIC) {
        capacity = __atomic_load_n(&v->ring->capacity, __ATOMIC_ACQUIRE);
        if (capacity >= 1 && capacity <= RING_CAPACITY_MAX &&
            size_of(v->fd) >= (off_t)need(capacity) && back(v, need(capacity)))
            status = RING_OK;
    }
    if (status == RING_OK) {
        signal(SIGBUS, on_bus);
        *view = v;
    } else {
        int error = errno;
        ring_close(v);
        errno = error;
    }
    return status;
}

void ring_close(struct ring_view *v)
{
    if (v->ring != NULL)
        munmap(v->ring, SPAN);
    close(v->fd);
}

void ring_info(const struct ring_view *v, struct ring_info *info)
{
    const struct ring *r = v->ring;

    *info =
        (struct ring_info){r->capacity, r->unbounded, r->producers, r->closed, r->head, r->tail};
}

static void down(sem_t *s)
{
    int r;

    do
        r = sem_wait(s);
    while (r < 0 && errno == EINTR);
}

static bool sane(struct ring_view *v)
{
    return follow(v) && v->ring->tail - v->ring->head <= v->ring->capacity;
}

enum ring_status ring_attach(struct ring_view *v)
{
    enum ring_status status = RING_OK;

    down(&v->ring->mutex);
    if (v->ring->tail - v->ring->head > v->ring->capacity)
        status = RING_BROKEN;
    else if (v->ring->closed)
        status = RING_CLOSED;
    else
        __atomic_add_fetch(&v->ring->producers, 1, __ATOMIC_RELAXED);
    sem_post(&v->ring->mutex);
    return status;
}

enum ring_status ring_detach(struct ring_view *v)
{
    bool last;

    down(&v->ring->mutex);
    last = __atomic_sub_fetch(&v->ring->producers, 1, __ATOMIC_RELAXED) == 0;
    if (last)
        v->ring->closed = 1;
    sem_post(&v->ring->mutex);
    return last && sem_post(&v->ring->items) != 0 ? RING_SYSTEM : RING_OK;
}

static enum ring_status grow(struct ring_view *v)
{
    struct ring *r = v->ring;
    uint32_t old = r->capacity;
    uint64_t lap = r->head / old;
    uint32_t split = (uint32_t)(r->head % old);

    if (2 * (uint64_t)old > RING_CAPACITY_MAX)
        return RING_LIMIT;
    if (!reserve(v->fd, need(2 * old)) || !back(v, need(2 * old)))
        return RING_SYSTEM;
    if (lap % 2 == 0) /* items of the next lap go to the new half */
        memcpy(r->item + old, r->item, split * sizeof r->item[0]);
    else
        memcpy(r->item + old + split, r->item + split, (old - split) * sizeof r->item[0]);
    __atomic_store_n(&r->capacity, 2 * old, __ATOMIC_RELEASE);
    return RING_OK;
}

enum ring_status ring_put(struct ring_view *v, const char *data, size_t len)
{
    struct ring *r = v->ring;
    volatile enum ring_status status = RING_OK;
    int error;

    if (!r->unbounded)
        down(&r->spaces);
    down(&r->mutex);
    if (sigsetjmp(out, 1) == 0) {
        inside = 1;
        if (!sane(v))
            status = RING_BROKEN;
        else if (r->unbounded && r->tail - r->head == r->capacity)
            status = grow(v);
        if (status == RING_OK) {
            struct ring_item *item = &r->item[r->tail % r->capacity];
            memcpy(item->data, data, len);
            item->len = (uint32_t)len;
            r->tail++;
        }
    } else {
        status = RING_BROKEN;
    }
    inside = 0;
    error = errno;
    if (status == RING_OK)
        sem_post(&r->items);
    sem_post(&r->mutex);
    errno = error;
    return status;
}

enum ring_status ring_take(struct ring_view *v, struct ring_item *item)
{
    struct ring *r = v->ring;
    volatile enum ring_status status = RING_OK;
    volatile uint64_t head = 0;

    down(&r->items);
    down(&r->mutex);
    head = r->head;
    if (sigsetjmp(out, 1) == 0) {
        inside = 1;
        if (!sane(v)) {
            status = RING_BROKEN;
        } else if (r->tail == head) {
            status = RING_END;
            sem_post(&r->items);
        } else {
            const struct ring_item *slot = &r->item[head % r->capacity];
            uint32_t len = *(volatile const uint32_t *)&slot->len;
            if (len > RING_ITEM_MAX) {
                status = RING_BROKEN;
            } else {
                r->head = head + 1;
                item->len = len;
                memcpy(item->data, slot->data, len);
            }
        }
    } else {
        r->head = head;
        status = RING_BROKEN;
    }
    inside = 0;
    sem_post(&r->mutex);
    if (status == RING_OK && !r->unbounded)
        sem_post(&r->spaces);
    return status;
}
