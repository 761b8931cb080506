/*
 * step.h - programs that the test lets go on step by step.
 *
 * In which order a program writes to memory can't be seen from outside by luck: it is over in less
 * than a microsecond. So it is traced (ptrace(2)): it stands still at each of its system calls, or
 * after each instruction, while the grader looks at the object or changes it. Where tracing is not
 * allowed the test is not measured. However a test ends, a traced program dies as any other does.
 */
#ifndef SHM_PEER_STEP_H
#define SHM_PEER_STEP_H

#include "suites/shm/peer/shm.h"

/* A program that stands still now, or has ended. */
struct traced {
    pid_t pid;
    int signal; /* of its own, which it gets when it goes on */
    int steps;
    bool ended;
};

/* Starts `p`, all of whose settings are made, and holds it before its main(). Its stderr is not
 * seen: the loader complains there. */
struct traced trace_start(struct program *p);
/* Holds a program that runs, at best while it sleeps. */
struct traced trace_attach(struct program *p);
/* Lets it go on to where it enters or leaves a system call; false when it has ended instead. A
 * program that waits in between fails the test. */
bool trace_to_system_call(struct traced *t);
/* Lets it go on for one instruction, or a signal of its own; false when it has ended. One that is
 * not ready after 20,000 of them is right, too: from then on it goes on to its next system call. */
bool trace_instruction(struct traced *t);
/* The number (SYS_...) of the system call that it is about to enter; -1 when it is not. */
long trace_enters(const struct traced *t);
/* It is about to make a file or an object, or to give it another name. */
bool trace_makes_name(const struct traced *t);
/* Lets it go on by itself. */
void trace_let_go(struct traced *t);

/*
 * Starts `ring create NAME CAPACITY` and fails, as `what`, when anything of the object changes once
 * its `magic` is there. Returns at the end of the program; the ring that it has made.
 */
struct segment *create_step_by_step(const char *name, uint32_t capacity, const char *what);

#endif
