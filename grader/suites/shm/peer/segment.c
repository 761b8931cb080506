/* segment.c - the grader's own code for a ring's layout and protocol. */
#include "suites/shm/peer/segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "harness/harness.h"
#include "support/fsids.h"

enum { NAMES_MAX = 64, FIELDS_END = AT_MUTEX, FILL_MAX = 64, SNAPSHOT_MAX = 1 << 20 };

/* ---- whose objects they are ---- */

static struct stat slot; /* the test's folder: its owner is the slot */

/* Objects are made and opened with the slot's ids, so that its programs can have them. */
static struct fsids act_as_slot(void)
{
    if (stat(test_directory(), &slot) != 0)
        suite_failed("cannot look at", test_directory());
    return fsids_take(slot.st_uid, slot.st_gid);
}

static const char *with_slash(const char *name)
{
    return text("/%s", name);
}

static char *names[NAMES_MAX]; /* to be removed at the end */
static size_t name_count;

static void remove_names(void)
{
    const struct fsids ours = act_as_slot();
    while (name_count > 0) {
        shm_unlink(names[--name_count]);
        free(names[name_count]);
    }
    fsids_restore(&ours);
}

static void remember_name(const char *name)
{
    if (name_count == NAMES_MAX)
        suite_failed("too many names", name);
    names[name_count++] = strdup(with_slash(name));
    test_at_end(remove_names);
}

const char *ring_name(struct random *r)
{
    const char *name = object_name(r);
    remember_name(name);
    return name;
}

const char *ring_named(const char *name)
{
    remember_name(name);
    return name;
}

const char *ring_longest(const char *begin, char last)
{
    char *name = (char *)text("%s%*s", begin, (int)NAME_MAX - (int)strlen(begin), "");
    memset(name + strlen(begin), 'n', NAME_MAX - strlen(begin));
    name[NAME_MAX - 1] = last;
    return ring_named(name);
}

size_t ring_bytes(uint32_t capacity)
{
    return HEADER_SIZE + (size_t)capacity * ITEM_SIZE;
}

/* ---- objects that are cut off under us ---- */

/*
 * A program may make an object shorter that we have mapped: touching what is gone is SIGBUS, and
 * that would be the worker's end. So an empty page is put in its place, the access goes on, and the
 * test fails as soon as we are out of the handler.
 */
static volatile sig_atomic_t cut_off;

static void on_bus_error(int signal, siginfo_t *info, void *context)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    void *at = (void *)((uintptr_t)info->si_addr & ~(page - 1));
    (void)context;
    if (mmap(at, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
        MAP_FAILED)
        _exit(128 + signal);
    cut_off = 1;
}

static void survive_cuts(void)
{
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
    cut_off = 0;
    if (sigaction(SIGBUS, &action, NULL) != 0)
        suite_failed("cannot handle", "SIGBUS");
}

static void check_whole(void)
{
    if (cut_off)
        test_fail("an object keeps its length, or grows: others have mapped all of it",
                  "it was made shorter, and the grader, who has it mapped, got SIGBUS");
}

/* ---- the object ---- */

static void map(struct segment *s, size_t size)
{
    if (s->at != NULL)
        munmap(s->at, s->mapped);
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
    if (at == MAP_FAILED)
        suite_failed("cannot map", s->name);
    s->at = at;
    s->mapped = size;
}

static struct segment *segment_new(const char *name, int fd)
{
    survive_cuts();
    struct segment *s = calloc(1, sizeof *s);
    if (s == NULL)
        suite_failed("no memory for", name);
    s->name = name;
    s->fd = fd;
    return s;
}

struct segment *segment_zero(const char *name, size_t size)
{
    const struct fsids ours = act_as_slot();
    int fd = shm_open(with_slash(name), O_RDWR | O_CREAT | O_EXCL, 0600);
    fsids_restore(&ours);
    if (fd < 0 || ftruncate(fd, (off_t)size) != 0)
        suite_failed("cannot make", name);
    struct segment *s = segment_new(name, fd);
    if (size > 0)
        map(s, size);
    return s;
}

