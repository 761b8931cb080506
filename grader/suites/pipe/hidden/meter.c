/* The meter: counts, order of events, links that are full, stages that stop. */
#include "suites/pipe/peer/pipe.h"

#include <string.h>

enum { LARGE = 32 << 20 };

TEST(meter, any_bytes, "links of no byte, of one, and around the size of a pipe, any value of byte")
{
    struct random r = random_from_test();
    int n[] = {0, 1, 65535, 65536, 65537, 131072}, seed[7];
    enum { LINKS = sizeof n / sizeof *n };
    uint64_t counts[LINKS];

    random_shuffle(&r, n, LINKS, sizeof *n);
    for (int i = 0; i <= LINKS; i++)
        seed[i] = between(&r, 1, 1 << 30);
    struct program *p = pipeline("--meter @");
    for (int i = 0; i < LINKS; i++) {
        counts[i] = (uint64_t)n[i];
        /* Count 0 of `emit` is without end: a stage that is to write nothing does not emit. */
        if (n[i] > 0)
            program_words(p, "emit %d %d", seed[i], n[i]);
        program_words(p, "| @ check %d %d", seed[i], n[i]);
    }
    program_words(p, "exit 4");
    program_start(p);
    expect_pipeline_status(p, 4, "the status of the last stage; each stage checked its input");
    expect_links(p, counts, LINKS);
}

TEST(meter, lines_after_all, "the lines come once all children have ended, not before")
{
    gate_make("gate");
    struct program *p = pipeline("--meter @ say abc close 1 arrive here await gate | "
                                 "@ drain arrive end exit 4");
    program_start(p);
    file_wait(p, "here", "the first stage runs");
    file_wait(p, "end", "the second stage sees the end of its input");
    wait_quiet(p, "pipeline waits for its first stage, although the link has ended");
    EXPECT(program_output_total(p, 2) == 0, "no line as long as a stage runs",
           "something on stderr already");
    gate_open("gate", 1);
    expect_pipeline_status(p, 4, "the status of the last stage");
    expect_links(p, (uint64_t[]){3}, 1);
}

TEST(meter, one_stage, "--meter with one stage prints no line; with two it prints one")
{
    struct random r = random_from_test();
    const char *said = word(&r);

    struct program *p = pipeline("--meter @ say %s exit 4", said);
    program_start(p);
    expect_pipeline_status(p, 4, "the status of the only stage");
    expect_bytes(p, said, strlen(said), "what the stage says");
    expect_links(p, NULL, 0);

    p = pipeline("--meter @ say %s | @ copy exit 5", said);
    program_start(p);
    expect_pipeline_status(p, 5, "the status of the last stage");
    expect_bytes(p, said, strlen(said), "what the stages say");
    expect_links(p, (uint64_t[]){strlen(said)}, 1);
}

TEST(meter, full_link_behind, "a link moves while one behind it is full")
{
    struct random r = random_from_test();
    const char *sent = word(&r);
    int seed = between(&r, 1, 1 << 30), count = between(&r, 300000, 400000);

    /* Link 3 fills up, because stage 4 waits; then link 1 must carry the word that lets it go on.
     */
    gate_make("first");
    gate_make("last");
    struct program *p = pipeline("--meter @ await first say %s | @ take %zu post last | "
                                 "@ arrive full emit %d %d | @ await last check %d %d exit 4",
                                 sent, strlen(sent), seed, count, seed, count);
    program_start(p);
    file_wait(p, "full", "the third stage runs");
    wait_quiet(p, "link 3 is full, and its reader does not read yet");
    gate_open("first", 1);
    expect_pipeline_status(
        p, 4,
        "link 1 moves while link 3 is full, and what it carries lets the reader of "
        "link 3 go on");
    expect_links(p, (uint64_t[]){strlen(sent), 0, (uint64_t)count}, 3);
}

TEST(meter, as_they_come, "a few bytes pass at once, although their writer goes on without an end")
{
    struct random r = random_from_test();
    const char *sent = word(&r), *more = word(&r);

    gate_make("gate");
    struct program *p = pipeline("--meter @ say %s await gate say %s | @ copy | "
                                 "@ echo %zu post gate copy exit 4",
                                 sent, more, strlen(sent));
    program_start(p);
    expect_bytes(p, text("%s%s", sent, more), strlen(sent) + strlen(more),
                 "the first stage says its second word once the last one has got the first");
    expect_pipeline_status(p, 4, "the status of the last stage");
    expect_links(p, (uint64_t[]){strlen(sent) + strlen(more), strlen(sent) + strlen(more)}, 2);
}

