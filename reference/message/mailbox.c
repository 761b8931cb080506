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

#ifdef STARTER
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
#else
/* A message that waits in our memory until the queue has room. */
struct kept {
    struct kept *next;
    uint32_t id, len;
    char body[];
};

struct sender {
    mqd_t queue;
    const struct sender_options *options;
    uint32_t sent;                    /* messages so far */
    mqd_t reply;                      /* with options->sync, else -1 */
    char reply_name[MAIL_QUEUE_NAME]; /* "": there is none */
    struct kept *first, **last;       /* with options->unbounded; *last is the NULL at the end */
};

struct receiver {
    mqd_t queue;
    long timeout_ms;
    char link_name[MAIL_QUEUE_NAME];       /* removed at the end; "": it is a mailbox */
    struct sigaction terminate, interrupt; /* the actions from before */
};
#endif

/* ---- Step 1: mailboxes ---- */

/*
 * One check for all names: what people type, and what a message claims to come from. No '.' and no
 * '/': the dots below then separate, and no two things can share a queue's name.
 */
bool name_is_right(const char *name)
{
#ifdef STARTER
    /* Your code goes here. (Until it does, every name is right.) */
    (void)name;
    return true;
#else
    size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");

    return len >= 1 && len <= MAIL_NAME_MAX && name[len] == '\0';
#endif
}

/* The mailbox NAME is the queue "/mbox.NAME". */
void mailbox_queue_name(char queue[MAIL_QUEUE_NAME], const char *name)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)name;
    queue[0] = '\0';
#else
    snprintf(queue, MAIL_QUEUE_NAME, "/mbox.%s", name);
#endif
}

/* The link from P to Q is the queue "/mbox.P.Q". */
void link_queue_name(char queue[MAIL_QUEUE_NAME], const char *from, const char *to)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)from, (void)to;
    queue[0] = '\0';
#else
    snprintf(queue, MAIL_QUEUE_NAME, "/mbox.%s.%s", from, to);
#endif
}

/* The answers to ME come through the queue "/mbox.ME.reply". */
void reply_queue_name(char queue[MAIL_QUEUE_NAME], const char *me)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)me;
    queue[0] = '\0';
#else
    link_queue_name(queue, me, "reply");
#endif
}

/*
 * A new queue for `capacity` messages of sizeof(struct message) bytes, mode 0600. One of that name
 * that is there already is an error, and is not touched.
 */
enum mail_status mailbox_create(const char *name, long capacity)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)name, (void)capacity;
    errno = ENOSYS;
    return MAIL_SYSTEM;
#else
    struct mq_attr attributes = {.mq_maxmsg = capacity, .mq_msgsize = sizeof(struct message)};
    char queue_name[MAIL_QUEUE_NAME];
    mqd_t queue;

    mailbox_queue_name(queue_name, name);
    queue = mq_open(queue_name, O_RDWR | O_CREAT | O_EXCL, 0600, &attributes);
    if (queue == (mqd_t)-1)
        return MAIL_SYSTEM;
    mq_close(queue);
    return MAIL_OK;
#endif
}

/* Removes the name. Whoever has the queue open goes on with it; it ends with the last of them. */
enum mail_status mailbox_destroy(const char *name)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)name;
    errno = ENOSYS;
    return MAIL_SYSTEM;
#else
    char queue_name[MAIL_QUEUE_NAME];

    mailbox_queue_name(queue_name, name);
    return mq_unlink(queue_name) == 0 ? MAIL_OK : MAIL_SYSTEM;
#endif
}

/* ---- Steps 2 to 8: sending ---- */

/*
 * The message to be sent: every field set, and zero bytes behind `from` and behind the body. (They
 * are not ours to give away: whatever was in that memory before would go to a stranger.)
 */
static void fill_message(struct message *message, enum message_kind kind, uint32_t id,
                         const char *from, const char *body, size_t len)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)kind, (void)id, (void)from, (void)body, (void)len;
    memset(message, 0, sizeof *message);
