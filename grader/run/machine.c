#include "run/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "support/clock.h"
#include "support/memory.h"

static int open_lock(const char *path)
{
    return open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

void machine_open(struct machine *m, const char *path)
{
    char *lock = path ? xstrdup(path) : xasprintf("/run/lock/ipclab-%u", (unsigned)geteuid());
    char *turnstile = xasprintf("%s.turn", lock);
    *m = (struct machine){.lock = open_lock(lock), .turnstile = open_lock(turnstile)};
    free(lock);
    free(turnstile);
    machine_share(m);
}

static void leave_turnstile(struct machine *m)
{
    if (m->turn)
        flock(m->turnstile, LOCK_UN);
    m->turn = false;
}

void machine_close(struct machine *m)
{
    if (m->lock >= 0)
        close(m->lock);
    if (m->turnstile >= 0)
        close(m->turnstile);
    *m = (struct machine){.lock = -1, .turnstile = -1};
}

void machine_share(struct machine *m)
{
    m->waiting_since = m->taken_at = 0;
    if (m->lock < 0)
        return;
    /* A signal (^C) ends each wait; unlocked is then as good as shared. */
    if (m->turnstile >= 0) {
        flock(m->lock, LOCK_UN); /* whoever waits in the turnstile waits for this */
        leave_turnstile(m);
        flock(m->turnstile, LOCK_SH);
    }
    flock(m->lock, LOCK_SH);
    if (m->turnstile >= 0)
        flock(m->turnstile, LOCK_UN);
}

bool machine_take(struct machine *m)
{
    if (m->lock < 0 || m->taken_at)
        return true;
    if (!m->waiting_since) {
        m->waiting_since = clock_ns();
        flock(m->lock, LOCK_UN); /* two that wait must not wait for each other */
    }
    if (m->turnstile >= 0 && !m->turn)
        m->turn = flock(m->turnstile, LOCK_EX | LOCK_NB) == 0;
    bool taken = (m->turn || m->turnstile < 0) && flock(m->lock, LOCK_EX | LOCK_NB) == 0;
    if (!taken && clock_ns() - m->waiting_since <= MACHINE_PATIENCE_SECONDS * NS_PER_S)
        return false;
    m->taken_at = clock_ns();
    return true;
}

bool machine_may_keep(const struct machine *m)
{
    return m->taken_at && clock_ns() - m->taken_at < MACHINE_HOLD_SECONDS * NS_PER_S;
}
