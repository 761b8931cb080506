/*
 * layers.h - the layers by name, and what one needs to know of another. Each is described at the
 * top of its own file; sandbox.c holds their order.
 */
#ifndef IPCLAB_SANDBOX_LAYERS_H
#define IPCLAB_SANDBOX_LAYERS_H

#include "sandbox/sandbox.h"

extern const struct layer layer_namespaces;
extern const struct layer layer_descriptors;
extern const struct layer layer_limits;
extern const struct layer layer_ids;
extern const struct layer layer_processes;
extern const struct layer layer_session;
extern const struct layer layer_subreaper;
extern const struct layer layer_no_new_privs;
extern const struct layer layer_landlock;
extern const struct layer layer_seccomp;

/* Moves the close-on-exec `fd` above all descriptors that a program of the policy can have. */
int sandbox_high_fd(int fd, const struct policy *policy);

/* In layer_ids.c: becomes uid and gid for good, without groups. Async-signal-safe; -1 with errno.
 */
int sandbox_become(uid_t uid, gid_t gid);

/*
 * Opens the folder of the POSIX queues: where one is mounted at /dev/mqueue or QUEUES_ELSEWHERE,
 * else a mount of our own that no path leads to (needs CAP_SYS_ADMIN). -1 when there is none.
 */
int sandbox_open_queues(void);
/* A folder of every Debian, where namespaces.c mounts them when there is no /dev/mqueue. */
#define QUEUES_ELSEWHERE "/mnt"

/* The last one is no slot's: the sweep kills under it (slot_processes.c). */
enum { SLOT_UID_FIRST = 60000, SLOT_UID_COUNT = 1000, SLOT_UID_SWEEPER = 60999 };

#endif
