/*
 * observe.c - reading /proc.
 *
 * /proc is opened once and everything is found below it, so that a suite that has joined other
 * namespaces later still sees the machine's own. Files there are text of the kernel's; what a
 * process chose itself (its command's name) is cleaned.
 */
#include "harness/observe.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/internal.h"
#include "harness/test.h"
#include "support/text.h"

enum { TEXT_MAX = 4096 };

static int proc_folder(void)
{
    static int fd = -1;
    if (fd < 0)
        fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd;
}

static void observe_path(char path[static 64], pid_t pid, const char *name)
{
    snprintf(path, 64, "%d/%s", (int)pid, name);
}

/* Reads a file below /proc into `text`, ended by a NUL; its length, 0 when it is gone. */
static size_t proc_read(char *text, size_t size, const char *path)
{
    int fd = openat(proc_folder(), path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, size - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n > 0 ? (size_t)n : 0;
}

size_t observe_read(char *text, size_t size, pid_t pid, const char *name)
{
    char path[64];
    observe_path(path, pid, name);
    return proc_read(text, size, path);
}

/* The number behind `key` in a status file, -1 when it is not there. */
static long status_number(const char *status, const char *key)
{
    const char *at = strstr(status, key);
    return at == NULL ? -1 : strtol(at + strlen(key), NULL, 10);
}

/* The state letter and all behind it in a stat file: behind the last ')' of the command's name. */
static const char *stat_fields(const char *stat)
{
    const char *end = strrchr(stat, ')');
    return end != NULL && end[1] == ' ' ? end + 2 : "";
}

char process_state(pid_t pid)
{
    char stat[TEXT_MAX];
    observe_read(stat, sizeof stat, pid, "stat");
    return stat_fields(stat)[0];
}

/* ---- who is there ---- */

void observe_tasks(pid_t pid, bool (*each)(pid_t tid, void *context), void *context)
{
    char path[64];
    observe_path(path, pid, "task");
    int fd = openat(proc_folder(), path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        if (fd >= 0)
            close(fd);
        return;
    }
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL)
        if (isdigit((unsigned char)entry->d_name[0]) &&
            !each((pid_t)strtol(entry->d_name, NULL, 10), context))
            break;
    closedir(dir);
}

static bool have_children_files(void)
{
    static int known = -1;
    char path[64];
    if (known < 0) {
        observe_path(path, getpid(), "task");
        size_t n = strlen(path);
        snprintf(path + n, sizeof path - n, "/%d/children", (int)getpid());
        known = faccessat(proc_folder(), path, R_OK, 0) == 0;
    }
    return known == 1;
}

struct children {
    pid_t pid;
    pid_t *pids;
    size_t count, max;
};

static void add_child(struct children *c, pid_t pid)
{
    if (c->count < c->max)
        c->pids[c->count++] = pid;
}

