/*
 * fifo.h - what the tests of the fifo lab share: both sides of a request, played by the suite.
 *
 * A server is tested by *visitors*: clients whose ends the suite itself holds. A client is tested
 * at a *desk*: a DIR/requests that the suite reads. Names and formats are made here a second time,
 * from the handout alone: none of the lab's own files is included, so that one mistake can't hide
 * in both.
 *
 * No open of the suite waits: each is with O_NONBLOCK, and what it needs is waited for as a state
 * that can be observed. What the suite makes belongs to the slot's uid, and lies in the test's
 * folder; a DIR is named relative to that, as the programs are given it.
 */
#ifndef FIFO_PEER_FIFO_H
#define FIFO_PEER_FIFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "harness/harness.h"

enum { LINE_MAX_BYTES = 4096 }; /* PIPE_BUF: of a request and of a reply, with the newline */

/* ---- folders and what lies in them (folder.c) ---- */

/* A new folder, and its name. */
const char *dir_make(struct random *r);
const char *dir_make_deep(struct random *r); /* the same, more than 1,000 characters away */
const char *inside(const char *dir, const char *name); /* the absolute path of DIR/NAME */
const char *requests_of(const char *dir);
const char *reply_of(const char *dir, const char *pid);

void fifo_make(const char *path, unsigned mode);
void link_make(const char *path, const char *target);
void socket_make(const char *path);
bool is_fifo(const char *path); /* not through a link */
/* An open end, O_NONBLOCK, closed when the test ends; -1: nobody reads it (O_WRONLY). */
int fifo_open(const char *path, int flags);
void fifo_close(int fd);
/* Bytes that wait in it. */
size_t fifo_waiting(int fd);
/* Makes the FIFO of `fd` one page large, and leaves room for `room` bytes of it alone (less than a
 * page). What was in it must be nothing. */
void fifo_fill(int fd, size_t room);
/* Takes what is in it at this moment; what fifo_fill() has put in is not in the result. */
const char *fifo_drain(int fd, size_t *len);

/* What lies at a path, to be compared later: which object, its mode, bytes, times. */
struct left {
    const char *path;
    struct stat st;
    const char *bytes; /* of a file; where a link leads */
};
struct left look_at(const char *path);
void expect_left(const struct left *before, const char *why);

/* Nothing lies in DIR but `names`, separated by single blanks ("" for nothing). */
void expect_names(const char *dir, const char *names, const char *why);
void expect_mode(const char *path, unsigned mode, const char *what);

/* ---- programs (programs.c) ---- */

/* From its name and its arguments, NULL at the end; not yet started. */
struct program *command(const char *name, ...) __attribute__((sentinel));
/* The same, started. */
struct program *run(const char *name, ...) __attribute__((sentinel));
/* Started, with `input` sent and its stdin closed. */
struct program *run_with(const char *input, const char *name, ...) __attribute__((sentinel));

/* What became of the programs, for a message: who waits where, and how the others ended. */
const char *what_happened(void);

/* The same with 1, and a line on stderr. */
void expect_failure(struct program *p, const char *why);
/* The same with 2, a line on stderr, and nothing on stdout. */
void expect_usage(struct program *p, const char *why);
/* Ends with 3, and not before `ms` milliseconds have passed since `since_ns` (clock_ns()). */
void expect_timeout(struct program *p, int64_t since_ns, int ms, const char *why);
/*
 * `ms` milliseconds have passed since `since_ns`, at which its time had begun already, so it is
 * over by now: whoever still sleeps waits longer than it may. (A load can't do that: whose timer
 * has expired is not asleep.) False: it is not over yet.
 */
bool expect_over(struct program *p, int64_t since_ns, int ms, const char *why);
/* All of stdout, after the end. */
void expect_printed(struct program *p, const char *text, const char *what);
void expect_printed_bytes(struct program *p, const void *bytes, size_t len, const char *what);
/* The next complete line of stdout. */
void expect_line(struct program *p, const char *line, const char *what);
/* The same, its line `number` (from 1), by a program that goes on running: it is flushed. */
void expect_line_at_once(struct program *p, int number, const char *line, const char *what);
/* stderr, after the end, has `said` in it. */
void expect_said(struct program *p, const char *said, const char *what);
/* The number stands on stderr, after the end, and not as a part of a longer one. */
void expect_line_number(struct program *p, long number, const char *what);

