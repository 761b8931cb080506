/* The harness notices what it promises to notice, and says so in words that help. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/harness.h"
#include "harness/internal.h"
#include "harness/trace.h"
#include "course/manifest.h"
#include "sandbox/exclusion.h"
#include "support/clock.h"
#include "support/files.h"
#include "support/memory.h"
#include "scenario.h"

static struct program *start(const char *what, const char *arg)
{
    struct program *p = program_new("misbehave");
    program_args(p, what, arg, NULL);
    program_start(p);
    return p;
}

/* ---- a program that behaves ---- */

static void copies(void)
{
    struct program *p = start("copy", NULL);
    cr_assert_eq(program_send_text(p, "hello\n"), 6);
    size_t len;
    if (strcmp(program_read_line(p, 1, &len), "hello") != 0 || len != 5)
        test_fail("the line", "another");
    program_close_input(p);
    expect_exit(p, 0);
    expect_output_text(p, "hello\n");
    expect_errors_empty(p);
    expect_no_orphans(p);
}

Test(harness, passes_a_program_that_does_as_it_should)
{
    const struct board *b = scenario(copies);
    assert_verdict(b, BOARD_PASSED);
    cr_assert_str_eq(b->transcript,
                     "$ misbehave copy\n"
                     "> 6 bytes to the standard input of misbehave: \"hello\\n\"\n"
                     "> end of the standard input of misbehave\n"
                     "misbehave ended: exit status 0\n"
                     "misbehave wrote 6 bytes to its standard output: \"hello\\n\"\n");
    cr_assert_eq(atomic_load(&b->orphans), 0);
    cr_assert_gt(atomic_load(&b->started_ns), 0);
}

static void not_compiled(void)
{
    program_start(program_new("empty"));
}

Test(harness, a_program_that_does_not_compile_fails_its_tests)
{
    char *path = path_join(programs_folder(), "empty");
    cr_assert_eq(file_write_whole(path, 0644, "no file", 7, NULL), 0);
    const struct board *board = scenario(not_compiled);
    unlink(path);
    assert_verdict(board, BOARD_FAILED);
    assert_says(board->expected, "empty compiles");
    cr_assert_str_eq(board->got, "no file");
}

static void carries_a_lot(void)
{
    struct program *p = start("copy", NULL);
    program_expect_pattern(p, 1, 99);
    program_queue_pattern(p, 99, 64 << 20);
    program_close_input(p);
    expect_exit(p, 0);
    program_wait_output_end(p, 1);
    if (program_output_total(p, 1) != 64 << 20 || program_input_taken(p) != 64 << 20)
        test_fail("64 MiB", "less");
    if (program_peak_kb(p) > 32 << 10)
        test_fail("constant memory", text("%ld KiB", program_peak_kb(p)));
}

Test(harness, checks_a_stream_without_keeping_it)
{
    assert_verdict(scenario(carries_a_lot), BOARD_PASSED);
}

static void changes_a_byte(void)
{
    struct program *p = program_new_peer("/bin/sh");
    program_args(p, "-c", "head -c 100000; printf x; cat", NULL);
    program_start(p);
    program_expect_pattern(p, 1, 5);
    program_queue_pattern(p, 5, 300000);
    program_close_input(p);
    expect_exit(p, 0);
    program_wait_output_end(p, 1);
}

Test(harness, finds_a_byte_that_is_too_much)
{
    const struct board *b = scenario(changes_a_byte);
    assert_verdict(b, BOARD_FAILED);
    assert_says(b->got, "byte 100001 of the standard output of sh is \"x\"");
}

static void shows_its_start(void)
{
    struct program *p = program_new("misbehave");
    program_args(p, "show-start", NULL);
    program_ignore_signal(p, SIGPIPE);
    program_block_signal(p, SIGUSR1);
    program_start(p);
    expect_exit(p, 0);
    expect_output_text(p, "ignored: 13\nblocked: 10\nsession: own\n");
}

Test(harness, starts_with_the_signals_and_session_that_were_asked_for)
{
    assert_verdict(scenario(shows_its_start), BOARD_PASSED);
}

static void lists_descriptors(void)
{
    int given[2];
    cr_assert_eq(pipe2(given, O_CLOEXEC), 0);
    struct program *p = start("descriptors", NULL);
    expect_exit(p, 0);
    expect_output_text(p, "0 1 2 \n");
    p = program_new("misbehave");
    program_args(p, "descriptors", NULL);
    program_stream(p, 0, STREAM_CLOSED);
    program_give(p, 9, given[1]);
    program_give(p, 4, given[0]);
    program_start(p);
    expect_exit(p, 0);
    expect_output_text(p, "1 2 4 9 \n");
    /* The same as 0, 1, 2 of the program, whatever numbers they have here. */
    p = program_new_peer("/bin/sh");
    program_args(p, "-c", "echo to stderr >&2; echo to stdout", NULL);
    program_stream(p, 2, STREAM_SAME);
    program_start(p);
    expect_exit(p, 0);
    expect_output_text(p, "to stderr\nto stdout\n");
}

