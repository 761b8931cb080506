/*
 * JUnit XML, as GitLab and GitHub's actions read it: <testsuites> of <testsuite> of <testcase>,
 * with <failure>, <error> (the grader's fault) or <skipped>. One suite of the lab is one
 * <testsuite>; hidden tests are one, with a case for each, named by concept and a number.
 */
#include "report/report.h"

#include <stdlib.h>
#include <string.h>

#include "report/document.h"
#include "report/form.h"
#include "support/strbuf.h"
#include "support/text.h"

struct junit_suite {
    struct strbuf cases;
    int tests, failures, errors, skipped;
    double seconds;
};

static void add_xml(struct strbuf *out, const char *text, size_t max)
{
    char *clean = form_text(text, max);

    text_escape_xml(out, clean);
    free(clean);
}

static void add_attribute(struct strbuf *out, const char *name, const char *text)
{
    char *clean = form_line(text, DOCUMENT_LINE);

    strbuf_addf(out, " %s=\"", name);
    text_escape_xml(out, clean);
    strbuf_addch(out, '"');
    free(clean);
}

static void add_part(struct strbuf *out, const char *label, const char *text)
{
    if (*text == '\0')
        return;
    strbuf_addf(out, "%s: ", label);
    add_xml(out, text, DOCUMENT_MESSAGE);
    strbuf_addch(out, '\n');
}

static void add_failure(struct junit_suite *suite, const cJSON *run)
{
    struct strbuf *out = &suite->cases;
    const cJSON *message = form_member(run, "message");
    const cJSON *finding;

    suite->failures++;
    strbuf_addstr(out, "      <failure");
    add_attribute(out, "type", form_status_words(run));
    add_attribute(out, "message",
                  *form_string(message, "got") ? form_string(message, "got")
                                               : form_status_words(run));
    strbuf_addch(out, '>');
    add_part(out, "expected", form_string(message, "expected"));
    add_part(out, "got", form_string(message, "got"));
    cJSON_ArrayForEach (finding, form_member(run, "memory")) {
        struct strbuf line = STRBUF_INIT;

        form_finding(&line, finding);
        add_part(out, "memory", line.text);
        strbuf_release(&line);
    }
    add_part(out, "see", form_string(message, "see"));
    add_part(out, "hint", form_string(run, "hint"));
    add_part(out, "repeat", form_string(run, "repeat"));
    strbuf_addstr(out, "</failure>\n");
    if (*form_string(run, "transcript") != '\0') {
        strbuf_addstr(out, "      <system-out>");
        add_xml(out, form_string(run, "transcript"), DOCUMENT_TRANSCRIPT);
        strbuf_addstr(out, "</system-out>\n");
    }
}

static void add_case(struct junit_suite *suite, const char *class, const char *name,
                     const cJSON *run)
{
    struct strbuf *out = &suite->cases;
    const cJSON *seconds = form_member(run, "seconds");
    double time = cJSON_IsNumber(seconds) && seconds->valuedouble >= 0 ? seconds->valuedouble : 0;

    suite->tests++;
    suite->seconds += time;
    strbuf_addstr(out, "    <testcase");
    add_attribute(out, "classname", class);
    add_attribute(out, "name", name);
    strbuf_addf(out, " time=\"%.3f\">\n", time);
    if (form_failed(run)) {
        add_failure(suite, run);
    } else if (!form_is(run, "status", "passed")) {
        suite->skipped++;
        strbuf_addstr(out, "      <skipped");
        add_attribute(out, "message",
                      *form_string(form_member(run, "message"), "got")
                          ? form_string(form_member(run, "message"), "got")
                          : form_status_words(run));
        strbuf_addstr(out, "/>\n");
    }
    strbuf_addstr(out, "    </testcase>\n");
}

static void end_suite(struct strbuf *out, struct junit_suite *suite, const char *name)
{
    if (suite->tests > 0) {
        strbuf_addstr(out, "  <testsuite");
        add_attribute(out, "name", name);
        strbuf_addf(out,
                    " tests=\"%d\" failures=\"%d\" errors=\"%d\" skipped=\"%d\" "
                    "time=\"%.3f\">\n",
                    suite->tests, suite->failures, suite->errors, suite->skipped, suite->seconds);
        strbuf_add(out, suite->cases.text, suite->cases.len);
        strbuf_addstr(out, "  </testsuite>\n");
    }
    strbuf_release(&suite->cases);
    *suite = (struct junit_suite){.cases = STRBUF_INIT};
}

