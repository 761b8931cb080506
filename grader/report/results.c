/*
 * The whole result. Every string passes text_clean() here, so that what follows may rely on valid,
 * bounded text; every number is finite. Members stand in the order in which a person reads them.
 */
#include "report/report.h"

#include <gnu/libc-version.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "report/document.h"
#include "sandbox/exclusion.h"
#include "support/json.h"
#include "support/strbuf.h"
#include "support/text.h"
#include "version.h"

/* One line; NULL and "" become null. */
static void add_line(cJSON *object, const char *key, const char *value)
{
    struct strbuf clean = STRBUF_INIT;

    if (value == NULL || *value == '\0') {
        json_add_string(object, key, NULL);
        return;
    }
    text_clean_line(&clean, value, strlen(value), DOCUMENT_LINE);
    json_add_string(object, key, clean.text);
    strbuf_release(&clean);
}

/* A name that must be there: "" where there is none. */
static void add_name(cJSON *object, const char *key, const char *value)
{
    if (value == NULL || *value == '\0')
        json_add_string(object, key, "");
    else
        add_line(object, key, value);
}

static void add_text(cJSON *object, const char *key, const char *value, size_t max)
{
    if (value == NULL)
        json_add_string(object, key, NULL);
    else
        json_add_text(object, key, value, strlen(value), max);
}

static void append_line(cJSON *array, const char *value)
{
    struct strbuf clean = STRBUF_INIT;

    text_clean_line(&clean, value, strlen(value), DOCUMENT_LINE);
    json_append(array, cJSON_CreateString(clean.text));
    strbuf_release(&clean);
}

/* Seconds as a document holds them: from 0 to a year, whatever a clock said. */
static void add_seconds(cJSON *object, const char *key, double seconds)
{
    if (!isfinite(seconds) || seconds < 0)
        seconds = 0;
    json_add_seconds(object, key, fmin(seconds, 31536000));
}

/* 64 bits do not fit into a JSON number that everybody reads alike. */
static void add_seed(cJSON *object, uint64_t seed)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRIu64, seed);
    json_add_string(object, "seed", text);
}

static const char *string_of(const cJSON *object, const char *key)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
}

static void add_submission(cJSON *results, const struct submission *s)
{
    cJSON *object = json_add_object(results, "submission");
    cJSON *names;

    add_name(object, "id", s->id);
    add_line(object, "sha256", s->sha256);
    add_line(object, "commit", s->commit);
    add_line(object, "received_at", s->received_at);
    names = json_add_array(object, "files");
    for (size_t i = 0; i < s->file_count; i++)
        append_line(names, s->files[i]);
    /* At most 100 are kept; the count tells how many there were. */
    names = json_add_array(object, "ignored");
    for (size_t i = 0; i < s->ignored_count && i < 100 && s->ignored && s->ignored[i]; i++)
        append_line(names, s->ignored[i]);
    json_add_integer(object, "ignored_count", (long long)s->ignored_count);
}

static void add_hashes(cJSON *results, const struct grading *g)
{
    cJSON *object = json_add_object(results, "hashes");

    add_line(object, "suite", g->suite_hash);
    add_line(object, "manifest", g->manifest.hash);
    add_line(object, "engine", g->engine_hash);
    add_line(object, "image", getenv("IPCLAB_IMAGE_ID"));
}

/* Points by concept, in the manifest's order; what score() left out is left out here too. */
static void add_concept(cJSON *concepts, const struct manifest_test *test, int points)
{
    cJSON *entry = NULL, *known;

    if (test->bonus)
        return;
    cJSON_ArrayForEach (known, concepts) {
        if (strcmp(string_of(known, "concept"), test->concept) == 0)
            entry = known;
    }
    if (entry == NULL) {
        entry = cJSON_CreateObject();
        json_add_string(entry, "concept", test->concept);
        json_add_integer(entry, "points", 0);
        json_add_integer(entry, "max", 0);
        json_append(concepts, entry);
    }
    cJSON_SetNumberValue(cJSON_GetObjectItemCaseSensitive(entry, "points"),
                         (double)document_count(entry, "points") + points);
    cJSON_SetNumberValue(cJSON_GetObjectItemCaseSensitive(entry, "max"),
                         (double)document_count(entry, "max") + test->points);
}

