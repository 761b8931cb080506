/* The coprocess: each order in which the ends can close, and sizes beyond every pipe. */
#include "suites/pipe/peer/pipe.h"

#include <string.h>

enum { MEDIUM = 300000, LARGE = 32 << 20 };

TEST(coprocess, closes_input, "a child that closes its input lives on; our stdin holds up nothing")
{
    struct random r = random_from_test();
    const char *said = word(&r);

    gate_make("gate");
    struct program *p =
        pipeline("--coprocess @ close 0 arrive closed await gate say %s exit 4", said);
    program_start(p);
    file_wait(p, "closed", "the child runs");
    wait_quiet(p, "pipeline waits for the child, which has closed its input and not its output");
    gate_open("gate", 1);
    expect_pipeline_status(p, 4, "the status of the child, although our stdin is open and silent");
    expect_bytes(p, said, strlen(said), "what the child said after it had closed its input");

    p = pipeline("--coprocess @ close 0 close 1 arrive both await gate exit 5");
    program_start(p);
    file_wait(p, "both", "the child runs");
    wait_quiet(p, "pipeline waits for the child, which has closed both of its pipes and runs on");
    gate_open("gate", 1);
    expect_pipeline_status(p, 5, "the status of the child, which outlived its pipes");
}

TEST(coprocess, stops_reading, "a child that takes only a part of its input is heard to its end")
{
    struct random r = random_from_test();
    const char *said = word(&r);

    gate_make("gate");
    struct program *p =
        pipeline("--coprocess @ take 10 close 0 arrive closed await gate say %s exit 4", said);
    program_start(p);
    program_queue_pattern(p, 5, LARGE);
    file_wait(p, "closed", "the child gets its first 10 bytes");
    wait_quiet(p, "pipeline waits for the child, which takes no more input");
    EXPECT(program_input_taken(p) < LARGE / 2,
           "the reading of our stdin ends once the child takes no more of it",
           text("pipeline read on: %ju MiB", (uintmax_t)program_input_taken(p) >> 20));
    gate_open("gate", 1);
    expect_pipeline_status(
        p, 4,
        "the status of the child; that it takes no more input is no failure, and "
        "pipeline does not die of SIGPIPE");
    expect_bytes(p, said, strlen(said), "what the child said after it had closed its input");
}

TEST(coprocess, closes_output, "a child that closes its output still gets all of its input")
{
    struct random r = random_from_test();
    const char *said = word(&r);
    int seed = between(&r, 1, 1 << 30);

    struct program *p = pipeline("--coprocess @ say %s close 1 arrive closed check %d %d exit 4",
                                 said, seed, (int)MEDIUM);
    program_start(p);
    file_wait(p, "closed", "the child runs");
    wait_quiet(p, "pipeline waits for our input, although the child's output has ended");
    program_queue(p, pattern_bytes((uint64_t)seed, MEDIUM), MEDIUM);
    program_close_input(p);
    expect_pipeline_status(
        p, 4,
        "the status of the child, which checks its input: it gets all of our stdin, "
        "although its own output has ended");
    expect_bytes(p, said, strlen(said), "what the child said before it closed its output");
}

TEST(coprocess, input_ends_first,
     "after the end of our stdin the child's output is carried to its end")
{
    /* So much that pipeline still has some of it when the child has ended and stdout is full. */
    enum { SOME = 150000 };
    struct program *p =
        pipeline("--coprocess @ count read arrive ended emit 7 %d exit 4", (int)SOME);
    program_start(p);
    program_hold_output(p, 1, true);
    program_queue_pattern(p, 6, MEDIUM);
    program_close_input(p);
    file_wait(p, "ended", "the child sees the end of its input");
    wait_quiet(p, "our stdin has ended and our stdout is full: pipeline carries the child's output "
                  "to its end, so it waits");
    program_hold_output(p, 1, false);
    expect_pipeline_status(
        p, 4,
        "the status of the child, whose output is carried to its end although our "
        "stdin has ended");
    program_wait_output_end(p, 1);
    EXPECT(program_output_total(p, 1) == SOME, "all that the child writes after its input ended",
           text("%ju of %d bytes", (uintmax_t)program_output_total(p, 1), (int)SOME));
    const char *read = file_text("read", NULL, "the child counts what it reads");
    EXPECT(strcmp(read, text("%d", (int)MEDIUM)) == 0, "the child gets all of our stdin", read);
}

