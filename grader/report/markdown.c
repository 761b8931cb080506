/*
 * GitHub Flavored Markdown, for a job's summary: the score, a table of tests, what failed in
 * sections that open. Everything foreign is escaped as plain text or stands in a fenced block. A
 * summary holds 1 MiB: texts are cut to a few KiB each, and the rest is in feedback.json.
 */
#include "report/report.h"

#include <stdlib.h>
#include <string.h>

#include "report/document.h"
#include "report/form.h"
#include "support/strbuf.h"
#include "support/text.h"

enum { TEXT_MAX = 2048, LOG_MAX = 16384, DETAILS_MAX = 60 };

static void add_plain(struct strbuf *out, const char *text, size_t max)
{
    char *clean = form_text(text, max);

    text_escape_markdown(out, clean);
    free(clean);
}

static void add_fence(struct strbuf *out, const char *text, size_t max)
{
    char *clean = form_text(text, max);

    strbuf_addch(out, '\n');
    text_fence_markdown(out, clean);
    strbuf_addch(out, '\n');
    free(clean);
}

static void add_row(struct strbuf *out, const char *test, const cJSON *run)
{
    bool counts = !form_is(run, "status", "not_measured") && !form_is(run, "status", "not_run");

    strbuf_addf(out, "| %s | ", form_status_words(run));
    add_plain(out, test, DOCUMENT_LINE);
    strbuf_addstr(out, " | ");
    add_plain(out, form_string(run, "concept"), DOCUMENT_LINE);
    if (counts)
        strbuf_addf(out, " | %ld of %ld%s |\n", form_count(run, "points"), form_count(run, "max"),
                    form_true(run, "bonus") ? " (bonus)" : "");
    else
        strbuf_addstr(out, " | not counted |\n");
}

static void add_tables(struct strbuf *out, const cJSON *document)
{
    const cJSON *runs = form_member(document, "runs");
    const cJSON *hidden = form_member(document, "hidden");
    const cJSON *item;

    if (cJSON_GetArraySize(runs) > 0)
        strbuf_addstr(out, "\n| | test | concept | points |\n|---|---|---|---|\n");
    cJSON_ArrayForEach (item, runs) {
        add_row(out, form_string(item, "test"), item);
    }
    if (cJSON_GetArraySize(hidden) > 0)
        strbuf_addstr(out, "\n| hidden tests | passed | points |\n|---|---|---|\n");
    cJSON_ArrayForEach (item, hidden) {
        strbuf_addstr(out, "| ");
        add_plain(out, form_string(item, "concept"), DOCUMENT_LINE);
        strbuf_addf(out, " | %ld of %ld | %ld of %ld |\n", form_count(item, "passed"),
                    form_count(item, "tests"), form_count(item, "points"), form_count(item, "max"));
    }
}

static void add_labelled(struct strbuf *out, const char *label, const char *text)
{
    if (*text == '\0')
        return;
    strbuf_addf(out, "- **%s**: ", label);
    add_plain(out, text, TEXT_MAX);
    strbuf_addch(out, '\n');
}

static void add_details(struct strbuf *out, const char *test, const cJSON *run)
{
    const cJSON *message = form_member(run, "message");
    const cJSON *finding;
    char *name = form_line(test, DOCUMENT_LINE);

    /* Inside <summary> Markdown may not be read: HTML's own escape serves in both readings. */
    strbuf_addstr(out, "\n<details><summary>");
    text_escape_xml(out, name);
    strbuf_addf(out, ": %s</summary>\n\n", form_status_words(run));
    add_labelled(out, "expected", form_string(message, "expected"));
    add_labelled(out, "got", form_string(message, "got"));
    cJSON_ArrayForEach (finding, form_member(run, "memory")) {
        struct strbuf line = STRBUF_INIT;

        form_finding(&line, finding);
        add_labelled(out, "memory", line.text);
        strbuf_release(&line);
    }
    add_labelled(out, "see the handout", form_string(message, "see"));
    add_labelled(out, "hint", form_string(run, "hint"));
    if (*form_string(run, "repeat") != '\0') {
        strbuf_addstr(out, "\nRepeat it:\n");
        add_fence(out, form_string(run, "repeat"), DOCUMENT_LINE);
    }
    strbuf_addstr(out, "\n</details>\n");
    free(name);
}

