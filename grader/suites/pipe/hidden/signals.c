/* Signals: actions and mask of the stages, SIGPIPE and SIGCHLD above all. */
#include "suites/pipe/peer/pipe.h"

#include <signal.h>

#define BIT(signal) (UINT32_C(1) << (signal))

enum { FORMS = 3 };

static struct program *form(int i)
{
    switch (i) {
    case 0:
        return pipeline("@ signals first%d | @ signals last%d exit 4", i, i);
    case 1:
        return pipeline("--meter @ signals first%d | @ signals last%d exit 4", i, i);
    default:
        return pipeline("--coprocess @ signals first%d signals last%d exit 4", i, i);
    }
}

static void expect_form(struct program *p, int i, uint32_t ignored, uint32_t blocked)
{
    program_start(p);
    expect_pipeline_status(p, 4, "the status of the last stage");
    expect_signals(text("first%d", i), i == 2 ? "the child" : "the first stage", ignored, blocked);
    expect_signals(text("last%d", i), i == 2 ? "the child" : "the last stage", ignored, blocked);
}

TEST(signals, sigpipe_default, "SIGPIPE has its default action in the stages, with --meter too")
{
    for (int i = 0; i < FORMS; i++)
        expect_form(form(i), i, 0, 0);
}

TEST(signals, sigpipe_ignored, "SIGPIPE ignored at the start stays ignored in the stages")
{
    struct random r = random_from_test();
    uint32_t others = signals_random(&r, 3);

    for (int i = 0; i < FORMS; i++) {
        struct program *p = form(i);
        for (int s = 1; s <= 31; s++)
            if ((others | BIT(SIGPIPE)) & BIT(s))
                program_ignore_signal(p, s);
        expect_form(p, i, others | BIT(SIGPIPE), 0);
    }
}

TEST(signals, blocked, "what is blocked at the start is blocked in the stages, and nothing else")
{
    struct random r = random_from_test();
    uint32_t blocked = signals_random(&r, 3) | BIT(SIGPIPE) | BIT(SIGCHLD);

    for (int i = 0; i < FORMS; i++) {
        struct program *p = form(i);
        for (int s = 1; s <= 31; s++)
            if (blocked & BIT(s))
                program_block_signal(p, s);
        expect_form(p, i, 0, blocked);
    }
}

TEST(signals, sigchld_ignored, "SIGCHLD ignored at the start: statuses are right all the same")
{
    for (int i = 0; i < FORMS; i++) {
        struct program *p = form(i);
        program_ignore_signal(p, SIGCHLD);
        expect_form(p, i, BIT(SIGCHLD), 0);
    }
}
