/*
 * build.h - the second stage: compiles the submission in the sandbox.
 *
 * One compiler run for each source that the manifest names, the submission's and the given ones
 * (the grader's copies), then one for each program, under a uid that no test runs with, in a folder
 * of its own. The programs are then moved out of the compiler's reach: owned by the grader, mode
 * 0755. In place of one that was not made stands a file of its name, mode 0644, that says why.
 */
#ifndef IPCLAB_BUILD_BUILD_H
#define IPCLAB_BUILD_BUILD_H

#include "grading.h"

/*
 * 0: g->build is filled (g->build.ok says whether it compiled, each run within 60 s and the
 * limits). -1 and `err` (FAULT_GRADER): the compiler could not be started, or our disk or memory
 * failed.
 */
int build(struct grading *g, struct error *err);

#endif
