/*
 * manifest.h - a lab as its lab.json describes it: programs, files, rules, limits, tests, points.
 *
 * Loading checks everything that does not need the suites (types, ranges, unknown keys, unique ids,
 * points that sum to 100, bonus apart); `ipclab lint` compares with the suites besides. All strings
 * belong to the manifest and live until manifest_release().
 */
#ifndef IPCLAB_COURSE_MANIFEST_H
#define IPCLAB_COURSE_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>

#include <cjson/cJSON.h>

#include "support/error.h"
#include "support/hash.h"

enum visibility { VISIBILITY_PUBLIC, VISIBILITY_HIDDEN, VISIBILITY_AFTER_DUE };

/* How much of a failed hidden test a student sees: everything, the message, pass or fail. */
enum detail { DETAIL_FULL, DETAIL_MESSAGE, DETAIL_VERDICT };

struct manifest_program {
    const char *name;             /* the executable: "pipeline" */
    const char *const *sources;   /* file names, NULL at the end */
    const char *const *libraries; /* linker words: "-pthread", "-lrt"; NULL at the end */
};

struct manifest_file {
    const char *name; /* no slash */
    bool required;    /* a submission without it is `rejected` */
};

struct manifest_test {
    const char *id; /* "suite/name": letters, digits, '_' */
    int points;     /* 0 to 100 */
    bool bonus;     /* its points lie outside the 100 and outside max */
    enum visibility visibility;
    enum detail detail;
    const char *concept; /* what it examines, in the course's words */
    const char *hint;    /* teaches without telling the solution */
    const char *see;     /* the heading of the handout where it is explained */
    bool alone;          /* no other test beside it, where slots share /dev/shm, queues and ports */
    bool memcheck;       /* its suite is "memcheck": it runs under valgrind */
    int seconds;         /* its time limit */
};

struct manifest_limits {
    int test_seconds;     /* default 10 */
    int memcheck_seconds; /* default 60 */
    int cpu_seconds;      /* processor time of one process; default 8 (valgrind: x 6) */
    int descriptors;      /* default 256 */
    int processes;        /* default 200, threads count */
    int memory_mb;        /* address space of one process (0: unlimited); default 1024 */
    int file_mb;          /* largest file; default 64 */
    int submission_kb;    /* largest submitted file; default 256 */
};

struct manifest {
    cJSON *root; /* the parsed document: owner of all strings */
    char hash[HASH_HEX_SIZE];
    const char *lab;
    const char *title;
    bool cut;          /* a student's manifest: public tests only */
    int hidden_points; /* in a cut manifest: what waits in hidden tests */
    struct manifest_program *programs;
    size_t program_count;
    struct manifest_file *files; /* what a student may submit */
    size_t file_count;
    const char *const *given; /* the grader's copies, from the starter folder; NULL at the end */
    unsigned excludes;        /* enum exclusion (sandbox/exclusion.h), or-ed */
    struct manifest_limits limits;
    struct manifest_test *tests;
    size_t test_count;
};

/* Loads and checks `path`. -1 and `err` (FAULT_GRADER) with file, place and reason. */
int manifest_load(struct manifest *m, const char *path, struct error *err);
void manifest_release(struct manifest *m);

/* NULL when there is no such test. */
const struct manifest_test *manifest_find(const struct manifest *m, const char *id);

/* The same by what people type: SUITE/NAME or LAB/SUITE/NAME. */
const struct manifest_test *manifest_named(const struct manifest *m, const char *name);

/*
 * The manifest that students receive, as a new document: public tests whole; of hidden and
 * after_due ones, in "hidden", one entry a concept with its number of tests and sum of points, and
 * no id, hint or message.
 */
cJSON *manifest_cut(const struct manifest *m);

const char *visibility_name(enum visibility v); /* "public", "hidden", "after_due" */
const char *detail_name(enum detail d);         /* "full", "message", "verdict" */

#endif
