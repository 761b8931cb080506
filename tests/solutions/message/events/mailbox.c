/* Non-blocking queues; whoever has to wait waits for events. */
#define _GNU_SOURCE
#include "mailbox.h"

#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

struct sender {
    int out, back; /* queues; back is -1 without a rendezvous */
    const struct sender_options *o;
    unsigned count;
    /* what waits: records of a length and a body, bytes[from] to bytes[to - 1] */
    char *bytes;
    size_t from, to, room;
    unsigned gone; /* id of the last message that went out */
};

struct receiver {
    int in, events, clock, signals;
    long ms;
    char link[MAIL_QUEUE_NAME];
    bool owe; /* an ACK, for `owed` */
    struct message owed;
};

bool name_is_right(const char *name)
{
    size_t n = strlen(name), i;
    for (i = 0; i < n; i++) {
        char c = name[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '_'))
            return false;
    }
    return n >= 1 && n <= 31;
}

void mailbox_queue_name(char queue[MAIL_QUEUE_NAME], const char *name)
{
    sprintf(queue, "/mbox.%s", name);
}
void link_queue_name(char queue[MAIL_QUEUE_NAME], const char *from, const char *to)
{
    sprintf(queue, "/mbox.%s.%s", from, to);
}
void reply_queue_name(char queue[MAIL_QUEUE_NAME], const char *me)
{
    sprintf(queue, "/mbox.%s.reply", me);
}

static int queue_open(const char *name, int flags, long capacity)
{
    struct mq_attr a = {.mq_flags = 0, .mq_maxmsg = capacity, .mq_msgsize = 556};
    return mq_open(name, flags | O_NONBLOCK, 0600, flags & O_CREAT ? &a : NULL);
}

static bool ours(int queue)
{
    struct mq_attr a;
    return mq_getattr(queue, &a) == 0 && a.mq_msgsize == 556;
}

enum mail_status mailbox_create(const char *name, long capacity)
{
    char q[MAIL_QUEUE_NAME];
    mailbox_queue_name(q, name);
    int fd = queue_open(q, O_RDWR | O_CREAT | O_EXCL, capacity);
    if (fd >= 0)
        mq_close(fd);
    return fd >= 0 ? MAIL_OK : MAIL_SYSTEM;
}

enum mail_status mailbox_destroy(const char *name)
{
    char q[MAIL_QUEUE_NAME];
    mailbox_queue_name(q, name);
    return mq_unlink(q) == 0 ? MAIL_OK : MAIL_SYSTEM;
}

/* What is at the other end of `address`, or why it is not to be had. */
static enum mail_status reach(int *fd, char q[MAIL_QUEUE_NAME], const struct address *address,
                              int flags)
{
    if (address->box != NULL)
        mailbox_queue_name(q, address->box);
    else
        link_queue_name(q, address->from, address->to);
    *fd = queue_open(q, address->box != NULL ? flags : flags | O_CREAT, 10);
    if (*fd < 0)
        return MAIL_SYSTEM;
    if (ours(*fd))
        return MAIL_OK;
    mq_close(*fd);
    return MAIL_WRONG;
}

/* Milliseconds of a clock that nobody sets. */
static long long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/* Waits for `events` on a queue until `end` (of now(); -1: no end). */
static enum mail_status wait_for(int fd, short events, long long end)
{
    for (;;) {
        struct pollfd p = {fd, events, 0};
        /* One more: now() has cut off the part of a millisecond. */
        long long left = end < 0 ? -1 : end - now() + 1;
        int n = poll(&p, 1,
                     end < 0             ? -1
                     : left < 0          ? 0
                     : left > 1000000000 ? 1000000000
                                         : (int)left);
        if (n > 0)
            return MAIL_OK;
        if (n < 0 && errno != EINTR)
            return MAIL_SYSTEM;
        if (n == 0 && end >= 0 && now() > end)
            return MAIL_TIMEOUT;
    }
}

