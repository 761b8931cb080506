/*
 * sandbox.h - what stands between an untrusted process and the machine.
 *
 * A policy says what one kind of untrusted process may do (the compiler, a program under test). It
 * is plain data: the engine writes it into a suite's job, the harness reads it back. Before each
 * start the parent prepares it, the child enters it between fork and exec:
 *
 *   sandbox_prepare(&sandbox, &policy, &err);        once in a process; opens descriptors
 *   fork(); child: sandbox_enter(&sandbox, &step);   then execve
 *   sandbox_release(&sandbox);
 *
 * Each layer is one file, layer_NAME.c, that fills one `struct layer`. Layers are applied in the
 * order of sandbox_layers[], each where the machine allows it; one that cannot be is passed over
 * and named by sandbox_report(). A layer that is in force by its probe and then fails in the child
 * is an error: the program is not started.
 */
#ifndef IPCLAB_SANDBOX_SANDBOX_H
#define IPCLAB_SANDBOX_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cjson/cJSON.h>

#include "sandbox/exclusion.h"
#include "support/error.h"
#include "support/strbuf.h"

enum path_right {
    PATH_READ = 1 << 0,    /* read files, list folders */
    PATH_EXECUTE = 1 << 1, /* execute files */
    PATH_WRITE = 1 << 2,   /* write, truncate, make and remove files, folders, links */
    PATH_FIFO = 1 << 3,    /* make FIFOs, and nothing else special */
    PATH_DEVICE = 1 << 4,  /* read, write and ioctl a device file that exists */
};

struct policy_path {
    char *path;
    unsigned rights;
};

enum { POLICY_PATHS_MAX = 128 };

struct policy {
    bool own_ids; /* become uid and gid below (needs root) */
    uid_t uid;
    gid_t gid;
    char *directory; /* working folder */
    struct policy_path paths[POLICY_PATHS_MAX];
    size_t path_count;
    unsigned excludes; /* enum exclusion: calls that are refused and told (seccomp notification) */
    char *filter;      /* file with the compiled seccomp program, or NULL: compile it in prepare */
    /* rlimits; 0 leaves one as it is, -1 means unlimited */
    long cpu_seconds, descriptors, processes, memory_mb, file_mb, stack_mb, queue_bytes;
};

void policy_init(struct policy *p);
void policy_release(struct policy *p);
/* Adds a path that exists; one that does not is passed over. */
void policy_allow(struct policy *p, const char *path, unsigned rights);
/* What every program needs to run: the loader, the C library, /dev/null and its kind, /proc,
 * tzdata, locale. None of the system's commands and other libraries. */
void policy_allow_runtime(struct policy *p);
/* All of the system's libraries, to be read. */
void policy_allow_libraries(struct policy *p);
/* All of the system's commands. */
void policy_allow_commands(struct policy *p);
/* The path of the system's command `name`, which is without a slash; the caller's; NULL: none. */
char *policy_find_command(const char *name);
/* What the compiler needs besides: headers, its own programs, the assembler and the linker, their
 * libraries, and those of the course. No other command or library: it could be copied into a
 * program. */
void policy_allow_compiler(struct policy *p);
cJSON *policy_to_json(const struct policy *p);
int policy_from_json(struct policy *p, const cJSON *json, struct error *err);

struct sandbox {
    const struct policy *policy;
    unsigned active; /* bit i: sandbox_layers[i] is applied */
    int ruleset;     /* Landlock, -1: none */
    void *filter; /* struct sock_filter[2 * filter_count]: one that notifies, one that does not */
    size_t filter_count;
    int notify_socket; /* the child's end: the seccomp listener is sent over it; -1: none is wanted
                        */
    pid_t parent;      /* the process that prepared, and forks: for PR_SET_PDEATHSIG's race */
    long processes;    /* RLIMIT_NPROC as it will be set; 0: left as it is */
    int keep_fd;       /* set by sandbox_enter */
};

struct layer {
    const char *name;  /* "own uid", "landlock", ... */
    const char *gives; /* one sentence: what it protects */
    /* Whether this machine and this process can apply it. `detail`: what is in force (an ABI), or
     * why it is not and how to get it. */
    bool (*probe)(struct strbuf *detail);
    int (*prepare)(struct sandbox *s, struct error *err); /* in the parent; may be NULL */
    /* One more path, after prepare; NULL: the layer has nothing to do with files. */
    int (*allow)(struct sandbox *s, const char *path, unsigned rights, struct error *err);
    /* In the child: async-signal-safe; -1 with errno. NULL: nothing is done there. */
    int (*enter)(const struct sandbox *s);
    void (*release)(struct sandbox *s); /* in the parent; may be NULL */
};

extern const struct layer *const sandbox_layers[]; /* NULL at the end, in the order of entering */

/*
 * `off` is a list of layer names, "landlock,seccomp", that are left out (from $IPCLAB_LAYERS_OFF:
 * for the tests of single layers; a result made so is not official), or NULL.
 */
int sandbox_prepare(struct sandbox *s, const struct policy *policy, const char *off,
                    struct error *err);
/*
 * Called in the child, in the process that was forked by the one that prepared, after the caller
 * has arranged its environment, signals, umask and descriptors: 0, 1, 2 and what else lies below
 * `keep_fd`. All from `keep_fd` on (-1: from 3 on) are marked close-on-exec, so a pipe that tells
 * whether exec succeeded still works. What prepare opened stands above policy->descriptors, out of
 * the way of the caller's dup2(). Afterwards the child stands in policy->directory. 0, or -1 with
 * errno and the failing layer's name in *step.
 */
int sandbox_enter(const struct sandbox *s, int keep_fd, const char **step);
void sandbox_release(struct sandbox *s);
/*
 * Allows `path` besides, for all who enter after this; a path that does not exist is passed over.
 * In the parent, between prepare and release.
 */
int sandbox_allow(struct sandbox *s, const char *path, unsigned rights, struct error *err);

/* Array of {layer, active, detail}: for results and for doctor. */
cJSON *sandbox_report(const char *off);
/* Whether the layer `name` is in force here. */
bool sandbox_has_layer(const char *name, const char *off);
/* True when the uid layer (or, later, the namespaces) separates submissions from the grader. */
bool sandbox_is_official(const char *off, struct strbuf *why_not);

/*
 * The seccomp program of a policy, compiled by libseccomp into `path` (mode 0644): done once by the
 * engine so that each start only loads it.
 */
int sandbox_compile_filter(const struct policy *p, const char *path, struct error *err);

/*
 * The answering side of notifications. Receives the listener that a child sent over `socket`
 * (never blocks; the result is close-on-exec); -1 and errno EAGAIN when there is none yet, EPIPE
 * when none will come (the child's end is closed: it died before, or the kernel gave it none, and
 * then excluded calls are refused without a word), EMFILE when it came and we have no descriptor
 * for it (then what is notified fails in the child).
 */
int sandbox_receive_listener(int socket);
struct refused_call {
    char call[32]; /* "socket(AF_INET)" */
    unsigned rule; /* enum exclusion */
    int error;     /* the errno that the program got */
};
/*
 * Answers one waiting notification of `listener`; 1 and *call when one was answered, 0 when there
 * was none to tell of (none waits, its process is gone, it was the C library's own: what nscd's
 * client and getaddrinfo try is answered and not told; or a file was opened that is no object of
 * shared memory: it goes on), -1 with errno when the listener is dead.
 * Does not wait for a notification: poll(2) it for POLLIN. Reading a path waits for the memory of a
 * task that changes it just now.
 */
int sandbox_answer(int listener, struct refused_call *call);

#endif
