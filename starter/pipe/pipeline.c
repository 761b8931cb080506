/*
 * pipeline.c - runs programs that are joined by pipes, as the shell's `a | b | c` does.
 *
 *     pipeline [-o pipefail] [--meter] CMD [ARG...] ['|' CMD [ARG...]]...
 *     pipeline --coprocess CMD [ARG...]
 *
 * What it teaches: how processes that know nothing of each other are made to cooperate. A pipe is
 * the conduit, fork() hands its ends on, dup2() puts them where a program looks for its input and
 * output, exec starts the program. The rest is book-keeping, and most mistakes are in there: who
 * still holds an end (a reader sees the end of its input only when the last writer has closed),
 * who waits for whom (a pipe has a capacity), and who is to be waited for.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    EXIT_FAILED = 1,    /* a failure of pipeline's own */
    EXIT_USAGE = 2,     /* wrong usage: nothing was started */
    EXIT_NO_EXEC = 126, /* a stage that is there, and can't be executed */
    EXIT_NOT_FOUND = 127,
    EXIT_SIGNAL = 128, /* + the number of the signal that ended the stage */
};

/* What the command line asks for. */
struct options {
    bool pipefail;
    bool meter;
    bool coprocess;
    size_t count;   /* of stages, at least 1 */
    char ***stages; /* stages[i] is the argv of stage i: name, arguments, NULL */
};

/* One direction of bytes that pipeline carries itself. Add what you need. */
struct link {
    int in;         /* read from here */
    int out;        /* written to here */
    uint64_t bytes; /* written so far */
};

/* The functions of this file, as they stand below, each under its contract. */
pid_t start_stage(char **argv, int in, int out);
int wait_stage(pid_t pid);
int run_pipeline(const struct options *options);
int open_pipe(int ends[2]);
void signals_prepare(void);
void signals_restore(void);
int carry(struct link *links, size_t count);
int run_coprocess(char **argv);
void fail(const char *what);

/* ---- Steps 1, 2 and 4: one stage ---- */

/*
 * Starts `argv` as a child that reads from `in` and writes to `out` (0 and 1: as the caller gave
 * them). The child gets no other descriptor of ours, and the signals that pipeline was started
 * with. A program that can't be executed shows later, in the child's status: the child says why on
 * stderr and ends with 127 (not there) or 126 (there, but not executable).
 * Returns the child's pid, or -1 after a message when no new process is to be had. `in` and `out`
 * stay open here.
 */
pid_t start_stage(char **argv, int in, int out)
{
    /* Your code goes here. */
    (void)argv, (void)in, (void)out;
    return -1;
}

/*
 * Waits for the child `pid`, and for no other: pipeline may have inherited children from whoever
 * was this process before exec. Returns its status as a shell's $?: the exit status, or 128 + N
 * when signal N ended it.
 */
int wait_stage(pid_t pid)
{
    /* Your code goes here. */
    (void)pid;
    return EXIT_FAILED;
}

/* ---- Steps 2, 3 and 7: the pipeline ---- */

/*
 * Starts all stages, each joined to the next: by one pipe, or with options->meter by two pipes and
 * a link between them that pipeline carries. Closes every end that it does not need itself, then
 * waits for all stages that were started. With options->meter, after all of them have ended, prints
 * "link I: BYTES bytes" for each link on stderr, I from 1.
 * Returns pipeline's exit status: that of the last stage, or with options->pipefail that of the
 * rightmost stage that failed; EXIT_FAILED when pipeline itself failed (no pipe, no process).
 */
int run_pipeline(const struct options *options)
{
    /* Your code goes here. */
    (void)options;
    fprintf(stderr, "pipeline: not written yet\n");
    return EXIT_FAILED;
}

/* ---- Step 5: descriptors ---- */

/*
 * Makes a pipe: what is written into ends[1] can be read from ends[0]. Both ends
 *   - are closed by exec (close-on-exec), so that no stage inherits one by accident;
 *   - are above 2, also when pipeline was started with 0, 1 or 2 closed: pipe() takes the lowest
 *     free numbers, and a stage would take such an end for its own stdin, stdout or stderr.
 * Returns 0, or -1 after a message: then no descriptor is left open.
 */
int open_pipe(int ends[2])
{
    /* Your code goes here. */
    ends[0] = ends[1] = -1;
    return -1;
}

/* ---- Step 6: signals ---- */

