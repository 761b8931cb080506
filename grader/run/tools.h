/*
 * tools.h - the suite's own programs, copied into the grading's work folder.
 *
 * FOLDER/NAME may be executed by the programs under test, and, where its arguments can be sealed
 * (support/seal.h), not be read; of these there is FOLDER/plain/NAME, which can, for valgrind,
 * which reads what it lets a program execute.
 */
#ifndef IPCLAB_RUN_TOOLS_H
#define IPCLAB_RUN_TOOLS_H

#include "grading.h"

/* Makes `folder` and all that is in it, with a new g->seal_key. -1 and `err` (FAULT_GRADER). */
int tools_copy(struct grading *g, const char *folder, struct error *err);

#endif
