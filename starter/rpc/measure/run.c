/*
 * run.c - starts the programs that are measured, waits for them and for what comes out of them, and
 * cleans up after them on every way out.
 */
#define _GNU_SOURCE
#include "measure.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SERVER_END_SECONDS = 5 }; /* that a server has after SIGTERM */

char name[32], port[sizeof port], trouble[sizeof trouble], progress[sizeof progress];
bool terminal, out_of_time;
int nothing, input, output;
const struct mechanism *current;

static int signals, errors, announcement, server_errors; /* descriptors: one, and three files */
static sigset_t original_mask;
static double began;

/* The programs that run now. */
static struct {
    pid_t group; /* the process group of all but the server: the first one's number; 0: none runs */
    pid_t pid[2];
    const char *program[2];
    int count;
    double deadline; /* for their end */
    pid_t server;    /* and the number of its own group; 0: there is none */
    const char *server_program;
} running;

double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- Every way out ---- */

static void kill_group(pid_t *group)
{
    if (*group != 0) {
        kill(-*group, SIGKILL);
        /* Children of a child are ours when it has died, since we ask for that. */
        while (waitpid(-*group, NULL, 0) > 0)
            continue;
    }
    *group = 0;
}

/* (Our files have had no name from the start.) */
void end_run(void)
{
    kill_group(&running.group);
    kill_group(&running.server);
    if (current != NULL)
        current->end();
}

void die(const char *what)
{
    fprintf(stderr, "measure: %s: %s\n", what, strerror(errno));
    end_run();
    exit(1);
}

bool fail(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(trouble, sizeof trouble, format, arguments);
    va_end(arguments);
    return false;
}

/* On a terminal: one line that is written over, and gone at the end. */
void show_progress(bool clear)
{
    static double shown;

    if (!terminal || (!clear && now() - shown < 0.2))
        return;
    shown = now();
    fputs("\r\033[K", stderr);
    if (!clear)
        fprintf(stderr, "measure: %s, %.0f s", progress, shown - began);
}

/* ---- Files and pipes ---- */

/* A temporary file that has no name any more: it goes with the last process that has it open. */
static int open_file(void)
{
    char path[] = "/tmp/measure.XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);

    if (fd < 0 || unlink(path) != 0)
        die(path);
    return fd;
}

void rewind_file(int fd, bool empty)
{
    if (lseek(fd, 0, SEEK_SET) != 0 || (empty && ftruncate(fd, 0) != 0))
        die("temporary file");
}

void open_pipe(int ends[2])
{
    if (pipe2(ends, O_CLOEXEC) != 0)
        die("pipe");
}

