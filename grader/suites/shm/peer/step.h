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
 * Starts `ring create NAME CAPACITY` and fails, as `what`, when anything of the object changes once
 * its `magic` is there. Returns at the end of the program; the ring that it has made.
 */
struct segment *create_step_by_step(const char *name, uint32_t capacity, const char *what);

#endif