/* What kept the tests from running is a case of its own: a report without it would look green. */
static void add_status(struct strbuf *out, const cJSON *document, const char *lab)
{
    struct junit_suite suite = {.cases = STRBUF_INIT, .tests = 1};
    bool ours = form_is(document, "status", "grader_error");
    const char *tag = ours ? "error" : "failure";
    const char *log = form_string(form_member(document, "build"), "log");
    const char *status = form_string(document, "status"), *reason = form_string(document, "reason");

    if (form_is_partly_built(document)) {
        status = "build_failed";
        reason = "not every program compiles; the tests of those that don't fail";
    } else if (form_is(document, "status", "graded")) {
        return;
    }
    suite.errors = ours;
    suite.failures = !ours;
    strbuf_addstr(&suite.cases, "    <testcase");
    add_attribute(&suite.cases, "classname", lab);
    add_attribute(&suite.cases, "name", "submission");
    strbuf_addf(&suite.cases, " time=\"0.000\">\n      <%s", tag);
    add_attribute(&suite.cases, "type", status);
    add_attribute(&suite.cases, "message", reason);
    strbuf_addch(&suite.cases, '>');
    add_xml(&suite.cases, reason, DOCUMENT_LINE);
    strbuf_addf(&suite.cases, "</%s>\n", tag);
    if (strcmp(status, "build_failed") == 0 && *log != '\0') {
        strbuf_addstr(&suite.cases, "      <system-out>");
        add_xml(&suite.cases, log, DOCUMENT_LOG);
        strbuf_addstr(&suite.cases, "</system-out>\n");
    }
    strbuf_addstr(&suite.cases, "    </testcase>\n");
    end_suite(out, &suite, lab);
}

static void add_suites(struct strbuf *out, const cJSON *document, const char *lab)
{
    struct junit_suite suite = {.cases = STRBUF_INIT};
    char *name = form_line("", 1);
    const cJSON *run;

    cJSON_ArrayForEach (run, form_member(document, "runs")) {
        const char *id = form_string(run, "test");
        size_t len;
        const char *test = form_suite(id, &len);
        struct strbuf class = STRBUF_INIT;

        strbuf_addf(&class, "%s.%.*s", lab, (int)len, id);
        if (strcmp(class.text, name) != 0) {
            end_suite(out, &suite, name);
            free(name);
            name = strbuf_detach(&class);
        }
        strbuf_release(&class);
        add_case(&suite, name, test, run);
    }
    end_suite(out, &suite, name);
    free(name);
}

static void add_hidden(struct strbuf *out, const cJSON *document, const char *lab)
{
    struct junit_suite suite = {.cases = STRBUF_INIT};
    struct strbuf class = STRBUF_INIT;
    const cJSON *entry, *run;

    strbuf_addf(&class, "%s.hidden", lab);
    cJSON_ArrayForEach (entry, form_member(document, "hidden")) {
        int number = 0;

        cJSON_ArrayForEach (run, form_member(entry, "runs")) {
            struct strbuf name = STRBUF_INIT;

            strbuf_addf(&name, "%s, hidden test %d", form_string(entry, "concept"), ++number);
            add_case(&suite, class.text, name.text, run);
            strbuf_release(&name);
        }
    }
    end_suite(out, &suite, class.text);
    strbuf_release(&class);
}

void report_junit(FILE *out, const cJSON *document)
{
    struct strbuf xml = STRBUF_INIT;
    struct strbuf name = STRBUF_INIT;
    char *lab = form_line(form_string(document, "lab"), DOCUMENT_LINE);

    strbuf_addf(&name, "%s: ", lab);
    form_score(&name, document);
    strbuf_addstr(&xml, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites");
    add_attribute(&xml, "name", name.text);
    strbuf_addstr(&xml, ">\n");
    add_status(&xml, document, lab);
    /* Tests of what was refused or did not compile say nothing that the case above does not. */
    if (!form_is(document, "status", "rejected") && !form_is(document, "status", "build_failed")) {
        add_suites(&xml, document, lab);
        add_hidden(&xml, document, lab);
    }
    strbuf_addstr(&xml, "</testsuites>\n");
    form_write(out, xml.text, "&#58;:", "&#91;");
    strbuf_release(&name);
    strbuf_release(&xml);
    free(lab);
}
