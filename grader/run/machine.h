/*
 * machine.h - who has the machine to themselves, among all gradings of one user.
 *
 * A grading shares the machine while it runs tests side by side; a test that must be alone waits
 * until it can have it exclusively. Two flock(2) locks: one is held, shared or exclusively, by whom
 * the machine is used; the other, the turnstile, is passed by each who comes, and held by the one
 * who waits for the exclusive hold: so gradings that come later wait behind it, and it waits for
 * those only that are there. (The readers-writers problem without starvation: Downey, The Little
 * Book of Semaphores, 4.2.3.) Both vanish with their holder. Where the files cannot be had (a
 * read-only container) a grading is alone with itself.
 */
#ifndef IPCLAB_RUN_MACHINE_H
#define IPCLAB_RUN_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    MACHINE_PATIENCE_SECONDS = 300,
    MACHINE_HOLD_SECONDS = 20, /* then the others' turn comes, even if more is to be run alone */
};

struct machine {
    int lock, turnstile;   /* -1: no file */
    bool turn;             /* the turnstile is ours */
    int64_t waiting_since; /* for an exclusive hold; 0: not waiting */
    int64_t taken_at;      /* 0: not held exclusively */
};

/* Shares it. `path`: of the lock, NULL for the one of this user. */
void machine_open(struct machine *m, const char *path);
void machine_close(struct machine *m);

/* Shares it again; at first it may wait as long as somebody else's lone tests take. */
void machine_share(struct machine *m);

/*
 * Tries to have it exclusively; to be called again, a few times a second, until it is true. After
 * MACHINE_PATIENCE_SECONDS it is true in any case: a busy machine must not stop a grading. True at
 * once while it is held.
 */
bool machine_take(struct machine *m);

/* Whether it may be held for one more test: else it is to be shared first. */
bool machine_may_keep(const struct machine *m);

#endif
