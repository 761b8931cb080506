/*
 * measure.h - what the files of `make measure` share. Given, and nothing of it is graded.
 *
 *     main.c      the command line, and what is measured: the same for each mechanism
 *     run.c       starts, watches and ends programs; files and pipes
 *     report.c    the table and the plots
 *     local.c     the mechanisms ring, queue and pipe
 *     fifo.c, chat.c, rpc.c      those with a server, one in each
 *
 * A mechanism is a way from one process to another. To measure one more, fill a struct mechanism
 * and put it into the list of main.c.
 */
#ifndef MEASURE_H
#define MEASURE_H

#include <stdbool.h>
#include <stddef.h>

enum {
    SMALL = 16, /* the two sizes of a line, without its newline */
    LARGE = 256,
};
#define CAPACITY "10" /* of ring and queue: as many as the system allows everybody's queues */

/* Lines on their way through the programs of a mechanism. */
struct transfer {
    long count;  /* of lines */
    bool singly; /* each line goes in when the one before has come out */
    int in, out; /* what the programs have as stdin and stdout: two files, or pipes */
    int to;      /* our ends of those pipes; -1: they are files */
    int from;
    int also;     /* -1, or one more pipe of ours, to be closed when all lines are through */
    long through; /* how many lines have come out and were right */

    /* What has come out and was not looked at: bytes[start] to bytes[end - 1]. */
    char bytes[8192];
    size_t start, end;
    bool over; /* nothing more comes out */
};

struct mechanism {
    const char *name;        /* as the table has it */
    const char *programs[4]; /* all have to be there, and NULL */
    const char *variable;    /* tells where; else it is here, or in a folder beside this one: */
    const char *beside;
    const char *before_in;  /* what stands before each line where it goes in, */
    const char *before_out; /* and where it comes out; lines that begin with "-- " are left out */
    /* How many lines may be on their way at once: then they go through pipes, and we wait for some
     * before we send more. 0: programs and mechanism see to that; from file to file. */
    long window;

    /* Makes what the lines go through (a ring, a server that is ready). Not in the time. Each of
     * the two returns false after fail(). */
    bool (*prepare)(const struct mechanism *m);
    /* Starts the programs that carry lines from t->in to t->out; at most two. */
    bool (*start)(const struct mechanism *m, struct transfer *t);
    /* Removes what prepare() has made, if it has. On every way out, when no program runs any more:
     * without the programs of the labs, which may be what does not work. */
    void (*end)(void);

    const char *folder; /* where the programs are; NULL: nowhere */
    struct row {
        double lines, latency; /* a second; in microseconds. 0: not measured */
        char trouble[300];     /* why not */
    } small, large;
};
extern struct mechanism ring, queue, pipes, fifo, chat, rpc;
extern struct mechanism *const mechanisms[]; /* all of them, and NULL */

/* ---- main.c ---- */

extern long line_count, runs, limit; /* the last: seconds for one run */
extern size_t length;                /* of each line, with its newline */

/* ---- run.c ---- */

extern char name[32];     /* of our ring, mailbox and folder */
extern char port[8];      /* that the server has printed */
extern char trouble[300]; /* why the last thing failed */
extern char progress[80]; /* what is under way */
extern bool terminal;     /* whether stderr is one: then it shows that */
extern bool out_of_time;  /* whether that was the time */
extern int nothing;       /* /dev/null */
extern int input, output; /* two temporary files */

/* Before all others: signals and files. */
void prepare_everything(void);
double now(void); /* in seconds */
/* Our own failure, by errno: cleans up and ends the program. */
__attribute__((noreturn)) void die(const char *what);
/* Notes why there will be no number. Returns false, for its caller to return. */
__attribute__((format(printf, 1, 2))) bool fail(const char *format, ...);
void show_progress(bool clear);
/* To the beginning of a file, which may be made empty as well. */
void rewind_file(int fd, bool empty);
void open_pipe(int ends[2]);

/* From here on the time runs for the programs that are started next. */
void begin_run(void);
/* Starts a program in a folder, with these descriptors as its stdin and stdout. */
void start(const char *folder, const char *const argv[], int in, int out);
/* The same with a function of our own, in a process of its own. It does not return to us: what it
 * returns is the exit status. */
void start_function(const char *what, int (*function)(void), int in, int out);
/*
 * Starts a server, the only one that runs, and waits until `is_ready` says so, or it has ended, or
 * the time is up. has_port() is for servers that print "listening on PORT", and sets `port`.
 */
bool start_server(const char *folder, const char *const argv[], bool (*is_ready)(void));
bool has_port(void);
/* Waits until all programs but the server have ended, each of them well. */
bool finish(void);
/* The next line of what comes out of a transfer, without its newline, as a string of `*len` bytes.
 * NULL: there is none any more, or (`trouble` says it then) a program has failed. */
const char *next_line(struct transfer *t, size_t *len);
/* Ends the server by SIGTERM, if there is one. `right` is how it went without that; returns how it
 * went with it: a server that has died is the reason for what failed before. */
bool stop_server(bool right);
/* Ends what still runs, and removes what has a name. `m` is what is measured now; NULL: nothing. */
extern const struct mechanism *current;
void end_run(void);

/* ---- report.c ---- */

int print_table(void); /* returns how many rows have numbers */
void explain(void);
void plot(int groups); /* of bars: as many as there are mechanisms in the table */

#endif