static void add_failures(struct strbuf *out, const cJSON *document)
{
    const cJSON *run, *entry;
    int shown = 0;

    cJSON_ArrayForEach (run, form_member(document, "runs")) {
        if (form_failed(run) && shown++ < DETAILS_MAX)
            add_details(out, form_string(run, "test"), run);
    }
    cJSON_ArrayForEach (entry, form_member(document, "hidden")) {
        cJSON_ArrayForEach (run, form_member(entry, "runs")) {
            struct strbuf name = STRBUF_INIT;

            if (!cJSON_IsObject(form_member(run, "message")) || shown++ >= DETAILS_MAX)
                continue;
            strbuf_addf(&name, "hidden test of '%s'", form_string(entry, "concept"));
            add_details(out, name.text, run);
            strbuf_release(&name);
        }
    }
    if (shown > DETAILS_MAX)
        strbuf_addf(out, "\n%d more failed: feedback.json has them.\n", shown - DETAILS_MAX);
}

static void add_notes(struct strbuf *out, const cJSON *document)
{
    struct strbuf left = STRBUF_INIT;
    const cJSON *item;

    cJSON_ArrayForEach (item, form_member(document, "refused_calls")) {
        strbuf_addstr(out, "- refused: ");
        add_plain(out, form_string(item, "call"), DOCUMENT_LINE);
        strbuf_addf(out, ", %ld %s: ", form_count(item, "count"),
                    form_count(item, "count") == 1 ? "time" : "times");
        add_plain(out, form_string(item, "rule"), DOCUMENT_LINE);
        strbuf_addch(out, '\n');
    }
    form_leftovers(&left, form_member(document, "leftovers"));
    if (left.len > 0)
        strbuf_addf(out, "- left behind by the programs: %s\n", left.text);
    if (form_count(form_member(document, "build"), "warnings") > 0)
        strbuf_addf(out, "- the compiler's warnings: %ld\n",
                    form_count(form_member(document, "build"), "warnings"));
    if (form_count(document, "hidden_points") > 0)
        strbuf_addf(out, "- %ld more points are in hidden tests, which were not run here\n",
                    form_count(document, "hidden_points"));
    if (!form_true(document, "official"))
        strbuf_addstr(out, "- this is feedback, not a grade\n");
    cJSON_ArrayForEach (item, form_member(document, "not_official")) {
        if (cJSON_IsString(item))
            add_labelled(out, "not official", item->valuestring);
    }
    strbuf_release(&left);
}

void report_markdown(FILE *out, const cJSON *document)
{
    struct strbuf md = STRBUF_INIT;
    const cJSON *build = form_member(document, "build");
    bool stopped =
        form_is(document, "status", "rejected") || form_is(document, "status", "build_failed");

    strbuf_addstr(&md, "## ");
    add_plain(&md, form_string(document, "lab"), DOCUMENT_LINE);
    strbuf_addstr(&md, ": ");
    form_score(&md, document);
    strbuf_addstr(&md, "\n\n");
    add_plain(&md, form_string(document, "title"), DOCUMENT_LINE);
    strbuf_addstr(&md, ", submission ");
    add_plain(&md, form_string(form_member(document, "submission"), "id"), DOCUMENT_LINE);
    strbuf_addstr(&md, "\n\n");
    if (!form_is(document, "status", "graded")) {
        strbuf_addstr(&md, "**");
        add_plain(&md, form_string(document, "status"), DOCUMENT_LINE);
        strbuf_addstr(&md, "**: ");
        add_plain(&md, form_string(document, "reason"), DOCUMENT_LINE);
        strbuf_addch(&md, '\n');
    }
    if (form_is_partly_built(document))
        strbuf_addstr(&md, "**Not every program compiles; the tests of those that don't fail:**\n");
    if (form_is_partly_built(document) || form_is(document, "status", "build_failed"))
        add_fence(&md, form_string(build, "log"), LOG_MAX);
    if (!stopped) {
        add_tables(&md, document);
        add_failures(&md, document);
    }
    strbuf_addch(&md, '\n');
    add_notes(&md, document);
    form_write(out, md.text, "\\::", "\\[");
    strbuf_release(&md);
}
