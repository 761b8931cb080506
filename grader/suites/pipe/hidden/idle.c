/* No busy waiting: whoever has nothing to do sleeps in the kernel. */
#include "suites/pipe/peer/pipe.h"

#include <string.h>

TEST(idle, plain, "pipeline sleeps while its stages run")
{
    gate_make("gate");
    struct program *p = pipeline("@ arrive a await gate | @ arrive b await gate exit 4");
    program_start(p);
    file_wait(p, "a", "the first stage runs");
    file_wait(p, "b", "the last stage runs");
    expect_idle(p, "both stages wait");
    program_stop_and_continue(p);
    expect_idle(p, "both stages wait, after it was stopped and continued");
    gate_open("gate", 2);
    expect_pipeline_status(p, 4, "the status of the last stage");

    p = pipeline("@ exit 3 | @ arrive stops stop gate exit 5");
    program_start(p);
    file_wait(p, "stops", "the last stage runs");
    wait_quiet(p, "pipeline waits for its last stage, which is stopped and has not ended");
    gate_open("gate", 1);
    expect_pipeline_status(p, 5, "the status of the last stage, which was stopped and continued");
}

TEST(idle, meter, "--meter: pipeline sleeps while no byte can move, whatever is closed or full")
{
    gate_make("left");
    gate_make("right");
    struct program *p = pipeline("--meter @ arrive a await left emit 1 300000 arrive b close 1 "
                                 "arrive c await left | @ await right check 1 300000 arrive d "
                                 "await right exit 4");
    program_start(p);
    file_wait(p, "a", "the left stage runs");
    expect_idle(p, "the left stage is silent");
    program_stop_and_continue(p);
    expect_idle(p, "the left stage is silent, after it was stopped and continued");
    gate_open("left", 1);
    expect_idle(p, "the link is full");
    gate_open("right", 1);
    file_wait(p, "c", "the left stage can write everything once the right one reads");
    file_wait(p, "d", "the right stage sees the end of its input");
    expect_idle(p, "the link has ended and both stages live on");
    gate_open("right", 1);
    expect_idle(p, "the right stage has ended and the left one lives on");
    gate_open("left", 1);
    expect_pipeline_status(p, 4, "the status of the last stage");
    expect_links(p, (uint64_t[]){300000}, 1);

    p = pipeline("--meter @ emit 1 100000 | @ await right check 1 100000 exit 5");
    program_start(p);
    expect_idle(p, "the right pipe of the link is full, and its writer has ended");
    gate_open("right", 1);
    expect_pipeline_status(p, 5, "the status of the last stage, which gets all the bytes");
    expect_links(p, (uint64_t[]){100000}, 1);
}

TEST(idle, coprocess, "--coprocess: pipeline sleeps while no byte can move, whatever is closed")
{
    gate_make("gate");
    struct program *p = pipeline("--coprocess @ copy arrive end await gate exit 4");
    program_start(p);
    program_send_text(p, "abc");
    EXPECT(program_wait_output(p, 1, 3), "what is sent comes back", "the output ended");
    expect_idle(p, "our stdin and the child are silent");
    program_stop_and_continue(p);
    expect_idle(p, "our stdin and the child are silent, after it was stopped and continued");
    program_close_input(p);
    file_wait(p, "end", "the child sees the end of its input");
    expect_idle(p, "our stdin has ended and the child lives on");
    gate_open("gate", 1);
    expect_pipeline_status(p, 4, "the status of the child");

    p = pipeline("--coprocess @ close 0 arrive no-input await gate exit 5");
    program_start(p);
    file_wait(p, "no-input", "the child runs");
    expect_idle(p, "the child has closed its input");
    gate_open("gate", 1);
    expect_pipeline_status(p, 5, "the status of the child");

    p = pipeline("--coprocess @ close 1 arrive no-output await gate drain exit 6");
    program_start(p);
    file_wait(p, "no-output", "the child runs");
    expect_idle(p, "the child has closed its output");
    gate_open("gate", 1);
    program_close_input(p);
    expect_pipeline_status(p, 6, "the status of the child");

    p = pipeline("--coprocess @ arrive no-reader await gate exit 7");
    program_start(p);
    file_wait(p, "no-reader", "the child runs");
    program_close_output(p, 1);
    expect_idle(p, "nobody reads our stdout, and the child is silent");
    gate_open("gate", 1);
    expect_pipeline_status(p, 7, "the status of the child");
}
