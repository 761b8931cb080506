/*
 * Points: what each verdict is worth, and what no verdict may cost.
 */
#include <criterion/criterion.h>

#include <string.h>

#include "score/score.h"

enum { TESTS = 6 };

static struct manifest_test tests[TESTS] = {
    {.id = "a/one", .points = 30, .concept = "c", .visibility = VISIBILITY_PUBLIC},
    {.id = "a/two", .points = 30, .concept = "c", .visibility = VISIBILITY_PUBLIC},
    {.id = "a/three", .points = 20, .concept = "c", .visibility = VISIBILITY_HIDDEN},
    {.id = "a/four", .points = 15, .concept = "c", .visibility = VISIBILITY_AFTER_DUE},
    {.id = "a/five", .points = 5, .concept = "c", .visibility = VISIBILITY_PUBLIC},
    {.id = "b/extra", .points = 7, .bonus = true, .concept = "c"},
};

static struct run runs[TESTS];

static struct grading graded(const enum run_status *statuses)
{
    struct grading g = {.status = STATUS_GRADED, .runs = runs, .run_count = TESTS};

    g.manifest.lab = "pipe";
    g.manifest.tests = tests;
    g.manifest.test_count = TESTS;
    for (size_t i = 0; i < TESTS; i++)
        runs[i] = (struct run){.test = &tests[i], .status = statuses[i], .points = -1};
    return g;
}

static void expect_score(const struct grading *g, int points, int max, int bonus)
{
    cr_expect_eq(g->score, points, "score %d, not %d", g->score, points);
    cr_expect_eq(g->max, max, "max %d, not %d", g->max, max);
    cr_expect_eq(g->bonus, bonus, "bonus %d, not %d", g->bonus, bonus);
}

Test(score, passed_has_all_its_points_and_every_other_verdict_none)
{
    enum run_status s[] = {RUN_PASSED,  RUN_FAILED, RUN_CRASHED,
                           RUN_TIMEOUT, RUN_PASSED, RUN_FAILED};
    struct grading g = graded(s);

    score(&g);
    expect_score(&g, 35, 100, 0);
    cr_expect_eq(runs[0].points, 30);
    for (size_t i = 1; i < 4; i++)
        cr_expect_eq(runs[i].points, 0, "run %zu has %d points", i, runs[i].points);
    cr_expect_eq(g.status, STATUS_GRADED);
}

Test(score, all_passed_is_the_max_and_bonus_is_apart)
{
    enum run_status s[] = {RUN_PASSED, RUN_PASSED, RUN_PASSED, RUN_PASSED, RUN_PASSED, RUN_PASSED};
    struct grading g = graded(s);

    score(&g);
    expect_score(&g, 100, 100, 7);
    cr_expect_eq(runs[5].points, 7);
}

Test(score, a_bonus_that_fails_costs_nothing)
{
    enum run_status s[] = {RUN_PASSED, RUN_PASSED, RUN_PASSED, RUN_PASSED, RUN_PASSED, RUN_CRASHED};
    struct grading g = graded(s);

    score(&g);
    expect_score(&g, 100, 100, 0);
}

Test(score, what_is_not_measured_leaves_score_and_max)
{
    enum run_status s[] = {RUN_PASSED, RUN_NOT_MEASURED, RUN_FAILED,
                           RUN_PASSED, RUN_PASSED,       RUN_NOT_MEASURED};
    struct grading g = graded(s);

    score(&g);
    expect_score(&g, 50, 70, 0);
    cr_expect_eq(runs[1].points, 0);
}

Test(score, what_did_not_build_has_0_of_the_full_max)
{
    enum run_status s[TESTS] = {RUN_PENDING};
    struct grading g = graded(s);

    g.status = STATUS_BUILD_FAILED;
    score(&g);
    expect_score(&g, 0, 100, 0);
    for (size_t i = 0; i < TESTS; i++)
        cr_expect_eq(runs[i].status, RUN_FAILED);
}

Test(score, a_verdict_in_what_did_not_build_earns_nothing)
{
    enum run_status s[] = {RUN_PASSED,  RUN_NOT_MEASURED, RUN_PENDING,
                           RUN_PENDING, RUN_PENDING,      RUN_PASSED};
    struct grading g = graded(s);

    g.status = STATUS_BUILD_FAILED;
    score(&g);
    expect_score(&g, 0, 100, 0);
    cr_expect_eq(runs[0].points, 0);
}

Test(score, refused_before_the_plan_has_0_of_what_was_asked_for)
{
    static const char *const some[] = {"a/one", "pipe/a/three", "pipe/a/nothing", NULL};
    enum run_status s[TESTS] = {RUN_PENDING};
    struct grading g = graded(s);

    g.status = STATUS_REJECTED;
    g.run_count = 0;
    score(&g);
    expect_score(&g, 0, 100, 0);
    g.options.tests = some;
    score(&g);
    expect_score(&g, 0, 50, 0);
    g.options.public_only = true;
    score(&g);
    expect_score(&g, 0, 30, 0);
}

Test(score, a_test_that_was_not_run_is_the_grader_s_fault_and_no_zero)
{
    enum run_status s[] = {RUN_PASSED, RUN_PENDING, RUN_PASSED, RUN_PASSED, RUN_PASSED, RUN_PASSED};
    struct grading g = graded(s);

    score(&g);
    cr_expect_eq(g.status, STATUS_GRADER_ERROR);
    cr_expect_not_null(strstr(g.reason.text, "a/two"));
    expect_score(&g, 0, 100, 0);
}

Test(score, a_grader_error_keeps_verdicts_and_leaves_the_rest_pending)
{
    enum run_status s[] = {RUN_PASSED,  RUN_FAILED,  RUN_PENDING,
                           RUN_PENDING, RUN_PENDING, RUN_PENDING};
    struct grading g = graded(s);

    g.status = STATUS_GRADER_ERROR;
    score(&g);
    expect_score(&g, 0, 100, 0);
    cr_expect_eq(runs[0].points, 30);
    cr_expect_eq(runs[2].status, RUN_PENDING);
}

Test(score, twice_is_the_same_as_once)
{
    enum run_status s[] = {RUN_PASSED, RUN_NOT_MEASURED, RUN_FAILED,
                           RUN_PASSED, RUN_PASSED,       RUN_PASSED};
    struct grading g = graded(s);

    score(&g);
    score(&g);
    expect_score(&g, 50, 70, 7);
}