Test(harness, gives_the_descriptors_that_were_asked_for_and_no_other)
{
    const struct board *b = scenario(lists_descriptors);
    assert_verdict(b, BOARD_PASSED);
    assert_says(b->transcript, "$ misbehave descriptors <&-\n");
    assert_says(b->transcript, "$ sh -c 'echo to stderr >&2; echo to stdout' 2>&1\n");
}

/* ---- stuck, out of time, spinning ---- */

static void waits_for_end_of(const char *what)
{
    expect_exit(start(what, NULL), 0);
}

static void sleeps(void)
{
    waits_for_end_of("sleep");
}

Test(harness, sees_that_a_sleeper_is_stuck_long_before_its_time_is_over)
{
    int64_t begun = clock_ns();
    const struct board *b = scenario(sleeps);
    assert_verdict(b, BOARD_FAILED);
    assert_says(b->expected, "misbehave ends with exit status 0");
    assert_says(b->got, "all processes wait");
    assert_says(b->got, "misbehave waits for a signal (pause)");
    cr_assert_lt(clock_ns() - begun, 15 * NS_PER_S);
    cr_assert_geq(atomic_load(&b->waited_ms), STUCK_MS);
}

static void waits_at_a_semaphore(void)
{
    expect_exit(start("wait-at-semaphore", text("/unit-%d", (int)getpid())), 0);
}

static void waits_at_a_queue(void)
{
    expect_exit(start("wait-at-queue", text("/unit-%d", (int)getpid())), 0);
}

Test(harness, names_the_place_in_shared_memory_and_the_queue)
{
    const struct board *b = scenario(waits_at_a_semaphore);
    assert_verdict(b, BOARD_FAILED);
    assert_says(b->got, "misbehave waits for a lock, a semaphore or a thread (futex), byte 72 of "
                        "/dev/shm/unit-");
    b = scenario(waits_at_a_queue);
    assert_verdict(b, BOARD_FAILED);
    assert_says(b->got, "misbehave waits for a message in a queue (mq_receive): /unit-");
}

static void is_about(void)
{
    static const struct about other = {"Another heading", "Another hint."};
    cr_assert_null(test_about(&other));
    test_fail("this", "that");
}

static void was_about(void)
{
    static const struct about other = {"Another heading", "Another hint."};
    test_about(test_about(&other));
    test_fail("this", "that");
}

Test(harness, says_what_a_failure_is_about)
{
    const struct board *b = scenario(is_about);
    assert_verdict(b, BOARD_FAILED);
    cr_assert_str_eq(b->see, "Another heading");
    cr_assert_str_eq(b->hint, "Another hint.");
    b = scenario(was_about);
    cr_assert_str_eq(b->see, "");
    cr_assert_str_eq(b->hint, "");
    cr_assert_eq(atomic_load(&b->no_hint), 0);
}

static void comes_to_rest(void)
{
    struct program *p = start("close-input", NULL);
    wait_quiet(p, "misbehave waits");
    program_signal(p, SIGKILL);
    program_wait(p);
}

Test(harness, sees_that_a_program_is_at_rest)
{
    assert_verdict(scenario(comes_to_rest), BOARD_PASSED);
}

static void never_rests(void)
{
    wait_quiet(start("spin", NULL), "misbehave waits");
}

Test(harness, sees_that_a_program_never_rests)
{
    const struct board *b = scenario(never_rests);
    assert_verdict(b, BOARD_FAILED);
    assert_says(b->got, "burning processor time");
    cr_assert_eq(atomic_load(&b->no_hint), 1);
}

static const char *const sleeps_in[] = {"nanosleep", "poll",      "ppoll",  "select",
                                        "epoll",     "semaphore", "signal", "queue"};

static bool sleeps_for_a_time(const char *what, const char *call, const char *seconds)
{
    struct program *p = program_new("misbehave");
    program_args(p, what, call, seconds, NULL);
    program_start(p);
    wait_quiet(p, call);
    bool timed = process_sleeps_for_a_time(program_pid(p));
    program_signal(p, SIGKILL);
    program_wait(p);
    return timed;
}

static void sleeps_for_times(void)
{
    for (size_t i = 0; i < sizeof sleeps_in / sizeof sleeps_in[0]; i++) {
        bool always = strcmp(sleeps_in[i], "nanosleep") == 0;
        if (!sleeps_for_a_time("sleep-in", sleeps_in[i], "30"))
            test_fail("it sleeps for 30 s", sleeps_in[i]);
        if (!always && sleeps_for_a_time("sleep-in", sleeps_in[i], "-1"))
            test_fail("it sleeps until it is woken", sleeps_in[i]);
        if (!always && sleeps_for_a_time("sleep-in", sleeps_in[i], "1000000"))
            test_fail("it sleeps for days", sleeps_in[i]);
    }
    if (!sleeps_for_a_time("thread-sleeps-in", "poll", NULL))
        test_fail("one of its threads sleeps for 30 s", "it is not seen");
}

