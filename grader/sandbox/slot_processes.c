#include "sandbox/slot_parts.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sandbox/layers.h"
#include "support/clock.h"
#include "support/memory.h"

enum { SWEEP_SECONDS = 10, HELPER_SECONDS = 5 };

/* What is needed of /proc/PID/stat. `started` tells a pid from the same pid used again. */
struct process {
    pid_t pid, parent, group;
    char state;
    unsigned long long started;
};

/* Reads one; false, with all of *p zero, when it is gone. The name in it may hold anything: fields
 * follow the last ')'.
 */
static bool process_read(int proc, const char *pid, struct process *p)
{
    char path[40], text[1024];
    const char *at;
    ssize_t len;
    int fd;

    *p = (struct process){0};
    snprintf(path, sizeof(path), "%.20s/stat", pid);
    fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
    if (fd == -1)
        return false;
    len = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (len <= 0)
        return false;
    text[len] = '\0';
    at = strrchr(text, ')');
    p->pid = (pid_t)strtol(pid, NULL, 10);
    return at != NULL && sscanf(at,
                                ") %c %d %d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d "
                                "%*d %*d %*d %llu",
                                &p->state, &p->parent, &p->group, &p->started) == 4;
}

static bool is_dead(const struct process *p)
{
    return p->state == 'Z' || p->state == 'X';
}

/* One that ended as our child is ours to reap. */
static void reap(const struct process *p)
{
    if (p->pid != 0 && p->parent == getpid())
        waitpid(p->pid, NULL, WNOHANG);
}

static DIR *open_proc(struct error *err)
{
    DIR *proc = opendir("/proc");

    if (proc == NULL)
        error_errno(err, "cannot read /proc");
    return proc;
}

/* Longer with each turn, so that a short end costs little and a long one no processor. */
static void pause_turn(int turn)
{
    struct timespec nap = {.tv_nsec = turn < 10 ? 100000L * (turn + 1) : 2000000L};

    nanosleep(&nap, NULL);
}

/* ---- by uid ---- */

/* What a look at the processes of a uid leaves open: one that was dead may have left a child. */
enum certainty {
    CERTAIN,
    SOMEBODY_VANISHED, /* whoever it was: processes end all the time */
    ONE_WAS_DEAD,      /* one of the uid */
};

/*
 * Counts the live processes of `uid`. A process that forks and ends all the time may be dead when
 * we look at it, and its child behind the place where we read: see *certainty.
 */
static int count_uid(uid_t uid, enum certainty *certainty, struct error *err)
{
    DIR *proc = open_proc(err);
    const struct dirent *entry;
    struct process p;
    struct stat st;
    int count = 0;

    *certainty = CERTAIN;
    if (proc == NULL)
        return -1;
    while ((entry = readdir(proc)) != NULL) {
        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        /* The folder's owner is the effective uid, whatever the process did to hide itself. */
        if (fstatat(dirfd(proc), entry->d_name, &st, 0) != 0) {
            if (*certainty == CERTAIN)
                *certainty = SOMEBODY_VANISHED;
            continue;
        }
        if (st.st_uid != uid)
            continue;
        if (process_read(dirfd(proc), entry->d_name, &p) && !is_dead(&p)) {
            count++;
            continue;
        }
        *certainty = ONE_WAS_DEAD;
        reap(&p);
    }
    closedir(proc);
    return count;
}

