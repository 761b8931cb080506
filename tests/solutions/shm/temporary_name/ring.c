/* Right, but different: a temporary name and renameat2(NOREPLACE); memory reserved by writing
 * zeros; sem_trywait first; posts in the other order; signals blocked in the critical section;
 * mremap; MAP_POPULATE; reserves four times as much; info by pread; a SIGBUS handler; a large
 * malloc. */
#define _GNU_SOURCE
#include "ring.h"
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct ring_view {
    int fd;
    struct ring *r;
    size_t size;
    sigset_t before;
    char *spare;
};

static size_t bytes(uint32_t c)
{
    return sizeof(struct ring) + (size_t)c * sizeof(struct ring_item);
}

static void on_bus(int s)
{
    (void)s;
    static const char m[] = "ring: the object was cut\n";
    if (write(2, m, sizeof m - 1) < 0)
        _exit(1);
    _exit(1);
}

static void down(sem_t *s)
{
    if (sem_trywait(s) == 0)
        return;
    while (sem_wait(s) != 0 && errno == EINTR)
        ;
}

static int zeros(int fd, size_t from, size_t to)
{
    static const char page[65536];
    while (from < to) {
        size_t n = to - from < sizeof page ? to - from : sizeof page;
        ssize_t w = pwrite(fd, page, n, (off_t)from);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return -1;
        from += (size_t)w;
    }
    return 0;
}

