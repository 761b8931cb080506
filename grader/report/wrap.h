/*
 * wrap.h - foreign text on a terminal: cleaned, then broken into lines that fit.
 */
#ifndef IPCLAB_REPORT_WRAP_H
#define IPCLAB_REPORT_WRAP_H

#include <stddef.h>

#include "support/strbuf.h"

/* How many columns the clean UTF-8 `text` takes on a terminal, to its end or `len`. */
size_t wrap_width(const char *text, size_t len);

/*
 * Appends `text` (cleaned here), broken at spaces to lines of at most `width` columns, a word that
 * is longer within itself. The first line follows what is in `out`; each further one begins with
 * `indent`, which counts into `width`. `used` columns of the first line are taken. At most
 * `max_lines` lines; where there are more a last one says how many. Ends in a newline.
 */
void wrap_text(struct strbuf *out, const char *text, const char *indent, size_t used, size_t width,
               size_t max_lines);

/* The same for text whose lines mean something (a compiler's log, a transcript): each line begins
 * with `indent` and is broken only where it is longer than `width`. Where there are more than
 * `max_lines`, the middle is left out: how it began and how it ended both tell. */
void wrap_lines(struct strbuf *out, const char *text, const char *indent, size_t width,
                size_t max_lines);

#endif
