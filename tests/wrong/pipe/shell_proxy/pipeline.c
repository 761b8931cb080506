/* What: quotes the stages for a shell, and lets it do the work; a coprocess is just executed.
 * Passes: */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char command[1 << 20];

int main(int argc, char **argv)
{
    char *at = command;
    int i = 1;
    if (argc > 2 && !strcmp(argv[1], "-o") && !strcmp(argv[2], "pipefail")) {
        at += sprintf(at, "set -o pipefail; ");
        i = 3;
    }
    if (i < argc && !strcmp(argv[i], "--coprocess")) {
        execvp(argv[i + 1], argv + i + 1);
        perror(argv[i + 1]);
        return 127;
    }
    if (i < argc && !strcmp(argv[i], "--"))
        i++;
    if (i >= argc || argv[i][0] == '-') {
        fprintf(stderr, "usage: pipeline\n");
        return 2;
    }
    for (int first = 1; i < argc; i++) {
        if (strcmp(argv[i], "|")) {
            at += sprintf(at, "'%s' ", argv[i]);
            first = 0;
            continue;
        }
        if (first || i + 1 == argc) {
            fprintf(stderr, "usage: pipeline\n");
            return 2;
        }
        at += sprintf(at, "| ");
        first = 1;
    }
    execl("/bin/bash", "bash", "-c", command, (char *)0);
    execl("/bin/sh", "sh", "-c", command, (char *)0);
    return 1;
}
