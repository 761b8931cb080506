/*
 * scene.h - what a test arranges around its programs, and the events by which it forces an order.
 *
 *   files   a program makes FILE in the test's folder: file_wait(), file_there(), file_text();
 *   gates   FIFOs there, made and held open by the test: a tool of the suite waits at one until the
 *           test, or another tool, puts a byte into it. So a test can hold any of its own processes
 *           at any point and see what the others do meanwhile;
 *   quiet   everything is asleep in the kernel, and stays so: nothing happens any more.
 *
 * None of them sleeps and hopes. What is handed out as text lives until the test ends.
 */
#ifndef IPCLAB_HARNESS_SCENE_H
#define IPCLAB_HARNESS_SCENE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "harness/program.h"
#include "harness/random.h"

/* A random word of 4 to 11 letters; one of `len`. */
const char *word(struct random *r);
const char *letters(struct random *r, size_t len);
/*
 * For names of objects that all processes of a machine see: "" where the slot has namespaces of its
 * own; else letters that no other slot has at the moment. (Two gradings with one seed at a time
 * would meet in the same names.)
 */
const char *unique_suffix(void);
/* A random name for such an object, "abcd-efgh", with the suffix behind it. */
const char *object_name(struct random *r);
/* A number of `from` to `to`. */
int between(struct random *r, int from, int to);

/*
 * The suite itself could not do `what` with `name`, errno says why: ends the test as the grader's
 * fault.
 */
_Noreturn void suite_failed(const char *what, const char *name);
/* What the suite makes belongs to the slot, so that its programs can have it. */
void give_away(const char *path);
void give_away_fd(int fd, const char *name); /* `name` for the message */

/* ---- files and gates, by name, in the test's folder ---- */

void gate_make(const char *name);
void gate_open(const char *name, int count); /* lets `count` through, now or later */

bool file_there(const char *name);
/* Waits until `name` is there; `what` completes "expected: ". Stuck, or `p` ended: fails. */
void file_wait(struct program *p, const char *name, const char *what);
/* The bytes of a file, at most 2 MiB; fails with `what` when nobody has made it. */
const char *file_text(const char *name, size_t *len, const char *what);
/* Makes a file of the test's own, owned as the folder is. */
void file_make(const char *name, const char *contents, unsigned mode);
void folder_make(const char *name);
/* A pipe of the suite's own that a program of the slot may have; closed on exec. */
void pipe_make(int ends[2]);

/*
 * Whether the test may fill /dev/shm: it is the slot's own, by namespaces, or a container's, of 64
 * MiB at most. There other tests would see it full: one that asks is marked "alone" in lab.json,
 * and is where slots have no namespaces.
 */
bool own_shared_memory(void);

/* "nothing on stderr", or what has come there so far, for a message. */
const char *errors_shown(struct program *p);

/* ---- waiting ---- */

/* Waits for the end of `p`, `expected` as in wait_until(), and returns the wait status. */
int wait_for_end(struct program *p, const char *expected);
/* Waits for it: "exit status N: WHY". */
void expect_status(struct program *p, int status, const char *why);
/* Waits until `p` with all its descendants sleeps and goes on sleeping: it neither spins nor polls;
 * fails when it ended instead. */
void wait_quiet(struct program *p, const char *what);
/* The same for a program that may have much to do before: only after so many seconds of processor
 * time it is taken for one that spins. */
void wait_quiet_after_work(struct program *p, double seconds, const char *what);
/* wait_quiet(), or until `p` has ended. */
void wait_quiet_or_end(struct program *p, const char *what);
/* SIGSTOP, and waits until all its threads are stopped: one that is not there yet still takes what
 * it waits for. SIGCONT by program_signal(). */
void program_stop(struct program *p);
/* The same, and SIGCONT: a wait that SIGSTOP has interrupted is over, or has begun anew. */
void program_stop_and_continue(struct program *p);
/* Lets time pass, where that is what a test is about. */
void let_pass(int ms);
/* `ms` have passed since `since_ns` (clock_ns()): "it waits MS ms and then ends: WHY". Programs
 * measure their time with a clock that may be set a little slower than ours meanwhile. */
enum { CLOCKS_DIFFER_MS = 5 };
void expect_waited(int64_t since_ns, int ms, const char *why);
/*
 * wait_quiet(), and it sleeps until somebody wakes it: it does not sleep for a time, to look again
 * afterwards. Not for a program that has a time-out to keep.
 */
void wait_asleep(struct program *p, const char *what);
/* wait_asleep() as an expectation: no busy waiting and no polling while `when` ("both ends are
 * silent"). */
void expect_idle(struct program *p, const char *when);
/* Fails when the peak memory of `large` is more than 16 MiB over that of `small`. Both ended. */
void expect_same_peak(struct program *small, struct program *large);

#endif