void segment_init(struct segment *s, uint32_t capacity, bool unbounded)
{
    set32(s, AT_CAPACITY, capacity);
    set32(s, AT_UNBOUNDED, unbounded);
    sem_set(s, AT_MUTEX, 1);
    sem_set(s, AT_ITEMS, 0);
    sem_set(s, AT_SPACES, capacity);
    set32(s, AT_MAGIC, MAGIC);
}

struct segment *segment_make(const char *name, uint32_t capacity, bool unbounded)
{
    size_t size = ring_bytes(capacity);
    struct segment *s = segment_zero(name, size);
    if (posix_fallocate(s->fd, 0, (off_t)size) != 0)
        suite_failed("no shared memory for", name);
    segment_init(s, capacity, unbounded);
    return s;
}

struct segment *segment_open(const char *name, const char *what)
{
    const struct fsids ours = act_as_slot();
    int fd = shm_open(with_slash(name), O_RDWR, 0);
    fsids_restore(&ours);
    if (fd < 0)
        test_fail(what, text("there is no object '%s' in /dev/shm", name));
    struct segment *s = segment_new(name, fd);
    size_t size = segment_size(s);
    if (size < HEADER_SIZE)
        test_fail(what, text("the object has %zu bytes; the header alone needs %d", size,
                             (int)HEADER_SIZE));
    map(s, size);
    return s;
}

bool segment_there(const char *name)
{
    struct stat st;
    return lstat(text("/dev/shm/%s", name), &st) == 0;
}

void segment_unlink(const char *name)
{
    const struct fsids ours = act_as_slot();
    if (shm_unlink(with_slash(name)) != 0)
        suite_failed("cannot remove", name);
    fsids_restore(&ours);
}

size_t segment_size(const struct segment *s)
{
    struct stat st;
    if (fstat(s->fd, &st) != 0)
        suite_failed("cannot look at", s->name);
    return (size_t)st.st_size;
}

size_t segment_memory(const struct segment *s)
{
    struct stat st;
    if (fstat(s->fd, &st) != 0)
        suite_failed("cannot look at", s->name);
    return (size_t)st.st_blocks * 512;
}

uint32_t capacity_with_rest(uint32_t at_least)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint32_t capacity = at_least + at_least % 2;
    while ((ring_bytes(capacity) - 1) / page == (ring_bytes(capacity) - HEADER_SIZE - 1) / page)
        capacity += 2;
    return capacity;
}

void segment_resize(struct segment *s, size_t size)
{
    if (ftruncate(s->fd, (off_t)size) != 0)
        suite_failed("cannot change the length of", s->name);
}

/* By its owner: in a container root may not change the mode of what is another's. */
void segment_shut(struct segment *s)
{
    const struct fsids ours = act_as_slot();
    int failed = fchmod(s->fd, 0);
    fsids_restore(&ours);
    if (failed)
        suite_failed("cannot change the mode of", s->name);
}

size_t segment_names(void)
{
    if (geteuid() != 0 && !own_shared_memory())
        test_not_measured("a /dev/shm, or a user, of the test's own, whose names can be told from "
                          "others' (`ipclab doctor` says what is missing)");
    DIR *dir = opendir("/dev/shm");
    size_t count = 0;
    struct stat st;
    if (dir == NULL || stat(test_directory(), &slot) != 0)
        suite_failed("cannot list", "/dev/shm");
    for (const struct dirent *e; (e = readdir(dir)) != NULL;)
        if (e->d_name[0] != '.' && strncmp(e->d_name, "bxfi_", 5) != 0 &&
            fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            st.st_uid == slot.st_uid)
            count++;
    closedir(dir);
    return count;
}

/* ---- fields and semaphores ---- */

