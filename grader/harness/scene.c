/* scene.c - files, gates, quiet: the events of a test. */
#include "harness/scene.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "harness/internal.h"
#include "harness/observe.h"
#include "harness/test.h"
#include "sandbox/namespaces.h"
#include "support/clock.h"
#include "support/files.h"
#include "support/hash.h"

enum { FILE_MAX_BYTES = 1 << 21, GATES_MAX = 256 };

_Noreturn void suite_failed(const char *what, const char *name)
{
    test_broken("%s '%s': %s", what, name, strerror(errno));
}

void give_away(const char *path)
{
    const struct policy *slot = &harness.job.policy;
    if (slot->own_ids && chown(path, slot->uid, slot->gid) != 0)
        suite_failed("cannot give away", path);
}

void give_away_fd(int fd, const char *name)
{
    const struct policy *slot = &harness.job.policy;
    if (slot->own_ids && fchown(fd, slot->uid, slot->gid) != 0)
        suite_failed("cannot give away", name);
}

const char *letters(struct random *r, size_t len)
{
    char *drawn = test_alloc(len + 1);
    random_word(r, drawn, len);
    return drawn;
}

const char *word(struct random *r)
{
    return letters(r, (size_t)between(r, 4, 11));
}

const char *unique_suffix(void)
{
    char letters[9] = "";
    if (harness.job.slot.namespaces)
        return "";
    /* The slot's folder lies in the grading's own, whose name is nobody else's. */
    struct random r = random_from(hash_seed("", 0, test_directory()));
    random_word(&r, letters, sizeof letters - 1);
    return text("%s", letters);
}

const char *object_name(struct random *r)
{
    const char *first = word(r), *second = word(r), *suffix = unique_suffix();
    return text("%s-%s%s%s", first, second, *suffix != '\0' ? "-" : "", suffix);
}

int between(struct random *r, int from, int to)
{
    return from + (int)random_below(r, (uint64_t)(to - from + 1));
}

/* ---- files and gates ---- */

static struct {
    const char *name;
    int fd;
} gates[GATES_MAX];
static size_t gate_count;

static const char *path_of(const char *name)
{
    return text("%s/%s", test_directory(), name);
}

void gate_make(const char *name)
{
    const char *path = path_of(name);
    if (gate_count == GATES_MAX)
        suite_failed("too many gates", name);
    if (mkfifo(path, 0600) != 0)
        suite_failed("cannot make the gate", path);
    /* Held open both ways, so that nobody waits in open(), and nobody's byte is lost. */
    int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        suite_failed("cannot open the gate", path);
    give_away(path);
    gates[gate_count].name = strdup(name);
    gates[gate_count++].fd = fd;
}

void gate_open(const char *name, int count)
{
    /* The newest first: the bench runs all tests in one process. */
    for (size_t i = gate_count; i-- > 0;) {
        if (strcmp(gates[i].name, name) != 0)
            continue;
        while (count-- > 0)
            if (write(gates[i].fd, "", 1) != 1)
                suite_failed("cannot open the gate", name);
        return;
    }
    suite_failed("no such gate", name);
}

bool file_there(const char *name)
{
    struct stat s;
    return lstat(path_of(name), &s) == 0;
}

struct file_waiter {
    struct program *p;
    const char *name;
};

static bool file_came(void *context)
{
    struct file_waiter *w = context;
    return file_there(w->name) || program_has_ended(w->p);
}

void file_wait(struct program *p, const char *name, const char *what)
{
    struct file_waiter w = {p, name};
    wait_until(file_came, &w, what);
    if (!file_there(name))
        test_fail(what,
                  text("%s ended before that: %s", p->name, status_sentence(program_wait(p))));
}

static bool file_came_alone(void *context)
{
    return file_there(context);
}

const char *file_text(const char *name, size_t *len, const char *what)
{
    struct strbuf bytes = STRBUF_INIT;
    struct error err = {0};
    char *path = (char *)text("%s", name);

    /* Mostly it is there: who makes it was waited for. */
    if (!file_there(name) && !wait_until_or_stuck(file_came_alone, path, what))
        test_fail(what, "nobody has got that far: who makes it was not started, or ended early");
    if (file_read(path_of(name), FILE_MAX_BYTES, &bytes, &err) != 0)
        test_fail(what, "what is there is no readable file");
    if (len != NULL)
        *len = bytes.len;
    return bytes.text == NULL ? "" : bytes.text; /* kept until the worker ends */
}

void file_make(const char *name, const char *contents, unsigned mode)
{
    const char *path = path_of(name);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || file_write_all(fd, contents, strlen(contents)) != 0 || fchmod(fd, mode) != 0 ||
        close(fd) != 0)
        suite_failed("cannot make", path);
    give_away(path);
}

void folder_make(const char *name)
{
    const char *path = path_of(name);
    if (mkdir(path, 0755) != 0)
        suite_failed("cannot make", path);
    give_away(path);
}

void pipe_make(int ends[2])
{
    if (pipe2(ends, O_CLOEXEC) != 0)
        suite_failed("cannot make", "a pipe");
    /* So that it can be opened again through /proc/self/fd. */
    give_away_fd(ends[0], "a pipe");
}

