/*
 * program.h - one program under test: how it is started, fed, read, signalled, and how it ended.
 *
 * Order: program_new(), the settings, program_start(), then the rest in any order. Streams default
 * to pipes whose other ends the harness holds: what comes out is drained in every wait (head and
 * tail kept, all of it counted and hashed), unless program_hold_output() says no. Settings after
 * the start, or calls on a program that never started, are mistakes of the suite and end the test
 * as the grader's fault.
 *
 * The child is started with default signals, an empty mask, umask 022, descriptors 0, 1, 2 alone, a
 * clean environment (PATH=/usr/bin:/bin, HOME and TMPDIR: the test's folder, LC_ALL=C), in a
 * session of its own, inside the sandbox, with the limits of lab.json. That exec failed is the
 * grader's fault.
 */
#ifndef IPCLAB_HARNESS_PROGRAM_H
#define IPCLAB_HARNESS_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct program;

/* A program of the submission by its name in lab.json; its argv[0] is that name. */
struct program *program_new(const char *name);
/* A program of the machine or the suite, by absolute path: a peer. It is sandboxed all the same,
 * but may run every command of the system. */
struct program *program_new_peer(const char *path);
/* The absolute path of its file, which the submission may execute too. */
const char *program_path(const struct program *p);

/* ---- settings, before program_start() ---- */

/* A program of the submission, and its arguments: words with single blanks between them; '' is an
 * empty one. */
struct program *program_from_words(const char *words);
void program_arg(struct program *p, const char *arg);
void program_args(struct program *p, const char *arg, ...) __attribute__((sentinel));
void program_argv(struct program *p, const char *const *args); /* NULL at the end */

enum stream {
    STREAM_PIPE,   /* default: a pipe to the harness */
    STREAM_NULL,   /* /dev/null */
    STREAM_CLOSED, /* the descriptor is closed at the start */
    STREAM_GIVEN,  /* a descriptor of the suite's: program_give() */
    STREAM_SAME,   /* stderr only: the same description as stdout */
};
void program_stream(struct program *p, int fd, enum stream kind); /* fd 0, 1 or 2 */
/* The program gets a duplicate of `given` as descriptor `fd`; ours stays open. fd may be above 2.
 */
void program_give(struct program *p, int fd, int given);

void program_env(struct program *p, const char *name, const char *value);
void program_ignore_signal(struct program *p, int signal); /* starts with SIG_IGN for it */
void program_block_signal(struct program *p, int signal);  /* starts with it in the mask */
void program_limit_descriptors(struct program *p, long count);
void program_limit_processes(struct program *p, long count);
void program_limit_file(struct program *p, long bytes);
/* Pipe capacity of the streams that are pipes, in bytes (F_SETPIPE_SZ); default the kernel's. */
void program_pipe_size(struct program *p, int bytes);

/*
 * The submission may execute the system's command `command` (found as with PATH) from here to the
 * end of the test. It may execute its own programs, the suite's tools and what lies in the test's
 * folder, but no other command: a lab is not done by a shell that the submission starts. One that
 * is not installed is passed over. Peers may run any command. From then on it may also load the
 * system's libraries, which commands need; else the C library's alone.
 */
void program_may_run(struct program *p, const char *command);
/*
 * Its process must not become another program by exec: looked at at the end of every wait,
 * and in long ones meanwhile. `why` is
 * the contract's sentence, as in EXPECT: "pipeline starts each stage in a child of its own".
 */
void program_stays_itself(struct program *p, const char *why);

/*
 * It carries the bytes itself between the programs that it starts: none of them writes into the
 * pipe that another one reads. With `ours` also those between them and us: none has its own stdin
 * or stdout. Looked at when program_stays_itself() is; `why` as there.
 */
void program_carries(struct program *p, bool ours, const char *why);

void program_start(struct program *p);

/* ---- input ---- */

/*
 * Sends all of `bytes`, draining outputs meanwhile. Returns how much was taken: less than `len`
 * only when the other end is gone (EPIPE). Stuck or out of time ends the test.
 */
