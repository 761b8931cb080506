/*
 * document.h - what the two makers of documents share: results.c and feedback.c.
 *
 * Sizes are bounds of the strings in a document, in bytes; the schemas state them too.
 */
#ifndef IPCLAB_REPORT_DOCUMENT_H
#define IPCLAB_REPORT_DOCUMENT_H

#include <cjson/cJSON.h>

enum {
    DOCUMENT_VERSION = 1,
    DOCUMENT_LINE = 1024,    /* names, sentences, commands */
    DOCUMENT_MESSAGE = 8192, /* each of expected and got */
    DOCUMENT_TRANSCRIPT = 32768,
    DOCUMENT_LOG = 65536,        /* what the compiler said */
    DOCUMENT_FINDINGS = 50,      /* memory findings of one run */
    DOCUMENT_ALL_FINDINGS = 200, /* of all runs */
    DOCUMENT_CALLS = 100,        /* kinds of refused calls */
    DOCUMENT_COUNT = 1000000000, /* largest count */
};

/* A count as the document holds it: a whole number from 0 to DOCUMENT_COUNT, whatever came. */
long document_count(const cJSON *object, const char *key);

/*
 * Adds memory_findings, refused_calls and leftovers to `document`: sums over `runs`, whose items
 * are runs of the same document. So feedback's sums are over what feedback holds.
 */
void document_add_sums(cJSON *document, const cJSON *runs);

/* Adds to `out` the five counts of `leftovers` (an object or NULL: all 0). */
void document_add_leftovers(cJSON *out, const char *key, const cJSON *leftovers);

#endif