#else
    memset(message, 0, sizeof *message);
    message->kind = kind;
    message->id = id;
    message->len = (uint32_t)len;
    memcpy(message->from, from, strlen(from));
    memcpy(message->body, body, len);
#endif
}
#ifndef STARTER

/* ---- opening an end, of a mailbox or of a link ---- */

/*
 * Opens the queue of `address`, `flags` being O_WRONLY or O_RDONLY, and writes its name. A link is
 * made by whoever comes first: without O_EXCL, mq_open() makes it or opens the one that is there.
 */
static enum mail_status open_queue(mqd_t *queue, char queue_name[MAIL_QUEUE_NAME],
                                   const struct address *address, int flags)
{
    struct mq_attr attributes = {.mq_maxmsg = MAIL_LINK_CAPACITY,
                                 .mq_msgsize = sizeof(struct message)};

    if (address->box != NULL) {
        mailbox_queue_name(queue_name, address->box);
        *queue = mq_open(queue_name, flags);
    } else {
        link_queue_name(queue_name, address->from, address->to);
        *queue = mq_open(queue_name, flags | O_CREAT, 0600, &attributes);
    }
    if (*queue == (mqd_t)-1)
        return MAIL_SYSTEM;
    /* One that was there has its own attributes, whatever we asked for. */
    if (mq_getattr(*queue, &attributes) == 0 && attributes.mq_msgsize == sizeof(struct message))
        return MAIL_OK;
    mq_close(*queue);
    return MAIL_WRONG;
}

/* ---- waiting no longer than allowed ---- */

/* The moment `ms` milliseconds from now, on `clock`. */
static struct timespec deadline_in(clockid_t clock, long ms)
{
    struct timespec t;

    clock_gettime(clock, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += ms % 1000 * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

/* mq_timedsend() until the deadline, NULL for ever; goes on after a signal. */
static enum mail_status send_by(mqd_t queue, const struct message *message, unsigned priority,
                                const struct timespec *deadline)
{
    int result;

    do {
        result = deadline == NULL ? mq_send(queue, (const char *)message, sizeof *message, priority)
                                  : mq_timedsend(queue, (const char *)message, sizeof *message,
                                                 priority, deadline);
    } while (result < 0 && errno == EINTR);
    if (result == 0)
        return MAIL_OK;
    return errno == ETIMEDOUT ? MAIL_TIMEOUT : MAIL_SYSTEM;
}

/* ---- the rendezvous ---- */

/* Makes the reply queue, in place of one that an earlier sender of our name may have left. */
static enum mail_status reply_open(struct sender *sender)
{
    struct mq_attr attributes = {.mq_maxmsg = MAIL_REPLY_CAPACITY,
                                 .mq_msgsize = sizeof(struct message)};
    char queue_name[MAIL_QUEUE_NAME];

    reply_queue_name(queue_name, sender->options->me);
    if (mq_unlink(queue_name) < 0 && errno != ENOENT)
        return MAIL_SYSTEM;
    sender->reply = mq_open(queue_name, O_RDONLY | O_CREAT | O_EXCL, 0600, &attributes);
    if (sender->reply == (mqd_t)-1)
        return MAIL_SYSTEM;
    strcpy(sender->reply_name, queue_name);
    return MAIL_OK;
}

/* Whether a moment on CLOCK_REALTIME is over. */
static bool has_passed(const struct timespec *moment)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec > moment->tv_sec ||
           (now.tv_sec == moment->tv_sec && now.tv_nsec >= moment->tv_nsec);
}

/*
 * Waits for the ACK with this id. Whatever else comes into our reply queue is thrown away, and does
 * not make the wait longer: there is one deadline for all of it. A call that finds a message takes
 * it whatever the deadline is, so after each of them we look at the clock ourselves.
 */
static enum mail_status wait_for_ack(struct sender *sender, uint32_t id)
{
    long ms = sender->options->timeout_ms;
    struct timespec deadline = deadline_in(CLOCK_REALTIME, ms > 0 ? ms : 0);
    struct message answer;

