/*
 * trace.c - a program under ptrace.
 *
 * Held at its start: the dynamic loader opens $LD_PRELOAD before anything else, and that is a FIFO
 * which nobody writes to. Whoever traces must have the real ids of the traced (ptrace(2), "access
 * mode checking"), so the worker takes them meanwhile.
 *
 * A test may fail at any line, and its programs are killed then while they are traced. So no stop
 * at the end of the program is asked for (PTRACE_O_TRACEEXIT: it would not die until we let it go),
 * and its end is only looked at here: it is taken by the harness, as any other.
 */
#include "harness/trace.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness/internal.h"
#include "harness/scene.h"
#include "harness/test.h"
#include "support/clock.h"

enum { TASKS_MAX = 32, SPINS = 1000, LONGEST_MS = 4000 };

static struct task {
    pid_t tid;
    bool stopped;
    int signal;  /* one of its own, which it gets when it goes on */
    long number; /* of the call that it has entered */
} tasks[TASKS_MAX];
static size_t task_count;
static pid_t process;
static bool over;
static int starts; /* each has a FIFO of its own */
static int
    library; /* the last one's FIFO: open until the worker ends, or its bytes would be lost */

/* The real ids of the slot, or our own again; raw calls, for the C library sets all three. */
static void real_ids(bool of_slot)
{
    const struct policy *slot = &harness.job.policy;
    if (!slot->own_ids)
        return;
    syscall(SYS_setresgid, of_slot ? slot->gid : getegid(), -1, -1);
    syscall(SYS_setresuid, of_slot ? slot->uid : geteuid(), -1, -1);
}

static struct task *add(pid_t tid)
{
    for (size_t i = 0; i < task_count; i++)
        if (tasks[i].tid == tid)
            return &tasks[i];
    if (task_count == TASKS_MAX)
        return NULL;
    tasks[task_count] = (struct task){.tid = tid};
    return &tasks[task_count++];
}

/* Takes hold of all threads; false: not even of the first one (errno). */
static bool seize(pid_t pid)
{
    const long options = PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE;
    int error = 0;
    DIR *folder = opendir(text("/proc/%d/task", (int)pid));
    task_count = 0;
    process = pid;
    over = false;
    if (folder == NULL)
        return false;
    real_ids(true);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (tid > 0 && ptrace(PTRACE_SEIZE, tid, 0L, options) == 0)
            add(tid);
        else if (tid > 0)
            error = errno;
    }
    closedir(folder);
    for (size_t i = 0; i < task_count; i++)
        ptrace(PTRACE_INTERRUPT, tasks[i].tid, 0L, 0L);
    real_ids(false);
    errno = error;
    return task_count > 0;
}

static void forget(struct task *t)
{
    *t = tasks[--task_count];
}

/* Looks at one task: whether it has come to a stop, or to its end. */
static void look(struct task *t, struct trace_stop *stop, bool *at_call)
{
    siginfo_t info = {.si_pid = 0};
    int status;
    if (waitid(P_PID, (id_t)t->tid, &info, WEXITED | WSTOPPED | WNOHANG | WNOWAIT | __WALL) != 0) {
        forget(t); /* it is gone */
        return;
    }
    if (info.si_pid == 0)
        return;
    if (info.si_code == CLD_EXITED || info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED) {
        if (t->tid == process)
            over = true;
        else
            waitpid(t->tid, &status, WNOHANG | __WALL);
        forget(t);
        return;
    }
    if (waitpid(t->tid, &status, WNOHANG | __WALL) != t->tid || !WIFSTOPPED(status))
        return;
    t->stopped = true;
    unsigned long started;
    if (status >> 16 == PTRACE_EVENT_CLONE && ptrace(PTRACE_GETEVENTMSG, t->tid, 0L, &started) == 0)
        add((pid_t)started);
    if (status >> 16 == 0 && WSTOPSIG(status) == (SIGTRAP | 0x80)) {
        struct __ptrace_syscall_info call;
        if (ptrace(PTRACE_GET_SYSCALL_INFO, t->tid, sizeof call, &call) <= 0)
            return;
        *at_call = true;
        stop->leaves = call.op == PTRACE_SYSCALL_INFO_EXIT;
        if (!stop->leaves)
            t->number = (long)call.entry.nr;
        stop->number = t->number;
        stop->result = stop->leaves ? (long)call.exit.rval : 0;
        for (int i = 0; i < 6; i++)
            stop->arguments[i] = stop->leaves ? 0 : call.entry.args[i];
    } else if (status >> 16 == 0 && WSTOPSIG(status) != SIGTRAP) { /* that is the end of a step */
        t->signal = WSTOPSIG(status);
    }
}

