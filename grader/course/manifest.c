#include "course/manifest.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox/exclusion.h"
#include "support/files.h"
#include "support/json.h"
#include "support/memory.h"
#include "support/strbuf.h"

enum { MANIFEST_MAX_BYTES = 1 << 20, MANIFEST_MAX_TESTS = 2000 };

static const char *const visibility_names[] = {"public", "hidden", "after_due"};
static const char *const detail_names[] = {"full", "message", "verdict"};

const char *visibility_name(enum visibility v)
{
    return visibility_names[v];
}

const char *detail_name(enum detail d)
{
    return detail_names[d];
}

static int name_index(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(name, names[i]) == 0)
            return (int)i;
    }
    return -1;
}

/* A misspelt key would silently mean its default, so every object's keys are checked. */
static int check_keys(const cJSON *object, const char *const *allowed, const char *where,
                      struct error *err)
{
    for (const cJSON *m = object->child; m; m = m->next) {
        bool known = false;
        for (size_t i = 0; allowed[i]; i++)
            known = known || strcmp(m->string, allowed[i]) == 0;
        if (!known)
            return error_set(err, FAULT_GRADER, "%s: unknown member '%s'", where, m->string);
        for (const cJSON *n = m->next; n; n = n->next) {
            if (strcmp(m->string, n->string) == 0)
                return error_set(err, FAULT_GRADER, "%s: '%s' stands there twice", where,
                                 m->string);
        }
    }
    return 0;
}

static bool is_file_name(const char *name)
{
    if (!*name || *name == '.' || strlen(name) > 64)
        return false;
    for (const char *c = name; *c; c++) {
        if (!isalnum((unsigned char)*c) && !strchr("._-+", *c))
            return false;
    }
    return true;
}

static bool is_test_id(const char *id)
{
    const char *slash = strchr(id, '/');
    if (!slash || slash == id || !slash[1] || strlen(id) > 100)
        return false;
    for (const char *c = id; *c; c++) {
        if (c != slash && !isalnum((unsigned char)*c) && *c != '_')
            return false;
    }
    return true;
}

/* An array of strings as a NULL-terminated vector; each must pass `valid` where given. */
static const char **string_list(const cJSON *object, const char *key, bool required,
                                bool (*valid)(const char *), const char *where, struct error *err)
{
    const cJSON *array = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!array && !required)
        return xcalloc(1, sizeof(char *));
    if (!cJSON_IsArray(array)) {
        error_set(err, FAULT_GRADER, "%s: '%s' must be a list of strings", where, key);
        return NULL;
    }
    size_t count = (size_t)cJSON_GetArraySize(array), i = 0;
    const char **list = xcalloc(count + 1, sizeof(char *));
    const cJSON *item;
    cJSON_ArrayForEach (item, array) {
        if (!cJSON_IsString(item) || (valid && !valid(item->valuestring))) {
            error_set(err, FAULT_GRADER, "%s: '%s' has an entry that is not allowed there", where,
                      key);
            free(list);
            return NULL;
        }
        list[i++] = item->valuestring;
    }
    return list;
}

static int load_programs(struct manifest *m, const char *where, struct error *err)
{
    static const char *const keys[] = {"name", "sources", "libraries", NULL};
    const cJSON *array = cJSON_GetObjectItemCaseSensitive(m->root, "programs"), *item;
    if (!cJSON_IsArray(array) || cJSON_GetArraySize(array) == 0)
        return error_set(err, FAULT_GRADER, "%s: 'programs' must list at least one program", where);
    m->programs = xcalloc((size_t)cJSON_GetArraySize(array), sizeof(*m->programs));
    cJSON_ArrayForEach (item, array) {
        struct manifest_program *p = &m->programs[m->program_count++];
        if (check_keys(item, keys, where, err))
            return -1;
        p->name = json_string(item, "name", where, err);
        if (!p->name)
            return -1;
        if (!is_file_name(p->name))
            return error_set(err, FAULT_GRADER, "%s: program name '%s' is no plain file name",
                             where, p->name);
        p->sources = string_list(item, "sources", true, is_file_name, where, err);
        p->libraries = string_list(item, "libraries", false, NULL, where, err);
        if (!p->sources || !p->libraries)
            return -1;
    }
    return 0;
}

