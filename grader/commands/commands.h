/*
 * commands.h - the subcommands of ipclab: each a main() of its own, argv[0] being its name, that
 * returns the exit status:
 *
 *   0  done: for grade, graded (a submission that does not build too)
 *   1  grade: below --min-score; lint: something was found
 *   2  wrong usage, unknown lab, no such submission: no result is written
 *   3  the grader's or the machine's fault, ^C too
 *   4  the submission was rejected
 */
#ifndef IPCLAB_COMMANDS_COMMANDS_H
#define IPCLAB_COMMANDS_COMMANDS_H

#include <stdbool.h>
#include <stdio.h>

enum exit_status {
    EXIT_DONE = 0,
    EXIT_BELOW = 1,
    EXIT_USAGE = 2,
    EXIT_GRADER = 3,
    EXIT_REJECTED = 4,
};

/*
 * Whether all that was printed has arrived; asked once, at the end. fflush() alone does not tell: a
 * write that failed while the buffer was full is only remembered in the stream.
 */
static inline bool output_arrived(void)
{
    bool flushed = fflush(stdout) == 0;
    return flushed && !ferror(stdout);
}

int command_grade(int argc, char **argv);
int command_labs(int argc, char **argv);
int command_lint(int argc, char **argv);
int command_doctor(int argc, char **argv);
int command_manifest(int argc, char **argv);

#endif
