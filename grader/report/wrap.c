#include "report/wrap.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "report/form.h"
#include "report/document.h"

/* The character at `p`, which is clean UTF-8, and its length. */
static uint32_t decode(const char *p, size_t *len)
{
    unsigned char first = (unsigned char)*p;
    uint32_t c;

    *len = first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    c = *len == 1 ? first : first & (0xffu >> (*len + 1));
    for (size_t i = 1; i < *len; i++)
        c = c << 6 | ((unsigned char)p[i] & 0x3f);
    return c;
}

/* wcwidth(3) would ask the locale, and the grader's is not the reader's. */
static size_t columns_of(uint32_t c)
{
    static const struct {
        uint32_t from, to, columns;
    } ranges[] = {
        {0x0300, 0x036f, 0}, {0x1100, 0x115f, 2}, {0x1ab0, 0x1aff, 0},   {0x1dc0, 0x1dff, 0},
        {0x20d0, 0x20ff, 0}, {0x2e80, 0x303e, 2}, {0x3041, 0xa4cf, 2},   {0xac00, 0xd7a3, 2},
        {0xf900, 0xfaff, 2}, {0xfe00, 0xfe0f, 0}, {0xfe20, 0xfe2f, 0},   {0xfe30, 0xfe6f, 2},
        {0xff00, 0xff60, 2}, {0xffe0, 0xffe6, 2}, {0x1f300, 0x1faff, 2}, {0x20000, 0x3fffd, 2},
    };

    for (size_t i = 0; c >= 0x300 && i < sizeof ranges / sizeof *ranges; i++) {
        if (c >= ranges[i].from && c <= ranges[i].to)
            return ranges[i].columns;
    }
    return 1;
}

size_t wrap_width(const char *text, size_t len)
{
    size_t width = 0;

    for (size_t i = 0, n; i < len && text[i] != '\0'; i += n)
        width += columns_of(decode(text + i, &n));
    return width;
}

/*
 * How many bytes of the line at `p` (`len` bytes) fit into `room` columns; at least one character.
 * With `at_spaces` the cut is behind the last space, if that is not in the line's first half.
 */
static size_t fitting(const char *p, size_t len, size_t room, bool at_spaces)
{
    size_t width = 0, space = 0, i = 0, n;

    for (; i < len; i += n) {
        width += columns_of(decode(p + i, &n));
        if (width > room && i > 0)
            break;
        if (p[i] == ' ')
            space = i + 1;
    }
    if (i >= len)
        return len;
    if (at_spaces && p[i] == ' ')
        return i;
    return at_spaces && space > i / 2 ? space : i;
}

static void put_left_out(struct strbuf *out, const char *indent, size_t lines)
{
    strbuf_addf(out, "%s[%zu more %s]\n", indent, lines, lines == 1 ? "line" : "lines");
}

static void wrap(struct strbuf *out, const char *text, const char *indent, size_t used,
                 size_t width, size_t max_lines, bool at_spaces)
{
    char *clean = form_text(text, DOCUMENT_LOG);
    size_t margin = wrap_width(indent, strlen(indent));
    size_t lines = 0, left_out = 0;

    for (char *tab = clean; (tab = strchr(tab, '\t')) != NULL;)
        *tab = ' ';
    for (const char *p = clean; *p != '\0' || lines == 0;) {
        size_t len = strcspn(p, "\n");
        bool first = true;

        while (len > 0 || first) {
            size_t room = lines == 0 ? width - used : width - margin;
            size_t take = fitting(p, len, room, at_spaces);
            size_t shown = take;

            first = false;
            while (at_spaces && shown > 0 && p[shown - 1] == ' ')
                shown--;
            if (lines < max_lines) {
                strbuf_addstr(out, lines == 0 ? "" : indent);
                strbuf_add(out, p, shown);
                strbuf_addch(out, '\n');
                lines++;
            } else {
                left_out++;
            }
            p += take;
            len -= take;
            while (at_spaces && len > 0 && *p == ' ') {
                p++;
                len--;
            }
        }
        if (*p == '\n')
            p++;
    }
    if (left_out > 0)
        put_left_out(out, indent, left_out);
    free(clean);
}

void wrap_text(struct strbuf *out, const char *text, const char *indent, size_t used, size_t width,
               size_t max_lines)
{
    wrap(out, text, indent, used, width, max_lines, true);
}

/* Behind `count` lines of `p`. */
static const char *behind_lines(const char *p, size_t count)
{
    for (; count > 0; count--)
        p = strchr(p, '\n') + 1;
    return p;
}

void wrap_lines(struct strbuf *out, const char *text, const char *indent, size_t width,
                size_t max_lines)
{
    struct strbuf all = STRBUF_INIT;
    size_t lines = 0;

    strbuf_addstr(&all, indent);
    wrap(&all, text, indent, wrap_width(indent, strlen(indent)), width, SIZE_MAX, false);
    for (size_t i = 0; i < all.len; i++)
        lines += all.text[i] == '\n';
    if (lines <= max_lines) {
        strbuf_add(out, all.text, all.len);
    } else {
        size_t tail = max_lines / 2, head = max_lines - tail;
        strbuf_add(out, all.text, (size_t)(behind_lines(all.text, head) - all.text));
        put_left_out(out, indent, lines - head - tail);
        strbuf_addstr(out, behind_lines(all.text, lines - tail));
    }
    strbuf_release(&all);
}
