/*
 * slot_parts.h - the two halves of a sweep; slot.c puts them together.
 *
 *   slot_processes.c  ends processes
 *   slot_objects.c    removes what stays when a process ends
 */
#ifndef IPCLAB_SANDBOX_SLOT_PARTS_H
#define IPCLAB_SANDBOX_SLOT_PARTS_H

#include "sandbox/slot.h"

/* Ends all processes of the slot's uid; the number of live ones that there were, -1 and `err`. */
int slot_kill_uid(const struct slot *s, struct error *err);

/*
 * Runs `work` in a forked helper that has become the slot's uid and waits for its end. True when it
 * came to it: a program of the same uid may kill the helper first.
 */
bool slot_run_as(const struct slot *s, void (*work)(const void *argument), const void *argument);

/* Removes all but processes and counts it in *found. With own_ids only, but for the folder. */
int slot_remove_objects(const struct slot *s, struct leftovers *found, struct error *err);

#endif
