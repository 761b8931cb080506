/* Exit statuses, stages that cannot start, failures of pipeline's own, whom it waits for. */
#include "suites/pipe/peer/pipe.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

static void expect_run(struct program *p, int status, const char *expected)
{
    program_start(p);
    program_close_input(p);
    expect_pipeline_status(p, status, expected);
}

TEST(status, order_of_ends, "whichever stage ends first, each status is taken for its own stage")
{
    enum { STAGES = 4 };
    struct random r = random_from_test();

    for (int i = 0; i < STAGES; i++)
        gate_make(text("gate%d", i));
    /* With -o pipefail both orders of the two stages that fail. */
    static const int orders[][STAGES] = {{3, 1, 0, 2}, {3, 1, 0, 2}, {0, 2, 1, 3}};
    for (int run = 0; run < 3; run++) {
        bool pipefail = run > 0;
        const int *order = orders[run];
        int status[STAGES];
        struct program *p = pipeline("%s", pipefail ? "-o pipefail" : "");
        for (int i = 0; i < STAGES; i++) {
            status[i] = pipefail && i >= 2 ? 0 : between(&r, 3, 20) + 20 * i;
            program_words(p, "%s @ await gate%d arrive end%d%d exit %d", i == 0 ? "" : "|", i, run,
                          i, status[i]);
        }
        program_start(p);
        for (int i = 0; i < STAGES; i++) {
            gate_open(text("gate%d", order[i]), 1);
            file_wait(p, text("end%d%d", run, order[i]), "the stages run, all at once");
            wait_stages_left(p, STAGES - 1 - i, "a stage ends after its last action");
            if (i < STAGES - 1)
                wait_quiet(p, "pipeline waits for the stages that still run");
        }
        expect_pipeline_status(p, pipefail ? status[1] : status[STAGES - 1],
                               pipefail ? "the rightmost stage that failed is the second of four"
                                        : "the last stage's, although it ended before the others");
    }
}

TEST(status, pipefail_kinds, "-o pipefail counts signals, SIGPIPE too, and stages that can't start")
{
    struct random r = random_from_test();

    expect_run(pipeline("-o pipefail @ kill 15 | @ drain"), 143,
               "the first stage died of SIGTERM: 128+15");
    expect_run(pipeline("-o pipefail @ exit 9 | @ exit 5 | @ exit 0"), 5,
               "the rightmost stage that failed, whichever number is larger");
    expect_run(pipeline("-o pipefail @ exit 255 | @ exit 0"), 255,
               "the first stage exited with 255");
    expect_run(pipeline("@ exit 0 | @ exit 200"), 200, "the last stage exited with 200");
    expect_run(pipeline("@ exit 0 | @ kill 64"), 192, "the last stage died of signal 64: 128+64");
    expect_run(pipeline("-o pipefail no-such-%s | @ drain", word(&r)), 127,
               "there is no program of the first stage's name");
    expect_run(pipeline("-o pipefail @ emit 1 0 | @ take 1"), 141,
               "the first stage died of SIGPIPE once nobody read any more: 128+13");
    expect_run(pipeline("@ emit 1 0 | @ take 1 exit 7"), 7,
               "without the option the last stage's status, whatever the first died of");
    expect_run(pipeline("-o pipefail @ exit 5 | no-such-%s", word(&r)), 127,
               "the rightmost stage that failed is one that can't start");
}

TEST(status, not_found, "127 for a program that is not there, in any position, however it is named")
{
    struct random r = random_from_test();
    const char *name = word(&r);

    expect_run(pipeline("@ arrive a | ./%s", name), 127, "there is no such file here");
    expect_run(pipeline("@ arrive b | /no-such-folder/%s", name), 127, "there is no such folder");
    expect_run(pipeline("@ arrive c | no-such-%s | @ drain arrive d exit 7", name), 7,
               "only the middle stage can't start: the last one sees the end of its input");
    for (const char *file = "abcd"; *file != '\0'; file++)
        file_text(text("%c", *file), NULL, "the stages around one that can't start run");

    struct program *p = pipeline("no-such-%s", name);
    expect_run(p, 127, "the only stage can't start");
    expect_error_line(p);
    expect_bytes(p, "", 0, "nothing on stdout");

    /* A file of this name here is none that a name without a slash means. */
    file_make(name, "#!/bin/sh\nexit 5\n", 0755);
    p = pipeline("%s", name);
    program_may_run(p, "sh");
    expect_run(p, 127, "a name without a slash is looked for on PATH, not in the working folder");
}

