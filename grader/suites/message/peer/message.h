/*
 * message.h - what the tests of the message lab share: the grader's side of a queue.
 *
 * The format of a message, the names of queues and the queues themselves are made here a second
 * time, from the handout alone: none of the lab's own files is included, so that one mistake can't
 * hide in both. A message of this side is a `struct letter`.
 *
 * Queues that the suite makes belong to the slot's uid, so that programs can open them. All that it
 * made or opened is removed when the test ends, the rest by the slot's sweep.
 */
#ifndef MESSAGE_PEER_MESSAGE_H
#define MESSAGE_PEER_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "harness/harness.h"

/* ---- messages ---- */

enum { DATA = 1, SYNC = 2, ACK = 3 };
enum { LETTER_BYTES = 556, BODY_BYTES = 512, FROM_BYTES = 32, NAME_BYTES = 31, LINK_CAPACITY = 10 };

struct letter {
    uint32_t kind, id;
    char from[FROM_BYTES + 1]; /* the 33rd is ours: always NUL */
    uint32_t len;
    unsigned char body[BODY_BYTES];
    unsigned priority;
    /* of one that was taken from a queue: */
    size_t size;      /* its bytes; the fields are 0 where it is too short */
    bool zero_behind; /* nothing but zero bytes behind `from` and behind `len` bytes */
};

/* A message with a text as its body, priority 0. */
struct letter letter(uint32_t kind, uint32_t id, const char *from, const char *body);
struct letter letter_bytes(uint32_t kind, uint32_t id, const char *from, const void *body,
                           size_t len);

/* ---- names ---- */

/* A random name as the lab allows them, 12 to 24 characters; different in each call, and, where
 * queues are seen by all of the machine, from those of other gradings. */
const char *name(struct random *r);
const char *longest_name(struct random *r); /* of 31 characters */
/* Two names of 31 characters that differ in the last one alone. */
void longest_names(struct random *r, const char *names[static 2]);
/* `len` characters of those that a name may have: a word for bodies, or too long a name. */
const char *long_name(struct random *r, size_t len);
/* Of the queues that belong to them: "/mbox.NAME", "/mbox.P.Q", "/mbox.ME.reply". */
const char *box_of(const char *box);
const char *link_of(const char *from, const char *to);
const char *reply_of(const char *me);

/* ---- queues ---- */

struct queue {
    char path[128];
    int fd;
};

/* A new queue, mode 0600; one that exists is the suite's mistake. */
struct queue *queue_make(const char *path, long capacity, long message_bytes);
/* One that programs can't open: mode 0000. */
struct queue *queue_make_closed(const char *path);
struct queue *box_make(const char *box, long capacity);
bool queue_there(const char *path);
/* The name may be left by a program that is killed: it is removed when the test ends. */
void queue_expected(const char *path);
/* A queue that a program has made; fails with `what` when it isn't there. */
struct queue *queue_open(const char *path, const char *what);
/* The same, waiting until it is there; when `p` ends before that, or never makes it, fails. */
struct queue *queue_wait(struct program *p, const char *path, const char *what);
void queue_remove(const char *path); /* the name, which may be gone already */

/* A limit of this namespace for who has no privilege, by its name in mq_overview(7); `unknown`
 * where it can't be read. */
long queue_limit(const char *limit, long unknown);
/* As many queues as the system allows: programs can make none then, until queues_free() or the end
 * of the test. False where that would disturb others, or can't be done. */
bool queues_fill(void);
void queues_free(void);

long queue_count(const struct queue *q); /* messages that wait in it */
bool queue_same(const struct queue *q);  /* its name still leads to this very queue */
/* The queue has this capacity, the lab's message size and mode 0600. */
void expect_queue(const struct queue *q, long capacity, const char *who);
void expect_gone(const char *path, const char *why);
/* No queue is there but those that the test knows: made, opened or expected by it. expect_gone()
 * asks that, too. Nothing is looked at where queues are seen by all of the machine, while programs
 * run, and when one was killed: they may have queues of their own then. */
void expect_no_other_queue(const char *why);
void expect_count(const struct queue *q, long count, const char *why);
/* Waits until `count` messages are in it; stuck fails. */
void queue_wait_count(const struct queue *q, long count, const char *what);

/* Sends; waits while the queue is full. */
void queue_put(struct queue *q, const struct letter *l);
void queue_put_bytes(struct queue *q, const void *bytes, size_t len, unsigned priority);
/* Waits for a message and takes it: `what` is expected of the program. */
struct letter queue_take(struct queue *q, const char *what);
bool queue_take_now(struct queue *q, struct letter *l); /* false: there was none */

/* Every field and the zero bytes behind are those of `want`. */
void expect_letter(const struct letter *got, const struct letter *want, const char *what);
/* queue_take() and expect_letter() */
void expect_next(struct queue *q, struct letter want, const char *what);
/* Takes the next message, which must be an ACK with this id, as the contract has it. */
void expect_ack(struct queue *reply, uint32_t id, const char *what);

/* ---- programs ---- */

/* From words with single blanks between them: command("msend --box %s --sync", box). A word of two
 * apostrophes is the empty word. Not yet started. */
struct program *command(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same, started. */
struct program *run(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Started, with `input` sent and its stdin closed. */
struct program *run_with(const char *input, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * `p` sleeps because `q` is full, and wakes up since there is room: but before it can send,
 * somebody else has taken the room with `filler`. Forced step by step (trace.h); what was in the
 * queue is thrown away. False: that can't be done with `p`, since the kernel itself has put its
 * message where the room was (it waits in mq_send()), or it has ended before; then `filler` is not
 * there.
 */
bool room_is_lost(struct program *p, struct queue *q, const struct letter *filler);

/* Whether all programs of this test have ended, none of them by a signal. */
bool programs_have_exited(void);

/* What became of the programs, for a message: who waits where, and how the others ended. */
const char *what_happened(void);

/* ---- expectations of programs ---- */

/* The same of msend and mbox, whose functions print nothing: nothing is on stdout, and on stderr
 * the main's one line where `status` is not 0. */
void expect_silent(struct program *p, int status);
/* The same with status 1, and a line on stderr. */
void expect_failure(struct program *p, const char *why);
/* Wrong usage: exit 2, a line on stderr, nothing on stdout. `words` as in command(). */
void expect_usage(const char *words, const char *why);
/* All of stdout, after the end. */
void expect_printed(struct program *p, const char *bytes, const char *what);
void expect_printed_bytes(struct program *p, const void *bytes, size_t len, const char *what);
/* The next complete line of stdout is `line`. */
void expect_line(struct program *p, const char *line, const char *what);
/* stderr holds exactly `count` lines, after the end. */
void expect_error_lines(struct program *p, size_t count, const char *why);
/* It sleeps in the kernel: blocked, without polling. */
void expect_blocked(struct program *p, const char *why);
/* Ends with 3, and not before `ms` milliseconds have passed since `since_ns` (clock_ns()). */
void expect_timeout(struct program *p, int64_t since_ns, int ms, const char *why);
/* How often the whole line `line` stands in the stdout of `p`. */
int printed_times(struct program *p, const char *line);

/* Random bytes of a line: any but newline. */
void random_line_bytes(struct random *r, unsigned char *bytes, size_t len);

#endif
