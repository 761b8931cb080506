/*
 * What a person sees in a terminal. From top to bottom: which submission, one line a test, the
 * score, and what to do about each test that failed; where that is long the score once more, since
 * the end is what stands on the screen. Plain ASCII of our own, so that every terminal shows it.
 */
#include "report/report.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "report/document.h"
#include "report/form.h"
#include "report/wrap.h"
#include "support/strbuf.h"

enum {
    COLUMNS_MIN = 40,
    COLUMNS_MAX = 100, /* longer lines are hard to read */
    MESSAGE_LINES = 12,
    LOG_LINES = 40,
    TRANSCRIPT_LINES = 60,
    FINDINGS_SHOWN = 4,
};

enum style { PLAIN, BOLD, GREEN, RED, YELLOW, DIM };

struct table {
    struct strbuf text;
    size_t width;
    bool color;
    int failures; /* blocks printed */
};

static void put(struct table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(struct table *t, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    strbuf_vaddf(&t->text, format, args);
    va_end(args);
}

static const char *begin(const struct table *t, enum style style)
{
    static const char *const codes[] = {"",         "\033[1m",  "\033[32m",
                                        "\033[31m", "\033[33m", "\033[2m"};

    return t->color ? codes[style] : "";
}

static const char *end(const struct table *t, enum style style)
{
    return t->color && style != PLAIN ? "\033[0m" : "";
}

/* "  label     text, wrapped under itself": the shape of everything that is said. */
static void put_labelled(struct table *t, const char *label, enum style style, const char *text,
                         size_t lines)
{
    enum { LABEL = 10 };

    if (*text == '\0')
        return;
    put(t, "  %s%-*s%s", begin(t, style), LABEL, label, end(t, style));
    wrap_text(&t->text, text, "            ", LABEL + 2, t->width, lines);
}

static void put_wrapped(struct table *t, enum style style, const char *text)
{
    put(t, "%s", begin(t, style));
    wrap_text(&t->text, text, "", 0, t->width, MESSAGE_LINES);
    strbuf_setlen(&t->text, t->text.len - 1);
    put(t, "%s\n", end(t, style));
}

/* ---- the head ---- */

static void put_head(struct table *t, const cJSON *document)
{
    const cJSON *submission = form_member(document, "submission");
    struct strbuf line = STRBUF_INIT;

    strbuf_addf(&line, "%s: %s", form_string(document, "lab"), form_string(document, "title"));
    put_wrapped(t, BOLD, line.text);
    strbuf_reset(&line);
    strbuf_addstr(&line, form_string(submission, "id"));
    if (*form_string(submission, "sha256") != '\0')
        strbuf_addf(&line, " (sha256 %.12s...)", form_string(submission, "sha256"));
    put_labelled(t, "graded", DIM, line.text, 3);
    put_labelled(t, "received", DIM, form_string(submission, "received_at"), 1);
    if (form_count(submission, "ignored_count") > 0) {
        const cJSON *name;

        strbuf_reset(&line);
        strbuf_addf(&line, "%ld not part of this lab:", form_count(submission, "ignored_count"));
        cJSON_ArrayForEach (name, form_member(submission, "ignored")) {
            strbuf_addf(&line, " %s", cJSON_IsString(name) ? name->valuestring : "?");
        }
        put_labelled(t, "left out", DIM, line.text, 2);
    }
    if (form_count(form_member(document, "build"), "warnings") > 0) {
        long warnings = form_count(form_member(document, "build"), "warnings");

        strbuf_reset(&line);
        strbuf_addf(&line, "%ld from the compiler: 'make' shows %s", warnings,
                    warnings == 1 ? "it" : "them");
        put_labelled(t, "warnings", YELLOW, line.text, 1);
    }
    strbuf_release(&line);
}

/* ---- one line a test ---- */

static enum style mark_of(const cJSON *run, const char **mark)
{
    static const struct {
        const char *status, *mark;
        enum style style;
    } marks[] = {
        {"passed", "ok", GREEN},
        {"failed", "FAIL", RED},
        {"crashed", "CRASH", RED},
        {"timeout", "TIME", RED},
    };

    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        if (form_is(run, "status", marks[i].status)) {
            *mark = marks[i].mark;
            return marks[i].style;
        }
    }
    *mark = "-";
    return YELLOW;
}