/* How many descend from it, zombies too. */
size_t processes_of(struct program *p);

/* Random bytes of a TEXT: any but newline and NUL. */
const char *random_text(struct random *r, size_t len);

/* ---- visitors of a server (visitor.c) ---- */

/* Starts a server and waits until DIR/requests can be written to. */
struct program *server_start(const char *dir);
/* The second half of that, for one that is started already. */
void server_wait(struct program *p, const char *dir);
bool server_is_reachable(const char *dir);
/* SIGTERM: exit 0, DIR/requests is gone. */
void server_end(struct program *p, const char *dir);

/* Opens DIR/requests, writes `line` and a newline in one write, and closes it. */
void ask(const char *dir, const char *line, ...) __attribute__((format(printf, 2, 3)));
void ask_bytes(const char *dir, const void *bytes, size_t len); /* no newline is added */
/* A writer that stays until fifo_close(). */
int writer_open(const char *dir);
void writer_send(int fd, const void *bytes, size_t len);

struct visitor {
    struct visitor *next;
    const char *dir, *pid, *path;
    struct endpoint *reply;
};
/* A PID of 5 to 9 digits that no other visitor has. */
const char *new_pid(struct random *r);
/* Makes its reply FIFO and opens it to read one reply: the end of it is seen. */
struct visitor *visitor_as(const char *dir, const char *pid);
struct visitor *visitor_new(const char *dir, struct random *r);
/* The same for several replies: no end is seen. */
struct visitor *visitor_staying(const char *dir, struct random *r);
void visitor_leaves(struct visitor *v); /* closes and removes it */

/* Waits for a whole line. */
const char *reply_of_server(struct visitor *v, size_t *len, const char *what);
/* ... which is `line`; */
void expect_reply(struct visitor *v, const char *line, const char *what);
/* ... or "ID OK TEXT" with these bytes; */
void expect_reply_text(struct visitor *v, const char *id, const char *text, size_t len,
                       const char *what);
/* ... or "ID ERR why". */
void expect_error_reply(struct visitor *v, const char *id, const char *what);
/* When all is quiet, nothing has come. */
void expect_no_reply(struct program *p, struct visitor *v, const char *why);
/* A new visitor asks and is answered. */
void expect_served(const char *dir, struct random *r, const char *why);
/* NEXT, `times` times, by a client of ours: the values behind `before`. Only the server knows the
 * next one then. */
void ask_next(const char *dir, struct random *r, int before, int times);
/* Two of them, the first of which need not be answered: half a line lies in front of it. */
void expect_served_after_half(struct program *p, const char *dir, struct random *r,
                              const char *why);

/* ---- the desk of a client (desk.c) ---- */

struct desk {
    const char *dir;
    int fd; /* reads DIR/requests, also while `in` is NULL; -1: left */
    struct endpoint *in;
};
/* Makes DIR/requests and is there to read it. Nothing is read before take_request(). */
struct desk *desk_open(const char *dir);
/* fifo_fill(): nothing is read from here to desk_drain(), which is fifo_drain(). */
void desk_fill(struct desk *d, size_t room);
const char *desk_drain(struct desk *d, size_t *len);
void desk_leave(struct desk *d); /* nobody reads any more; the name stays */

struct request {
    const char *line; /* without its newline */
    size_t len;
    const char *pid, *id, *op;
    const char *text; /* "" where there is none */
    size_t text_len;
};
/* Waits for a request in the agreed form, with a reply FIFO as agreed. */
struct request take_request(struct desk *d, struct program *p, const char *what);
/* ... which is OP TEXT, with this ID. */
struct request expect_request(struct desk *d, struct program *p, const char *id, const char *op,
                              const char *text, const char *what);
/* Nothing (more) was written to DIR/requests. */
void expect_nothing_asked(struct desk *d, const char *why);
/* Writes "ID " and `reply` and a newline to its FIFO, as a server does. */
void answer(struct desk *d, const struct request *q, const char *reply, ...)
    __attribute__((format(printf, 3, 4)));
void answer_bytes(struct desk *d, const struct request *q, const void *bytes, size_t len);
/* The reply FIFO of this request, for a test that keeps it open. */
int answer_open(struct desk *d, const struct request *q);

#endif
