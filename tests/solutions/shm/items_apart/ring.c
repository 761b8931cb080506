/*
 * Right, but different: the header is mapped by itself, for the semaphores and the counters, and
 * stays where it is; the items are mapped apart from it, and only by whoever comes to touch one,
 * at the first time or after a growth. Every semaphore is tried before it is waited for; items are
 * built in a local copy; a growth copies the whole old array into the new half.
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
    bool bounded;
    struct ring *header;
    struct ring *body;  /* the same object again, with the items; NULL until it is needed */
    uint32_t reachable; /* items in it */
};

#define LOAD(field) __atomic_load_n(&(field), __ATOMIC_ACQUIRE)
#define STORE(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELEASE)

static size_t length_for(uint32_t items)
{
    return offsetof(struct ring, item[items]);
}

static void decrement(sem_t *semaphore)
{
    if (sem_trywait(semaphore) == 0)
        return;
    while (sem_wait(semaphore) == -1 && errno == EINTR)
        continue;
}

static int reserve(int fd, uint32_t items)
{
    int error;

    while ((error = posix_fallocate(fd, 0, (off_t)length_for(items))) == EINTR)
        continue;
    errno = error != 0 ? error : errno;
    return error == 0 ? 0 : -1;
}

static bool holds(int fd, uint32_t items)
{
    struct stat st;

    return fstat(fd, &st) == 0 && (size_t)st.st_size >= length_for(items);
}

static bool possible(uint32_t capacity)
{
    return capacity - 1 < RING_CAPACITY_MAX;
}

static void *map_length(int fd, size_t length)
{
    void *at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    return at == MAP_FAILED ? NULL : at;
}

static bool reach(struct ring_view *v, uint32_t items)
{
    if (v->body != NULL && v->reachable >= items)
        return true;
    if (v->body != NULL)
        munmap(v->body, length_for(v->reachable));
    v->body = map_length(v->fd, length_for(items));
    v->reachable = items;
    return v->body != NULL;
}

enum ring_status ring_create(const char *name, uint32_t capacity, bool unbounded)
{
    char path[RING_NAME_MAX + 2];
    struct ring *header = NULL;
    int fd, error;

    path[0] = '/';
    strcpy(path + 1, name);
    if ((fd = shm_open(path, O_RDWR | O_CREAT | O_EXCL, 0600)) == -1)
        return RING_SYSTEM;
    if (reserve(fd, capacity) == 0 && (header = map_length(fd, sizeof *header)) != NULL) {
        sem_init(&header->spaces, 1, capacity);
        sem_init(&header->items, 1, 0);
        sem_init(&header->mutex, 1, 1);
        STORE(header->unbounded, unbounded);
        STORE(header->capacity, capacity);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        STORE(header->magic, RING_MAGIC);
    }
    error = errno;
    if (header == NULL)
        shm_unlink(path);
    else
        munmap(header, sizeof *header);
    close(fd);
    errno = error;
    return header == NULL ? RING_SYSTEM : RING_OK;
}

enum ring_status ring_destroy(const char *name)
{
    char path[RING_NAME_MAX + 2];

    path[0] = '/';
    strcpy(path + 1, name);
    return shm_unlink(path) == 0 ? RING_OK : RING_SYSTEM;
}

enum ring_status ring_open(struct ring_view **view, const char *name)
{
    char path[RING_NAME_MAX + 2];
    struct ring_view *v = malloc(sizeof *v);
    enum ring_status status = RING_WRONG;
    uint32_t capacity;
    int error;

    path[0] = '/';
    strcpy(path + 1, name);
    if (v == NULL)
        return RING_SYSTEM;
    *v = (struct ring_view){.fd = shm_open(path, O_RDWR, 0)};
    if (v->fd == -1) {
        status = RING_SYSTEM;
        goto refused;
    }
    if (!holds(v->fd, 0))
        goto refused;
    v->header = map_length(v->fd, sizeof *v->header);
    if (v->header == NULL) {
        status = RING_SYSTEM;
        goto refused;
    }
    if (LOAD(v->header->magic) != RING_MAGIC)
        goto refused;
    capacity = LOAD(v->header->capacity);
    if (!possible(capacity) || !holds(v->fd, capacity))
        goto refused;
    v->bounded = !LOAD(v->header->unbounded);
    *view = v;
    return RING_OK;

refused:
    error = errno;
    ring_close(v);
    errno = error;
    return status;
}

