/*
 * form.h - what the printers share: reading a document whatever is in it, making its text safe for
 * the reader once more, and writing it out.
 *
 * A printer relies on neither maker: a member of a wrong type reads as missing, and every string
 * passes text_clean() again (which leaves clean text as it is), so that a document from elsewhere
 * prints as safely as our own.
 */
#ifndef IPCLAB_REPORT_FORM_H
#define IPCLAB_REPORT_FORM_H

#include <stdbool.h>
#include <stdio.h>

#include <cjson/cJSON.h>

#include "support/strbuf.h"

const cJSON *form_member(const cJSON *object, const char *key);
/* NULL where there is no such string. */
const char *form_raw(const cJSON *object, const char *key);
/* "" where there is none; the bytes are foreign. */
const char *form_string(const cJSON *object, const char *key);
bool form_is(const cJSON *object, const char *key, const char *value);
bool form_true(const cJSON *object, const char *key);
/* Graded, though not every program compiles: the log of the build is to be shown all the same. */
bool form_is_partly_built(const cJSON *document);
/* A whole number from 0 to 10^9, 0 where there is none. */
long form_count(const cJSON *object, const char *key);

/* Cleaned copies, to be freed by the caller; at most `max` bytes. */
char *form_line(const char *text, size_t max);
char *form_text(const char *text, size_t max);

bool form_failed(const cJSON *run); /* failed, crashed or timeout */
/* "failed", "crashed", "out of time", ...: what a person reads. */
const char *form_status_words(const cJSON *run);
/* The suite of "suite/name" is its first *len bytes; returns the name. */
const char *form_suite(const char *id, size_t *len);

/* "72 of 100 points and 5 bonus points", "no score". */
void form_score(struct strbuf *out, const cJSON *document);
/* "heap error in f (file.c:12), 16 bytes": one memory finding, cleaned. */
void form_finding(struct strbuf *out, const cJSON *finding);
/* "2 processes, 1 file"; nothing where all counts are 0. */
void form_leftovers(struct strbuf *out, const cJSON *leftovers);

/*
 * Writes `text` so that no CI host takes a part of it for a command of ours. GitHub's runner obeys
 * a line whose first characters behind white space are "::", and "##[" anywhere in a line; Azure
 * has "##vso[", TeamCity "##teamcity[". `colons` is written instead of such a "::", `bracket`
 * instead of such a "[".
 */
void form_write(FILE *out, const char *text, const char *colons, const char *bracket);

#endif
