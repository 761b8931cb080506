/*
 * internal.h - what the harness's own files share; no suite includes it.
 *
 * Who is who: the *worker* is the process that a test runs in, and the subreaper of everything that
 * the test starts. A *program* is one child of it that program_start() made. An *orphan* is any
 * other child that the worker has: left behind by a program, alive or a zombie.
 *
 *   test.c     the test's state, memory, verdict, transcript
 *   wait.c     the one loop in which all waiting happens; stuck, blocked, deadline
 *   program.c  settings and start      streams.c  feeding and draining
 *   reap.c     ends and orphans        expect.c   expectations
 *   refused.c  the thread that answers what the lab excludes
 */
#ifndef IPCLAB_HARNESS_INTERNAL_H
#define IPCLAB_HARNESS_INTERNAL_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "harness/program.h"
#include "run/job.h"
#include "support/strbuf.h"

enum {
    KEPT_MAX = 1 << 20,   /* of each output */
    CHUNK = 1 << 16,      /* one read or write */
    GIVEN_MAX = 64,       /* program_give() above 2 */
    MESSAGE_WAITING = 12, /* lines of describe_waiting() */
    AT_END_MAX = 4,       /* functions of test_at_end() */
};

struct queued {
    struct queued *next;
    const char *bytes; /* NULL: the pattern */
    uint64_t len, done;
    uint64_t seed, offset; /* of the pattern */
};

struct input {
    int fd; /* our end, -1: none or closed */
    bool is_pipe;
    bool gone; /* nobody reads any more */
    bool close_when_fed;
    struct queued *first, **last;
    uint64_t taken;
    uint64_t pattern_total; /* bytes of pattern queued so far */
    char *chunk;            /* of the pattern, made ahead */
    size_t chunk_pos, chunk_len;
};

struct output {
    int fd;
    bool is_pipe, held, ended, closed_by_us;
    uint64_t total;
    struct strbuf kept; /* all of it, or head and (as a ring behind it) tail */
    size_t tail_next;   /* where in the ring the next byte goes */
    bool by_lines;
    struct strbuf lines; /* not yet read as lines */
    size_t line_pos;
    bool patterned;
    uint64_t pattern_seed, pattern_offset;
};

struct given {
    int target, source;
};

struct program {
    struct program *next;
    const char *name; /* argv[0]; clean */
    const char *path;
    bool peer, memcheck, started;

    /* settings */
    const char **args; /* without argv[0] */
    size_t arg_count, arg_capacity;
    const char **env;
    size_t env_count;
    enum stream stream[3];
    int stream_given[3];
    struct given given[GIVEN_MAX];
    size_t given_count;
    sigset_t ignored, blocked;
    long limit_descriptors, limit_processes, limit_file; /* 0: the lab's */
    int pipe_size;
    const char *stays_itself; /* why it must not become another program by exec; NULL: it may */
    const char *carries;      /* why no bytes pass by it; NULL: they may */
    bool carries_ours;        /* nor what comes from us and goes to us */

    /* life */
    pid_t pid;
    int pidfd;
    ino_t own_pipe[2]; /* of its stdin and stdout, 0: no pipe of ours */
    bool ended, end_noted;
    bool end_expected;     /* whatever it was, the test has asked for it */
    uint64_t signals_sent; /* bit n: signal n, by the test */
    int status;
    struct rusage usage;
    int orphans;

    struct input in;
    struct output out[3];   /* [1] and [2] */
    struct output xml, log; /* valgrind's */
};

struct orphan {
    struct orphan *next;
    pid_t pid;
    struct program *owner; /* NULL: not known whose */
    char name[32];         /* its command, and whether it was a zombie, when it was counted */
    bool zombie, reaped;
};

struct harness {
    bool active;
    const char *id;
    struct job job;
    const struct job_test *test;
    struct board *board;
    int64_t begun_ns;
    int stuck_ms;
    bool transcript_full;
    struct program *programs, **last_program;
    struct orphan *orphans;
    struct sandbox sandbox[2]; /* of programs, of peers: these may run any command */
    bool sandbox_ready[2];
    const char *private; /* NULL until it is asked for */
    void (*at_end[AT_END_MAX])(void);
    void **kept; /* memory of this test */
    size_t kept_count, kept_capacity;
};
extern struct harness harness;

/* ---- test.c ---- */

/*
 * harness_begin() for a caller that is no Criterion worker (floor, unit tests): `id` names the test
 * in the job, `end` is called where a test ends before its last line and must not return. They,
 * too, call harness_passed() and harness_end().
 */
void harness_begin_as(const char *id, void (*end)(void));

void *test_alloc(size_t size); /* zeroed; lives until harness_end() */
_Noreturn void test_broken(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void test_verdict(enum board_verdict verdict, const char *expected, const char *got);
int64_t test_deadline(void); /* clock_ns() scale */
void board_add_memory(const char *json);

/* ---- streams.c ---- */

/* Waits at most `timeout_ms` for an event, moves what can be moved; true when something happened.
 */
bool pump(int timeout_ms);
void stream_open_output(struct output *o, int fd);
void streams_close(struct program *p);
const char *stream_name(int fd); /* "standard output" */

/* ---- reap.c ---- */

bool reap(void); /* takes all ends that there are; true when a program or an orphan ended */
void reap_kill_all(void);
void note_end(struct program *p);
/* The sentence for a death by signal that the test has neither caused nor expected; else NULL. */
const char *death_sentence(const struct program *p);
bool status_is_crash(int status);

/* ---- refused.c ---- */

void refused_watch(int listener); /* takes the descriptor */
void refused_stop(void);

/* ---- memcheck.c ---- */

/* Fills `argv` (NULL at the end) for `p` under valgrind with log descriptors xml and log. */
size_t memcheck_argv(const struct program *p, int xml_fd, int log_fd, const char **argv,
                     size_t max);
void memcheck_files(void (*allow)(const char *path)); /* what valgrind executes and reads */
const char *memcheck_folder(const struct program *p); /* where the program lies */
enum { MEMCHECK_RESERVED = 12, MEMCHECK_CPU_FACTOR = 6 };

/* ---- observe.c ---- */

size_t observe_own_children(pid_t *pids, size_t max); /* of the worker, over all its threads */
/* Fails the test when a program that must stay itself has become another one, or one that carries
 * bytes lets them pass by. */
void observe_promises(void);
/* Calls `each` for every task of `pid`, until it returns false. */
void observe_tasks(pid_t pid, bool (*each)(pid_t tid, void *context), void *context);
/* Reads /proc/PID/NAME into `text`, ended by a NUL; its length, 0 when it is gone. */
size_t observe_read(char *text, size_t size, pid_t pid, const char *name);
/* Takes the ids of `pid` for what the file system and /proc check; back with observe_as_before().
 */
struct ids;
struct ids *observe_as(pid_t pid);
void observe_as_before(const struct ids *before);

#endif