/* Waits for our helper; one that does not end is killed: nothing of the slot may hold us up. */
static bool helper_ended_well(pid_t pid)
{
    int64_t deadline = clock_ns() + HELPER_SECONDS * NS_PER_S;
    int status = 0;
    pid_t ended;

    for (int turn = 0; (ended = waitpid(pid, &status, WNOHANG)) == 0; turn++) {
        if (clock_ns() > deadline)
            kill(pid, SIGKILL);
        pause_turn(turn);
    }
    return ended == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool slot_run_as(const struct slot *s, void (*work)(const void *argument), const void *argument)
{
    pid_t pid = fork();

    if (pid == 0) {
        if (sandbox_become(s->uid, s->gid) != 0)
            _exit(1);
        work(argument);
        _exit(0);
    }
    return pid > 0 && helper_ended_well(pid);
}

/*
 * All at once, as the uid itself: the kernel holds its list of processes meanwhile, and a process
 * with a fatal signal pending can't fork, so that no fork bomb is faster. Only the effective uid is
 * the slot's, which is what lets us reach its processes; their signals look at the target's real
 * and saved uid (kill(2)), so that none of them can stop or kill us first.
 */
static bool kill_all(const struct slot *s)
{
    const uid_t sweeper = SLOT_UID_SWEEPER;
    pid_t pid = fork();

    if (pid == 0) {
        if (syscall(SYS_setgroups, 0, NULL) != 0 ||
            syscall(SYS_setresgid, s->gid, s->gid, s->gid) != 0 ||
            syscall(SYS_setresuid, sweeper, s->uid, sweeper) != 0)
            _exit(1);
        kill(-1, SIGKILL);
        _exit(0);
    }
    return pid > 0 && helper_ended_well(pid);
}

int slot_kill_uid(const struct slot *s, struct error *err)
{
    int64_t deadline = clock_ns() + SWEEP_SECONDS * NS_PER_S;
    enum certainty certainty = SOMEBODY_VANISHED;
    bool killed = false;
    int found = 0, left;

    /* Other people's processes vanish too: look again before it is taken for a flight. */
    for (int look = 0; look < 4 && found == 0 && certainty == SOMEBODY_VANISHED; look++)
        found = count_uid(s->uid, &certainty, err);
    if (found == 0 && certainty == CERTAIN)
        return 0;
    left = found;
    for (int turn = 0; left >= 0 && !(killed && left == 0); turn++) {
        if (clock_ns() > deadline)
            return error_set(err, FAULT_GRADER, "%d processes of uid %u do not die", left,
                             (unsigned)s->uid);
        if (turn > 0)
            pause_turn(turn);
        /* Once is enough: then there is nobody left who could fork, and we wait for their ends. */
        if (!killed)
            killed = kill_all(s);
        left = count_uid(s->uid, &certainty, err);
    }
    /* The last to die may have left us children that were dead already. */
    if (found > 0 && left == 0)
        left = count_uid(s->uid, &certainty, err);
    return left < 0 ? -1 : found;
}

/* ---- by descent ---- */

struct table {
    struct process *rows;
    size_t count, capacity;
    bool vanished;      /* one that was listed could not be read any more */
    uint64_t signature; /* of all descendants, dead ones too; 0: there were none */
};

static int table_read(struct table *t, struct error *err)
{
    DIR *proc = open_proc(err);
    const struct dirent *entry;

    if (proc == NULL)
        return -1;
    t->count = 0;
    t->signature = 0;
    t->vanished = false;
    while ((entry = readdir(proc)) != NULL) {
        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        if (t->count == t->capacity) {
            t->capacity = t->capacity == 0 ? 256 : 2 * t->capacity;
            t->rows = xrealloc(t->rows, t->capacity * sizeof(*t->rows));
        }
        if (process_read(dirfd(proc), entry->d_name, &t->rows[t->count]))
            t->count++;
        else
            t->vanished = true;
    }
    closedir(proc);
    return 0;
}

/*
 * Ourselves, those in `spare`, and, where somebody else is the keeper, our own children: such a one
 * is a test's worker, whose end Criterion waits for and would never hear of if it were reaped here.
 */
static bool is_spared(const struct process *p, pid_t keeper, const pid_t *spare)
{
    for (; spare != NULL && *spare != 0; spare++) {
        if (*spare == p->pid)
            return true;
    }
    return p->pid == getpid() || (keeper != getpid() && p->parent == getpid());
}

/* Signals the process that was read, not another one that got its pid since. */
static void signal_same(const struct process *p, int signal)
{
    int fd = (int)syscall(SYS_pidfd_open, p->pid, 0);
    struct process now;
    char name[16];
    int proc;

    if (fd == -1 && errno == ESRCH)
        return;
    snprintf(name, sizeof(name), "%d", p->pid);
    proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (proc != -1 && process_read(proc, name, &now) && now.started == p->started) {
        if (fd == -1 || syscall(SYS_pidfd_send_signal, fd, signal, NULL, 0) != 0)
            kill(p->pid, signal);
    }
    if (proc != -1)
        close(proc);
    if (fd != -1)
        close(fd);
}

/* The row of `pid`, or NULL. The table is sorted, since /proc lists pids in their order. */
static const struct process *table_find(const struct table *t, pid_t pid)
{
    size_t low = 0, high = t->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (t->rows[middle].pid == pid)
            return &t->rows[middle];
        if (t->rows[middle].pid < pid)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/*
 * Marks in `below` the rows that descend from `keeper`. Pids are used again, so a child may stand
 * before its parent: rows are gone over until nothing changes.
 */
static void mark_descendants(const struct table *t, pid_t keeper, bool *below)
{
    bool changed = true;

    memset(below, 0, t->count);
    while (changed) {
        changed = false;
        for (size_t i = 0; i < t->count; i++) {
            const struct process *parent = table_find(t, t->rows[i].parent);
            if (below[i])
                continue;
            below[i] = t->rows[i].parent == keeper || (parent != NULL && below[parent - t->rows]);
            changed = changed || below[i];
        }
    }
}

/* Whether all processes of the group are below the keeper and not spared. */
static bool group_is_theirs(const struct table *t, const bool *below, pid_t keeper,
                            const pid_t *spare, pid_t group)
{
    if (group <= 1)
        return false;
    for (size_t i = 0; i < t->count; i++) {
        if (t->rows[i].group == group && (!below[i] || is_spared(&t->rows[i], keeper, spare)))
            return false;
    }
    return true;
}

/*
 * Sends `signal` to what is alive below `keeper`; how many those were. Their groups get it too: the
 * kernel reaches all of a group at once, so that no fork in it is faster.
 */
static int signal_tree(struct table *t, pid_t keeper, const pid_t *spare, int signal,
                       struct error *err)
{
    pid_t last_group = 0;
    bool *below;
    int count = 0;

    if (table_read(t, err) != 0)
        return -1;
    below = xmalloc(t->count);
    mark_descendants(t, keeper, below);
    for (size_t i = 0; i < t->count; i++) {
        const struct process *p = &t->rows[i];
        if (!below[i] || is_spared(p, keeper, spare))
            continue;
        t->signature = t->signature * 31 + (uint64_t)p->pid * 256 + (unsigned char)p->state;
        if (p->group != last_group && group_is_theirs(t, below, keeper, spare, p->group))
            kill(-p->group, signal);
        last_group = p->group;
        if (is_dead(p)) {
            reap(p);
        } else {
            count++;
            signal_same(p, signal);
        }
    }
    free(below);
    return count;
}

/*
 * Stops them all: what cannot run forks no more, and holds still to be killed. A process that forks
 * and ends all the time is caught when two looks show the same.
 */
static int stop_tree(struct table *t, pid_t keeper, const pid_t *spare, struct error *err)
{
    int count = signal_tree(t, keeper, spare, SIGSTOP, err), most = count;
    uint64_t before = 0;

    /* That somebody vanished may be other people's affair: a few looks more, not a hundred. */
    for (int look = 0; count >= 0 && look < 100; look++) {
        if (t->signature == before && (!t->vanished || look >= 4))
            break;
        before = t->signature;
        count = signal_tree(t, keeper, spare, SIGSTOP, err);
        if (count > most)
            most = count;
    }
    return count < 0 ? -1 : most;
}

int slot_kill_tree(pid_t keeper, const pid_t *spare, struct error *err)
{
    int64_t deadline = clock_ns() + SWEEP_SECONDS * NS_PER_S;
    struct table t = {0};
    int found = stop_tree(&t, keeper, spare, err);
    int left = found;

    for (int turn = 0; left > 0; turn++) {
        if (clock_ns() > deadline) {
            left = error_set(err, FAULT_GRADER, "%d processes of the submission do not die", left);
            break;
        }
        if (turn > 0)
            pause_turn(turn);
        signal_tree(&t, keeper, spare, SIGKILL, err);
        left = stop_tree(&t, keeper, spare, err);
    }
    free(t.rows);
    return left < 0 ? -1 : found;
}