TEST(meter, backpressure, "a right stage that does not read stops the left one, in constant memory")
{
    struct random r = random_from_test();
    int seed = between(&r, 1, 1 << 30);

    gate_make("gate");
    struct program *p = pipeline("--meter @ emit %d %d arrive written | "
                                 "@ await gate take 5000 await gate check %d %d exit 4",
                                 seed, (int)LARGE, seed, (int)LARGE);
    program_start(p);
    wait_quiet(p, "everything waits while the right stage does not read");
    EXPECT(!file_there("written"), "the left stage waits once the pipes and a buffer are full",
           text("it could write all its %d MiB although nobody has read any", LARGE >> 20));
    /* Room for a page: not for all that waits in a buffer. */
    gate_open("gate", 1);
    wait_quiet(p, "everything waits again once the right stage has read a little");
    gate_open("gate", 1);
    expect_pipeline_status(p, 4, "the status of the last stage, which checked its input");
    expect_links(p, (uint64_t[]){LARGE}, 1);
}

TEST(meter, constant_memory, "a large stream through --meter takes no more memory than a small one")
{
    struct random r = random_from_test();
    static const int counts[] = {1 << 17, (1 << 26) - 3};
    int seed = between(&r, 1, 1 << 30);
    struct program *p[2];

    for (int i = 0; i < 2; i++) {
        p[i] = pipeline("--meter @ emit %d %d | @ check %d %d exit 4", seed, counts[i], seed,
                        counts[i]);
        program_start(p[i]);
        expect_pipeline_status(p[i], 4, "the status of the last stage, which checked its input");
        expect_links(p[i], (uint64_t[]){(uint64_t)counts[i]}, 1);
    }
    expect_same_peak(p[0], p[1]);
}

TEST(meter, stops_through, "what the last stage no longer takes ends all the stages before it")
{
    struct program *p = pipeline("--meter -- @ emit 1 0 | @ copy | @ copy | @ take 5 exit 4");
    program_start(p);
    expect_pipeline_status(p, 4, "the status of the last stage; SIGPIPE goes from stage to stage");
    expect_link_lines(p, 3);

    /* The right stage only closes its input, and lives on; then the left one begins to write. */
    gate_make("left");
    gate_make("right");
    p = pipeline("--meter @ await left fill 1 arrive gone | "
                 "@ close 0 arrive closed await right exit 5");
    program_start(p);
    file_wait(p, "closed", "the right stage runs");
    expect_idle(p, "the right stage has closed its input and the left one is silent");
    gate_open("left", 1);
    file_wait(p, "gone",
              "the left stage cannot write any more once the right one has closed its "
              "input, although that one runs on");
    gate_open("right", 1);
    expect_pipeline_status(p, 5, "the status of the last stage");
    expect_link_lines(p, 1);
}

TEST(meter, sixty_four, "64 stages with --meter and 256 descriptors")
{
    enum { STAGES = 64 };
    struct random r = random_from_test();
    const char *sent = word(&r);
    uint64_t counts[STAGES - 1];

    struct program *p = pipeline("--meter @ say %s", sent);
    for (int i = 1; i < STAGES; i++)
        program_words(p, "| @ copy");
    for (int i = 0; i < STAGES - 1; i++)
        counts[i] = strlen(sent);
    program_limit_descriptors(p, 256);
    program_start(p);
    expect_bytes(p, sent, strlen(sent), "a word that went through 64 stages");
    expect_pipeline_status(p, 0, "the status of the last stage");
    expect_links(p, counts, STAGES - 1);
}

TEST(meter, statuses, "--meter leaves the exit status as it is: pipefail, signals, no such program")
{
    struct program *p = pipeline("-o pipefail --meter @ exit 6 | @ drain | @ drain");
    program_start(p);
    expect_pipeline_status(p, 6, "the rightmost stage that failed is the first");
    expect_links(p, (uint64_t[]){0, 0}, 2);

    p = pipeline("--meter @ exit 6 | @ drain kill 15");
    program_start(p);
    expect_pipeline_status(p, 143, "the last stage died of SIGTERM: 128+15");

    p = pipeline("--meter no-such-program | @ drain say abc | @ drain exit 7");
    program_start(p);
    expect_pipeline_status(p, 7, "the first stage can't start, the others run");
    /* The reason for the first stage may stand before the lines, or behind them. */
    program_wait_output_end(p, 2);
    size_t len;
    static const char want[] = "link 1: 0 bytes\nlink 2: 3 bytes\n";
    const char *got = program_output(p, 2, &len), *lines = memmem(got, len, want, sizeof want - 1);
    EXPECT(lines != NULL && (lines == got || lines[-1] == '\n') &&
               strncmp(lines + sizeof want - 1, "link ", 5) != 0,
           text("on stderr, beside the reason for the first stage, %s",
                quoted(want, sizeof want - 1, 100)),
           quoted(got, len, 200));
}
