/*
 * work.h - the private folder of one grading, and what killed gradings left behind.
 *
 * The folder is $TMPDIR/ipclab-XXXXXX (else below /tmp), mode 0711: the programs' users pass
 * through it and can list nothing. A lock on its file "lock" is held as long as the engine lives; a
 * folder of our user whose lock is free belonged to an engine that was killed, and the next one
 * removes it.
 */
#ifndef IPCLAB_WORK_H
#define IPCLAB_WORK_H

#include "support/error.h"

struct work {
    char *path;
    int lock;
};

#define WORK_INIT                                                                                  \
    {                                                                                              \
        .lock = -1                                                                                 \
    }

/* Makes the folder, after removing abandoned ones. -1 and `err` (FAULT_GRADER). */
int work_open(struct work *w, struct error *err);

/* Removes it. -1 with errno when something is left. */
int work_close(struct work *w);

#endif