uint32_t get32(const struct segment *s, enum field at)
{
    uint32_t value =
        __atomic_load_n((const uint32_t *)(const void *)(s->at + at), __ATOMIC_ACQUIRE);
    check_whole();
    return value;
}

uint64_t get64(const struct segment *s, enum field at)
{
    uint64_t value =
        __atomic_load_n((const uint64_t *)(const void *)(s->at + at), __ATOMIC_ACQUIRE);
    check_whole();
    return value;
}

void set32(struct segment *s, enum field at, uint32_t value)
{
    __atomic_store_n((uint32_t *)(void *)(s->at + at), value, __ATOMIC_RELEASE);
}

void set64(struct segment *s, enum field at, uint64_t value)
{
    __atomic_store_n((uint64_t *)(void *)(s->at + at), value, __ATOMIC_RELEASE);
}

static sem_t *semaphore(const struct segment *s, enum field at)
{
    return (sem_t *)(void *)(s->at + at);
}

static const char *semaphore_name(enum field at)
{
    return at == AT_MUTEX ? "mutex" : at == AT_ITEMS ? "items" : "spaces";
}

int sem_value(const struct segment *s, enum field at)
{
    int value;
    if (sem_getvalue(semaphore(s, at), &value) != 0)
        suite_failed("no value of", semaphore_name(at));
    check_whole();
    return value;
}

void sem_give(struct segment *s, enum field at)
{
    if (sem_post(semaphore(s, at)) != 0)
        test_fail(text("'%s' has a value that can be raised", semaphore_name(at)),
                  text("sem_post: %s", strerror(errno)));
    check_whole();
}

bool sem_take(struct segment *s, enum field at)
{
    bool taken = sem_trywait(semaphore(s, at)) == 0;
    check_whole();
    return taken;
}

void sem_set(struct segment *s, enum field at, unsigned value)
{
    if (sem_init(semaphore(s, at), 1, value) != 0)
        suite_failed("cannot set", semaphore_name(at));
}

struct token {
    struct segment *s;
    enum field at;
};

static bool token_taken(void *context)
{
    const struct token *t = context;
    return sem_take(t->s, t->at);
}

static void wait_token(struct segment *s, enum field at, const char *what)
{
    struct token t = {s, at};
    wait_until(token_taken, &t, what);
}

/* ---- the protocol ---- */

void segment_lock(struct segment *s)
{
    static const struct about waiting = {
        "Step 4: waiting",
        "Byte 40 of the ring is mutex, 72 is items, 104 is spaces: who waits at one of the last "
        "two and still holds mutex? Or does somebody take it and never post it?"};
    const struct about *before = test_about(&waiting);
    wait_token(s, AT_MUTEX,
               "'mutex' can be had: whoever takes it posts it again, and nobody waits "
               "for anything else meanwhile");
    test_about(before);
}

void segment_unlock(struct segment *s)
{
    sem_give(s, AT_MUTEX);
}

unsigned char *segment_item(struct segment *s, uint64_t n)
{
    uint32_t capacity = get32(s, AT_CAPACITY);
    const char *what = "the ring's 'capacity' is 1 to 1048576, and its object is long enough for "
                       "so many items";
    if (capacity < 1 || capacity > CAPACITY_MAX || segment_size(s) < ring_bytes(capacity))
        test_fail(what, text("capacity %" PRIu32 ", and %zu bytes in the object", capacity,
                             segment_size(s)));
    if (s->mapped < ring_bytes(capacity))
        map(s, segment_size(s));
    return s->at + AT_ITEM + (n % capacity) * ITEM_SIZE;
}

void item_write(struct segment *s, uint64_t n, const void *bytes, size_t len)
{
    unsigned char *item = segment_item(s, n);
    uint32_t length = (uint32_t)len;
    memcpy(item, &length, sizeof length);
    memcpy(item + sizeof length, bytes, len);
    check_whole();
}

