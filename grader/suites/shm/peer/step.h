/*
 * step.h - programs of the lab that the test lets go on step by step (harness/trace.h).
 *
 * Where tracing is not allowed the test is not measured.
 */
#ifndef SHM_PEER_STEP_H
#define SHM_PEER_STEP_H

#include "harness/trace.h"
#include "suites/shm/peer/shm.h"

/* trace_start(), trace_begin(). */
void step_start(struct program *p);
void step_attach(struct program *p);
/* Lets it go on to where it enters or leaves a system call; false when it has ended instead. A
 * program that waits in between fails the test. */
bool step_to_call(struct trace_stop *stop);
/* Lets it go on for one instruction; false when it has ended. One that is not ready after 20,000 of
 * them is right, too: from then on it goes on to its next system call. */
bool step_instruction(void);
/* It is about to make a file or an object, or to give it another name. */
bool makes_name(const struct trace_stop *stop);

/*
 * Starts `ring create NAME CAPACITY [--unbounded]` and fails, as `what`, when anything of the
 * object changes once its `magic` is there, or when others than its owner can open it meanwhile.
 * Returns at the end of the program; the ring that it has made.
 */
struct segment *create_step_by_step(const char *name, uint32_t capacity, bool unbounded,
                                    const char *what);

/*
 * A program that waits for `mutex`, which the grader holds, gets it, and goes on instruction by
 * instruction until `field` is `value`, as many tokens of `tokens` as `count` are there and `mutex`
 * is free. Fails when a field or an item changes while `mutex` is free, or when a token tells of
 * what is not there. It is held then: trace_end().
 */
void step_with_mutex(struct segment *s, struct program *p, enum field field, uint64_t value,
                     enum field tokens, int count);

#endif
