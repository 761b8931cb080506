#include "score/score.h"

static void settle_pending(struct grading *g)
{
    for (size_t i = 0; i < g->run_count; i++) {
        struct run *run = &g->runs[i];

        if (run->status != RUN_PENDING)
            continue;
        if (g->status == STATUS_BUILD_FAILED || g->status == STATUS_REJECTED) {
            run->status = RUN_FAILED;
        } else if (g->status == STATUS_GRADED) {
            g->status = STATUS_GRADER_ERROR;
            error_set(&g->reason, FAULT_GRADER, "test '%s' was planned and not run", run->test->id);
        }
    }
}

void score(struct grading *g)
{
    g->score = g->max = g->bonus = 0;
    settle_pending(g);

    /* Refused before anything was planned: the full max all the same. */
    for (size_t i = 0; g->run_count == 0 && i < g->manifest.test_count; i++) {
        const struct manifest_test *test = &g->manifest.tests[i];

        if (!test->bonus && grading_wants(g, test))
            g->max += test->points;
    }

    for (size_t i = 0; i < g->run_count; i++) {
        struct run *run = &g->runs[i];
        bool counts = g->status == STATUS_GRADED || g->status == STATUS_GRADER_ERROR;

        run->points = 0;
        if (counts && run->status == RUN_NOT_MEASURED)
            continue;
        if (counts && run->status == RUN_PASSED)
            run->points = run->test->points;
        if (run->test->bonus) {
            g->bonus += run->points;
        } else {
            g->max += run->test->points;
            g->score += run->points;
        }
    }
    if (g->status == STATUS_GRADER_ERROR)
        g->score = g->bonus = 0; /* what is known is in the runs; a part of a score is none */
}
