/*
 * labs.c - `ipclab labs`: what there is to grade.
 */
#include "commands/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "course/course.h"
#include "course/manifest.h"

static const char usage[] = "usage: ipclab labs [LAB]\n"
                            "\n"
                            "Lists the labs in teaching order; with LAB, its tests and points.\n";

static int list_labs(const struct course *c, struct error *err)
{
    char **labs = course_labs(c, err);
    int result = labs ? 0 : -1;
    for (size_t i = 0; labs && labs[i] && !result; i++) {
        struct manifest m;
        char *path = course_manifest(c, labs[i]);
        result = manifest_load(&m, path, err);
        if (!result) {
            printf("%-10s %-50s %3zu tests\n", m.lab, m.title, m.test_count);
            manifest_release(&m);
        }
        free(path);
    }
    free(labs);
    return result;
}

static int list_tests(const struct course *c, const char *lab, struct error *err)
{
    if (!course_has_lab(c, lab))
        return error_set(err, FAULT_USAGE, "there is no lab '%s'", lab);
    struct manifest m;
    char *path = course_manifest(c, lab);
    int result = manifest_load(&m, path, err);
    free(path);
    if (result)
        return -1;
    printf("%s: %s\n", m.lab, m.title);
    for (size_t i = 0; i < m.test_count; i++) {
        const struct manifest_test *t = &m.tests[i];
        printf("  %-36s %3d  %-9s  %s\n", t->id, t->points, visibility_name(t->visibility),
               t->concept);
    }
    if (m.cut)
        printf("  %-36s %3d\n", "(hidden tests)", m.hidden_points);
    manifest_release(&m);
    return 0;
}

int command_labs(int argc, char **argv)
{
    struct course c;
    struct error err = ERROR_INIT;
    if (argc > 2 || (argc == 2 && argv[1][0] == '-' && strcmp(argv[1], "--help") != 0)) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return EXIT_DONE;
    }
    if (course_open(&c, &err) == 0) {
        int failed = argc == 2 ? list_tests(&c, argv[1], &err) : list_labs(&c, &err);
        course_release(&c);
        if (!failed)
            return output_arrived() ? EXIT_DONE : EXIT_GRADER;
    }
    fprintf(stderr, "ipclab labs: %s\n", err.text);
    return err.fault == FAULT_USAGE ? EXIT_USAGE : EXIT_GRADER;
}
