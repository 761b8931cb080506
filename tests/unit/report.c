/*
 * Reports: a grading filled with what a hostile submission would like to see in one. Documents
 * parse and agree with their schemas, forms are well-formed, and nothing of a hidden test is in any
 * byte that a student may see.
 */
#include <criterion/criterion.h>

#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <expat.h>

#include "grading.h"
#include "report/progress.h"
#include "report/report.h"
#include "report/wrap.h"
#include "sandbox/exclusion.h"
#include "score/score.h"
#include "support/child.h"
#include "support/files.h"
#include "support/json.h"
#include "support/memory.h"
#include "support/strbuf.h"
#include "support/text.h"

/* All that has broken a report somewhere, in one string. */
#define NASTY                                                                                      \
    "]]> <b>&amp;\x1b[31mred\x1b]0;t\x07 \xff\xfe\xc0\x80 \xe2\x80\xae"                            \
    "rtl\xe2\x80\xac"                                                                              \
    " |pipe| `tick` ```fence``` @all #1 ##[error]v1 \r\n::error::boom\n"                           \
    " \t\xe3\x80\x80::set-output name=a::b\n##vso[task]x\n| a |\n\"quote\" \\ </details> "         \
    "\x7f\xc2\x9b"

/* Stands in every field of every hidden run. */
#define CANARY "canary" /* followed by a number for each field */

enum { TESTS = 9 };

static struct manifest_test tests[TESTS] = {
    {.id = "exit/last", .points = 40, .concept = "exit status", .hint = "h1", .see = "Exit"},
    {.id = "exit/signal", .points = 10, .concept = "exit status", .hint = NASTY, .see = NASTY},
    {.id = "eof/crashes", .points = 5, .concept = "end of input", .hint = "h"},
    {.id = "memcheck/leak", .points = 5, .concept = "memory", .memcheck = true, .hint = "h"},
    {.id = "canary1/name",
     .points = 20,
     .concept = "exit status",
     .hint = "canary2",
     .see = "canary3",
     .visibility = VISIBILITY_HIDDEN,
     .detail = DETAIL_VERDICT},
    {.id = "canary1/other",
     .points = 10,
     .concept = "concurrency",
     .hint = "canary2",
     .see = "canary3",
     .visibility = VISIBILITY_AFTER_DUE,
     .detail = DETAIL_VERDICT},
    {.id = "canary1/message",
     .points = 5,
     .concept = "concurrency",
     .hint = "told hint",
     .see = "told see",
     .visibility = VISIBILITY_HIDDEN,
     .detail = DETAIL_MESSAGE},
    {.id = "canary1/full",
     .points = 5,
     .concept = "concurrency",
     .hint = "told hint",
     .see = "told see",
     .visibility = VISIBILITY_HIDDEN,
     .detail = DETAIL_FULL},
    {.id = "extra/bonus", .points = 3, .bonus = true, .concept = "bonus", .hint = "h"},
};

static struct run runs[TESTS];
static char *names[] = {(char *)"pipeline.c", (char *)NASTY};
static char *folder;

static cJSON *parsed(const char *text)
{
    cJSON *json = cJSON_Parse(text);

    cr_assert_not_null(json, "%s", text);
    return json;
}

static void plant(struct run *run, const char *expected, const char *got)
{
    run->expected = (char *)expected;
    run->got = (char *)got;
    run->see = NULL;
    run->transcript = (char *)"canary4 transcript";
    run->repeat = (char *)"canary5 --test canary1/name";
    run->seed = 18446744073709551557ull; /* canary: the largest prime below 2^64 */
    run->seconds = 77.125;
    run->attempts = 2;
    run->memory = parsed("[{\"kind\":\"canary6\",\"function\":\"canary6\",\"file\":\"canary6.c\","
                         "\"line\":424242,\"bytes\":424242,\"text\":\"canary6\"}]");
    run->refused = parsed("[{\"call\":\"canary7()\",\"rule\":\"canary7\",\"count\":424242}]");
    run->leftovers = parsed("{\"processes\":424242,\"shared_memory\":424242,\"queues\":424242,"
                            "\"sysv\":424242,\"files\":424242}");
}

static struct grading nasty_grading(void)
{
    struct grading g = {.status = STATUS_GRADED, .runs = runs, .run_count = TESTS, .seed = 12345};

