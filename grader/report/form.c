#include "report/form.h"

#include <stdlib.h>
#include <string.h>

#include "report/document.h"
#include "support/text.h"

const cJSON *form_member(const cJSON *object, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

const char *form_raw(const cJSON *object, const char *key)
{
    return cJSON_GetStringValue(form_member(object, key));
}

const char *form_string(const cJSON *object, const char *key)
{
    const char *text = form_raw(object, key);

    return text ? text : "";
}

bool form_is(const cJSON *object, const char *key, const char *value)
{
    return strcmp(form_string(object, key), value) == 0;
}

bool form_true(const cJSON *object, const char *key)
{
    return cJSON_IsTrue(form_member(object, key));
}

bool form_is_partly_built(const cJSON *document)
{
    return form_is(document, "status", "graded") &&
           !form_true(form_member(document, "build"), "ok");
}

long form_count(const cJSON *object, const char *key)
{
    return document_count(object, key);
}

char *form_line(const char *text, size_t max)
{
    struct strbuf clean = STRBUF_INIT;

    text_clean_line(&clean, text, strlen(text), max);
    return strbuf_detach(&clean);
}

char *form_text(const char *text, size_t max)
{
    struct strbuf clean = STRBUF_INIT;

    text_clean(&clean, text, strlen(text), max);
    return strbuf_detach(&clean);
}

bool form_failed(const cJSON *run)
{
    return form_is(run, "status", "failed") || form_is(run, "status", "crashed") ||
           form_is(run, "status", "timeout");
}

const char *form_status_words(const cJSON *run)
{
    static const char *const words[][2] = {
        {"passed", "passed"},
        {"failed", "failed"},
        {"crashed", "crashed"},
        {"timeout", "out of time"},
        {"not_measured", "not measured"},
        {"not_run", "not run"},
    };

    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (form_is(run, "status", words[i][0]))
            return words[i][1];
    }
    return "unknown";
}

const char *form_suite(const char *id, size_t *len)
{
    const char *slash = strchr(id, '/');

    *len = slash ? (size_t)(slash - id) : 0;
    return slash ? slash + 1 : id;
}

void form_score(struct strbuf *out, const cJSON *document)
{
    if (!cJSON_IsNumber(form_member(document, "score"))) {
        strbuf_addstr(out, "no score");
        return;
    }
    strbuf_addf(out, "%ld of %ld points", form_count(document, "score"),
                form_count(document, "max"));
    if (form_count(document, "bonus") > 0)
        strbuf_addf(out, " and %ld bonus", form_count(document, "bonus"));
}

static void add_clean(struct strbuf *out, const char *text)
{
    text_clean_line(out, text, strlen(text), DOCUMENT_LINE);
}

void form_finding(struct strbuf *out, const cJSON *finding)
{
    add_clean(out, *form_string(finding, "text") ? form_string(finding, "text")
                                                 : form_string(finding, "kind"));
    if (form_raw(finding, "function") != NULL) {
        strbuf_addstr(out, " in ");
        add_clean(out, form_string(finding, "function"));
    }
    if (form_raw(finding, "file") != NULL) {
        strbuf_addstr(out, " (");
        add_clean(out, form_string(finding, "file"));
        if (form_count(finding, "line") > 0)
            strbuf_addf(out, ":%ld", form_count(finding, "line"));
        strbuf_addch(out, ')');
    }
    if (form_count(finding, "bytes") > 0 && strstr(form_string(finding, "text"), "bytes") == NULL)
        strbuf_addf(out, ", %ld bytes", form_count(finding, "bytes"));
}

void form_leftovers(struct strbuf *out, const cJSON *leftovers)
{
    static const struct {
        const char *key, *one, *many;
    } kinds[] = {
        {"processes", "process", "processes"},
        {"shared_memory", "shared memory object", "shared memory objects"},
        {"queues", "message queue", "message queues"},
        {"sysv", "System V object", "System V objects"},
        {"files", "file", "files"},
    };
    const char *between = "";

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        long count = form_count(leftovers, kinds[i].key);

        if (count == 0)
            continue;
        strbuf_addf(out, "%s%ld %s", between, count, count == 1 ? kinds[i].one : kinds[i].many);
        between = ", ";
    }
}

/* The length of "##word[" at `p` without its bracket, or 0. */
static size_t host_command(const char *p)
{
    size_t len = 2;

    if (p[0] != '#' || p[1] != '#')
        return 0;
    while (p[len] >= 'a' && p[len] <= 'z')
        len++;
    return p[len] == '[' ? len : 0;
}

void form_write(FILE *out, const char *text, const char *colons, const char *bracket)
{
    bool leading = true; /* nothing but white space (of any script) has come in this line */
    size_t len;

    for (const char *p = text; *p != '\0';) {
        if (leading && strncmp(p, "::", 2) == 0) {
            fputs(colons, out);
            p += 2;
            leading = false;
        } else if ((len = host_command(p)) > 0) {
            fprintf(out, "%.*s%s", (int)len, p, bracket);
            p += len + 1;
            leading = false;
        } else {
            if (*p == '\n')
                leading = true;
            else if (*p > ' ' && *p < 0x7f)
                leading = false;
            fputc(*p++, out);
        }
    }
}