/* Starts `p` and takes its stdout away while it is full: with so small a pipe, a pipeline that
 * writes and waits is in the middle of a write then. */
static void close_while_writing(struct program *p)
{
    program_pipe_size(p, 4096);
    program_hold_output(p, 1, true);
    program_start(p);
    wait_quiet(p, "everything waits while our stdout is full");
    program_close_output(p, 1);
}

TEST(coprocess, output_gone, "when nobody takes our stdout the child's output is closed")
{
    struct program *p = pipeline("--coprocess @ emit 1 0");
    close_while_writing(p);
    expect_pipeline_status(p, 141,
                           "the child dies of SIGPIPE, 128+13, once its output cannot be written, "
                           "although our stdin is open and silent");
}

TEST(coprocess, output_gone_input_stays,
     "when nobody takes our stdout the child still gets its input")
{
    struct random r = random_from_test();
    int seed = between(&r, 1, 1 << 30);

    struct program *p =
        pipeline("--coprocess @ fill 1 arrive closed check %d %d exit 4", seed, (int)MEDIUM);
    close_while_writing(p);
    file_wait(p, "closed", "the child's next write fails");
    program_queue(p, pattern_bytes((uint64_t)seed, MEDIUM), MEDIUM);
    program_close_input(p);
    expect_pipeline_status(
        p, 4,
        "the status of the child, which ignored SIGPIPE and checked its input: each "
        "direction runs until its own end");
}

TEST(coprocess, output_first,
     "a child that writes much before it reads, and one that reads all first")
{
    struct random r = random_from_test();
    int seed = between(&r, 1, 1 << 30);

    struct program *p =
        pipeline("--coprocess @ emit 1 %d check %d %d exit 4", (int)MEDIUM, seed, (int)MEDIUM);
    program_start(p);
    program_hold_output(p, 1, true);
    program_queue(p, pattern_bytes((uint64_t)seed, MEDIUM), MEDIUM);
    program_close_input(p);
    wait_quiet(p, "all pipes fill up while we do not read");
    program_hold_output(p, 1, false);
    expect_pipeline_status(p, 4,
                           "the status of the child, which wrote first and then checked its input");
    program_wait_output_end(p, 1);
    EXPECT(program_output_total(p, 1) == MEDIUM, "all of the child's output",
           text("%ju of %d bytes", (uintmax_t)program_output_total(p, 1), (int)MEDIUM));

    p = pipeline("--coprocess @ slurp exit 5");
    program_expect_pattern(p, 1, 8);
    program_start(p);
    program_queue_pattern(p, 8, MEDIUM);
    program_close_input(p);
    expect_pipeline_status(p, 5,
                           "the status of the child, which reads everything before it writes");
    program_wait_output_end(p, 1);
    EXPECT(program_output_total(p, 1) == MEDIUM, "everything comes back",
           text("%ju of %d bytes", (uintmax_t)program_output_total(p, 1), (int)MEDIUM));

    /* Two processes hold the child's ends, so it writes and reads at once. First so little that
     * stdout has room for more, but not for a large write; then more than fits. */
    gate_make("gate");
    p = pipeline("--coprocess sh -c");
    program_arg(p,
                text("%s & %s; wait; exit 6",
                     tool_command("probe", "emit 1 20000 arrive little await gate emit 1 180000"),
                     tool_command("probe", "count read")));
    program_start(p);
    program_hold_output(p, 1, true);
    file_wait(p, "little", "the child runs");
    wait_quiet(p, "pipeline waits for more, on stdin and from the child");
    gate_open("gate", 1);
    wait_quiet(p, "pipeline waits while our stdout is full");
    program_queue_pattern(p, 10, MEDIUM);
    program_close_input(p);
    file_wait(p, "read",
              "the child gets all of our stdin while nobody reads our stdout: a full stdout does "
              "not stop the other direction");
    program_hold_output(p, 1, false);
    expect_pipeline_status(p, 6, "the status of the child");
    program_wait_output_end(p, 1);
    EXPECT(program_output_total(p, 1) == 200000, "all of the child's output",
           text("%ju of 200000 bytes", (uintmax_t)program_output_total(p, 1)));
}

