/*
 * step.c - programs under ptrace.
 *
 * Held at its start: the dynamic loader opens $LD_PRELOAD before anything else, and that is a FIFO
 * which nobody writes to. Whoever traces must have the real ids of the traced (ptrace(2), "access
 * mode checking"), so the worker takes them meanwhile.
 *
 * A test may fail at any of these lines, and its programs are killed then while they are traced. So
 * no stop at the end of the program is asked for (PTRACE_O_TRACEEXIT: it would not die until we
 * let it go), and its end is only looked at here: it is taken by the harness, as any other.
 */
#include "suites/shm/peer/step.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support/clock.h"

enum { STEPS_MAX = 20000, SPINS = 1000, LONGEST_S = 4 };

static int started; /* each start has a FIFO of its own */

static const char *fifo_path(void)
{
    return text("%s/before-main-%d", test_directory(), started);
}

/* The real ids of the slot, or our own again; raw calls, for the C library sets all three. */
static void real_ids(bool of_slot)
{
    struct stat st;
    if (geteuid() != 0 || stat(test_directory(), &st) != 0)
        return;
    syscall(SYS_setresgid, of_slot ? st.st_gid : getegid(), -1, -1);
    syscall(SYS_setresuid, of_slot ? st.st_uid : geteuid(), -1, -1);
}

static void make_fifo(void)
{
    if (mkfifo(fifo_path(), 0600) != 0)
        suite_failed("cannot make the FIFO", fifo_path());
    give_away(fifo_path());
}

/* Lets the loader go on: it reads the beginning of a library that is none, and leaves it. */
static void open_fifo(void)
{
    char bytes[1024] = "no library";
    int fd = open(fifo_path(), O_RDWR | O_NONBLOCK | O_CLOEXEC); /* held until the worker ends */
    if (fd < 0 || write(fd, bytes, sizeof bytes) != (ssize_t)sizeof bytes)
        abort();
}

/*
 * Waits for the next stop, which comes at once unless the program waits for something. Its signal,
 * with an event of ptrace above it; 0: the program has ended, which the harness will take.
 */
static int next_stop(pid_t pid)
{
    int64_t begun = clock_ns();
    for (int turn = 0;; turn++) {
        siginfo_t info = {.si_pid = 0};
        if (waitid(P_PID, (id_t)pid, &info, WEXITED | WSTOPPED | WNOHANG | WNOWAIT | __WALL) != 0)
            return 0;
        if (info.si_pid == pid && info.si_code != CLD_TRAPPED && info.si_code != CLD_STOPPED)
            return 0;
        if (info.si_pid == pid) { /* nobody else but SIGKILL could end this stop */
            siginfo_t taken;
            waitid(P_PID, (id_t)pid, &taken, WSTOPPED | WNOHANG | __WALL);
            return info.si_status;
        }
        if (clock_ns() - begun > LONGEST_S * NS_PER_S)
            test_fail("the program does its work, and waits for nobody",
                      "it waits in the middle of its work");
        if (turn < SPINS)
            sched_yield();
        else
            nanosleep(&(struct timespec){.tv_nsec = NS_PER_MS}, NULL);
    }
}

static struct traced seize(struct program *p)
{
    struct traced t = {.pid = program_pid(p)};
    real_ids(true);
    long seized =
        ptrace(PTRACE_SEIZE, t.pid, 0L, (long)(PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD));
    if (seized == 0)
        seized = ptrace(PTRACE_INTERRUPT, t.pid, 0L, 0L);
    int error = errno;
    real_ids(false);
    if (seized != 0)
        test_not_measured(
            text("the right to trace a program of the test (ptrace: %s)", strerror(error)));
    t.ended = next_stop(t.pid) == 0;
    return t;
}