enum mail_status sender_open(struct sender **sender, const struct address *address,
                             const struct sender_options *options)
{
    char q[MAIL_QUEUE_NAME];
    struct sender *s = calloc(1, sizeof *s);
    enum mail_status status = s == NULL ? MAIL_SYSTEM : reach(&s->out, q, address, O_WRONLY);

    if (status == MAIL_OK) {
        s->o = options;
        s->back = -1;
        if (options->sync) {
            reply_queue_name(q, options->me);
            mq_unlink(q);
            s->back = queue_open(q, O_RDONLY | O_CREAT | O_EXCL, 1);
            if (s->back < 0) {
                int e = errno;
                mq_close(s->out);
                errno = e;
                status = MAIL_SYSTEM;
            }
        }
    }
    if (status == MAIL_OK) {
        *sender = s;
    } else {
        int e = errno;
        free(s);
        errno = e;
    }
    return status;
}

/* One try. MAIL_TIMEOUT: no room. */
static enum mail_status offer(struct sender *s, unsigned id, const char *body, size_t len)
{
    struct message m = {.kind = s->o->sync ? KIND_SYNC : KIND_DATA, .id = id, .len = (uint32_t)len};
    snprintf(m.from, sizeof m.from, "%s", s->o->me);
    memcpy(m.body, body, len);
    while (mq_send(s->out, (const char *)&m, sizeof m, s->o->priority) != 0)
        if (errno != EINTR)
            return errno == EAGAIN ? MAIL_TIMEOUT : MAIL_SYSTEM;
    return MAIL_OK;
}

/* Sends what waits, as long as there is room. */
static enum mail_status flush(struct sender *s)
{
    while (s->from < s->to) {
        unsigned len;
        memcpy(&len, s->bytes + s->from, sizeof len);
        enum mail_status status = offer(s, s->gone + 1, s->bytes + s->from + sizeof len, len);
        if (status != MAIL_OK)
            return status == MAIL_TIMEOUT ? MAIL_OK : status;
        s->gone++;
        s->from += sizeof len + len;
    }
    return MAIL_OK;
}

static enum mail_status store(struct sender *s, const char *body, unsigned len)
{
    size_t need = sizeof len + len;
    if (s->to + need > s->room && s->from >= s->room / 2) { /* half of it has gone: move */
        memmove(s->bytes, s->bytes + s->from, s->to - s->from);
        s->to -= s->from;
        s->from = 0;
    }
    if (s->to + need > s->room) {
        size_t room = s->room * 2 + 4096;
        char *bytes = realloc(s->bytes, room);
        if (bytes == NULL)
            return MAIL_SYSTEM;
        s->bytes = bytes;
        s->room = room;
    }
    memcpy(s->bytes + s->to, &len, sizeof len);
    memcpy(s->bytes + s->to + sizeof len, body, len);
    s->to += need;
    return MAIL_OK;
}

static enum mail_status meet(struct sender *s, long long end)
{
    for (;;) {
        struct message a;
        ssize_t n = mq_receive(s->back, (char *)&a, sizeof a, NULL);
        if (n == (ssize_t)sizeof a && a.kind == KIND_ACK && a.id == s->count)
            return MAIL_OK;
        if (n >= 0) { /* somebody else's; a stream of these has an end too */
            if (end >= 0 && now() > end)
                return MAIL_TIMEOUT;
            continue;
        }
        if (errno != EAGAIN && errno != EINTR)
            return MAIL_SYSTEM;
        enum mail_status status = wait_for(s->back, POLLIN, end);
        if (status != MAIL_OK)
            return status;
    }
}

static long long end_of(long ms)
{
    return ms < 0 ? -1 : now() + ms;
}

enum mail_status sender_send(struct sender *s, const char *body, size_t len)
{
    s->count++;
    if (s->o->unbounded) {
        enum mail_status status = store(s, body, (unsigned)len);
        return status == MAIL_OK ? flush(s) : status;
    }
    long long end = end_of(s->o->timeout_ms);
    for (;;) {
        enum mail_status status = offer(s, s->count, body, len);
        if (status == MAIL_OK)
            return s->o->sync ? meet(s, end_of(s->o->timeout_ms)) : MAIL_OK;
        if (status == MAIL_TIMEOUT)
            status = s->o->timeout_ms == 0 ? MAIL_TIMEOUT : wait_for(s->out, POLLOUT, end);
        if (status != MAIL_OK)
            return status;
    }
}

