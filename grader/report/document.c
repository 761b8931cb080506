#include "report/document.h"

#include <math.h>
#include <string.h>

#include "support/json.h"

static const char *const leftover_kinds[] = {"processes", "shared_memory", "queues", "sysv",
                                             "files"};
enum { LEFTOVER_KINDS = sizeof leftover_kinds / sizeof *leftover_kinds };

long document_count(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

    if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble) || item->valuedouble < 0)
        return 0;
    if (item->valuedouble > DOCUMENT_COUNT)
        return DOCUMENT_COUNT;
    return (long)item->valuedouble;
}

void document_add_leftovers(cJSON *out, const char *key, const cJSON *leftovers)
{
    cJSON *counts = json_add_object(out, key);

    for (size_t i = 0; i < LEFTOVER_KINDS; i++)
        json_add_integer(counts, leftover_kinds[i], document_count(leftovers, leftover_kinds[i]));
}

static void add_findings(cJSON *document, const cJSON *runs)
{
    cJSON *all = json_add_array(document, "memory_findings");
    int count = 0;
    const cJSON *run, *finding;

    cJSON_ArrayForEach (run, runs) {
        cJSON_ArrayForEach (finding, cJSON_GetObjectItemCaseSensitive(run, "memory")) {
            cJSON *copy;

            if (count++ >= DOCUMENT_ALL_FINDINGS)
                return;
            copy = cJSON_Duplicate(finding, true);
            json_add_string(copy, "test",
                            cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(run, "test")));
            json_append(all, copy);
        }
    }
}

static cJSON *find_call(cJSON *all, const char *call, const char *rule)
{
    cJSON *known;

    cJSON_ArrayForEach (known, all) {
        if (strcmp(cJSON_GetObjectItemCaseSensitive(known, "call")->valuestring, call) == 0 &&
            strcmp(cJSON_GetObjectItemCaseSensitive(known, "rule")->valuestring, rule) == 0)
            return known;
    }
    return NULL;
}

static void add_call(cJSON *all, const cJSON *refused)
{
    const char *call = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(refused, "call"));
    const char *rule = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(refused, "rule"));
    cJSON *known;

    if (call == NULL || rule == NULL)
        return;
    known = find_call(all, call, rule);
    if (known == NULL) {
        if (cJSON_GetArraySize(all) >= DOCUMENT_CALLS)
            return;
        known = cJSON_CreateObject();
        json_add_string(known, "call", call);
        json_add_string(known, "rule", rule);
        json_add_integer(known, "count", 0);
        json_append(all, known);
    }
    double sum = document_count(known, "count") + document_count(refused, "count");
    cJSON_SetNumberValue(cJSON_GetObjectItemCaseSensitive(known, "count"),
                         sum > DOCUMENT_COUNT ? DOCUMENT_COUNT : sum);
}

void document_add_sums(cJSON *document, const cJSON *runs)
{
    long sums[LEFTOVER_KINDS] = {0};
    cJSON *calls, *counts;
    const cJSON *run, *refused;

    add_findings(document, runs);

    calls = json_add_array(document, "refused_calls");
    cJSON_ArrayForEach (run, runs) {
        cJSON_ArrayForEach (refused, cJSON_GetObjectItemCaseSensitive(run, "refused")) {
            add_call(calls, refused);
        }
    }

    cJSON_ArrayForEach (run, runs) {
        const cJSON *left = cJSON_GetObjectItemCaseSensitive(run, "leftovers");

        for (size_t i = 0; i < LEFTOVER_KINDS; i++) {
            sums[i] += document_count(left, leftover_kinds[i]);
            if (sums[i] > DOCUMENT_COUNT)
                sums[i] = DOCUMENT_COUNT;
        }
    }
    counts = json_add_object(document, "leftovers");
    for (size_t i = 0; i < LEFTOVER_KINDS; i++)
        json_add_integer(counts, leftover_kinds[i], sums[i]);
}