void prepare_everything(void)
{
    /* SIGPIPE, so that a write to nobody says EPIPE instead of ending us. */
    const int blocked[] = {SIGCHLD, SIGPIPE, SIGINT, SIGTERM, SIGHUP};
    struct sigaction before;
    sigset_t mask;

    began = now();
    terminal = isatty(STDERR_FILENO);
    snprintf(name, sizeof name, "measure-%ld", (long)getpid());
    signal(SIGCHLD, SIG_DFL); /* ignored, children would leave no status */
    sigemptyset(&mask);
    for (size_t i = 0; i < sizeof blocked / sizeof *blocked; i++) {
        /* Whoever started us with a signal ignored (a shell, in the background) meant it. */
        if (sigaction(blocked[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaddset(&mask, blocked[i]);
    }
    sigprocmask(SIG_BLOCK, &mask, &original_mask);
    signals = signalfd(-1, &mask, SFD_CLOEXEC);
    nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (signals < 0 || nothing < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
        die("start");
    input = open_file();
    output = open_file();
    errors = open_file();
    announcement = open_file();
    server_errors = open_file();
}

/* ---- Starting ---- */

void begin_run(void)
{
    running.deadline = now() + (double)limit;
    running.count = 0;
    out_of_time = false;
    rewind_file(errors, true);
}

/* A child in a process group (0: one of its own), with these descriptors. 0: we are the child. */
static pid_t start_child(pid_t group, int in, int out, int err)
{
    pid_t pid = fork();

    if (pid < 0)
        die("fork");
    if (pid > 0) {
        setpgid(pid, group); /* here too: nobody knows which of the two is first */
        return pid;
    }
    setpgid(0, group);
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* nothing outlives us, not even if we are killed */
    sigprocmask(SIG_SETMASK, &original_mask, NULL);
    if (dup2(in, 0) != 0 || dup2(out, 1) != 1 || dup2(err, 2) != 2)
        _exit(127);
    return 0;
}

__attribute__((noreturn)) static void execute(const char *folder, const char *const argv[])
{
    if (chdir(folder) == 0)
        execvp(argv[0], (char *const *)argv);
    dprintf(2, "%s\n", strerror(errno));
    _exit(127);
}

static void note_started(const char *program, pid_t pid)
{
    if (running.group == 0)
        running.group = pid;
    running.pid[running.count] = pid;
    running.program[running.count++] = program;
}

void start(const char *folder, const char *const argv[], int in, int out)
{
    pid_t pid = start_child(running.group, in, out, errors);

    if (pid == 0)
        execute(folder, argv);
    note_started(argv[0], pid);
}

void start_function(const char *what, int (*function)(void), int in, int out)
{
    pid_t pid = start_child(running.group, in, out, errors);

    if (pid == 0) {
        signal(SIGPIPE, SIG_IGN);
        close_range(3, ~0U, 0); /* nothing is executed, so nothing closes by itself */
        _exit(function());
    }
    note_started(what, pid);
}

/* ---- Waiting ---- */

/* Whether a program that has ended did so with 0; `file` is where its stderr went. */
static bool ended_well(const char *program, int status, int file)
{
    int number = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
    char said[160] = "nothing";

    if (status == 0)
        return true;
    /* The first line of what was said on stderr; only the bytes that are read are overwritten. */
    if (pread(file, said, sizeof said - 1, 0) > 0)
        said[strcspn(said, "\n")] = '\0';
    return fail("%s %s %d and said: %s", program,
                WIFSIGNALED(status) ? "died of signal" : "ended with", number, said);
}

/*
 * Sleeps until there is something to read from `fd` (-1: nothing is awaited), a child has ended, or
 * the seconds are over. Returns whether it is the first. The signals that would end us are blocked
 * everywhere and read from a descriptor here: so they find us at a place where everything can be
 * cleaned up, and none of them comes between a look and a wait.
 */
static bool sleep_until(int fd, double seconds)
{
    struct pollfd either[] = {{.fd = signals, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    struct signalfd_siginfo signal;

    show_progress(false);
    poll(either, 2, seconds > 0.5 ? 500 : (int)(seconds * 1000) + 1);
    if (either[0].revents != 0 && read(signals, &signal, sizeof signal) > 0 &&
        signal.ssi_signo != SIGCHLD && signal.ssi_signo != SIGPIPE) {
        end_run();
        show_progress(true);
        /* And now as if it had never been blocked, so that our parent learns the reason. */
        raise((int)signal.ssi_signo);
        sigprocmask(SIG_SETMASK, &original_mask, NULL);
        exit(1);
    }
    return either[0].revents == 0 && either[1].revents != 0;
}

/* Whether the server, if there is one, still runs. */
static bool server_lives(void)
{
    int status;

    if (running.server == 0 || waitpid(running.server, &status, WNOHANG) == 0)
        return true;
    kill_group(&running.server); /* what it may have started */
    return ended_well(running.server_program, status, server_errors) &&
           fail("%s has ended, though nobody had asked it to", running.server_program);
}

enum event { INPUT, ENDED, ALL_ENDED, FAILED };

/*
 * Waits for what comes first: there is something to read from `fd` (-1: nothing is awaited), a
 * program has ended well, all have. FAILED: one ended badly, or the time is up.
 */
static enum event next_event(int fd)
{
    for (;;) {
        double left = running.deadline - now();
        int status;
        pid_t pid = running.group == 0 ? -1 : waitpid(-running.group, &status, WNOHANG);

        if (!server_lives())
            return FAILED;
        if (pid > 0) {
            int which = running.count == 2 && running.pid[1] == pid;

            return ended_well(running.program[which], status, errors) ? ENDED : FAILED;
        }
        if (pid < 0) {
            running.group = 0;
            return ALL_ENDED;
        }
        if (left <= 0) {
            out_of_time = true;
            fail("%s did not end within %ld s: run make check", running.program[0], limit);
            return FAILED;
        }
        if (sleep_until(fd, left))
            return INPUT;
    }
}

bool finish(void)
{
    enum event event;

    do
        event = next_event(-1);
    while (event == ENDED);
    return event == ALL_ENDED;
}

const char *next_line(struct transfer *t, size_t *len)
{
    int fd = t->over ? -1 : t->from;
    bool ended = false;

    for (;;) {
        char *line = t->bytes + t->start, *newline = memchr(line, '\n', t->end - t->start);
        enum event event;
        ssize_t more;

        if (newline != NULL) {
            *newline = '\0';
            *len = (size_t)(newline - line);
            t->start += *len + 1;
            return line;
        }
        t->end -= t->start;
        memmove(t->bytes, line, t->end);
        t->start = 0;
        if (t->end == sizeof t->bytes || (fd < 0 && ended))
            return NULL;
        event = next_event(fd);
        if (event == FAILED)
            return NULL;
        /* mrecv ends after the last line, which may not have been read by then. */
        ended = ended || event != INPUT;
        if (event == ENDED || fd < 0)
            continue;
        if ((more = read(fd, t->bytes + t->end, sizeof t->bytes - t->end)) > 0)
            t->end += (size_t)more;
        else
            fd = -1; /* nothing comes any more: wait for the program's end, which may tell why */
        t->over = fd < 0;
    }
}

/* ---- Servers ---- */

bool has_port(void)
{
    int number, end = 0;
    char line[64];
    ssize_t len = pread(announcement, line, sizeof line - 1, 0);

    line[len > 0 ? len : 0] = '\0';
    if (sscanf(line, "listening on %d%n", &number, &end) != 1 || line[end] != '\n' || number < 1 ||
        number > 65535)
        return false;
    snprintf(port, sizeof port, "%d", number);
    return true;
}

/* Its stdout is a file: so nothing that it may print is ever in its way. */
bool start_server(const char *folder, const char *const argv[], bool (*is_ready)(void))
{
    begin_run();
    rewind_file(announcement, true);
    rewind_file(server_errors, true);
    running.server = start_child(0, nothing, announcement, server_errors);
    if (running.server == 0)
        execute(folder, argv);
    running.server_program = argv[0];
    while (!is_ready()) {
        if (!server_lives())
            return false;
        if (now() > running.deadline)
            return fail("%s was not ready within %ld s: run make check", argv[0], limit);
        sleep_until(-1, 0.002);
    }
    return true;
}

bool stop_server(bool right)
{
    double deadline = now() + (limit < SERVER_END_SECONDS ? (double)limit : SERVER_END_SECONDS);
    const char *program = running.server_program;
    int status;
    pid_t pid;

    kill_group(&running.group); /* after a failure; else there is nothing */
    if (running.server == 0)
        return right;
    kill(running.server, SIGTERM);
    while ((pid = waitpid(running.server, &status, WNOHANG)) == 0 && now() < deadline)
        sleep_until(-1, deadline - now());
    kill_group(&running.server);
    if (pid == 0)
        return right && fail("%s did not end within %.0f s after SIGTERM", program,
                             limit < SERVER_END_SECONDS ? (double)limit : SERVER_END_SECONDS);
    /* That it cleans up at SIGTERM is a matter of make check's. */
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM)
        return right;
    return ended_well(program, status, server_errors) && right;
}