    g.manifest.lab = "pipe";
    g.manifest.title = "Ordinary pipes";
    g.manifest.tests = tests;
    g.manifest.test_count = TESTS;
    memset(g.manifest.hash, 'a', HASH_HEX_SIZE - 1);
    memset(g.suite_hash, 'b', HASH_HEX_SIZE - 1);
    memset(g.submission.sha256, 'c', HASH_HEX_SIZE - 1);
    g.submission.id = (char *)NASTY;
    strcpy(g.submission.received_at, "2026-11-24T12:57:01Z");
    g.submission.files = names;
    g.submission.file_count = 1;
    g.submission.ignored = names;
    g.submission.ignored_count = 2;
    g.build.ok = true;
    g.build.warnings = 1;
    g.build.log = (char *)NASTY;
    g.not_official = parsed("[\"no root here\"]");
    g.isolation = parsed("[{\"layer\":\"own uid\",\"active\":false,\"detail\":\"be root\"},"
                         "{\"layer\":\"landlock\",\"active\":true,\"detail\":\"ABI 7\"}]");
    g.timings[0] = (struct timing){"intake", NAN};
    g.timings[1] = (struct timing){"build", INFINITY};
    g.timings[2] = (struct timing){"run", -1};
    for (size_t i = 0; i < TESTS; i++)
        runs[i] = (struct run){.test = &tests[i], .status = RUN_PASSED, .attempts = 1, .seed = i};
    runs[0].seconds = NAN;
    runs[1].status = RUN_FAILED;
    runs[1].seconds = -INFINITY;
    runs[1].expected = (char *)NASTY;
    runs[1].got = (char *)NASTY;
    runs[1].transcript = (char *)NASTY;
    runs[1].repeat = (char *)NASTY;
    runs[1].refused = parsed("[{\"call\":\"socket(AF_INET)\",\"rule\":\"sockets\",\"count\":3},"
                             "{\"call\":7,\"count\":-1},\"no object\"]");
    runs[2].status = RUN_CRASHED;
    runs[2].expected = (char *)"exit status 0";
    runs[2].refused = parsed("[{\"call\":\"socket(AF_INET)\",\"rule\":\"sockets\",\"count\":2}]");
    runs[2].leftovers = parsed("{\"processes\":2,\"files\":1e300,\"queues\":\"many\"}");
    runs[3].status = RUN_TIMEOUT;
    runs[3].got = (char *)"memory was lost";
    runs[3].memory = parsed("[{\"kind\":\"Leak_DefinitelyLost\",\"function\":\"start\",\"file\":"
                            "\"pipeline.c\",\"line\":12,\"bytes\":16,\"text\":\"16 bytes lost\","
                            "\"secret\":1}, 7]");
    runs[4].status = RUN_CRASHED;
    plant(&runs[4], "canary8 expected", "canary9 got");
    runs[5].status = RUN_TIMEOUT;
    plant(&runs[5], "canary8 expected", "canary9 got");
    runs[6].status = RUN_FAILED;
    plant(&runs[6], "told expected", "told got");
    runs[7].status = RUN_FAILED;
    plant(&runs[7], "told expected", "told got");
    runs[7].transcript = (char *)"told transcript";
    runs[8].status = RUN_NOT_MEASURED;
    runs[8].got = (char *)"no IPv6 here";
    score(&g);
    return g;
}

static void make_folder(void)
{
    folder = directory_make_private(NULL);
    cr_assert_not_null(folder);
}

static void remove_folder(void)
{
    tree_remove_at(AT_FDCWD, folder);
    free(folder);
}

static char *in_folder(const char *name)
{
    return path_join(folder, name);
}

static char *read_whole(const char *path)
{
    struct strbuf text = STRBUF_INIT;
    struct error err = ERROR_INIT;

    cr_assert_eq(file_read(path, 16 << 20, &text, &err), 0, "%s", err.text);
    return strbuf_detach(&text);
}

/* The tests run in the project's top folder, as `make test` does. */
static void expect_valid(const cJSON *document, const char *schema)
{
    char *path = in_folder("document.json");
    char *argv[] = {(char *)"/usr/bin/python3",
                    (char *)"-m",
                    (char *)"jsonschema",
                    (char *)"-i",
                    path,
                    (char *)schema,
                    NULL};
    struct child c = CHILD_INIT;
    struct error err = ERROR_INIT;

    cr_assert_eq(json_write_whole(path, 0600, document, &err), 0, "%s", err.text);
    c.argv = argv;
    cr_assert_eq(child_run(&c, &err), 0, "%s", err.text);
    if (c.status != 0 && strstr(c.err.text, "No module named") != NULL)
        cr_log_warn("python3-jsonschema is not installed: %s is not checked", schema);
    else
        cr_expect_eq(c.status, 0, "%s: %.3000s %.3000s", schema, c.out.text, c.err.text);
    child_release(&c);
    free(path);
}