const char *errors_shown(struct program *p)
{
    size_t len;
    const char *bytes = program_output(p, 2, &len);
    return len == 0 ? "nothing on stderr" : text("on stderr: %s", quoted(bytes, len, 200));
}

bool own_shared_memory(void)
{
    /* A slot's own has just this size. The size alone is asked for, so that a job which says
     * "namespaces" and is run outside of them, as the bench's floor, never fills the machine's. */
    struct statvfs fs;
    return statvfs("/dev/shm", &fs) == 0 &&
           (uint64_t)fs.f_blocks * fs.f_frsize <= (uint64_t)SHARED_MEMORY_MB << 20;
}

/* ---- waiting ---- */

static bool program_ended(void *context)
{
    return program_has_ended(context);
}

int wait_for_end(struct program *p, const char *expected)
{
    /* Not program_wait() at once: one that never ends is to be told with our words. */
    wait_until(program_ended, p, expected);
    return program_wait(p);
}

void expect_status(struct program *p, int status, const char *why)
{
    const char *expected = text("exit status %d: %s", status, why);
    int got = wait_for_end(p, expected);
    EXPECT(WIFEXITED(got) && WEXITSTATUS(got) == status, expected,
           text("%s (%s)", status_sentence(got), errors_shown(p)));
}

struct quiet {
    struct program *p;
    struct activity last;
    int64_t since;
    double cpu_from; /* processor time when the waiting began, -1: not yet known */
    int woken;       /* how often all were asleep, and had run since the last look */
    int64_t begun;
    bool busy, polls;
    double work; /* seconds of processor time that are not too much */
};

/* Under valgrind a fork or the end of a process alone may take as much as half a second. */
static double little_work(const struct program *p)
{
    return p->memcheck ? 3 : 0.5;
}

static double cpu_of_all(pid_t root)
{
    struct process_list list;
    double seconds = process_cpu_seconds(root);
    process_family(root, &list);
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
    q->busy = cpu - q->cpu_from > q->work;
    q->polls = q->woken > 100 && time - q->begun > 2 * NS_PER_S;
    return q->busy || q->polls;
}

/* Fails without a hint: whatever the test is about, this is another matter. */
static _Noreturn void speaks_for_itself(const char *what, const char *got)
{
    atomic_store(&harness.board->no_hint, 1);
    test_fail(what, got);
}

static bool is_stopped(void *context)
{
    pid_t pid = program_pid(context);
    return process_stopped(pid) && activity_sample(pid).all_asleep;
}

void program_stop(struct program *p)
{
    program_signal(p, SIGSTOP);
    wait_until(is_stopped, p, "SIGSTOP stops the program");
}

void program_stop_and_continue(struct program *p)
{
    program_stop(p);
    program_signal(p, SIGCONT);
}

static void wait_quiet_or_end_after(struct program *p, double work, const char *what)
{
    struct quiet q = {.p = p, .cpu_from = -1, .work = work};
    wait_until(is_quiet, &q, what);
    if (q.busy)
        speaks_for_itself(what, "it does not come to rest: it goes on burning processor time");
    if (q.polls)
        test_fail(what, "it wakes up again and again although nothing happens");
}

void wait_quiet_after_work(struct program *p, double seconds, const char *what)
{
    wait_quiet_or_end_after(p, seconds, what);
    if (program_has_ended(p))
        test_fail(what, text("%s ended: %s (%s)", p->name, status_sentence(program_wait(p)),
                             errors_shown(p)));
}

void wait_quiet(struct program *p, const char *what)
{
    wait_quiet_after_work(p, little_work(p), what);
}

void wait_quiet_or_end(struct program *p, const char *what)
{
    wait_quiet_or_end_after(p, little_work(p), what);
}

struct moment {
    int64_t since_ns;
    int ms;
};

static bool has_passed(void *context)
{
    const struct moment *m = context;
    return clock_ns() - m->since_ns >= (int64_t)m->ms * NS_PER_MS;
}

void let_pass(int ms)
{
    struct moment m = {clock_ns(), ms};
    wait_until(has_passed, &m, "time passes");
    harness_count_wait(ms);
}

void expect_waited(int64_t since_ns, int ms, const char *why)
{
    int64_t took = (clock_ns() - since_ns) / NS_PER_MS;
    EXPECT(took >= ms - CLOCKS_DIFFER_MS, text("it waits %d ms and then ends: %s", ms, why),
           text("it ended after %lld ms", (long long)took));
}

void wait_asleep(struct program *p, const char *what)
{
    wait_quiet(p, what);
    if (process_sleeps_for_a_time(program_pid(p)))
        speaks_for_itself(what,
                          "it sleeps for a time, to look again afterwards: that is polling; a call "
                          "that waits without a time-out returns when there is something to do");
}

void expect_idle(struct program *p, const char *when)
{
    wait_asleep(p,
                text("%s sleeps in the kernel while %s: no loop that asks again and again, and no "
                     "poll() that returns at once for an end that is closed",
                     p->name, when));
}

void expect_same_peak(struct program *small, struct program *large)
{
    long more = program_peak_kb(large) - program_peak_kb(small);
    EXPECT(more <= 16 * 1024,
           "as much memory for a large stream as for a small one: what has been written is "
           "forgotten, and nothing piles up",
           text("the large stream took %ld MiB more", more / 1024));
}
