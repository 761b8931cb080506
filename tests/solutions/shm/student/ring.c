// lab shm, ring.c
#define _GNU_SOURCE
#include "ring.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct ring_view {
    int unused;
};
static struct ring_view dummy;

static int fd = -1;
static struct ring *ring;
static size_t mapped;

static void P(sem_t *s)
{
    while (sem_wait(s) < 0 && errno == EINTR)
        ;
}
static void V(sem_t *s)
{
    sem_post(s);
}

static size_t bytes(uint32_t cap)
{
    return sizeof(struct ring) + cap * sizeof(struct ring_item);
}

static void slash(char *buf, const char *name)
{
    strcpy(buf, "/");
    strcat(buf, name);
}

enum ring_status ring_create(const char *name, uint32_t capacity, bool unbounded)
{
    char path[300];
    int e;

    slash(path, name);
    fd = shm_open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd < 0)
        return RING_SYSTEM;
    if (ftruncate(fd, bytes(capacity)) < 0)
        goto bad;
    while (fallocate(fd, 0, 0, bytes(capacity)) < 0)
        if (errno != EINTR)
            goto bad;
    ring = mmap(0, bytes(capacity), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (ring == MAP_FAILED)
        goto bad;
    ring->capacity = capacity;
    ring->unbounded = unbounded;
    sem_init(&ring->mutex, 1, 1);
    sem_init(&ring->items, 1, 0);
    sem_init(&ring->spaces, 1, capacity);
    __sync_synchronize();
    ring->magic = RING_MAGIC;
    munmap(ring, bytes(capacity));
    close(fd);
    return RING_OK;
bad:
    e = errno;
    close(fd);
    shm_unlink(path);
    errno = e;
    return RING_SYSTEM;
}

enum ring_status ring_destroy(const char *name)
{
    char path[300];

    slash(path, name);
    if (shm_unlink(path) < 0)
        return RING_SYSTEM;
    return RING_OK;
}

enum ring_status ring_open(struct ring_view **view, const char *name)
{
    char path[300];
    struct ring h;
    struct stat st;
    ssize_t n;

    slash(path, name);
    fd = shm_open(path, O_RDWR, 0);
    if (fd < 0)
        return RING_SYSTEM;
    n = pread(fd, &h, sizeof h, 0);
    if (n != sizeof h || h.magic != RING_MAGIC || h.capacity < 1 ||
        h.capacity > RING_CAPACITY_MAX) {
        close(fd);
        return RING_WRONG;
    }
    // size after capacity!
    if (fstat(fd, &st) < 0 || (size_t)st.st_size < bytes(h.capacity)) {
        close(fd);
        return RING_WRONG;
    }
    mapped = bytes(h.capacity);
    ring = mmap(0, mapped, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (ring == MAP_FAILED) {
        close(fd);
        errno = ENOMEM;
        return RING_SYSTEM;
    }
    *view = &dummy;
    return RING_OK;
}

void ring_close(struct ring_view *view)
{
    (void)view;
    munmap(ring, mapped);
    close(fd);
}

void ring_info(const struct ring_view *view, struct ring_info *info)
{
    (void)view;
    info->capacity = ring->capacity;
    info->unbounded = ring->unbounded;
    info->producers = ring->producers;
    info->closed = ring->closed;
    info->head = ring->head;
    info->tail = ring->tail;
}

// makes the mapping long enough. 0 ok, -1 the ring is nonsense
static int refresh(void)
{
    struct stat st;
    void *p;
    uint32_t cap = ring->capacity;

    if (cap < 1 || cap > RING_CAPACITY_MAX)
        return -1;
    if (bytes(cap) > mapped) {
        if (fstat(fd, &st) < 0 || (size_t)st.st_size < bytes(cap))
            return -1;
        p = mremap(ring, mapped, bytes(cap), MREMAP_MAYMOVE);
        if (p == MAP_FAILED)
            return -1;
        ring = p;
        mapped = bytes(cap);
    }
    if (ring->tail - ring->head > cap)
        return -1;
    return 0;
}

enum ring_status ring_attach(struct ring_view *view)
{
    (void)view;
    P(&ring->mutex);
    if (ring->closed) {
        V(&ring->mutex);
        return RING_CLOSED;
    }
    if (refresh() < 0) {
        V(&ring->mutex);
        return RING_BROKEN;
    }
    ring->producers++;
    V(&ring->mutex);
    return RING_OK;
}

enum ring_status ring_detach(struct ring_view *view)
{
    int last;

    (void)view;
    P(&ring->mutex);
    last = --ring->producers == 0;
    if (last)
        ring->closed = 1;
    V(&ring->mutex);
    if (last)
        V(&ring->items);
    return RING_OK;
}

static enum ring_status twice(void)
{
    uint32_t old = ring->capacity, i;
    struct ring_item *copy;
    void *p;

    if (old * 2 > RING_CAPACITY_MAX)
        return RING_LIMIT;
    while (fallocate(fd, 0, 0, bytes(old * 2)) < 0)
        if (errno != EINTR)
            return RING_SYSTEM;
    copy = malloc(old * sizeof *copy);
    if (!copy)
        return RING_SYSTEM;
    if (bytes(old * 2) > mapped) {
        p = mremap(ring, mapped, bytes(old * 2), MREMAP_MAYMOVE);
        if (p == MAP_FAILED) {
            free(copy);
            errno = ENOMEM;
            return RING_SYSTEM;
        }
        ring = p;
        mapped = bytes(old * 2);
    }
    for (i = 0; i < old; i++)
        copy[i] = ring->item[(ring->head + i) % old];
    for (i = 0; i < old; i++)
        ring->item[(ring->head + i) % (old * 2)] = copy[i];
    free(copy);
    __sync_synchronize();
    ring->capacity = old * 2;
    return RING_OK;
}

enum ring_status ring_put(struct ring_view *view, const char *data, size_t len)
{
    struct ring_item *it;
    enum ring_status st;
    int e;

    (void)view;
    if (!ring->unbounded)
        P(&ring->spaces);
    P(&ring->mutex);
    if (refresh() < 0) {
        V(&ring->mutex);
        return RING_BROKEN;
    }
    if (ring->unbounded && ring->tail - ring->head == ring->capacity) {
        st = twice();
        if (st != RING_OK) {
            e = errno;
            V(&ring->mutex);
            errno = e;
            return st;
        }
    }
    it = &ring->item[ring->tail % ring->capacity];
    it->len = len;
    memset(it->data, 0, sizeof it->data);
    memcpy(it->data, data, len);
    ring->tail++;
    V(&ring->mutex);
    V(&ring->items);
    return RING_OK;
}

enum ring_status ring_take(struct ring_view *view, struct ring_item *item)
{
    (void)view;
    P(&ring->items);
    P(&ring->mutex);
    if (refresh() < 0) {
        V(&ring->mutex);
        V(&ring->items);
        return RING_BROKEN;
    }
    if (ring->head == ring->tail) {
        // closed, nobody else posts for nothing
        V(&ring->mutex);
        V(&ring->items);
        return RING_END;
    }
    memcpy(item, &ring->item[ring->head % ring->capacity], sizeof *item);
    if (item->len > RING_ITEM_MAX) {
        V(&ring->mutex);
        V(&ring->items);
        return RING_BROKEN;
    }
    ring->head++;
    V(&ring->mutex);
    if (!ring->unbounded)
        V(&ring->spaces);
    return RING_OK;
}
