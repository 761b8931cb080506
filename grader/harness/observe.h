/*
 * observe.h - what /proc tells of a process, without any right over it.
 *
 * Sources: proc(5), /proc/PID/{stat,status,task,fd,fdinfo,wchan,syscall}. Another uid's fd folder
 * is read with that uid as fsuid (setfsuid(2)), which needs no CAP_SYS_PTRACE. A process that is
 * gone is no error: counts are then 0, lists empty.
 */
#ifndef IPCLAB_HARNESS_OBSERVE_H
#define IPCLAB_HARNESS_OBSERVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { OBSERVE_MAX = 512 };

struct process_list {
    size_t count;
    pid_t pid[OBSERVE_MAX];
};

struct descriptor {
    int number;
    bool close_on_exec;
    char target[128]; /* "pipe:[123]", "/dev/null", "socket:[9]" */
    ino_t inode;      /* of the pipe or socket, else of the file */
    int flags;        /* as of open(2): O_RDONLY ... O_NONBLOCK */
};

struct descriptor_list {
    size_t count;
    struct descriptor fd[OBSERVE_MAX];
};

char process_state(pid_t pid); /* R S D T t Z X, or 0 when it is gone */
/* All its threads are stopped, but those that have ended: the first one may be among these. */
bool process_stopped(pid_t pid);
void process_children(pid_t pid, struct process_list *list); /* direct ones, zombies too */
void process_descendants(pid_t pid,
                         struct process_list *list); /* all, nearest first, without pid */
/*
 * All that works for a program: what descends from it, and what has left that tree (its parent has
 * ended, so it is a child of ours now) and is not known to be another program's. A server that goes
 * on as a daemon is looked at as any other.
 */
void process_family(pid_t pid, struct process_list *list); /* without pid */
size_t process_threads(pid_t pid);
/* Without valgrind's own, of a program that runs under it. */
void process_descriptors(pid_t pid, struct descriptor_list *list);
/* How many `pid` and its family have open. */
size_t process_family_descriptors(pid_t pid);
double process_cpu_seconds(pid_t pid);  /* user and system, its threads, not its children */
long process_peak_kb(pid_t pid);        /* VmHWM */
long process_family_peak_kb(pid_t pid); /* the sum of its own and its family's */
/* The same of what was asked for, used or not (VmPeak of proc(5)): a thread alone may have reserved
 * 200 MiB. */
long process_family_peak_asked_kb(pid_t pid);
long process_switches(pid_t pid);                      /* voluntary and not, over its threads */
void process_command(pid_t pid, char name[static 32]); /* comm, escaped */

/* One mapping of a file: addresses, where in the file it begins, and the file's path (" (deleted)"
 * is behind one without a name). */
struct mapping {
    unsigned long from, to, offset;
    const char *path;
};
/* Calls `each` for every mapping of a file, in the order of their addresses, until it returns
 * false. False when /proc does not tell. */
bool process_mappings(pid_t pid, bool (*each)(const struct mapping *m, void *context),
                      void *context);

/*
 * A sample of `root` (0: all programs of the test) with all descendants and threads. Two samples
 * that are equal, and all_asleep in both, prove that none of the tasks ran in between.
 */
struct activity {
    bool all_asleep;   /* each task in S (or T, Z), none in R or D; none waits for refused.c */
    uint64_t switches; /* over all tasks */
    uint64_t tasks;    /* a hash of who they are */
};
struct activity activity_sample(pid_t root);
bool activity_same(const struct activity *a, const struct activity *b);

/*
 * Whether a task of `pid` or of its descendants sleeps in the kernel for a time of a minute or less
 * (nanosleep, poll with a time-out, sem_timedwait, ...): it will look again by itself. To be asked
 * while all of them are asleep.
 */
bool process_sleeps_for_a_time(pid_t pid);

/*
 * One line a process for a student: "pipeline waits for a child to end (wait4)",
 * "head waits for input on descriptor 0, a pipe whose write end is still open in: pipeline (4)".
 * For the message of a stuck test; no pids. The text lives until the test ends.
 */
const char *describe_waiting(void);

#endif
