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
#ifndef STARTER
/*
 * The processes:
 *
 *     plain        pipeline -- forks --> stage 1, stage 2, ... and waits. It carries no byte.
 *     --meter      the same, but each link is two pipes with pipeline in the middle:
 *                  stage 1 ==pipe==> pipeline ==pipe==> stage 2
 *     --coprocess  stdin ==> pipeline ==pipe==> CMD ==pipe==> helper ==> stdout
 *                  The helper is forked from pipeline, so that a reader of our stdout who is slow
 *                  holds up nobody but the helper. pipeline waits for both of its children.
 */
#endif
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

#ifdef STARTER
/* One direction of bytes that pipeline carries itself. Add what you need. */
struct link {
    int in;         /* read from here */
    int out;        /* written to here */
    uint64_t bytes; /* written so far */
};
#else
/*
 * One direction of bytes that pipeline carries itself: read from `in`, written to `out`. There is
 * never more than one buffer full on the way: who reads slowly slows the writer down, as in a pipe.
 */
struct link {
    int in, out;       /* both -1 once the link has ended */
    bool failed;       /* it ended for another reason than end of input or a reader that is gone */
    uint64_t bytes;    /* written so far */
    size_t start, end; /* buffer[start] to buffer[end - 1] have been read and are to be written */
    char buffer[65536];
};
#endif

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

#ifndef STARTER
/* The child's half of start_stage(). */
static _Noreturn void become_stage(char **argv, int in, int out)
{
    /* dup2() clears close-on-exec in the copy. All our pipe ends are above 2, so neither of the two
     * calls overwrites an end that is still needed. */
    if ((in != STDIN_FILENO && dup2(in, STDIN_FILENO) < 0) ||
        (out != STDOUT_FILENO && dup2(out, STDOUT_FILENO) < 0)) {
        fail("dup2");
        _exit(EXIT_FAILED);
    }
    signals_restore();
    execvp(argv[0], argv);

    /* Still here: it can't be executed. A stderr that nobody reads must not kill us with SIGPIPE
     * before the status is out. */
    int error = errno;
    signal(SIGPIPE, SIG_IGN);
    fail(argv[0]);
    /* A name without a slash was looked for on PATH, where EACCES means only that the search met
     * something closed on its way. */
    bool missing =
        error == ENOENT || error == ENOTDIR || (error == EACCES && strchr(argv[0], '/') == NULL);
    /* _exit(), not exit(): this is a copy of pipeline, whose clean-up is not ours to run. */
    _exit(missing ? EXIT_NOT_FOUND : EXIT_NO_EXEC);
}

#endif
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
#ifdef STARTER
    /* Your code goes here. */
    (void)argv, (void)in, (void)out;
    return -1;
#else
    pid_t pid = fork();

    if (pid < 0)
        fail("fork");
    if (pid == 0)
        become_stage(argv, in, out);
    return pid;
#endif
}

/*
 * Waits for the child `pid`, and for no other: pipeline may have inherited children from whoever
 * was this process before exec. Returns its status as a shell's $?: the exit status, or 128 + N
 * when signal N ended it.
 */
int wait_stage(pid_t pid)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)pid;
    return EXIT_FAILED;
#else
    int status;

    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) {
            fail("waitpid");
            return EXIT_FAILED;
        }
    }
    return WIFSIGNALED(status) ? EXIT_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
#endif
}

/* ---- Steps 2, 3 and 7: the pipeline ---- */

#ifndef STARTER
/*
 * Joins two neighbours: the left one is to write into *left, the right one to read from *right.
 * Without a link that is one pipe; with one it is two, and the link carries between them.
 */
static int join(struct link *link, int *left, int *right)
{
    int first[2], second[2];

    if (open_pipe(first) < 0)
        return -1;
    *left = first[1];
    *right = first[0];
    if (link == NULL)
        return 0;
    if (open_pipe(second) < 0) {
        close(first[0]);
        close(first[1]);
        return -1;
    }
    /* Only our own end stops blocking: the two ends of a pipe have flags of their own. */
    fcntl(second[1], F_SETFL, O_NONBLOCK);
    *right = second[0];
    link->in = first[0];
    link->out = second[1];
    return 0;
}

/* Closes a pipe's end, but not what the caller has given us. */
static void close_end(int fd)
{
    if (fd > STDERR_FILENO)
        close(fd);
}

