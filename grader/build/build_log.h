/*
 * build_log.h - what of a compiler's words a student gets to see.
 */
#ifndef IPCLAB_BUILD_BUILD_LOG_H
#define IPCLAB_BUILD_BUILD_LOG_H

#include <stddef.h>

#include "grading.h"
#include "support/strbuf.h"

/*
 * Appends what the compiler said (`said`, raw) to `log`, raw as well, with
 *
 *   - the build folder's name taken out, and temporary files called "(object)", so that the same
 *     source has the same log;
 *   - what is said about files that are neither the lab's nor the system's headers left out, since
 *     it quotes their lines (#include "/etc/passwd", also by #line or .include): one line says so.
 *
 * `folder` is the build folder. Returns how many warnings were added.
 */
int build_log_add(struct strbuf *log, const struct grading *g, const char *folder, const char *said,
                  size_t len);

#endif
