/* Wrong usage starts nothing. */
#include "suites/pipe/peer/pipe.h"

#include <string.h>

static void expect_nothing_started(void)
{
    EXPECT(!file_there("started"), "wrong usage is found before any stage is started",
           "a stage was started");
}

TEST(usage, behind_options, "empty stages and wrong words are refused behind good options too")
{
    expect_refused("-o pipefail @ arrive started | | @ arrive started", "a stage is empty");
    expect_refused("--meter @ arrive started |", "the last stage is empty");
    expect_refused("--meter | @ arrive started", "the first stage is empty");
    expect_refused("|", "both stages are empty");
    expect_refused("-o pipefail --meter", "there is no command");
    expect_refused("-o", "the word behind -o is missing");
    expect_refused("-o PIPEFAIL @ arrive started", "-o knows the word pipefail alone");
    expect_refused("--meters @ arrive started", "there is no such option");
    expect_refused("-o pipefails @ arrive started", "-o knows the word pipefail alone");
    expect_refused("-o pipefai @ arrive started", "-o knows the word pipefail alone");
    expect_nothing_started();

    struct program *p = pipeline("-o pipefail --meter @ arrive started exit 9 | @ drain");
    program_start(p);
    expect_pipeline_status(p, 9, "both options, and two stages that are whole");
    file_text("started", NULL, "the first stage is started");
}

TEST(usage, coprocess, "--coprocess takes one command: no bar, no --meter, no -o")
{
    expect_refused("--coprocess @ arrive started | @ copy", "a bar");
    expect_refused("--coprocess @ arrive started |", "a bar");
    expect_refused("--coprocess --meter @ arrive started", "--meter beside --coprocess");
    expect_refused("--meter --coprocess @ arrive started", "--meter beside --coprocess");
    expect_refused("--coprocess -o pipefail @ arrive started", "-o beside --coprocess");
    expect_refused("-o pipefail --coprocess @ arrive started", "-o beside --coprocess");
    expect_refused("--coprocess", "there is no command");
    expect_nothing_started();

    struct program *p = pipeline("--coprocess @ arrive started exit 9");
    program_start(p);
    expect_pipeline_status(p, 9, "--coprocess with one command");
    file_text("started", NULL, "the child is started");
}

TEST(usage, double_dash, "the first argument that is no option, or the one after --, is a command")
{
    struct random r = random_from_test();
    int status = random_status(&r);

    struct program *p = pipeline("-- @ exit 3 | @ exit %d", status);
    program_start(p);
    expect_pipeline_status(p, status, "the command begins after --");

    p = pipeline("-o pipefail -- @ exit %d | @ exit 0", status);
    program_start(p);
    expect_pipeline_status(p, status, "-- after an option");

    p = pipeline("-- --meter @ exit 3");
    program_start(p);
    expect_pipeline_status(p, 127,
                           "after -- everything is a command, and there is none named --meter");

    p = pipeline("-- -- @ exit 3");
    program_start(p);
    expect_pipeline_status(p, 127, "only the first -- is none of the command's");

    p = pipeline("@ args --meter -o %d -- --coprocess", status);
    program_start(p);
    const char *want = text("[--meter][-o][%d][--][--coprocess]", status);
    expect_bytes(p, want, strlen(want), "what stands behind the command belongs to the command");
    expect_pipeline_status(p, 0, "the status of the only stage");

    expect_refused("--", "there is no command");
    expect_refused("-- | @ arrive started", "the first stage is empty");
    expect_nothing_started();
}