static bool children_of_task(pid_t tid, void *context)
{
    struct children *c = context;
    char path[64];
    snprintf(path, sizeof path, "%d/task/%d/children", (int)c->pid, (int)tid);
    int fd = openat(proc_folder(), path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return true;
    char chunk[TEXT_MAX];
    ssize_t n;
    pid_t number = 0;
    while ((n = read(fd, chunk, sizeof chunk)) > 0) {
        for (ssize_t i = 0; i < n; i++) { /* a number may lie across two reads */
            if (isdigit((unsigned char)chunk[i])) {
                number = number * 10 + (chunk[i] - '0');
            } else if (number > 0) {
                add_child(c, number);
                number = 0;
            }
        }
    }
    close(fd);
    return true;
}

/* For kernels without CONFIG_PROC_CHILDREN: everybody is asked for their parent. */
static void children_by_scan(struct children *c)
{
    int fd = openat(proc_folder(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char stat[TEXT_MAX];
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid <= 0 || observe_read(stat, sizeof stat, pid, "stat") == 0)
            continue;
        const char *fields = stat_fields(stat);
        if (*fields != '\0' && strtol(fields + 1, NULL, 10) == c->pid)
            add_child(c, pid);
    }
    if (dir != NULL)
        closedir(dir);
}

/* `single`: it is known to have one thread. */
static size_t children_of(pid_t pid, bool single, pid_t *pids, size_t max)
{
    struct children c = {.pid = pid, .pids = pids, .max = max};
    if (!have_children_files())
        children_by_scan(&c);
    else if (single)
        children_of_task(pid, &c);
    else
        observe_tasks(pid, children_of_task, &c);
    return c.count;
}

size_t observe_own_children(pid_t *pids, size_t max)
{
    return children_of(getpid(), false, pids, max);
}

void process_children(pid_t pid, struct process_list *list)
{
    list->count = children_of(pid, false, list->pid, OBSERVE_MAX);
}

static void add_what_descends(struct process_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        list->count +=
            children_of(list->pid[i], false, list->pid + list->count, OBSERVE_MAX - list->count);
}

void process_descendants(pid_t pid, struct process_list *list)
{
    process_children(pid, list);
    add_what_descends(list);
}

static const struct program *program_at(pid_t pid)
{
    const struct program *p = harness.programs;
    while (p != NULL && (!p->started || p->pid != pid))
        p = p->next;
    return p;
}

/* Whether `pid`, a child of the worker that is no program, may be what `p` has left: nothing tells
 * that it is another program's. */
static bool may_have_left(const struct program *p, pid_t pid)
{
    for (const struct orphan *o = harness.orphans; o != NULL; o = o->next)
        if (!o->reaped && o->pid == pid && o->owner != NULL)
            return o->owner == p;
    const struct program *session = program_at(getsid(pid));
    return session == NULL || session == p;
}

void process_family(pid_t pid, struct process_list *list)
{
    static struct process_list own;
    const struct program *p = program_at(pid);
    process_children(pid, list);
    own.count = 0;
    if (p != NULL)
        process_children(getpid(), &own);
    for (size_t i = 0; i < own.count && list->count < OBSERVE_MAX; i++)
        if (program_at(own.pid[i]) == NULL && may_have_left(p, own.pid[i]))
            list->pid[list->count++] = own.pid[i];
    add_what_descends(list);
}

/* Where a sample begins: `root` and the orphans of the worker; 0: all children of the worker. */
static void list_roots(pid_t root, struct process_list *list)
{
    static struct process_list own;
    if (root == 0) {
        process_children(getpid(), list);
        return;
    }
    list->count = 1;
    list->pid[0] = root;
    process_children(getpid(), &own);
    for (size_t i = 0; i < own.count && list->count < OBSERVE_MAX; i++)
        if (program_at(own.pid[i]) == NULL)
            list->pid[list->count++] = own.pid[i];
}

static bool count_task(pid_t tid, void *context)
{
    (void)tid;
    ++*(size_t *)context;
    return true;
}

size_t process_threads(pid_t pid)
{
    size_t count = 0;
    observe_tasks(pid, count_task, &count);
    return count;
}

/* ---- what they do ---- */

struct task_walk {
    pid_t pid;
    struct activity *activity;
};

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 33)) * 0xff51afd7ed558ccdu;
    z = (z ^ (z >> 33)) * 0xc4ceb9fe1a85ec53u;
    return z ^ (z >> 33);
}

static void sample_status(const char *status, pid_t tid, struct activity *a)
{
    const char *state = strstr(status, "\nState:\t");
    char letter = state == NULL ? 'R' : state[8];
    if (strchr("STtZX", letter) == NULL)
        a->all_asleep = false;
    long waits = status_number(status, "\nvoluntary_ctxt_switches:");
    long others = status_number(status, "\nnonvoluntary_ctxt_switches:");
    a->switches += (uint64_t)(waits > 0 ? waits : 0) + (uint64_t)(others > 0 ? others : 0);
    a->tasks += mix((uint64_t)tid * 2 + (letter == 'Z'));
}

static bool sample_task(pid_t tid, void *context)
{
    const struct task_walk *w = context;
    char path[64], status[TEXT_MAX];
    snprintf(path, sizeof path, "%d/task/%d/status", (int)w->pid, (int)tid);
    if (proc_read(status, sizeof status, path) > 0) /* else ended: the sum of who is there tells */
        sample_status(status, tid, w->activity);
    return true;
}

struct stopped_walk {
    pid_t pid;
    bool some, others;
};

