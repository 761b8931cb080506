/*
 * measure.c - sends the same lines through your ring, your mailbox and a pipe, and tells what each
 * of them costs. Given, and nothing of it is graded: `make measure` runs it.
 *
 *     measure [-n LINES] [-r RUNS]          100000 lines, 3 runs
 *
 * For each mechanism, with lines of 16 and of 256 bytes, it measures two things:
 *
 *   throughput  a file of LINES lines goes in and a file comes out: from the start of the first
 *               program to the end of the last one;
 *   latency     one line goes in, and the next one only when it has come out.
 *
 * The programs are those that you have built, each where its lab is: the ring in $SHM, else here or
 * in ../shm, and so on. What comes out must be what went in, to the byte. Else there is no number:
 * a ring that loses items is fast, and worth nothing.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mqueue.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    SMALL = 16, /* the two sizes of a line, without its newline */
    LARGE = 256,
    WARM_UP = 100, /* lines that go one at a time: these are not counted, and those are */
    ROUNDS = 2000,
    LINES_MAX = 1000000,
    RUNS_MAX = 99,
};
#define CAPACITY "10" /* of ring and mailbox: as many as the system allows everybody's queues */

/* A way from one process to another. */
struct mechanism {
    const char *name, *programs[3];
    const char *variable, *folders[2]; /* where to look for them: there, or else here and there */
    const char *folder;                /* where they are; NULL: nowhere */
    struct row {
        double lines, latency; /* a second; in microseconds. 0: not measured */
        char trouble[300];     /* why not */
    } small, large;
};
#define NOTHING_YET                                                                                \
    NULL, {0, 0, ""},                                                                              \
    {                                                                                              \
        0, 0, ""                                                                                   \
    }
static struct mechanism
    ring = {"ring", {"ring", "producer", "consumer"}, "SHM", {".", "../shm"}, NOTHING_YET},
    queue = {"queue", {"mbox", "msend", "mrecv"}, "MESSAGE", {".", "../message"}, NOTHING_YET},
    pipes = {"pipe", {"pipeline"}, "PIPE", {".", "../pipe"}, NOTHING_YET},
    *const mechanisms[] = {&ring, &queue, &pipes, NULL};

static long line_count = 100000, runs = 3, limit = 60; /* the last: seconds for one run */
static char name[32];                                  /* of our ring and of our mailbox */
static char *lines;                                    /* what is sent: lines of one size */
static size_t length;                                  /* of each of them, with its newline */
static sigset_t original_mask;
static int signals, nothing, input, output, errors; /* descriptors */

/* The programs that run now. */
static struct {
    pid_t group; /* the process group of all of them: the first one's number; 0: there are none */
    pid_t pid[2];
    const char *program[2];
    int count;
    double deadline; /* for their end */
} running;

static char trouble[sizeof ring.small.trouble]; /* why the last thing failed */
static char progress[80];                       /* what is under way */
static bool terminal;                           /* whether stderr is one */
static double began;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- Every way out ---- */

/*
 * Ends what runs, and removes ring and mailbox: without the programs of the labs, which may be what
 * does not work. (Our files have had no name from the start.)
 */
static void end_run(void)
{
    char mailbox[sizeof name + 8];

    if (running.group != 0) {
        kill(-running.group, SIGKILL);
        /* Children of a child are ours when it has died, since main() asks for that. */
        while (waitpid(-running.group, NULL, 0) > 0)
            continue;
    }
    running.group = 0;
    shm_unlink(name);
    snprintf(mailbox, sizeof mailbox, "/mbox.%s", name);
    mq_unlink(mailbox);
}

__attribute__((noreturn)) static void die(const char *what)
{
    fprintf(stderr, "measure: %s: %s\n", what, strerror(errno));
    end_run();
    exit(1);
}

/* Notes why there will be no number. Returns false, for its caller to return. */
__attribute__((format(printf, 1, 2))) static bool fail(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(trouble, sizeof trouble, format, arguments);
    va_end(arguments);
    return false;
}

/* On a terminal: one line that is written over, and gone at the end. */
static void show_progress(bool clear)
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

/* To the beginning of the file, which may be made empty as well. */
static void rewind_file(int fd, bool empty)
{
    if (lseek(fd, 0, SEEK_SET) != 0 || (empty && ftruncate(fd, 0) != 0))
        die("temporary file");
}

static void open_pipe(int ends[2])
{
    if (pipe2(ends, O_CLOEXEC) != 0)
        die("pipe");
}

