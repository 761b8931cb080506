/* Descriptors and signals: what a stage starts with. */
#include "suites/pipe/peer/pipe.h"

#include <signal.h>
#include <string.h>

TEST(descriptors, nothing_inherited, "a stage has descriptors 0, 1 and 2 and no other")
{
    enum { STAGES = 4 };
    struct random r = random_from_test();
    const char *said = word(&r);
    int status = random_status(&r);
    uintmax_t errors = 0;

    struct program *p = pipeline("@ report stage1 err %s", said);
    for (int i = 2; i <= STAGES; i++)
        program_words(p, "| @ report stage%d", i);
    program_words(p, "exit %d", status);
    program_start(p);
    expect_pipeline_status(p, status, "the status of the last stage");
    for (int i = 1; i <= STAGES; i++) {
        const char *stage = text("stage %d of %d", i, STAGES);
        struct held h = held_read(text("stage%d", i), stage);
        expect_no_more(&h, stage);
        if (i == 1)
            errors = h.inode[2];
        EXPECT(h.kind[2] == HELD_PIPE && h.inode[2] == errors,
               "stderr of every stage is pipeline's own",
               text("%s has another one than the first stage", stage));
    }
    program_wait_output_end(p, 2);
    size_t len;
    const char *got = program_output(p, 2, &len);
    EXPECT(len == strlen(said) + 1 && memcmp(got, said, strlen(said)) == 0,
           text("what the first stage writes to stderr comes out on pipeline's own: '%s'", said),
           quoted(got, len, 100));
}

TEST(descriptors, yes_head, "yes '|' head -1 ends: SIGPIPE reaches a writer that nobody reads")
{
    struct program *p = pipeline("yes | head -1");
    program_start(p);
    expect_pipeline_status(
        p, 0,
        "the status of head; yes gets SIGPIPE once head has ended, because nobody "
        "else holds the read end of their pipe");
    expect_bytes(p, "y\n", 2, "the one line that head prints");
}

TEST(descriptors, closed_input, "started with stdin closed, the data still goes its way")
{
    struct random r = random_from_test();
    const char *sent = word(&r), *added = word(&r);

    struct program *p = pipeline("@ report first say %s | @ report last tag %s", sent, added);
    program_stream(p, 0, STREAM_CLOSED);
    program_start(p);
    expect_bytes(p, text("%s%s", sent, added), strlen(sent) + strlen(added),
                 "a word of the first stage, then one of the second");
    expect_pipeline_status(p, 0, "the status of the last stage");
    struct held first = held_read("first", "the first stage"),
                last = held_read("last", "the last stage");
    expect_closed_or_null(&first, 0, "the first stage");
    expect_no_more(&first, "the first stage");
    expect_no_more(&last, "the last stage");
}

TEST(signals, as_started, "stages start with the signal actions and the mask of pipeline's start")
{
    struct random r = random_from_test();
    for (int i = 0; i < 2; i++) { /* everything default, then not, SIGCHLD among it */
        uint32_t set = i == 0 ? 0 : signals_random(&r, 5), blocked = 0;
        int turn = (int)random_below(&r, 2);
        struct program *p = pipeline("@ signals first%d | @ signals last%d exit 4", i, i);
        if (i == 1)
            set |= UINT32_C(1) << SIGCHLD;
        for (int s = 1; s <= 31; s++) {
            if (!(set & (UINT32_C(1) << s)))
                continue;
            if (s == SIGCHLD || turn++ % 2 == 0) {
                program_ignore_signal(p, s);
            } else {
                program_block_signal(p, s);
                blocked |= UINT32_C(1) << s;
            }
        }
        program_start(p);
        expect_pipeline_status(p, 4,
                               i == 0 ? "the status of the last stage"
                                      : "the status of the last stage, also with SIGCHLD ignored");
        expect_signals(text("first%d", i), "the first stage", set & ~blocked, blocked);
        expect_signals(text("last%d", i), "the last stage", set & ~blocked, blocked);
    }
}
