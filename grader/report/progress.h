/*
 * progress.h - what a person sees on stderr while a grading runs.
 *
 * On a terminal one line that is rewritten: stage, seconds, done/total, running test; it has no
 * colour, and TERM=dumb counts as piped. Piped: one plain line for each stage and test, as it ends.
 * Names of hidden tests are shown only when `full` is set; else "hidden test", and nothing tells
 * how long it took or in which way it failed.
 */
#ifndef IPCLAB_REPORT_PROGRESS_H
#define IPCLAB_REPORT_PROGRESS_H

#include "grading.h"
#include "run/run.h"

struct progress;

/* `quiet`: nothing at all is printed. */
struct progress *progress_new(int fd, bool full, bool quiet);
void progress_stage(struct progress *p, const char *stage);
/* `word` says how it went; NULL: nothing to say. */
void progress_stage_end(struct progress *p, const char *stage, double seconds, const char *word);
/* For run(): its context is `p`. */
struct run_listener progress_listener(struct progress *p);
/* Redraws the time; called a few times a second by whoever waits. */
void progress_tick(struct progress *p);
/* Clears the live line and frees `p`. */
void progress_finish(struct progress *p);

#endif
