/*
 * Right, but different: the header alone is mapped, and items go by pread() and pwrite(); how many
 * of them the object can hold is asked once, and again when the capacity is beyond that. A write
 * behind the end of an object makes it longer, it is no SIGBUS. What others see last, magic and
 * capacity, is written by pwrite() too. Memory is reserved by fallocate() without a new size, then
 * ftruncate().
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
    uint32_t known; /* the object holds so many items */
    struct ring *h;
};

static off_t at(uint64_t index)
{
    return (off_t)(136 + index * 260);
}

static void P(sem_t *s)
{
    while (sem_wait(s) != 0)
        ;
}

static bool writes(int fd, const void *bytes, size_t n, off_t where)
{
    ssize_t w;

    while ((w = pwrite(fd, bytes, n, where)) < 0 && errno == EINTR)
        ;
    return w == (ssize_t)n;
}

static bool reads(int fd, void *bytes, size_t n, off_t where)
{
    ssize_t r;

    while ((r = pread(fd, bytes, n, where)) < 0 && errno == EINTR)
        ;
    return r == (ssize_t)n;
}

/* Memory first, then the length; never shorter. */
static bool lengthen(int fd, uint32_t items)
{
    struct stat st;
    int r;

    while ((r = fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, at(items))) != 0 && errno == EINTR)
        ;
    if (r != 0 || fstat(fd, &st) != 0)
        return false;
    if (st.st_size >= at(items))
        return true;
    while ((r = ftruncate(fd, at(items))) != 0 && errno == EINTR)
        ;
    return r == 0;
}

enum ring_status ring_create(const char *name, uint32_t capacity, bool unbounded)
{
    char path[300];
    static const uint32_t magic = RING_MAGIC;
    struct ring *h = MAP_FAILED;
    int fd, e;

    snprintf(path, sizeof path, "/%s", name);
    fd = shm_open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd < 0)
        return RING_SYSTEM;
    if (lengthen(fd, capacity))
        h = mmap(NULL, 136, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (h != MAP_FAILED) {
        uint32_t two[2] = {capacity, unbounded};
        sem_init(&h->mutex, 1, 1);
        sem_init(&h->items, 1, 0);
        sem_init(&h->spaces, 1, capacity);
        if (writes(fd, two, 8, 4) && writes(fd, &magic, 4, 0)) {
            munmap(h, 136);
            close(fd);
            return RING_OK;
        }
    }
    e = errno;
    shm_unlink(path);
    if (h != MAP_FAILED)
        munmap(h, 136);
    close(fd);
    errno = e;
    return RING_SYSTEM;
}

enum ring_status ring_destroy(const char *name)
{
    char path[300];

    snprintf(path, sizeof path, "/dev/shm/%s", name);
    return unlink(path) == 0 ? RING_OK : RING_SYSTEM;
}

/* The capacity if the ring has it, else 0. */
static uint32_t capacity_of(struct ring_view *v)
{
    uint32_t c;
    char last;

    if (!reads(v->fd, &c, 4, 4) || c == 0 || c > RING_CAPACITY_MAX)
        return 0;
    if (c > v->known) {
        if (!reads(v->fd, &last, 1, at(c) - 1))
            return 0;
        v->known = c;
    }
    return c;
}

enum ring_status ring_open(struct ring_view **view, const char *name)
{
    char path[300], header[136];
    struct ring_view *v = malloc(sizeof *v);
    enum ring_status status = RING_SYSTEM;
    int e;