    for (;;) {
        ssize_t size =
            ms == MAIL_FOR_EVER
                ? mq_receive(sender->reply, (char *)&answer, sizeof answer, NULL)
                : mq_timedreceive(sender->reply, (char *)&answer, sizeof answer, NULL, &deadline);

        if (size == (ssize_t)sizeof answer && answer.kind == KIND_ACK && answer.id == id)
            return MAIL_OK;
        if (size < 0 && errno == ETIMEDOUT)
            return MAIL_TIMEOUT;
        if (size < 0 && errno != EINTR)
            return MAIL_SYSTEM;
        if (ms != MAIL_FOR_EVER && has_passed(&deadline))
            return MAIL_TIMEOUT;
    }
}

/*
 * The receiver's half: "I have taken your message". Who waits for it is no reason for us to wait:
 * if the queue is missing, full or of another size, the ACK is dropped.
 */
static void acknowledge(const struct message *message)
{
    struct message ack = {.kind = KIND_ACK, .id = message->id};
    struct mq_attr attributes;
    char queue_name[MAIL_QUEUE_NAME];
    mqd_t reply;

    reply_queue_name(queue_name, message->from);
    reply = mq_open(queue_name, O_WRONLY | O_NONBLOCK);
    if (reply == (mqd_t)-1)
        return;
    if (mq_getattr(reply, &attributes) == 0 && attributes.mq_msgsize == sizeof ack)
        mq_send(reply, (const char *)&ack, sizeof ack, 0);
    mq_close(reply);
}

/* ---- the explicit buffer ---- */

/* Puts a message behind those that wait in our memory. */
static enum mail_status keep(struct sender *sender, const char *body, size_t len)
{
    struct kept *kept = malloc(sizeof *kept + len);

    if (kept == NULL)
        return MAIL_SYSTEM;
    kept->next = NULL;
    kept->id = sender->sent + 1;
    kept->len = (uint32_t)len;
    memcpy(kept->body, body, len);
    *sender->last = kept;
    sender->last = &kept->next;
    sender->sent++;
    return MAIL_OK;
}

/* Sends what waits in our memory, the oldest first, while the queue takes it until the deadline. */
static enum mail_status send_kept(struct sender *sender, const struct timespec *deadline)
{
    struct message message;

    while (sender->first != NULL) {
        struct kept *kept = sender->first;
        enum mail_status status;

        fill_message(&message, KIND_DATA, kept->id, sender->options->me, kept->body, kept->len);
        status = send_by(sender->queue, &message, sender->options->priority, deadline);
        if (status != MAIL_OK)
            return status;
        sender->first = kept->next;
        if (sender->first == NULL)
            sender->last = &sender->first;
        free(kept);
    }
    return MAIL_OK;
}

/* The same, without waiting: what the queue does not take now stays. */
static enum mail_status send_kept_now(struct sender *sender)
{
    const struct timespec past = {0, 0}; /* mq_timedsend() sends all the same, if there is room */
    enum mail_status status = send_kept(sender, &past);

    return status == MAIL_TIMEOUT ? MAIL_OK : status;
}
#endif

#ifndef STARTER
/* ---- the sender ---- */

#endif
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
#ifdef STARTER
    /* Your code goes here. */
    (void)address, (void)options;
    *result = NULL;
    errno = ENOSYS;
    return MAIL_SYSTEM;
#else
    struct sender *sender = calloc(1, sizeof *sender);
    char queue_name[MAIL_QUEUE_NAME];
    enum mail_status status;
    int error;

    if (sender == NULL)
        return MAIL_SYSTEM;
    sender->options = options;
    sender->reply = (mqd_t)-1;
    sender->last = &sender->first;
    status = open_queue(&sender->queue, queue_name, address, O_WRONLY);
    if (status != MAIL_OK) {
        error = errno;
        free(sender);
        errno = error;
        return status;
    }
    if (options->sync && (status = reply_open(sender)) != MAIL_OK) {
        error = errno;
        sender_close(sender);
        errno = error;
        return status;
    }
    *result = sender;
    return MAIL_OK;
#endif
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
#ifdef STARTER
    /* Your code goes here: fill_message(), then mq_send() or mq_timedsend(). */
    struct message message;
    fill_message(&message, KIND_DATA, sender->sent + 1, sender->options->me, body, len);
    errno = ENOSYS;
    return MAIL_SYSTEM;
#else
    const struct sender_options *options = sender->options;
    enum message_kind kind = options->sync ? KIND_SYNC : KIND_DATA;
    struct timespec deadline;
    struct message message;
    enum mail_status status;

