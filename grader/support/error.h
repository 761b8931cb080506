/*
 * error.h - what went wrong, in a sentence, and whose fault it is.
 *
 * Modules do not end the program and do not print: they return -1 (or NULL, or false) and fill the
 * caller's `struct error`. The text says what, where, why and, where there is one, what to do;
 * lower case, no full stop, the subject quoted with ''. The first error is kept: a later
 * error_set() on a filled struct is ignored, so that clean-up cannot hide the cause.
 */
#ifndef IPCLAB_SUPPORT_ERROR_H
#define IPCLAB_SUPPORT_ERROR_H

#include <stdarg.h>
#include <stdbool.h>

enum fault {
    FAULT_NONE = 0,
    FAULT_USAGE,      /* the caller of the command: exit status 2, no result */
    FAULT_SUBMISSION, /* what was handed in: status `rejected`, exit status 4 */
    FAULT_GRADER,     /* ours, or the machine's: status `grader_error`, exit status 3 */
};

struct error {
    enum fault fault;
    char text[1024]; /* valid UTF-8, printable: names from a submission are escaped by error_set */
};

#define ERROR_INIT                                                                                 \
    {                                                                                              \
        .fault = FAULT_NONE                                                                        \
    }

/* Always returns -1, so that `return error_set(...)` reads well. `err` may be NULL. */
int error_set(struct error *err, enum fault fault, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As error_set with FAULT_GRADER and ": strerror(errno)" behind the text. */
int error_errno(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "PREFIX: " before the text that is there; does nothing on an unset error. */
void error_prefix(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