typedef void print(FILE *out, const cJSON *document);

static char *printed(print *printer, const cJSON *document)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    printer(out, document);
    fclose(out);
    cr_assert(text_is_utf8(text, len));
    return text;
}

static void narrow_table(FILE *out, const cJSON *document)
{
    report_table(out, document, COLOR_NEVER, 60);
}

/* No line that a CI host would obey: "::" behind white space, "##[" and its kin anywhere. */
static void expect_no_command(const char *text)
{
    static const char *const anywhere[] = {"##[", "##vso["};

    for (size_t i = 0; i < 2; i++)
        cr_expect_null(strstr(text, anywhere[i]), "'%s' in: %s", anywhere[i], text);
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        const char *p = line;
        while (*p == ' ' || *p == '\t' || strncmp(p, "\xe3\x80\x80", 3) == 0)
            p += *p == ' ' || *p == '\t' ? 1 : 3;
        cr_expect_neq(strncmp(p, "::", 2), 0, "a command: %.40s", line);
    }
}

/* ---- documents ---- */

Test(report, results_of_a_hostile_grading_are_valid, .init = make_folder, .fini = remove_folder)
{
    struct grading g = nasty_grading();
    cJSON *results = results_make(&g);

    expect_valid(results, "grader/results.schema.json");
    char *text = json_print(results, false);
    cr_expect(text_is_utf8(text, strlen(text)));
    cr_expect_null(strchr(text, '\x1b'));
    cr_expect_null(strstr(text, "\xe2\x80\xae"));
    free(text);
    cJSON_Delete(results);
}

Test(report, feedback_of_a_hostile_grading_is_valid, .init = make_folder, .fini = remove_folder)
{
    struct grading g = nasty_grading();
    cJSON *results = results_make(&g), *feedback = feedback_make(results);

    expect_valid(feedback, "grader/feedback.schema.json");
    cJSON_Delete(results);
    cJSON_Delete(feedback);
}

Test(report, schemas_refuse_what_is_no_result, .init = make_folder, .fini = remove_folder)
{
    struct grading g = nasty_grading();
    cJSON *results = results_make(&g);
    char *path = in_folder("document.json");
    char *argv[] = {(char *)"/usr/bin/python3",
                    (char *)"-m",
                    (char *)"jsonschema",
                    (char *)"-i",
                    path,
                    (char *)"grader/results.schema.json",
                    NULL};
    struct child c = CHILD_INIT;

    json_add_integer(cJSON_GetArrayItem(cJSON_GetObjectItem(results, "runs"), 0), "more", 1);
    cr_assert_eq(json_write_whole(path, 0600, results, NULL), 0);
    c.argv = argv;
    cr_assert_eq(child_run(&c, NULL), 0);
    cr_expect_neq(c.status, 0);
    child_release(&c);
    cJSON_Delete(results);
    free(path);
}

Test(report, every_end_of_a_grading_has_valid_documents, .init = make_folder, .fini = remove_folder)
{
    static const enum grading_status ends[] = {STATUS_BUILD_FAILED, STATUS_REJECTED,
                                               STATUS_GRADER_ERROR};

    for (size_t i = 0; i < 3; i++) {
        for (int planned = 0; planned < 2; planned++) {
            struct grading g = nasty_grading();

            g.status = ends[i];
            g.run_count = planned ? TESTS : 0;
            error_set(&g.reason, FAULT_GRADER, "it is so");
            for (size_t j = 0; j < TESTS; j++)
                runs[j] = (struct run){.test = &tests[j]};
            score(&g);
            cJSON *results = results_make(&g), *feedback = feedback_make(results);
            expect_valid(results, "grader/results.schema.json");
            expect_valid(feedback, "grader/feedback.schema.json");
            cJSON_Delete(results);
            cJSON_Delete(feedback);
        }
    }
}

Test(report, a_grading_that_ended_before_anything_was_known_has_documents, .init = make_folder,
     .fini = remove_folder)
{
    struct grading g = {.status = STATUS_GRADER_ERROR};

    g.options.lab = "pipe";
    error_set(&g.reason, FAULT_GRADER, "no manifest");
    score(&g);
    cJSON *results = results_make(&g), *feedback = feedback_make(results);
    expect_valid(results, "grader/results.schema.json");
    expect_valid(feedback, "grader/feedback.schema.json");
    cJSON_Delete(results);
    cJSON_Delete(feedback);
}