static int load_files(struct manifest *m, const char *where, struct error *err)
{
    static const char *const keys[] = {"name", "required", NULL};
    const cJSON *array = cJSON_GetObjectItemCaseSensitive(m->root, "files"), *item;
    if (!cJSON_IsArray(array) || cJSON_GetArraySize(array) == 0)
        return error_set(err, FAULT_GRADER, "%s: 'files' must list what a student submits", where);
    m->files = xcalloc((size_t)cJSON_GetArraySize(array), sizeof(*m->files));
    cJSON_ArrayForEach (item, array) {
        struct manifest_file *f = &m->files[m->file_count];
        if (check_keys(item, keys, where, err))
            return -1;
        f->name = json_string(item, "name", where, err);
        if (!f->name)
            return -1;
        if (!is_file_name(f->name))
            return error_set(err, FAULT_GRADER, "%s: '%s' is no plain file name", where, f->name);
        for (size_t i = 0; i < m->file_count; i++) {
            if (strcmp(m->files[i].name, f->name) == 0)
                return error_set(err, FAULT_GRADER, "%s: file '%s' stands there twice", where,
                                 f->name);
        }
        f->required = json_bool_or(item, "required", false);
        m->file_count++;
    }
    m->given = string_list(m->root, "given", false, is_file_name, where, err);
    return m->given ? 0 : -1;
}

static int load_excludes(struct manifest *m, const char *where, struct error *err)
{
    const char **list = string_list(m->root, "excludes", false, NULL, where, err);
    if (!list)
        return -1;
    for (size_t i = 0; list[i]; i++) {
        unsigned bit = exclusion_of_name(list[i]);
        if (!bit) {
            error_set(err, FAULT_GRADER, "%s: 'excludes' does not know '%s'", where, list[i]);
            free(list);
            return -1;
        }
        m->excludes |= bit;
    }
    free(list);
    return 0;
}

static int limit(const cJSON *limits, const char *key, long min, long max, long missing, int *value,
                 const char *where, struct error *err)
{
    long number = missing;
    if (cJSON_GetObjectItemCaseSensitive(limits, key) &&
        json_integer(limits, key, min, max, &number, where, err))
        return -1;
    *value = (int)number;
    return 0;
}

static int load_limits(struct manifest *m, const char *where, struct error *err)
{
    static const char *const keys[] = {"test_seconds", "memcheck_seconds", "cpu_seconds",
                                       "descriptors",  "processes",        "memory_mb",
                                       "file_mb",      "submission_kb",    NULL};
    const cJSON *limits = cJSON_GetObjectItemCaseSensitive(m->root, "limits");
    struct manifest_limits *l = &m->limits;
    if (limits && (!cJSON_IsObject(limits) || check_keys(limits, keys, where, err)))
        return error_set(err, FAULT_GRADER, "%s: 'limits' must be an object", where);
    if (limit(limits, "test_seconds", 1, 600, 10, &l->test_seconds, where, err) ||
        limit(limits, "memcheck_seconds", 1, 600, 60, &l->memcheck_seconds, where, err) ||
        limit(limits, "cpu_seconds", 1, 600, 8, &l->cpu_seconds, where, err) ||
        limit(limits, "descriptors", 16, 65536, 256, &l->descriptors, where, err) ||
        limit(limits, "processes", 4, 4096, 200, &l->processes, where, err) ||
        limit(limits, "memory_mb", 0, 65536, 1024, &l->memory_mb, where, err) ||
        limit(limits, "file_mb", 1, 4096, 64, &l->file_mb, where, err) ||
        limit(limits, "submission_kb", 1, 65536, 256, &l->submission_kb, where, err))
        return -1;
    return 0;
}

