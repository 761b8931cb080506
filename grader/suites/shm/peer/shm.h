/*
 * shm.h - what the tests of the shm lab share: programs on a ring, and what is expected of them.
 *
 * The grader's own side of the ring is segment.h.
 */
#ifndef SHM_PEER_SHM_H
#define SHM_PEER_SHM_H

#include "harness/harness.h"
#include "suites/shm/peer/segment.h"

/* ---- programs, started ---- */

struct program *producer(const char *name); /* its stdin is a pipe of the test's */
struct program *consumer(const char *name);
struct program *consumer_of(const char *name, int count); /* -n COUNT */
struct program *ring(const char *verb, const char *name); /* ring VERB NAME */
/* `ring create` ends with 0; the ring that it has made. */
struct segment *ring_create(const char *name, uint32_t capacity, bool unbounded);
/* A line of input for a producer. */
void send_line(struct program *p, const char *line);

/* ---- waiting for the ring ---- */

/* Waits until the field is `value`; fails when it can't happen any more, or `p` (may be NULL) ended
 * before. `what` completes "expected: ". */
void wait_field(struct segment *s, enum field at, uint64_t value, struct program *p,
                const char *what);
void wait_sem(struct segment *s, enum field at, int value, struct program *p, const char *what);
/* A started producer has attached. */
void wait_attached(struct segment *s, uint32_t producers, struct program *p);

/* ---- expectations ---- */

/* Exit 0, nothing on stderr. */
void expect_success(struct program *p);
/* The same of a consumer that learns of the end of the stream. */
void expect_end(struct program *consumer);
/* Exit 1, a line on stderr, nothing on stdout; `why` as in "the ring is closed". */
void expect_failure(struct program *p, const char *why);
/* The field's or the semaphore's value at this moment. */
void expect_field(const struct segment *s, enum field at, uint64_t value, const char *what);
void expect_sem(const struct segment *s, enum field at, int value, const char *what);
/* `mutex` is free: looked at while `p` waits for something else. */
void expect_mutex_free(const struct segment *s, const char *when);
/* The next line of a consumer, which comes without any more to be done. */
void expect_line(struct program *p, const void *bytes, size_t len);
void expect_line_text(struct program *p, const char *bytes);
/* What `ring info` prints of these fields. */
const char *info_line(const struct segment *s);

/*
 * Producer i sends lines "I N" with N from 0 to each-1. Together the outputs of the consumers are
 * all of them, none twice, and in each one the lines of each producer are in order.
 */
void send_numbered(struct program *p, int i, int each);
void expect_all_items(struct program *const *consumers, int consumer_count, int producers,
                      int each);

/* How many mappings, and how many descriptors, of the ring's object a running program has; -1 when
 * the kernel does not tell. */
int mappings_of(struct program *p, const char *name);
int descriptors_of(struct program *p, const char *name);

#endif