Test(report, sums_and_seeds_are_as_the_runs_have_them)
{
    struct grading g = nasty_grading();
    cJSON *results = results_make(&g), *feedback = feedback_make(results);
    const cJSON *calls = cJSON_GetObjectItem(feedback, "refused_calls");
    const cJSON *call = cJSON_GetArrayItem(calls, 0);
    const cJSON *run = cJSON_GetArrayItem(cJSON_GetObjectItem(results, "runs"), 4);
    const cJSON *left = cJSON_GetObjectItem(feedback, "leftovers");

    cr_expect_eq(cJSON_GetArraySize(calls), 2);
    cr_expect_str_eq(cJSON_GetObjectItem(call, "call")->valuestring, "socket(AF_INET)");
    cr_expect_str_eq(cJSON_GetObjectItem(call, "rule")->valuestring,
                     exclusion_sentence(EXCLUDE_SOCKETS));
    cr_expect_eq(cJSON_GetObjectItem(call, "count")->valueint, 5);
    cr_expect_str_eq(cJSON_GetObjectItem(run, "seed")->valuestring, "18446744073709551557");
    cr_expect_eq(cJSON_GetObjectItem(left, "processes")->valueint, 2);
    cr_expect_eq(cJSON_GetObjectItem(left, "files")->valueint, 1000000000);
    cr_expect_eq(cJSON_GetArraySize(cJSON_GetObjectItem(feedback, "memory_findings")), 1);
    cr_expect_eq(cJSON_GetArraySize(cJSON_GetObjectItem(results, "memory_findings")), 5);
    cJSON_Delete(results);
    cJSON_Delete(feedback);
}

/* ---- what students may see ---- */

static void expect_no_canary(const char *text, const char *where)
{
    /* The hidden runs' seed, counts, time, and everything that begins so. */
    static const char *const planted[] = {CANARY, "18446744073709551557", "424242", "77.125"};

    for (size_t i = 0; i < sizeof planted / sizeof *planted; i++) {
        const char *at = strstr(text, planted[i]);
        cr_expect_null(at, "%s holds '%.60s'", where, at ? at : "");
    }
}

Test(report, no_form_for_students_holds_anything_of_a_hidden_test)
{
    static const struct {
        print *printer;
        const char *name;
    } forms[] = {{report_json, "json"},
                 {report_junit, "junit"},
                 {report_markdown, "markdown"},
                 {narrow_table, "table"}};
    struct grading g = nasty_grading();
    cJSON *results = results_make(&g), *feedback = feedback_make(results);

    for (size_t i = 0; i < 4; i++) {
        char *text = printed(forms[i].printer, feedback);
        expect_no_canary(text, forms[i].name);
        cr_expect_not_null(strstr(text, "concurrency"), "%s", forms[i].name);
        cr_expect_not_null(strstr(text, "told expected"), "%s", forms[i].name);
        free(text);

        text = printed(forms[i].printer, results); /* the canary can be found at all */
        cr_expect_not_null(strstr(text, "canary9"), "%s", forms[i].name);
        free(text);
    }
    cJSON_Delete(results);
    cJSON_Delete(feedback);
}

Test(report, a_member_that_nobody_thought_of_is_not_copied)
{
    struct grading g = nasty_grading();
    cJSON *results = results_make(&g);
    static const char *const objects[] = {"submission", "build", "leftovers", "environment"};
    static const char *const arrays[] = {"runs", "concepts", "isolation"};

    json_add_string(results, "new", "canary");
    for (size_t i = 0; i < 4; i++)
        json_add_string(cJSON_GetObjectItem(results, objects[i]), "new", "canary");
    for (size_t i = 0; i < 3; i++) {
        cJSON *item;
        cJSON_ArrayForEach (item, cJSON_GetObjectItem(results, arrays[i])) {
            json_add_string(item, "new", "canary");
            cJSON *message = cJSON_GetObjectItem(item, "message");
            if (cJSON_IsObject(message))
                json_add_string(message, "new", "canary");
        }
    }
    cJSON *feedback = feedback_make(results);
    char *text = json_print(feedback, true);
    expect_no_canary(text, "feedback");
    free(text);
    cJSON_Delete(results);
    cJSON_Delete(feedback);
}

Test(report, a_visibility_that_is_not_public_is_hidden)
{
    struct grading g = nasty_grading();
    cJSON *results = results_make(&g), *run;

    cJSON_ArrayForEach (run, cJSON_GetObjectItem(results, "runs")) {
        cJSON_DeleteItemFromObject(run, "visibility");
    }
    cJSON *feedback = feedback_make(results);
    cr_expect_eq(cJSON_GetArraySize(cJSON_GetObjectItem(feedback, "runs")), 0);
    cJSON_Delete(results);
    cJSON_Delete(feedback);
}