/* Starts the stages, from left to right. Returns how many could be started. */
static size_t start_all(const struct options *options, pid_t *pids, struct link *links)
{
    int in = STDIN_FILENO;
    size_t started = 0;
    bool failed = false;

    while (started < options->count && !failed) {
        int out = STDOUT_FILENO, next = -1;
        struct link *link = links == NULL ? NULL : &links[started];
        if (started + 1 < options->count && join(link, &out, &next) < 0)
            break;
        pids[started] = start_stage(options->stages[started], in, out);
        failed = pids[started] < 0;
        started += !failed;
        /* The stage has its copies. As long as we held `out`, its reader would see no end; as long
         * as we held `in`, its writer would get no SIGPIPE. */
        close_end(in);
        close_end(out);
        in = next;
    }
    close_end(in); /* after a failure: the last one that was started learns that nobody reads */
    return started;
}

#endif
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
#ifdef STARTER
    /* Your code goes here. */
    (void)options;
    fprintf(stderr, "pipeline: not written yet\n");
    return EXIT_FAILED;
#else
    size_t count = options->count;
    pid_t *pids = calloc(count, sizeof *pids);
    struct link *links = options->meter ? calloc(count, sizeof *links) : NULL;
    int status = EXIT_FAILED, last = 0, last_failure = 0;

    if (pids == NULL || (options->meter && links == NULL)) {
        fail("memory");
        goto out;
    }
    for (size_t i = 0; options->meter && i < count; i++)
        links[i].in = links[i].out = -1;
    size_t started = start_all(options, pids, links);
    bool carried = !options->meter || carry(links, count) == 0;
    for (size_t i = 0; i < started; i++) {
        last = wait_stage(pids[i]);
        if (last != 0)
            last_failure = last;
    }
    if (started < count || !carried)
        goto out;
    for (size_t i = 0; options->meter && i + 1 < count; i++)
        fprintf(stderr, "link %zu: %ju bytes\n", i + 1, (uintmax_t)links[i].bytes);
    status = options->pipefail ? last_failure : last;
out:
    free(links);
    free(pids);
    return status;
#endif
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
#ifdef STARTER
    /* Your code goes here. */
    ends[0] = ends[1] = -1;
    return -1;
#else
    if (pipe2(ends, O_CLOEXEC) < 0) {
        fail("pipe");
        return -1;
    }
    for (int i = 0; i < 2; i++) {
        if (ends[i] > STDERR_FILENO)
            continue;
        int moved = fcntl(ends[i], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        if (moved < 0) {
            fail("pipe");
            close(ends[0]);
            close(ends[1]);
            return -1;
        }
        close(ends[i]);
        ends[i] = moved;
    }
    return 0;
#endif
}

/* ---- Step 6: signals ---- */

#ifndef STARTER
/* The actions that we were started with, of the two signals that we change for ourselves. */
static struct sigaction initial_sigpipe, initial_sigchld;

#endif
/*
 * Called once, before anything is started. Afterwards pipeline itself
 *   - is not killed by SIGPIPE: its own write() fails with EPIPE instead;
 *   - can wait for its children: whoever started it may have ignored SIGCHLD, and then the kernel
 *     throws the statuses of children away, and waitpid() has none to give.
 * The actions from before are kept for signals_restore(). The mask stays as it is.
 */
void signals_prepare(void)
{
#ifdef STARTER
    /* Your code goes here. */
#else
    struct sigaction ignore = {.sa_handler = SIG_IGN}, standard = {.sa_handler = SIG_DFL};

    sigaction(SIGPIPE, &ignore, &initial_sigpipe);
    sigaction(SIGCHLD, &standard, &initial_sigchld);
#endif
}

/*
 * Called in a new stage, between fork() and exec: the actions of all signals are again those that
 * pipeline was started with. (exec resets handlers, but an ignored signal stays ignored across it.)
 */
void signals_restore(void)
{
#ifdef STARTER
    /* Your code goes here. */
#else
    sigaction(SIGPIPE, &initial_sigpipe, NULL);
    sigaction(SIGCHLD, &initial_sigchld, NULL);
#endif
}

/* ---- Step 7: carrying bytes, for the meter and the coprocess ---- */

#ifndef STARTER
/* Ends a link. Whoever still writes on the left gets SIGPIPE, the right side reads the end. */
static void link_end(struct link *link)
{
    close(link->in);
    close(link->out);
    link->in = link->out = -1;
}

/* A read or write of `link` has failed, or come to the end of its input (`error` 0). */
static void link_stop(struct link *link, int error)
{
    if (error == EINTR || error == EAGAIN)
        return; /* not yet: poll() will tell */
    /* EPIPE: the reader is gone. EBADF: one of 0 and 1 was closed when we were started. */
    if (error != 0 && error != EPIPE && error != EBADF) {
        errno = error;
        fail("carrying bytes");
        link->failed = true;
    }
    link_end(link);
}

