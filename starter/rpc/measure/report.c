/*
 * report.c - tells what was measured: the table, the file measure.dat, the plots.
 */
#define _GNU_SOURCE
#include "measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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

int print_table(void)
{
    FILE *file = fopen("measure.dat", "w");
    int measured = 0, missing = 0;

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
        const char *named = getenv((*m)->variable);

        if ((*m)->folder == NULL)
            printf("%s%s: there is no %s in %s%s: 'make' in its folder, or say %s=path\n",
                   missing++ == 0 ? "\n" : "", (*m)->name, (*m)->programs[0],
                   named != NULL ? named : ". or ", named != NULL ? "" : (*m)->beside,
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
    "kernel only to wait and to wake. latency: one line's way through all programs.\n"
    "The kernel wakes somebody three times on it, and the first and the last time are\n"
    "not the mechanism's. Compare rows of one run on a quiet machine, nothing else.\n";

static const char explanation_of_servers[] =
    "With a server in the middle somebody is woken four times. fifo and rpc ask and\n"
    "wait: the next line goes in when the answer to the last one has come, so lines/s\n"
    "is not far from 1 / latency. chat sends on, up to 200 lines ahead of what has\n"
    "been heard. rpc is a call of CALC_SUM with the bytes of a line as numbers.\n";

void explain(void)
{
    fputs(explanation, stdout);
    if (fifo.folder != NULL || chat.folder != NULL || rpc.folder != NULL)
        fputs(explanation_of_servers, stdout);
}

/*
 * For gnuplot. bars(row, column) are the commands for a bar of each mechanism, with its number on
 * it: row 0 of measure.dat and each second one from there are those of the small lines.
 */
static const char plots[] =
    "set datafile separator tab; set datafile missing '?'\n"
    "set style fill solid 0.8 border -1; set boxwidth 0.6; unset key; set xtics scale 0\n"
    "number(x) = sprintf(x < 100 ? '%.1f' : '%.0f', x)\n"
    "bars(row, column) = sprintf(\"set xrange [*:*]; set yrange [*:*]; "
    "stats 'measure.dat' every 2::%d using %d nooutput; "
    "set xrange [-0.6:groups - 0.4]; set yrange [0:STATS_max * room]; "
    "plot 'measure.dat' every 2::%d using 0:%d:xtic(1) with boxes lc rgb color, "
    "'' every 2::%d using 0:%d:(number($%d)) with labels offset 0,rise\", "
    "row, column, row, column, row, column, column)\n"
    "latency = bars(0, 5); throughput = bars(1, 4)\n"
    "set terminal svg size 1000,420 font 'sans,12' background '#ffffff'\n"
    "set output 'measure.svg'; set multiplot layout 1,2\n"
    "set grid ytics; rise = 0.7; room = 1.15\n"
    "set title 'Latency of one line of 16 bytes'; set ylabel 'microseconds'\n"
    "color = '#4878a8'; eval latency\n"
    "set title 'Throughput of lines of 256 bytes'; set ylabel 'MB a second'\n"
    "color = '#e8a040'; eval throughput\n"
    "unset multiplot; unset output\n"
    "set terminal dumb 79 13; unset ylabel; unset grid; unset ytics; rise = 1; room = 1.3\n"
    "set title 'latency of one line of 16 bytes, in microseconds'; eval latency\n"
    "set title 'throughput of lines of 256 bytes, in MB a second'; eval throughput\n";

/* Lets gnuplot draw measure.svg, and plots of letters on stdout. */
void plot(int groups)
{
    char buffer[4096];
    ssize_t count;
    bool drawn;

    unlink("measure.svg");
    snprintf(progress, sizeof progress, "gnuplot");
    rewind_file(input, true);
    rewind_file(output, true);
    if (dprintf(input, "groups = %d\n%s", groups, plots) < 0)
        die("temporary file");
    rewind_file(input, false);
    begin_run();
    start(".", (const char *[]){"gnuplot", NULL}, input, output);
    drawn = finish();
    end_run();
    show_progress(true);
    if (drawn) {
        rewind_file(output, false);
        while ((count = read(output, buffer, sizeof buffer)) > 0) {
            for (ssize_t i = 0; i < count; i++) {
                if (buffer[i] != '\f') /* between two plots */
                    putchar(buffer[i]);
            }
        }
        printf("The numbers are in measure.dat, the plots in measure.svg.\n");
    } else {
        printf("\nThe table is whole, and its numbers are in measure.dat. No plots: %s.\n"
               "(The package gnuplot-nox draws them.)\n",
               trouble);
    }
}
