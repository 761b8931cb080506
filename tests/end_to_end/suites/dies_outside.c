/*
 * A suite whose workers die where no hook of Criterion's tells of it: before their test's body, and
 * behind it. The third test passes.
 */
#include "harness/harness.h"

#include <signal.h>
#include <unistd.h>

static void begin_and_exit(void)
{
    harness_begin();
    _exit(0);
}

static void end_and_crash(void)
{
    harness_end();
    raise(SIGKILL);
}

Test(stages, one_stage, .init = begin_and_exit, .fini = harness_end)
{
    harness_passed();
}

Test(stages, two_stages, .init = harness_begin, .fini = end_and_crash)
{
    harness_passed();
}

TEST(usage, options, "it passes")
{
}