    if (v == NULL)
        return status;
    snprintf(path, sizeof path, "/%s", name);
    v->fd = shm_open(path, O_RDWR, 0);
    v->known = 0;
    if (v->fd >= 0) {
        status = RING_WRONG;
        if (reads(v->fd, header, sizeof header, 0) && memcmp(header, "RING", 4) == 0 &&
            capacity_of(v) > 0) {
            status = RING_SYSTEM;
            v->h = mmap(NULL, 136, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
            if (v->h != MAP_FAILED) {
                *view = v;
                return RING_OK;
            }
        }
    }
    e = errno;
    if (v->fd >= 0)
        close(v->fd);
    free(v);
    errno = e;
    return status;
}

void ring_close(struct ring_view *v)
{
    munmap(v->h, 136);
    close(v->fd);
    free(v);
}

void ring_info(const struct ring_view *v, struct ring_info *info)
{
    struct ring r;

    memcpy(&r, v->h, sizeof r);
    info->capacity = r.capacity, info->unbounded = r.unbounded, info->producers = r.producers;
    info->closed = r.closed, info->head = r.head, info->tail = r.tail;
}

enum ring_status ring_attach(struct ring_view *v)
{
    enum ring_status status = RING_OK;
    uint32_t c;

    P(&v->h->mutex);
    c = capacity_of(v);
    if (c == 0 || v->h->tail - v->h->head > c)
        status = RING_BROKEN;
    else if (v->h->closed != 0)
        status = RING_CLOSED;
    else
        v->h->producers += 1;
    sem_post(&v->h->mutex);
    return status;
}

enum ring_status ring_detach(struct ring_view *v)
{
    P(&v->h->mutex);
    v->h->producers -= 1;
    if (v->h->producers == 0) {
        v->h->closed = 1;
        sem_post(&v->h->items);
    }
    sem_post(&v->h->mutex);
    return RING_OK;
}

static enum ring_status twice(struct ring_view *v, uint32_t c)
{
    struct ring *h = v->h;
    struct ring_item item;

    if (c > RING_CAPACITY_MAX / 2)
        return RING_LIMIT;
    if (!lengthen(v->fd, 2 * c))
        return RING_SYSTEM;
    for (uint64_t n = h->head; n != h->tail; n++)
        if (!reads(v->fd, &item, 260, at(n % c)) ||
            !(n % (2 * c) == n % c || writes(v->fd, &item, 260, at(n % (2 * c)))))
            return RING_SYSTEM;
    c *= 2;
    return writes(v->fd, &c, 4, 4) ? RING_OK : RING_SYSTEM;
}

enum ring_status ring_put(struct ring_view *v, const char *data, size_t len)
{
    struct ring *h = v->h;
    bool bounded = h->unbounded == 0;
    uint32_t c, length = (uint32_t)len;
    enum ring_status status = RING_OK;
    int e;

    if (bounded)
        P(&h->spaces);
    P(&h->mutex);
    c = capacity_of(v);
    if (c == 0 || h->tail - h->head > c)
        status = RING_BROKEN;
    else if (h->tail - h->head == c)
        status = bounded ? RING_BROKEN : twice(v, c);
    if (status == RING_OK && (c = capacity_of(v)) == 0)
        status = RING_BROKEN;
    if (status == RING_OK && (!writes(v->fd, data, len, at(h->tail % c) + 4) ||
                              !writes(v->fd, &length, 4, at(h->tail % c))))
        status = RING_SYSTEM;
    e = errno;
    if (status == RING_OK) {
        h->tail++;
        sem_post(&h->items);
    } else if (bounded)
        sem_post(&h->spaces);
    sem_post(&h->mutex);
    errno = e;
    return status;
}

enum ring_status ring_take(struct ring_view *v, struct ring_item *item)
{
    struct ring *h = v->h;
    enum ring_status status = RING_OK;
    uint32_t c;

    P(&h->items);
    P(&h->mutex);
    c = capacity_of(v);
    if (c == 0 || h->tail - h->head > c)
        status = RING_BROKEN;
    else if (h->head == h->tail)
        status = RING_END;
    else if (!reads(v->fd, &item->len, 4, at(h->head % c)) || item->len > RING_ITEM_MAX ||
             !reads(v->fd, item->data, item->len, at(h->head % c) + 4))
        status = RING_BROKEN;
    else {
        h->head++;
        if (!h->unbounded)
            sem_post(&h->spaces);
    }
    if (status != RING_OK)
        sem_post(&h->items);
    sem_post(&h->mutex);
    return status;
}