Test(report, hidden_tests_tell_concept_and_pass_or_fail)
{
    struct grading g = nasty_grading();
    cJSON *results = results_make(&g), *feedback = feedback_make(results);
    const cJSON *entry = cJSON_GetArrayItem(cJSON_GetObjectItem(feedback, "hidden"), 1);
    const cJSON *list = cJSON_GetObjectItem(entry, "runs");
    const cJSON *verdict = cJSON_GetArrayItem(list, 0), *message = cJSON_GetArrayItem(list, 1),
                *full = cJSON_GetArrayItem(list, 2);

    cr_expect_str_eq(cJSON_GetObjectItem(entry, "concept")->valuestring, "concurrency");
    cr_expect_eq(cJSON_GetObjectItem(entry, "tests")->valueint, 3);
    cr_expect_eq(cJSON_GetObjectItem(entry, "passed")->valueint, 0);
    cr_expect_eq(cJSON_GetObjectItem(entry, "max")->valueint, 20);
    cr_expect_str_eq(cJSON_GetObjectItem(verdict, "status")->valuestring, "failed");
    cr_expect(cJSON_IsNull(cJSON_GetObjectItem(verdict, "message")));
    cr_expect(cJSON_IsObject(cJSON_GetObjectItem(message, "message")));
    cr_expect(cJSON_IsNull(cJSON_GetObjectItem(message, "transcript")));
    cr_expect_str_eq(cJSON_GetObjectItem(full, "transcript")->valuestring, "told transcript");
    cJSON_Delete(results);
    cJSON_Delete(feedback);
}

Test(report, why_the_grader_failed_is_told_only_where_no_test_is_hidden)
{
    struct grading g = nasty_grading();

    g.status = STATUS_GRADER_ERROR;
    error_set(&g.reason, FAULT_GRADER, "suite died in 'canary1/name'");
    cJSON *results = results_make(&g), *feedback = feedback_make(results);
    expect_no_canary(cJSON_GetObjectItem(feedback, "reason")->valuestring, "reason");
    cr_expect(cJSON_IsNull(cJSON_GetObjectItem(feedback, "score")));
    cJSON_Delete(results);
    cJSON_Delete(feedback);

    g.run_count = 4;
    results = results_make(&g);
    feedback = feedback_make(results);
    cr_expect_str_eq(cJSON_GetObjectItem(feedback, "reason")->valuestring, g.reason.text);
    cJSON_Delete(results);
    cJSON_Delete(feedback);
}

/* ---- forms ---- */

Test(report, junit_is_well_formed_and_counts_right)
{
    struct grading g = nasty_grading();
    cJSON *results = results_make(&g), *feedback = feedback_make(results);
    const cJSON *documents[] = {results, feedback};

    for (size_t i = 0; i < 2; i++) {
        char *xml = printed(report_junit, documents[i]);
        XML_Parser parser = XML_ParserCreate(NULL);

        cr_expect_eq(XML_Parse(parser, xml, (int)strlen(xml), 1), XML_STATUS_OK, "%s in line %lu",
                     XML_ErrorString(XML_GetErrorCode(parser)),
                     (unsigned long)XML_GetCurrentLineNumber(parser));
        XML_ParserFree(parser);
        expect_no_command(xml);
        cr_expect_not_null(strstr(xml, "tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"0\""));
        cr_expect_not_null(strstr(xml, "tests=\"1\" failures=\"0\" errors=\"0\" skipped=\"1\""));
        cr_expect_not_null(strstr(xml, "<skipped message=\"no IPv6 here\"/>"));
        free(xml);
    }
    cJSON_Delete(results);
    cJSON_Delete(feedback);
}

Test(report, junit_of_what_did_not_compile_is_red)
{
    struct grading g = nasty_grading();

    g.status = STATUS_BUILD_FAILED;
    error_set(&g.reason, FAULT_SUBMISSION, "pipeline.c does not compile");
    cJSON *results = results_make(&g);
    char *xml = printed(report_junit, results);
    cr_expect_not_null(strstr(xml, "<failure type=\"build_failed\""));
    free(xml);
    cJSON_Delete(results);
}