static void put_row(struct table *t, enum style style, const char *mark, long points, long max,
                    bool counts, const char *text)
{
    enum { ROW = 16 };

    put(t, "  %s%-5s%s  ", begin(t, style), mark, end(t, style));
    if (counts)
        put(t, "%2ld/%-3ld ", points, max);
    else
        put(t, " -/%-3ld ", max);
    wrap_text(&t->text, text, "                ", ROW, t->width, 4);
}

static void put_run(struct table *t, const cJSON *run)
{
    struct strbuf text = STRBUF_INIT;
    size_t len;
    const char *mark;
    enum style style = mark_of(run, &mark);
    bool counts = style != YELLOW;

    strbuf_addstr(&text, form_suite(form_string(run, "test"), &len));
    if (form_true(run, "bonus"))
        strbuf_addstr(&text, " (bonus)");
    if (!form_is(run, "visibility", "public"))
        strbuf_addstr(&text, " (hidden)");
    if (!counts)
        strbuf_addf(&text, ": %s", form_status_words(run));
    put_row(t, style, mark, form_count(run, "points"), form_count(run, "max"), counts, text.text);
    strbuf_release(&text);
}

/* The points of the suite that begins at `run`, bonus and not measured ones apart. */
static void put_suite_head(struct table *t, const cJSON *run)
{
    size_t len, other;
    long points = 0, max = 0;
    const char *suite = form_string(run, "test");
    char *name;

    form_suite(suite, &len);
    for (; run != NULL; run = run->next) {
        const char *mark, *id = form_string(run, "test");

        form_suite(id, &other);
        if (other != len || strncmp(id, suite, len) != 0)
            break;
        if (form_true(run, "bonus") || mark_of(run, &mark) == YELLOW)
            continue;
        points += form_count(run, "points");
        max += form_count(run, "max");
    }
    name = form_line(suite, DOCUMENT_LINE);
    put(t, "\n%s%.*s%s", begin(t, BOLD), (int)len, name, end(t, BOLD));
    if (max > 0)
        put(t, "  %ld of %ld", points, max);
    put(t, "\n");
    free(name);
}

static void put_hidden(struct table *t, const cJSON *document)
{
    const cJSON *hidden = form_member(document, "hidden"), *entry;
    long points = 0, max = 0;

    if (cJSON_GetArraySize(hidden) == 0)
        return;
    cJSON_ArrayForEach (entry, hidden) {
        points += form_count(entry, "points");
        max += form_count(entry, "max");
    }
    put(t, "\n%shidden tests, by concept%s  %ld of %ld\n", begin(t, BOLD), end(t, BOLD), points,
        max);
    cJSON_ArrayForEach (entry, hidden) {
        long tests = form_count(entry, "tests"), passed = form_count(entry, "passed");
        struct strbuf text = STRBUF_INIT;
        bool failed = false;
        const cJSON *run;

        cJSON_ArrayForEach (run, form_member(entry, "runs")) {
            failed |= form_failed(run);
        }
        strbuf_addstr(&text, form_string(entry, "concept"));
        if (failed || passed > 0)
            strbuf_addf(&text, ": %ld of %ld passed", passed, tests);
        else
            strbuf_addstr(&text, ": not measured");
        put_row(t,
                failed            ? RED
                : passed == tests ? GREEN
                                  : YELLOW,
                failed            ? "FAIL"
                : passed == tests ? "ok"
                                  : "-",
                form_count(entry, "points"), form_count(entry, "max"), failed || passed > 0,
                text.text);
        strbuf_release(&text);
    }
}

static void put_tests(struct table *t, const cJSON *document)
{
    const char *suite = "";
    size_t suite_len = SIZE_MAX, len;
    const cJSON *run;

    cJSON_ArrayForEach (run, form_member(document, "runs")) {
        const char *id = form_string(run, "test");

        if (form_is(run, "status", "not_run"))
            continue; /* the grader failed before it: nothing to say of the test */
        form_suite(id, &len);
        if (len != suite_len || strncmp(id, suite, len) != 0)
            put_suite_head(t, run);
        suite = id;
        suite_len = len;
        put_run(t, run);
    }
    if (!form_is(document, "status", "grader_error"))
        put_hidden(t, document);
}

