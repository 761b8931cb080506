/*
 * The layer "limits": bounds on what one process may use (rlimits). Processes are counted for a
 * uid: layer_processes.c.
 */
#include "sandbox/layers.h"

#include <errno.h>
#include <sys/resource.h>

/* The bytes that one default queue of the kernel needs for a user: fewer would fail right programs.
 */
enum { QUEUE_BYTES_MIN = 819200 };

static bool probe(struct strbuf *detail)
{
    strbuf_addstr(detail, "processor time, memory, files, descriptors, queues; no core files");
    return true;
}

static int set(int resource, rlim_t soft, rlim_t hard)
{
    struct rlimit limit = {.rlim_cur = soft, .rlim_max = hard}, now;

    if (setrlimit((__rlimit_resource_t)resource, &limit) == 0)
        return 0;
    /* Only root may go over the hard limit: what is there is then the strictest that we have. */
    if (errno != EPERM || getrlimit((__rlimit_resource_t)resource, &now) != 0)
        return -1;
    limit.rlim_max = now.rlim_max;
    if (limit.rlim_cur > now.rlim_max)
        limit.rlim_cur = now.rlim_max;
    return setrlimit((__rlimit_resource_t)resource, &limit);
}

/* `value` units as the policy has them: 0 leaves the limit, -1 is none. */
static int set_units(int resource, long value, rlim_t unit)
{
    rlim_t bytes = value < 0 ? RLIM_INFINITY : (rlim_t)value * unit;

    return value == 0 ? 0 : set(resource, bytes, bytes);
}

static int enter(const struct sandbox *s)
{
    const struct policy *p = s->policy;
    long queues =
        p->queue_bytes > 0 && p->queue_bytes < QUEUE_BYTES_MIN ? QUEUE_BYTES_MIN : p->queue_bytes;
    const rlim_t mb = 1 << 20;

    if (set(RLIMIT_CORE, 0, 0) != 0 || set_units(RLIMIT_AS, p->memory_mb, mb) != 0 ||
        set_units(RLIMIT_FSIZE, p->file_mb, mb) != 0 ||
        set_units(RLIMIT_STACK, p->stack_mb, mb) != 0 ||
        set_units(RLIMIT_NOFILE, p->descriptors, 1) != 0 ||
        set_units(RLIMIT_MSGQUEUE, queues, 1) != 0)
        return -1;
    /* SIGXCPU first, which names the cause; whoever catches it is killed a second later. */
    if (p->cpu_seconds > 0)
        return set(RLIMIT_CPU, (rlim_t)p->cpu_seconds, (rlim_t)p->cpu_seconds + 1);
    return set_units(RLIMIT_CPU, p->cpu_seconds, 1);
}

const struct layer layer_limits = {
    .name = "limits",
    .gives = "bounds on a process's time, memory, files and descriptors",
    .probe = probe,
    .enter = enter,
};