static bool look_if_stopped(pid_t tid, void *context)
{
    struct stopped_walk *w = context;
    char path[64], stat[TEXT_MAX];
    snprintf(path, sizeof path, "%d/task/%d/stat", (int)w->pid, (int)tid);
    proc_read(stat, sizeof stat, path);
    char state = stat_fields(stat)[0];
    w->some = w->some || state == 'T';
    w->others = w->others || (state != 'T' && state != 'Z' && state != 'X' && state != '\0');
    return !w->others;
}

bool process_stopped(pid_t pid)
{
    struct stopped_walk w = {.pid = pid};
    observe_tasks(pid, look_if_stopped, &w);
    return w.some && !w.others;
}

/* All tasks of `pid`; true when it has one only: then its own status file has said everything. */
static bool sample_process(pid_t pid, struct activity *a)
{
    char status[TEXT_MAX];
    if (observe_read(status, sizeof status, pid, "status") == 0)
        return true;
    if (status_number(status, "\nThreads:") <= 1) {
        sample_status(status, pid, a);
        return true;
    }
    struct task_walk w = {pid, a};
    observe_tasks(pid, sample_task, &w);
    return false;
}

struct activity activity_sample(pid_t root)
{
    static struct process_list list;
    struct activity a = {.all_asleep = !refused_call_waits()};
    list_roots(root, &list);
    for (size_t i = 0; i < list.count; i++) {
        bool single = sample_process(list.pid[i], &a);
        list.count +=
            children_of(list.pid[i], single, list.pid + list.count, OBSERVE_MAX - list.count);
    }
    return a;
}

bool activity_same(const struct activity *a, const struct activity *b)
{
    return a->switches == b->switches && a->tasks == b->tasks && a->all_asleep == b->all_asleep;
}

long process_switches(pid_t pid)
{
    struct activity a = {.all_asleep = true};
    struct task_walk w = {pid, &a};
    observe_tasks(pid, sample_task, &w);
    return (long)a.switches;
}

