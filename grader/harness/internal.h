/*
 * internal.h - what the harness's own files share; no suite includes it.
 *
 * Who is who: the *worker* is the process that a test runs in, and the subreaper of everything that
 * the test starts. A *program* is one child of it that program_start() made. An *orphan* is any
 * other child that the worker has: left behind by a program, alive or a zombie.
 *
 *   test.c     the test's state, memory, verdict, transcript
 *   wait.c     the one loop in which all waiting happens; stuck, blocked, deadline
 *   program.c  settings and start      streams.c  its standard streams
 *   endpoint.c the suite's own ends    net.c      those that are sockets
 *   channel.c  one direction of either pump.c     the one place that polls
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

#include "harness/endpoint.h"
#include "harness/program.h"
#include "run/job.h"
#include "support/fsids.h"
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
    bool shared; /* a socket, whose other direction is a struct output: its owner closes it */
    bool gone;   /* nobody reads any more */
    bool close_when_fed;
    struct queued *first, **last;
    uint64_t taken;
    uint64_t pattern_total; /* bytes of pattern queued so far */
    char *chunk;            /* of the pattern, made ahead */
    size_t chunk_pos, chunk_len;
};

struct output {
    int fd;
    const char *whose; /* "the standard output of pipeline" */
    bool is_pipe, held, ended, closed_by_us;
    bool shared;    /* as in struct input */
    bool was_reset; /* the end came as an error of read(2): ECONNRESET */
    uint64_t total;
    struct strbuf kept; /* all of it, or head and (as a ring behind it) tail */
    size_t tail_next;   /* where in the ring the next byte goes */
    bool by_lines;
    bool only_lines;     /* nothing in `kept` */
    struct strbuf lines; /* not yet read as lines */
    size_t line_pos;
    bool patterned;
    uint64_t pattern_seed, pattern_offset;
};

/* What one process has written of what several write: reports.c. */
struct report {
    struct report *next;
    pid_t pid; /* 0: of a process that is not in our namespace */
    struct strbuf bytes;
};

struct reports {
    int fd;     /* our end, -1: none, or all writers have ended */
    pid_t only; /* keep what this one writes; 0: of all */
    struct report *first;
    size_t bytes; /* of all */
    bool cut;     /* some were too many and are not kept */
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
    struct output out[3];    /* [1] and [2] */
    struct reports xml, log; /* valgrind's */
};

/* What the suite itself holds of an IPC object: endpoint.h. */
enum endpoint_kind { ENDPOINT_STREAM, ENDPOINT_LISTENER, ENDPOINT_DATAGRAMS };

struct endpoint {
    struct endpoint *next;
    const char *name;
    enum endpoint_kind kind;
    int fd; /* of a socket, else -1: `in` and `out` have theirs */
    struct input in;
    struct output out;
    bool held; /* a listener or a socket of datagrams is not read */
    int port;  /* of a socket: its own */
    /* what has come and nobody has taken yet */
    struct endpoint **accepted;
    size_t accepted_count, accepted_taken, accepted_capacity;
    struct datagram *first, *last;
    size_t waiting; /* bytes of datagrams */
};

struct orphan {
    struct orphan *next;
    pid_t pid;
    struct program *owner; /* NULL: not known whose */
    char name[32];         /* its command, and whether it was a zombie, when it was counted */
    bool zombie, reaped;
};

/* Words that tool_command() has sealed. */
struct sealed {
    const struct sealed *next;
    const char *seal, *words;
};

struct harness {
    bool active;
    const char *id;
    struct job job;
    const struct job_test *test;
    struct board *board;
    int64_t begun_ns;
    int stuck_ms;
    int dropped_notes; /* lines that the transcript had no room for, and says so */
    struct program *programs, **last_program;
    struct endpoint *endpoints;
    const struct sealed *sealed;
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

/* ---- pump.c ---- */

/* Waits at most `timeout_ms` for an event, moves what can be moved; true when something happened.
 */
bool pump(int timeout_ms);

/* ---- channel.c ---- */

void close_fd(int *fd); /* -1 then; nothing to close where it is -1 */
struct queued *input_enqueue(struct input *in);
void input_enqueue_bytes(struct input *in, const void *bytes, size_t len); /* a copy of them */
uint64_t input_pending(const struct input *in); /* bytes that are queued and not taken */
void input_drop(struct input *in);
void input_is_gone(struct input *in);
/* Writes what is taken at once, where nothing is queued before it; how much that was. */
size_t input_write_some(struct input *in, const void *bytes, size_t len);
bool input_feed(
    struct input *in); /* writes what is taken; true when anything was, or the end came */
bool input_settle(struct input *in); /* ends it where that was asked for and nothing is queued */
bool output_is_watched(const struct output *o);
bool output_drain(struct output *o); /* reads what there is; true when anything or the end came */
/* Reads at most so much of it, also while it is held; how much that was. */
size_t output_let_in(struct output *o, size_t most);
/* From here on what comes is kept in `lines` too, for the two below. */
void output_by_lines(struct output *o);
bool output_has_line(const struct output *o);
const char *output_take_line(struct output *o, size_t *len); /* without newline; NULL: none whole */
const char *output_take(struct output *o, size_t len);       /* that many must be there */
const char *output_kept(struct output *o, size_t *kept);
void output_release(struct output *o);

/* ---- endpoint.c, net.c ---- */

struct endpoint *endpoint_add(enum endpoint_kind kind, int fd, const char *name);
bool net_accept_all(struct endpoint *listener); /* true when anybody came */
bool net_read_datagrams(struct endpoint *e);    /* true when any came */
/* Bytes have been sent to us that have not come, though we read: the system's own threads and
 * timers (a window that has opened, a segment that is sent again) bring them without any task of
 * the test. */
bool net_is_under_way(void);
void endpoints_close(void);

/* ---- tools.c ---- */

/* Writes `count` arguments of `p` to `out`, which has room for them, those of tools sealed; returns
 * how many. */
size_t tools_seal(const struct program *p, const char *const *args, size_t count, const char **out);
/* What tool_command() has sealed in `arg`, as it was: for people, and the same in each grading. */
const char *tools_reveal(const char *arg);

/* ---- streams.c ---- */

void stream_open_output(struct program *p, struct output *o, int fd);
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
/* Whether a call waits for its answer: who made it is asleep, and goes on without anybody's doing.
 */
bool refused_call_waits(void);

/* ---- reports.c ---- */

int reports_open(struct reports *r); /* the end to write to, the caller's */
bool reports_drain(struct reports *r);
void reports_release(struct reports *r);

/* ---- memcheck.c ---- */

/* Fills `argv` (NULL at the end) for `p` under valgrind with log descriptors xml and log. */
size_t memcheck_argv(const struct program *p, int xml_fd, int log_fd, const char **argv,
                     size_t max);
void memcheck_files(void (*allow)(const char *path)); /* what valgrind executes and reads */
const char *memcheck_folder(const struct program *p); /* where the program lies */
/* How many it may have; under valgrind those from there on are valgrind's own. */
long program_descriptors(const struct program *p);
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
/* Takes the ids of `pid` for what the file system and /proc check; back with fsids_restore(). */
struct fsids observe_as(pid_t pid);

#endif
