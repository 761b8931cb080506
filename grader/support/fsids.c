#include "support/fsids.h"

#include <errno.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <unistd.h>

struct fsids fsids_take(uid_t uid, gid_t gid)
{
    struct fsids before = {.taken = geteuid() == 0 && uid != 0};
    int parent_death = 0;

    if (!before.taken)
        return before;
    prctl(PR_GET_PDEATHSIG, &parent_death);
    before.gid = (gid_t)setfsgid(gid);
    before.uid = (uid_t)setfsuid(uid);
    prctl(PR_SET_PDEATHSIG, parent_death); /* each change has cleared it (prctl(2)) */
    return before;
}

void fsids_restore(const struct fsids *before)
{
    int saved = errno, parent_death = 0;

    if (!before->taken)
        return;
    prctl(PR_GET_PDEATHSIG, &parent_death);
    setfsuid(before->uid);
    setfsgid(before->gid);
    prctl(PR_SET_PDEATHSIG, parent_death);
    errno = saved;
}