Test(harness, tells_who_sleeps_for_a_time)
{
    assert_verdict(scenario(sleeps_for_times), BOARD_PASSED);
}

static void is_not_asleep(void)
{
    struct program *p = program_new("misbehave");
    program_args(p, "sleep-in", "poll", "30", NULL);
    program_start(p);
    wait_asleep(p, "misbehave waits");
}

Test(harness, sees_that_a_program_will_look_again)
{
    const struct board *b = scenario(is_not_asleep);
    assert_verdict(b, BOARD_FAILED);
    assert_says(b->got, "it sleeps for a time");
}

static void works_apart(void)
{
    enum { OPENED = 20 };
    static struct process_list list;
    struct program *p = start("work-apart", text("%d", OPENED)), *other = start("sleep", NULL);
    size_t len;
    const char *line = program_read_line(p, 1, &len);
    if (line == NULL || strcmp(line, "ready") != 0)
        test_fail("ready", line);
    wait_quiet(p, "both processes sleep");
    process_family(program_pid(p), &list);
    if (list.count != 1)
        test_fail("one process works for it", text("%zu", list.count));
    if (process_family_descriptors(program_pid(p)) < OPENED)
        test_fail("its descriptors are counted", "they are not");
    if (process_family_peak_kb(program_pid(p)) <= process_peak_kb(program_pid(p)))
        test_fail("its memory is counted", "it is not");
    if (!process_sleeps_for_a_time(program_pid(p)))
        test_fail("it is seen to sleep for a time", "it is not");
    process_family(program_pid(other), &list);
    for (size_t i = 0; i < list.count; i++)
        if (list.pid[i] == program_pid(p))
            test_fail("a program belongs to no other", "it does");
}

Test(harness, looks_at_a_process_that_has_left_its_program)
{
    assert_verdict(scenario(works_apart), BOARD_PASSED);
}

static void steps_to_its_end(void)
{
    struct trace_stop stop;
    struct program *p = program_new("misbehave");
    int calls = 0;
    program_args(p, "exit", "3", NULL);
    if (!trace_start(p))
        test_fail("it is held", strerror(errno));
    for (int i = 0; i < 100; i++)
        if (!trace_step(1000))
            test_fail("it goes on by one instruction", "it does not");
    while (trace_next(&stop, 1000))
        calls++;
    if (!trace_ended() || calls == 0 || stop.leaves || stop.number != SYS_exit_group ||
        stop.arguments[0] != 3)
        test_fail("the last call of a program is to end with 3", text("%d calls", calls));
    trace_end();
    expect_exit(p, 3);
}

/* The first thread waits for the other one, in the middle of a step, and lives on when it is let go
 * of. */
static void steps_in_a_thread(void)
{
    struct trace_stop stop = {.leaves = false};
    struct program *p = program_new("misbehave");
    program_args(p, "threads", "1", NULL);
    if (!trace_start(p))
        test_fail("it is held", strerror(errno));
    while (!stop.leaves || (stop.number != SYS_clone3 && stop.number != SYS_clone))
        if (!trace_next(&stop, 1000))
            test_fail("it starts a thread", "it does not");
    while (trace_step(100))
        continue;
    if (trace_ended())
        test_fail("one thread waits for the other, which waits for input", "it has ended");
    program_send_text(p, "x");
    for (int i = 0; i < 50; i++)
        if (!trace_step(1000))
            test_fail("a thread goes on by one instruction", "it does not");
    trace_end();
    expect_exit(p, 0);
}

static void is_let_go(void)
{
    struct program *p = start("copy", NULL);
    struct trace_stop stop;
    size_t len;
    wait_quiet(p, "it waits for input");
    if (!trace_begin(p))
        test_fail("it is held", strerror(errno));
    while (trace_next(&stop, 50)) /* its read() begins anew */
        continue;
    if (trace_ended())
        test_fail("it sleeps in read()", "it has ended");
    trace_end();
    program_send_text(p, "hello\n");
    if (strcmp(program_read_line(p, 1, &len), "hello") != 0)
        test_fail("it goes on as if nothing had been", "another line");
    program_close_input(p);
    expect_exit(p, 0);
}

static void fails_while_it_holds(void)
{
    struct program *p = program_new("misbehave");
    program_args(p, "sleep", NULL);
    if (!trace_start(p))
        test_fail("it is held", strerror(errno));
    test_fail("this", "that");
}

Test(harness, holds_a_program_and_lets_it_go)
{
    assert_verdict(scenario(steps_to_its_end), BOARD_PASSED);
    assert_verdict(scenario(steps_in_a_thread), BOARD_PASSED);
    assert_verdict(scenario(is_let_go), BOARD_PASSED);
    const struct board *b = scenario(fails_while_it_holds); /* and nothing is left to wait for */
    assert_verdict(b, BOARD_FAILED);
    assert_says(b->got, "that");
}

static void crashes_beside(void)
{
    struct program *p = start("crash", NULL);
    program_wait(p);
    test_fail("this", "that");
}

