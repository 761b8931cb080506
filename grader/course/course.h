/*
 * course.h - where the course's data lies on this machine.
 *
 * Search: beside the binary (the build tree: BINARY/../assignments; an installation:
 * BINARY/../share/ipclab), else $IPCLAB_HOME. Lists of labs are in teaching order: shm, message,
 * pipe, fifo, chat, rpc, then others by name.
 */
#ifndef IPCLAB_COURSE_COURSE_H
#define IPCLAB_COURSE_COURSE_H

#include <stdbool.h>
#include <stddef.h>

#include "support/error.h"

struct course {
    char *root;   /* the folder that holds assignments/ and starter/ */
    char *suites; /* the folder that holds LAB-public, LAB-hidden and tools/ */
    char *engine; /* the path of the running binary */
};

int course_open(struct course *c, struct error *err);
void course_release(struct course *c);

/* Names of the labs that have a lab.json, NULL at the end; freed with free() (one block). */
char **course_labs(const struct course *c, struct error *err);
bool course_has_lab(const struct course *c, const char *lab);

/* Paths, to be freed by the caller. */
char *course_manifest(const struct course *c, const char *lab);
char *course_handout(const struct course *c, const char *lab);
char *course_starter(const struct course *c, const char *lab);
char *course_suite(const struct course *c, const char *lab, bool hidden);
char *course_tools(const struct course *c, const char *lab); /* the suite's own programs */
bool course_has_hidden(const struct course *c, const char *lab);

#endif