size_t program_send(struct program *p, const void *bytes, size_t len);
size_t program_send_text(struct program *p, const char *bytes);
/* Sends what is taken at once and returns how much that was (0 when the pipe is full). */
size_t program_send_some(struct program *p, const void *bytes, size_t len);
/* Queues `bytes` to be fed in every following wait; returns at once. */
void program_queue(struct program *p, const void *bytes, size_t len);
/* Queues `len` bytes of the program's own pattern, made as they are fed (pattern_fill(), random.h).
 */
void program_queue_pattern(struct program *p, uint64_t seed, uint64_t len);
/* Ends the input: closes our end, after what is queued has been taken. */
void program_close_input(struct program *p);
/* True once nobody can read what we send (poll says POLLERR on our end). */
bool program_input_is_gone(struct program *p);
/* How many bytes of the queued and sent input the program's pipe has taken so far. */
uint64_t program_input_taken(const struct program *p);

/* ---- output (fd 1 or 2) ---- */

/* While held, the stream is not drained: its pipe fills up. */
void program_hold_output(struct program *p, int fd, bool hold);
/* Closes our end: the next write of whoever holds the other gets SIGPIPE. */
void program_close_output(struct program *p, int fd);
/* Waits until at least `len` bytes have come in all; false when the stream ended before. */
bool program_wait_output(struct program *p, int fd, uint64_t len);
/* Waits for the next complete line (without newline); NULL at the end of the stream. */
const char *program_read_line(struct program *p, int fd, size_t *len);
/* The same; `what` completes "expected: ...". */
const char *program_expect_line(struct program *p, int fd, const char *what, size_t *len);
/* Waits until every holder of the other end has closed it. */
void program_wait_output_end(struct program *p, int fd);
bool program_output_ended(const struct program *p, int fd);
/* What has come so far: head and tail up to 1 MiB in all; `total` counts everything. */
const char *program_output(struct program *p, int fd, size_t *kept);
uint64_t program_output_total(const struct program *p, int fd);
/* Checks everything that comes on `fd` against the pattern of `seed`, without keeping it. */
void program_expect_pattern(struct program *p, int fd, uint64_t seed);

/* ---- its life ---- */

pid_t program_pid(const struct program *p);
bool program_has_ended(struct program *p);
/* Waits for the end of the process (not of the streams); its wait status as of waitpid(2). */
int program_wait(struct program *p);
void program_signal(struct program *p, int signal);
/* Waits until all its tasks and descendants are blocked (observe.h); `what` as in wait_until(). */
void program_wait_blocked(struct program *p, const char *what);
/*
 * After the end: of the process and the descendants that it waited for. The peak is never below the
 * suite's own size at the start (the kernel counts what a process was before exec): some 10 MiB.
 */
double program_cpu_seconds(const struct program *p);
long program_peak_kb(const struct program *p);
long program_voluntary_switches(const struct program *p);
/*
 * How many processes it left running or unreaped when it ended: the worker's children at that
 * moment that are no programs. (One whose own parent had ended before and that ended before, too,
 * was no concern of the program's.)
 */
int program_orphans(struct program *p);

/* ---- expectations: each fails the test with a sentence made for it ---- */

void expect_exit(struct program *p, int status); /* waits for the end */
void expect_exit_one_of(struct program *p, const int *statuses, size_t count);
void expect_killed(struct program *p, int signal);
void expect_output(struct program *p, const void *bytes,
                   size_t len); /* all of stdout, after its end */
void expect_output_text(struct program *p, const char *bytes);
void expect_no_output(struct program *p);
void expect_errors_empty(struct program *p); /* nothing on stderr */
void expect_error_line(struct program *p);   /* one line or more on stderr */
void expect_still_running(struct program *p, const char *why);
void expect_no_orphans(struct program *p); /* after its end */

/* The sentence for a wait status: "exit status 1", "killed by signal 11 (SIGSEGV, ...)". */
const char *status_sentence(int wait_status);

#endif