/* All lines of a size, in memory and in the file: eight digits, letters, a newline. */
static void make_lines(int size)
{
    length = (size_t)size + 1;
    free(lines);
    lines = malloc((size_t)line_count * length);
    if (lines == NULL)
        die("lines");
    for (long i = 0; i < line_count; i++) {
        char *line = lines + (size_t)i * length;

        for (int column = 8; column < size; column++)
            line[column] = (char)('a' + (i + column) % 26);
        line[size] = '\n';
        for (long column = 7, rest = i; column >= 0; column--, rest /= 10)
            line[column] = (char)('0' + rest % 10);
    }
    rewind_file(input, true);
    if (write(input, lines, (size_t)line_count * length) != (ssize_t)((size_t)line_count * length))
        die("temporary file");
}

static bool differs(size_t number)
{
    return fail("what came out differs from line %zu on: run make check", number + 1);
}

/* Whether the output is what the input was. */
static bool output_is_right(void)
{
    size_t there = 0, all = (size_t)line_count * length;
    char bytes[1 << 16];
    ssize_t count;

    rewind_file(output, false);
    while ((count = read(output, bytes, sizeof bytes)) > 0) {
        for (ssize_t i = 0; i < count; i++, there++) {
            if (there == all || bytes[i] != lines[there])
                return differs(there / length);
        }
    }
    return there == all || differs(there / length);
}

/* ---- Programs ---- */

/* From here on the time runs for the programs that are started next. */
static void begin_run(void)
{
    running.deadline = now() + (double)limit;
    running.count = 0;
    rewind_file(errors, true);
}

/* Starts a program in a folder, with these descriptors as its stdin and stdout. */
static void start(const char *folder, const char *const argv[], int in, int out)
{
    pid_t pid = fork();

    if (pid < 0)
        die("fork");
    if (pid == 0) {
        setpgid(0, running.group);
        sigprocmask(SIG_SETMASK, &original_mask, NULL);
        if (chdir(folder) == 0 && dup2(in, 0) == 0 && dup2(out, 1) == 1 && dup2(errors, 2) == 2)
            execvp(argv[0], (char *const *)argv);
        fprintf(stderr, "%s\n", strerror(errno));
        _exit(127);
    }
    if (running.group == 0)
        running.group = pid;
    setpgid(pid, running.group); /* here too: nobody knows which of the two is first */
    running.pid[running.count] = pid;
    running.program[running.count++] = argv[0];
}

/* Whether a program that has ended did so with 0. */
static bool ended_well(pid_t pid, int status)
{
    int which = running.count == 2 && running.pid[1] == pid;
    int number = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
    char said[160] = "nothing";

    if (status == 0)
        return true;
    /* The first line of what was said on stderr; only the bytes that are read are overwritten. */
    if (pread(errors, said, sizeof said - 1, 0) > 0)
        said[strcspn(said, "\n")] = '\0';
    return fail("%s %s %d and said: %s", running.program[which],
                WIFSIGNALED(status) ? "died of signal" : "ended with", number, said);
}

enum event { INPUT, ENDED, ALL_ENDED, FAILED };

/*
 * Waits for what comes first: there is something to read from `fd` (-1: nothing is awaited), a
 * program has ended well, all have. FAILED: one ended badly, or the time is up. The signals that
 * would end us are blocked everywhere and read from a descriptor here: so they find us at a place
 * where everything can be cleaned up, and none of them comes between a look and a wait.
 */
