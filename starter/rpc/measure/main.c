/*
 * main.c - sends the same lines through your ring, mailbox, pipeline, FIFO server, chat server and
 * calculator, as many of them as exist, and tells what each of them costs. Given, and nothing of it
 * is graded: `make measure` runs it.
 *
 *     measure.bin [-n LINES] [-r RUNS]          100000 lines, 3 runs
 *
 * For each mechanism, with lines of 16 and of 256 bytes, it measures two things:
 *
 *   throughput  LINES lines go in and come out: from the start of the first program to the end of
 *               the last one;
 *   latency     one line goes in, and the next one only when it has come out.
 *
 * The programs are those that you have built, each where its lab is: the ring in $SHM, else here or
 * in ../shm, and so on. What comes out must be what went in, to the byte. Else there is no number:
 * a ring that loses items is fast, and worth nothing.
 */
#define _GNU_SOURCE
#include "measure.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    WARM_UP = 100, /* lines that go one at a time: these are not counted, and those are */
    ROUNDS = 2000,
    LINES_MAX = 1000000,
    RUNS_MAX = 99,
};

struct mechanism *const mechanisms[] = {&ring, &queue, &pipes, &fifo, &chat, &rpc, NULL};
long line_count = 100000, runs = 3, limit = 60;
size_t length;

/* ---- Lines ---- */

static char *lines;   /* what is sent: lines of one size */
static size_t stride; /* from one to the next: its length, and what the mechanism has before it */

static size_t length_of(const char *text)
{
    return text != NULL ? strlen(text) : 0;
}

/* Where line number `i` is, without what stands before it. */
static const char *line_at(long i)
{
    return lines + (size_t)i * stride + (stride - length);
}

/* All lines of a size, in memory and in the file: eight digits, letters, a newline. */
static void make_lines(const struct mechanism *m, int size)
{
    size_t before = length_of(m->before_in), all;

    length = (size_t)size + 1;
    stride = before + length;
    all = (size_t)line_count * stride;
    free(lines);
    lines = malloc(all);
    if (lines == NULL)
        die("lines");
    for (long i = 0; i < line_count; i++) {
        char *line = lines + (size_t)i * stride;

        if (before > 0)
            memcpy(line, m->before_in, before);
        line += before;
        for (int column = 8; column < size; column++)
            line[column] = (char)('a' + (i + column) % 26);
        line[size] = '\n';
        for (long column = 7, rest = i; column >= 0; column--, rest /= 10)
            line[column] = (char)('0' + rest % 10);
    }
    rewind_file(input, true);
    if (write(input, lines, all) != (ssize_t)all)
        die("temporary file");
}

static bool differs(long number)
{
    return fail("what came out differs from line %ld on: run make check", number + 1);
}

/* Whether the output, a file, is what the input was. */
static bool output_is_right(void)
{
    size_t column = 0;
    char bytes[1 << 16];
    ssize_t count;
    long i = 0;

    rewind_file(output, false);
    while ((count = read(output, bytes, sizeof bytes)) > 0) {
        for (ssize_t at = 0; at < count; at++) {
            if (i == line_count || bytes[at] != line_at(i)[column])
                return differs(i);
            if (++column == length) {
                column = 0;
                i++;
            }
        }
    }
    return i == line_count || differs(i);
}

/* ---- Measuring ---- */

/* Whether the next line that comes out is right. */
static bool comes_out(const struct mechanism *m, struct transfer *t, long number)
{
    size_t before = length_of(m->before_out), len;
    const char *line;

    trouble[0] = '\0';
    do
        line = next_line(t, &len);
    while (before > 0 && line != NULL && strncmp(line, "-- ", 3) == 0);
    if (line == NULL && trouble[0] != '\0')
        return false;
    return (line != NULL && len == before + length - 1 &&
            (before == 0 || memcmp(line, m->before_out, before) == 0) &&
            memcmp(line + before, line_at(number % line_count), length - 1) == 0) ||
           differs(number);
}

/*
 * Lines through pipes, at most `window` at once, and not one write for each. A pipe holds them all,
 * so no write waits; if nobody reads any more, that is found out where we wait. With a window of
 * one `times` gets the time of each line, but the first ones.
 */
