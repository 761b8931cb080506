/* Right, but different: the handler of SIGTERM and SIGINT (with SA_RESTART) closes the queue, so
 * that the call that waits is restarted and finds none; what waits with --unbounded lies in a ring
 * that doubles by copying; O_NONBLOCK is switched on and off with mq_setattr(); deadlines from
 * gettimeofday(). */
#define _GNU_SOURCE
#include "mailbox.h"
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <mqueue.h>
#include <stdlib.h>
#include <time.h>
#include <sys/time.h>
#include <unistd.h>

bool name_is_right(const char *name)
{
    static const char allowed[] =
        "-_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    size_t n = strnlen(name, 32);
    return n >= 1 && n <= 31 && strspn(name, allowed) == n;
}
void mailbox_queue_name(char q[MAIL_QUEUE_NAME], const char *name)
{
    snprintf(q, MAIL_QUEUE_NAME, "/mbox.%s", name);
}
void link_queue_name(char q[MAIL_QUEUE_NAME], const char *from, const char *to)
{
    snprintf(q, MAIL_QUEUE_NAME, "/mbox.%s.%s", from, to);
}
void reply_queue_name(char q[MAIL_QUEUE_NAME], const char *me)
{
    snprintf(q, MAIL_QUEUE_NAME, "/mbox.%s.reply", me);
}
enum mail_status mailbox_create(const char *name, long capacity)
{
    struct mq_attr a = {.mq_maxmsg = capacity, .mq_msgsize = sizeof(struct message)};
    char q[MAIL_QUEUE_NAME];
    mqd_t d;
    mailbox_queue_name(q, name);
    d = mq_open(q, O_RDWR | O_CREAT | O_EXCL, S_IRUSR | S_IWUSR, &a);
    if (d == (mqd_t)-1)
        return MAIL_SYSTEM;
    mq_close(d);
    return MAIL_OK;
}
enum mail_status mailbox_destroy(const char *name)
{
    char q[MAIL_QUEUE_NAME];
    mailbox_queue_name(q, name);
    return mq_unlink(q) != 0 ? MAIL_SYSTEM : MAIL_OK;
}
static enum mail_status open_address(const struct address *ad, int flags, mqd_t *d,
                                     char q[MAIL_QUEUE_NAME])
{
    struct mq_attr a = {.mq_maxmsg = MAIL_LINK_CAPACITY, .mq_msgsize = sizeof(struct message)};
    if (ad->box) {
        mailbox_queue_name(q, ad->box);
        *d = mq_open(q, flags);
    } else {
        link_queue_name(q, ad->from, ad->to);
        *d = mq_open(q, flags | O_CREAT, 0600, &a);
    }
    if (*d == (mqd_t)-1)
        return MAIL_SYSTEM;
    if (mq_getattr(*d, &a) != 0 || a.mq_msgsize != sizeof(struct message)) {
        mq_close(*d);
        return MAIL_WRONG;
    }
    return MAIL_OK;
}
static mqd_t make_reply(const char *name, int flags)
{
    struct mq_attr a = {.mq_maxmsg = MAIL_REPLY_CAPACITY, .mq_msgsize = sizeof(struct message)};
    mqd_t d;
    while ((d = mq_open(name, flags | O_CREAT | O_EXCL, 0600, &a)) == (mqd_t)-1 && errno == EEXIST)
        if (mq_unlink(name) != 0 && errno != ENOENT)
            break;
    return d;
}
static bool message_is_right(const struct message *m, size_t size)
{
    char name[33];
    if (size != sizeof *m || (m->kind != KIND_DATA && m->kind != KIND_SYNC) ||
        m->len > MAIL_BODY_MAX)
        return false;
    memcpy(name, m->from, 32);
    name[32] = '\0';
    return name_is_right(name);
}
static void answer(const struct message *m)
{
    struct message ack;
    struct mq_attr a;
    char name[MAIL_QUEUE_NAME];
    mqd_t d;
    memset(&ack, 0, sizeof ack);
    ack.kind = KIND_ACK;
    ack.id = m->id;
    strcpy(ack.from, "receiver");
    reply_queue_name(name, m->from);
    d = mq_open(name, O_WRONLY | O_NONBLOCK);
    if (d == (mqd_t)-1)
        return;
    if (mq_getattr(d, &a) == 0 && a.mq_msgsize == sizeof ack)
        mq_send(d, (const char *)&ack, sizeof ack, 0);
    mq_close(d);
}
static void fill(struct message *m, uint32_t kind, uint32_t id, const char *from, const char *body,
                 size_t len)
{
    memset(m, 0, sizeof *m);
    m->kind = kind;
    m->id = id;
    strncpy(m->from, from, 31);
    m->len = (uint32_t)len;
    memcpy(m->body, body, len);
}
static struct timespec after(clockid_t clock, long ms)
{
    struct timespec t;
    long long ns;
    clock_gettime(clock, &t);
    ns = t.tv_nsec + (long long)ms * 1000000;
    t.tv_sec += ns / 1000000000;
    t.tv_nsec = ns % 1000000000;
    return t;
}
static long long left_ns(clockid_t clock, const struct timespec *until)
{
    struct timespec t;
    clock_gettime(clock, &t);
    long long ns =
        (long long)(until->tv_sec - t.tv_sec) * 1000000000 + (until->tv_nsec - t.tv_nsec);
    return ns < 0 ? 0 : ns;
}
struct sender {
    const struct address *ad;
    const struct sender_options *o;
    char name[MAIL_QUEUE_NAME], reply_name[MAIL_QUEUE_NAME];
    mqd_t q, reply;
    uint32_t id;
    struct message *ring;
    size_t room, first, count;
};
static void nonblock(mqd_t q, bool on)
{
    struct mq_attr a = {.mq_flags = on ? O_NONBLOCK : 0};
    mq_setattr(q, &a, NULL);
}
enum mail_status sender_open(struct sender **out, const struct address *ad,
                             const struct sender_options *o)
{
    struct sender *s = calloc(1, sizeof *s);
    enum mail_status st = MAIL_SYSTEM;
    if (!s)
        return st;
    s->ad = ad;
    s->o = o;
    s->reply = -1;
    st = open_address(ad, O_WRONLY, &s->q, s->name);
    if (st == MAIL_OK && o->sync) {
        reply_queue_name(s->reply_name, o->me);
        s->reply = make_reply(s->reply_name, O_RDONLY);
        if (s->reply < 0) {
            int e = errno;
            mq_close(s->q);
            errno = e;
            st = MAIL_SYSTEM;
        }
    }
    if (st != MAIL_OK) {
        int e = errno;
        free(s);
        errno = e;
        return st;
    }
    *out = s;
    return MAIL_OK;
}
static enum mail_status flush(struct sender *s)
{
    nonblock(s->q, true);
    while (s->count) {
        if (mq_send(s->q, (const char *)&s->ring[s->first], sizeof(struct message),
                    s->o->priority) != 0) {
            if (errno == EINTR)
                continue;
            return errno == EAGAIN ? MAIL_OK : MAIL_SYSTEM;
        }
        s->first = (s->first + 1) % s->room;
        s->count--;
    }
    return MAIL_OK;
}
enum mail_status sender_send(struct sender *s, const char *body, size_t len)
{
    struct message m;
    struct timeval tv;
    int r;
    fill(&m, s->o->sync ? KIND_SYNC : KIND_DATA, ++s->id, s->o->me, body, len);
    if (s->o->unbounded) {
        if (s->count == s->room) {
            size_t room = s->room ? s->room * 2 : 16;
            struct message *n = malloc(room * sizeof *n);
            if (!n)
                return MAIL_SYSTEM;
            for (size_t i = 0; i < s->count; i++)
                n[i] = s->ring[(s->first + i) % s->room];
            free(s->ring);
            s->ring = n;
            s->room = room;
            s->first = 0;
        }
        s->ring[(s->first + s->count++) % s->room] = m;
        return flush(s);
    }
    gettimeofday(&tv, NULL);
    long long us =
        tv.tv_sec * 1000000LL + tv.tv_usec + (s->o->timeout_ms > 0 ? s->o->timeout_ms : 0) * 1000LL;
    struct timespec until = {us / 1000000, us % 1000000 * 1000};
    do
        r = s->o->timeout_ms < 0 ? mq_send(s->q, (char *)&m, sizeof m, s->o->priority)
                                 : mq_timedsend(s->q, (char *)&m, sizeof m, s->o->priority, &until);
    while (r != 0 && errno == EINTR);
    if (r != 0)
        return errno == ETIMEDOUT ? MAIL_TIMEOUT : MAIL_SYSTEM;
    if (!s->o->sync)
        return MAIL_OK;
    until = after(CLOCK_REALTIME, s->o->timeout_ms > 0 ? s->o->timeout_ms : 0);
    for (bool first = true;; first = false) {
        struct message a;
        ssize_t n;
        if (s->o->timeout_ms >= 0 && !first && left_ns(CLOCK_REALTIME, &until) == 0)
            return MAIL_TIMEOUT;
        n = s->o->timeout_ms < 0 ? mq_receive(s->reply, (char *)&a, sizeof a, NULL)
                                 : mq_timedreceive(s->reply, (char *)&a, sizeof a, NULL, &until);
        if (n < 0 && errno == ETIMEDOUT)
            return MAIL_TIMEOUT;
        if (n < 0 && errno != EINTR)
            return MAIL_SYSTEM;
        if (n == sizeof a && a.kind == KIND_ACK && a.id == s->id)
            return MAIL_OK;
    }
}
enum mail_status sender_wait_for_input(struct sender *s, int fd)
{
    while (s->count) {
        struct pollfd p[2] = {{fd, POLLIN, 0}, {s->q, POLLOUT, 0}};
        if (poll(p, 2, -1) < 0) {
            if (errno == EINTR)
                continue;
            return MAIL_SYSTEM;
        }
        if (p[1].revents && flush(s) != MAIL_OK)
            return MAIL_SYSTEM;
        if (p[0].revents)
            break;
    }
    return MAIL_OK;
}
enum mail_status sender_finish(struct sender *s)
{
    nonblock(s->q, false);
    for (; s->count; s->first = (s->first + 1) % s->room, s->count--)
        while (mq_send(s->q, (const char *)&s->ring[s->first], sizeof(struct message),
                       s->o->priority) != 0)
            if (errno != EINTR)
                return MAIL_SYSTEM;
    return MAIL_OK;
}
void sender_close(struct sender *s)
{
    if (s->o->sync) {
        mq_close(s->reply);
        mq_unlink(s->reply_name);
    }
    mq_close(s->q);
    free(s->ring);
    free(s);
}
struct receiver {
    char name[MAIL_QUEUE_NAME];
    long ms;
    bool link;
};
static volatile sig_atomic_t the_queue = -1, over;
/* Restarts whatever waits: which then finds no queue any more. */
static void stop(int n)
{
    int e = errno;
    (void)n;
    over = 1;
    if (the_queue >= 0)
        close(the_queue);
    the_queue = -1;
    errno = e;
}
enum mail_status receiver_open(struct receiver **out, const struct address *ad, long ms)
{
    struct sigaction a = {.sa_handler = stop, .sa_flags = SA_RESTART};
    struct receiver *r = calloc(1, sizeof *r);
    mqd_t q;
    if (!r)
        return MAIL_SYSTEM;
    sigemptyset(&a.sa_mask);
    sigaddset(&a.sa_mask, SIGTERM);
    sigaddset(&a.sa_mask, SIGINT);
    sigaction(SIGTERM, &a, NULL);
    sigaction(SIGINT, &a, NULL);
    enum mail_status st = open_address(ad, O_RDONLY, &q, r->name);
    if (st != MAIL_OK) {
        int e = errno;
        free(r);
        errno = e;
        return st;
    }
    the_queue = q;
    r->ms = ms;
    r->link = !ad->box;
    *out = r;
    return MAIL_OK;
}
enum mail_status receiver_next(struct receiver *r, struct message *m, unsigned *priority)
{
    struct timespec until = after(CLOCK_REALTIME, r->ms > 0 ? r->ms : 0);
    ssize_t n;
    do {
        if (over)
            return MAIL_STOPPED;
        n = r->ms < 0 ? mq_receive(the_queue, (char *)m, sizeof *m, priority)
                      : mq_timedreceive(the_queue, (char *)m, sizeof *m, priority, &until);
    } while (n < 0 && (errno == EINTR || over));
    if (n < 0)
        return errno == ETIMEDOUT ? MAIL_TIMEOUT : MAIL_SYSTEM;
    if (!message_is_right(m, (size_t)n))
        return MAIL_MALFORMED;
    if (m->kind == KIND_SYNC)
        answer(m);
    return MAIL_OK;
}
void receiver_close(struct receiver *r)
{
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGTERM);
    sigaddset(&s, SIGINT);
    sigprocmask(SIG_BLOCK, &s, NULL);
    if (the_queue >= 0)
        mq_close(the_queue);
    if (r->link)
        mq_unlink(r->name);
    free(r);
}