    if (options->unbounded) {
        status = keep(sender, body, len);
        return status == MAIL_OK ? send_kept_now(sender) : status;
    }
    fill_message(&message, kind, ++sender->sent, options->me, body, len);
    if (options->timeout_ms != MAIL_FOR_EVER)
        deadline = deadline_in(CLOCK_REALTIME, options->timeout_ms);
    status = send_by(sender->queue, &message, options->priority,
                     options->timeout_ms == MAIL_FOR_EVER ? NULL : &deadline);
    if (status == MAIL_OK && options->sync)
        status = wait_for_ack(sender, message.id);
    return status;
#endif
}

/*
 * Two things can happen first: input comes, or the queue has room again. On Linux a message queue
 * descriptor is a file descriptor, and poll() waits for both. (A thread that sends what waits is
 * another way: then there is nothing to do here.)
 */
enum mail_status sender_wait_for_input(struct sender *sender, int fd)
{
#ifdef STARTER
    /* Your code goes here, for --unbounded. Without messages that wait there is nothing to do. */
    (void)sender, (void)fd;
    return MAIL_OK;
#else
    struct pollfd either[] = {{.fd = fd, .events = POLLIN},
                              {.fd = sender->queue, .events = POLLOUT}};

    while (sender->first != NULL) {
        if (poll(either, 2, -1) < 0) {
            if (errno == EINTR)
                continue;
            return MAIL_SYSTEM;
        }
        if (either[1].revents != 0) {
            enum mail_status status = send_kept_now(sender);
            if (status != MAIL_OK)
                return status;
        }
        if (either[0].revents != 0)
            break;
    }
    return MAIL_OK;
#endif
}

/* What waits in memory goes out, in order; this time we wait while the queue is full. */
enum mail_status sender_finish(struct sender *sender)
{
#ifdef STARTER
    /* Your code goes here, for --unbounded. Without messages that wait there is nothing to do. */
    (void)sender;
    return MAIL_OK;
#else
    return send_kept(sender, NULL);
#endif
}

/* Closes the queue; closes and removes the reply queue; frees all memory. */
void sender_close(struct sender *sender)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)sender;
#else
    if (sender->reply_name[0] != '\0') {
        mq_close(sender->reply);
        mq_unlink(sender->reply_name);
    }
    mq_close(sender->queue);
    while (sender->first != NULL) {
        struct kept *kept = sender->first;
        sender->first = kept->next;
        free(kept);
    }
    free(sender);
#endif
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
#ifdef STARTER
    /* Your code goes here. (Until it does, every message is right.) */
    (void)message, (void)size;
    return true;
#else
    return size == sizeof *message && (message->kind == KIND_DATA || message->kind == KIND_SYNC) &&
           message->len <= MAIL_BODY_MAX &&
           memchr(message->from, '\0', sizeof message->from) != NULL &&
           name_is_right(message->from);
#endif
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
#ifdef STARTER
    /* Your code goes here. */
    (void)address, (void)timeout_ms, (void)stop, (void)stopped;
    *result = NULL;
    errno = ENOSYS;
    return MAIL_SYSTEM;
#else
    struct sigaction action = {.sa_handler = stop};
    struct receiver *receiver = calloc(1, sizeof *receiver);
    enum mail_status status;
    int error;

    if (receiver == NULL)
        return MAIL_SYSTEM;
    receiver->timeout_ms = timeout_ms;
    sigaction(SIGTERM, &action, &receiver->terminate);
    sigaction(SIGINT, &action, &receiver->interrupt);
    status = open_queue(&receiver->queue, receiver->link_name, address, O_RDONLY);
    if (status != MAIL_OK) {
        error = errno;
        free(receiver);
        errno = error;
        return status;
    }
    if (address->box != NULL)
        receiver->link_name[0] = '\0';
    *result = receiver;
    return MAIL_OK;
