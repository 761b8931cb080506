/*
 * reap.c - how processes end: our programs, and what they leave behind.
 *
 * The worker is the subreaper of everything: a process whose parent has ended becomes our child,
 * alive or as a zombie, before that parent's own end can be seen. So the children that we have when
 * a program's end is seen, and that are no programs, are what was left.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/internal.h"
#include "harness/observe.h"
#include "harness/test.h"
#include "support/clock.h"

enum { CHILDREN_MAX = 1024 };

static struct program *program_of(pid_t pid)
{
    for (struct program *p = harness.programs; p != NULL; p = p->next)
        if (p->started && !p->ended && p->pid == pid)
            return p;
    return NULL;
}

static struct orphan *orphan_of(pid_t pid)
{
    for (struct orphan *o = harness.orphans; o != NULL; o = o->next)
        if (!o->reaped && o->pid == pid)
            return o;
    return NULL;
}

static struct orphan *orphan_add(pid_t pid)
{
    struct orphan *o = test_alloc(sizeof *o);
    o->pid = pid;
    o->next = harness.orphans;
    harness.orphans = o;
    return o;
}

/*
 * `p` has ended and is not yet reaped: counts what it left. An orphan that no earlier end explains
 * is this program's.
 */
static void count_orphans(struct program *p)
{
    static pid_t pids[CHILDREN_MAX];
    size_t n = observe_own_children(pids, CHILDREN_MAX);
    for (size_t i = 0; i < n; i++) {
        if (program_of(pids[i]) != NULL)
            continue;
        struct orphan *o = orphan_of(pids[i]);
        if (o == NULL)
            o = orphan_add(pids[i]);
        /* In the session of another program, it is that one's to answer for. */
        const struct program *session = program_of(getsid(pids[i]));
        if (o->owner != NULL || (session != NULL && session != p))
            continue;
        o->owner = p;
        o->zombie = process_state(pids[i]) == 'Z';
        process_command(pids[i], o->name);
        p->orphans++;
        atomic_fetch_add(&harness.board->orphans, 1);
    }
}

static void program_ended(struct program *p)
{
    count_orphans(p);
    pid_t got;
    do
        got = wait4(p->pid, &p->status, 0, &p->usage);
    while (got < 0 && errno == EINTR);
    p->ended = true;
}

static bool reap_programs(void)
{
    bool any = false;
    for (struct program *p = harness.programs; p != NULL; p = p->next) {
        siginfo_t info = {0};
        if (!p->started || p->ended)
            continue;
        if (waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
            info.si_pid == p->pid) {
            program_ended(p);
            any = true;
        }
    }
    return any;
}

bool reap(void)
{
    bool any = false;
    for (;;) {
        siginfo_t info = {0};
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0)
            return any;
        /*
         * Programs first: what one leaves becomes ours in the same instant as its end can be seen,
         * and must still be there to be counted.
         */
        if (reap_programs()) {
            any = true;
            continue;
        }
        struct orphan *o = orphan_of(info.si_pid);
        if (o != NULL)
            o->reaped = true;
        waitpid(info.si_pid, NULL, 0);
        any = true;
    }
}

/* Ends everything that is left; in the usual case one look finds that there is nothing. */
void reap_kill_all(void)
{
    static struct process_list list;
    process_descendants(getpid(), &list);
    if (list.count != 0)
        slot_kill_tree(getpid(), NULL, NULL); /* one that does not die is the sweep's to tell */
    reap();
}

/* ---- what an end means ---- */

bool status_is_crash(int status)
{
    if (!WIFSIGNALED(status))
        return false;
    switch (WTERMSIG(status)) {
    case SIGSEGV:
    case SIGABRT:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
    case SIGTRAP:
    case SIGSYS:
        return true;
    }
    return false;
}

static const char *signal_meaning(int signal)
{
    switch (signal) {
    case SIGSEGV:
        return "an access to memory that is not its own";
    case SIGABRT:
        return "abort(), often by a failed assertion or by the heap's own checks";
    case SIGBUS:
        return "an access beyond the end of a mapped object";
    case SIGFPE:
        return "an arithmetic error such as a division by zero";
    case SIGILL:
        return "a machine instruction that does not exist";
    case SIGTRAP:
        return "a breakpoint without a debugger";
    case SIGSYS:
        return "a system call that does not exist";
    case SIGPIPE:
        return "a write to a pipe or socket that nobody reads any more";
    case SIGXCPU:
        return "its limit of processor time is used up";
    case SIGXFSZ:
        return "a file grew beyond its limit";
    case SIGKILL:
        return "a signal that can't be caught";
    case SIGTERM:
        return "the request to end";
    case SIGINT:
        return "the interrupt of control-C";
    case SIGALRM:
        return "a timer of its own";
    }
    return NULL;
}

const char *status_sentence(int status)
{
    if (WIFEXITED(status))
        return text("exit status %d", WEXITSTATUS(status));
    int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    const char *name = sigabbrev_np(signal), *meaning = signal_meaning(signal);
    if (name == NULL)
        return text("killed by signal %d", signal);
    if (meaning == NULL)
        return text("killed by signal %d (SIG%s)", signal, name);
    return text("killed by signal %d (SIG%s: %s)", signal, name, meaning);
}

const char *death_sentence(const struct program *p)
{
    if (!p->ended || p->end_expected || !WIFSIGNALED(p->status))
        return NULL;
    int signal = WTERMSIG(p->status);
    if (signal < 64 && (p->signals_sent & ((uint64_t)1 << signal)) != 0)
        return NULL;
    if (status_is_crash(p->status))
        return text("%s was %s", p->name, status_sentence(p->status));
    if (signal == SIGXCPU)
        return text("%s used up its processor time: it runs in a circle instead of waiting for "
                    "something to happen, or moves its bytes in very small pieces",
                    p->name);
    if (signal == SIGKILL)
        return text("%s was killed by signal 9 (SIGKILL), which the grader did not send: it did so "
                    "itself, or it hit a limit of memory or processor time",
                    p->name);
    if (signal == SIGPIPE)
        return text("%s was killed by signal 13 (SIGPIPE): it has written to somebody who had gone",
                    p->name);
    return NULL;
}

void note_end(struct program *p)
{
    if (!p->ended || p->end_noted)
        return;
    p->end_noted = true;
    test_note("%s ended: %s", p->name, status_sentence(p->status));
}