/* Moves what can be moved at once; `in` and `out` are what poll() saw at its two descriptors. */
static void link_serve(struct link *link, short in, short out)
{
    /* The write end of a pipe reports POLLERR when its last reader has gone, asked or not. */
    if (out & (POLLERR | POLLHUP | POLLNVAL)) {
        link_end(link);
        return;
    }
    if (in != 0) { /* bytes, or the end, or an error: read() tells which */
        ssize_t n = read(link->in, link->buffer, sizeof link->buffer);
        if (n <= 0) {
            link_stop(link, n < 0 ? errno : 0);
            return;
        }
        link->start = 0;
        link->end = (size_t)n;
    }
    if (link->start < link->end) {
        ssize_t n = write(link->out, link->buffer + link->start, link->end - link->start);
        if (n < 0) {
            link_stop(link, errno);
            return;
        }
        link->start += (size_t)n;
        link->bytes += (uint64_t)n;
    }
}

#endif
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
#ifdef STARTER
    /* Your code goes here. */
    (void)links, (void)count;
    return -1;
#else
    struct pollfd *polls = calloc(2 * count, sizeof *polls);
    bool failed = polls == NULL;

    if (failed)
        fail("memory");
    while (!failed) {
        size_t open = 0;
        for (size_t i = 0; i < count; i++) { /* poll() leaves out descriptors of -1 */
            bool loaded = links[i].start < links[i].end;
            polls[2 * i] = (struct pollfd){.fd = loaded ? -1 : links[i].in, .events = POLLIN};
            polls[2 * i + 1] = (struct pollfd){.fd = links[i].out, .events = loaded ? POLLOUT : 0};
            open += links[i].out >= 0;
        }
        if (open == 0)
            break;
        if (poll(polls, 2 * count, -1) >= 0) {
            for (size_t i = 0; i < count; i++)
                link_serve(&links[i], polls[2 * i].revents, polls[2 * i + 1].revents);
        } else if (errno != EINTR) {
            fail("poll");
            failed = true;
        }
    }
    for (size_t i = 0; i < count; i++) {
        failed = failed || links[i].failed;
        if (links[i].out >= 0)
            link_end(&links[i]);
    }
    free(polls);
    return failed ? -1 : 0;
#endif
}

/* ---- Step 8: the coprocess ---- */

#ifndef STARTER
/*
 * The helper: a process of its own that carries the child's output to our stdout. That descriptor
 * is shared with whoever started us, so we may not make it non-blocking, and a write to it may take
 * for ever. This way it delays nothing else.
 */
static pid_t start_helper(int from_child, int to_child)
{
    static struct link output;
    pid_t pid = fork();

    if (pid < 0)
        fail("fork");
    if (pid != 0)
        return pid;
    /* The child's input ends when the last copy of this end is closed; and we read no stdin. */
    close(to_child);
    close(STDIN_FILENO);
    output.in = from_child;
    output.out = STDOUT_FILENO;
    _exit(carry(&output, 1) < 0 ? EXIT_FAILED : 0);
}

#endif
/*
 * Starts `argv` with a pipe to its stdin and one from its stdout, carries our stdin into the one
 * and the other to our stdout, both at once, each until its own end (the handout has every case).
 * Then waits for the child and returns its status, as for a last stage; EXIT_FAILED when pipeline
 * itself failed.
 */
int run_coprocess(char **argv)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)argv;
    fprintf(stderr, "pipeline: not written yet\n");
    return EXIT_FAILED;
#else
    static struct link input;
    int to_child[2], from_child[2];

    if (open_pipe(to_child) < 0)
        return EXIT_FAILED;
    if (open_pipe(from_child) < 0) {
        close(to_child[0]);
        close(to_child[1]);
        return EXIT_FAILED;
    }
    pid_t child = start_stage(argv, to_child[0], from_child[1]);
    close(to_child[0]);
    close(from_child[1]);
    pid_t helper = child < 0 ? -1 : start_helper(from_child[0], to_child[1]);
    close(from_child[0]);

    bool failed = helper < 0;
    if (failed) {
        close(to_child[1]);
    } else {
        fcntl(to_child[1], F_SETFL, O_NONBLOCK);
        input.in = STDIN_FILENO;
        input.out = to_child[1];
        failed = carry(&input, 1) < 0;
        failed = wait_stage(helper) != 0 || failed;
    }
    int status = child < 0 ? EXIT_FAILED : wait_stage(child);
    return failed ? EXIT_FAILED : status;
#endif
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