#endif
}
#ifndef STARTER

/* What is left of the time until `deadline` (of CLOCK_MONOTONIC), at least 0. */
static struct timespec left_until(const struct timespec *deadline)
{
    struct timespec now, left;

    clock_gettime(CLOCK_MONOTONIC, &now);
    left.tv_sec = deadline->tv_sec - now.tv_sec;
    left.tv_nsec = deadline->tv_nsec - now.tv_nsec;
    if (left.tv_nsec < 0) {
        left.tv_sec--;
        left.tv_nsec += 1000000000;
    }
    return left.tv_sec < 0 ? (struct timespec){0, 0} : left;
}

/*
 * Waits until the queue has a message, or a signal has come. Between a look at `stopped` and a wait
 * in mq_receive() a signal could slip through, and we would sleep on. So the two signals are
 * blocked while we look, and ppoll() lets them in just for its sleep, in one step.
 */
static enum mail_status wait_for_message(struct receiver *receiver, const struct timespec *deadline)
{
    struct pollfd queue = {.fd = receiver->queue, .events = POLLIN};
    enum mail_status status = MAIL_OK;
    sigset_t stops, before;

    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGINT);
    sigprocmask(SIG_BLOCK, &stops, &before);
    for (;;) {
        struct timespec left;
        int ready;

        if (stopped) {
            status = MAIL_STOPPED;
            break;
        }
        if (deadline != NULL)
            left = left_until(deadline);
        ready = ppoll(&queue, 1, deadline == NULL ? NULL : &left, &before);
        if (ready > 0)
            break;
        if (ready == 0 || errno != EINTR) {
            status = ready == 0 ? MAIL_TIMEOUT : MAIL_SYSTEM;
            break;
        }
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    return status;
}
#endif

/*
 *   1. Wait for a message: at most timeout_ms, and until SIGTERM or SIGINT comes.
 *   2. Is it right? If not, that is all.
 *   3. KIND_SYNC: an ACK (this id, len 0, priority 0) into the reply queue of `from`, without
 *      waiting. The reply queue may be missing, full, or of another message size: then no ACK.
 */
enum mail_status receiver_next(struct receiver *receiver, struct message *message,
                               unsigned *priority)
{
#ifdef STARTER
    /* Your code goes here: mq_receive() or mq_timedreceive(), then message_is_right(). */
    (void)receiver, (void)message, (void)priority, (void)message_is_right;
    errno = ENOSYS;
    return MAIL_SYSTEM;
#else
    const struct timespec past = {0, 0};
    struct timespec deadline;
    ssize_t size;

    if (receiver->timeout_ms != MAIL_FOR_EVER)
        deadline = deadline_in(CLOCK_MONOTONIC, receiver->timeout_ms);
    /* A message that we have been woken for may be gone already, to another receiver. */
    do {
        enum mail_status status =
            wait_for_message(receiver, receiver->timeout_ms == MAIL_FOR_EVER ? NULL : &deadline);
        if (status != MAIL_OK)
            return status;
        size = mq_timedreceive(receiver->queue, (char *)message, sizeof *message, priority, &past);
    } while (size < 0 && (errno == ETIMEDOUT || errno == EINTR));
    if (size < 0)
        return MAIL_SYSTEM;
    if (!message_is_right(message, (size_t)size))
        return MAIL_MALFORMED;
    if (message->kind == KIND_SYNC)
        acknowledge(message);
    return MAIL_OK;
#endif
}

/* Closes the queue, removes a link's name (not a mailbox's), frees all memory. */
void receiver_close(struct receiver *receiver)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)receiver;
#else
    if (receiver->link_name[0] != '\0')
        mq_unlink(receiver->link_name);
    mq_close(receiver->queue);
    sigaction(SIGTERM, &receiver->terminate, NULL);
    sigaction(SIGINT, &receiver->interrupt, NULL);
    free(receiver);
#endif
}
