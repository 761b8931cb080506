/*
 * segment.h - the grader's side of a ring: its own code for the layout and the protocol.
 *
 * Written from the contract (labs.md, the table of offsets in the handout), not from ring.h: a
 * mistake there must not hide in both. With it a test plays the creator, a producer, a consumer or
 * a bystander on the mapped object, holds `mutex`, looks at the semaphores and the fields while a
 * program waits.
 *
 * Nothing here blocks: a token is waited for with wait_until(), so that the programs of the test
 * are fed and drained meanwhile, and a program that keeps `mutex` is a message and no hang. What a
 * program may have written is checked before it is followed. Objects belong to the slot's uid, lie
 * in /dev/shm and are removed when the test ends. Everything else lives until the worker ends.
 */
#ifndef SHM_PEER_SEGMENT_H
#define SHM_PEER_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "harness/random.h"

enum {
    MAGIC = 0x474E4952, /* "RING" in memory */
    CAPACITY_MAX = 1048576,
    ITEM_MAX = 256,
    HEADER_SIZE = 136,
    ITEM_SIZE = 260,
};

/* Where each field begins. */
enum field {
    AT_MAGIC = 0,
    AT_CAPACITY = 4,
    AT_UNBOUNDED = 8,
    AT_PRODUCERS = 12,
    AT_CLOSED = 16,
    AT_HEAD = 24, /* 64 bits, as tail */
    AT_TAIL = 32,
    AT_MUTEX = 40, /* semaphores of 32 bytes */
    AT_ITEMS = 72,
    AT_SPACES = 104,
    AT_ITEM = HEADER_SIZE,
};

struct segment {
    const char *name; /* as in arguments: without a slash */
    int fd;
    unsigned char *at;
    size_t mapped;
};

/* A name for a ring, from the seed. */
const char *ring_name(struct random *r);
/* This one, which the test has made up: what has it is removed at the end, too. */
const char *ring_named(const char *name);
/* The same, as long as a name can be: it begins with `begin` and ends with `last`. */
const char *ring_longest(const char *begin, char last);
/* Where items must stand for this capacity: header and items. */
size_t ring_bytes(uint32_t capacity);

/* ---- the object ---- */

/* A ring as a right creator makes it: empty, open, no producers, ready. */
struct segment *segment_make(const char *name, uint32_t capacity, bool unbounded);
/* An object of `size` zero bytes, which is no ring yet. */
struct segment *segment_zero(const char *name, size_t size);
/* Fills in what a creator does, for segment_zero(): all but the length. */
void segment_init(struct segment *s, uint32_t capacity, bool unbounded);
/* Opens what a program made; fails with `what` ("ring create makes the object") if it is not there
 * or shorter than the header. */
struct segment *segment_open(const char *name, const char *what);
/* The object's name is there. */
bool segment_there(const char *name);
void segment_unlink(const char *name);
size_t segment_size(const struct segment *s);
/* How many bytes of memory are behind the object: whole pages. */
size_t segment_memory(const struct segment *s);
/* A capacity, twice or more `at_least`, at which the last page has nothing but the end of the last
 * item, and less of it than the header is long: forgotten if the header is not counted. */
uint32_t capacity_with_rest(uint32_t at_least);
/* Changes the object's length, and nothing else: what lies behind it must not be looked at. */
void segment_resize(struct segment *s, size_t size);
/* Mode 0: no program can open it. */
void segment_shut(struct segment *s);
/* How many names in /dev/shm belong to the slot; not measured where that can't be told. */
size_t segment_names(void);

/* ---- fields and semaphores, as they are at this moment ---- */

uint32_t get32(const struct segment *s, enum field at);
uint64_t get64(const struct segment *s, enum field at);
void set32(struct segment *s, enum field at, uint32_t value);
void set64(struct segment *s, enum field at, uint64_t value);
int sem_value(const struct segment *s, enum field at);
void sem_give(struct segment *s, enum field at);
/* Takes a token without waiting; false when there is none. */
bool sem_take(struct segment *s, enum field at);
/* Sets a semaphore nobody waits for. */
void sem_set(struct segment *s, enum field at, unsigned value);

/* ---- the protocol, step by step ---- */

/* Waits for `mutex`; whoever has it for good fails the test. */
void segment_lock(struct segment *s);
void segment_unlock(struct segment *s);

/* Item number `n` in its place for the present capacity; the mapping follows a growth. */
unsigned char *segment_item(struct segment *s, uint64_t n);
void item_write(struct segment *s, uint64_t n, const void *bytes, size_t len);
/* Fails, as `what`, unless item `n` is `bytes`. */
void expect_item(struct segment *s, uint64_t n, const void *bytes, size_t len, const char *what);

/* Under `mutex`: writes the next item, `tail` + 1. No semaphore is touched. */
void segment_append(struct segment *s, const void *bytes, size_t len);
/* Under `mutex`: reads the oldest item, `head` + 1; its text with its length. */
const char *segment_remove(struct segment *s, size_t *len);
/* Under `mutex`: twice the capacity, items in their new places. */
void segment_grow(struct segment *s);

/* The whole of put and take. An unbounded ring grows when it is full. */
void segment_put(struct segment *s, const void *bytes, size_t len);
void segment_put_text(struct segment *s, const char *bytes);
const char *segment_take(struct segment *s, size_t *len);
void segment_attach(struct segment *s);
void segment_detach(struct segment *s); /* the last one closes and posts `items` once */

/* ---- "changes nothing": every field but the semaphores, and all items ---- */

struct snapshot {
    size_t size; /* of the object */
    unsigned char *bytes;
};
struct snapshot segment_snapshot(const struct segment *s);
/* Fails, as `what`, when a byte is another one now; the semaphores are left out. */
void expect_unchanged(struct segment *s, const struct snapshot *before, const char *what);

/* ---- /dev/shm without room ---- */

/* Takes all the memory that is left in /dev/shm, but `left` bytes; only where it is our own
 * (own_shared_memory(), else the test is not measured). */
void shared_memory_fill(size_t left);
void shared_memory_free(void);

#endif
