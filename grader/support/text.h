/*
 * text.h - makes foreign bytes safe to keep and to show.
 *
 * Everything that a submission says or is called passes through text_clean() before it enters a
 * result, so that a result is valid UTF-8 of bounded size; what prints it for one kind of reader
 * (terminal, XML, Markdown) uses that reader's escape besides.
 */
#ifndef IPCLAB_SUPPORT_TEXT_H
#define IPCLAB_SUPPORT_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "support/strbuf.h"

/*
 * Appends `bytes` as printable UTF-8: newline and tab stay; other control characters (C0, DEL, C1),
 * bytes that are no UTF-8, bidirectional and zero-width format characters (U+061C, U+200B-200F,
 * U+202A-202E, U+2060-2069, U+FEFF, U+E0000-E007F), unassigned-as-text code points
 * (surrogates, noncharacters, U+2028, U+2029) become \xNN or \u{N}. A backslash stays as it is.
 * At most `max` bytes are appended; what is longer keeps its head and tail around a line
 * "[... N bytes left out ...]".
 */
void text_clean(struct strbuf *out, const void *bytes, size_t len, size_t max);

/* The same on one line, for names and short pieces: newline and tab become \n and \t. */
void text_clean_line(struct strbuf *out, const void *bytes, size_t len, size_t max);

/* Appends `text`, which is clean already, escaped for XML text and attributes. */
void text_escape_xml(struct strbuf *out, const char *text);

/*
 * Appends `text`, clean already, so that GitHub Flavored Markdown shows it as plain text (no link,
 * mention, markup, HTML, table cell end); newlines become spaces.
 */
void text_escape_markdown(struct strbuf *out, const char *text);

/*
 * Appends `text` as a fenced code block whose fence is longer than any run of backticks in it.
 * Lines that a CI host would take for a command (beginning with "::" or "##[") get a space first.
 */
void text_fence_markdown(struct strbuf *out, const char *text);

/* True when `bytes` is well-formed UTF-8 without NUL. */
bool text_is_utf8(const void *bytes, size_t len);

#endif
