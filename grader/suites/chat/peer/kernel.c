/* What the kernel tells: bytes of a connection in /proc/net/tcp, and whether a program sleeps. */
#include "suites/chat/peer/chat.h"

#include <stdio.h>

#include "support/clock.h"

static long queued_in(const char *table, int port)
{
    FILE *f = fopen(table, "re");
    char row[512];
    long sum = 0;
    if (f == NULL)
        return -1;
    while (fgets(row, sizeof row, f) != NULL) {
        unsigned local, remote;
        long tx, rx;
        if (sscanf(row, " %*d: %*[0-9A-F]:%x %*[0-9A-F]:%x %*x %lx:%lx", &local, &remote, &tx,
                   &rx) == 4 &&
            ((int)local == port || (int)remote == port))
            sum += tx + rx;
    }
    fclose(f);
    return sum;
}

long in_the_kernel(const struct user *u)
{
    long v4 = queued_in("/proc/thread-self/net/tcp", endpoint_port(u->e));
    long v6 = queued_in("/proc/thread-self/net/tcp6", endpoint_port(u->e));
    return v4 < 0 ? -1 : v4 + (v6 > 0 ? v6 : 0);
}

/* ---- a program that spins is found by the processor's time that it uses ---- */

struct rest {
    pid_t pid;
    struct activity last;
    int64_t since_ns;
    double cpu; /* seconds, when we began to look */
    bool spins;
};

static bool rests_or_spins(void *context)
{
    static const double MOST_SECONDS = 1;
    struct rest *r = context;
    struct activity now = activity_sample(r->pid);
    if (!now.all_asleep || !activity_same(&now, &r->last)) {
        r->last = now;
        r->since_ns = clock_ns();
        r->spins = process_cpu_seconds(r->pid) - r->cpu > MOST_SECONDS;
        return r->spins;
    }
    return clock_ns() - r->since_ns > BLOCKED_MS * NS_PER_MS;
}

static void fail_if_it_spins(struct program *p, const char *when)
{
    struct rest r = {.pid = program_pid(p), .cpu = process_cpu_seconds(program_pid(p))};
    r.last = activity_sample(r.pid);
    r.since_ns = clock_ns();
    wait_until(rests_or_spins, &r, text("the program sleeps: %s", when));
    EXPECT(!r.spins, text("the program sleeps: %s", when),
           "it has used a second of the processor's time since then, and goes on");
}

void expect_rest(struct program *p, const char *when)
{
    fail_if_it_spins(p, when);
    expect_idle(p, when);
}

void wait_rest(struct program *p, const char *what)
{
    fail_if_it_spins(p, what);
    wait_quiet(p, what);
}