TEST(status, not_executable, "126 for a file without x, and for a folder, in any position")
{
    file_make("plain", "a text, no program\n", 0644);
    folder_make("folder");
    expect_run(pipeline("@ arrive a | ./folder"), 126, "a folder can't be executed");
    expect_run(pipeline("@ arrive b | /usr"), 126, "a folder can't be executed");
    expect_run(pipeline("./plain | @ drain arrive c exit 7"), 7,
               "the first stage can't start, the last runs");
    expect_run(pipeline("-o pipefail ./plain | @ drain"), 126,
               "the file is there, and not executable");
    for (const char *file = "abc"; *file != '\0'; file++)
        file_text(text("%c", *file), NULL, "the stage beside one that can't start runs");
}

TEST(status, script, "an executable file without #! is run by /bin/sh, with its arguments")
{
    struct random r = random_from_test();
    const char *said = word(&r);
    int status = random_status(&r);

    file_make("script", "echo \"$1\"\nexit $2\n", 0755);
    gate_make("gate");
    struct program *p =
        pipeline("./script %s 0 | @ copy arrive last await gate exit %d", said, status);
    program_may_run(p, "sh");
    program_start(p);
    file_wait(p, "last", "the last stage sees the end of what the script prints");
    gate_open("gate", 1);
    expect_bytes(p, text("%s\n", said), strlen(said) + 1, "what the script prints");
    expect_pipeline_status(p, status, "the status of the last stage");
    expect_run(pipeline("@ exit 3 | ./script x %d", status), status, "the status of the script");
}

/* A shell in a pipeline, which can run pipeline once more, as "$PIPELINE". */
static struct program *shell_in_pipeline(void)
{
    struct program *p = pipeline("sh -c");
    program_env(p, "PIPELINE", program_path(p));
    return p;
}

TEST(status, own_failure, "1, and a word on stderr, when pipeline itself fails")
{
    /* The shell lowers the limit, since the sandbox needs descriptors of its own to begin with.
     * Within 4 there is room for one descriptor, and a pipe has two ends. */
    for (int i = 0; i < 2; i++) {
        for (int allowed = 4; allowed <= 32; allowed *= 8) {
            struct program *p = shell_in_pipeline();
            const char *last = tool_command("probe", "exit 8");
            program_arg(p, text("ulimit -n %d; exec \"$PIPELINE\" %s", allowed,
                                i == 0 ? text("%s '|' %s", tool_command("probe", "exit 7"), last)
                                       : text("--coprocess %s", last)));
            program_start(p);
            program_close_input(p);
            expect_pipeline_status(p, allowed == 4 ? 1 : 8,
                                   allowed == 4
                                       ? "no pipe can be made, because no more descriptors are "
                                         "allowed"
                                       : "with descriptors enough the status of the last stage");
            if (allowed == 4)
                expect_error_line(p);
            expect_no_orphans(p);
        }
    }

    /* Within 5 there may be room for the first of two pipes; who needs fewer, or fails in the
     * child, ends with another status. The first stage writes without end. */
    struct program *p = shell_in_pipeline();
    program_arg(p, text("ulimit -n 5; exec \"$PIPELINE\" %s '|' %s '|' %s",
                        tool_command("probe", "emit 1 0"), tool_command("probe", "copy"),
                        tool_command("probe", "take 5 exit 8")));
    program_start(p);
    program_close_input(p);
    int status = wait_for_end(
        p, "pipeline ends although it could not make its second pipe: the stage before it learns "
           "that nobody reads what it writes");
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) != 0,
           "exit status 1, since pipeline itself has failed", status_sentence(status));
    expect_no_orphans(p);
}

