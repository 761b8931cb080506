/*
 * files.h - files, read and written as if somebody were trying to harm us.
 *
 * What a submission may have touched is read without following links, only when it is a regular
 * file, without blocking, and up to a cap. What we write is whole or not there.
 */
#ifndef IPCLAB_SUPPORT_FILES_H
#define IPCLAB_SUPPORT_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "support/error.h"
#include "support/strbuf.h"

/*
 * Appends the regular file `path`. Fails (FAULT_GRADER) when it is a link, no regular file, larger
 * than `max` bytes, or cannot be read.
 */
int file_read(const char *path, size_t max, struct strbuf *out, struct error *err);

/* As file_read, below the folder `dirfd` (openat2 semantics: no link in the last component). */
int file_read_at(int dirfd, const char *name, size_t max, struct strbuf *out, struct error *err);

/*
 * Writes `bytes` to a temporary file (mode `mode`, O_EXCL, random name) in the folder of `path`,
 * fsyncs and renames it into place. On an error the old file stays and the temporary one is gone.
 */
int file_write_whole(const char *path, mode_t mode, const void *bytes, size_t len,
                     struct error *err);

/* Writes all of `bytes` to `fd`, EINTR and short writes retried. 0, or -1 with errno. */
int file_write_all(int fd, const void *bytes, size_t len);

/* Copies the regular file `from` (links followed: ours) to the new file `to` with mode `mode`. */
int file_copy(const char *from, const char *to, mode_t mode, struct error *err);

/* Makes `path` and its missing parents, mode 0755. */
int directory_make(const char *path, struct error *err);

/*
 * Makes a new private folder (mode 0700) named "ipclab-XXXXXX" below $TMPDIR or /tmp and returns
 * its path, which the caller frees; NULL and `err` when it cannot be made.
 */
char *directory_make_private(struct error *err);

/*
 * Removes `name` below `dirfd` with all that is in it, whatever it is: no link followed, no mount
 * crossed, closed folders opened first, any depth with a bounded number of descriptors. Returns how
 * many entries were removed (0: there was none), or -1 with errno when something is left. In a
 * `name` with slashes only the last component is not trusted.
 */
long tree_remove_at(int dirfd, const char *name);

/* The same for a path of ours, whose folder may be reached through links. */
long tree_remove(const char *path);

/* Removes everything below the folder `dirfd` and keeps the folder. As tree_remove_at. */
long tree_empty(int dirfd);

/* "DIR/NAME", to be freed by the caller. */
char *path_join(const char *dir, const char *name);
bool path_exists(const char *path);
bool path_is_directory(const char *path);

#endif
