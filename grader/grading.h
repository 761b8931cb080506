/*
 * grading.h - one grading: what every stage reads and fills. The stages are, in this order,
 *
 *   intake/  build/  run/  score/  report/
 *
 * each a function of this struct; none keeps state elsewhere. A stage that fails sets `status` and
 * `reason`; score and report follow in any case, so that every end of a grading has a result.
 */
#ifndef IPCLAB_GRADING_H
#define IPCLAB_GRADING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "course/course.h"
#include "course/manifest.h"
#include "support/error.h"
#include "support/hash.h"
#include "support/seal.h"

enum grading_status { STATUS_GRADED, STATUS_BUILD_FAILED, STATUS_REJECTED, STATUS_GRADER_ERROR };

enum run_status {
    RUN_PENDING, /* not run: becomes `failed` (did not build) or stays out of a grader_error's score
                  */
    RUN_PASSED,
    RUN_FAILED,
    RUN_CRASHED,      /* a program of the submission died of a signal that it should not have got */
    RUN_TIMEOUT,      /* out of time twice, the second time alone */
    RUN_NOT_MEASURED, /* the machine lacks what the test needs; `message` says what */
};

/* What was asked for on the command line. Strings belong to argv. */
struct grading_options {
    const char *lab;
    const char *path;         /* folder, archive, or REPOSITORY@COMMIT */
    const char *output;       /* results.json */
    const char *const *tests; /* --test, NULL at the end; empty: all */
    const char *format;       /* table, json, junit, markdown */
    bool full;
    bool public_only;
    bool have_seed;
    uint64_t seed;
    int jobs;      /* slots, 1 to 64 */
    int min_score; /* percent, -1: none */
};

struct submission {
    char
        *id; /* a readable name: the folder's or archive's base name, or REPOSITORY@COMMIT; clean */
    char *commit; /* full hash, or NULL */
    char received_at[21];
    char sha256[HASH_HEX_SIZE]; /* over names and contents of the files taken, in manifest order */
    char *directory;            /* where the files taken lie: WORK/submission, mode 0700 */
    char **files;               /* names taken */
    size_t file_count;
    char **ignored;       /* names left alone, clean, at most 100 */
    size_t ignored_count; /* how many there were in all */
};

struct build_result {
    bool ok;     /* every program was made */
    size_t made; /* so many were: tests of the others fail */
    char *
        directory; /* programs: WORK/programs, read and execute for all, write for none of theirs */
    char *log;     /* what make and the compiler said, clean, our paths removed, at most 64 KiB */
    int warnings;  /* how many of the compiler's warnings are in the log */
};

struct run {
    const struct manifest_test *test;
    uint64_t seed;
    enum run_status status;
    int points;   /* by score */
    int attempts; /* how often it was started */
    int timeouts; /* how often it was out of time: twice is the verdict */
    int faults;   /* how often our side failed in it: twice ends the grading */
    double seconds;
    /* The message, in three parts; clean; NULL where there is none. */
    char *expected, *got, *see;
    char *hint;       /* in place of the manifest's; NULL: that one; empty: none */
    char *transcript; /* what the suite did and saw, one line an event */
    char *repeat;     /* the command that repeats it */
    cJSON *memory;    /* array of findings, or NULL */
    cJSON *refused;   /* array of {call, rule, count}, or NULL */
    cJSON *leftovers; /* object of counts, or NULL */
};

struct timing {
    const char *stage;
    double seconds;
};

struct grading {
    struct grading_options options;
    struct course course;
    struct manifest manifest;
    const char *work;         /* the private folder of this grading: work.h owns it */
    const volatile int *stop; /* becomes true on ^C; NULL: never */

    enum grading_status status;
    struct error reason; /* why the status is not `graded` */

    struct submission submission;
    struct build_result build;
    struct run *runs; /* in the manifest's order */
    size_t run_count;
    uint64_t seed; /* recorded: from --seed, else a hash of lab and submission */
    char seal_key[SEAL_KEY_BYTES + 1]; /* of this grading's tools: run/tools.h */
    char suite_hash[HASH_HEX_SIZE];    /* over the suite programs that ran */
    char engine_hash[HASH_HEX_SIZE];

    int score, max, bonus; /* by score/ */
    bool official;
    cJSON *not_official;      /* array of sentences */
    cJSON *isolation;         /* array of {layer, active, detail} */
    int reruns;               /* how many runs were out of time once */
    struct timing timings[5]; /* intake, build, run, score, report */
};

/* Whether the options ask for `test`: --test, --public-only. */
bool grading_wants(const struct grading *g, const struct manifest_test *test);

const char *grading_status_name(enum grading_status s); /* "graded", "build_failed", ... */
const char *run_status_name(enum run_status s);         /* "passed", "failed", ... */

#endif
