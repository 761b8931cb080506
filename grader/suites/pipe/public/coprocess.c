/* The coprocess: two pipes to one child, both directions at once. */
#include "suites/pipe/peer/pipe.h"

#include <string.h>

static void expect_all_back(struct program *p, uint64_t count)
{
    program_wait_output_end(p, 1);
    EXPECT(program_output_total(p, 1) == count,
           text("all %ju bytes come back through the child", (uintmax_t)count),
           text("%ju bytes", (uintmax_t)program_output_total(p, 1)));
}

TEST(coprocess, echo, "stdin goes to the child, its output comes back, its status is ours")
{
    struct random r = random_from_test();
    int status = random_status(&r), count = between(&r, 100000, 300000);

    struct program *p = pipeline("--coprocess @ arrive child copy exit %d", status);
    program_expect_pattern(p, 1, 1);
    program_start(p);
    file_wait(p, "child", "the child runs");
    program_queue_pattern(p, 1, (uint64_t)count);
    program_close_input(p);
    expect_pipeline_status(p, status,
                           "the status of the child, which ends when its input has ended");
    expect_all_back(p, (uint64_t)count);
}

TEST(coprocess, as_they_come,
     "bytes pass as they come: nothing waits for a newline or a full buffer")
{
    struct random r = random_from_test();
    const char *all = "";

    struct program *p = pipeline("--coprocess @ copy exit 5");
    program_start(p);
    for (int i = 0; i < 4; i++) {
        const char *some = word(&r);
        all = text("%s%s", all, some);
        program_send_text(p, some);
        EXPECT(program_wait_output(p, 1, strlen(all)),
               "an answer to each few bytes before we send more", "the output ended");
    }
    program_close_input(p);
    expect_pipeline_status(p, 5, "the status of the child");
    expect_bytes(p, all, strlen(all), "what was sent, nothing else");
}

TEST(coprocess, both_full, "no deadlock when the pipes are full in both directions")
{
    enum { COUNT = 1 << 20 };

    struct program *p = pipeline("--coprocess @ copy exit 6");
    program_expect_pattern(p, 1, 2);
    program_start(p);
    program_hold_output(p, 1, true); /* we send and do not read */
    program_queue_pattern(p, 2, COUNT);
    program_close_input(p);
    wait_quiet(p, "all pipes fill up, and pipeline waits while we do not read its output");
    program_hold_output(p, 1, false);
    expect_pipeline_status(p, 6, "the status of the child: everything moves again once we read");
    expect_all_back(p, COUNT);
}

TEST(coprocess, child_ends_first,
     "a child that ends while our stdin is open and silent ends pipeline")
{
    struct random r = random_from_test();
    const char *said = word(&r);
    int status = random_status(&r);

    gate_make("gate");
    struct program *p =
        pipeline("--coprocess @ say %s arrive child await gate exit %d", said, status);
    program_start(p);
    file_wait(p, "child", "the child runs");
    gate_open("gate", 1);
    expect_pipeline_status(p, status,
                           "the status of the child, although nothing came on our stdin and it "
                           "has not ended");
    expect_bytes(p, said, strlen(said), "what the child said");
}
