/*
 * suite_process.h - one slot of the run stage and the suite process that works in it.
 *
 * Processes, and who reaps whom:
 *
 *   engine (ipclab)
 *   `- keeper        a fork of the engine, one for each started suite; child subreaper: whatever a
 *      |             program leaves behind comes back to it and is reaped. When the suite has
 *      |             ended, or the engine has (its control pipe closes), it kills, sweeps the
 *      |             slot, exits
 *      `- suite      LAB-public or LAB-hidden: Criterion's runner, which holds the events' socket
 *         `- worker  one a test, by Criterion; child subreaper during its test
 *            `- programs under test, in the slot's sandbox
 *
 * Descriptors: the engine holds the control pipe's write end and its end of the events' socket; the
 * keeper the control pipe's read end; the suite's runner the events' other end, as SUITE_EVENTS_FD,
 * and nothing else but 0, 1, 2 (/dev/null and a log in the private folder).
 *
 * A suite is started with all runs that wait in a pool and asks before each one (run/job.h): other
 * slots take theirs out of the same pool meanwhile, so that each run is given to one slot alone.
 */
#ifndef IPCLAB_RUN_SUITE_PROCESS_H
#define IPCLAB_RUN_SUITE_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "grading.h"
#include "run/job.h"
#include "support/strbuf.h"

/* Runs of one suite that wait for a slot, in the order in which they are to be run. */
struct pool {
    struct run **waiting;
    size_t count;
    bool hidden; /* the suite is LAB-hidden */
};

struct suite_process {
    struct slot slot;
    struct policy policy;
    struct board *board;
    char *job_path, *board_path, *log_path;

    /* While a suite runs in the slot: */
    pid_t keeper; /* 0: none */
    int control, events;
    struct strbuf pending; /* the beginning of an event's line */
    struct pool *pool;     /* what it takes its runs from; not owned */
    struct run **runs;     /* what waited there at its start: what it may ask for */
    size_t run_count;
    bool asked;          /* it has asked for a test: it could start */
    size_t ended;        /* how many of its runs have */
    struct run *granted; /* taken out of the pool for it and not ended */
    struct run *current; /* `granted`, once its test has started */
    int64_t since_ns;    /* when `current` started; without one, when anything was last heard */
    int64_t ended_ns;    /* when the last test ended, its clean-up not counted */
    int pidfd;           /* of the keeper: readable once it has ended; -1: the kernel has none */
};

/* Opens slot `index` and everything that lasts for the whole stage; `namespaces`: of its own. */
int suite_process_open(struct suite_process *p, const struct grading *g, int index, bool namespaces,
                       const char *filter, const char *tools, struct error *err);
void suite_process_close(struct suite_process *p);

/* Starts `suite` for the runs that wait in `pool`, which must outlive it. The slot must be free. */
int suite_process_start(struct suite_process *p, const struct grading *g, const char *suite,
                        const char *tools, const char *layers_off, struct pool *pool,
                        struct error *err);

/*
 * Reads what there is of events. Answers those that ask for a test out of the pool; for each other
 * one calls `handle` with the event (started or ended) and its run, which the suite no longer has
 * once it has ended. Returns 1 while the suite or its keeper lives, 0 when both have ended (call
 * suite_process_reap() next), -1 and `err` for an event that is none, or of a run that the suite
 * was not given. What a suite still says after suite_process_kill() is not heard: its verdict has
 * been given.
 */
typedef void event_handler(void *context, struct suite_process *p, struct run *run,
                           const char *status, cJSON *event);
int suite_process_read(struct suite_process *p, event_handler *handle, void *context,
                       struct error *err);

/* The descriptor to poll for POLLIN before suite_process_read(); -1 when no suite runs. */
int suite_process_descriptor(const struct suite_process *p);

/* When something must have been heard: monotonic ns; INT64_MAX when no suite runs, or a killed one.
 */
int64_t suite_process_deadline(const struct suite_process *p);

/* The run that the suite has is over, whatever the suite says: it is the caller's now. */
struct run *suite_process_take_run(struct suite_process *p);

/* Tells the keeper to end the suite and sweep; the events end soon afterwards. */
void suite_process_kill(struct suite_process *p);

/* Waits for the keeper, which sweeps first. -1 and `err` when the slot could not be swept. */
int suite_process_reap(struct suite_process *p, struct error *err);

#endif