enum mail_status sender_wait_for_input(struct sender *s, int fd)
{
    while (s->from < s->to) {
        struct pollfd p[] = {{s->out, POLLOUT, 0}, {fd, POLLIN, 0}};
        if (poll(p, 2, -1) < 0 && errno != EINTR)
            return MAIL_SYSTEM;
        enum mail_status status = flush(s);
        if (status != MAIL_OK || p[1].revents)
            return status;
    }
    return MAIL_OK;
}

enum mail_status sender_finish(struct sender *s)
{
    while (s->from < s->to) {
        enum mail_status status = wait_for(s->out, POLLOUT, -1);
        if (status == MAIL_OK)
            status = flush(s);
        if (status != MAIL_OK)
            return status;
    }
    return MAIL_OK;
}

void sender_close(struct sender *s)
{
    if (s->back >= 0) {
        char q[MAIL_QUEUE_NAME];
        reply_queue_name(q, s->o->me);
        mq_unlink(q);
        mq_close(s->back);
    }
    mq_close(s->out);
    free(s->bytes);
    free(s);
}

enum mail_status receiver_open(struct receiver **receiver, const struct address *address, long ms)
{
    sigset_t set;
    struct receiver *r = calloc(1, sizeof *r);
    if (r == NULL)
        return MAIL_SYSTEM;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    enum mail_status status = reach(&r->in, r->link, address, O_RDONLY);
    if (status != MAIL_OK) {
        int e = errno;
        free(r);
        errno = e;
        return status;
    }
    if (address->box != NULL)
        r->link[0] = '\0';
    r->ms = ms;
    r->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    r->clock = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    r->events = epoll_create1(EPOLL_CLOEXEC);
    int all[] = {r->in, r->clock, r->signals};
    for (int i = 0; i < 3; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = (unsigned)i};
        if (epoll_ctl(r->events, EPOLL_CTL_ADD, all[i], &e) != 0)
            status = MAIL_SYSTEM;
    }
    if (status != MAIL_OK) {
        int e = errno;
        receiver_close(r);
        errno = e;
        return status;
    }
    *receiver = r;
    return MAIL_OK;
}

static void pay(struct receiver *r)
{
    char q[MAIL_QUEUE_NAME];
    if (!r->owe)
        return;
    r->owe = false;
    reply_queue_name(q, r->owed.from);
    int fd = queue_open(q, O_WRONLY, 0);
    if (fd < 0)
        return;
    if (ours(fd)) {
        struct message ack = {.kind = KIND_ACK, .id = r->owed.id, .from = "you"};
        mq_send(fd, (const char *)&ack, sizeof ack, 0);
    }
    mq_close(fd);
}

enum mail_status receiver_next(struct receiver *r, struct message *m, unsigned *priority)
{
    struct itimerspec t = {{0, 0}, {r->ms / 1000, r->ms % 1000 * 1000000}};

    pay(r); /* the main has printed it by now */
    if (r->ms > 0)
        timerfd_settime(r->clock, 0, &t, NULL);
    for (;;) {
        struct signalfd_siginfo signal;
        uint64_t rung;
        struct epoll_event e;

        if (read(r->signals, &signal, sizeof signal) > 0)
            return MAIL_STOPPED;
        ssize_t n = mq_receive(r->in, (char *)m, sizeof *m, priority);
        if (n >= 0) {
            if (n != (ssize_t)sizeof *m || m->kind < KIND_DATA || m->kind > KIND_SYNC ||
                m->len > MAIL_BODY_MAX || memchr(m->from, 0, sizeof m->from) == NULL ||
                !name_is_right(m->from))
                return MAIL_MALFORMED;
            r->owe = m->kind == KIND_SYNC;
            r->owed = *m;
            return MAIL_OK;
        }
        if (errno != EAGAIN && errno != EINTR)
            return MAIL_SYSTEM;
        if (r->ms == 0 || (r->ms > 0 && read(r->clock, &rung, sizeof rung) > 0))
            return MAIL_TIMEOUT;
        if (epoll_wait(r->events, &e, 1, -1) < 0 && errno != EINTR)
            return MAIL_SYSTEM;
    }
}

void receiver_close(struct receiver *r)
{
    pay(r);
    mq_close(r->in);
    if (r->link[0] != '\0')
        mq_unlink(r->link);
    close(r->signals);
    close(r->clock);
    close(r->events);
    free(r);
}
