/*
 * clock.h - the two clocks: deadlines are monotonic, dates are for people.
 */
#ifndef IPCLAB_SUPPORT_CLOCK_H
#define IPCLAB_SUPPORT_CLOCK_H

#include <stdint.h>

enum { NS_PER_MS = 1000000, MS_PER_S = 1000 };
#define NS_PER_S 1000000000LL

/* CLOCK_MONOTONIC in nanoseconds: the same scale in every process of a machine. */
int64_t clock_ns(void);

/* Milliseconds from now to `deadline_ns`, rounded up, at least 0, at most INT_MAX: for poll(2). */
int clock_poll_ms(int64_t deadline_ns);

/* The present as RFC 3339 in UTC, "2026-11-24T12:57:01Z", into `text`. */
void clock_date(char text[static 21]);

#endif
