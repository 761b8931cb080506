/*
 * Right, but different: while it waits a program has only the header mapped. The pages of the item
 * that it works on are mapped when it has the mutex and given back before it lets go; a growth
 * moves the items with pread() and pwrite(), from the newest to the oldest. All signals that can be
 * are blocked while the mutex is held. The object is made by link(), from a name of the process's
 * own.
 */
#define _GNU_SOURCE
#include "ring.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct ring_view {
    int fd, unused;
    struct ring *ring;
    sigset_t signals;
};

static const long ITEM = sizeof(struct ring_item), HEADER = sizeof(struct ring);

static enum ring_status enter(struct ring_view *v)
{
    sigset_t all;

    while (sem_wait(&v->ring->mutex) < 0)
        if (errno != EINTR)
            return RING_SYSTEM;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &v->signals);
    return RING_OK;
}

static enum ring_status leave(struct ring_view *v, enum ring_status status)
{
    int error = errno;

    sem_post(&v->ring->mutex);
    sigprocmask(SIG_SETMASK, &v->signals, NULL);
    errno = error;
    return status;
}

static enum ring_status check_size(int fd, const uint32_t *where)
{
    uint32_t capacity = __atomic_load_n(where, __ATOMIC_SEQ_CST);
    off_t end;

    if (capacity < 1 || capacity > RING_CAPACITY_MAX)
        return RING_WRONG;
    end = lseek(fd, 0, SEEK_END);
    if (end < 0)
        return RING_SYSTEM;
    return end < HEADER + ITEM * (off_t)capacity ? RING_WRONG : RING_OK;
}

struct window {
    void *page;
    size_t length;
    struct ring_item *item;
};

static bool open_window(struct window *w, int fd, uint64_t index)
{
    long page = sysconf(_SC_PAGESIZE);
    off_t from = HEADER + (off_t)index * ITEM, base = from / page * page;

    w->length = (size_t)(from - base + ITEM);
    w->page = mmap(NULL, w->length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, base);
    w->item = (struct ring_item *)((char *)w->page + (from - base));
    return w->page != MAP_FAILED;
}

static void close_window(struct window *w)
{
    munmap(w->page, w->length);
}

static int reserve(int fd, off_t length)
{
    int error;

    for (;;) {
        error = posix_fallocate(fd, 0, length);
        if (error == 0)
            return 0;
        if (error != EINTR) {
            errno = error;
            return -1;
        }
    }
}

enum ring_status ring_create(const char *name, uint32_t capacity, bool unbounded)
{
    char path[16 + RING_NAME_MAX], own[64];
    struct ring *ring;
    enum ring_status status = RING_SYSTEM;
    int fd, error;