enum ring_status ring_create(const char *name, uint32_t capacity, bool unbounded)
{
    char path[300], temp[300];
    struct ring *r;
    int fd, e;
    snprintf(path, sizeof path, "/dev/shm/%s", name);
    snprintf(temp, sizeof temp, "/dev/shm/.ring-%d", (int)getpid());
    fd = open(temp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    if (fd < 0)
        return RING_SYSTEM;
    if (zeros(fd, 0, bytes(capacity)) < 0)
        goto bad;
    r = mmap(NULL, bytes(capacity), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (r == MAP_FAILED)
        goto bad;
    r->capacity = capacity;
    r->unbounded = unbounded;
    sem_init(&r->spaces, 1, capacity);
    sem_init(&r->items, 1, 0);
    sem_init(&r->mutex, 1, 1);
    __atomic_store_n(&r->magic, RING_MAGIC, __ATOMIC_SEQ_CST);
    munmap(r, bytes(capacity));
    if (renameat2(AT_FDCWD, temp, AT_FDCWD, path, RENAME_NOREPLACE) != 0)
        goto bad;
    close(fd);
    return RING_OK;
bad:
    e = errno;
    close(fd);
    unlink(temp);
    errno = e;
    return RING_SYSTEM;
}

enum ring_status ring_destroy(const char *name)
{
    char path[300];
    snprintf(path, sizeof path, "/dev/shm/%s", name);
    return unlink(path) == 0 ? RING_OK : RING_SYSTEM;
}

/* capacity first, size afterwards */
static enum ring_status refresh(struct ring_view *v)
{
    struct stat st;
    uint32_t c = __atomic_load_n(&v->r->capacity, __ATOMIC_ACQUIRE);
    if (c < 1 || c > RING_CAPACITY_MAX)
        return RING_WRONG;
    if (fstat(v->fd, &st) != 0)
        return RING_SYSTEM;
    if ((size_t)st.st_size < bytes(c))
        return RING_WRONG;
    if (bytes(c) > v->size) {
        void *p = mremap(v->r, v->size, bytes(c), MREMAP_MAYMOVE);
        if (p == MAP_FAILED)
            return RING_SYSTEM;
        v->r = p;
        v->size = bytes(c);
    }
    return RING_OK;
}

enum ring_status ring_open(struct ring_view **view, const char *name)
{
    struct ring_view *v = calloc(1, sizeof *v);
    struct stat st;
    char path[300];
    enum ring_status s = RING_SYSTEM;
    if (v == NULL || (v->spare = malloc(1 << 20)) == NULL) {
        free(v);
        return RING_SYSTEM;
    }
    signal(SIGBUS, on_bus);
    snprintf(path, sizeof path, "/%s", name);
    v->fd = shm_open(path, O_RDWR | O_NOFOLLOW, 0);
    if (v->fd >= 0 && fstat(v->fd, &st) == 0) {
        s = RING_WRONG;
        if (st.st_size >= (off_t)sizeof(struct ring)) {
            v->size = sizeof(struct ring);
            v->r = mmap(NULL, v->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, v->fd, 0);
            if (v->r == MAP_FAILED) {
                v->r = NULL;
                s = RING_SYSTEM;
            } else if (__atomic_load_n(&v->r->magic, __ATOMIC_ACQUIRE) == RING_MAGIC)
                s = refresh(v);
        }
    }
    if (s == RING_OK) {
        *view = v;
        return s;
    }
    int e = errno;
    ring_close(v);
    errno = e;
    return s;
}

void ring_close(struct ring_view *v)
{
    if (v->r != NULL)
        munmap(v->r, v->size);
    if (v->fd >= 0)
        close(v->fd);
    free(v->spare);
    free(v);
}

void ring_info(const struct ring_view *v, struct ring_info *info)
{
    struct ring h;
    if (pread(v->fd, &h, sizeof h, 0) != sizeof h)
        memcpy(&h, v->r, sizeof h);
    *info = (struct ring_info){h.capacity, h.unbounded, h.producers, h.closed, h.head, h.tail};
}

static void unlock(struct ring_view *v)
{
    int e = errno;
    sem_post(&v->r->mutex);
    sigprocmask(SIG_SETMASK, &v->before, NULL);
    errno = e;
}

static void enter(struct ring_view *v)
{
    sigset_t all;
    down(&v->r->mutex);
    sigfillset(&all);
    sigdelset(&all, SIGBUS);
    sigprocmask(SIG_BLOCK, &all, &v->before);
}

static enum ring_status lock(struct ring_view *v)
{
    enter(v);
    enum ring_status s = refresh(v);
    if (s == RING_OK && v->r->tail - v->r->head > v->r->capacity)
        s = RING_BROKEN;
    if (s == RING_WRONG)
        s = RING_BROKEN;
    if (s != RING_OK)
        unlock(v);
    return s;
}

enum ring_status ring_attach(struct ring_view *v)
{
    enum ring_status s = lock(v);
    if (s != RING_OK)
        return s;
    if (v->r->closed)
        s = RING_CLOSED;
    else
        v->r->producers++;
    unlock(v);
    return s;
}

enum ring_status ring_detach(struct ring_view *v)
{
    enter(v);
    if (--v->r->producers == 0) {
        v->r->closed = 1;
        sem_post(&v->r->items);
    }
    unlock(v);
    return RING_OK;
}

static enum ring_status grow(struct ring_view *v)
{
    uint32_t c = v->r->capacity;
    struct stat st;
    if (c > RING_CAPACITY_MAX / 2)
        return RING_LIMIT;
    /* twice as much is needed; more is tried for */
    if (zeros(v->fd, bytes(c), bytes(2 * c)) < 0)
        return RING_SYSTEM;
    if (fstat(v->fd, &st) == 0 && (size_t)st.st_size < bytes(4 * c))
        (void)!fallocate(v->fd, 0, 0, (off_t)bytes(4 * c));
    void *p = mremap(v->r, v->size, bytes(2 * c), MREMAP_MAYMOVE);
    if (p == MAP_FAILED)
        return RING_SYSTEM;
    v->r = p;
    v->size = bytes(2 * c);
    for (uint64_t n = v->r->head; n < v->r->tail; n++)
        memmove(&v->r->item[n % (2 * c)], &v->r->item[n % c], sizeof(struct ring_item));
    __atomic_store_n(&v->r->capacity, 2 * c, __ATOMIC_SEQ_CST);
    return RING_OK;
}

enum ring_status ring_put(struct ring_view *v, const char *data, size_t len)
{
    bool bounded = !v->r->unbounded;
    enum ring_status s;
    if (bounded)
        down(&v->r->spaces);
    s = lock(v);
    if (s == RING_OK && v->r->tail - v->r->head == v->r->capacity) {
        s = bounded ? RING_BROKEN : grow(v);
        if (s != RING_OK)
            unlock(v);
    }
    if (s != RING_OK) {
        int e = errno;
        if (bounded)
            sem_post(&v->r->spaces);
        errno = e;
        return s;
    }
    struct ring_item *it = &v->r->item[v->r->tail % v->r->capacity];
    memset(it->data + len, 0, RING_ITEM_MAX - len);
    memcpy(it->data, data, len);
    it->len = (uint32_t)len;
    v->r->tail++;
    sem_post(&v->r->items);
    unlock(v);
    return RING_OK;
}

enum ring_status ring_take(struct ring_view *v, struct ring_item *item)
{
    bool bounded = !v->r->unbounded;
    down(&v->r->items);
    enum ring_status s = lock(v);
    if (s != RING_OK) {
        sem_post(&v->r->items);
        return s;
    }
    if (v->r->head == v->r->tail)
        s = RING_END;
    else {
        memcpy(item, &v->r->item[v->r->head % v->r->capacity], sizeof *item);
        if (item->len > RING_ITEM_MAX)
            s = RING_BROKEN;
    }
    if (s != RING_OK)
        sem_post(&v->r->items);
    else {
        v->r->head++;
        if (bounded)
            sem_post(&v->r->spaces);
    }
    unlock(v);
    return s;
}
