/*
 * signals.h - what a child does with signals, set before its exec.
 *
 * By the kernel's own calls: glibc's refuse signals 32 and 33, which its posix_spawn leaves ignored
 * in whatever it starts (make, for one, and so us). Both are async-signal-safe.
 */
#ifndef IPCLAB_SUPPORT_SIGNALS_H
#define IPCLAB_SUPPORT_SIGNALS_H

#include <signal.h>

/* As at a login: every signal has its default action and none is blocked. */
void signals_reset(void);

/* The same, but those of `ignored` are ignored and those of `blocked` are blocked. */
void signals_set(const sigset_t *ignored, const sigset_t *blocked);

#endif
