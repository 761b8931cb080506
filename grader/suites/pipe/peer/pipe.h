/*
 * pipe.h - what the tests of the pipe lab share.
 *
 * The stages are mostly `probe`, the suite's own program (tools/probe.c), whose `arrive FILE` and
 * `await GATE` are the events of harness/scene.h.
 */
#ifndef PIPE_PEER_PIPE_H
#define PIPE_PEER_PIPE_H

#include "harness/harness.h"

/*
 * A pipeline, not yet started, from words with blanks between them; '@' stands for the path of
 * probe, '|' for the bar: pipeline("--meter @ say %s | @ copy", word).
 */
struct program *pipeline(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same for any program. */
void program_words(struct program *p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A word with A-Z for a-z, as probe's `upper` makes it. */
const char *upper_case(const char *word);
/* An exit status that is none of pipeline's own and none of probe's: 3 to 80. */
int random_status(struct random *r);

/* `len` bytes of probe's pattern, for its `check`. */
const void *pattern_bytes(uint64_t seed, size_t len);

/* ---- expectations ---- */

/* Waits for the end: exit status `status`, and `expected` says why ("the status of ..."). */
void expect_pipeline_status(struct program *p, int status, const char *expected);
/* Waits until at most `count` of the stages that are probes still run (zombies have ended). What a
 * probe does last, `arrive`, comes before its end. */
void wait_stages_left(struct program *p, int count, const char *what);
/* All of stdout, after the end of the pipeline, is `bytes`. */
void expect_bytes(struct program *p, const void *bytes, size_t len, const char *expected);
/* All of stderr is what --meter prints for these counts, 0 or more of them. */
void expect_links(struct program *p, const uint64_t *counts, size_t count);
/* All of stderr is `count` lines of --meter, in order, whatever their numbers of bytes. */
void expect_link_lines(struct program *p, size_t count);
/* Wrong usage: `words` (as in pipeline()) give exit 2, a line on stderr and no stdout. */
void expect_refused(const char *words, const char *why);

/* ---- what a stage holds: FILE of probe's `report` and `signals` ---- */

enum held_kind { HELD_CLOSED, HELD_PIPE, HELD_NULL, HELD_FILE, HELD_OTHER };

struct held {
    enum held_kind kind[3]; /* of 0, 1, 2 */
    uintmax_t inode[3];
    int others; /* how many above 2 */
    const char *text;
};
struct held held_read(const char *file, const char *stage);
/* Fails when `stage` holds anything above 2. */
void expect_no_more(const struct held *h, const char *stage);
/* Fails unless descriptor `fd` is closed or /dev/null. */
void expect_closed_or_null(const struct held *h, int fd, const char *stage);

/* Sets of the signals 1 to 31, bit N for signal N. */
struct signal_sets {
    uint32_t ignored, caught, blocked;
};
struct signal_sets signals_read(const char *file, const char *stage);
void expect_signals(const char *file, const char *stage, uint32_t ignored, uint32_t blocked);
/* `count` different signals that can be ignored and blocked, without SIGCHLD and SIGPIPE. */
uint32_t signals_random(struct random *r, int count);

/* ---- comparison ---- */

/* A random pipeline of 2 to 5 stages whose output, and whose status, is no matter of time. */
const char *random_line(struct random *r, bool pipefail);

/* Runs `line` (words as in pipeline()) in pipeline, dash and bash: output and status are those of
 * one of the two shells; with pipefail those of bash. */
void expect_as_shells(const char *line, bool pipefail);

#endif
