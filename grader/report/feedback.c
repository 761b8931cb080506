/*
 * The one filter between what the grader knows and what a student may see.
 *
 * It builds a new document, member by member, from the lists below. Nothing is copied because it
 * happens to be there: a member that results.json gains one day is not in feedback.json until
 * somebody adds it here. What is hidden is anything whose visibility is not exactly "public".
 *
 * A hidden test tells its concept and whether it passed: no id (names tell what is tested), no
 * time, no way of dying (a crash and a time-out are told as `failed`: they would be two more bits),
 * no seed, no findings, refusals or leftovers. The manifest may allow its message (detail
 * "message") or its message and transcript ("full").
 */
#include "report/report.h"

#include <string.h>

#include "report/document.h"
#include "support/json.h"

static const cJSON *member(const cJSON *object, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

static const char *string_of(const cJSON *object, const char *key)
{
    return cJSON_GetStringValue(member(object, key));
}

static bool has(const cJSON *object, const char *key, const char *value)
{
    const char *string = string_of(object, key);

    return string != NULL && strcmp(string, value) == 0;
}

/* ---- copying one member of a known type; anything else becomes null, 0 or false ---- */

static void copy_string(cJSON *to, const cJSON *from, const char *key)
{
    json_add_string(to, key, string_of(from, key));
}

static void copy_count(cJSON *to, const cJSON *from, const char *key)
{
    json_add_integer(to, key, document_count(from, key));
}

static void copy_count_or_null(cJSON *to, const cJSON *from, const char *key)
{
    if (cJSON_IsNumber(member(from, key)))
        copy_count(to, from, key);
    else
        json_add_string(to, key, NULL);
}

static void copy_bool(cJSON *to, const cJSON *from, const char *key)
{
    json_add_bool(to, key, cJSON_IsTrue(member(from, key)));
}

static void copy_strings(cJSON *to, const cJSON *from, const char *key)
{
    cJSON *array = json_add_array(to, key);
    const cJSON *item;

    cJSON_ArrayForEach (item, member(from, key)) {
        if (cJSON_IsString(item))
            json_append(array, cJSON_CreateString(item->valuestring));
    }
}

/* ---- public runs ---- */

static bool is_public(const cJSON *run)
{
    return has(run, "visibility", "public");
}

static void copy_message(cJSON *to, const cJSON *run)
{
    const cJSON *message = member(run, "message");
    cJSON *copy;

    if (!cJSON_IsObject(message)) {
        json_add_string(to, "message", NULL);
        return;
    }
    copy = json_add_object(to, "message");
    copy_string(copy, message, "expected");
    copy_string(copy, message, "got");
    copy_string(copy, message, "see");
}

static void copy_findings(cJSON *to, const cJSON *run)
{
    cJSON *array = json_add_array(to, "memory");
    const cJSON *finding;

    cJSON_ArrayForEach (finding, member(run, "memory")) {
        cJSON *copy = cJSON_CreateObject();

        json_append(array, copy);
        copy_string(copy, finding, "kind");
        copy_string(copy, finding, "function");
        copy_string(copy, finding, "file");
        copy_count_or_null(copy, finding, "line");
        copy_count_or_null(copy, finding, "bytes");
        copy_string(copy, finding, "text");
    }
}

static void copy_refused(cJSON *to, const cJSON *run)
{
    cJSON *array = json_add_array(to, "refused");
    const cJSON *call;

    cJSON_ArrayForEach (call, member(run, "refused")) {
        cJSON *copy = cJSON_CreateObject();

        json_append(array, copy);
        copy_string(copy, call, "call");
        copy_string(copy, call, "rule");
        copy_count(copy, call, "count");
    }
}

static void add_public_run(cJSON *runs, const cJSON *run)
{
    cJSON *copy = cJSON_CreateObject();
    const cJSON *seconds = member(run, "seconds");

    json_append(runs, copy);
    copy_string(copy, run, "test");
    copy_string(copy, run, "concept");
    copy_string(copy, run, "status");
    copy_count(copy, run, "points");
    copy_count(copy, run, "max");
    copy_bool(copy, run, "bonus");
    copy_string(copy, run, "visibility");
    copy_string(copy, run, "detail");
    copy_message(copy, run);
    copy_string(copy, run, "hint");
    copy_string(copy, run, "transcript");
    copy_string(copy, run, "repeat");
    json_add_seconds(copy, "seconds", cJSON_IsNumber(seconds) ? seconds->valuedouble : 0);
    copy_count(copy, run, "attempts");
    copy_string(copy, run, "seed");
    copy_findings(copy, run);
    copy_refused(copy, run);
    document_add_leftovers(copy, "leftovers", member(run, "leftovers"));
}

/* ---- hidden runs ---- */

static void add_number(cJSON *entry, const char *key, long more)
{
    cJSON_SetNumberValue(cJSON_GetObjectItemCaseSensitive(entry, key),
                         (double)(document_count(entry, key) + more));
}

static cJSON *concept_entry(cJSON *hidden, const char *concept)
{
    cJSON *entry;

    cJSON_ArrayForEach (entry, hidden) {
        if (has(entry, "concept", concept))
            return entry;
    }
    entry = cJSON_CreateObject();
    json_append(hidden, entry);
    json_add_string(entry, "concept", concept);
    json_add_integer(entry, "tests", 0);
    json_add_integer(entry, "passed", 0);
    json_add_integer(entry, "points", 0);
    json_add_integer(entry, "max", 0);
    json_add_array(entry, "runs");
    return entry;
}

static void add_hidden_run(cJSON *hidden, const cJSON *run)
{
    const char *concept = string_of(run, "concept");
    cJSON *entry = concept_entry(hidden, concept ? concept : "");
    cJSON *copy = cJSON_CreateObject();
    bool passed = has(run, "status", "passed");
    bool measured = !has(run, "status", "not_measured") && !has(run, "status", "not_run");
    bool tells = !passed && measured;

    json_append(cJSON_GetObjectItemCaseSensitive(entry, "runs"), copy);
    json_add_string(copy, "status", passed ? "passed" : measured ? "failed" : "not_measured");
    copy_count(copy, run, "points");
    copy_count(copy, run, "max");
    copy_bool(copy, run, "bonus");
    if (tells && (has(run, "detail", "message") || has(run, "detail", "full"))) {
        copy_message(copy, run);
        copy_string(copy, run, "hint");
    } else {
        json_add_string(copy, "message", NULL);
        json_add_string(copy, "hint", NULL);
    }
    if (tells && has(run, "detail", "full"))
        copy_string(copy, run, "transcript");
    else
        json_add_string(copy, "transcript", NULL);

    add_number(entry, "tests", 1);
    add_number(entry, "passed", passed);
    if (measured && !cJSON_IsTrue(member(run, "bonus"))) {
        add_number(entry, "points", document_count(run, "points"));
        add_number(entry, "max", document_count(run, "max"));
    }
}

/* ---- the rest ---- */

/*
 * Why a submission was refused or did not build is about the submission. Why the grader failed may
 * be about a hidden test: it is told only where there was none.
 */
static void add_reason(cJSON *feedback, const cJSON *results)
{
    const cJSON *runs = member(results, "runs"), *run;
    bool secret = !cJSON_IsArray(runs) || cJSON_GetArraySize(runs) == 0;

    cJSON_ArrayForEach (run, runs) {
        secret |= !is_public(run);
    }
    if (has(results, "status", "grader_error") && secret)
        json_add_string(feedback, "reason",
                        "the grader could not finish: this is no fault of the submission, and no "
                        "score is given; whoever runs it finds the cause in results.json");
    else
        copy_string(feedback, results, "reason");
}

static void add_submission(cJSON *feedback, const cJSON *results)
{
    const cJSON *from = member(results, "submission");
    cJSON *copy = json_add_object(feedback, "submission");

    copy_string(copy, from, "id");
    copy_string(copy, from, "sha256");
    copy_string(copy, from, "commit");
    copy_string(copy, from, "received_at");
    copy_strings(copy, from, "files");
    copy_strings(copy, from, "ignored");
    copy_count(copy, from, "ignored_count");
}

static void add_concepts(cJSON *feedback, const cJSON *results)
{
    cJSON *array = json_add_array(feedback, "concepts");
    const cJSON *concept;

    cJSON_ArrayForEach (concept, member(results, "concepts")) {
        cJSON *copy = cJSON_CreateObject();

        json_append(array, copy);
        copy_string(copy, concept, "concept");
        copy_count(copy, concept, "points");
        copy_count(copy, concept, "max");
    }
}

cJSON *feedback_make(const cJSON *results)
{
    cJSON *feedback = cJSON_CreateObject();
    cJSON *build, *runs, *hidden, *layers, *environment;
    const cJSON *item;

    copy_count(feedback, results, "schema_version");
    copy_string(feedback, results, "lab");
    copy_string(feedback, results, "title");
    add_submission(feedback, results);
    copy_string(feedback, results, "status");
    add_reason(feedback, results);
    copy_bool(feedback, results, "official");
    copy_strings(feedback, results, "not_official");
    copy_count_or_null(feedback, results, "score");
    copy_count(feedback, results, "max");
    copy_count(feedback, results, "bonus");
    copy_count(feedback, results, "hidden_points");
    add_concepts(feedback, results);

    build = json_add_object(feedback, "build");
    copy_bool(build, member(results, "build"), "ok");
    copy_count(build, member(results, "build"), "warnings");
    copy_string(build, member(results, "build"), "log");

    runs = json_add_array(feedback, "runs");
    hidden = json_add_array(feedback, "hidden");
    cJSON_ArrayForEach (item, member(results, "runs")) {
        if (is_public(item))
            add_public_run(runs, item);
        else
            add_hidden_run(hidden, item);
    }
    document_add_sums(feedback, runs);
    json_add_array(feedback, "advice");

    /* Which layers were in force, without what the machine says of itself. */
    layers = json_add_array(feedback, "isolation");
    cJSON_ArrayForEach (item, member(results, "isolation")) {
        cJSON *copy = cJSON_CreateObject();

        json_append(layers, copy);
        copy_string(copy, item, "layer");
        copy_bool(copy, item, "active");
    }
    environment = json_add_object(feedback, "environment");
    copy_string(environment, member(results, "environment"), "ipclab");
    return feedback;
}
