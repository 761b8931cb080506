#include "support/strbuf.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/memory.h"

char strbuf_empty[1];

/* Makes room for `extra` bytes and the NUL. */
static void grow(struct strbuf *s, size_t extra)
{
    if (extra >= SIZE_MAX / 2 - s->len)
        out_of_memory();
    size_t need = s->len + extra + 1;
    if (need <= s->capacity)
        return;
    size_t capacity = s->capacity ? s->capacity : 32;
    while (capacity < need)
        capacity *= 2;
    s->text = xrealloc(s->capacity ? s->text : NULL, capacity);
    s->capacity = capacity;
    s->text[s->len] = '\0';
}

void strbuf_add(struct strbuf *s, const void *bytes, size_t len)
{
    grow(s, len);
    if (len > 0)
        memcpy(s->text + s->len, bytes, len);
    s->len += len;
    s->text[s->len] = '\0';
}

void strbuf_addstr(struct strbuf *s, const char *text)
{
    strbuf_add(s, text, strlen(text));
}

void strbuf_addch(struct strbuf *s, char c)
{
    strbuf_add(s, &c, 1);
}

void strbuf_vaddf(struct strbuf *s, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (len < 0)
        out_of_memory(); /* over INT_MAX bytes: nothing that we format is */
    grow(s, (size_t)len);
    vsnprintf(s->text + s->len, (size_t)len + 1, format, args);
    s->len += (size_t)len;
}

void strbuf_addf(struct strbuf *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    strbuf_vaddf(s, format, args);
    va_end(args);
}

void strbuf_setlen(struct strbuf *s, size_t len)
{
    if (len >= s->len)
        return;
    s->len = len;
    s->text[len] = '\0';
}

void strbuf_reset(struct strbuf *s)
{
    strbuf_setlen(s, 0);
}

char *strbuf_detach(struct strbuf *s)
{
    grow(s, 0); /* an empty one has no memory of its own yet */
    char *text = s->text;
    *s = (struct strbuf)STRBUF_INIT;
    return text;
}

void strbuf_release(struct strbuf *s)
{
    if (s->capacity)
        free(s->text);
    *s = (struct strbuf)STRBUF_INIT;
}
