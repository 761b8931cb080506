/*
 * mailbox.c - message passing over POSIX message queues: the two ends of mailboxes and links.
 *
 * What it teaches: processes that share no memory can work together if somebody carries messages
 * between them. Here it is the kernel: a queue holds messages, each whole and with a priority,
 * wakes who waits, and needs no lock of ours. What is left to decide is who finds whom (names,
 * mailboxes and links), who waits for whom and how long (full, empty, a rendezvous, a time-out),
 * how much may be on the way (nothing, ten messages, as many as our memory holds), and what to
 * believe of a message that anybody may have put there.
 *
 * mailbox.h has what each function is for; here stands what it does, step by step.
 */
#define _GNU_SOURCE
#include "mailbox.h"

#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The sending side. Add what you need. */
struct sender {
    mqd_t queue;
    const struct sender_options *options;
    uint32_t sent; /* messages so far: the next one's id is sent + 1 */
    mqd_t reply;
    struct waiting *oldest, *newest;
};

struct waiting {
    struct message message;
    struct waiting *next;
};

/* The receiving side. Add what you need. */
struct receiver {
    mqd_t queue;
    long timeout_ms;
    const struct address *address;
};

static struct timespec in_ms(long ms)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += ms % 1000 * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

/* flags: O_RDONLY or O_WRONLY */
static enum mail_status open_address(const struct address *address, int flags, mqd_t *queue)
{
    char name[MAIL_QUEUE_NAME];
    struct mq_attr a = {.mq_maxmsg = 10, .mq_msgsize = sizeof(struct message)};

    if (address->box) {
        mailbox_queue_name(name, address->box);
        *queue = mq_open(name, flags);
    } else {
        link_queue_name(name, address->from, address->to);
        *queue = mq_open(name, flags | O_CREAT, 0600, &a);
    }
    if (*queue == (mqd_t)-1)
        return MAIL_SYSTEM;
    mq_getattr(*queue, &a);
    if (a.mq_msgsize != sizeof(struct message)) {
        mq_close(*queue);
        return MAIL_WRONG;
    }
    return MAIL_OK;
}

/* ---- Step 1: mailboxes ---- */

/*
 * One check for all names: what people type, and what a message claims to come from. No '.' and no
 * '/': the dots below then separate, and no two things can share a queue's name.
 */
bool name_is_right(const char *name)
{
    size_t n = strlen(name);
    if (n < 1 || n > 31)
        return false;
    for (size_t i = 0; i < n; i++)
        if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", name[i]) ==
            NULL)
            return false;
    return true;
}

/* The mailbox NAME is the queue "/mbox.NAME". */
void mailbox_queue_name(char queue[MAIL_QUEUE_NAME], const char *name)
{
    snprintf(queue, MAIL_QUEUE_NAME, "/mbox.%s", name);
}

/* The link from P to Q is the queue "/mbox.P.Q". */
void link_queue_name(char queue[MAIL_QUEUE_NAME], const char *from, const char *to)
{
    snprintf(queue, MAIL_QUEUE_NAME, "/mbox.%s.%s", from, to);
}

/* The answers to ME come through the queue "/mbox.ME.reply". */
void reply_queue_name(char queue[MAIL_QUEUE_NAME], const char *me)
{
    snprintf(queue, MAIL_QUEUE_NAME, "/mbox.%s.reply", me);
}

/*
 * A new queue for `capacity` messages of sizeof(struct message) bytes, mode 0600. One of that name
 * that is there already is an error, and is not touched.
 */
enum mail_status mailbox_create(const char *name, long capacity)
{
    struct mq_attr a = {.mq_maxmsg = capacity, .mq_msgsize = sizeof(struct message)};
    char q[MAIL_QUEUE_NAME];
    mailbox_queue_name(q, name);
    mqd_t d = mq_open(q, O_RDWR | O_CREAT | O_EXCL, 0600, &a);
    if (d == (mqd_t)-1)
        return MAIL_SYSTEM;
    mq_close(d);
    return MAIL_OK;
}

/* Removes the name. Whoever has the queue open goes on with it; it ends with the last of them. */
enum mail_status mailbox_destroy(const char *name)
{
    char q[MAIL_QUEUE_NAME];
    mailbox_queue_name(q, name);
    return mq_unlink(q) == 0 ? MAIL_OK : MAIL_SYSTEM;
}

/* ---- Steps 2 to 8: sending ---- */

/*
 * The message to be sent: every field set, and zero bytes behind `from` and behind the body. (They
 * are not ours to give away: whatever was in that memory before would go to a stranger.)
 */
static void fill_message(struct message *message, enum message_kind kind, uint32_t id,
                         const char *from, const char *body, size_t len)
{
    memset(message, 0, sizeof *message);
    message->kind = kind;
    message->id = id;
    strcpy(message->from, from);
    message->len = (uint32_t)len;
    memcpy(message->body, body, len);
}

