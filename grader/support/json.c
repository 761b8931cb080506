#include "support/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/files.h"
#include "support/memory.h"
#include "support/strbuf.h"
#include "support/text.h"

static int line_of(const char *text, const char *at)
{
    int line = 1;
    for (const char *p = text; p < at; p++)
        line += *p == '\n';
    return line;
}

cJSON *json_parse(const char *text, size_t len, const char *where, struct error *err)
{
    if (!text_is_utf8(text, len)) {
        error_set(err, FAULT_GRADER, "%s: not UTF-8 text", where);
        return NULL;
    }
    const char *end = NULL;
    cJSON *root = len ? cJSON_ParseWithLengthOpts(text, len, &end, 0) : NULL;
    if (!end)
        end = text;
    if (root) {
        while (end < text + len && strchr(" \t\r\n", *end))
            end++;
        if (end == text + len)
            return root;
        cJSON_Delete(root);
    }
    error_set(err, FAULT_GRADER, "%s:%d: not valid JSON", where, line_of(text, end));
    return NULL;
}

cJSON *json_parse_file(const char *path, size_t max, struct error *err)
{
    struct strbuf text = STRBUF_INIT;
    cJSON *root = NULL;
    if (file_read(path, max, &text, err) == 0)
        root = json_parse(text.text, text.len, path, err);
    strbuf_release(&text);
    return root;
}

const char *json_string(const cJSON *object, const char *key, const char *where, struct error *err)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (cJSON_IsString(item))
        return item->valuestring;
    error_set(err, FAULT_GRADER, "%s: '%s' %s", where, key,
              item ? "is not a string" : "is missing");
    return NULL;
}

/* True when `item` is a whole number that a long holds. */
static bool is_integer(const cJSON *item)
{
    return cJSON_IsNumber(item) && item->valuedouble == floor(item->valuedouble) &&
           fabs(item->valuedouble) <= 9007199254740991.0;
}

int json_integer(const cJSON *object, const char *key, long min, long max, long *value,
                 const char *where, struct error *err)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!item)
        return error_set(err, FAULT_GRADER, "%s: '%s' is missing", where, key);
    if (!is_integer(item))
        return error_set(err, FAULT_GRADER, "%s: '%s' is not an integer", where, key);
    long number = (long)item->valuedouble;
    if (number < min || number > max)
        return error_set(err, FAULT_GRADER, "%s: '%s' is %ld, not within %ld to %ld", where, key,
                         number, min, max);
    *value = number;
    return 0;
}

const char *json_string_or(const cJSON *object, const char *key, const char *missing)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsString(item) ? item->valuestring : missing;
}

long json_integer_or(const cJSON *object, const char *key, long missing)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return is_integer(item) ? (long)item->valuedouble : missing;
}

bool json_bool_or(const cJSON *object, const char *key, bool missing)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsBool(item) ? cJSON_IsTrue(item) : missing;
}

void json_add_text(cJSON *object, const char *key, const void *bytes, size_t len, size_t max)
{
    struct strbuf clean = STRBUF_INIT;
    text_clean(&clean, bytes, len, max);
    json_add_string(object, key, clean.text);
    strbuf_release(&clean);
}

cJSON *json_add_object(cJSON *object, const char *key)
{
    cJSON *item = cJSON_AddObjectToObject(object, key);
    if (!item)
        out_of_memory();
    return item;
}

cJSON *json_add_array(cJSON *object, const char *key)
{
    cJSON *item = cJSON_AddArrayToObject(object, key);
    if (!item)
        out_of_memory();
    return item;
}

void json_add_string(cJSON *object, const char *key, const char *value)
{
    if (!(value ? cJSON_AddStringToObject(object, key, value) : cJSON_AddNullToObject(object, key)))
        out_of_memory();
}

void json_add_integer(cJSON *object, const char *key, long long value)
{
    if (!cJSON_AddNumberToObject(object, key, (double)value))
        out_of_memory();
}

void json_add_seconds(cJSON *object, const char *key, double seconds)
{
    double rounded = isfinite(seconds) ? round(seconds * 1000) / 1000 : 0;
    if (!cJSON_AddNumberToObject(object, key, rounded == 0 ? 0 : rounded)) /* no "-0" */
        out_of_memory();
}

void json_add_bool(cJSON *object, const char *key, bool value)
{
    if (!cJSON_AddBoolToObject(object, key, value))
        out_of_memory();
}

void json_append(cJSON *array, cJSON *item)
{
    if (!item || !cJSON_AddItemToArray(array, item))
        out_of_memory();
}

char *json_print(const cJSON *root, bool indented)
{
    char *raw = indented ? cJSON_Print(root) : cJSON_PrintUnformatted(root);
    if (!raw)
        out_of_memory();
    if (!indented)
        return raw;
    /* cJSON indents with tabs and puts one behind each colon; inside strings it escapes them. */
    struct strbuf out = STRBUF_INIT;
    bool at_start = true;
    for (const char *p = raw; *p; p++) {
        if (*p == '\t')
            strbuf_addstr(&out, at_start ? "  " : " ");
        else
            strbuf_addch(&out, *p);
        at_start = *p == '\n' || (at_start && *p == '\t');
    }
    cJSON_free(raw);
    return strbuf_detach(&out);
}

int json_write_whole(const char *path, mode_t mode, const cJSON *root, struct error *err)
{
    struct strbuf text = STRBUF_INIT;
    char *printed = json_print(root, true);
    strbuf_addstr(&text, printed);
    strbuf_addch(&text, '\n');
    int result = file_write_whole(path, mode, text.text, text.len, err);
    free(printed);
    strbuf_release(&text);
    return result;
}