Test(harness, gives_no_hint_for_a_crash)
{
    const struct board *b = scenario(crashes_beside);
    assert_verdict(b, BOARD_CRASHED);
    cr_assert_eq(atomic_load(&b->no_hint), 1);
}

static void stops(void)
{
    waits_for_end_of("stop");
}

Test(harness, sees_a_program_that_stops_itself)
{
    const struct board *b = scenario(stops);
    assert_verdict(b, BOARD_FAILED);
    assert_says(b->got, "misbehave is stopped by a signal");
}

static void naps(void)
{
    struct program *p = start("nap", NULL);
    program_wait_blocked(p, "misbehave waits for its input");
}

Test(harness, does_not_take_short_sleeps_for_blocked_or_stuck)
{
    const struct board *b = scenario_with(naps, (struct options){.seconds = 4});
    assert_verdict(b, BOARD_TIMEOUT);
    assert_says(b->expected, "misbehave waits for its input");
}

static void one_thread_spins(void)
{
    struct program *p = start("thread-spins", NULL);
    program_wait_blocked(p, "misbehave waits");
}

Test(harness, looks_at_every_thread)
{
    const struct board *b = scenario_with(one_thread_spins, (struct options){.seconds = 1});
    assert_verdict(b, BOARD_TIMEOUT);
    assert_says(b->got, "1 s were not enough");
}

static void threads_block(void)
{
    struct program *p = start("threads", "3");
    program_wait_blocked(p, "misbehave waits");
    if (process_threads(program_pid(p)) != 4)
        test_fail("4 threads", text("%zu", process_threads(program_pid(p))));
    program_close_input(p);
    expect_exit(p, 0);
}

Test(harness, sees_threads_blocked)
{
    const struct board *b = scenario(threads_block);
    assert_verdict(b, BOARD_PASSED);
    cr_assert_geq(atomic_load(&b->waited_ms), BLOCKED_MS);
}

static void spins(void)
{
    waits_for_end_of("spin");
}

Test(harness, tells_spinning_from_waiting)
{
    const struct board *b = scenario(spins);
    assert_verdict(b, BOARD_FAILED);
    assert_says(b->got, "runs in a circle instead of waiting");
}

static void ends_at_once(void)
{
    program_wait_blocked(start("exit", "3"), "misbehave waits for its input");
}

Test(harness, says_when_a_program_ends_instead_of_waiting)
{
    const struct board *b = scenario(ends_at_once);
    assert_verdict(b, BOARD_FAILED);
    assert_says(b->got, "it ended with exit status 3");
}

static void keeps_write_end(void)
{
    struct program *p = program_new("misbehave");
    program_args(p, "keep-write-end", NULL);
    program_may_run(p, "cat");
    program_start(p);
    program_close_input(p);
    expect_exit(p, 0);
}

Test(harness, names_who_holds_the_write_end)
{
    const struct board *b = scenario(keeps_write_end);
    assert_verdict(b, BOARD_FAILED);
    assert_says(b->got, "misbehave waits for a child to end");
    assert_says(b->got, "cat waits for input on descriptor 0, a pipe whose write end is still open "
                        "in: misbehave (descriptor 4)");
}

static void polls_a_pipe(void)
{
    waits_for_end_of("poll-pipe");
}

Test(harness, says_who_is_at_the_other_ends_for_one_who_polls)
{
    const struct board *b = scenario(polls_a_pipe);
    assert_verdict(b, BOARD_FAILED);
    assert_says(b->got, "misbehave waits in poll; it holds descriptor 3, a pipe whose write end is "
                        "open in: misbehave (descriptor 4); descriptor 4, a pipe that is read by: "
                        "misbehave (descriptor 3)");
}

static const char *held_fifo(void)
{
    const char *path = text("%s/gate", test_directory());
    struct stat s;
    if (mkfifo(path, 0600) != 0 || open(path, O_RDWR | O_CLOEXEC) < 0 ||
        stat(test_directory(), &s) != 0 || chown(path, s.st_uid, s.st_gid) != 0)
        test_broken("no FIFO of our own");
    return path;
}

static void peer_waits_at_a_gate(void)
{
    struct program *p = program_new_peer("/bin/sh");
    program_args(p, "-c", text("exec cat '%s'", held_fifo()), NULL);
    program_start(p);
    expect_exit(p, 0);
}

static void program_waits_at_a_fifo(void)
{
    held_fifo();
    struct program *p = program_new("misbehave");
    program_arg(p, "copy");
    program_give(p, 0, open(text("%s/gate", test_directory()), O_RDONLY | O_CLOEXEC));
    program_start(p);
    expect_exit(p, 0);
}

Test(harness, calls_a_gate_a_gate_but_not_for_the_program_under_test)
{
    const struct board *b = scenario(peer_waits_at_a_gate);
    assert_verdict(b, BOARD_FAILED);
    assert_says(b->got, "cat waits for the test to let it go on");
    b = scenario(program_waits_at_a_fifo);
    assert_verdict(b, BOARD_FAILED);
    assert_says(b->got, "misbehave waits for input on descriptor 0");
}

static void nobody_feeds(void)
{
    waits_for_end_of("copy");
}

