/*
 * step.c - a creator under ptrace.
 *
 * Held at its start: the dynamic loader opens $LD_PRELOAD before anything else, and that is a FIFO
 * which nobody writes to. Whoever traces must have the real ids of the traced (ptrace(2), "access
 * mode checking"), so the worker takes them meanwhile. The program's end is left to the harness.
 */
#include "suites/shm/peer/step.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support/clock.h"

enum { STEPS_MAX = 300000, SPINS = 1000, LONGEST_S = 4 };

static const char fifo[] = "before-main";

static const char *fifo_path(void)
{
    return text("%s/%s", test_directory(), fifo);
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

/* Waits for the next stop, which comes at once unless the program waits for something. */
static int next_stop(pid_t pid)
{
    int status;
    int64_t begun = clock_ns();
    for (int turn = 0;; turn++) {
        pid_t got = waitpid(pid, &status, __WALL | WNOHANG);
        if (got == pid)
            return status;
        if (got < 0 || clock_ns() - begun > LONGEST_S * NS_PER_S)
            test_fail("ring create ends, and waits for nobody",
                      got < 0 ? "it is gone" : "it waits in the middle of its work");
        if (turn < SPINS)
            sched_yield();
        else
            nanosleep(&(struct timespec){.tv_nsec = NS_PER_MS}, NULL);
    }
}

/* Until the next stop; false at the program's end, of which nothing is taken. */
static bool go(pid_t pid, enum __ptrace_request how, int *signal)
{
    if (ptrace(how, pid, 0L, (long)*signal) != 0)
        return false;
    *signal = 0;
    int status = next_stop(pid);
    if (!WIFSTOPPED(status) || status >> 16 == PTRACE_EVENT_EXIT)
        return false;
    int stop = WSTOPSIG(status);
    if (status >> 16 == 0 && stop != SIGTRAP && stop != (SIGTRAP | 0x80))
        *signal = stop; /* a signal of its own: it gets it */
    return true;
}

/* The object as it is: a copy of header and items; NULL while it is too short for a header. */
static struct segment *object_there(const char *name)
{
    struct stat st;
    if (!segment_there(name) || stat(text("/dev/shm/%s", name), &st) != 0 ||
        st.st_size < HEADER_SIZE)
        return NULL;
    return segment_open(name, "the object can be opened by its owner");
}

struct segment *create_step_by_step(const char *name, uint32_t capacity, const char *what)
{
    struct program *p = program_new("ring");
    program_args(p, "create", name, text("%u", capacity), NULL);
    make_fifo();
    program_env(p, "LD_PRELOAD", fifo_path());
    program_stream(p, 2, STREAM_NULL); /* the loader's complaint */
    program_start(p);
    wait_quiet(p, "the program is held at its start");

    pid_t pid = program_pid(p);
    int signal = 0, steps = 0;
    real_ids(true);
    long seized = ptrace(PTRACE_SEIZE, pid, 0L, (long)(PTRACE_O_TRACEEXIT | PTRACE_O_TRACESYSGOOD));
    if (seized == 0)
        seized = ptrace(PTRACE_INTERRUPT, pid, 0L, 0L);
    int error = errno;
    real_ids(false);
    if (seized != 0)
        test_not_measured(
            text("the right to trace a program of the test (ptrace: %s)", strerror(error)));
    bool runs = WIFSTOPPED(next_stop(pid));
    open_fifo();
    struct segment *s = NULL;
    while (runs && (s = object_there(name)) == NULL)
        runs = go(pid, PTRACE_SYSCALL, &signal);
    while (runs && get32(s, AT_MAGIC) != MAGIC && steps++ < STEPS_MAX)
        runs = go(pid, PTRACE_SINGLESTEP, &signal);
    if (!runs)
        ptrace(PTRACE_DETACH, pid, 0L, 0L);
    if (s == NULL)
        s = segment_open(name, what);
    expect_field(s, AT_MAGIC, MAGIC, what);
    struct snapshot ready = segment_snapshot(s);
    while (runs)
        runs = go(pid, PTRACE_SYSCALL, &signal);
    ptrace(PTRACE_DETACH, pid, 0L, 0L);
    expect_exit(p, 0);
    size_t seen = s->mapped < ring_bytes(capacity) ? s->mapped : ring_bytes(capacity);
    EXPECT(segment_size(s) == ready.size && memcmp(s->at, ready.bytes, seen) == 0, what,
           "magic was there while other fields, semaphores or the length were yet to come");
    return s;
}