/* One of the programs was made and graded: every form says all the same that another was not. */
Test(report, what_did_not_compile_is_told_beside_the_score)
{
    struct grading g = nasty_grading();

    g.build.ok = false;
    g.build.log = (char *)"client.c:7:1: error: expected";
    cJSON *results = results_make(&g);
    char *xml = printed(report_junit, results), *md = printed(report_markdown, results),
         *table = printed(narrow_table, results);
    cr_expect_not_null(strstr(xml, "<failure type=\"build_failed\""), "%s", xml);
    cr_expect_not_null(strstr(xml, "client.c:7:1: error"), "%s", xml);
    cr_expect_not_null(strstr(md, "Not every program compiles"), "%s", md);
    cr_expect_not_null(strstr(md, "client.c:7:1: error"), "%s", md);
    cr_expect_not_null(strstr(table, "Not every program compiles"), "%s", table);
    cr_expect_not_null(strstr(table, "client.c:7:1: error"), "%s", table);
    free(xml);
    free(md);
    free(table);
    cJSON_Delete(results);
}

Test(report, no_form_holds_a_command_for_a_ci_host)
{
    struct grading g = nasty_grading();
    cJSON *results = results_make(&g);
    print *forms[] = {report_json, report_junit, report_markdown, narrow_table};

    for (size_t i = 0; i < 4; i++) {
        char *text = printed(forms[i], results);
        expect_no_command(text);
        free(text);
    }
    char *text = printed(report_json, results); /* defused, and still the same document */
    cJSON *again = cJSON_Parse(text);
    cr_expect(cJSON_Compare(results, again, true));
    cJSON_Delete(again);
    cJSON_Delete(results);
    free(text);
}

Test(report, the_table_escapes_what_its_document_did_not)
{
    cJSON *document = parsed(
        "{\"lab\":\"a\\u001b[2J\",\"title\":\"\\u202etitle\",\"status\":\"graded\",\"score\":1e99,"
        "\"max\":-4,\"submission\":{\"id\":\"\\u0007\"},\"runs\":[{\"test\":\"s/\\u001b[31m\","
        "\"status\":\"failed\",\"points\":\"x\",\"message\":{\"got\":\"a\\u001b]0;b\\nc\\r\"},"
        "\"memory\":[1]},7,null],\"hidden\":[{}],\"not_official\":[1],\"build\":[]}");
    print *forms[] = {report_junit, report_markdown, narrow_table};

    for (size_t i = 0; i < 3; i++) {
        char *text = printed(forms[i], document);
        for (const char *p = text; *p != '\0'; p++)
            cr_expect(*p == '\n' || (unsigned char)*p >= ' ', "byte %d in: %s", *p, text);
        cr_expect_null(strstr(text, "\xe2\x80\xae"));
        free(text);
    }
    cJSON_Delete(document);
}

Test(report, the_table_keeps_to_its_columns)
{
    struct grading g = nasty_grading();

    runs[1].repeat = NULL; /* the one line that stays in one piece */
    runs[4].repeat = runs[5].repeat = runs[6].repeat = runs[7].repeat = NULL;
    cJSON *results = results_make(&g);
    char *text = printed(narrow_table, results);
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"))
        cr_expect_leq(wrap_width(line, strlen(line)), 60, "%zu columns: %s",
                      wrap_width(line, strlen(line)), line);
    free(text);
    cJSON_Delete(results);
}

Test(report, the_table_ends_with_what_a_student_needs)
{
    struct grading g = nasty_grading();

    runs[1] = (struct run){.test = &tests[1], .status = RUN_FAILED, .attempts = 1};
    runs[1].expected = (char *)"exit status 139";
    runs[1].got = (char *)"exit status 11";
    runs[1].see = (char *)"Exit statuses";
    runs[1].repeat = (char *)"ipclab grade pipe . --test exit/signal --seed 5";
    g.run_count = 2;
    score(&g);
    cJSON *results = results_make(&g), *feedback = feedback_make(results);
    char *text = printed(narrow_table, feedback);
    static const char *const wanted[] = {
        "score: 40 of 50 points",           "exit/signal: failed",
        "expected  exit status 139",        "got       exit status 11",
        "\"Exit statuses\" in the handout", "ipclab grade pipe . --test exit/signal --seed 5"};
    const char *at = text;
    for (size_t i = 0; i < 6; i++) {
        const char *found = strstr(at, wanted[i]);
        cr_assert_not_null(found, "no '%s' in its place in:\n%s", wanted[i], text);
        at = found;
    }
    free(text);
    cJSON_Delete(results);
    cJSON_Delete(feedback);
}

