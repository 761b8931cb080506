/* Asleep, or busy waiting: what /proc tells of a pipeline with all its stages; and its memory. */
#include "suites/pipe/peer/pipe.h"

#include "support/clock.h"

struct quiet {
    struct program *p;
    struct activity last;
    int64_t since;
    double cpu_from; /* processor time when the waiting began, -1: not yet known */
    int woken;       /* how often all were asleep, and had run since the last look */
    int64_t begun;
    bool busy, polls;
};

static double cpu_of_all(pid_t root)
{
    struct process_list list;
    double seconds = process_cpu_seconds(root);
    process_descendants(root, &list);
    for (size_t i = 0; i < list.count; i++)
        seconds += process_cpu_seconds(list.pid[i]);
    return seconds;
}

static bool is_quiet(void *context)
{
    struct quiet *q = context;
    if (program_has_ended(q->p))
        return true;
    pid_t pid = program_pid(q->p);
    struct activity now = activity_sample(pid);
    int64_t time = clock_ns();
    bool same = q->since != 0 && activity_same(&now, &q->last);
    if (!now.all_asleep || !same) {
        q->woken += now.all_asleep;
        q->last = now;
        q->since = time;
    } else if (time - q->since >= BLOCKED_MS * (int64_t)NS_PER_MS) {
        harness_count_wait((int)((time - q->since) / NS_PER_MS));
        return true;
    }
    double cpu = cpu_of_all(pid);
    if (q->cpu_from < 0) {
        q->cpu_from = cpu;
        q->begun = time;
    }
    q->busy = cpu - q->cpu_from > 0.5;
    q->polls = q->woken > 100 && time - q->begun > 2 * NS_PER_S;
    return q->busy || q->polls;
}

void wait_quiet(struct program *p, const char *what)
{
    wait_quiet_or_end(p, what);
    if (program_has_ended(p))
        test_fail(NULL, what, text("the pipeline ended: %s", status_sentence(program_wait(p))));
}

void wait_quiet_or_end(struct program *p, const char *what)
{
    struct quiet q = {.p = p, .cpu_from = -1};
    wait_until(is_quiet, &q, what);
    if (q.busy)
        test_fail(NULL, what, "it does not come to rest: it goes on burning processor time");
    if (q.polls)
        test_fail(NULL, what, "it wakes up again and again although nothing happens");
}

void expect_idle(struct program *p, const char *when)
{
    wait_quiet(p, text("pipeline sleeps in the kernel while %s: no loop that asks again and again, "
                       "and no poll() that returns at once for an end that is closed",
                       when));
}

void expect_same_peak(struct program *small, struct program *large)
{
    long more = program_peak_kb(large) - program_peak_kb(small);
    EXPECT(more <= 16 * 1024,
           "as much memory for a large stream as for a small one: what has been written is "
           "forgotten, and nothing piles up",
           text("the large stream took %ld MiB more", more / 1024));
}