TEST(coprocess, heir, "the pipes count, not the child: its own child may hold them and go on")
{
    struct random r = random_from_test();
    const char *one = word(&r), *two = word(&r);

    gate_make("gate");
    struct program *p = pipeline("--coprocess @ arrive up await gate heir 4 arrive heir copy");
    program_start(p);
    file_wait(p, "up", "the child runs");
    gate_open("gate", 1);
    file_wait(p, "heir", "the child's child runs");
    program_send_text(p, one);
    EXPECT(program_wait_output(p, 1, strlen(one)),
           "bytes pass as long as somebody holds the child's ends", "the output ended");
    program_send_text(p, two);
    program_close_input(p);
    expect_pipeline_status(p, 4,
                           "the status of the child that pipeline started, which ended long ago");
    expect_bytes(p, text("%s%s", one, two), strlen(one) + strlen(two), "all that was sent");

    /* Only the input is held on. */
    p = pipeline("--coprocess @ close 1 arrive up2 await gate heir 5 arrive heir2 count read");
    program_start(p);
    file_wait(p, "up2", "the child runs");
    gate_open("gate", 1);
    file_wait(p, "heir2", "the child's child runs");
    wait_quiet(p, "the child and its output have ended, and its child still takes its input");
    program_send_text(p, one);
    program_close_input(p);
    expect_pipeline_status(p, 5,
                           "the status of the child that pipeline started, which ended long ago");
    program_wait_output_end(p, 2); /* the child's child holds it to its end */
    const char *read = file_text("read", NULL, "the child's child counts what it reads");
    EXPECT(strcmp(read, text("%zu", strlen(one))) == 0, "the child's child gets all of our stdin",
           read);
}

TEST(coprocess, statuses,
     "--coprocess: 128+N for a signal, 127 and 126 for a child that can't start")
{
    struct random r = random_from_test();

    file_make("plain", "a text, no program\n", 0644);
    struct program *p = pipeline("--coprocess @ kill 15");
    program_start(p);
    expect_pipeline_status(p, 143, "the child died of SIGTERM: 128+15");
    p = pipeline("--coprocess no-such-%s", word(&r));
    program_start(p);
    expect_pipeline_status(p, 127, "there is no such program; our stdin is open and silent");
    p = pipeline("--coprocess ./plain");
    program_start(p);
    expect_pipeline_status(p, 126, "the file is there, and not executable");
    p = pipeline("--coprocess @ arrive child drain exit 0");
    program_start(p);
    file_wait(p, "child", "the child runs");
    program_send_text(p, word(&r));
    program_close_input(p);
    expect_pipeline_status(p, 0, "the child read its input and succeeded");
}

TEST(coprocess, constant_memory, "neither direction piles up what the other side does not take")
{
    gate_make("gate");
    struct program *p = pipeline("--coprocess @ emit 1 %d arrive written exit 4", (int)LARGE);
    program_hold_output(p, 1, true);
    program_start(p);
    wait_quiet(p, "everything waits while nobody reads our stdout");
    EXPECT(!file_there("written"), "the child waits once the pipes and a buffer are full",
           text("it could write all its %d MiB although nobody has read any", LARGE >> 20));
    program_hold_output(p, 1, false);
    expect_pipeline_status(p, 4, "the status of the child");
    program_wait_output_end(p, 1);
    EXPECT(program_output_total(p, 1) == LARGE, "all of the child's output",
           text("%ju of %d bytes", (uintmax_t)program_output_total(p, 1), (int)LARGE));
    struct program *small = pipeline("--coprocess @ emit 1 65536 exit 4");
    program_start(small);
    expect_pipeline_status(small, 4, "the status of the child");
    expect_same_peak(small, p);

    struct random r = random_from_test();
    int seed = between(&r, 1, 1 << 30);
    p = pipeline("--coprocess @ await gate take 5000 await gate check %d %d exit 5", seed,
                 (int)LARGE);
    program_start(p);
    program_queue(p, pattern_bytes((uint64_t)seed, LARGE), LARGE);
    program_close_input(p);
    wait_quiet(p, "everything waits while the child does not read");
    EXPECT(program_input_taken(p) < LARGE / 2,
           "our input waits once the pipes and a buffer are full",
           text("pipeline took %ju MiB although the child has read nothing",
                (uintmax_t)program_input_taken(p) >> 20));
    /* Room for a page: not for all that waits in a buffer. */
    gate_open("gate", 1);
    wait_quiet(p, "everything waits again once the child has read a little");
    gate_open("gate", 1);
    expect_pipeline_status(p, 5,
                           "the status of the child, which checked that it gets all of our stdin");
}
