/*
 * trace.h - a program from one system call to the next (ptrace(2)).
 *
 * What lies between two calls of a program is over in a microsecond: whether somebody else comes in
 * between can't be left to luck. So the program is held there, and the test does what the others
 * would do. One program at a time; meanwhile only functions of this header, of queues and of text.
 *
 * Where tracing is not allowed trace_begin() and trace_start() say so, and the test leaves out what
 * it can't force.
 */
#ifndef MESSAGE_PEER_TRACE_H
#define MESSAGE_PEER_TRACE_H

#include "suites/message/peer/message.h"

struct trace_stop {
    bool leaves; /* it is about to return from a call, else to enter one */
    long number; /* of the call */
    long result; /* when it leaves: at least 0, or an error number below 0 */
};

/*
 * Takes hold of a program that sleeps in a call: all its threads are stopped. False: it has ended
 * before, or there is no right to trace.
 */
bool trace_begin(struct program *p);
/* The same for one that is not started yet: it is started, and held before its main(). Its stderr
 * is /dev/null. False: it has been started, but is not held. */
bool trace_start(struct program *p);
/*
 * Lets it run to the next beginning or end of a system call of one of its threads. False: it has
 * ended, or sleeps in a call for `ms` milliseconds; it is still held then.
 */
bool trace_next(struct trace_stop *stop, int ms);
/* Lets go of it: it runs as any other program. */
void trace_end(void);

#endif
