#include "support/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "support/strbuf.h"
#include "support/text.h"

/* Cleaned on the way in: a message quotes names that a submission chose. */
static void keep(struct error *err, const struct strbuf *raw)
{
    struct strbuf clean = STRBUF_INIT;
    text_clean_line(&clean, raw->text, raw->len, sizeof err->text - 1);
    memcpy(err->text, clean.text, clean.len + 1);
    strbuf_release(&clean);
}

static int fill(struct error *err, enum fault fault, const char *suffix, const char *format,
                va_list args)
{
    if (err && err->fault == FAULT_NONE) {
        struct strbuf raw = STRBUF_INIT;
        strbuf_vaddf(&raw, format, args);
        strbuf_addstr(&raw, suffix);
        keep(err, &raw);
        err->fault = fault;
        strbuf_release(&raw);
    }
    return -1;
}

int error_set(struct error *err, enum fault fault, const char *format, ...)
{
    int saved = errno;
    va_list args;
    va_start(args, format);
    int result = fill(err, fault, "", format, args);
    va_end(args);
    errno = saved;
    return result;
}

int error_errno(struct error *err, const char *format, ...)
{
    int saved = errno;
    char suffix[256];
    va_list args;
    snprintf(suffix, sizeof(suffix), ": %s", strerror(saved));
    va_start(args, format);
    int result = fill(err, FAULT_GRADER, suffix, format, args);
    va_end(args);
    errno = saved;
    return result;
}

void error_prefix(struct error *err, const char *format, ...)
{
    if (!err || err->fault == FAULT_NONE)
        return;
    struct strbuf raw = STRBUF_INIT;
    va_list args;
    va_start(args, format);
    strbuf_vaddf(&raw, format, args);
    va_end(args);
    strbuf_addf(&raw, ": %s", err->text);
    keep(err, &raw);
    strbuf_release(&raw);
}
