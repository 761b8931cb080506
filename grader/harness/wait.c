/*
 * wait.c - the one loop in which every wait of a test happens.
 *
 * Between two polls that moved nothing it looks at the tasks of the test. When all of them are
 * asleep and none has run since the look before, for long enough, nobody is left who could wake
 * anybody: stuck. A loaded machine can't bring that about: a task that wants to run is not asleep,
 * and what a connection has still to bring is looked for as well.
 */
#include <limits.h>
#include <string.h>

#include "harness/internal.h"
#include "harness/observe.h"
#include "harness/test.h"
#include "support/clock.h"

enum {
    POLL_FIRST_MS = 1,
    POLL_LAST_MS = 20,
    SAMPLE_MS = 20,    /* not more often than this, */
    SAMPLE_SHARE = 20, /* nor for more than a twentieth of the time */
    BLOCKED_SAMPLE_MS = 5,
    PROMISES_MS = 200, /* how often a wait that goes on looks at observe_promises() */
    NOBODY_MS = 300,   /* no process is left at all */
};

enum waited { WAITED_DONE, WAITED_ASLEEP };

struct quiet {
    struct activity last;
    bool asleep;
    int64_t since_ns;
    int64_t sample_at_ns;
};

static int64_t ms(int64_t count)
{
    return count * NS_PER_MS;
}

static _Noreturn void out_of_time(const char *what)
{
    test_verdict(
        BOARD_TIMEOUT, what,
        text("%d s were not enough; at their end:\n%s", harness.test->seconds, describe_waiting()));
}

/* Takes a sample when one is due; how long (ns) all has been asleep by now, 0 when something ran.
 */
static int64_t quiet_for(struct quiet *q, pid_t root, int64_t every_ns)
{
    int64_t before = clock_ns();
    if (before < q->sample_at_ns)
        return 0;
    struct activity now = activity_sample(root);
    int64_t after = clock_ns(), share = (after - before) * SAMPLE_SHARE;
    q->sample_at_ns = after + (share > every_ns ? share : every_ns);
    if (!now.all_asleep) {
        q->asleep = false;
        return 0;
    }
    if (!q->asleep || !activity_same(&q->last, &now)) {
        q->asleep = true;
        q->last = now;
        q->since_ns = after; /* asleep from some time before this on: the later bound counts */
        return 0;
    }
    return before - q->since_ns;
}

static bool nobody_is_left(void)
{
    for (const struct program *p = harness.programs; p != NULL; p = p->next)
        if (p->started && !p->ended)
            return false;
    for (const struct orphan *o = harness.orphans; o != NULL; o = o->next)
        if (!o->reaped)
            return false;
    return true;
}

/*
 * Until `done`, or until the processes below `root` (0: all) have been asleep for `asleep_ms`
 * (0: the test's stuck time).
 */
static enum waited wait_for(bool (*done)(void *), void *context, const char *what, pid_t root,
                            int asleep_ms)
{
    struct quiet quiet = {0};
    int poll_ms = 0;
    int64_t look_at_ns = clock_ns() + ms(PROMISES_MS);
    int64_t every = ms(asleep_ms > 0 ? BLOCKED_SAMPLE_MS : SAMPLE_MS);
    for (;;) {
        if (done != NULL && done(context)) {
            observe_promises();
            return WAITED_DONE;
        }
        if (clock_ns() > look_at_ns) {
            observe_promises();
            look_at_ns = clock_ns() + ms(PROMISES_MS);
        }
        if (pump(poll_ms)) {
            poll_ms = 0;
            quiet.asleep = false;
            if (clock_ns() > test_deadline())
                out_of_time(what);
            continue;
        }
        poll_ms = poll_ms == 0 ? POLL_FIRST_MS : poll_ms * 2;
        int longest = asleep_ms > 0 ? BLOCKED_SAMPLE_MS : POLL_LAST_MS;
        if (poll_ms > longest)
            poll_ms = longest;
        if (clock_ns() > test_deadline())
            out_of_time(what);
        int64_t quiet_ns = quiet_for(&quiet, root, every);
        int enough_ms = asleep_ms > 0 ? asleep_ms : harness.stuck_ms;
        if (asleep_ms == 0 && enough_ms > NOBODY_MS && nobody_is_left())
            enough_ms = NOBODY_MS;
        if (quiet_ns < ms(enough_ms))
            continue;
        if (net_is_under_way()) {
            quiet.asleep = false;
            continue;
        }
        /* Once more, for what came while we looked. */
        if (pump(0))
            continue;
        if (done != NULL && done(context))
            return WAITED_DONE;
        observe_promises();
        harness_count_wait(enough_ms);
        return WAITED_ASLEEP;
    }
}

/* In a call that ends by itself: what it waits for may be long over, though. */
static bool somebody_has_a_time(void)
{
    for (const struct program *p = harness.programs; p != NULL; p = p->next)
        if (p->started && !p->ended && process_sleeps_for_a_time(p->pid))
            return true;
    return false;
}

static _Noreturn void stuck(const char *what)
{
    const char *waiting = describe_waiting();
    if (nobody_is_left())
        test_fail(what, "all processes of the test have ended, and it did not happen");
    test_fail(what, text("all processes wait, %s:\n%s",
                         somebody_has_a_time()
                             ? "some for a time of their own, and nobody else will wake them"
                             : "and nothing is left that could wake them",
                         waiting));
}

void wait_until(bool (*done)(void *context), void *context, const char *what)
{
    if (wait_for(done, context, what, 0, 0) == WAITED_ASLEEP)
        stuck(what);
}

bool wait_until_or_stuck(bool (*done)(void *context), void *context, const char *what)
{
    return wait_for(done, context, what, 0, 0) == WAITED_DONE;
}

static bool has_ended(void *context)
{
    const struct program *p = context;
    return p->ended;
}

void program_wait_blocked(struct program *p, const char *what)
{
    if (!p->started)
        test_broken("program_wait_blocked: '%s' has not been started", p->name);
    if (wait_for(has_ended, p, what, p->pid, BLOCKED_MS) == WAITED_ASLEEP)
        return;
    note_end(p);
    test_fail(what, text("%s did not wait: it ended with %s", p->name, status_sentence(p->status)));
}