static bool send_lines(const struct mechanism *m, struct transfer *t, long window, double *times)
{
    long sent = 0;

    for (long seen = 0; seen < t->count; seen++) {
        double start_time = now();

        if (sent - seen <= window / 2 && sent < t->count) {
            long first = sent % line_count, most = window - (sent - seen);

            if (most > t->count - sent)
                most = t->count - sent;
            if (most > line_count - first)
                most = line_count - first;
            if (write(t->to, lines + (size_t)first * stride, (size_t)most * stride) < 0 &&
                errno != EPIPE)
                die("pipe");
            sent += most;
        }
        if (!comes_out(m, t, seen))
            return false;
        t->through++;
        if (times != NULL && seen >= WARM_UP)
            times[seen - WARM_UP] = now() - start_time;
    }
    return true;
}

/*
 * `count` lines, from the making of the mechanism to its end. `window` 0: from file to file. Gives
 * the seconds from the start of the first program to the end of the last; a server counts as part
 * of the mechanism.
 */
static bool carry(const struct mechanism *m, long count, long window, double *seconds,
                  double *times)
{
    struct transfer t = {.count = count,
                         .singly = window == 1,
                         .in = input,
                         .out = output,
                         .to = -1,
                         .from = -1,
                         .also = -1};
    int in[2], out[2];
    double start_time;
    bool right;

    if (!m->prepare(m))
        return stop_server(false);
    rewind_file(input, false);
    rewind_file(output, true);
    if (window > 0) {
        open_pipe(in);
        open_pipe(out);
        fcntl(out[0], F_SETFL, O_NONBLOCK); /* while we have out[1] open it does not end */
        t.in = in[0], t.to = in[1];
        t.from = out[0], t.out = out[1];
    }
    start_time = now();
    begin_run();
    right = m->start(m, &t);
    if (window > 0) {
        close(t.in);
        close(t.out);
        right = right && send_lines(m, &t, window, times);
        close(t.to);
        close(t.also);
    }
    right = right && finish();
    *seconds = now() - start_time;
    if (window > 0)
        close(t.from);
    else
        t.through = (long)(lseek(output, 0, SEEK_END) / (off_t)length);
    if (!right && out_of_time)
        fail("after %ld s %ld of %ld lines had come out, %s: run make check", limit, t.through,
             count, t.through < count ? "no more" : "and it did not end");
    return stop_server(right) && (window > 0 || output_is_right());
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
    double seconds[RUNS_MAX], times[ROUNDS], whole;
    bool right = true;

    if (!terminal)
        fprintf(stderr, "measure: %s, %d bytes\n", m->name, size);
    current = m;
    make_lines(m, size);
    for (long i = 0; i < runs && right; i++) {
        snprintf(progress, sizeof progress, "%s, %d bytes, run %ld of %ld", m->name, size, i + 1,
                 runs);
        right = carry(m, line_count, m->window, &seconds[i], NULL);
        end_run();
    }
    snprintf(progress, sizeof progress, "%s, %d bytes, one at a time", m->name, size);
    right = right && carry(m, WARM_UP + ROUNDS, 1, &whole, times);
    end_run();
    current = NULL;
    if (right) {
        row->lines = (double)line_count / median(seconds, runs);
        row->latency = median(times, ROUNDS) * 1e6;
    } else {
        memcpy(row->trouble, trouble, sizeof trouble);
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
    const char *named = getenv(m->variable);
    const char *const folders[] = {named != NULL ? named : ".", named != NULL ? named : m->beside};
    char path[PATH_MAX];

    for (int f = 0; f < 2 && m->folder == NULL; f++) {
        m->folder = folders[f];
        for (int i = 0; m->programs[i] != NULL; i++) {
            snprintf(path, sizeof path, "%s/%s", folders[f], m->programs[i]);
            if (access(path, X_OK) != 0)
                m->folder = NULL;
        }
    }
}

int main(int argc, char **argv)
{
    int groups = 0, measured;

    if (!parse(argc, argv)) {
        fputs("usage: measure [-n LINES] [-r RUNS]\n", stderr);
        return 2;
    }
    if (access(".", W_OK) != 0) /* measure.dat would be missed only at the end */
        die("this folder");
    prepare_everything();
    for (struct mechanism *const *m = mechanisms; *m != NULL; m++) {
        find(*m);
        if ((*m)->folder == NULL && *m != &pipes)
            continue;
        if ((*m)->folder == NULL)
            (*m)->name = "bare pipe"; /* two programs, and a pipe of ours between them */
        groups++;
        measure(*m, SMALL, &(*m)->small);
        measure(*m, LARGE, &(*m)->large);
    }
    show_progress(true);
    measured = print_table();
    if (measured > 0) {
        explain();
        plot(groups);
    }
    return measured > 0 ? 0 : 1;
}