static const char *item_read(struct segment *s, uint64_t n, size_t *len, const char *what)
{
    const unsigned char *item = segment_item(s, n);
    uint32_t length;
    memcpy(&length, item, sizeof length);
    if (length > ITEM_MAX)
        test_fail(what, text("item %" PRIu64 " has the length %" PRIu32 ", more than %d", n, length,
                             (int)ITEM_MAX));
    char *bytes = (char *)text("%*s", (int)length, "");
    memcpy(bytes, item + sizeof length, length);
    bytes[length] = '\0';
    check_whole();
    *len = length;
    return bytes;
}

void expect_item(struct segment *s, uint64_t n, const void *bytes, size_t len, const char *what)
{
    uint32_t capacity = get32(s, AT_CAPACITY);
    size_t got_len;
    const char *expected =
        text("%s: item number %" PRIu64 " is at item[%" PRIu64 "], %zu bytes: %s", what, n,
             n % (capacity > 0 ? capacity : 1), len, quoted(bytes, len, 60));
    const char *got = item_read(s, n, &got_len, expected);
    if (got_len != len || memcmp(got, bytes, len) != 0)
        test_fail(expected, text("%zu bytes: %s", got_len, quoted(got, got_len, 60)));
}

void segment_append(struct segment *s, const void *bytes, size_t len)
{
    uint64_t tail = get64(s, AT_TAIL);
    item_write(s, tail, bytes, len);
    set64(s, AT_TAIL, tail + 1);
}

const char *segment_remove(struct segment *s, size_t *len)
{
    uint64_t head = get64(s, AT_HEAD);
    const char *bytes = item_read(s, head, len, "whole items in the ring");
    set64(s, AT_HEAD, head + 1);
    return bytes;
}

void segment_grow(struct segment *s)
{
    segment_item(s, 0); /* the capacity is possible */
    uint32_t old = get32(s, AT_CAPACITY);
    uint64_t head = get64(s, AT_HEAD), tail = get64(s, AT_TAIL);
    if (posix_fallocate(s->fd, 0, (off_t)ring_bytes(2 * old)) != 0)
        suite_failed("no shared memory for", s->name);
    map(s, segment_size(s));
    unsigned char *items = s->at + AT_ITEM;
    for (uint64_t n = head; n != tail; n++)
        if (n % (2 * old) != n % old)
            memcpy(items + n % (2 * old) * ITEM_SIZE, items + n % old * ITEM_SIZE, ITEM_SIZE);
    set32(s, AT_CAPACITY, 2 * old);
}

void segment_put(struct segment *s, const void *bytes, size_t len)
{
    bool unbounded = get32(s, AT_UNBOUNDED) != 0;
    if (!unbounded)
        wait_token(s, AT_SPACES, "a space comes: a consumer posts 'spaces' for each item it takes");
    segment_lock(s);
    if (unbounded && get64(s, AT_TAIL) - get64(s, AT_HEAD) == get32(s, AT_CAPACITY))
        segment_grow(s);
    segment_append(s, bytes, len);
    segment_unlock(s);
    sem_give(s, AT_ITEMS);
}

void segment_put_text(struct segment *s, const char *bytes)
{
    segment_put(s, bytes, strlen(bytes));
}

const char *segment_take(struct segment *s, size_t *len)
{
    wait_token(s, AT_ITEMS, "an item comes: a producer posts 'items' for each item it puts");
    segment_lock(s);
    EXPECT(get64(s, AT_HEAD) != get64(s, AT_TAIL),
           "there is an item in the ring for each token of 'items'",
           text("a token and an empty ring (head and tail are %" PRIu64 ")", get64(s, AT_TAIL)));
    const char *bytes = segment_remove(s, len);
    segment_unlock(s);
    if (get32(s, AT_UNBOUNDED) == 0)
        sem_give(s, AT_SPACES);
    return bytes;
}