/*
 *   1. The queue of the address: a mailbox is opened, a link is opened or made.
 *   2. mq_getattr(): is its message size ours? If not, it stays as it is.
 *   3. With `sync`: an old reply queue of our name is removed, a new one made (capacity
 *      MAIL_REPLY_CAPACITY, mode 0600).
 * What has been opened is closed again when a later step fails.
 */
enum mail_status sender_open(struct sender **result, const struct address *address,
                             const struct sender_options *options)
{
    struct sender *s = calloc(1, sizeof *s);
    if (s == NULL)
        return MAIL_SYSTEM;
    s->options = options;
    enum mail_status st = open_address(address, O_WRONLY, &s->queue);
    if (st != MAIL_OK) {
        int e = errno;
        free(s);
        errno = e;
        return st;
    }
    if (options->sync) {
        char q[MAIL_QUEUE_NAME];
        struct mq_attr a = {.mq_maxmsg = 1, .mq_msgsize = sizeof(struct message)};
        reply_queue_name(q, options->me);
        mq_unlink(q);
        s->reply = mq_open(q, O_RDWR | O_CREAT | O_EXCL, 0600, &a);
        if (s->reply == (mqd_t)-1) {
            int e = errno;
            mq_close(s->queue);
            free(s);
            errno = e;
            return MAIL_SYSTEM;
        }
    }
    *result = s;
    return MAIL_OK;
}

/* ms as in the options */
static enum mail_status send_it(struct sender *s, const struct message *m, long ms)
{
    struct timespec t = in_ms(ms < 0 ? 0 : ms);
    for (;;) {
        int r = ms < 0
                    ? mq_send(s->queue, (const char *)m, sizeof *m, s->options->priority)
                    : mq_timedsend(s->queue, (const char *)m, sizeof *m, s->options->priority, &t);
        if (r == 0)
            return MAIL_OK;
        if (errno == ETIMEDOUT)
            return MAIL_TIMEOUT;
        if (errno != EINTR)
            return MAIL_SYSTEM;
    }
}

/* ms 0: only what fits now */
static enum mail_status send_waiting(struct sender *s, long ms)
{
    while (s->oldest) {
        struct waiting *w = s->oldest;
        enum mail_status st = send_it(s, &w->message, ms);
        if (st != MAIL_OK)
            return st == MAIL_TIMEOUT ? MAIL_OK : st;
        s->oldest = w->next;
        free(w);
    }
    return MAIL_OK;
}

/*
 * Asynchronous: one message of kind KIND_DATA, with the options' priority; waits for room as long
 * as the options allow.
 * Sync: the same with KIND_SYNC; then waits, with a deadline of its own, for a message of kind
 * KIND_ACK and this id in the reply queue, and ignores all others there.
 * Unbounded: to the end of what waits in memory; then as much of that as the queue takes at once.
 */
enum mail_status sender_send(struct sender *sender, const char *body, size_t len)
{
    struct message m, answer;
    const struct sender_options *o = sender->options;
    fill_message(&m, o->sync ? KIND_SYNC : KIND_DATA, ++sender->sent, o->me, body, len);
    if (o->unbounded) {
        struct waiting *w = malloc(sizeof *w);
        if (w == NULL)
            return MAIL_SYSTEM;
        w->message = m;
        w->next = NULL;
        if (sender->oldest)
            sender->newest->next = w;
        else
            sender->oldest = w;
        sender->newest = w;
        return send_waiting(sender, 0);
    }
    enum mail_status st = send_it(sender, &m, o->timeout_ms);
    if (st != MAIL_OK || !o->sync)
        return st;
    struct timespec t = in_ms(o->timeout_ms < 0 ? 0 : o->timeout_ms);
    for (;;) {
        ssize_t n = o->timeout_ms < 0
                        ? mq_receive(sender->reply, (char *)&answer, sizeof answer, NULL)
                        : mq_timedreceive(sender->reply, (char *)&answer, sizeof answer, NULL, &t);
        if (n < 0 && errno == ETIMEDOUT)
            return MAIL_TIMEOUT;
        if (n < 0 && errno != EINTR)
            return MAIL_SYSTEM;
        if (n == sizeof answer && answer.kind == KIND_ACK && answer.id == m.id)
            return MAIL_OK;
    }
}

/*
 * Two things can happen first: input comes, or the queue has room again. On Linux a message queue
 * descriptor is a file descriptor, and poll() waits for both. (A thread that sends what waits is
 * another way: then there is nothing to do here.)
 */
enum mail_status sender_wait_for_input(struct sender *sender, int fd)
{
    while (sender->oldest) {
        struct pollfd either[] = {{.fd = fd, .events = POLLIN},
                                  {.fd = sender->queue, .events = POLLOUT}};
        if (poll(either, 2, -1) < 0 && errno != EINTR)
            return MAIL_SYSTEM;
        enum mail_status st = send_waiting(sender, 0);
        if (st != MAIL_OK || either[0].revents)
            return st;
    }
    return MAIL_OK;
}