TEST(status, no_more_processes,
     "1 when no more processes are allowed; the started ones are waited for")
{
    enum { STAGES = 30, ALLOWED = 4 };

    gate_make("gate");
    struct program *p = pipeline("@ await gate");
    for (int i = 1; i < STAGES; i++)
        program_words(p, "| @ await gate");
    program_limit_processes(p, ALLOWED);
    program_start(p);
    wait_quiet_or_end(p, "pipeline starts what it can, and waits for that");
    gate_open("gate", STAGES);
    expect_pipeline_status(p, 1,
                           "a stage could not be forked, because no more processes are allowed");
    expect_error_line(p);
    expect_no_orphans(p);

    /* No gate: the first stage writes without end, so it ends only when the last one that was
     * started learns that its reader is missing. */
    p = pipeline("@ emit 1 0");
    for (int i = 1; i < STAGES; i++)
        program_words(p, "| @ copy");
    program_limit_processes(p, ALLOWED);
    program_start(p);
    expect_pipeline_status(
        p, 1,
        "a stage could not be forked, and the stages before it learn that nobody reads "
        "what they write");
    expect_no_orphans(p);

    p = pipeline("--meter @ emit 1 0");
    for (int i = 1; i < STAGES; i++)
        program_words(p, "| @ copy");
    program_limit_processes(p, ALLOWED);
    program_start(p);
    expect_pipeline_status(
        p, 1, "--meter: a stage could not be forked, and the stages before it end too");
    expect_error_line(p);
    expect_no_orphans(p);

    p = pipeline("--coprocess @ exit 8");
    program_limit_processes(p, 1);
    program_start(p);
    program_close_input(p);
    expect_pipeline_status(p, 1,
                           "the child could not be forked, because no more processes are allowed");
    expect_error_line(p);

    p = pipeline("@ exit 7 | @ exit 8 | @ exit 9");
    program_start(p);
    expect_pipeline_status(p, 9, "with processes enough the last stage's status");
}

TEST(status, foreign_child, "pipeline waits for its own children only")
{
    /* A stage that starts a program in the background and then becomes a pipeline: that program is
     * then a child of the pipeline too. */
    gate_make("foreign-gate");
    gate_make("first-gate");
    gate_make("last-gate");
    for (int ended = 0; ended < 2; ended++) {
        struct program *p = shell_in_pipeline();
        const char *each[] = {text("arrive foreign%d await foreign-gate exit 9", ended),
                              text("arrive first%d await first-gate exit 4", ended),
                              text("arrive last%d await last-gate exit 5", ended)};
        program_arg(p, text("%s & exec \"$PIPELINE\" %s '|' %s", tool_command("probe", each[0]),
                            tool_command("probe", each[1]), tool_command("probe", each[2])));
        program_start(p);
        file_wait(p, text("foreign%d", ended), "the program in the background runs");
        file_wait(p, text("first%d", ended), "the first stage runs");
        file_wait(p, text("last%d", ended), "the last stage runs");
        if (ended) {
            gate_open("foreign-gate", 1);
            wait_quiet(p, "a child that pipeline did not start itself has ended, the stages have "
                          "not: pipeline waits for them");
        }
        gate_open("first-gate", 1);
        wait_quiet(p, "pipeline waits for its last stage, whatever other children it has");
        gate_open("last-gate", 1);
        expect_pipeline_status(p, 5,
                               ended
                                   ? "the last stage's; a child that pipeline did not start itself "
                                     "ended before it with 9"
                                   : "the last stage's; a child that pipeline did not start itself "
                                     "still runs");
        if (!ended)
            gate_open("foreign-gate", 1);
        program_wait_output_end(p, 1); /* it holds our stdout: now it has ended, too */
    }

    static const char *const forms[] = {"--meter", "--coprocess"};
    for (int i = 0; i < 2; i++) {
        struct program *p = shell_in_pipeline();
        const char *other = text("arrive other%d await foreign-gate exit 9", i);
        program_arg(p, text("%s & exec \"$PIPELINE\" %s %s", tool_command("probe", other), forms[i],
                            tool_command("probe", "await first-gate exit 5")));
        program_start(p);
        program_close_input(p);
        file_wait(p, text("other%d", i), "the program in the background runs");
        gate_open("first-gate", 1);
        expect_pipeline_status(
            p, 5,
            text("%s: the status of the stage; a child that pipeline did not start "
                 "itself still runs",
                 forms[i]));
        gate_open("foreign-gate", 1);
        program_wait_output_end(p, 1);
    }
}