double process_cpu_seconds(pid_t pid)
{
    char stat[TEXT_MAX];
    observe_read(stat, sizeof stat, pid, "stat");
    /* Behind the state: ppid pgrp session tty tpgid flags minflt cminflt majflt cmajflt utime stime
     */
    const char *at = stat_fields(stat);
    for (int i = 0; i < 11 && *at != '\0'; i++) {
        at += strcspn(at, " ");
        at += *at == ' ';
    }
    char *end;
    unsigned long user = strtoul(at, &end, 10), system = strtoul(end, NULL, 10);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static long peak_kb(pid_t pid, const char *field)
{
    char status[TEXT_MAX];
    observe_read(status, sizeof status, pid, "status");
    long kb = status_number(status, field);
    return kb > 0 ? kb : 0;
}

static long family_peak_kb(pid_t pid, const char *field)
{
    static struct process_list list;
    long sum = peak_kb(pid, field);
    process_family(pid, &list);
    for (size_t i = 0; i < list.count; i++)
        sum += peak_kb(list.pid[i], field);
    return sum;
}

long process_peak_kb(pid_t pid)
{
    return peak_kb(pid, "\nVmHWM:");
}

long process_family_peak_kb(pid_t pid)
{
    return family_peak_kb(pid, "\nVmHWM:");
}

long process_family_peak_asked_kb(pid_t pid)
{
    return family_peak_kb(pid, "\nVmPeak:");
}

/* The program that `pid`, which is called as valgrind's tool, runs; NULL: it runs no such. */
static const struct program *under_valgrind(pid_t pid)
{
    char comm[64];
    const struct program *p = harness.programs;
    while (p != NULL && !p->memcheck)
        p = p->next;
    if (p == NULL)
        return NULL;
    observe_read(comm, sizeof comm, pid, "comm");
    return strncmp(comm, "memcheck-", 9) == 0 || strncmp(comm, "valgrind", 8) == 0 ? p : NULL;
}

void process_command(pid_t pid, char name[static 32])
{
    char comm[64];
    struct strbuf clean = STRBUF_INIT;
    const struct program *p = under_valgrind(pid);
    size_t n = p != NULL ? 0 : observe_read(comm, sizeof comm, pid, "comm");
    text_clean_line(&clean, comm, n > 0 && comm[n - 1] == '\n' ? n - 1 : n, 31);
    snprintf(name, 32, "%.31s", p != NULL ? p->name : clean.text);
    strbuf_release(&clean);
}

/* ---- descriptors ---- */

/*
 * The kernel shows the descriptors of a process to who has its ids, also as those of the file
 * system (setfsuid(2)): so they are read with the rights of the process that is looked at.
 */
struct fsids observe_as(pid_t pid)
{
    char path[64];
    struct stat st;
    observe_path(path, pid, "task"); /* belongs to the process's effective ids */
    if (geteuid() != 0 || fstatat(proc_folder(), path, &st, 0) != 0)
        return (struct fsids){.taken = false};
    return fsids_take(st.st_uid, st.st_gid);
}

static void read_descriptor(int folder, pid_t pid, const char *number, struct descriptor *d)
{
    char path[64], info[TEXT_MAX];
    struct stat st;
    memset(d, 0, sizeof *d);
    d->number = (int)strtol(number, NULL, 10);
    ssize_t n = readlinkat(folder, number, d->target, sizeof d->target - 1);
    d->target[n > 0 ? n : 0] = '\0';
    if (fstatat(folder, number, &st, 0) == 0)
        d->inode = st.st_ino;
    snprintf(path, sizeof path, "%d/fdinfo/%d", (int)pid, d->number);
    if (proc_read(info, sizeof info, path) == 0)
        return;
    const char *flags = strstr(info, "flags:");
    if (flags != NULL)
        d->flags = (int)strtol(flags + 6, NULL, 8);
    d->close_on_exec = (d->flags & O_CLOEXEC) != 0;
}

static int by_number(const void *a, const void *b)
{
    const struct descriptor *x = a, *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

void process_descriptors(pid_t pid, struct descriptor_list *list)
{
    char path[64];
    list->count = 0;
    observe_path(path, pid, "fd");
    const struct fsids before = observe_as(pid);
    int fd = openat(proc_folder(), path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL && list->count < OBSERVE_MAX) {
        /* Our own list would hold the descriptor that reads it. */
        if (!isdigit((unsigned char)entry->d_name[0]) ||
            (pid == getpid() && (int)strtol(entry->d_name, NULL, 10) == fd))
            continue;
        read_descriptor(dirfd(dir), pid, entry->d_name, &list->fd[list->count++]);
    }
    if (dir != NULL)
        closedir(dir);
    fsids_restore(&before);
    qsort(list->fd, list->count, sizeof list->fd[0], by_number);
    const struct program *p = under_valgrind(pid);
    while (p != NULL && list->count > 0 &&
           list->fd[list->count - 1].number >= program_descriptors(p))
        list->count--; /* valgrind's own */
}

size_t process_family_descriptors(pid_t pid)
{
    static struct process_list list;
    static struct descriptor_list open;
    process_descriptors(pid, &open);
    size_t count = open.count;
    process_family(pid, &list);
    for (size_t i = 0; i < list.count; i++) {
        process_descriptors(list.pid[i], &open);
        count += open.count;
    }
    return count;
}

/* ---- mappings ---- */

bool process_mappings(pid_t pid, bool (*each)(const struct mapping *m, void *context),
                      void *context)
{
    char path[64], *line = NULL;
    size_t size = 0;
    bool going_on = true;
    observe_path(path, pid, "maps");
    const struct fsids before = observe_as(pid);
    int fd = openat(proc_folder(), path, O_RDONLY | O_CLOEXEC);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
    if (file == NULL && fd >= 0)
        close(fd);
    /* proc(5): address range, permissions, offset, device, inode, path */
    while (file != NULL && going_on && getline(&line, &size, file) > 0) {
        struct mapping m;
        int at = 0;
        if (sscanf(line, "%lx-%lx %*s %lx %*s %*s %n", &m.from, &m.to, &m.offset, &at) != 3 ||
            line[at] != '/')
            continue;
        line[strcspn(line, "\n")] = '\0';
        m.path = line + at;
        going_on = each(&m, context);
    }
    free(line);
    if (file != NULL)
        fclose(file);
    fsids_restore(&before);
    return file != NULL;
}

/* ---- what programs promise: program_stays_itself(), program_carries() ---- */

/* The file that `pid` runs, and its path in `path`; false when it has ended. Both are of one look:
 * between two it may have called exec. */
static bool executable(pid_t pid, struct stat *file, char path[static TEXT_MAX])
{
    char link[64];
    observe_path(link, pid, "exe");
    const struct fsids before = observe_as(pid);
    int fd = openat(proc_folder(), link, O_PATH | O_CLOEXEC);
    fsids_restore(&before);
    path[0] = '\0';
    if (fd < 0)
        return false;
    snprintf(link, sizeof link, "self/fd/%d", fd);
    ssize_t len = readlinkat(proc_folder(), link, path, TEXT_MAX - 1);
    bool seen = len > 0 && fstat(fd, file) == 0;
    path[len > 0 ? len : 0] = '\0';
    close(fd);
    return seen;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Where `pid` runs another file than `own` and `running`, that file's name; NULL: it does not, or
 * has ended. */
static const char *other_program(pid_t pid, const struct stat *own, const struct stat *running)
{
    char path[TEXT_MAX];
    struct stat now;
    if (!executable(pid, &now, path) || same_file(own, &now) || same_file(running, &now))
        return NULL;
    const char *slash = strrchr(path, '/');
    return text("%s", slash != NULL ? slash + 1 : path);
}

/* The pipes that are stdin and stdout of `pid`, 0 for what is none. */
static void standard_pipes(pid_t pid, ino_t pipes[2])
{
    static struct descriptor_list list;
    pipes[0] = pipes[1] = 0;
    process_descriptors(pid, &list);
    for (size_t i = 0; i < list.count; i++)
        if (list.fd[i].number <= 1 && strncmp(list.fd[i].target, "pipe:", 5) == 0)
            pipes[list.fd[i].number] = list.fd[i].inode;
}

/* `own`: its file; `running`: the one that its process runs, valgrind's under valgrind. */
static void observe_carrier(const struct program *p, const struct stat *own,
                            const struct stat *running)
{
    static struct process_list all;
    static ino_t pipes[OBSERVE_MAX][2];
    static const char *names[OBSERVE_MAX];
    process_family(p->pid, &all);
    for (size_t i = 0; i < all.count; i++) {
        /* Its helpers, and a child before its exec, hold what it holds. A helper may be its file
         * once more, started by exec: then it is not under valgrind. */
        names[i] = other_program(all.pid[i], own, running);
        if (names[i] == NULL)
            continue;
        standard_pipes(all.pid[i], pipes[i]);
        for (int fd = 0; fd <= 1 && p->carries_ours; fd++)
            if (pipes[i][fd] != 0 && pipes[i][fd] == p->own_pipe[fd])
                test_fail(p->carries, text("%s has %s's own %s: what passes there passes by %s",
                                           names[i], p->name, stream_name(fd), p->name));
    }
    for (size_t i = 0; i < all.count; i++)
        for (size_t j = 0; j < all.count && names[i] != NULL; j++)
            if (names[j] != NULL && i != j && pipes[i][1] != 0 && pipes[i][1] == pipes[j][0])
                test_fail(p->carries,
                          text("%s writes into the very pipe that %s reads: what passes there "
                               "passes by %s",
                               names[i], names[j], p->name));
}

void observe_promises(void)
{
    char path[TEXT_MAX];
    for (const struct program *p = harness.programs; p != NULL; p = p->next) {
        struct stat own, running;
        bool promised = p->stays_itself != NULL || p->carries != NULL;
        if (!promised || !p->started || p->ended || stat(p->path, &own) != 0)
            continue;
        if (p->stays_itself != NULL && !p->memcheck) {
            const char *other = other_program(p->pid, &own, &own);
            if (other != NULL)
                test_fail(p->stays_itself,
                          text("%s itself has become another program, '%s': it called exec "
                               "outside of a child",
                               p->name, other));
        }
        if (p->carries == NULL)
            continue;
        /* A process whose first thread has ended shows no file, and runs on in its others. */
        if (executable(p->pid, &running, path))
            observe_carrier(p, &own, &running);
        else if (!p->memcheck)
            observe_carrier(p, &own, &own);
    }
}