Test(harness, names_itself_where_it_holds_the_other_end)
{
    const struct board *b = scenario(nobody_feeds);
    assert_verdict(b, BOARD_FAILED);
    assert_says(b->got, "a pipe whose write end is still open in: the grader");
}

static bool never(void *context)
{
    (void)context;
    return false;
}

static void nothing_is_left(void)
{
    expect_exit(start("exit", "0"), 0);
    if (wait_until_or_stuck(never, NULL, "a sign"))
        test_fail("false", "true");
    wait_until(never, NULL, "a sign comes");
}

Test(harness, does_not_wait_where_nobody_is_left)
{
    const struct board *b = scenario(nothing_is_left);
    assert_verdict(b, BOARD_FAILED);
    cr_assert_str_eq(b->expected, "a sign comes");
    assert_says(b->got, "all processes of the test have ended");
    cr_assert_lt(atomic_load(&b->waited_ms), STUCK_MS);
}

static void ignores_term(void)
{
    struct program *p = start("ignore-term", NULL);
    program_read_line(p, 1, NULL);
    program_signal(p, SIGTERM);
    expect_exit(p, 0);
}

Test(harness, sees_that_sigterm_is_ignored_and_ends_the_program_all_the_same)
{
    const struct board *b = scenario(ignores_term);
    assert_verdict(b, BOARD_FAILED);
    assert_says(b->transcript, "! sent SIGTERM to misbehave\n");
}

/* ---- ends ---- */

static void crashes(void)
{
    waits_for_end_of("crash");
}

static void crashes_while_read(void)
{
    struct program *p = start("crash", NULL);
    if (program_read_line(p, 1, NULL) == NULL) {
        program_wait(p);
        test_fail("a line", "the end of output");
    }
}

static void crash_is_expected(void)
{
    struct program *p = start("crash", NULL);
    expect_killed(p, SIGSEGV);
    test_fail("something else", "it failed");
}

static void wrong_status(void)
{
    expect_exit(start("exit", "3"), 0);
}

static void kills_itself(void)
{
    waits_for_end_of("killed");
}

static void writes_to_nobody(void)
{
    struct program *p = start("flood", NULL);
    program_wait_output(p, 1, 1);
    program_close_output(p, 1);
    program_wait(p);
    test_fail("it lives on", "it is gone");
}

static void we_kill_it(void)
{
    struct program *p = start("sleep", NULL);
    program_signal(p, SIGKILL);
    expect_killed(p, SIGKILL);
}

Test(harness, makes_a_verdict_of_every_end)
{
    const struct board *b = scenario(crashes);
    assert_verdict(b, BOARD_CRASHED);
    assert_says(b->got, "killed by signal 11 (SIGSEGV: an access to memory that is not its own)");
    b = scenario(crashes_while_read);
    assert_verdict(b, BOARD_CRASHED);
    assert_says(b->got, "besides: the end of output");
    b = scenario(crash_is_expected);
    assert_verdict(b, BOARD_FAILED);
    cr_assert_str_eq(b->got, "it failed");
    b = scenario(wrong_status);
    assert_verdict(b, BOARD_FAILED);
    cr_assert_str_eq(b->expected, "misbehave ends with exit status 0");
    cr_assert_str_eq(b->got, "exit status 3");
    b = scenario(kills_itself);
    assert_verdict(b, BOARD_FAILED);
    assert_says(b->got, "which the grader did not send");
    b = scenario(writes_to_nobody);
    assert_verdict(b, BOARD_FAILED);
    assert_says(b->got, "(SIGPIPE): it has written to somebody who had gone; besides: it is gone");
    assert_verdict(scenario(we_kill_it), BOARD_PASSED);
}

static void leaves_zombies(void)
{
    struct program *p = start("zombies", "3");
    expect_exit(p, 0);
    if (program_orphans(p) != 3)
        test_fail("3", text("%d", program_orphans(p)));
    expect_no_orphans(p);
}

static void daemonises(void)
{
    struct program *p = start("daemonise", NULL);
    expect_exit(p, 0);
    wait_until_or_stuck(never, NULL, "the daemon settles");
    expect_no_orphans(p);
}

Test(harness, counts_what_a_program_leaves)
{
    const struct board *b = scenario(leaves_zombies);
    assert_verdict(b, BOARD_FAILED);
    assert_says(b->got, "3 left over: misbehave (had ended, was not waited for)");
    cr_assert_eq(atomic_load(&b->orphans), 3);
    b = scenario(daemonises);
    assert_verdict(b, BOARD_FAILED);
    assert_says(b->got, "1 left over: misbehave");
}

static void holds_output(void)
{
    struct program *p = start("hold-output", NULL);
    expect_exit(p, 0);
    expect_no_output(p);
}

Test(harness, says_who_holds_a_pipe_after_the_end)
{
    const struct board *b = scenario(holds_output);
    assert_verdict(b, BOARD_FAILED);
    assert_says(b->expected, "everybody closes the standard output of misbehave");
    assert_says(b->got, "misbehave waits for a signal (pause)");
}

