#include "grading.h"

const char *grading_status_name(enum grading_status s)
{
    switch (s) {
    case STATUS_GRADED:
        return "graded";
    case STATUS_BUILD_FAILED:
        return "build_failed";
    case STATUS_REJECTED:
        return "rejected";
    case STATUS_GRADER_ERROR:
        break;
    }
    return "grader_error";
}

const char *run_status_name(enum run_status s)
{
    switch (s) {
    case RUN_PENDING:
        break;
    case RUN_PASSED:
        return "passed";
    case RUN_FAILED:
        return "failed";
    case RUN_CRASHED:
        return "crashed";
    case RUN_TIMEOUT:
        return "timeout";
    case RUN_NOT_MEASURED:
        return "not_measured";
    }
    return "not_run";
}

bool grading_wants(const struct grading *g, const struct manifest_test *test)
{
    const char *const *names = g->options.tests;
    if (g->options.public_only && test->visibility != VISIBILITY_PUBLIC)
        return false;
    if (!names || !*names)
        return true;
    for (; *names; names++) {
        if (manifest_named(&g->manifest, *names) == test)
            return true;
    }
    return false;
}
