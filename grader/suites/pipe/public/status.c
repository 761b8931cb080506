/* Exit statuses: those of a POSIX shell. */
#include "suites/pipe/peer/pipe.h"

#include <signal.h>
#include <string.h>

static void expect_run(struct program *p, int status, const char *expected)
{
    program_start(p);
    program_close_input(p);
    expect_pipeline_status(p, status, expected);
}

TEST(status, last_stage, "the exit status is that of the last stage, whatever the others have")
{
    struct random r = random_from_test();
    int status = random_status(&r);

    expect_run(pipeline("@ exit %d | @ exit %d | @ exit %d", status + 1, status + 2, status),
               status, "the status of the last of three stages");
    expect_run(pipeline("@ exit %d | @ exit 0", status), 0,
               "the last stage succeeded, the first did not");
    expect_run(pipeline("@ exit 0 | @ exit %d", status), status,
               "the last stage failed, the first did not");
}

TEST(status, signal, "a last stage that a signal ended is 128 + the signal's number")
{
    struct random r = random_from_test();
    int signals[] = {SIGHUP, SIGINT, SIGKILL, SIGUSR1, SIGUSR2, SIGTERM, SIGALRM};
    random_shuffle(&r, signals, sizeof signals / sizeof *signals, sizeof *signals);
    for (int i = 0; i < 2; i++)
        expect_run(
            pipeline("@ exit 3 | @ kill %d", signals[i]), 128 + signals[i],
            text("the last stage died of signal %d, which is 128+%d", signals[i], signals[i]));
    expect_run(pipeline("@ kill %d | @ exit 7", signals[2]), 7,
               "a signal ended the first stage, the last one exited with 7");
}

TEST(status, cannot_start, "a stage that can't start is 127 or 126, and the others run")
{
    struct random r = random_from_test();
    int status = random_status(&r);

    expect_run(pipeline("@ arrive first | no-such-%s", word(&r)), 127,
               "there is no program of the last stage's name");
    file_text("first", NULL, "the stage before one that can't start runs");
    file_make("plain", "a text, no program\n", 0644);
    expect_run(pipeline("@ arrive second | ./plain"), 126,
               "the last stage's file is there, and not executable");
    file_text("second", NULL, "the stage before one that can't start runs");
    expect_run(pipeline("no-such-%s | @ drain exit %d", word(&r), status), status,
               "the first stage can't start; the last runs, with nothing to read");
}

TEST(status, pipefail, "-o pipefail: the status of the rightmost stage that failed, else 0")
{
    struct random r = random_from_test();
    int a = between(&r, 3, 40), b = between(&r, 41, 80);

    expect_run(pipeline("-o pipefail @ exit %d | @ exit %d | @ exit 0", a, b), b,
               "two stages failed: that of the right one");
    expect_run(pipeline("-o pipefail @ exit %d | @ exit 0 | @ exit 0", b), b,
               "only the first stage failed");
    expect_run(pipeline("-o pipefail @ exit 0 | @ exit 0"), 0, "no stage failed");
    expect_run(pipeline("@ exit %d | @ exit 0", a), 0, "without the option the last one counts");
}

TEST(status, waits_for_all, "pipeline waits for every stage, also for one that outlives the last")
{
    struct random r = random_from_test();
    int status = random_status(&r);

    gate_make("let-first");
    gate_make("let-last");
    struct program *p = pipeline("@ close 1 arrive first await let-first | "
                                 "@ arrive last await let-last exit %d",
                                 status);
    program_start(p);
    file_wait(p, "first", "the first stage runs");
    file_wait(p, "last", "the last stage runs");
    wait_quiet(p, "pipeline waits while both of its stages run");
    gate_open("let-last", 1);
    wait_quiet(p, "pipeline does not end before its first stage, although the last has ended");
    gate_open("let-first", 1);
    expect_pipeline_status(p, status, "the status of the last stage, although it ended first");
    expect_no_orphans(p);
}
