/*
 * test.h - tests, their verdicts, and waiting for what can be observed.
 *
 * A verdict never depends on luck or load:
 *
 * - failed: the contract was broken; test_fail() and the expect_ functions.
 * - crashed: a program died of SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGTRAP or SIGSYS.
 * - stuck (a kind of failed): every process of the test waits, and nobody is left to wake them.
 * That is seen in /proc, so it is no matter of time; the message names who waits where.
 * - timeout: the test's time is over. It is run again, alone, before it counts.
 * - not measured: the machine lacks what the test needs.
 */
#ifndef IPCLAB_HARNESS_TEST_H
#define IPCLAB_HARNESS_TEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef IPCLAB_FLOOR /* the bench's floor: the same scenarios without Criterion; floor_main.c */
struct floor_test {
    const char *suite, *name, *description;
    void (*body)(void);
};
#define TEST(Suite, Name, Description)                                                             \
    static void Suite##_##Name(void);                                                              \
    static const struct floor_test floor_##Suite##_##Name = {#Suite, #Name, Description,           \
                                                             Suite##_##Name};                      \
    __attribute__((section("floor_tests"),                                                         \
                   used)) static const struct floor_test *const floor_p_##Suite##_##Name =         \
        &floor_##Suite##_##Name;                                                                   \
    static void Suite##_##Name(void)
#else
#include <criterion/criterion.h>
#define TEST(Suite, Name, Description)                                                             \
    static void Suite##_##Name(void);                                                              \
    Test(Suite, Name, .description = Description, .init = harness_begin, .fini = harness_end)      \
    {                                                                                              \
        Suite##_##Name();                                                                          \
        harness_passed();                                                                          \
    }                                                                                              \
    static void Suite##_##Name(void)
#endif

void harness_begin(void);  /* called by TEST */
void harness_passed(void); /* the body has returned: the board's verdict is BOARD_PASSED */
void harness_end(void);

/* ---- messages ---- */

/* A formatted string that lives until the test ends. */
const char *text(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* `bytes` as a student reads them: quoted, escaped, cut in the middle beyond `max` characters. */
const char *quoted(const void *bytes, size_t len, size_t max);

/*
 * Ends the test as failed. `expected` and `got` are sentences without a full stop.
 */
_Noreturn void test_fail(const char *expected, const char *got);

/*
 * What a failure from here on is about, where that is not what its test is about: a heading of the
 * handout, and a hint that teaches without telling the solution; NULL: the manifest's. Returns what
 * was said before, for a function that says it for itself alone. Must outlive the test. Of a
 * program that crashed or spins no hint is given: that says it all.
 */
struct about {
    const char *see, *hint;
};
const struct about *test_about(const struct about *about);

/* Ends the test as not measured: `why` says what the machine lacks and how to get it. */
_Noreturn void test_not_measured(const char *why);

/* A line for the transcript: what was done or seen, without times, pids or addresses. */
void test_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Fails with the message unless `condition`; use the expect_ functions where one fits. */
#define EXPECT(condition, expected, got)                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            test_fail(expected, got);                                                              \
    } while (0)

/* ---- waiting ---- */

enum {
    STUCK_MS = 2000, /* all processes asleep for so long, and nothing to come: stuck */
    BLOCKED_MS = 30, /* asleep without a context switch for so long: blocked */
};

/*
 * Waits until `done(context)` is true, feeding and draining all programs of the test meanwhile.
 * `what` completes the sentence "expected: ...": "the pipeline ends after its input has ended".
 * When all processes are stuck, or the test's time is over, the test ends with that message.
 */
void wait_until(bool (*done)(void *context), void *context, const char *what);

/*
 * As wait_until, but returns false instead of failing when everything is stuck (not when time is
 * over): for "must not happen" and for a message of one's own.
 */
bool wait_until_or_stuck(bool (*done)(void *context), void *context, const char *what);

/* For programs that may sleep on purpose: how long "stuck" takes from now on in this test. */
void harness_stuck_after(int ms);

/*
 * `undo` is called when the test ends, however it ends but by a crash of the worker, after its
 * programs: for what the suite itself has made outside of the test's folder. Once, in any number of
 * calls.
 */
void test_at_end(void (*undo)(void));

/* Milliseconds that the suite itself waited without need of the processor (kept for the bench). */
void harness_count_wait(int ms);

/* ---- where things are ---- */
/*
 * A program of the suite, tools/NAME.c. Among the arguments of a program, what stands behind its
 * path, up to a "|" or the end, is sealed when the program starts (support/seal.h), so that the
 * submission cannot read it, if NAME's main() begins with unseal_arguments(). Words behind one that
 * is "args" stay as they are: a test of arguments looks at those.
 */
const char *tool_path(const char *name);
/* The same for a shell: the path, and `words` (blanks between them) sealed. */
const char *tool_command(const char *name, const char *words);
const char *test_directory(void);    /* the test's empty folder, the programs' working folder */
const char *private_directory(void); /* ours, empty at first: closed to the submission */
uint64_t test_seed(void);

#endif
