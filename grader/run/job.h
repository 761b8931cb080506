/*
 * job.h - what the engine tells a suite process, and the board over which a test tells it back.
 *
 * The engine starts SUITE with IPCLAB_JOB=FILE in its environment; FILE (mode 0600, in the slot's
 * private folder) is the job as JSON. Criterion's runner and its workers both read it: workers
 * inherit the environment and descriptors 0, 1, 2 alone. Test names stand in no argument list,
 * where any process of the machine could read them.
 *
 * The runner writes one JSON line an event to descriptor SUITE_EVENTS_FD, a socket which only it
 * holds:
 *   {"event":"ask","test":ID,"at_us":N}
 *   {"event":"start","test":ID,"at_us":N}
 *   {"event":"end","test":ID,"at_us":N,"status":"passed|failed|crashed|timeout|not_measured|broken",
 *    "expected":..., "got":..., "see":..., "hint":..., "transcript":..., "memory":[...],
 * "refused":[...], "leftovers":{...}, "waited_ms":N} It asks before each test of the job, in the
 * job's order, and waits for the engine's answer, one byte (enum suite_answer): other slots have
 * jobs with the same tests, and only the engine knows which are left. The end of the socket is the
 * engine's: the runner ends, too.
 *
 * `at_us` is clock_ns() / 1000, before any clean-up. `broken` is the grader's fault: the worker
 * died, or the harness was misused; a member "broken" says that the slot could not be swept.
 *
 * The board is a file in the private folder, mapped by engine, runner and worker: the worker writes
 * there what it knows as soon as it knows it, so that nothing is lost when it is killed.
 */
#ifndef IPCLAB_RUN_JOB_H
#define IPCLAB_RUN_JOB_H

#include <stdatomic.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "sandbox/sandbox.h"
#include "sandbox/slot.h"
#include "support/error.h"

enum { SUITE_EVENTS_FD = 3, JOB_MAX_BYTES = 1 << 20 };

enum suite_answer {
    ANSWER_RUN = 'r',
    ANSWER_SKIP = 's', /* another slot has it, or had it */
    ANSWER_END = 'e',  /* nothing is left of the job: ask no more */
};

struct job_test {
    const char *id;
    uint64_t seed;
    int seconds;
};

struct job {
    cJSON *root; /* owner of the strings */
    struct slot slot;
    struct policy policy;   /* of programs under test */
    const char *programs;   /* folder of the submission's programs */
    const char *tools;      /* folder of the suite's own: run/tools.h */
    const char *seal_key;   /* of the tools' arguments (support/seal.h); NULL: they stand open */
    const char *board;      /* path */
    const char *layers_off; /* or NULL */
    struct job_test *tests; /* in the order in which they are to be run */
    size_t test_count;
};

int job_write(const struct job *job, const char *path, struct error *err);
/* Reads the file that IPCLAB_JOB names. */
int job_read(struct job *job, struct error *err);
void job_release(struct job *job);

enum board_verdict {
    BOARD_NONE,   /* the test has not come to its end: never a pass */
    BOARD_PASSED, /* the body returned */
    BOARD_FAILED,
    BOARD_CRASHED,
    BOARD_TIMEOUT,
    BOARD_NOT_MEASURED,
    BOARD_BROKEN,
};

enum { BOARD_REFUSED_MAX = 16 };

struct board {
    _Atomic int64_t started_ns; /* when the first program's exec succeeded (clock_ns), 0: not yet */
    _Atomic int verdict;        /* enum board_verdict */
    _Atomic int waited_ms;      /* harness_count_wait() */
    _Atomic int refused_count;
    struct refused_call refused[BOARD_REFUSED_MAX];
    _Atomic int refused_times[BOARD_REFUSED_MAX];
    _Atomic int orphans;
    _Atomic int no_hint;                                  /* what was got says it all */
    char expected[4096], got[8192], see[512], hint[1024]; /* the last two empty: the manifest's */
    _Atomic uint32_t transcript_len;
    char transcript[32768];
    char memory[65536]; /* JSON array of findings, or empty */
};

/* Maps `path`; `create`: makes it anew (engine). NULL and `err` on a fault. */
struct board *board_map(const char *path, bool create, struct error *err);
void board_unmap(struct board *board);
void board_reset(struct board *board); /* by the runner before each test's worker starts */

#endif