/* ---- streams ---- */

static void floods(void)
{
    struct program *p = start("flood", NULL);
    if (!program_wait_output(p, 1, 20 << 20))
        test_fail("20 MiB", "less");
    size_t kept;
    program_output(p, 1, &kept);
    if (kept != 1 << 20)
        test_fail("1 MiB is kept", text("%zu", kept));
    program_close_output(p, 1);
    expect_killed(p, SIGPIPE);
}

Test(harness, keeps_a_bounded_part_of_a_flood)
{
    assert_verdict(scenario(floods), BOARD_PASSED);
}

static void keeps_head_and_tail(void)
{
    struct program *p = program_new_peer("/bin/sh");
    program_args(p, "-c", "seq 1 400000", NULL);
    program_start(p);
    expect_exit(p, 0);
    program_wait_output_end(p, 1);
    size_t kept;
    const char *bytes = program_output(p, 1, &kept);
    if (kept != 1 << 20 || memcmp(bytes, "1\n2\n3\n", 6) != 0 ||
        memcmp(bytes + kept - 14, "399999\n400000\n", 14) != 0)
        test_fail("head and tail", quoted(bytes, kept, 100));
}

Test(harness, keeps_head_and_tail_in_order)
{
    assert_verdict(scenario(keeps_head_and_tail), BOARD_PASSED);
}

static void never_reads(void)
{
    static char bytes[200000];
    program_send(start("sleep", NULL), bytes, sizeof bytes);
}

static void closes_input(void)
{
    static char bytes[200000];
    struct program *p = start("close-input", NULL);
    program_wait_blocked(p, "it sleeps");
    if (program_send(p, bytes, sizeof bytes) != 0 || !program_input_is_gone(p))
        test_fail("nothing is taken", "something was");
}

static void takes_some(void)
{
    static char bytes[200000];
    struct program *p = program_new("misbehave");
    program_args(p, "sleep", NULL);
    program_pipe_size(p, 4096);
    program_start(p);
    size_t n = program_send_some(p, bytes, sizeof bytes);
    if (n != 4096 || program_send_some(p, bytes, 1) != 0 || program_input_taken(p) != 4096)
        test_fail("4096", text("%zu", n));
}

Test(harness, notices_who_does_not_read)
{
    const struct board *b = scenario(never_reads);
    assert_verdict(b, BOARD_FAILED);
    assert_says(b->expected, "misbehave reads its standard input");
    assert_verdict(scenario(closes_input), BOARD_PASSED);
    assert_verdict(scenario(takes_some), BOARD_PASSED);
}

static void holds(void)
{
    struct program *p = program_new("misbehave");
    program_args(p, "flood", NULL);
    program_hold_output(p, 1, true);
    program_start(p);
    program_wait_blocked(p, "a full pipe stops the writer");
    if (program_output_total(p, 1) != 0)
        test_fail("nothing is drained", "something was");
    program_hold_output(p, 1, false);
    if (!program_wait_output(p, 1, 1 << 20))
        test_fail("it goes on", "it does not");
    program_signal(p, SIGKILL);
    program_wait(p);
}

Test(harness, holds_an_output_until_it_is_let_go)
{
    assert_verdict(scenario(holds), BOARD_PASSED);
}

static void wrong_output(void)
{
    struct program *p = program_new_peer("/bin/sh");
    program_args(p, "-c", "seq 1 60; echo 6l; seq 62 100", NULL);
    program_start(p);
    struct strbuf want = STRBUF_INIT;
    for (int i = 1; i <= 100; i++)
        strbuf_addf(&want, "%d\n", i);
    expect_exit(p, 0);
    expect_output(p, want.text, want.len);
}

Test(harness, shows_the_first_difference)
{
    const struct board *b = scenario(wrong_output);
    assert_verdict(b, BOARD_FAILED);
    assert_says(b->got, "292 bytes; the first difference is at byte 173 (in line 61)");
    assert_says(b->got, "6l\\n62");
}

static void no_error_line(void)
{
    struct program *p = start("exit", "1");
    expect_exit(p, 1);
    expect_error_line(p);
}

Test(harness, wants_a_word_on_errors)
{
    assert_verdict(scenario(no_error_line), BOARD_FAILED);
}

/* ---- other programs ---- */

static struct program *become(const char *path, const char *arg)
{
    struct program *p = program_new("misbehave");
    program_args(p, "become", path, arg, NULL);
    return p;
}

#if defined(__x86_64__)
#define LOADER "/lib64/ld-linux-x86-64.so.2"
#else
#define LOADER "/lib/ld-linux-aarch64.so.1"
#endif

static void runs_a_shell(void)
{
    struct program *p = become("/bin/sh", NULL);
    program_start(p);
    expect_exit(p, 0);
    expect_output_text(p, "Permission denied\n");
    /* Nor by the loader, which runs what it can read. */
    p = become(LOADER, "/bin/true");
    program_start(p);
    expect_exit(p, 127);
    /* But what the test allows, from then on. */
    p = become("/bin/true", NULL);
    program_may_run(p, "true");
    program_may_run(p, "no-such-command");
    program_start(p);
    expect_exit(p, 0);
    expect_output_text(p, "");
    p = become("/bin/sh", NULL);
    program_start(p);
    expect_exit(p, 0);
    expect_output_text(p, "Permission denied\n");
}

