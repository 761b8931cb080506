/*
 * trace.h - a program that the test lets go on step by step (ptrace(2)).
 *
 * What lies between two system calls of a program, or between two stores to memory, is over in a
 * microsecond: neither can what others do in between be left to luck, nor the order be seen from
 * outside. So the program is held there, and the test looks, or does what the others would do.
 *
 * One program at a time. While it is held, functions that wait for it in other ways
 * (program_wait(), wait_quiet()) would wait for ever. However the test ends, it dies as any other
 * program does.
 *
 * Where tracing is not allowed trace_start() and trace_begin() say so: the test is not measured, or
 * leaves out what it can't force.
 */
#ifndef IPCLAB_HARNESS_TRACE_H
#define IPCLAB_HARNESS_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "harness/program.h"

/* Where it stands: at a system call of one of its threads. */
struct trace_stop {
    bool leaves;           /* it is about to return from the call, else to enter it */
    long number;           /* of the call */
    uint64_t arguments[6]; /* when it enters */
    long result;           /* when it leaves: at least 0, or an error number below 0 */
};

/*
 * Takes hold of a program that sleeps in a call: all its threads are stopped. False: it has ended
 * before, or there is no right to trace (errno).
 */
bool trace_begin(struct program *p);
/* The same for one that is not started yet, and all of whose settings are made: it is started, and
 * held before its main(). Its stderr is /dev/null. False: it has been started, but is not held. */
bool trace_start(struct program *p);
/*
 * Lets it run to the next beginning or end of a system call of one of its threads. False: it has
 * ended, or sleeps in a call for `ms` milliseconds; it is still held then.
 */
bool trace_next(struct trace_stop *stop, int ms);
/* Lets each of its threads that is not asleep in a call go on for one instruction, a whole system
 * call if that is one. False as trace_next(). */
bool trace_step(int ms);
/* Whether it has ended while it was held. */
bool trace_ended(void);
/* Lets go of it: it runs as any other program. */
void trace_end(void);

#endif