Test(report, colour_is_the_argument_s)
{
    struct grading g = nasty_grading();
    cJSON *results = results_make(&g);
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    report_table(out, results, COLOR_ALWAYS, 80);
    fclose(out);
    cr_expect_not_null(strstr(text, "\033[31m"));
    free(text);
    text = printed(narrow_table, results);
    cr_expect_null(strchr(text, '\033'));
    free(text);
    cJSON_Delete(results);
}

Test(report, markdown_keeps_foreign_text_inside_its_cell)
{
    struct grading g = nasty_grading();

    runs[1].repeat = NULL; /* it stands in a fenced block, where markup is text */
    tests[0].concept = "a | b\n| c <img src=x> [l](javascript:x) @all";
    cJSON *results = results_make(&g);
    char *text = printed(report_markdown, results);
    const char *row = strstr(text, "| passed | exit");
    cr_assert_not_null(row, "%s", text);
    int cells = 0;
    for (; *row != '\n'; row++)
        cells += *row == '|' && row[-1] != '\\';
    cr_expect_eq(cells, 5);
    for (const char *p = text; (p = strchr(p, '<')) != NULL; p++) {
        bool ours = strncmp(p, "<details>", 9) == 0 || strncmp(p, "</details>\n", 11) == 0 ||
                    strncmp(p, "<summary>", 9) == 0 || strncmp(p, "</summary>", 10) == 0 ||
                    strncmp(p, "<!-- -->", 8) == 0;
        cr_expect(ours || p[-1] == '\\', "markup: %.40s", p);
    }
    free(text);
    cJSON_Delete(results);
}

Test(report, forms_are_found_by_name)
{
    cr_expect_eq(report_find("json"), report_json);
    cr_expect_eq(report_find("junit"), report_junit);
    cr_expect_eq(report_find("markdown"), report_markdown);
    cr_expect_not_null(report_find("table"));
    cr_expect_null(report_find("html"));
}

Test(wrap, lines_break_at_spaces_and_long_words_within)
{
    struct strbuf out = STRBUF_INIT;

    wrap_text(&out, "one two  three fourfourfourfour\nfive", "  ", 2, 12, 9);
    cr_expect_str_eq(out.text, "one two\n  three\n  fourfourfo\n  urfour\n  five\n");
    strbuf_reset(&out);
    wrap_text(&out, "a\nb\nc\nd", "  ", 0, 12, 2);
    cr_expect_str_eq(out.text, "a\n  b\n  [2 more lines]\n");
    strbuf_reset(&out);
    wrap_lines(&out, "\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2 x", "| ", 6, 9);
    cr_expect_str_eq(out.text, "| \xe6\xbc\xa2\xe6\xbc\xa2\n| \xe6\xbc\xa2 x\n");
    strbuf_reset(&out);
    wrap_lines(&out, "a\nb\nc\nd\ne\n", "| ", 12, 4);
    cr_expect_str_eq(out.text, "| a\n| b\n| [1 more line]\n| d\n| e\n");
    strbuf_reset(&out);
    wrap_lines(&out, "a\nb\nc\nd", "| ", 12, 4);
    cr_expect_str_eq(out.text, "| a\n| b\n| c\n| d\n");
    strbuf_release(&out);
}

/* ---- writing ---- */

static int write_to(const char *path, struct error *err)
{
    struct grading g = nasty_grading();
    cJSON *results = results_make(&g), *feedback = feedback_make(results);
    int result = report_write(path, results, feedback, err);

    cJSON_Delete(results);
    cJSON_Delete(feedback);
    return result;
}

static int mode_of(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 ? (int)st.st_mode : -1;
}

Test(write, results_are_private_and_feedback_lies_beside, .init = make_folder,
     .fini = remove_folder)
{
    char *path = in_folder("r.json"), *feedback = in_folder("feedback.json");
    struct error err = ERROR_INIT;

    cr_assert_eq(write_to(path, &err), 0, "%s", err.text);
    cr_expect_eq(mode_of(path), (int)(S_IFREG | 0600));
    cr_expect_eq(mode_of(feedback), (int)(S_IFREG | 0644));
    char *text = read_whole(feedback);
    expect_no_canary(text, "feedback.json");
    free(text);
    free(path);
    free(feedback);
}

Test(write, the_student_s_name_is_refused, .init = make_folder, .fini = remove_folder)
{
    char *path = in_folder("feedback.json");
    struct error err = ERROR_INIT;

    cr_expect_eq(write_to(path, &err), -1);
    cr_expect_eq(err.fault, FAULT_USAGE);
    cr_expect_eq(mode_of(path), -1);
    free(path);
}

