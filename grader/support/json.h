/*
 * json.h - cJSON, with what we ask of it besides: errors with a place, clean text, whole files.
 *
 * Nodes belong to cJSON's trees as always: what json_parse* returns is freed with cJSON_Delete.
 */
#ifndef IPCLAB_SUPPORT_JSON_H
#define IPCLAB_SUPPORT_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "support/error.h"

/*
 * Parses `text`, which must be one JSON document of valid UTF-8 and nothing else; `where` (a file's
 * name) begins the message, which gives the line. NULL and `err` (FAULT_GRADER) on a fault.
 */
cJSON *json_parse(const char *text, size_t len, const char *where, struct error *err);
cJSON *json_parse_file(const char *path, size_t max, struct error *err);

/* Members of `object`; with a wrong type, or missing, -1 / NULL and `err` names `where` and key. */
const char *json_string(const cJSON *object, const char *key, const char *where, struct error *err);
int json_integer(const cJSON *object, const char *key, long min, long max, long *value,
                 const char *where, struct error *err);

/* The same where the member may be missing: then the default, without an error. */
const char *json_string_or(const cJSON *object, const char *key, const char *missing);
long json_integer_or(const cJSON *object, const char *key, long missing);
bool json_bool_or(const cJSON *object, const char *key, bool missing);

/* Adds `bytes` as a string, cleaned by text_clean() with at most `max` bytes. */
void json_add_text(cJSON *object, const char *key, const void *bytes, size_t len, size_t max);

/* As cJSON_Add...ToObject, but out of memory ends in out_of_memory(). */
cJSON *json_add_object(cJSON *object, const char *key);
cJSON *json_add_array(cJSON *object, const char *key);
void json_add_string(cJSON *object, const char *key, const char *value); /* NULL adds null */
void json_add_integer(cJSON *object, const char *key, long long value);  /* below 10^15 */
void json_add_seconds(cJSON *object, const char *key, double seconds);   /* 3 decimals, finite */
void json_add_bool(cJSON *object, const char *key, bool value);
void json_append(cJSON *array, cJSON *item); /* takes item */

/* Prints `root` indented by 2 with a last newline and writes it with file_write_whole(). */
int json_write_whole(const char *path, mode_t mode, const cJSON *root, struct error *err);

/* The printed text, to be freed with free(); never NULL. */
char *json_print(const cJSON *root, bool indented);

#endif
