#include "build/build_log.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "intake/intake.h"
#include "support/memory.h"

static bool begins(const char *text, size_t len, const char *word)
{
    size_t n = strlen(word);
    return len >= n && memcmp(text, word, n) == 0;
}

/* Length of a temporary file's name, "ccXXXXXX.o", at `text`; else 0. */
static size_t temporary_len(const char *text, size_t len)
{
    enum { RANDOM = 6 };
    if (!begins(text, len, "cc") || len < 2 + RANDOM + 2)
        return 0;
    for (size_t i = 2; i < 2 + RANDOM; i++) {
        if (!isalnum((unsigned char)text[i]))
            return 0;
    }
    if (text[2 + RANDOM] != '.')
        return 0;
    size_t end = 2 + RANDOM + 1;
    while (end < len && isalpha((unsigned char)text[end]))
        end++;
    return end;
}

/* Copies `said` without the build folder's name. */
static void strip_folder(struct strbuf *out, const char *folder, const char *said, size_t len)
{
    char *prefix = xasprintf("%s/", folder), *temporary = xasprintf("%s/tmp/", folder);
    for (size_t i = 0; i < len;) {
        const char *p = said + i;
        size_t name = 0;
        if (begins(p, len - i, temporary))
            name = temporary_len(p + strlen(temporary), len - i - strlen(temporary));
        if (name > 0) {
            strbuf_addstr(out, "(object)");
            i += strlen(temporary) + name;
        } else if (begins(p, len - i, prefix)) {
            i += strlen(prefix);
        } else if (begins(p, len - i, "/usr/bin/ld: ")) {
            i += strlen("/usr/bin/");
        } else if (begins(p, len - i, "./") && (i == 0 || strchr("\n /", p[-1]))) {
            i += strlen("./"); /* the folder's name in debug information */
        } else {
            strbuf_addch(out, *p);
            i++;
        }
    }
    free(prefix);
    free(temporary);
}

/* "   12 | text" and "      | ^~~~": a line of source that the compiler shows. */
static bool is_quote(const char *line, size_t len)
{
    size_t i = 0;
    while (i < len && (line[i] == ' ' || isdigit((unsigned char)line[i]) || line[i] == '+'))
        i++;
    return i > 0 && i < len && line[i] == '|';
}

/* A file of the lab, a header of the system, or a tool's own name. */
static bool may_be_quoted(const struct grading *g, const char *name)
{
    static const char *const tools[] = {"gcc", "cc1", "collect2", "lto1", "ld", "as", NULL};
    static const char *const beginnings[] = {"/usr/include/", "/usr/lib/", "<", "(", "{", NULL};
    if (strncmp(name, "./", 2) == 0)
        name += 2;
    if (strstr(name, "..") == NULL) {
        for (int i = 0; beginnings[i]; i++) {
            if (strncmp(name, beginnings[i], strlen(beginnings[i])) == 0)
                return true;
        }
    }
    for (int i = 0; tools[i]; i++) {
        if (strcmp(name, tools[i]) == 0)
            return true;
    }
    for (size_t i = 0; g->manifest.given && g->manifest.given[i]; i++) {
        if (strcmp(name, g->manifest.given[i]) == 0)
            return true;
    }
    return intake_listed(&g->manifest, name) >= 0;
}

struct filter {
    const struct grading *g;
    struct strbuf *log;
    bool open;  /* whether lines pass now */
    char *left; /* the file that was left out last: told once in a row */
    int warnings;
};

static void pass(struct filter *f, const char *line, size_t len)
{
    strbuf_add(f->log, line, len);
    strbuf_addch(f->log, '\n');
    if (memmem(line, len, ": warning: ", strlen(": warning: ")))
        f->warnings++;
}

static void filter_line(struct filter *f, const char *line, size_t len)
{
    const char *colon = memchr(line, ':', len);
    bool chain =
        begins(line, len, "In file included from ") || begins(line, len, "                 from ");
    if (chain || is_quote(line, len) || !colon) {
        if (chain || f->open)
            pass(f, line, len);
        return;
    }
    char *name = xstrndup(line, (size_t)(colon - line));
    f->open = strlen(name) == (size_t)(colon - line) && may_be_quoted(f->g, name);
    if (f->open) {
        pass(f, line, len);
    } else if (!f->left || strcmp(f->left, name) != 0) {
        strbuf_addf(f->log, "%s: (left out: not a file of the lab)\n", name);
        free(f->left);
        f->left = xstrdup(name);
    }
    free(name);
}

int build_log_add(struct strbuf *log, const struct grading *g, const char *folder, const char *said,
                  size_t len)
{
    struct strbuf text = STRBUF_INIT;
    struct filter f = {.g = g, .log = log, .open = true};
    strip_folder(&text, folder, said, len);
    for (size_t i = 0; i < text.len;) {
        const char *end = memchr(text.text + i, '\n', text.len - i);
        size_t n = end ? (size_t)(end - text.text) - i : text.len - i;
        filter_line(&f, text.text + i, n);
        i += n + 1;
    }
    free(f.left);
    strbuf_release(&text);
    return f.warnings;
}
