/*
 * machine.h - who has the machine to themselves, among all gradings of one user.
 *
 * A grading shares the machine while it runs tests side by side; a test that must be alone waits
 * until it can have it exclusively. The lock is flock(2) on /run/lock/ipclab-UID, so it vanishes
 * with its holder. Where that file cannot be had (a read-only container) a grading is alone with
 * itself.
 */
#ifndef IPCLAB_RUN_MACHINE_H
#define IPCLAB_RUN_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

enum { MACHINE_PATIENCE_SECONDS = 300 };

struct machine {
    int lock;              /* -1: no file */
    int64_t waiting_since; /* for an exclusive hold; 0: not waiting */
};

void machine_open(struct machine *m);
void machine_close(struct machine *m);

/* Shares it again; at first it may wait as long as somebody else's lone test takes. */
void machine_share(struct machine *m);

/*
 * Tries to have it exclusively; to be called again, a few times a second, until it is true. After
 * MACHINE_PATIENCE_SECONDS it is true in any case: a busy machine must not stop a grading.
 */
bool machine_take(struct machine *m);

#endif