/* ---- one block a failure ---- */

static void put_message(struct table *t, const cJSON *run)
{
    const cJSON *message = form_member(run, "message"), *finding;
    struct strbuf line = STRBUF_INIT;
    int shown = 0;

    put_labelled(t, "expected", PLAIN, form_string(message, "expected"), MESSAGE_LINES);
    put_labelled(t, form_is(run, "status", "not_measured") ? "why" : "got", PLAIN,
                 form_string(message, "got"), MESSAGE_LINES);
    cJSON_ArrayForEach (finding, form_member(run, "memory")) {
        strbuf_reset(&line);
        form_finding(&line, finding);
        if (shown++ < FINDINGS_SHOWN)
            put_labelled(t, "memory", PLAIN, line.text, 4);
    }
    if (shown > FINDINGS_SHOWN) {
        strbuf_reset(&line);
        strbuf_addf(&line, "%d more findings", shown - FINDINGS_SHOWN);
        put_labelled(t, "", PLAIN, line.text, 1);
    }
    if (*form_string(message, "see") != '\0') {
        strbuf_reset(&line);
        strbuf_addf(&line, "\"%s\" in the handout", form_string(message, "see"));
        put_labelled(t, "see", PLAIN, line.text, 3);
    }
    put_labelled(t, "hint", PLAIN, form_string(run, "hint"), MESSAGE_LINES);
    strbuf_release(&line);
}

static void put_failure(struct table *t, const cJSON *run, const char *title, bool transcript)
{
    struct strbuf head = STRBUF_INIT;
    const char *mark;
    enum style style = mark_of(run, &mark);

    strbuf_addf(&head, "%s: %s", title, form_status_words(run));
    if (form_is(run, "status", "timeout"))
        strbuf_addstr(&head, " twice, the second time alone");
    put(t, "\n");
    put_wrapped(t, style, head.text);
    strbuf_release(&head);
    put_message(t, run);
    if (transcript && *form_string(run, "transcript") != '\0') {
        put(t, "  what happened\n");
        wrap_lines(&t->text, form_string(run, "transcript"), "  | ", t->width, TRANSCRIPT_LINES);
    }
    if (*form_string(run, "repeat") != '\0') {
        /* In one piece, however long: it is there to be copied. */
        char *command = form_line(form_string(run, "repeat"), DOCUMENT_LINE);

        put(t, "  %-10s%s\n", "repeat", command);
        free(command);
    }
    t->failures++;
}

static void put_failures(struct table *t, const cJSON *document)
{
    const cJSON *runs = form_member(document, "runs"), *run, *entry;
    bool single = cJSON_GetArraySize(runs) == 1;

    cJSON_ArrayForEach (run, runs) {
        if (form_failed(run))
            put_failure(t, run, form_string(run, "test"), single);
        else if (form_is(run, "status", "not_measured") &&
                 *form_string(form_member(run, "message"), "got") != '\0')
            put_failure(t, run, form_string(run, "test"), false);
    }
    cJSON_ArrayForEach (entry, form_member(document, "hidden")) {
        cJSON_ArrayForEach (run, form_member(entry, "runs")) {
            struct strbuf title = STRBUF_INIT;

            if (!cJSON_IsObject(form_member(run, "message")))
                continue;
            strbuf_addf(&title, "hidden test of '%s'", form_string(entry, "concept"));
            put_failure(t, run, title.text, *form_string(run, "transcript") != '\0');
            strbuf_release(&title);
        }
    }
}

/* ---- the end ---- */

static void put_score(struct table *t, const cJSON *document)
{
    struct strbuf line = STRBUF_INIT;

    if (!form_is(document, "status", "grader_error"))
        strbuf_addstr(&line, "score: ");
    form_score(&line, document);
    if (!form_true(document, "official"))
        strbuf_addstr(&line, " (feedback, not an official grade)");
    put(t, "\n");
    put_wrapped(t, BOLD, line.text);
    strbuf_release(&line);
}

