/*
 * strbuf.h - a growing byte string.
 *
 * `text` always ends in a NUL that `len` does not count, so it can be handed to C string functions;
 * it may hold NULs of its own when it carries foreign bytes. A zeroed struct (STRBUF_INIT) is an
 * empty one. Memory that cannot be had ends in out_of_memory() (memory.h): no function here fails.
 */
#ifndef IPCLAB_SUPPORT_STRBUF_H
#define IPCLAB_SUPPORT_STRBUF_H

#include <stdarg.h>
#include <stddef.h>

struct strbuf {
    char *text;
    size_t len;
    size_t capacity;
};

extern char strbuf_empty[1];

#define STRBUF_INIT                                                                                \
    {                                                                                              \
        .text = strbuf_empty                                                                       \
    }

void strbuf_add(struct strbuf *s, const void *bytes, size_t len);
void strbuf_addstr(struct strbuf *s, const char *text);
void strbuf_addch(struct strbuf *s, char c);
void strbuf_addf(struct strbuf *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void strbuf_vaddf(struct strbuf *s, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

/* Shortens to `len` bytes; does nothing when it is shorter already. */
void strbuf_setlen(struct strbuf *s, size_t len);

/* Makes it empty and keeps the memory. */
void strbuf_reset(struct strbuf *s);

/* Gives the text to the caller, who frees it; `s` is empty afterwards. */
char *strbuf_detach(struct strbuf *s);

/* Frees the memory; `s` is empty afterwards and may be used again. */
void strbuf_release(struct strbuf *s);

#endif