static enum event next_event(int fd)
{
    for (;;) {
        struct pollfd either[] = {{.fd = signals, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
        struct signalfd_siginfo signal;
        double left = running.deadline - now();
        int status;
        pid_t pid = waitpid(-running.group, &status, WNOHANG);

        if (pid > 0)
            return ended_well(pid, status) ? ENDED : FAILED;
        if (pid < 0) {
            running.group = 0;
            return ALL_ENDED;
        }
        if (left <= 0) {
            fail("did not end within %ld s: make check finds out why", limit);
            return FAILED;
        }
        show_progress(false);
        poll(either, 2, left > 0.5 ? 500 : (int)(left * 1000) + 1);
        if (either[0].revents == 0 && either[1].revents != 0)
            return INPUT;
        if (either[0].revents != 0 && read(signals, &signal, sizeof signal) > 0 &&
            signal.ssi_signo != SIGCHLD && signal.ssi_signo != SIGPIPE) {
            end_run();
            show_progress(true);
            /* And now as if it had never been blocked, so that our parent learns the reason. */
            raise((int)signal.ssi_signo);
            sigprocmask(SIG_SETMASK, &original_mask, NULL);
            exit(1);
        }
    }
}

/* Waits until all programs have ended, each of them well. */
static bool finish(void)
{
    enum event event;

    do
        event = next_event(-1);
    while (event == ENDED);
    return event == ALL_ENDED;
}

/* Makes an empty ring or mailbox. A pipe is made together with its processes. */
static bool prepare(const struct mechanism *m)
{
    if (m == &pipes)
        return true;
    begin_run();
    start(m->folder,
          (const char *[]){m == &ring ? "./ring" : "./mbox", "create", name, CAPACITY, NULL},
          nothing, nothing);
    return finish();
}

/*
 * Starts the programs that carry `count` lines from `in` to `out`, the receiver first. For a pipe
 * they are dd, which makes one write of each line of a file, and cat; for single lines cat and cat.
 */
static void start_transfer(const struct mechanism *m, long count, bool singly, int in, int out)
{
    char number[24], block[24];
    const char *whole[] = {"./pipeline", "dd", block, "status=none", "|", "cat", NULL};
    const char *single[] = {"./pipeline", "cat", "|", "cat", NULL};
    const char **pipeline = singly ? single : whole;
    int ends[2];

    begin_run();
    snprintf(number, sizeof number, "%ld", count);
    snprintf(block, sizeof block, "bs=%zu", length);
    if (m == &ring) {
        start(m->folder, (const char *[]){"./consumer", name, NULL}, nothing, out);
        start(m->folder, (const char *[]){"./producer", name, NULL}, in, nothing);
    } else if (m == &queue) {
        start(m->folder, (const char *[]){"./mrecv", "--box", name, "--count", number, NULL},
              nothing, out);
        start(m->folder, (const char *[]){"./msend", "--box", name, NULL}, in, nothing);
    } else if (m->folder != NULL) {
        start(m->folder, pipeline, in, out);
    } else {
        open_pipe(ends);
        start(".", (const char *[]){"cat", NULL}, ends[0], out);
        pipeline[singly ? 2 : 4] = NULL; /* in place of the bar */
        start(".", pipeline + 1, in, ends[1]);
        close(ends[0]);
        close(ends[1]);
    }
}

/* ---- Measuring ---- */

/* All lines, from file to file. */
static bool measure_throughput(const struct mechanism *m, double *seconds)
{
    double start_time;

    if (!prepare(m))
        return false;
    rewind_file(input, false);
    rewind_file(output, true);
    start_time = now();
    start_transfer(m, line_count, false, input, output);
    if (!finish())
        return false;
    *seconds = now() - start_time;
    return output_is_right();
}

/* Waits until a line has come out of `fd`. */
static bool comes_out(int fd, size_t number, const char *line)
{
    char got[LARGE + 2];
    size_t there = 0;
    bool ended = false;

    while (there < length) {
        enum event event = next_event(fd);
        ssize_t more;

        if (event == FAILED)
            return false;
        /* mrecv ends after the last line, which may not have been read by then. */
        ended = ended || event != INPUT;
        if (event != ENDED && (more = read(fd, got + there, sizeof got - there)) > 0)
            there += (size_t)more;
        else if (event != ENDED)
            fd = -1; /* nothing comes any more: wait for the program's end, which may tell why */
        if (fd < 0 && ended)
            return differs(number);
    }
    return (there == length && memcmp(got, line, length) == 0) || differs(number);
}

/* One line after the other, through pipes of ours at both ends. */
static bool measure_latency(const struct mechanism *m, double times[ROUNDS])
{
    int in[2], out[2];
    bool right = true;

    if (!prepare(m))
        return false;
    open_pipe(in);
    open_pipe(out);
    start_transfer(m, WARM_UP + ROUNDS, true, in[0], out[1]);
    close(in[0]);
    close(out[1]);
    for (long i = 0; i < WARM_UP + ROUNDS && right; i++) {
        const char *line = lines + (size_t)(i % line_count) * length;
        double start_time = now();

        /* If nobody reads any more, that is found out where we wait. */
        if (write(in[1], line, length) < 0 && errno != EPIPE)
            die("pipe");
        right = comes_out(out[0], (size_t)i, line);
        if (i >= WARM_UP)
            times[i - WARM_UP] = now() - start_time;
    }
    close(in[1]);
    right = right && finish();
    close(out[0]);
    return right;
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;

    return (left > right) - (left < right);
}

/* Sorts the numbers. */
static double median(double *numbers, long count)
{
    qsort(numbers, (size_t)count, sizeof *numbers, compare);
    return (numbers[(count - 1) / 2] + numbers[count / 2]) / 2;
}

static void measure(const struct mechanism *m, int size, struct row *row)
{
    double seconds[RUNS_MAX], times[ROUNDS];
    bool right = true;

    if (!terminal)
        fprintf(stderr, "measure: %s, %d bytes\n", m->name, size);
    make_lines(size);
    for (long i = 0; i < runs && right; i++) {
        snprintf(progress, sizeof progress, "%s, %d bytes, run %ld of %ld", m->name, size, i + 1,
                 runs);
        right = measure_throughput(m, &seconds[i]);
        end_run();
    }
    snprintf(progress, sizeof progress, "%s, %d bytes, one at a time", m->name, size);
    right = right && measure_latency(m, times);
    end_run();
    if (right) {
        row->lines = (double)line_count / median(seconds, runs);
        row->latency = median(times, ROUNDS) * 1e6;
    } else {
        memcpy(row->trouble, trouble, sizeof trouble);
    }
}

/* ---- Telling ---- */

/* One row of the table, and of the file for gnuplot. Returns whether it has numbers. */
static bool print_row(FILE *file, const struct mechanism *m, int size, const struct row *row)
{
    double mb = row->lines * size / 1e6;

    if (row->lines > 0) {
        printf("%-12s %12d %12.0f %9.2f %13.1f\n", m->name, size, row->lines, mb, row->latency);
        fprintf(file, "%s\t%d\t%.0f\t%.3f\t%.2f\n", m->name, size, row->lines, mb, row->latency);
    } else {
        printf("%-12s %12d  %s\n", m->name, size, row->trouble);
        fprintf(file, "%s\t%d\t?\t?\t?\n", m->name, size);
    }
    return row->lines > 0;
}

/* The table; returns how many rows have numbers. */
static int print_table(void)
{
    FILE *file = fopen("measure.dat", "w");
    int measured = 0;

    if (file == NULL)
        die("measure.dat");
    fprintf(file, "# %ld lines, %ld runs, capacity %s; '?': not measured\n", line_count, runs,
            CAPACITY);
    fprintf(file, "# mechanism\tbytes\tlines/s\tMB/s\tlatency in us\n");
    printf("%ld lines of each size, median of %ld runs; ring and queue hold %s items\n\n",
           line_count, runs, CAPACITY);
    printf("mechanism    size (bytes)      lines/s      MB/s  latency (us)\n");
    for (struct mechanism *const *m = mechanisms; *m != NULL; m++) {
        if ((*m)->folder != NULL || *m == &pipes) {
            measured += print_row(file, *m, SMALL, &(*m)->small);
            measured += print_row(file, *m, LARGE, &(*m)->large);
        }
    }
    for (struct mechanism *const *m = mechanisms; *m != NULL; m++) {
        if ((*m)->folder == NULL)
            printf("\n%s: there is no %s in %s or %s: 'make' in its folder, or say %s=path\n",
                   (*m)->name, (*m)->programs[0], (*m)->folders[0], (*m)->folders[1],
                   (*m)->variable);
    }
    if (fclose(file) != 0)
        die("measure.dat");
    return measured;
}

static const char explanation[] =
    "\n"
    "How to read it. lines/s: all lines, divided by the time from the start of the\n"
    "programs to their end; so their start, and reading and printing the lines, are\n"
    "in it. Ring and queue hold " CAPACITY " items: one side soon waits for the other. A pipe\n"
    "holds 64 KiB, and cat takes all that is there at once. Queue and pipe copy each\n"
    "line into the kernel and out again, with a system call each; the ring calls the\n"
    "kernel only to wait and to wake. latency: one line's way through both programs.\n"
    "The kernel wakes somebody three times on it, and only the second is the ring's,\n"
    "queue's or pipe's. Compare rows of one run on a quiet machine, nothing else.\n";

static const char plots[] =
    "set datafile separator tab; set datafile missing '?'; set style data histograms\n"
    "set style histogram clustered gap 1; set style fill solid 0.8 border -1\n"
    "set yrange [0:*]; set grid ytics; set format y '%.0s%c'\n"
    "set key outside top center horizontal\n"
    "bars(column) = sprintf(\"plot 'measure.dat' every 2::0 using %d:xtic(1) title '16 bytes' "
    "lc rgb '#4878a8', '' every 2::1 using %d title '256 bytes' lc rgb '#e8a040'\", "
    "column, column)\n"
    "set terminal svg size 900,420 font 'sans,13' background '#ffffff'\n"
    "set output 'measure.svg'; set multiplot layout 1,2\n"
    "set title 'Throughput'; set ylabel 'lines a second'; eval bars(3)\n"
    "set title 'Latency of one line'; set ylabel 'microseconds'; eval bars(5)\n"
    "unset multiplot; unset output\n"
    "set terminal dumb 79 20; set title 'lines a second'; unset ylabel; eval bars(3)\n";

/* Lets gnuplot draw measure.svg, and a plot of letters on stdout. */
static void plot(void)
{
    char buffer[4096];
    ssize_t count;
    bool drawn;

    unlink("measure.svg");
    snprintf(progress, sizeof progress, "gnuplot");
    rewind_file(input, true);
    rewind_file(output, true);
    if (write(input, plots, sizeof plots - 1) != sizeof plots - 1)
        die("temporary file");
    rewind_file(input, false);
    begin_run();
    start(".", (const char *[]){"gnuplot", NULL}, input, output);
    drawn = finish();
    end_run();
    show_progress(true);
    if (drawn) {
        rewind_file(output, false);
        while ((count = read(output, buffer, sizeof buffer)) > 0)
            fwrite(buffer, 1, (size_t)count, stdout);
        printf("The numbers are in measure.dat, the plots in measure.svg.\n");
    } else {
        printf("\nThe table is whole, and its numbers are in measure.dat. No plots: %s.\n"
               "(The package gnuplot-nox draws them.)\n",
               trouble);
    }
}

/* ---- The command line ---- */

static bool parse_number(const char *word, long most, long *number)
{
    char *end;

    *number = strtol(word, &end, 10);
    return *word >= '0' && *word <= '9' && *end == '\0' && *number >= 1 && *number <= most;
}

static bool parse(int argc, char **argv)
{
    bool right = true;
    int option;

    while (right && (option = getopt(argc, argv, "n:r:t:")) != -1) {
        right = (option == 'n' && parse_number(optarg, LINES_MAX, &line_count)) ||
                (option == 'r' && parse_number(optarg, RUNS_MAX, &runs)) ||
                (option == 't' && parse_number(optarg, 3600, &limit)); /* for measure's own tests */
    }
    return right && optind == argc;
}

/* Looks for the programs of a mechanism: all of them, or none. */
static void find(struct mechanism *m)
{
    char path[PATH_MAX];

    if (getenv(m->variable) != NULL)
        m->folders[0] = m->folders[1] = getenv(m->variable);
    for (int f = 0; f < 2 && m->folder == NULL; f++) {
        m->folder = m->folders[f];
        for (int i = 0; i < 3 && m->programs[i] != NULL; i++) {
            snprintf(path, sizeof path, "%s/%s", m->folders[f], m->programs[i]);
            if (access(path, X_OK) != 0)
                m->folder = NULL;
        }
    }
}

int main(int argc, char **argv)
{
    /* SIGPIPE, so that a write to nobody says EPIPE instead of ending us. */
    const int blocked[] = {SIGCHLD, SIGPIPE, SIGINT, SIGTERM, SIGHUP};
    struct sigaction before;
    sigset_t mask;
    int measured;

    if (!parse(argc, argv)) {
        fputs("usage: measure [-n LINES] [-r RUNS]\n", stderr);
        return 2;
    }
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
    if (access(".", W_OK) != 0) /* measure.dat would be missed only at the end */
        die("this folder");
    input = open_file();
    output = open_file();
    errors = open_file();

    for (struct mechanism *const *m = mechanisms; *m != NULL; m++) {
        find(*m);
        if ((*m)->folder == NULL && *m != &pipes)
            continue;
        if ((*m)->folder == NULL)
            (*m)->name = "pipe (bare)"; /* two programs, and a pipe of ours between them */
        measure(*m, SMALL, &(*m)->small);
        measure(*m, LARGE, &(*m)->large);
    }
    show_progress(true);
    measured = print_table();
    if (measured > 0) {
        fputs(explanation, stdout);
        plot();
    }
    return measured > 0 ? 0 : 1;
}
