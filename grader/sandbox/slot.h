/*
 * slot.h - where one test at a time runs: a uid and gid, an empty folder, and one sweep after it.
 *
 * This file owns what a slot is; cgroups will be held here too. Namespaces last as long as one
 * suite process (namespaces.h). The engine opens a slot (claiming a uid that no other grader of
 * this machine uses, by a lock), a suite's runner reopens it from its job, and both can sweep it.
 */
#ifndef IPCLAB_SANDBOX_SLOT_H
#define IPCLAB_SANDBOX_SLOT_H

#include <stdbool.h>
#include <sys/types.h>

#include <cjson/cJSON.h>

#include "support/error.h"

struct slot {
    int index;
    bool own_ids; /* false: not root, programs run as we do */
    uid_t uid;
    gid_t gid;
    char *directory; /* empty before each test, owned by uid, mode 0700 */
    char *private;   /* job, board, valgrind's files: ours alone, mode 0700 */
    bool namespaces; /* its suites are started into namespaces of their own */
    bool inside;     /* we are in them: a slot reopened by a suite */
    int lock;        /* holds the uid: -1 in a reopened slot */
};

struct leftovers {
    int processes, shared_memory, queues, sysv;
    int files; /* outside of the slot's folder */
};

/*
 * Makes WORK/slot-INDEX/{home,private} and claims a uid (60000 to 60999, as isolate(1) does; one
 * that /etc/passwd knows is passed over). Not as root: no uid. WORK must be searchable by others.
 */
int slot_open(struct slot *s, const char *work, int index, struct error *err);
void slot_close(struct slot *s); /* sweeps, removes the folders, gives the uid back */

cJSON *slot_to_json(const struct slot *s);
int slot_from_json(struct slot *s, const cJSON *json, struct error *err);
void slot_release(struct slot *s); /* frees a reopened slot's memory and nothing else */

/*
 * Ends and removes everything that programs of the slot left: processes (by uid; without one, all
 * descendants of `keeper` but those in `spare`, a list that ends with 0), /dev/shm objects, POSIX
 * queues, System V objects, files in the slot's folder, files of the uid in /tmp, /var/tmp and
 * /dev/shm. (Without a uid objects are told from the user's own only inside of namespaces, and
 * files never.) Does not return before every process is gone (at most 10 s, then -1 and `err`).
 * Fills *found (may be NULL) with what there was. The slot's folder is empty afterwards.
 */
int slot_sweep(const struct slot *s, pid_t keeper, const pid_t *spare, struct leftovers *found,
               struct error *err);

/*
 * Ends all descendants of `keeper`, whoever they run as, but ourselves and `spare` (ends with 0;
 * may be NULL). Returns how many live ones there were, or -1 and `err`.
 */
int slot_kill_tree(pid_t keeper, const pid_t *spare, struct error *err);

#endif
