/*
 * lint.c - `ipclab lint`: a lab's manifest, suites, handout and starter must agree.
 *
 * Each finding is one line; the exit status is 1 when there is any. Checked, besides what loading a
 * manifest checks: every test of the manifest is in the suite that its visibility names and the
 * reverse; every `see` is a heading of the handout; every public test is named in the handout and
 * no hidden one is; given files exist in the starter.
 */
#include "commands/commands.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "course/course.h"
#include "course/manifest.h"
#include "support/child.h"
#include "support/files.h"
#include "support/json.h"
#include "support/memory.h"

static const char usage[] = "usage: ipclab lint [LAB]\n"
                            "\n"
                            "Checks that the manifest, the suites, the handout and the starter of "
                            "LAB (of every lab) agree.\n";

struct lint {
    const struct course *course;
    struct manifest m;
    char *handout;
    int findings;
};

static void __attribute__((format(printf, 2, 3))) finding(struct lint *l, const char *format, ...)
{
    va_list args;
    printf("%s: ", l->m.lab);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    l->findings++;
}

/* The ids that a suite holds, as an array; NULL when there is no such suite. */
static cJSON *suite_tests(struct lint *l, bool hidden, struct error *err)
{
    char *path = course_suite(l->course, l->m.lab, hidden);
    char *argv[] = {path, (char *)"--list", NULL};
    struct child c = CHILD_INIT;
    c.argv = argv;
    cJSON *ids = NULL;
    if (path_exists(path) && child_run(&c, err) == 0) {
        ids = cJSON_CreateArray();
        char *rest = c.out.text, *line;
        while ((line = strsep(&rest, "\n"))) {
            if (!*line)
                continue;
            cJSON *test = json_parse(line, strlen(line), path, err);
            if (!test)
                break;
            if (!*json_string_or(test, "description", ""))
                finding(l, "test '%s' has no description", json_string_or(test, "id", ""));
            json_append(ids, test);
        }
    }
    child_release(&c);
    free(path);
    return ids;
}

static bool holds(const cJSON *ids, const char *id)
{
    const cJSON *item;
    cJSON_ArrayForEach (item, ids) {
        if (strcmp(json_string_or(item, "id", ""), id) == 0)
            return true;
    }
    return false;
}

static int check_suites(struct lint *l, struct error *err)
{
    for (int hidden = 0; hidden < 2; hidden++) {
        cJSON *ids = suite_tests(l, hidden != 0, err);
        if (err->fault != FAULT_NONE)
            return -1;
        const char *name = hidden ? "hidden" : "public";
        for (size_t i = 0; i < l->m.test_count; i++) {
            const struct manifest_test *t = &l->m.tests[i];
            if ((t->visibility != VISIBILITY_PUBLIC) == (hidden != 0) && !holds(ids, t->id))
                finding(l, "lab.json names '%s', which the %s suite does not hold", t->id, name);
        }
        const cJSON *item;
        cJSON_ArrayForEach (item, ids) {
            const char *id = json_string_or(item, "id", "");
            const struct manifest_test *t = manifest_find(&l->m, id);
            if (!t)
                finding(l, "the %s suite holds '%s', which lab.json does not name", name, id);
            else if ((t->visibility != VISIBILITY_PUBLIC) != (hidden != 0))
                finding(l, "'%s' is %s in lab.json and stands in the %s suite", id,
                        visibility_name(t->visibility), name);
        }
        cJSON_Delete(ids);
    }
    return 0;
}

static bool is_heading(const char *handout, const char *heading)
{
    size_t len = strlen(heading);
    for (const char *at = handout; (at = strstr(at, heading)); at++) {
        const char *line = at;
        while (line > handout && line[-1] != '\n')
            line--;
        size_t marks = strspn(line, "#");
        if (marks && line[marks] == ' ' && line + marks + 1 == at &&
            (at[len] == '\n' || at[len] == '\0'))
            return true;
    }
    return false;
}

/* Whether `id` stands in the handout as a whole, not as the beginning of a longer id. */
static bool is_named(const char *handout, const char *id)
{
    size_t len = strlen(id);
    for (const char *at = handout; (at = strstr(at, id)); at++) {
        if (at[len] != '_' && !isalnum((unsigned char)at[len]))
            return true;
    }
    return false;
}

static void check_handout(struct lint *l)
{
    for (size_t i = 0; i < l->m.test_count; i++) {
        const struct manifest_test *t = &l->m.tests[i];
        bool named = is_named(l->handout, t->id);
        if (!is_heading(l->handout, t->see))
            finding(l, "'%s' sends the student to '%s', which is no heading of the handout", t->id,
                    t->see);
        if (t->visibility == VISIBILITY_PUBLIC && !named)
            finding(l, "the handout does not name the public test '%s'", t->id);
        if (t->visibility != VISIBILITY_PUBLIC && named)
            finding(l, "the handout names the hidden test '%s'", t->id);
    }
}

static void check_starter(struct lint *l)
{
    char *starter = course_starter(l->course, l->m.lab);
    for (size_t i = 0; l->m.given[i]; i++) {
        char *path = path_join(starter, l->m.given[i]);
        if (!path_exists(path))
            finding(l, "the starter lacks the given file '%s'", l->m.given[i]);
        free(path);
    }
    free(starter);
}

static int lint_lab(const struct course *c, const char *lab, int *findings, struct error *err)
{
    struct lint l = {.course = c};
    struct strbuf handout = STRBUF_INIT;
    char *manifest = course_manifest(c, lab), *path = course_handout(c, lab);
    int result = -1;
    if (manifest_load(&l.m, manifest, err)) {
        printf("%s\n", err->text); /* a manifest that does not load is the first finding */
        (*findings)++;
        *err = (struct error)ERROR_INIT;
        result = 0;
        goto out;
    }
    if (strcmp(l.m.lab, lab) != 0)
        finding(&l, "lab.json calls itself '%s'", l.m.lab);
    if (file_read(path, 4 << 20, &handout, err) || check_suites(&l, err))
        goto out;
    l.handout = handout.text;
    check_handout(&l);
    check_starter(&l);
    *findings += l.findings;
    result = 0;
out:
    manifest_release(&l.m);
    strbuf_release(&handout);
    free(manifest);
    free(path);
    return result;
}

int command_lint(int argc, char **argv)
{
    struct course c;
    struct error err = ERROR_INIT;
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return EXIT_DONE;
    }
    if (argc > 2 || (argc == 2 && argv[1][0] == '-')) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    int findings = 0, failed = course_open(&c, &err);
    if (!failed) {
        if (argc == 2) {
            failed = course_has_lab(&c, argv[1])
                         ? lint_lab(&c, argv[1], &findings, &err)
                         : error_set(&err, FAULT_USAGE, "there is no lab '%s'", argv[1]);
        } else {
            char **labs = course_labs(&c, &err);
            failed = !labs;
            for (size_t i = 0; labs && labs[i] && !failed; i++)
                failed = lint_lab(&c, labs[i], &findings, &err);
            free(labs);
        }
        course_release(&c);
    }
    if (failed) {
        fprintf(stderr, "ipclab lint: %s\n", err.text);
        return err.fault == FAULT_USAGE ? EXIT_USAGE : EXIT_GRADER;
    }
    if (!output_arrived())
        return EXIT_GRADER;
    return findings ? EXIT_BELOW : EXIT_DONE;
}