static void rest(int turn)
{
    if (turn < SPINS)
        sched_yield();
    else
        nanosleep(&(struct timespec){.tv_nsec = NS_PER_MS}, NULL);
}

/* Waits until all tasks are stopped. */
static void all_stopped(void)
{
    struct trace_stop stop;
    bool at_call, all = false;
    int64_t begun = clock_ns();
    for (int turn = 0; !all && clock_ns() - begun < LONGEST_MS * (int64_t)NS_PER_MS; turn++) {
        all = true;
        for (size_t i = task_count; i-- > 0;)
            if (!tasks[i].stopped)
                look(&tasks[i], &stop, &at_call);
        for (size_t i = 0; i < task_count; i++)
            all = all && tasks[i].stopped;
        if (!all)
            rest(turn);
    }
}

bool trace_begin(struct program *p)
{
    if (!seize(program_pid(p))) {
        test_note("the program is not traced");
        return false;
    }
    all_stopped();
    return !over;
}

bool trace_start(struct program *p)
{
    const char *fifo = text("%s/before-main-%d", test_directory(), ++starts);
    if (mkfifo(fifo, 0600) != 0)
        suite_failed("cannot make the FIFO", fifo);
    give_away(fifo);
    program_env(p, "LD_PRELOAD", fifo);
    program_stream(p, 2, STREAM_NULL); /* the loader's complaint */
    program_start(p);
    wait_quiet(p, "the program is held at its start");
    bool held = trace_begin(p);
    int error = errno;
    /* It reads the beginning of a library that is none, and goes on. */
    char bytes[1024] = "no library";
    library = open(fifo, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (library < 0 || write(library, bytes, sizeof bytes) != (ssize_t)sizeof bytes)
        suite_failed("cannot write to the FIFO", fifo);
    errno = error;
    return held;
}

static void resume(struct task *t, enum __ptrace_request how)
{
    ptrace(how, t->tid, 0L, (long)t->signal);
    t->stopped = false;
    t->signal = 0;
}

bool trace_next(struct trace_stop *stop, int ms)
{
    bool at_call = false;
    int64_t begun = clock_ns();
    for (int turn = 0; !over; turn++) {
        for (size_t i = 0; i < task_count; i++)
            if (tasks[i].stopped)
                resume(&tasks[i], PTRACE_SYSCALL);
        for (size_t i = task_count; i-- > 0 && !at_call;)
            look(&tasks[i], stop, &at_call);
        if (at_call)
            return true;
        if (clock_ns() - begun >= ms * (int64_t)NS_PER_MS)
            return false;
        rest(turn);
    }
    return false;
}

bool trace_step(int ms)
{
    struct trace_stop stop;
    bool at_call;
    int64_t begun = clock_ns();
    for (size_t i = 0; i < task_count; i++)
        if (tasks[i].stopped)
            resume(&tasks[i], PTRACE_SINGLESTEP);
    /* One that waits for another one in the middle of its step has not come to the end of it. */
    for (int turn = 0; !over && clock_ns() - begun < ms * (int64_t)NS_PER_MS; turn++) {
        bool stepped = false;
        for (size_t i = task_count; i-- > 0;)
            look(&tasks[i], &stop, &at_call);
        for (size_t i = 0; i < task_count; i++)
            stepped = stepped || tasks[i].stopped;
        if (!over && stepped)
            return true;
        rest(turn);
    }
    return false;
}

bool trace_ended(void)
{
    return over;
}

/* It slept in the middle of a step, and the signal of its end is still to come: it would die of it
 * when nobody traces it any more. */
static bool has_a_step_left(const struct task *t)
{
    enum { QUEUED_MAX = 32 };
    struct __ptrace_peeksiginfo_args from = {.nr = QUEUED_MAX};
    siginfo_t queued[QUEUED_MAX];
    long count = ptrace(PTRACE_PEEKSIGINFO, t->tid, &from, queued);
    for (long i = 0; i < count; i++)
        if (queued[i].si_signo == SIGTRAP)
            return true;
    return false;
}

void trace_end(void)
{
    for (size_t i = 0; i < task_count; i++)
        if (!tasks[i].stopped)
            ptrace(PTRACE_INTERRUPT, tasks[i].tid, 0L, 0L);
    all_stopped();
    for (size_t i = 0; i < task_count; i++)
        if (tasks[i].stopped && has_a_step_left(&tasks[i]))
            resume(&tasks[i], PTRACE_CONT); /* it stops at that signal, and does not get it */
    all_stopped();
    for (size_t i = 0; i < task_count; i++)
        ptrace(PTRACE_DETACH, tasks[i].tid, 0L, (long)tasks[i].signal);
    task_count = 0;
}