Test(harness, runs_no_command_but_those_that_the_test_allows)
{
    assert_verdict(scenario(runs_a_shell), BOARD_PASSED);
}

static void becomes_another(void)
{
    struct program *p = become("/bin/cat", NULL);
    program_may_run(p, "cat");
    program_stays_itself(p, "it does the work itself");
    program_start(p);
    program_send_text(p, "x");
    program_wait_output(p, 1, 1);
}

Test(harness, notices_a_program_that_becomes_another_one)
{
    const struct board *b = scenario(becomes_another);
    assert_verdict(b, BOARD_FAILED);
    cr_assert_str_eq(b->expected, "it does the work itself");
    assert_says(b->got, "misbehave itself has become another program, 'cat'");
}

static void stays_itself(void)
{
    struct program *p = program_new("misbehave");
    program_args(p, "copy", NULL);
    program_stays_itself(p, "it does the work itself");
    program_start(p);
    program_send_text(p, "x");
    program_wait_output(p, 1, 1);
    program_close_input(p);
    expect_exit(p, 0);
}

Test(harness, lets_a_program_be_that_stays_itself)
{
    assert_verdict(scenario(stays_itself), BOARD_PASSED);
}

/* Two cats that misbehave starts, joined by one pipe or by misbehave itself. */
static void carry(const char *how, bool ours)
{
    struct program *p = program_new("misbehave");
    program_args(p, "joined", how, NULL);
    program_may_run(p, "cat");
    program_carries(p, ours, "it stands between");
    program_start(p);
    program_send_text(p, "x");
    program_wait_output(p, 1, 1);
    program_close_input(p);
    expect_exit(p, 0);
}

static void one_pipe_joins_them(void)
{
    carry("directly", false);
}

static void the_program_joins_them(void)
{
    carry("between", false);
}

static void they_have_its_own_ends(void)
{
    carry("between", true);
}

Test(harness, notices_bytes_that_pass_by_the_program_that_carries_them)
{
    const struct board *b = scenario(one_pipe_joins_them);
    assert_verdict(b, BOARD_FAILED);
    cr_assert_str_eq(b->expected, "it stands between");
    assert_says(b->got, "cat writes into the very pipe that cat reads");
    b = scenario(they_have_its_own_ends);
    assert_verdict(b, BOARD_FAILED);
    assert_says(b->got, "cat has misbehave's own standard ");
}

Test(harness, lets_a_program_be_that_carries_the_bytes)
{
    assert_verdict(scenario(the_program_joins_them), BOARD_PASSED);
}

/* ---- what the lab excludes ---- */

static void asks_for_a_socket(void)
{
    for (int i = 0; i < 2; i++) {
        struct program *p = start("socket", NULL);
        expect_exit(p, 0);
        size_t kept;
        if (strncmp(program_output(p, 1, &kept), "made", 4) == 0)
            test_fail("a refusal", "a socket");
    }
}

Test(harness, answers_what_the_lab_excludes_and_counts_it)
{
    const struct board *b =
        scenario_with(asks_for_a_socket, (struct options){.excludes = EXCLUDE_SOCKETS});
    assert_verdict(b, BOARD_PASSED);
    cr_assert_eq(atomic_load(&b->refused_count), 1);
    cr_assert_str_eq(b->refused[0].call, "socket(AF_INET)");
    cr_assert_eq(atomic_load(&b->refused_times[0]), 2);
}

/* ---- memory ---- */

static const char *memory_kind;

static struct program *under_valgrind(const char *what, const char *arg)
{
    struct program *p = program_new("misbehave");
    program_args(p, what, arg, NULL);
    program_memcheck(p);
    program_may_run(p, "true");
    program_start(p);
    return p;
}

static void checks_memory(void)
{
    struct program *p = under_valgrind("memory", memory_kind);
    program_wait(p);
    expect_memory_clean(p);
}

