/*
 * main.c - finds the command and runs it.
 */
#include <stdio.h>
#include <string.h>

#include "commands/commands.h"
#include "version.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} commands[] = {
    {"grade", command_grade, "grade one submission"},
    {"labs", command_labs, "list the labs, or one lab's tests"},
    {"lint", command_lint, "check that manifests, suites and handouts agree"},
    {"doctor", command_doctor, "tell what this machine offers for grading"},
    {"manifest", command_manifest, "print the manifest that students receive"},
};

enum { COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]) };

static void help(FILE *out)
{
    fprintf(out, "usage: ipclab COMMAND [ARGUMENTS]\n\n"
                 "Grades the labs of a course on interprocess communication.\n\n");
    for (int i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fprintf(out, "\n'ipclab COMMAND --help' tells what a command takes; 'man ipclab' tells all.\n");
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("ipclab " IPCLAB_VERSION);
        return output_arrived() ? EXIT_DONE : EXIT_GRADER;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        help(stdout);
        return output_arrived() ? EXIT_DONE : EXIT_GRADER;
    }
    for (int i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    fprintf(stderr, "ipclab: there is no command '%s': see 'ipclab --help'\n", argv[1]);
    return EXIT_USAGE;
}