static bool not_measured(const struct grading *g, const struct run *run)
{
    return run->status == RUN_NOT_MEASURED && g->status != STATUS_BUILD_FAILED &&
           g->status != STATUS_REJECTED;
}

static void add_points(cJSON *results, const struct grading *g)
{
    cJSON *concepts;
    int hidden = g->manifest.hidden_points;

    if (g->status == STATUS_GRADER_ERROR)
        json_add_string(results, "score", NULL);
    else
        json_add_integer(results, "score", g->score);
    json_add_integer(results, "max", g->max);
    json_add_integer(results, "bonus", g->bonus);

    for (size_t i = 0; g->options.public_only && i < g->manifest.test_count; i++) {
        if (g->manifest.tests[i].visibility != VISIBILITY_PUBLIC && !g->manifest.tests[i].bonus)
            hidden += g->manifest.tests[i].points;
    }
    json_add_integer(results, "hidden_points", hidden);

    concepts = json_add_array(results, "concepts");
    for (size_t i = 0; i < g->run_count; i++) {
        if (!not_measured(g, &g->runs[i]))
            add_concept(concepts, g->runs[i].test, g->runs[i].points);
    }
    for (size_t i = 0; g->run_count == 0 && i < g->manifest.test_count; i++) {
        if (grading_wants(g, &g->manifest.tests[i]))
            add_concept(concepts, &g->manifest.tests[i], 0);
    }
}

static void add_build(cJSON *results, const struct build_result *build)
{
    cJSON *object = json_add_object(results, "build");

    json_add_bool(object, "ok", build->ok);
    json_add_integer(object, "warnings", build->warnings < 0 ? 0 : build->warnings);
    add_text(object, "log", build->log ? build->log : "", DOCUMENT_LOG);
}

static bool has_failed(const struct run *run)
{
    return run->status == RUN_FAILED || run->status == RUN_CRASHED || run->status == RUN_TIMEOUT;
}

static void add_message(cJSON *object, const struct run *run)
{
    cJSON *message;

    if (run->status == RUN_PASSED ||
        (run->expected == NULL && run->got == NULL && run->see == NULL)) {
        json_add_string(object, "message", NULL);
        return;
    }
    message = json_add_object(object, "message");
    add_text(message, "expected", run->expected, DOCUMENT_MESSAGE);
    add_text(message, "got", run->got, DOCUMENT_MESSAGE);
    add_line(message, "see", run->see ? run->see : run->test->see);
}

static void add_memory(cJSON *object, const cJSON *findings)
{
    cJSON *array = json_add_array(object, "memory");
    const cJSON *finding;
    int count = 0;

    cJSON_ArrayForEach (finding, findings) {
        static const char *const numbers[] = {"line", "bytes"};
        cJSON *copy;

        if (!cJSON_IsObject(finding) || count++ >= DOCUMENT_FINDINGS)
            continue;
        copy = cJSON_CreateObject();
        json_append(array, copy);
        add_name(copy, "kind", string_of(finding, "kind"));
        add_line(copy, "function", string_of(finding, "function"));
        add_line(copy, "file", string_of(finding, "file"));
        for (size_t i = 0; i < 2; i++) {
            if (cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(finding, numbers[i])))
                json_add_integer(copy, numbers[i], document_count(finding, numbers[i]));
            else
                json_add_string(copy, numbers[i], NULL);
        }
        add_name(copy, "text", string_of(finding, "text"));
    }
}

/* A suite names the rule ("sockets"); a student reads the sentence. */
static const char *rule_sentence(const char *rule)
{
    unsigned exclusion = rule != NULL ? exclusion_of_name(rule) : 0;
    if (exclusion != 0)
        return exclusion_sentence((enum exclusion)exclusion);
    return rule;
}

static void add_refused(cJSON *object, const cJSON *refused)
{
    cJSON *array = json_add_array(object, "refused");
    const cJSON *call;
    int count = 0;

    cJSON_ArrayForEach (call, refused) {
        cJSON *copy;

        if (!cJSON_IsObject(call) || count++ >= DOCUMENT_CALLS)
            continue;
        copy = cJSON_CreateObject();
        json_append(array, copy);
        add_name(copy, "call", string_of(call, "call"));
        add_name(copy, "rule", rule_sentence(string_of(call, "rule")));
        json_add_integer(copy, "count", document_count(call, "count"));
    }
}

