/* Right, but different: a time-out is a byte that a timer's thread (SIGEV_THREAD) writes into a
 * pipe, a signal one in another pipe, and poll() watches them beside the queue; the thread that
 * sends what waits takes all of the list at a time; old replies are drained before each message. */
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
#include <threads.h>
#include <pthread.h>
/* Time-outs: a timer whose thread writes into a pipe that poll() watches. */
struct alarm {
    int ends[2];
    timer_t timer;
    bool made;
};
static void rings(union sigval v)
{
    if (write(v.sival_int, "t", 1) < 0)
        return;
}
static void alarm_set(struct alarm *a, long ms)
{
    char c;
    struct itimerspec at = {{0, 0}, {ms / 1000, ms % 1000 * 1000000}};
    if (!a->made) {
        struct sigevent ev = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = rings};
        pipe2(a->ends, O_CLOEXEC | O_NONBLOCK);
        ev.sigev_value.sival_int = a->ends[1];
        timer_create(CLOCK_MONOTONIC, &ev, &a->timer);
        a->made = true;
    }
    timer_settime(a->timer, 0, &(struct itimerspec){0}, NULL);
    while (read(a->ends[0], &c, 1) == 1)
        ;
    timer_settime(a->timer, 0, &at, NULL);
}
static void alarm_free(struct alarm *a)
{
    if (a->made) {
        timer_delete(a->timer);
        close(a->ends[0]);
        close(a->ends[1]);
    }
}
/* 1: ready, 0: too late, -1: other */
static int wait_fd(struct alarm *a, int fd, short events, int other, long ms)
{
    struct pollfd p[3] = {
        {fd, events, 0}, {ms > 0 ? a->ends[0] : -1, POLLIN, 0}, {other, POLLIN, 0}};
    int n;
    do
        n = poll(p, 3, ms == 0 ? 0 : -1);
    while (n < 0 && errno == EINTR);
    if (p[2].revents)
        return -1;
    return p[0].revents ? 1 : 0;
}
struct node {
    struct node *next;
    struct message m;
};
struct sender {
    const struct sender_options *o;
    struct alarm alarm;
    char name[MAIL_QUEUE_NAME], reply_name[MAIL_QUEUE_NAME];
    mqd_t q, reply;
    uint32_t id;
    thrd_t thread;
    mtx_t lock;
    cnd_t more;
    struct node *head, **tail;
    bool end;
    int error;
};
static int send_all(void *arg)
{
    struct sender *s = arg;
    mtx_lock(&s->lock);
    for (;;) {
        while (!s->head && !s->end)
            cnd_wait(&s->more, &s->lock);
        struct node *all = s->head;
        if (!all)
            break;
        s->head = NULL;
        s->tail = &s->head; /* all of them at once */
        mtx_unlock(&s->lock);
        while (all) {
            struct node *n = all;
            while (mq_send(s->q, (char *)&n->m, sizeof n->m, s->o->priority) != 0)
                if (errno == EAGAIN)
                    poll(&(struct pollfd){s->q, POLLOUT, 0}, 1, -1);
                else if (errno != EINTR)
                    abort();
            all = n->next;
            free(n);
        }
        mtx_lock(&s->lock);
    }
    mtx_unlock(&s->lock);
    return 0;
}
enum mail_status sender_open(struct sender **out, const struct address *ad,
                             const struct sender_options *o)
{
    struct sender *s = calloc(1, sizeof *s);
    enum mail_status st = MAIL_SYSTEM;
    if (!s)
        return st;
    s->o = o;
    s->reply = -1;
    s->tail = &s->head;
    st = open_address(ad, O_WRONLY | O_NONBLOCK, &s->q, s->name);
    if (st == MAIL_OK && o->sync) {
        reply_queue_name(s->reply_name, o->me);
        s->reply = make_reply(s->reply_name, O_RDONLY | O_NONBLOCK);
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
    if (o->unbounded) {
        mtx_init(&s->lock, mtx_plain);
        cnd_init(&s->more);
        thrd_create(&s->thread, send_all, s);
    }
    *out = s;
    return MAIL_OK;
}
enum mail_status sender_send(struct sender *s, const char *body, size_t len)
{
    long ms = s->o->timeout_ms;
    struct node *n = malloc(sizeof *n);
    struct message m;
    if (!n)
        return MAIL_SYSTEM;
    n->next = NULL;
    fill(&n->m, s->o->sync ? KIND_SYNC : KIND_DATA, ++s->id, s->o->me, body, len);
    if (s->o->unbounded) {
        mtx_lock(&s->lock);
        *s->tail = n;
        s->tail = &n->next;
        cnd_signal(&s->more);
        mtx_unlock(&s->lock);
        return MAIL_OK;
    }
    m = n->m;
    free(n);
    /* what was left in the reply queue from before is nothing to us */
    if (s->o->sync) {
        struct message old;
        while (mq_receive(s->reply, (char *)&old, sizeof old, NULL) >= 0)
            ;
    }
    if (ms > 0)
        alarm_set(&s->alarm, ms);
    while (mq_send(s->q, (char *)&m, sizeof m, s->o->priority) != 0) {
        if (errno != EAGAIN)
            return MAIL_SYSTEM;
        if (wait_fd(&s->alarm, s->q, POLLOUT, -1, ms) == 0)
            return MAIL_TIMEOUT;
    }
    if (!s->o->sync)
        return MAIL_OK;
    if (ms > 0)
        alarm_set(&s->alarm, ms);
    for (;;) {
        struct message a;
        if (wait_fd(&s->alarm, s->reply, POLLIN, ms > 0 ? s->alarm.ends[0] : -1, ms) != 1)
            return MAIL_TIMEOUT;
        if (mq_receive(s->reply, (char *)&a, sizeof a, NULL) == sizeof a && a.kind == KIND_ACK &&
            a.id == s->id)
            return MAIL_OK;
    }
}
enum mail_status sender_wait_for_input(struct sender *s, int fd)
{
    (void)s, (void)fd;
    return MAIL_OK;
}
enum mail_status sender_finish(struct sender *s)
{
    if (s->o->unbounded && !s->end) {
        mtx_lock(&s->lock);
        s->end = true;
        cnd_signal(&s->more);
        mtx_unlock(&s->lock);
        thrd_join(s->thread, NULL);
    }
    return MAIL_OK;
}
void sender_close(struct sender *s)
{
    sender_finish(s);
    if (s->o->unbounded) {
        mtx_destroy(&s->lock);
        cnd_destroy(&s->more);
    }
    if (s->reply >= 0) {
        mq_close(s->reply);
        mq_unlink(s->reply_name);
    }
    alarm_free(&s->alarm);
    mq_close(s->q);
    free(s);
}
struct receiver {
    mqd_t q;
    char name[MAIL_QUEUE_NAME];
    long ms;
    bool link;
    struct alarm alarm;
};
static int self[2];
static void stop(int n)
{
    int e = errno;
    (void)n;
    if (write(self[1], "s", 1) < 0) {
    }
    errno = e;
}
enum mail_status receiver_open(struct receiver **out, const struct address *ad, long ms)
{
    struct receiver *r = calloc(1, sizeof *r);
    if (!r || pipe2(self, O_CLOEXEC | O_NONBLOCK) != 0)
        return MAIL_SYSTEM;
    signal(SIGTERM, stop);
    signal(SIGINT, stop);
    enum mail_status st = open_address(ad, O_RDONLY | O_NONBLOCK, &r->q, r->name);
    if (st != MAIL_OK) {
        int e = errno;
        free(r);
        errno = e;
        return st;
    }
    r->ms = ms;
    r->link = !ad->box;
    *out = r;
    return MAIL_OK;
}
enum mail_status receiver_next(struct receiver *r, struct message *m, unsigned *priority)
{
    ssize_t n;
    if (r->ms > 0)
        alarm_set(&r->alarm, r->ms);
    for (;;) {
        int ready = wait_fd(&r->alarm, r->q, POLLIN, self[0], r->ms);
        if (ready < 0)
            return MAIL_STOPPED;
        if (ready == 0)
            return MAIL_TIMEOUT;
        n = mq_receive(r->q, (char *)m, sizeof *m, priority);
        if (n >= 0)
            break;
        if (errno != EAGAIN && errno != EINTR)
            return MAIL_SYSTEM;
    }
    if (!message_is_right(m, (size_t)n))
        return MAIL_MALFORMED;
    if (m->kind == KIND_SYNC)
        answer(m);
    return MAIL_OK;
}
void receiver_close(struct receiver *r)
{
    if (r->link)
        mq_unlink(r->name);
    alarm_free(&r->alarm);
    mq_close(r->q);
    close(self[0]);
    close(self[1]);
    free(r);
}