static int load_test(struct manifest *m, const cJSON *item, const char *where, struct error *err)
{
    static const char *const keys[] = {"id",   "points", "bonus", "visibility", "detail", "concept",
                                       "hint", "see",    "alone", "seconds",    NULL};
    struct manifest_test *t = &m->tests[m->test_count];
    long points, seconds = 0;
    if (!cJSON_IsObject(item))
        return error_set(err, FAULT_GRADER, "%s: 'tests' must be a list of objects", where);
    t->id = json_string(item, "id", where, err);
    if (!t->id)
        return -1;
    char *place = xasprintf("%s: test '%s'", where, t->id);
    int result = -1;
    if (!is_test_id(t->id)) {
        error_set(err, FAULT_GRADER, "%s: an id is SUITE/NAME, of letters, digits and '_'", place);
        goto out;
    }
    if (manifest_find(m, t->id)) {
        error_set(err, FAULT_GRADER, "%s: the id stands there twice", place);
        goto out;
    }
    t->concept = json_string(item, "concept", place, err);
    t->hint = json_string(item, "hint", place, err);
    t->see = json_string(item, "see", place, err);
    const char *visibility = json_string(item, "visibility", place, err);
    const char *detail = json_string(item, "detail", place, err);
    if (check_keys(item, keys, place, err) || !t->concept || !t->hint || !t->see || !visibility ||
        !detail || json_integer(item, "points", 0, 100, &points, place, err))
        goto out;
    int v = name_index(visibility, visibility_names, 3), d = name_index(detail, detail_names, 3);
    if (v < 0 || d < 0) {
        error_set(err, FAULT_GRADER,
                  "%s: visibility is public, hidden or after_due; detail full, message or verdict",
                  place);
        goto out;
    }
    if (cJSON_GetObjectItemCaseSensitive(item, "seconds") &&
        json_integer(item, "seconds", 1, 600, &seconds, place, err))
        goto out;
    t->points = (int)points;
    t->visibility = (enum visibility)v;
    t->detail = (enum detail)d;
    t->bonus = json_bool_or(item, "bonus", false);
    t->alone = json_bool_or(item, "alone", false);
    t->memcheck = strncmp(t->id, "memcheck/", 9) == 0;
    t->seconds = seconds       ? (int)seconds
                 : t->memcheck ? m->limits.memcheck_seconds
                               : m->limits.test_seconds;
    m->test_count++;
    result = 0;
out:
    free(place);
    return result;
}

static int load_tests(struct manifest *m, const char *where, struct error *err)
{
    const cJSON *array = cJSON_GetObjectItemCaseSensitive(m->root, "tests"), *item;
    if (!cJSON_IsArray(array) || cJSON_GetArraySize(array) > MANIFEST_MAX_TESTS)
        return error_set(err, FAULT_GRADER, "%s: 'tests' must be a list of at most %d tests", where,
                         MANIFEST_MAX_TESTS);
    m->tests = xcalloc((size_t)cJSON_GetArraySize(array) + 1, sizeof(*m->tests));
    int sum = 0;
    cJSON_ArrayForEach (item, array) {
        if (load_test(m, item, where, err))
            return -1;
        const struct manifest_test *t = &m->tests[m->test_count - 1];
        if (!t->bonus)
            sum += t->points;
        if (m->cut && t->visibility != VISIBILITY_PUBLIC)
            return error_set(err, FAULT_GRADER, "%s: a cut manifest holds the hidden test '%s'",
                             where, t->id);
    }
    const cJSON *hidden = cJSON_GetObjectItemCaseSensitive(m->root, "hidden");
    cJSON_ArrayForEach (item, hidden) {
        m->hidden_points += (int)json_integer_or(item, "points", 0);
    }
    if (sum + m->hidden_points != 100)
        return error_set(err, FAULT_GRADER, "%s: the points sum to %d instead of 100", where,
                         sum + m->hidden_points);
    return 0;
}