void segment_attach(struct segment *s)
{
    segment_lock(s);
    set32(s, AT_PRODUCERS, get32(s, AT_PRODUCERS) + 1);
    segment_unlock(s);
}

void segment_detach(struct segment *s)
{
    segment_lock(s);
    uint32_t left = get32(s, AT_PRODUCERS) - 1;
    set32(s, AT_PRODUCERS, left);
    if (left == 0)
        set32(s, AT_CLOSED, 1);
    segment_unlock(s);
    if (left == 0)
        sem_give(s, AT_ITEMS);
}

/* ---- snapshots ---- */

/* So much of an object of `size` bytes is compared: what is mapped, and not the holes behind it. */
static size_t compared(const struct segment *s, size_t size)
{
    size = size < s->mapped ? size : s->mapped;
    return size < SNAPSHOT_MAX ? size : (size_t)SNAPSHOT_MAX;
}

struct snapshot segment_snapshot(const struct segment *s)
{
    struct snapshot snapshot = {.size = segment_size(s)};
    size_t size = compared(s, snapshot.size);
    snapshot.bytes = malloc(size + 1);
    if (snapshot.bytes == NULL)
        suite_failed("no memory for a copy of", s->name);
    if (size > 0)
        memcpy(snapshot.bytes, s->at, size);
    return snapshot; /* until the worker ends */
}

static const char *place_of(size_t at)
{
    static const struct {
        enum field begins;
        const char *name;
    } fields[] = {{AT_MAGIC, "magic"},
                  {AT_CAPACITY, "capacity"},
                  {AT_UNBOUNDED, "unbounded"},
                  {AT_PRODUCERS, "producers"},
                  {AT_CLOSED, "closed"},
                  {AT_HEAD, "head"},
                  {AT_TAIL, "tail"}};
    if (at >= AT_ITEM)
        return text("item[%zu]", (at - AT_ITEM) / ITEM_SIZE);
    size_t i = 0;
    while (i + 1 < sizeof fields / sizeof *fields && at >= (size_t)fields[i + 1].begins)
        i++;
    return text("'%s'", fields[i].name);
}

void expect_unchanged(struct segment *s, const struct snapshot *before, const char *what)
{
    size_t size = segment_size(s);
    EXPECT(size == before->size, what,
           text("the object has %zu bytes now, and had %zu", size, before->size));
    size = compared(s, size);
    for (size_t at = 0; at < size; at++) {
        if (at == FIELDS_END)
            at = AT_ITEM;
        if (at < size && s->at[at] != before->bytes[at])
            test_fail(what, text("%s has changed", place_of(at)));
    }
}

/* ---- /dev/shm without room ---- */

static int fillers[FILL_MAX];
static size_t filler_count;

void shared_memory_free(void)
{
    while (filler_count > 0)
        close(fillers[--filler_count]);
}

void shared_memory_fill(size_t left)
{
    if (!own_shared_memory())
        test_not_measured("a /dev/shm of the test's own, which it may fill: namespaces, or a "
                          "container with at most 64 MiB (`ipclab doctor` says what is missing)");
    const char *name = "/filler-of-the-grader";
    int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd < 0 || shm_unlink(name) != 0)
        suite_failed("cannot make", name);
    fillers[filler_count++] = fd;
    test_at_end(shared_memory_free);
    /* Ever smaller pieces, until not even a page is left. */
    struct statvfs fs;
    if (fstatvfs(fd, &fs) != 0)
        suite_failed("cannot look at", "/dev/shm");
    off_t filled = 0, room = (off_t)(fs.f_bavail * fs.f_frsize), page = (off_t)fs.f_frsize;
    off_t keep = ((off_t)left + page - 1) / page * page;
    if (room > keep && posix_fallocate(fd, 0, room - keep) == 0)
        filled = room - keep;
    for (off_t piece = left > 0 ? 0 : (off_t)1 << 20; piece >= page; piece /= 2)
        while (posix_fallocate(fd, filled, piece) == 0)
            filled += piece;
}