Test(write, a_link_is_replaced_and_its_target_left, .init = make_folder, .fini = remove_folder)
{
    char *path = in_folder("r.json"), *target = in_folder("precious");
    struct error err = ERROR_INIT;

    cr_assert_eq(file_write_whole(target, 0644, "mine", 4, &err), 0);
    cr_assert_eq(symlink("precious", path), 0);
    cr_assert_eq(write_to(path, &err), 0, "%s", err.text);
    char *text = read_whole(target);
    cr_expect_str_eq(text, "mine");
    cr_expect_eq(mode_of(path), (int)(S_IFREG | 0600));
    free(text);
    free(path);
    free(target);
}

Test(write, a_fifo_without_a_reader_is_an_error_at_once, .init = make_folder, .fini = remove_folder)
{
    char *path = in_folder("fifo"), *feedback = in_folder("feedback.json");
    struct error err = ERROR_INIT;

    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_expect_eq(write_to(path, &err), -1);
    cr_expect_not_null(strstr(err.text, "nobody reads it"), "%s", err.text);
    cr_expect(S_ISFIFO(mode_of(path)));
    cr_expect_eq(mode_of(feedback), -1);
    free(path);
    free(feedback);
}

Test(write, a_fifo_gets_the_whole_result_and_stays, .init = make_folder, .fini = remove_folder)
{
    char *path = in_folder("fifo"), *feedback = in_folder("feedback.json");
    struct error err = ERROR_INIT;
    int fd;

    cr_assert_eq(mkfifo(path, 0600), 0);
    fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    cr_assert_geq(fcntl(fd, F_SETPIPE_SZ, 1 << 20), 1 << 20);
    cr_assert_eq(write_to(path, &err), 0, "%s", err.text);
    char *text = xcalloc(1, 1 << 20);
    ssize_t len = read(fd, text, (1 << 20) - 1);
    cJSON *json = json_parse(text, (size_t)len, path, &err);
    cr_expect_not_null(json, "%s", err.text);
    cr_expect(S_ISFIFO(mode_of(path)));
    cr_expect_eq(mode_of(feedback), -1, "no feedback.json beside what is no file");
    cJSON_Delete(json);
    close(fd);
    free(text);
    free(path);
    free(feedback);
}

Test(write, dev_stdout_is_our_stdout_whatever_that_is, .init = make_folder, .fini = remove_folder)
{
    char *path = in_folder("out");
    struct error err = ERROR_INIT;
    int saved = dup(1), fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    cr_assert_eq(write(fd, "\n", 1), 1);
    dup2(fd, 1);
    int result = write_to("/dev/stdout", &err);
    dup2(saved, 1);
    cr_assert_eq(result, 0, "%s", err.text);
    char *text = read_whole(path);
    cr_expect_eq(text[0], '\n', "what stood there is kept");
    cJSON *json = json_parse(text, strlen(text), path, &err);
    cr_expect_not_null(json, "%s", err.text);
    struct stat st;
    cr_expect(lstat("/dev/stdout", &st) == 0 && S_ISLNK(st.st_mode));
    cJSON_Delete(json);
    close(saved);
    close(fd);
    free(text);
    free(path);
}

Test(write, a_folder_that_is_missing_is_an_error)
{
    struct error err = ERROR_INIT;

    cr_expect_eq(write_to("/nonexistent/folder/r.json", &err), -1);
    cr_expect_eq(err.fault, FAULT_GRADER);
}

/* ---- progress ---- */

Test(progress, plain_lines_hide_what_students_may_not_see)
{
    struct grading g = nasty_grading();
    int fds[2];

    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    struct progress *p = progress_new(fds[1], false, false);
    struct run_listener listener = progress_listener(p);
    progress_stage(p, "run");
    for (size_t i = 0; i < g.run_count; i++) {
        listener.started(listener.context, &runs[i]);
        if (runs[i].status == RUN_TIMEOUT)
            listener.rerun(listener.context, &runs[i]);
        listener.ended(listener.context, &runs[i], i + 1, g.run_count);
    }
    progress_tick(p);
    progress_stage_end(p, "run", 1.25, NULL);
    progress_finish(p);
    close(fds[1]);

    char text[8192] = "";
    cr_assert_gt(read(fds[0], text, sizeof text - 1), 0);
    expect_no_canary(text, "progress");
    cr_expect_null(strstr(text, "77.1"));
    cr_expect_not_null(strstr(text, "2/9 exit/signal: failed, "));
    cr_expect_not_null(strstr(text, "5/9 hidden test: failed\n"), "%s", text);
    cr_expect_null(strchr(text, '\r'));
    close(fds[0]);
}
