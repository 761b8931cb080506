/*
 * manifest.c - `ipclab manifest`: the manifest that students receive.
 */
#include "commands/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "course/course.h"
#include "course/manifest.h"
#include "support/json.h"

static const char usage[] = "usage: ipclab manifest LAB\n"
                            "\n"
                            "Prints the lab's manifest as students receive it: public tests whole; "
                            "of hidden ones, for each\n"
                            "concept, how many there are and the sum of their points.\n";

int command_manifest(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return EXIT_DONE;
    }
    if (argc != 2 || argv[1][0] == '-') {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    struct course c;
    struct error err = ERROR_INIT;
    if (course_open(&c, &err) == 0) {
        struct manifest m;
        char *path = course_manifest(&c, argv[1]);
        int failed = course_has_lab(&c, argv[1])
                         ? manifest_load(&m, path, &err)
                         : error_set(&err, FAULT_USAGE, "there is no lab '%s'", argv[1]);
        free(path);
        course_release(&c);
        if (!failed) {
            cJSON *cut = manifest_cut(&m);
            char *text = json_print(cut, true);
            printf("%s\n", text);
            free(text);
            cJSON_Delete(cut);
            manifest_release(&m);
            return output_arrived() ? EXIT_DONE : EXIT_GRADER;
        }
    }
    fprintf(stderr, "ipclab manifest: %s\n", err.text);
    return err.fault == FAULT_USAGE ? EXIT_USAGE : EXIT_GRADER;
}
