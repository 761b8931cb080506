/*
 * fsids.h - another's ids towards the file system and /proc, for a while (setfsuid(2),
 * setfsgid(2)): root without CAP_DAC_OVERRIDE, CAP_FOWNER or CAP_SYS_PTRACE, as in a container, may
 * then do what that user may. They are the calling thread's alone.
 */
#ifndef IPCLAB_SUPPORT_FSIDS_H
#define IPCLAB_SUPPORT_FSIDS_H

#include <stdbool.h>
#include <sys/types.h>

/* What there was before. */
struct fsids {
    bool taken;
    uid_t uid;
    gid_t gid;
};

/* Nothing changes where we are not root, or `uid` is root. */
struct fsids fsids_take(uid_t uid, gid_t gid);
/* Leaves errno as it is. */
void fsids_restore(const struct fsids *before);

#endif
