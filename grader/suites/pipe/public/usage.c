/* Wrong usage starts nothing. */
#include "suites/pipe/peer/pipe.h"

static void expect_nothing_started(void)
{
    EXPECT(!file_there("started"), "wrong usage is found before any stage is started",
           "a stage was started");
}

TEST(usage, empty_stage, "a stage without a command is wrong usage, and nothing is started")
{
    struct random r = random_from_test();
    int status = random_status(&r);

    expect_refused("| @ arrive started", "the first stage is empty");
    expect_refused("@ arrive started |", "the last stage is empty");
    expect_refused("@ arrive started | | @ arrive started", "the stage in the middle is empty");
    expect_nothing_started();

    struct program *p = pipeline("@ arrive started | @ exit %d", status);
    program_start(p);
    expect_pipeline_status(p, status, "the same without an empty stage runs");
    file_text("started", NULL, "the first stage is started");
}

TEST(usage, options, "unknown options are wrong usage, and nothing is started")
{
    struct random r = random_from_test();
    int status = random_status(&r);

    expect_refused("-x @ arrive started", "there is no option -x");
    expect_refused(text("-o %s @ arrive started", word(&r)), "-o knows the word pipefail alone");
    expect_refused("", "there is no command");
    expect_nothing_started();

    struct program *p = pipeline("-o pipefail @ arrive started exit %d | @ drain", status);
    program_start(p);
    expect_pipeline_status(p, status,
                           "-o pipefail is an option that there is: the first stage failed");
    file_text("started", NULL, "the first stage is started");
    p = pipeline("@ exit %d | @ drain", status);
    program_start(p);
    expect_pipeline_status(p, 0, "the same without the option: the last stage succeeded");
}
