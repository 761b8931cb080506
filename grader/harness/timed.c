/*
 * timed.c - process_sleeps_for_a_time(): who sleeps in the kernel, but not until somebody wakes it.
 *
 * What a task waits in, with its six arguments, stands in /proc/PID/task/TID/syscall; the time-outs
 * are those of the calls' man pages. One that stands in the program's memory is read there. Signals
 * by a timer (setitimer(2)) and timer descriptors are not seen.
 */
#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "harness/internal.h"
#include "harness/observe.h"

/* A wait that ends later than this counts as one without an end. */
enum { FAR_SECONDS = 60, ARGUMENTS = 6 };

enum timeout {
    TIMEOUT_MS,       /* an int of milliseconds, negative: none */
    TIMEOUT_RELATIVE, /* a pointer to a struct timespec, NULL: none */
    TIMEOUT_REALTIME, /* the same, a moment of that clock */
    TIMEOUT_TIMEVAL,  /* a pointer to a struct timeval, NULL: none */
    TIMEOUT_FUTEX,    /* as its operation says (futex(2)) */
    TIMEOUT_SLEEP,    /* nothing else is waited for */
};

static const struct {
    long number;
    enum timeout kind;
    int argument;
} timed_calls[] = {
    {SYS_nanosleep, TIMEOUT_SLEEP, 0},
    {SYS_clock_nanosleep, TIMEOUT_SLEEP, 0},
    {SYS_futex, TIMEOUT_FUTEX, 3},
    {SYS_ppoll, TIMEOUT_RELATIVE, 2},
    {SYS_pselect6, TIMEOUT_RELATIVE, 4},
    {SYS_epoll_pwait, TIMEOUT_MS, 3},
    {SYS_rt_sigtimedwait, TIMEOUT_RELATIVE, 2},
    {SYS_mq_timedreceive, TIMEOUT_REALTIME, 4},
    {SYS_mq_timedsend, TIMEOUT_REALTIME, 4},
#ifdef SYS_epoll_pwait2
    {SYS_epoll_pwait2, TIMEOUT_RELATIVE, 3},
#endif
#ifdef SYS_poll
    {SYS_poll, TIMEOUT_MS, 2},
    {SYS_select, TIMEOUT_TIMEVAL, 4},
    {SYS_epoll_wait, TIMEOUT_MS, 3},
#endif
};

/* Seconds from now to a time in the memory of `pid`; 0 when it can't be read. */
static int64_t seconds_until(pid_t pid, unsigned long address, const clockid_t *clock)
{
    char path[64];
    struct timespec at = {0}, now = {0};
    snprintf(path, sizeof path, "/proc/%d/mem", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool known = fd >= 0 && pread(fd, &at, sizeof at, (off_t)address) == (ssize_t)sizeof at;
    if (fd >= 0)
        close(fd);
    if (!known)
        return 0;
    if (clock != NULL)
        clock_gettime(*clock, &now);
    return (int64_t)at.tv_sec - (int64_t)now.tv_sec;
}

static bool ends_soon(pid_t pid, enum timeout kind, unsigned long argument, unsigned long operation)
{
    static const clockid_t realtime = CLOCK_REALTIME, monotonic = CLOCK_MONOTONIC;
    const clockid_t *clock = NULL;
    switch (kind) {
    case TIMEOUT_SLEEP:
        return true;
    case TIMEOUT_MS:
        return (int)argument >= 0 && (int)argument <= FAR_SECONDS * 1000;
    case TIMEOUT_RELATIVE:
    case TIMEOUT_TIMEVAL: /* its first member is the seconds as well */
        break;
    case TIMEOUT_REALTIME:
        clock = &realtime;
        break;
    case TIMEOUT_FUTEX:
        if ((operation & FUTEX_CMD_MASK) != FUTEX_WAIT)
            clock = operation & FUTEX_CLOCK_REALTIME ? &realtime : &monotonic;
        break;
    }
    return argument != 0 && seconds_until(pid, argument, clock) <= FAR_SECONDS;
}

struct timed {
    pid_t pid;
    bool found;
};

static bool task_is_timed(pid_t tid, void *context)
{
    struct timed *t = context;
    char name[64], line[512];
    unsigned long arguments[ARGUMENTS];
    snprintf(name, sizeof name, "task/%d/syscall", (int)tid);
    if (observe_read(line, sizeof line, t->pid, name) == 0)
        return true; /* it has ended, or this kernel does not tell */
    char *at = line;
    long number = strtol(line, &at, 10);
    if (at == line)
        return true; /* "running" */
    for (int i = 0; i < ARGUMENTS; i++)
        arguments[i] = strtoul(at, &at, 16);
    for (size_t i = 0; i < sizeof timed_calls / sizeof timed_calls[0]; i++)
        if (timed_calls[i].number == number)
            t->found = ends_soon(t->pid, timed_calls[i].kind, arguments[timed_calls[i].argument],
                                 arguments[1]);
    return !t->found;
}

bool process_sleeps_for_a_time(pid_t pid)
{
    static struct process_list list;
    struct timed t = {pid, false};
    process_family(pid, &list);
    for (size_t i = 0; i <= list.count && !t.found; i++) {
        t.pid = i == list.count ? pid : list.pid[i];
        const struct fsids before = observe_as(t.pid);
        observe_tasks(t.pid, task_is_timed, &t);
        fsids_restore(&before);
    }
    return t.found;
}