Test(harness, finds_what_valgrind_finds)
{
    static const char *const kinds[][3] = {
        {"leak", "memory is lost: 40 bytes in 1 blocks are definitely lost", "(misbehave.c:"},
        {"write", "writes memory that is not its own", "(misbehave.c:"},
        {"uninitialised", "decides by a value that was never set", "(misbehave.c:"},
        {"descriptor", "leaves a descriptor open", "descriptor 3 was opened"},
        {"children", "writes memory that is not its own", "that it has forked), in "},
        {"exec", "valgrind's report is not whole", "exec"},
        {"kill", "valgrind's report is not whole", "signal 9"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        memory_kind = kinds[i][0];
        const struct board *b = scenario(checks_memory);
        cr_assert_eq(atomic_load(&b->verdict), BOARD_FAILED, "%s", memory_kind);
        assert_says(b->got, kinds[i][1]);
        assert_says(b->got, kinds[i][2]);
        cr_assert_null(strchr(b->got, '\n'), "%s is one finding: %s", memory_kind, b->got);
    }
}

static void is_clean_under_valgrind(void)
{
    struct program *p = under_valgrind("memory", "clean");
    expect_exit(p, 7);
    expect_memory_clean(p);
    p = under_valgrind("memory", "child");
    expect_exit(p, 7);
    expect_memory_clean(p);
    p = under_valgrind("argv0", NULL);
    expect_exit(p, 0);
    expect_output_text(p, "misbehave\n");
}

Test(harness, lets_a_clean_program_pass_under_valgrind)
{
    assert_verdict(scenario(is_clean_under_valgrind), BOARD_PASSED);
}

static void reaches_for_the_report(void)
{
    struct program *p = under_valgrind("write-everywhere", NULL);
    expect_exit(p, 0);
    expect_output_text(p, "reached 0\n");
    expect_memory_clean(p);
    p = under_valgrind("descriptors", NULL);
    expect_exit(p, 0);
    expect_output_text(p, "0 1 2 \n");
}

static void hides_the_report(void)
{
    struct program *p = under_valgrind("write-everywhere", "dup2");
    program_wait(p);
    expect_memory_clean(p);
}

Test(harness, keeps_valgrinds_report_out_of_reach)
{
    assert_verdict(scenario(reaches_for_the_report), BOARD_PASSED);
    const struct board *b = scenario(hides_the_report);
    assert_verdict(b, BOARD_FAILED);
    assert_says(b->got, "valgrind's report is not whole");
}

static void has_valgrind_forget(void)
{
    struct program *p = program_new("hushed");
    program_memcheck(p);
    program_start(p);
    expect_exit(p, 7);
    expect_memory_clean(p);
}

Test(harness, does_not_believe_a_program_that_speaks_to_valgrind)
{
    const struct board *b = scenario(has_valgrind_forget);
    assert_verdict(b, BOARD_FAILED);
    assert_says(b->got, "requests to valgrind");
}

/* ---- the suite's own mistakes, and messages ---- */

static void sets_too_late(void)
{
    program_arg(start("sleep", NULL), "late");
}

static void starts_what_is_not_there(void)
{
    program_start(program_new("nobody"));
}

Test(harness, calls_its_own_mistakes_broken)
{
    const struct board *b = scenario(sets_too_late);
    assert_verdict(b, BOARD_BROKEN);
    assert_says(b->got, "'misbehave' has been started already");
    b = scenario(starts_what_is_not_there);
    assert_verdict(b, BOARD_BROKEN);
    assert_says(b->got, "exec: No such file or directory");
}

Test(harness, quotes_any_bytes)
{
    cr_assert_str_eq(quoted("a\n\"\\\x01\xff\xc3\xa4", 8, 50),
                     "\"a\\n\\\"\\\\\\x01\\xff\xc3\xa4\"");
    cr_assert_str_eq(quoted("0123456789", 10, 6), "\"0123\" ... 4 more bytes ... \"89\"");
}

/* ---- what is undone at the end ---- */

static int *undone; /* shared with the scenario's process */

static void undo(void)
{
    ++*undone;
}

static void makes_something(void)
{
    test_at_end(undo);
    test_at_end(undo);
}

static void makes_something_and_fails(void)
{
    test_at_end(undo);
    test_fail("this", "that");
}

Test(harness, undoes_what_a_test_has_made_however_it_ends)
{
    undone = mmap(NULL, sizeof *undone, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq((void *)undone, MAP_FAILED);
    assert_verdict(scenario(makes_something), BOARD_PASSED);
    cr_assert_eq(*undone, 1, "once: %d", *undone);
    assert_verdict(scenario(makes_something_and_fails), BOARD_FAILED);
    cr_assert_eq(*undone, 2, "once more: %d", *undone);
    munmap(undone, sizeof *undone);
}

static void notes_a_lot(void)
{
    for (int i = 0; i < 5000; i++)
        test_note("line %d of a transcript that is too long", i);
}

Test(harness, bounds_the_transcript)
{
    const struct board *b = scenario(notes_a_lot);
    size_t len = atomic_load(&b->transcript_len);
    cr_assert_lt(len, sizeof b->transcript);
    cr_assert_eq(strlen(b->transcript), len);
    assert_says(b->transcript, "line 0 of a transcript that is too long\n");
    assert_says(b->transcript, "line 4999 of a transcript that is too long\n");
    int before = 0, left_out = 0, next = -1, read = 0;
    const char *gap = strstr(b->transcript, "[... ");
    cr_assert_not_null(gap);
    cr_assert_null(strstr(gap + 1, "[... "), "the gap is told once");
    for (const char *p = b->transcript; p < gap; p = strchr(p, '\n') + 1)
        before++;
    cr_assert_eq(sscanf(gap, "[... %d lines are left out ...]\nline %d%n", &left_out, &next, &read),
                 2);
    cr_assert_eq(before + left_out, next, "%d, %d left out, then line %d", before, left_out, next);
}
