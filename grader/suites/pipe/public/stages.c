/* Stages: started, joined, all at once. */
#include "suites/pipe/peer/pipe.h"

#include <string.h>

TEST(stages, one_stage, "one stage gets its arguments and our stdin, and its end is pipeline's")
{
    struct random r = random_from_test();
    const char *sent = word(&r), *added = word(&r);
    int status = random_status(&r);

    struct program *p = pipeline("@ tag %s exit %d", added, status);
    program_start(p);
    program_send_text(p, sent);
    program_close_input(p);
    expect_pipeline_status(p, status, "the status of the only stage");
    expect_bytes(p, text("%s%s", sent, added), strlen(sent) + strlen(added),
                 "the stage copies its input and adds a word, both from us");

    p = pipeline("@ say %s kill 15", added);
    program_start(p);
    expect_pipeline_status(p, 128 + 15,
                           "the only stage died of SIGTERM, which is 128+15, as in a shell");
    expect_bytes(p, added, strlen(added), "what the stage printed before it died");
}

TEST(stages, two_stages, "what the first stage writes is what the second one reads")
{
    struct random r = random_from_test();
    const char *sent = word(&r);
    int status = random_status(&r);

    struct program *p = pipeline("@ say %s | @ upper exit %d", sent, status);
    program_start(p);
    expect_pipeline_status(p, status, "the status of the second stage");
    expect_bytes(p, upper_case(sent), strlen(sent),
                 "the word of the first stage, which the second one makes upper case");
}

TEST(stages, order, "any number of stages, joined in the order in which they stand")
{
    struct random r = random_from_test();
    int count = between(&r, 4, 8);
    const char *sent = word(&r), *want = sent;

    gate_make("gate");
    struct program *p = pipeline("@ await gate say %s", sent);
    for (int i = 1; i < count; i++) {
        const char *added = text("-%s", word(&r));
        program_words(p, "| @ tag %s", added);
        want = text("%s%s", want, added);
    }
    program_start(p);
    wait_quiet(p, "each stage waits for the one before it, and the first one for us");
    gate_open("gate", 1);
    expect_bytes(p, want, strlen(want),
                 text("%d stages, each of which adds a word to what it reads", count));
    expect_pipeline_status(p, 0, "the status of the last stage");
}

TEST(stages, all_at_once, "all stages run at the same time: none waits for another one's end")
{
    enum { STAGES = 5 };
    struct random r = random_from_test();
    int status = random_status(&r);

    gate_make("gate");
    struct program *p = pipeline("@ arrive stage1 await gate");
    for (int i = 2; i < STAGES; i++)
        program_words(p, "| @ arrive stage%d await gate", i);
    program_words(p, "| @ arrive stage%d await gate exit %d", STAGES, status);
    program_start(p);
    for (int i = 1; i <= STAGES; i++)
        file_wait(p, text("stage%d", i),
                  text("stage %d of %d runs although no other stage has ended", i, STAGES));
    gate_open("gate", STAGES);
    expect_pipeline_status(p, status, "the status of the last stage");
}

TEST(stages, sixty_four, "64 stages run with 256 descriptors allowed, and more with more")
{
    struct random r = random_from_test();
    const char *sent = word(&r), *added = word(&r);

    for (int i = 0; i < 2; i++) {
        int stages = i == 0 ? 64 : 80;
        struct program *p = pipeline("@ say %s", sent);
        for (int j = 2; j < stages; j++)
            program_words(p, "| @ copy");
        program_words(p, "| @ tag %s", added);
        program_limit_descriptors(p, i == 0 ? 256 : 1024);
        program_start(p);
        expect_bytes(
            p, text("%s%s", sent, added), strlen(sent) + strlen(added),
            text("a word that went through %d stages, and one that the last adds", stages));
        expect_pipeline_status(p, 0, "the status of the last stage");
    }
}

TEST(eof, travels, "the end of our input travels through both stages")
{
    struct random r = random_from_test();
    const char *sent = word(&r), *added = word(&r);

    struct program *p = pipeline("@ copy | @ upper say %s", added);
    program_start(p);
    program_send_text(p, sent);
    EXPECT(program_wait_output(p, 1, strlen(sent)),
           "what we send comes through both stages while our end is still open",
           "the output ended first");
    program_close_input(p);
    expect_bytes(p, text("%s%s", upper_case(sent), added), strlen(sent) + strlen(added),
                 "the first stage sees the end of our input and ends, so the second one sees the "
                 "end of its own, and then adds a word");
    expect_pipeline_status(p, 0, "the status of the second stage");
}

TEST(random, shells, "random pipelines print and return what they do in bash or dash")
{
    struct random r = random_from_test();
    for (int i = 0; i < 2; i++)
        expect_as_shells(random_line(&r, false), false);
}