void ring_close(struct ring_view *v)
{
    if (v->body != NULL)
        munmap(v->body, length_for(v->reachable));
    if (v->header != NULL)
        munmap(v->header, sizeof *v->header);
    if (v->fd != -1)
        close(v->fd);
    free(v);
}

void ring_info(const struct ring_view *v, struct ring_info *info)
{
    info->capacity = LOAD(v->header->capacity);
    info->unbounded = LOAD(v->header->unbounded);
    info->producers = LOAD(v->header->producers);
    info->closed = LOAD(v->header->closed);
    info->head = LOAD(v->header->head);
    info->tail = LOAD(v->header->tail);
}

/* Under the mutex: are the counters possible, and the capacity? */
static bool sound(const struct ring_view *v)
{
    uint32_t capacity = v->header->capacity;

    return possible(capacity) && v->header->tail - v->header->head <= capacity &&
           (capacity <= v->reachable || holds(v->fd, capacity));
}

enum ring_status ring_attach(struct ring_view *v)
{
    enum ring_status status = RING_OK;

    decrement(&v->header->mutex);
    if (v->header->closed)
        status = RING_CLOSED;
    else if (!sound(v))
        status = RING_BROKEN;
    else
        v->header->producers++;
    sem_post(&v->header->mutex);
    return status;
}

enum ring_status ring_detach(struct ring_view *v)
{
    bool last;

    decrement(&v->header->mutex);
    last = v->header->producers-- == 1;
    if (last)
        v->header->closed = 1;
    sem_post(&v->header->mutex);
    if (last)
        sem_post(&v->header->items);
    return RING_OK;
}

static enum ring_status enlarge(struct ring_view *v)
{
    uint32_t old = v->header->capacity;

    if (2 * old > RING_CAPACITY_MAX)
        return RING_LIMIT;
    if (reserve(v->fd, 2 * old) != 0 || !reach(v, 2 * old))
        return RING_SYSTEM;
    memcpy(&v->body->item[old], &v->body->item[0], old * sizeof v->body->item[0]);
    STORE(v->header->capacity, 2 * old);
    return RING_OK;
}

enum ring_status ring_put(struct ring_view *v, const char *data, size_t len)
{
    struct ring *h = v->header;
    struct ring_item whole = {.len = (uint32_t)len};
    enum ring_status status = RING_OK;
    int error;

    memcpy(whole.data, data, len);
    if (v->bounded)
        decrement(&h->spaces);
    decrement(&h->mutex);
    if (!sound(v) || (v->bounded && h->tail - h->head == h->capacity))
        status = RING_BROKEN;
    else if (h->tail - h->head == h->capacity)
        status = enlarge(v);
    if (status == RING_OK && !reach(v, h->capacity))
        status = RING_SYSTEM;
    if (status == RING_OK) {
        v->body->item[h->tail % h->capacity] = whole;
        STORE(h->tail, h->tail + 1);
    }
    error = errno;
    sem_post(&h->mutex);
    if (status == RING_OK)
        sem_post(&h->items);
    else if (v->bounded)
        sem_post(&h->spaces);
    errno = error;
    return status;
}

enum ring_status ring_take(struct ring_view *v, struct ring_item *item)
{
    struct ring *h = v->header;
    enum ring_status status = RING_OK;
    int error;

    decrement(&h->items);
    decrement(&h->mutex);
    if (!sound(v))
        status = RING_BROKEN;
    else if (h->head == h->tail)
        status = h->closed ? RING_END : RING_BROKEN;
    else if (!reach(v, h->capacity))
        status = RING_SYSTEM;
    if (status == RING_OK) {
        memcpy(item, &v->body->item[h->head % h->capacity], sizeof *item);
        if (item->len > RING_ITEM_MAX)
            status = RING_BROKEN;
        else
            STORE(h->head, h->head + 1);
    }
    error = errno;
    if (status == RING_OK && v->bounded)
        sem_post(&h->spaces);
    sem_post(&h->mutex);
    if (status != RING_OK)
        sem_post(&h->items);
    errno = error;
    return status;
}
