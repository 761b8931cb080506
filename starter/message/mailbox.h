/*
 * mailbox.h - message passing over POSIX message queues: what a message looks like, and what one
 * can do with it.
 *
 * Given and fixed: the grader uses its own copy. The format of a message and the names of the
 * queues are public, so that any two programs that keep to them can talk, whoever wrote them; one
 * of them is the grader's.
 *
 *         kind    id      from                      len     body
 *       +-------+-------+-------------------------+-------+---------------------------------+
 *     0 |       | 4     | 8                       | 40    | 44                              | 556
 *       +-------+-------+-------------------------+-------+---------------------------------+
 *
 * Functions that return an enum mail_status print nothing: the mains say it, with mail_complain().
 */
#ifndef MAILBOX_H
#define MAILBOX_H

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

/* ---- The format ---- */

enum {
    MAIL_BODY_MAX = 512,
    MAIL_NAME_MAX = 31, /* bytes of a name that people give, without its zero byte */
    MAIL_LINK_CAPACITY = 10,
    MAIL_REPLY_CAPACITY = 1,
    MAIL_PRIORITY_MAX = 31,
    MAIL_QUEUE_NAME = 80, /* room for every name of a queue, and its zero byte */
};

enum message_kind {
    KIND_DATA = 1, /* no answer wanted */
    KIND_SYNC = 2, /* the sender waits for an ACK */
    KIND_ACK = 3,  /* "I have taken your message `id`": only in reply queues */
};

struct message {
    uint32_t kind;                /* enum message_kind */
    uint32_t id;                  /* counts the messages of one msend from 1 */
    char from[MAIL_NAME_MAX + 1]; /* the sender's name, and zero bytes to the end */
    uint32_t len;                 /* bytes of body that count, 0 to MAIL_BODY_MAX */
    char body[MAIL_BODY_MAX];     /* any bytes; behind `len` zero bytes */
};

static_assert(sizeof(struct message) == 556, "no padding in a message");
static_assert(offsetof(struct message, kind) == 0, "format");
static_assert(offsetof(struct message, id) == 4, "format");
static_assert(offsetof(struct message, from) == 8, "format");
static_assert(offsetof(struct message, len) == 40, "format");
static_assert(offsetof(struct message, body) == 44, "format");

/* ---- What is answered ---- */

enum mail_status {
    MAIL_OK,
    MAIL_TIMEOUT,   /* nobody there, or no answer in time */
    MAIL_STOPPED,   /* receiver_next() alone: SIGTERM or SIGINT came */
    MAIL_MALFORMED, /* receiver_next() alone: took a message that can't be right */
    MAIL_WRONG,     /* the queue is none of ours: another message size */
    MAIL_SYSTEM,    /* a call failed; errno says why */
};

/* Where messages go to, or come from: a mailbox (indirect), or a link (direct). */
struct address {
    const char *box;       /* the mailbox's name; NULL: it is a link */
    const char *from, *to; /* a link's sender and receiver */
};

enum { MAIL_FOR_EVER = -1 }; /* as a time in milliseconds; 0: do not wait at all */

struct sender_options {
    const char *me;    /* the sender's own name: `from` of each message */
    unsigned priority; /* 0 to MAIL_PRIORITY_MAX */
    bool sync;         /* each message is a rendezvous */
    bool unbounded;    /* what the queue can't hold waits in our memory; never with `sync` */
    long timeout_ms;   /* for each single wait; MAIL_FOR_EVER when `unbounded` */
};

/* Whatever your side of a queue has to remember. Both are yours, in mailbox.c. */
struct sender;
struct receiver;

/* ---- What you write: mailbox.c (there stands, step by step, what each does) ---- */

/* ---- names ---- */

/* Whether `name` is 1 to MAIL_NAME_MAX of the letters A-Z a-z, digits, '-' and '_'. */
bool name_is_right(const char *name);

/* Write the name of a queue, "/mbox.NAME", "/mbox.P.Q", "/mbox.ME.reply", from right names. */
void mailbox_queue_name(char queue[MAIL_QUEUE_NAME], const char *name);
void link_queue_name(char queue[MAIL_QUEUE_NAME], const char *from, const char *to);
void reply_queue_name(char queue[MAIL_QUEUE_NAME], const char *me);

/* ---- mailboxes ---- */

/*
 * Makes the mailbox `name`: a queue of mode 0600 for `capacity` (1 or more) messages. MAIL_SYSTEM
 * when that fails: EEXIST and the old one as it was, if there is one.
 */
enum mail_status mailbox_create(const char *name, long capacity);

/* Removes the mailbox's name, whatever queue is behind it. MAIL_SYSTEM. */
enum mail_status mailbox_destroy(const char *name);

/* ---- sending ---- */

/*
 * Opens the queue of `address` for sending. A mailbox must be there (MAIL_SYSTEM, ENOENT); a link
 * is established if it is not. MAIL_WRONG: a queue of another message size, left as it is. With
 * options->sync it also makes the reply queue, in place of an old one of that name.
 * `address` and `options` stay valid until sender_close(). On MAIL_OK *sender is the caller's until
 * then; else there is nothing to close, and no reply queue that it has made.
 */
enum mail_status sender_open(struct sender **sender, const struct address *address,
                             const struct sender_options *options);