static void put_notes(struct table *t, const cJSON *document)
{
    struct strbuf line = STRBUF_INIT;
    const cJSON *item;

    if (form_count(document, "hidden_points") > 0) {
        strbuf_addf(&line, "%ld more points are in hidden tests, which were not run here",
                    form_count(document, "hidden_points"));
        put_labelled(t, "hidden", PLAIN, line.text, 2);
    }
    cJSON_ArrayForEach (item, form_member(document, "not_official")) {
        if (cJSON_IsString(item))
            put_labelled(t, "why", PLAIN, item->valuestring, MESSAGE_LINES);
    }
    cJSON_ArrayForEach (item, form_member(document, "refused_calls")) {
        long count = form_count(item, "count");

        strbuf_reset(&line);
        strbuf_addf(&line, "%s, %ld %s: %s", form_string(item, "call"), count,
                    count == 1 ? "time" : "times", form_string(item, "rule"));
        put_labelled(t, "refused", YELLOW, line.text, 4);
    }
    strbuf_reset(&line);
    form_leftovers(&line, form_member(document, "leftovers"));
    if (line.len > 0) {
        strbuf_addstr(&line, " (removed after each test)");
        put_labelled(t, "left over", YELLOW, line.text, 2);
    }
    strbuf_release(&line);
}

/* What kept the tests from running; false when they ran. */
static bool put_stopped(struct table *t, const cJSON *document)
{
    const char *log = form_string(form_member(document, "build"), "log");

    if (form_is_partly_built(document)) {
        put(t, "\n");
        put_wrapped(t, RED, "Not every program compiles; the tests of those that don't fail:");
        wrap_lines(&t->text, log, "  | ", t->width, LOG_LINES);
    }
    if (form_is(document, "status", "graded"))
        return false;
    put(t, "\n");
    if (form_is(document, "status", "build_failed")) {
        struct strbuf line = STRBUF_INIT;

        strbuf_addf(&line, "No test could run: %s", form_string(document, "reason"));
        put_wrapped(t, RED, line.text);
        strbuf_release(&line);
        wrap_lines(&t->text, log, "  | ", t->width, LOG_LINES);
        return true;
    }
    if (form_is(document, "status", "rejected")) {
        put_wrapped(t, RED, "The submission was refused.");
        put_labelled(t, "why", PLAIN, form_string(document, "reason"), MESSAGE_LINES);
        return true;
    }
    put_wrapped(t, RED, "The grader failed. This is no fault of the submission.");
    put_labelled(t, "why", PLAIN, form_string(document, "reason"), MESSAGE_LINES);
    return false;
}

static void put_recap(struct table *t, const cJSON *document)
{
    struct strbuf line = STRBUF_INIT;

    form_score(&line, document);
    strbuf_addf(&line, "; %d tests to look at, the first of them is under the score", t->failures);
    put(t, "\n");
    put_wrapped(t, BOLD, line.text);
    strbuf_release(&line);
}

void report_table(FILE *out, const cJSON *document, enum report_color color, int columns)
{
    struct table t = {.text = STRBUF_INIT, .color = color == COLOR_ALWAYS};
    bool stopped;

    t.width = columns < COLUMNS_MIN ? COLUMNS_MIN : columns > COLUMNS_MAX ? COLUMNS_MAX : columns;
    put_head(&t, document);
    stopped = put_stopped(&t, document);
    if (!stopped)
        put_tests(&t, document);
    put_score(&t, document);
    put_notes(&t, document);
    if (!stopped)
        put_failures(&t, document);
    if (t.failures > 2)
        put_recap(&t, document);
    form_write(out, t.text.text, "\\::", "\\[");
    strbuf_release(&t.text);
}

/* ---- by name ---- */

static void plain_table(FILE *out, const cJSON *document)
{
    report_table(out, document, COLOR_NEVER, 80);
}

report_printer *report_find(const char *name)
{
    static const struct {
        const char *name;
        report_printer *printer;
    } forms[] = {
        {"table", plain_table},
        {"json", report_json},
        {"junit", report_junit},
        {"markdown", report_markdown},
    };

    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (strcmp(forms[i].name, name) == 0)
            return forms[i].printer;
    }
    return NULL;
}