static void add_run(cJSON *runs, const struct grading *g, const struct run *run)
{
    const struct manifest_test *test = run->test;
    cJSON *object = cJSON_CreateObject();
    /* Where nothing could run, forty hints would hide the one reason. */
    bool ran = g->status != STATUS_BUILD_FAILED && g->status != STATUS_REJECTED;

    json_append(runs, object);
    add_name(object, "test", test->id);
    add_name(object, "concept", test->concept);
    json_add_string(object, "status", run_status_name(run->status));
    json_add_integer(object, "points", run->points);
    json_add_integer(object, "max", test->points);
    json_add_bool(object, "bonus", test->bonus);
    json_add_string(object, "visibility", visibility_name(test->visibility));
    json_add_string(object, "detail", detail_name(test->detail));
    add_message(object, run);
    add_line(object, "hint", ran && has_failed(run) ? (run->hint ? run->hint : test->hint) : NULL);
    add_text(object, "transcript", run->transcript, DOCUMENT_TRANSCRIPT);
    add_line(object, "repeat", run->repeat);
    add_seconds(object, "seconds", run->seconds);
    json_add_integer(object, "attempts", run->attempts < 0 ? 0 : run->attempts);
    add_seed(object, run->seed);
    add_memory(object, run->memory);
    add_refused(object, run->refused);
    document_add_leftovers(object, "leftovers", run->leftovers);
}

static void add_isolation(cJSON *results, const cJSON *isolation)
{
    cJSON *array = json_add_array(results, "isolation");
    const cJSON *layer;

    cJSON_ArrayForEach (layer, isolation) {
        cJSON *copy = cJSON_CreateObject();

        json_append(array, copy);
        add_name(copy, "layer", string_of(layer, "layer"));
        json_add_bool(copy, "active",
                      cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(layer, "active")));
        add_line(copy, "detail", string_of(layer, "detail"));
    }
}

/* What can be asked without starting a program: that would be paid for by every submission. */
static void add_environment(cJSON *results)
{
    cJSON *object = json_add_object(results, "environment");
    struct utsname system;
    bool known = uname(&system) == 0;

    json_add_string(object, "ipclab", IPCLAB_VERSION);
    add_line(object, "kernel", known ? system.release : NULL);
    add_line(object, "machine", known ? system.machine : NULL);
    add_line(object, "libc", gnu_get_libc_version());
    add_line(object, "built_with", __VERSION__);
    json_add_integer(object, "processors", sysconf(_SC_NPROCESSORS_ONLN));
}

static void add_timings(cJSON *results, const struct grading *g)
{
    static const char *const stages[] = {"intake", "build", "run", "score", "report"};
    cJSON *object = json_add_object(results, "timings");

    for (size_t i = 0; i < 5; i++) {
        double seconds = 0;

        for (size_t j = 0; j < 5; j++) {
            if (g->timings[j].stage != NULL && strcmp(g->timings[j].stage, stages[i]) == 0)
                seconds = g->timings[j].seconds;
        }
        add_seconds(object, stages[i], seconds);
    }
}

cJSON *results_make(const struct grading *g)
{
    cJSON *results = cJSON_CreateObject();
    cJSON *array;
    const cJSON *sentence;
    const char *lab = g->manifest.lab ? g->manifest.lab : g->options.lab;

    json_add_integer(results, "schema_version", DOCUMENT_VERSION);
    add_name(results, "lab", lab);
    add_name(results, "title", g->manifest.title ? g->manifest.title : lab);
    add_submission(results, &g->submission);
    json_add_string(results, "status", grading_status_name(g->status));
    add_line(results, "reason", g->status == STATUS_GRADED ? NULL : g->reason.text);
    json_add_bool(results, "official", g->official);
    array = json_add_array(results, "not_official");
    cJSON_ArrayForEach (sentence, g->not_official) {
        if (cJSON_IsString(sentence))
            append_line(array, sentence->valuestring);
    }
    add_points(results, g);
    add_build(results, &g->build);
    array = json_add_array(results, "runs");
    for (size_t i = 0; i < g->run_count; i++)
        add_run(array, g, &g->runs[i]);
    document_add_sums(results, array);
    json_add_array(results, "advice");
    add_isolation(results, g->isolation);
    add_hashes(results, g);
    add_environment(results);
    add_seed(results, g->seed);
    json_add_integer(results, "reruns", g->reruns < 0 ? 0 : g->reruns);
    add_timings(results, g);
    return results;
}
