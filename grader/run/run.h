/*
 * run.h - the third stage: runs the lab's tests, in parallel slots, each with its deadline.
 */
#ifndef IPCLAB_RUN_RUN_H
#define IPCLAB_RUN_RUN_H

#include "grading.h"

/* What the run stage tells while it works; see report/progress.h. */
struct run_listener {
    void (*started)(void *context, const struct run *run);
    void (*ended)(void *context, const struct run *run, size_t done, size_t total);
    void (*rerun)(void *context, const struct run *run); /* out of time once: again, alone */
    void *context;
};

/*
 * Makes g->runs from the manifest and the options, before anything is executed: the list of what
 * will be run, each with its seed. -1 and `err` (FAULT_USAGE) for a --test that does not exist.
 */
int run_plan(struct grading *g, struct error *err);

/*
 * Runs them all. 0 when every run has a verdict; -1 and `err` (FAULT_GRADER) when a suite could not
 * be started or died twice in the same test, or when *stop became true (^C). Runs that were
 * finished keep their verdicts. When it returns nothing of the submission is left: no process, no
 * object, no file.
 */
int run(struct grading *g, const struct run_listener *listener, const volatile int *stop,
        struct error *err);

#endif
