/*
 * exclusion.h - what a lab excludes, so that it can't be solved with another lab's mechanism.
 *
 * A lab.json names exclusions; the sandbox refuses the calls that belong to them and tells the
 * student so. Both the filter that refuses and the side that answers read the one table here.
 */
#ifndef IPCLAB_SANDBOX_EXCLUSION_H
#define IPCLAB_SANDBOX_EXCLUSION_H

#include <stdbool.h>
#include <stddef.h>

/* Bits. */
enum exclusion {
    EXCLUDE_SOCKETS = 1 << 0,       /* "sockets": socket(2), socketpair(2) */
    EXCLUDE_SYSV_IPC = 1 << 1,      /* "sysv_ipc": shmget, semget, msgget */
    EXCLUDE_POSIX_QUEUES = 1 << 2,  /* "posix_queues": mq_open */
    EXCLUDE_SHARED_MEMORY = 1 << 3, /* "shared_memory": shm_open, sem_open, memfd_create */
    EXCLUDE_NAMED_PIPES = 1 << 4,   /* "named_pipes": mkfifo */
};

const char *exclusion_name(enum exclusion e);
/* The rule as a student reads it: "sockets are not part of this lab". */
const char *exclusion_sentence(enum exclusion e);
/* The bit of a name in lab.json; 0: there is none of that name. */
unsigned exclusion_of_name(const char *name);

/* One call that belongs to an exclusion. */
struct excluded_call {
    enum exclusion exclusion;
    const char *call; /* the system call, as libseccomp names it */
    int number;       /* SYS_..., -1: this machine has none of that name */
    int error;        /* the errno that the program gets */
    const char *shown;
    bool family;   /* its first argument is an address family, shown as "socket(AF_INET)" */
    int fifo_mode; /* 1 + the index of the argument that makes it a FIFO; 0: always excluded */
};
extern const struct excluded_call excluded_calls[];
extern const size_t excluded_call_count;

/*
 * Objects of shared memory are files: shm_open(3) and sem_open(3) are openat(2) with a path below
 * /dev/shm, and a filter sees no path. Whether Landlock allows it or not, nobody would tell the
 * student; so the calls whose flags look like theirs are notified, and whoever answers looks at the
 * path. Right programs make few such calls (a lock file, "w+"; valgrind two at its start), and
 * they go on.
 */
struct opening_call {
    const char *call;     /* as libseccomp names it */
    int number;           /* SYS_..., -1: this machine has none of that name */
    unsigned path, flags; /* the indices of these arguments */
};
extern const struct opening_call opening_calls[];
extern const size_t opening_call_count;
/* Flags that look like theirs: those under `mask` are `value`. */
struct opening_flags {
    unsigned mask, value;
};
extern const struct opening_flags object_flags[];
extern const size_t object_flags_count;
/* What a student called that opens `path`: "shm_open"; NULL: the path is no such object's. */
const char *object_opened_by(const char *path, unsigned flags);

#endif