/*
 * Sends one message with these `len` bytes (0 to MAIL_BODY_MAX).
 *   asynchronous  waits only while the queue is full;
 *   sync          waits for that, and then until the receiver has taken it and said so;
 *   unbounded     never waits: what the queue can't hold now is kept, in order, and goes out later.
 * MAIL_TIMEOUT: one of the waits took options->timeout_ms. MAIL_SYSTEM.
 */
enum mail_status sender_send(struct sender *sender, const char *body, size_t len);

/*
 * msend calls this before each read of its input `fd`, which may take for ever. Whoever has nothing
 * to do meanwhile returns at once. A sender with messages that wait in its memory sees to it that
 * they go out as soon as the queue has room, also while there is no input: it returns when there is
 * some (or its end), or when there is nothing left to go out. MAIL_SYSTEM.
 */
enum mail_status sender_wait_for_input(struct sender *sender, int fd);

/*
 * No more messages will be sent: waits until the queue has taken all that still wait in memory.
 * MAIL_SYSTEM.
 */
enum mail_status sender_finish(struct sender *sender);

/* Gives back all that sender_open() and later calls took. The reply queue is gone, a link stays. */
void sender_close(struct sender *sender);

/* ---- receiving ---- */

/*
 * Opens the queue of `address` for receiving, as sender_open() does. From here on SIGTERM and
 * SIGINT no longer end the process: receiver_next() tells. `timeout_ms` bounds each wait for a
 * message. `address` stays valid until receiver_close().
 */
enum mail_status receiver_open(struct receiver **receiver, const struct address *address,
                               long timeout_ms);

/*
 * Waits for the next message and takes it: the highest priority first, the oldest of these first.
 * Then it tells a sender who waits for it (kind SYNC), without ever waiting itself.
 *   MAIL_OK         *message and *priority are it
 *   MAIL_MALFORMED  what was taken can't be right (see message_is_right() in mailbox.c): dropped
 *   MAIL_TIMEOUT    none came within timeout_ms
 *   MAIL_STOPPED    SIGTERM or SIGINT, before or during the call
 *   MAIL_SYSTEM
 */
enum mail_status receiver_next(struct receiver *receiver, struct message *message,
                               unsigned *priority);

/* Gives back all that receiver_open() took. A mailbox stays, a link is removed. */
void receiver_close(struct receiver *receiver);

/* ---- Given ---- */

/* A limit of the system's, from /proc/sys/fs/mqueue; -1 if it is not to be read. */
static inline long mail_limit(const char *name)
{
    char path[64];
    long value = -1;
    FILE *file;

    snprintf(path, sizeof path, "/proc/sys/fs/mqueue/%s", name);
    file = fopen(path, "re");
    if (file == NULL)
        return -1;
    if (fscanf(file, "%ld", &value) != 1)
        value = -1;
    fclose(file);
    return value;
}

/*
 * Says on stderr what went wrong with `what` (a mailbox, a link), and what can be done where the
 * system's limits are the reason. Returns the exit status for it: 3 for MAIL_TIMEOUT, else 1.
 */
static inline int mail_complain(const char *program, const char *what, enum mail_status status)
{
    int error = errno;
    struct rlimit bytes = {0, 0};

    fprintf(stderr, "%s: %s: ", program, what);
    if (status == MAIL_TIMEOUT) {
        fputs("timed out\n", stderr);
    } else if (status == MAIL_WRONG) {
        fprintf(stderr, "a queue of another kind: its messages do not have %zu bytes\n",
                sizeof(struct message));
    } else if (status != MAIL_SYSTEM) {
        fprintf(stderr, "unexpected status %d\n", (int)status);
    } else if (error == ENOENT) {
        fputs("there is no such mailbox ('mbox create' makes one)\n", stderr);
    } else if (error == EEXIST) {
        fputs("is there already ('mbox destroy' removes it)\n", stderr);
    } else if (error == EINVAL) {
        fprintf(stderr,
                "invalid argument: the system allows queues of at most %ld messages (see "
                "/proc/sys/fs/mqueue/msg_max) of at most %ld bytes (msgsize_max; ours have %zu)\n",
                mail_limit("msg_max"), mail_limit("msgsize_max"), sizeof(struct message));
    } else if (error == EMFILE) {
        getrlimit(RLIMIT_MSGQUEUE, &bytes);
        fprintf(stderr,
                "no room for one more queue: all of a user's queues together may have %llu bytes "
                "(RLIMIT_MSGQUEUE, 'ulimit -q'): remove some of yours, or make it smaller (or too "
                "many files are open, 'ulimit -n')\n",
                (unsigned long long)bytes.rlim_cur);
    } else if (error == ENOSPC) {
        fprintf(stderr,
                "the system has no more than %ld queues (/proc/sys/fs/mqueue/queues_max): remove "
                "some, 'ls /dev/mqueue' shows them\n",
                mail_limit("queues_max"));
    } else {
        fprintf(stderr, "%s\n", strerror(error));
    }
    return status == MAIL_TIMEOUT ? 3 : 1;
}

/* A number as people type it: digits alone, `least` to `most` (below 2^31). -1: it is none. */
static inline long mail_number(const char *text, long least, long most)
{
    long value = 0;

    if (text == NULL || *text == '\0')
        return -1;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return -1;
        value = value * 10 + (*text - '0');
        if (value > most)
            return -1;
    }
    return value < least ? -1 : value;
}

#endif