/* What waits in memory goes out, in order; this time we wait while the queue is full. */
enum mail_status sender_finish(struct sender *sender)
{
    return send_waiting(sender, MAIL_FOR_EVER);
}

/* Closes the queue; closes and removes the reply queue; frees all memory. */
void sender_close(struct sender *sender)
{
    if (sender->options->sync) {
        char q[MAIL_QUEUE_NAME];
        reply_queue_name(q, sender->options->me);
        mq_unlink(q);
        mq_close(sender->reply);
    }
    mq_close(sender->queue);
    while (sender->oldest) {
        struct waiting *w = sender->oldest;
        sender->oldest = w->next;
        free(w);
    }
    free(sender);
}

/* ---- Steps 2 to 8: receiving ---- */

/*
 * Whether these `size` bytes, which anybody may have sent, are a message for a receiver: exactly
 * sizeof(struct message) bytes; kind KIND_DATA or KIND_SYNC; `from` a right name with its zero byte
 * within the array; `len` at most MAIL_BODY_MAX. `size` first: of a short message the other fields
 * are not there at all.
 */
static bool message_is_right(const struct message *message, size_t size)
{
    if (size != sizeof *message || message->len > MAIL_BODY_MAX)
        return false;
    if (message->kind != KIND_DATA && message->kind != KIND_SYNC)
        return false;
    return memchr(message->from, 0, sizeof message->from) && name_is_right(message->from);
}

/* Set by a signal handler, and looked at by receiver_next(). */
static volatile sig_atomic_t stopped;

/* The handler of SIGTERM and SIGINT. A handler may do very little; this is enough. */
static void stop(int signal_number)
{
    (void)signal_number;
    stopped = 1;
}

/*
 *   1. SIGTERM and SIGINT get the handler stop(). Without SA_RESTART: a wait that is interrupted is
 *      to fail with EINTR. Before the queue, so that no signal can leave a new link behind.
 *   2. The queue, as in sender_open(). When that fails, the process ends with an error.
 */
enum mail_status receiver_open(struct receiver **result, const struct address *address,
                               long timeout_ms)
{
    struct sigaction action = {.sa_handler = stop};
    struct receiver *r = malloc(sizeof *r);
    if (r == NULL)
        return MAIL_SYSTEM;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    r->timeout_ms = timeout_ms;
    r->address = address;
    enum mail_status st = open_address(address, O_RDONLY, &r->queue);
    if (st != MAIL_OK) {
        int e = errno;
        free(r);
        errno = e;
        return st;
    }
    *result = r;
    return MAIL_OK;
}

/*
 *   1. Wait for a message: at most timeout_ms, and until SIGTERM or SIGINT comes.
 *   2. Is it right? If not, that is all.
 *   3. KIND_SYNC: an ACK (this id, len 0, priority 0) into the reply queue of `from`, without
 *      waiting. The reply queue may be missing, full, or of another message size: then no ACK.
 */
enum mail_status receiver_next(struct receiver *receiver, struct message *message,
                               unsigned *priority)
{
    struct timespec t = in_ms(receiver->timeout_ms < 0 ? 0 : receiver->timeout_ms);
    ssize_t n;
    do {
        if (stopped)
            return MAIL_STOPPED;
        n = receiver->timeout_ms < 0
                ? mq_receive(receiver->queue, (char *)message, sizeof *message, priority)
                : mq_timedreceive(receiver->queue, (char *)message, sizeof *message, priority, &t);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == ETIMEDOUT ? MAIL_TIMEOUT : MAIL_SYSTEM;
    if (!message_is_right(message, (size_t)n))
        return MAIL_MALFORMED;
    if (message->kind == KIND_SYNC) {
        char q[MAIL_QUEUE_NAME];
        struct message ack;
        struct mq_attr a;
        reply_queue_name(q, message->from);
        mqd_t reply = mq_open(q, O_WRONLY | O_NONBLOCK);
        if (reply != (mqd_t)-1) {
            fill_message(&ack, KIND_ACK, message->id, message->from, "", 0);
            if (mq_getattr(reply, &a) == 0 && a.mq_msgsize == sizeof ack)
                mq_send(reply, (char *)&ack, sizeof ack, 0);
            mq_close(reply);
        }
    }
    return MAIL_OK;
}

/* Closes the queue, removes a link's name (not a mailbox's), frees all memory. */
void receiver_close(struct receiver *receiver)
{
    if (receiver->address->box == NULL) {
        char q[MAIL_QUEUE_NAME];
        link_queue_name(q, receiver->address->from, receiver->address->to);
        mq_unlink(q);
    }
    mq_close(receiver->queue);
    free(receiver);
}
