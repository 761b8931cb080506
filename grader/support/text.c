#include "support/text.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/*
 * Decodes the character at `p` (up to `len` bytes, at least 1) into *c. Returns its length, or 0
 * when the bytes there are no well-formed UTF-8 (RFC 3629: shortest form, no surrogates).
 */
static size_t decode(const unsigned char *p, size_t len, uint32_t *c)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (p[0] < 0x80) {
        *c = p[0];
        return 1;
    }
    size_t n = p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : p[0] >= 0xC2 ? 2 : 0;
    if (n == 0 || n > len || p[0] > 0xF4)
        return 0;
    uint32_t value = p[0] & (0xFFu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
        value = value << 6 | (p[i] & 0x3F);
    }
    if (value < least[n] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
        return 0;
    *c = value;
    return n;
}

/* Characters that change how others look, or that a reader may take for an end of line. */
static bool is_hidden(uint32_t c)
{
    return c < 0x20 || (c >= 0x7F && c <= 0x9F) || c == 0x061C || (c >= 0x200B && c <= 0x200F) ||
           (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x2069) || c == 0xFEFF ||
           (c >= 0xFDD0 && c <= 0xFDEF) || (c & 0xFFFE) == 0xFFFE || (c >= 0xE0000 && c <= 0xE007F);
}

/* One unit of input and how it is shown. */
struct unit {
    size_t taken;
    size_t len;
    char shown[16];
};

static void unit_next(struct unit *u, const unsigned char *p, size_t len, bool line)
{
    uint32_t c;
    size_t n = decode(p, len, &c);
    int shown;
    if (n == 0 || (n == 1 && is_hidden(c))) {
        if (n == 1 && (c == '\n' || c == '\t')) {
            u->shown[0] = (char)c;
            shown = line ? snprintf(u->shown, sizeof u->shown, c == '\n' ? "\\n" : "\\t") : 1;
        } else {
            shown = snprintf(u->shown, sizeof u->shown, "\\x%02x", p[0]);
        }
        n = 1;
    } else if (is_hidden(c)) {
        shown = snprintf(u->shown, sizeof u->shown, "\\u{%x}", (unsigned)c);
    } else {
        memcpy(u->shown, p, n);
        shown = (int)n;
    }
    u->taken = n;
    u->len = (size_t)shown;
}

static size_t cleaned_len(const unsigned char *p, size_t len, bool line)
{
    struct unit u;
    size_t total = 0;
    for (size_t i = 0; i < len; i += u.taken) {
        unit_next(&u, p + i, len - i, line);
        total += u.len;
    }
    return total;
}

static void clean(struct strbuf *out, const unsigned char *p, size_t len, size_t max, bool line)
{
    enum { MARK = 48 }; /* more than the longest mark */
    struct unit u;
    size_t total = cleaned_len(p, len, line);
    bool whole = total <= max;
    bool tail_too = !whole && max >= 4 * MARK;
    size_t head = whole ? max : tail_too ? (max - MARK) / 2 : max;
    size_t tail = tail_too ? max - MARK - head : 0;

    size_t seen = 0, i = 0; /* `seen` counts cleaned bytes, `i` raw ones */
    for (; i < len; i += u.taken) {
        unit_next(&u, p + i, len - i, line);
        if (seen + u.len > head)
            break;
        strbuf_add(out, u.shown, u.len);
        seen += u.len;
    }
    if (!tail_too)
        return;
    size_t left_out = i;
    for (; i < len && total - seen > tail; i += u.taken) {
        unit_next(&u, p + i, len - i, line);
        seen += u.len;
    }
    left_out = i - left_out;
    strbuf_addf(out, line ? " [... %zu bytes left out ...] " : "\n[... %zu bytes left out ...]\n",
                left_out);
    for (; i < len; i += u.taken) {
        unit_next(&u, p + i, len - i, line);
        strbuf_add(out, u.shown, u.len);
    }
}

void text_clean(struct strbuf *out, const void *bytes, size_t len, size_t max)
{
    clean(out, bytes, len, max, false);
}

void text_clean_line(struct strbuf *out, const void *bytes, size_t len, size_t max)
{
    clean(out, bytes, len, max, true);
}

void text_escape_xml(struct strbuf *out, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '&':
            strbuf_addstr(out, "&amp;");
            break;
        case '<':
            strbuf_addstr(out, "&lt;");
            break;
        case '>':
            strbuf_addstr(out, "&gt;");
            break;
        case '"':
            strbuf_addstr(out, "&quot;");
            break;
        case '\'':
            strbuf_addstr(out, "&#39;");
            break;
        case '\n': /* an attribute's plain newline and tab would be read as spaces */
            strbuf_addstr(out, "&#10;");
            break;
        case '\t':
            strbuf_addstr(out, "&#9;");
            break;
        default:
            strbuf_addch(out, *text);
        }
    }
}

void text_escape_markdown(struct strbuf *out, const char *text)
{
    static const char punctuation[] = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
    text += strspn(text, " \t\n"); /* four spaces would begin a code block */
    for (; *text; text++) {
        char c = *text == '\n' || *text == '\t' ? ' ' : *text;
        if (strchr(punctuation, c))
            strbuf_addch(out, '\\');
        strbuf_addch(out, c);
        /* Hosts look for mentions and issue numbers in the text after backslashes are gone. */
        if (c == '@' || c == '#')
            strbuf_addstr(out, "<!-- -->");
    }
}

/*
 * Whether a CI host would see a command at `at`: "::" behind nothing but blanks (characters other
 * than ASCII may be blank too), or "##[", "##vso[", "##teamcity[" anywhere.
 */
static bool is_command(const char *line, size_t at, size_t len, bool blank_so_far)
{
    if (blank_so_far && at + 1 < len && line[at] == ':' && line[at + 1] == ':')
        return true;
    if (at + 2 >= len || line[at] != '#' || line[at + 1] != '#')
        return false;
    size_t i = at + 2;
    while (i < len && line[i] >= 'a' && line[i] <= 'z')
        i++;
    return i < len && line[i] == '[';
}

void text_fence_markdown(struct strbuf *out, const char *text)
{
    size_t longest = 0, run = 0;
    for (const char *p = text; *p; p++) {
        run = *p == '`' ? run + 1 : 0;
        longest = run > longest ? run : longest;
    }
    size_t fence = longest < 3 ? 3 : longest + 1;
    for (size_t i = 0; i < fence; i++)
        strbuf_addch(out, '`');
    strbuf_addch(out, '\n');
    while (*text) {
        size_t len = strcspn(text, "\n");
        bool blank = true;
        for (size_t i = 0; i < len; i++) {
            strbuf_addch(out, text[i]);
            if (is_command(text, i, len, blank))
                strbuf_addch(out, ' ');
            if ((unsigned char)text[i] > ' ' && (unsigned char)text[i] < 0x7F)
                blank = false;
        }
        strbuf_addch(out, '\n');
        text += len + (text[len] == '\n');
    }
    for (size_t i = 0; i < fence; i++)
        strbuf_addch(out, '`');
    strbuf_addch(out, '\n');
}

bool text_is_utf8(const void *bytes, size_t len)
{
    const unsigned char *p = bytes;
    uint32_t c;
    for (size_t i = 0; i < len;) {
        size_t n = decode(p + i, len - i, &c);
        if (n == 0 || c == 0)
            return false;
        i += n;
    }
    return true;
}
