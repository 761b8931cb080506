/*
 * intake.h - the first stage: takes the submission's files into the work folder.
 *
 * Only names that the manifest lists are copied; others are left alone and listed. The files stand
 * at the top of the submission, in a folder named after the lab, or in an archive's one top folder.
 */
#ifndef IPCLAB_INTAKE_INTAKE_H
#define IPCLAB_INTAKE_INTAKE_H

#include "grading.h"

/*
 * Fills grading->submission and WORK/submission. 0 on success. -1 with `err`:
 *   FAULT_USAGE       options.path names nothing that exists;
 *   FAULT_SUBMISSION  it was refused: a required file missing; a listed name that is a link,
 *                     device, FIFO or folder; an archive that is broken, over the limits
 *                     (10,000 entries, 64 MiB unpacked, each listed file over limits.submission_kb)
 *                     or has a name that is absolute, contains "..", a NUL or is listed twice;
 *                     an unknown commit;
 *   FAULT_GRADER      our disk or memory.
 * Nothing outside the work folder is written, and nothing of the submission is executed (a git
 * repository's configuration and hooks neither).
 */
int intake(struct grading *g, struct error *err);

/*
 * For the sources, one file each: intake_folder.c, intake_archive.c, intake_git.c. `path` exists,
 * except for git's. Each looks for the listed names in its places (the top, the lab's folder, ...),
 * lets intake_choose() say which place is meant, and takes the files from there.
 */
int intake_folder(struct grading *g, const char *path, struct error *err);
int intake_archive(struct grading *g, const char *path, struct error *err);
int intake_git(struct grading *g, const char *repository, const char *commit, struct error *err);

/*
 * `there[place * file_count + file]` says that a place has something of the listed name. The first
 * place with a required file, else the first with any listed one, else 0.
 */
size_t intake_choose(const struct manifest *m, const bool *there, size_t places);

/*
 * The shared end: `bytes` is the content of the listed file `name`. Refuses one that is too large
 * and a name that was taken before.
 */
int intake_take(struct grading *g, const char *name, const void *bytes, size_t len,
                struct error *err);
/* The largest content that intake_take() accepts. */
size_t intake_max_bytes(const struct grading *g);
/* -1 with "'NAME' is WHAT, not a regular file" (FAULT_SUBMISSION). */
int intake_refuse(const char *name, const char *what, struct error *err);
int intake_refuse_size(const struct grading *g, const char *name, struct error *err);

/* Notes a name that the manifest lacks; the first 100 in byte order are kept. */
void intake_ignore(struct grading *g, const char *name, size_t len);
/* The index of `name` in the manifest's list of files, or -1. */
int intake_listed(const struct manifest *m, const char *name);

#endif