struct traced trace_start(struct program *p)
{
    started++;
    make_fifo();
    program_env(p, "LD_PRELOAD", fifo_path());
    program_stream(p, 2, STREAM_NULL); /* the loader's complaint */
    program_start(p);
    wait_quiet(p, "the program is held at its start");
    struct traced t = seize(p);
    open_fifo();
    return t;
}

struct traced trace_attach(struct program *p)
{
    return seize(p);
}

static bool go_on(struct traced *t, enum __ptrace_request how)
{
    if (t->ended || ptrace(how, t->pid, 0L, (long)t->signal) != 0) {
        t->ended = true;
        return false;
    }
    t->signal = 0;
    int stop = next_stop(t->pid);
    t->ended = stop == 0;
    if (stop >> 8 == 0 && stop != SIGTRAP && stop != (SIGTRAP | 0x80))
        t->signal = stop; /* a signal of its own: it gets it */
    return !t->ended;
}

bool trace_to_system_call(struct traced *t)
{
    return go_on(t, PTRACE_SYSCALL);
}

bool trace_instruction(struct traced *t)
{
    return go_on(t, t->steps++ < STEPS_MAX ? PTRACE_SINGLESTEP : PTRACE_SYSCALL);
}

static bool enters(const struct traced *t, struct __ptrace_syscall_info *info)
{
    return !t->ended && ptrace(PTRACE_GET_SYSCALL_INFO, t->pid, sizeof *info, info) > 0 &&
           info->op == PTRACE_SYSCALL_INFO_ENTRY;
}

long trace_enters(const struct traced *t)
{
    struct __ptrace_syscall_info info;
    return enters(t, &info) ? (long)info.entry.nr : -1;
}

bool trace_makes_name(const struct traced *t)
{
    struct __ptrace_syscall_info info;
    if (!enters(t, &info))
        return false;
    switch (info.entry.nr) {
    case SYS_openat:
        return (info.entry.args[2] & O_CREAT) != 0;
    case SYS_mknodat:
    case SYS_linkat:
    case SYS_renameat2:
        return true;
#ifdef SYS_open /* not on every machine */
    case SYS_open:
        return (info.entry.args[1] & O_CREAT) != 0;
    case SYS_creat:
    case SYS_mknod:
    case SYS_link:
    case SYS_rename:
    case SYS_renameat:
        return true;
#endif
    }
    return false;
}

void trace_let_go(struct traced *t)
{
    if (!t->ended)
        ptrace(PTRACE_DETACH, t->pid, 0L, (long)t->signal);
    t->ended = true;
}

/*
 * The object as it is; NULL while it is too short for a header, or not yet its owner's to open: a
 * creator may give it its mode last.
 */
static struct segment *object_there(const char *name)
{
    struct stat st;
    if (!segment_there(name) || stat(text("/dev/shm/%s", name), &st) != 0 ||
        st.st_size < HEADER_SIZE || (st.st_mode & 0600) != 0600)
        return NULL;
    return segment_open(name, "the object can be opened by its owner");
}

struct segment *create_step_by_step(const char *name, uint32_t capacity, const char *what)
{
    struct program *p = program_new("ring");
    program_args(p, "create", name, text("%u", capacity), NULL);
    struct traced t = trace_start(p);
    struct segment *s = NULL;
    while ((s = object_there(name)) == NULL && trace_to_system_call(&t))
        ;
    while (s != NULL && get32(s, AT_MAGIC) != MAGIC && trace_instruction(&t))
        ;
    if (s == NULL)
        s = segment_open(name, what);
    expect_field(s, AT_MAGIC, MAGIC, what);
    struct snapshot ready = segment_snapshot(s);
    trace_let_go(&t);
    expect_exit(p, 0);
    size_t seen = s->mapped < ring_bytes(capacity) ? s->mapped : ring_bytes(capacity);
    EXPECT(segment_size(s) == ready.size && memcmp(s->at, ready.bytes, seen) == 0, what,
           "magic was there while other fields, semaphores or the length were yet to come");
    return s;
}
