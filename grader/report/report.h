/*
 * report.h - the last stage: results.json, feedback.json, and the forms that are printed.
 *
 * results.json holds everything (results.schema.json). feedback.json is what a student may see,
 * made from it by one filter that copies what is allowed (feedback.schema.json). Every other form
 * is a pure printer of one of these two documents.
 */
#ifndef IPCLAB_REPORT_REPORT_H
#define IPCLAB_REPORT_REPORT_H

#include <stdio.h>

#include <cjson/cJSON.h>

#include "grading.h"

/* The whole result as a new document. Never fails; the caller frees it with cJSON_Delete. */
cJSON *results_make(const struct grading *g);

/* What a student may see of it, as a new document. */
cJSON *feedback_make(const cJSON *results);

/*
 * Writes results.json (mode 0600) to `output`, then feedback.json (0644) beside it. 0, or -1 and
 * `err`: FAULT_USAGE when `output` is called feedback.json, else FAULT_GRADER.
 *
 * What exists at `output` and is no regular file is written to, never replaced, and gets no
 * feedback.json; a FIFO without a reader is an error at once, one that is not drained after 30 s.
 * /dev/stdout, /dev/stderr and /dev/fd/N are our own descriptors. A symbolic link to a regular file
 * or to nothing is replaced: what it points to may not be ours.
 */
int report_write(const char *output, const cJSON *results, const cJSON *feedback,
                 struct error *err);

/* Printers: `document` is results or feedback; both have the members that they read. */
enum report_color { COLOR_NEVER, COLOR_ALWAYS };
void report_table(FILE *out, const cJSON *document, enum report_color color, int columns);
void report_json(FILE *out, const cJSON *document);
void report_junit(FILE *out, const cJSON *document);
void report_markdown(FILE *out, const cJSON *document);

typedef void report_printer(FILE *out, const cJSON *document);
/* The printer of --format NAME (without table's color and columns), or NULL. */
report_printer *report_find(const char *name);

#endif
