/*
 * step.h - `ring create`, one instruction at a time.
 *
 * In which order a program writes to memory can't be seen from outside by luck: it is over in less
 * than a microsecond. So the program is held at its start and then traced (ptrace(2)), and the
 * object is looked at after every single instruction.
 */
#ifndef SHM_PEER_STEP_H
#define SHM_PEER_STEP_H

#include "suites/shm/peer/shm.h"

/*
 * Starts `ring create NAME CAPACITY` and fails, as `what`, when anything of the object changes once
 * its `magic` is there. Returns at the end of the program; the ring that it has made. Where tracing
 * is not allowed the test is not measured.
 */
struct segment *create_step_by_step(const char *name, uint32_t capacity, const char *what);

#endif
