/*
 * child.h - runs a program of the machine and keeps what it says (the model is git's
 * run-command.h).
 *
 *   struct child c = CHILD_INIT;
 *   c.argv = argv;
 *   if (child_run(&c, &err)) ...   could not be started, or out of time: ours to explain
 *   if (c.status != 0) ...         it ran and failed: c.out and c.err hold what it said
 *   child_release(&c);
 *
 * child_run() is child_start() and child_finish(): who has several starts them all and then
 * finishes each. It drains both streams in one poll loop, kills the whole process group at the
 * deadline or when the program has ended, and reaps. Standard input is /dev/null; signals have
 * their default actions and none is blocked. An exec that fails travels back over a close-on-exec
 * pipe, so "could not start" is never "failed".
 */
#ifndef IPCLAB_SUPPORT_CHILD_H
#define IPCLAB_SUPPORT_CHILD_H

#include <stdbool.h>
#include <stddef.h>

#include "support/error.h"
#include "support/strbuf.h"

struct child {
    char *const *argv;        /* argv[0] is searched for on PATH */
    char *const *env;         /* NULL: our own environment */
    const char *directory;    /* NULL: ours */
    int timeout_ms;           /* from its start to its end; 0: 60,000 */
    size_t max_out;           /* head and tail kept up to this, per stream; 0: 1 MiB */
    const volatile int *stop; /* NULL, or what becomes true (^C) when it shall end at once */
    /*
     * Runs in the child behind all other preparation: async-signal-safe calls only. It may close
     * every descriptor above 2 but `keep_fd`. On a failure it returns -1 with errno and its step's
     * name in *step: the child "could not be started".
     */
    int (*before_exec)(void *argument, int keep_fd, const char **step);
    void *before_exec_argument;

    struct strbuf out, err; /* filled by child_finish */
    size_t out_bytes;       /* how many came, kept or not */
    int status;             /* exit status, or 128 + signal */
    int signal;             /* that ended it, or 0 */
    bool timed_out; /* child_finish failed because of the deadline; `out` and `err` are filled */
    bool stopped;   /* child_finish failed because of *stop */

    struct running *running; /* child.c's own, from child_start to child_finish */
};

#define CHILD_INIT                                                                                 \
    {                                                                                              \
        .out = STRBUF_INIT, .err = STRBUF_INIT                                                     \
    }

/* -1 and `err` (FAULT_GRADER): could not be started, was out of time, or *stop became true. */
int child_run(struct child *child, struct error *err);
/* -1 and `err` (FAULT_GRADER): could not be started; there is nothing to finish then. */
int child_start(struct child *child, struct error *err);
/*
 * Waits for what child_start has started; once for each. Until then a child that fills its pipe
 * waits for us, and its deadline goes on. -1 and `err` (FAULT_GRADER): out of time, or *stop.
 */
int child_finish(struct child *child, struct error *err);
void child_release(struct child *child);

#endif
