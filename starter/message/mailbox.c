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
};

/* The receiving side. Add what you need. */
struct receiver {
    mqd_t queue;
    long timeout_ms;
};

/* ---- Step 1: mailboxes ---- */

/*
 * One check for all names: what people type, and what a message claims to come from. No '.' and no
 * '/': the dots below then separate, and no two things can share a queue's name.
 */
bool name_is_right(const char *name)
{
    /* Your code goes here. (Until it does, every name is right.) */
    (void)name;
    return true;
}

/* The mailbox NAME is the queue "/mbox.NAME". */
void mailbox_queue_name(char queue[MAIL_QUEUE_NAME], const char *name)
{
    /* Your code goes here. */
    (void)name;
    queue[0] = '\0';
}

/* The link from P to Q is the queue "/mbox.P.Q". */
void link_queue_name(char queue[MAIL_QUEUE_NAME], const char *from, const char *to)
{
    /* Your code goes here. */
    (void)from, (void)to;
    queue[0] = '\0';
}

/* The answers to ME come through the queue "/mbox.ME.reply". */
void reply_queue_name(char queue[MAIL_QUEUE_NAME], const char *me)
{
    /* Your code goes here. */
    (void)me;
    queue[0] = '\0';
}

/*
 * A new queue for `capacity` messages of sizeof(struct message) bytes, mode 0600. One of that name
 * that is there already is an error, and is not touched.
 */
enum mail_status mailbox_create(const char *name, long capacity)
{
    /* Your code goes here. */
    (void)name, (void)capacity;
    errno = ENOSYS;
    return MAIL_SYSTEM;
}

/* Removes the name. Whoever has the queue open goes on with it; it ends with the last of them. */
enum mail_status mailbox_destroy(const char *name)
{
    /* Your code goes here. */
    (void)name;
    errno = ENOSYS;
    return MAIL_SYSTEM;
}

/* ---- Steps 2 to 8: sending ---- */

/*
 * The message to be sent: every field set, and zero bytes behind `from` and behind the body. (They
 * are not ours to give away: whatever was in that memory before would go to a stranger.)
 */
static void fill_message(struct message *message, enum message_kind kind, uint32_t id,
                         const char *from, const char *body, size_t len)
{
    /* Your code goes here. */
    (void)kind, (void)id, (void)from, (void)body, (void)len;
    memset(message, 0, sizeof *message);
}

/*
 *   1. The queue of the address: a mailbox is opened, a link is opened or made.
 *   2. mq_getattr(): is its message size ours? If not, it stays as it is.
 *   3. With `sync`: an old reply queue of our name is removed, a new one made (capacity
 *      MAIL_REPLY_CAPACITY, mode 0600).
 * What has been opened is closed again when a later step fails; a link stays.
 */
enum mail_status sender_open(struct sender **result, const struct address *address,
                             const struct sender_options *options)
{
    /* Your code goes here. */
    (void)address, (void)options;
    *result = NULL;
    errno = ENOSYS;
    return MAIL_SYSTEM;
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
    /* Your code goes here: fill_message(), then mq_send() or mq_timedsend(). */
    struct message message;
    fill_message(&message, KIND_DATA, sender->sent + 1, sender->options->me, body, len);
    errno = ENOSYS;
    return MAIL_SYSTEM;
}

/*
 * Two things can happen first: input comes, or the queue has room again. On Linux a message queue
 * descriptor is a file descriptor, and poll() waits for both. (A thread that sends what waits is
 * another way: then there is nothing to do here.)
 */
enum mail_status sender_wait_for_input(struct sender *sender, int fd)
{
    /* Your code goes here, for --unbounded. Without messages that wait there is nothing to do. */
    (void)sender, (void)fd;
    return MAIL_OK;
}

/* What waits in memory goes out, in order; this time we wait while the queue is full. */
enum mail_status sender_finish(struct sender *sender)
{
    /* Your code goes here, for --unbounded. Without messages that wait there is nothing to do. */
    (void)sender;
    return MAIL_OK;
}

/* Closes the queue; closes and removes the reply queue; frees all memory. */
void sender_close(struct sender *sender)
{
    /* Your code goes here. */
    (void)sender;
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
    /* Your code goes here. (Until it does, every message is right.) */
    (void)message, (void)size;
    return true;
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
    /* Your code goes here. */
    (void)address, (void)timeout_ms, (void)stop, (void)stopped;
    *result = NULL;
    errno = ENOSYS;
    return MAIL_SYSTEM;
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
    /* Your code goes here: mq_receive() or mq_timedreceive(), then message_is_right(). */
    (void)receiver, (void)message, (void)priority, (void)message_is_right;
    errno = ENOSYS;
    return MAIL_SYSTEM;
}

/* Closes the queue, removes a link's name (not a mailbox's), frees all memory. */
void receiver_close(struct receiver *receiver)
{
    /* Your code goes here. */
    (void)receiver;
}