int manifest_load(struct manifest *m, const char *path, struct error *err)
{
    static const char *const keys[] = {
        "schema_version", "lab",    "title",   "programs", "files",  "given", "tests",
        "excludes",       "limits", "machine", "cut",      "hidden", NULL};
    struct strbuf bytes = STRBUF_INIT;
    *m = (struct manifest){0};
    if (file_read(path, MANIFEST_MAX_BYTES, &bytes, err))
        return -1;
    hash_bytes(bytes.text, bytes.len, m->hash);
    m->root = json_parse(bytes.text, bytes.len, path, err);
    strbuf_release(&bytes);
    if (!m->root)
        return -1;
    if (!cJSON_IsObject(m->root)) {
        error_set(err, FAULT_GRADER, "%s: a manifest is an object", path);
        goto fail;
    }
    long version;
    if (json_integer(m->root, "schema_version", 1, 1, &version, path, err) ||
        check_keys(m->root, keys, path, err))
        goto fail;
    m->cut = json_bool_or(m->root, "cut", false);
    m->lab = json_string(m->root, "lab", path, err);
    m->title = json_string(m->root, "title", path, err);
    if (!m->lab || !m->title || load_programs(m, path, err) || load_files(m, path, err) ||
        load_excludes(m, path, err) || load_limits(m, path, err) || load_tests(m, path, err))
        goto fail;
    return 0;
fail:
    manifest_release(m);
    return -1;
}

void manifest_release(struct manifest *m)
{
    for (size_t i = 0; i < m->program_count; i++) {
        free((void *)m->programs[i].sources);
        free((void *)m->programs[i].libraries);
    }
    free(m->programs);
    free(m->files);
    free((void *)m->given);
    free(m->tests);
    cJSON_Delete(m->root);
    *m = (struct manifest){0};
}

const struct manifest_test *manifest_find(const struct manifest *m, const char *id)
{
    for (size_t i = 0; i < m->test_count; i++) {
        if (strcmp(m->tests[i].id, id) == 0)
            return &m->tests[i];
    }
    return NULL;
}

const struct manifest_test *manifest_named(const struct manifest *m, const char *name)
{
    size_t len = strlen(m->lab);
    const struct manifest_test *t = NULL;
    if (strncmp(name, m->lab, len) == 0 && name[len] == '/')
        t = manifest_find(m, name + len + 1);
    return t ? t : manifest_find(m, name);
}

/* The entry of `concept` in the array, made when it is not there yet. */
static cJSON *hidden_entry(cJSON *array, const char *concept)
{
    cJSON *item;
    cJSON_ArrayForEach (item, array) {
        if (strcmp(json_string_or(item, "concept", ""), concept) == 0)
            return item;
    }
    item = cJSON_CreateObject();
    json_append(array, item);
    json_add_string(item, "concept", concept);
    json_add_integer(item, "tests", 0);
    json_add_integer(item, "points", 0);
    return item;
}

static void add_to(cJSON *object, const char *key, long more)
{
    cJSON *number = cJSON_GetObjectItemCaseSensitive(object, key);
    if (number)
        cJSON_SetNumberHelper(number, number->valuedouble + (double)more);
}

cJSON *manifest_cut(const struct manifest *m)
{
    cJSON *cut = cJSON_CreateObject();
    for (const cJSON *member = m->root->child; member; member = member->next) {
        if (strcmp(member->string, "tests") == 0 || strcmp(member->string, "hidden") == 0 ||
            strcmp(member->string, "cut") == 0)
            continue;
        cJSON *copy = cJSON_Duplicate(member, true);
        if (!copy)
            out_of_memory();
        cJSON_AddItemToObject(cut, member->string, copy);
    }
    json_add_bool(cut, "cut", true);
    cJSON *tests = json_add_array(cut, "tests"), *hidden = json_add_array(cut, "hidden");
    const cJSON *item;
    cJSON_ArrayForEach (item, cJSON_GetObjectItemCaseSensitive(m->root, "tests")) {
        if (strcmp(json_string_or(item, "visibility", ""), "public") == 0) {
            cJSON *copy = cJSON_Duplicate(item, true);
            if (!copy)
                out_of_memory();
            json_append(tests, copy);
            continue;
        }
        if (json_bool_or(item, "bonus", false))
            continue;
        cJSON *entry = hidden_entry(hidden, json_string_or(item, "concept", ""));
        add_to(entry, "tests", 1);
        add_to(entry, "points", json_integer_or(item, "points", 0));
    }
    return cut;
}
