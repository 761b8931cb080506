#include "run/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "support/clock.h"

void machine_open(struct machine *m)
{
    char path[64];
    snprintf(path, sizeof(path), "/run/lock/ipclab-%u", (unsigned)geteuid());
    *m = (struct machine){.lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)};
    machine_share(m);
}

void machine_close(struct machine *m)
{
    if (m->lock >= 0)
        close(m->lock);
    m->lock = -1;
}

void machine_share(struct machine *m)
{
    m->waiting_since = 0;
    /* A signal (^C) ends the wait; unlocked is then as good as shared. */
    if (m->lock >= 0)
        flock(m->lock, LOCK_SH);
}

bool machine_take(struct machine *m)
{
    if (m->lock < 0)
        return true;
    if (flock(m->lock, LOCK_EX | LOCK_NB) == 0)
        return true;
    /* Converting a lock gives the old one up first, so two that wait don't wait for each other. */
    if (!m->waiting_since)
        m->waiting_since = clock_ns();
    return clock_ns() - m->waiting_since > MACHINE_PATIENCE_SECONDS * NS_PER_S;
}