    sprintf(path, "/dev/shm/%s", name);
    sprintf(own, "/dev/shm/.making-%ld", (long)getpid());
    if ((fd = open(own, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0)
        return status;
    if (reserve(fd, HEADER + ITEM * (off_t)capacity) == 0 &&
        (ring = mmap(NULL, HEADER, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) != MAP_FAILED) {
        ring->capacity = capacity;
        ring->unbounded = unbounded;
        if (sem_init(&ring->mutex, 1, 1) == 0 && sem_init(&ring->items, 1, 0) == 0 &&
            sem_init(&ring->spaces, 1, capacity) == 0) {
            ring->magic = RING_MAGIC;
            if (link(own, path) == 0)
                status = RING_OK;
        }
        error = errno;
        munmap(ring, HEADER);
        errno = error;
    }
    error = errno;
    unlink(own);
    close(fd);
    errno = error;
    return status;
}

enum ring_status ring_destroy(const char *name)
{
    char path[16 + RING_NAME_MAX];

    sprintf(path, "/%s", name);
    return shm_unlink(path) == 0 ? RING_OK : RING_SYSTEM;
}

enum ring_status ring_open(struct ring_view **view, const char *name)
{
    char path[16 + RING_NAME_MAX];
    struct ring_view *v;
    enum ring_status status = RING_WRONG;
    int fd, error;

    sprintf(path, "/%s", name);
    if ((fd = shm_open(path, O_RDWR, 0)) < 0)
        return RING_SYSTEM;
    if (lseek(fd, 0, SEEK_END) >= HEADER) {
        struct ring *ring = mmap(NULL, HEADER, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (ring == MAP_FAILED) {
            status = RING_SYSTEM;
        } else {
            if (__atomic_load_n(&ring->magic, __ATOMIC_SEQ_CST) == RING_MAGIC)
                status = check_size(fd, &ring->capacity);
            if (status == RING_OK && (v = malloc(sizeof *v)) != NULL) {
                *v = (struct ring_view){.fd = fd, .ring = ring};
                *view = v;
                return RING_OK;
            }
            if (status == RING_OK)
                status = RING_SYSTEM;
            munmap(ring, HEADER);
        }
    }
    error = errno;
    close(fd);
    errno = error;
    return status;
}

void ring_close(struct ring_view *v)
{
    close(v->fd);
    munmap(v->ring, HEADER);
    free(v);
}

void ring_info(const struct ring_view *v, struct ring_info *info)
{
    volatile struct ring *r = v->ring;

    info->tail = r->tail;
    info->head = r->head;
    info->closed = r->closed;
    info->producers = r->producers;
    info->unbounded = r->unbounded;
    info->capacity = r->capacity;
}

static enum ring_status inspect(struct ring_view *v)
{
    enum ring_status status = check_size(v->fd, &v->ring->capacity);

    if (status == RING_WRONG)
        return RING_BROKEN;
    if (status == RING_OK && v->ring->tail - v->ring->head > v->ring->capacity)
        return RING_BROKEN;
    return status;
}

enum ring_status ring_attach(struct ring_view *v)
{
    enum ring_status status = enter(v);

    if (status != RING_OK)
        return status;
    if (v->ring->closed)
        return leave(v, RING_CLOSED);
    status = inspect(v);
    if (status == RING_OK)
        v->ring->producers++;
    return leave(v, status);
}

enum ring_status ring_detach(struct ring_view *v)
{
    if (enter(v) != RING_OK)
        return RING_SYSTEM;
    if (--v->ring->producers > 0)
        return leave(v, RING_OK);
    v->ring->closed = 1;
    if (sem_post(&v->ring->items) != 0)
        return leave(v, RING_SYSTEM);
    return leave(v, RING_OK);
}

static enum ring_status grow(struct ring_view *v)
{
    struct ring *r = v->ring;
    uint64_t old = r->capacity, new = 2 * old;

    if (new > RING_CAPACITY_MAX)
        return RING_LIMIT;
    if (reserve(v->fd, HEADER + ITEM * (off_t) new) != 0)
        return RING_SYSTEM;
    for (uint64_t n = r->tail; n != r->head;) {
        struct ring_item item;
        n--;
        if (pread(v->fd, &item, (size_t)ITEM, HEADER + ITEM * (off_t)(n % old)) != ITEM ||
            pwrite(v->fd, &item, (size_t)ITEM, HEADER + ITEM * (off_t)(n % new)) != ITEM)
            return RING_SYSTEM;
    }
    __atomic_store_n(&r->capacity, (uint32_t) new, __ATOMIC_SEQ_CST);
    return RING_OK;
}

enum ring_status ring_put(struct ring_view *v, const char *data, size_t len)
{
    struct window w;
    enum ring_status status;

    if (!v->ring->unbounded)
        while (sem_wait(&v->ring->spaces) < 0)
            if (errno != EINTR)
                return RING_SYSTEM;
    if (enter(v) != RING_OK)
        return RING_SYSTEM;
    status = inspect(v);
    if (status == RING_OK && v->ring->unbounded &&
        v->ring->tail - v->ring->head == v->ring->capacity)
        status = grow(v);
    if (status == RING_OK && !open_window(&w, v->fd, v->ring->tail % v->ring->capacity))
        status = RING_SYSTEM;
    if (status == RING_OK) {
        w.item->len = (uint32_t)len;
        for (size_t i = 0; i < RING_ITEM_MAX; i++)
            w.item->data[i] = i < len ? data[i] : 0;
        close_window(&w);
        v->ring->tail++;
        sem_post(&v->ring->items);
    }
    return leave(v, status);
}

enum ring_status ring_take(struct ring_view *v, struct ring_item *item)
{
    struct ring *r = v->ring;
    struct window w;
    enum ring_status status;

    while (sem_wait(&r->items) < 0)
        if (errno != EINTR)
            return RING_SYSTEM;
    if (enter(v) != RING_OK)
        return RING_SYSTEM;
    status = inspect(v);
    if (status == RING_OK && r->head == r->tail) {
        sem_post(&r->items);
        return leave(v, RING_END);
    }
    if (status == RING_OK && !open_window(&w, v->fd, r->head % r->capacity))
        status = RING_SYSTEM;
    if (status != RING_OK)
        return leave(v, status);
    item->len = w.item->len;
    if (item->len <= RING_ITEM_MAX) {
        memcpy(item->data, w.item->data, item->len);
        memset(w.item, 0, sizeof *w.item); /* nothing is left for who comes later */
        r->head++;
        if (!r->unbounded)
            sem_post(&r->spaces);
    } else {
        status = RING_BROKEN;
    }
    close_window(&w);
    return leave(v, status);
}