/*
 * Called once, before anything is started. Afterwards pipeline itself
 *   - is not killed by SIGPIPE: its own write() fails with EPIPE instead;
 *   - can wait for its children: whoever started it may have ignored SIGCHLD, and then the kernel
 *     throws the statuses of children away, and waitpid() has none to give.
 * The actions from before are kept for signals_restore(). The mask stays as it is.
 */
void signals_prepare(void)
{
    /* Your code goes here. */
}

/*
 * Called in a new stage, between fork() and exec: the actions of all signals are again those that
 * pipeline was started with. (exec resets handlers, but an ignored signal stays ignored across it.)
 */
void signals_restore(void)
{
    /* Your code goes here. */
}

/* ---- Step 7: carrying bytes, for the meter and the coprocess ---- */

/*
 * Carries bytes on all `count` links at once until each has ended: no link waits for another one,
 * and nothing waits for a newline or a full buffer. A link ends
 *   - when `in` has ended and everything that came has been written;
 *   - when nobody is left to read what is written to `out`, also while nothing comes from `in`.
 * Its two descriptors are closed as it ends, 0 and 1 too if they are its; -1: no link, left out.
 * Returns 0, or -1 after a message: one that failed is ended, and the others went on to their end.
 */
int carry(struct link *links, size_t count)
{
    /* Your code goes here. */
    (void)links, (void)count;
    return -1;
}

/* ---- Step 8: the coprocess ---- */

/*
 * Starts `argv` with a pipe to its stdin and one from its stdout, carries our stdin into the one
 * and the other to our stdout, both at once, each until its own end (the handout has every case).
 * Then waits for the child and returns its status, as for a last stage; EXIT_FAILED when pipeline
 * itself failed.
 */
int run_coprocess(char **argv)
{
    /* Your code goes here. */
    (void)argv;
    fprintf(stderr, "pipeline: not written yet\n");
    return EXIT_FAILED;
}

/* ---- Given: messages and the command line ---- */

/* Says on stderr what failed, and why, from errno. */
void fail(const char *what)
{
    fprintf(stderr, "pipeline: %s: %s\n", what, strerror(errno));
}

static int usage(void)
{
    fputs("usage: pipeline [-o pipefail] [--meter] CMD [ARG...] ['|' CMD [ARG...]]...\n"
          "       pipeline --coprocess CMD [ARG...]\n",
          stderr);
    return EXIT_USAGE;
}

/* Takes the options off the front. Returns the index of the first stage's name, or -1. */
static int parse_options(struct options *options, char **argv)
{
    int i = 1;

    for (; argv[i] != NULL && argv[i][0] == '-' && argv[i][1] != '\0'; i++) {
        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        }
        if (strcmp(argv[i], "-o") == 0 && argv[i + 1] != NULL &&
            strcmp(argv[i + 1], "pipefail") == 0) {
            options->pipefail = true;
            i++;
        } else if (strcmp(argv[i], "--meter") == 0) {
            options->meter = true;
        } else if (strcmp(argv[i], "--coprocess") == 0) {
            options->coprocess = true;
        } else {
            return -1;
        }
    }
    return options->coprocess && (options->pipefail || options->meter) ? -1 : i;
}

/*
 * Cuts `words` into stages at each "|", which becomes the NULL that ends an argv. Returns false
 * when one of them is empty. options->stages has room for as many as there are words.
 */
static bool split_stages(struct options *options, char **words)
{
    for (char **word = words;; word++) {
        options->stages[options->count++] = word;
        if (*word == NULL || strcmp(*word, "|") == 0)
            return false; /* an empty stage */
        while (*word != NULL && strcmp(*word, "|") != 0)
            word++;
        if (*word == NULL)
            return true;
        *word = NULL;
    }
}

int main(int argc, char **argv)
{
    struct options options = {.stages = calloc((size_t)argc + 1, sizeof *options.stages)};
    int first = argc > 1 ? parse_options(&options, argv) : -1;
    int status;

    if (options.stages == NULL) {
        fail("memory");
        return EXIT_FAILED;
    }
    if (first < 0 || !split_stages(&options, argv + first) ||
        (options.coprocess && options.count > 1)) {
        status = usage();
    } else {
        signals_prepare();
        status = options.coprocess ? run_coprocess(options.stages[0]) : run_pipeline(&options);
    }
    free(options.stages);
    return status;
}
