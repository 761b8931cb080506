/* A thread sends what waits in memory; the receiver is jumped out of its wait. */
#define _GNU_SOURCE
#include "mailbox.h"

#include <ctype.h>
#include <fcntl.h>
#include <mqueue.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define NO_QUEUE ((mqd_t)-1)

typedef struct node {
    struct node *next;
    struct message message;
} node;

struct sender {
    struct sender_options opt;
    mqd_t queue, reply;
    char reply_name[MAIL_QUEUE_NAME];
    uint32_t id;
    /* the rest with --unbounded only; the lock guards all of it */
    pthread_t thread;
    int threaded;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    node *head, *tail;
    int no_more, error;
};

struct receiver {
    mqd_t queue;
    long ms;
    char unlink[MAIL_QUEUE_NAME];
};

bool name_is_right(const char *name)
{
    int n = 0;
    for (; name[n] != 0; n++)
        if (n == MAIL_NAME_MAX ||
            (!isalnum((unsigned char)name[n]) && name[n] != '-' && name[n] != '_'))
            return false;
    return n > 0;
}

void mailbox_queue_name(char queue[MAIL_QUEUE_NAME], const char *name)
{
    stpcpy(stpcpy(queue, "/mbox."), name);
}

void link_queue_name(char queue[MAIL_QUEUE_NAME], const char *from, const char *to)
{
    stpcpy(stpcpy(stpcpy(stpcpy(queue, "/mbox."), from), "."), to);
}

void reply_queue_name(char queue[MAIL_QUEUE_NAME], const char *me)
{
    stpcpy(stpcpy(stpcpy(queue, "/mbox."), me), ".reply");
}

static mqd_t make(const char *name, int flags, long capacity)
{
    struct mq_attr a;
    memset(&a, 0, sizeof a);
    a.mq_maxmsg = capacity;
    a.mq_msgsize = sizeof(struct message);
    return mq_open(name, flags | O_CREAT, S_IRUSR | S_IWUSR, &a);
}

enum mail_status mailbox_create(const char *name, long capacity)
{
    char q[MAIL_QUEUE_NAME];
    mailbox_queue_name(q, name);
    mqd_t d = make(q, O_EXCL | O_RDONLY, capacity);
    return d == NO_QUEUE || mq_close(d) != 0 ? MAIL_SYSTEM : MAIL_OK;
}

enum mail_status mailbox_destroy(const char *name)
{
    char q[MAIL_QUEUE_NAME];
    mailbox_queue_name(q, name);
    return mq_unlink(q) ? MAIL_SYSTEM : MAIL_OK;
}

static enum mail_status attach(const struct address *a, int flags, mqd_t *d,
                               char name[MAIL_QUEUE_NAME])
{
    struct mq_attr attr;
    if (a->box) {
        mailbox_queue_name(name, a->box);
        *d = mq_open(name, flags);
        name[0] = 0;
    } else {
        link_queue_name(name, a->from, a->to);
        *d = make(name, flags, MAIL_LINK_CAPACITY);
    }
    if (*d == NO_QUEUE)
        return MAIL_SYSTEM;
    if (mq_getattr(*d, &attr) != 0 || attr.mq_msgsize != sizeof(struct message)) {
        mq_close(*d);
        return MAIL_WRONG;
    }
    return MAIL_OK;
}

static void moment(struct timespec *t, long ms)
{
    clock_gettime(CLOCK_REALTIME, t);
    long long ns = t->tv_nsec + (long long)ms % 1000 * 1000000;
    t->tv_sec += ms / 1000 + ns / 1000000000;
    t->tv_nsec = ns % 1000000000;
}

/* ---- sender ---- */

static void *work(void *arg)
{
    struct sender *s = arg;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (s->head == NULL && !s->no_more)
            pthread_cond_wait(&s->changed, &s->lock);
        node *n = s->head;
        if (n == NULL)
            break;
        pthread_mutex_unlock(&s->lock);
        int r;
        while ((r = mq_send(s->queue, (char *)&n->message, sizeof n->message, s->opt.priority)) !=
                   0 &&
               errno == EINTR)
            ;
        int e = errno;
        pthread_mutex_lock(&s->lock);
        if (r != 0) {
            s->error = e;
            break;
        }
        s->head = n->next;
        free(n);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

enum mail_status sender_open(struct sender **out, const struct address *address,
                             const struct sender_options *options)
{
    char name[MAIL_QUEUE_NAME];
    struct sender *s = calloc(1, sizeof *s);
    if (s == NULL)
        return MAIL_SYSTEM;
    s->opt = *options;
    s->reply = NO_QUEUE;
    enum mail_status st = attach(address, O_WRONLY, &s->queue, name);
    if (st != MAIL_OK) {
        int e = errno;
        free(s);
        errno = e;
        return st;
    }
    if (options->sync) {
        reply_queue_name(s->reply_name, options->me);
        mq_unlink(s->reply_name);
        s->reply = make(s->reply_name, O_EXCL | O_RDONLY, MAIL_REPLY_CAPACITY);
        if (s->reply == NO_QUEUE)
            st = MAIL_SYSTEM;
    }
    if (options->unbounded) {
        pthread_mutex_init(&s->lock, NULL);
        pthread_cond_init(&s->changed, NULL);
        errno = pthread_create(&s->thread, NULL, work, s);
        s->threaded = errno == 0;
        if (!s->threaded)
            st = MAIL_SYSTEM;
    }
    *out = s;
    if (st != MAIL_OK) {
        int e = errno;
        sender_close(s);
        errno = e;
    }
    return st;
}

static enum mail_status queue_up(struct sender *s, const struct message *m)
{
    node *n = malloc(sizeof *n);
    if (n == NULL)
        return MAIL_SYSTEM;
    n->message = *m;
    n->next = NULL;
    pthread_mutex_lock(&s->lock);
    int e = s->error;
    if (s->head)
        s->tail->next = n;
    else
        s->head = n;
    s->tail = n;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
    errno = e;
    return e ? MAIL_SYSTEM : MAIL_OK;
}

enum mail_status sender_send(struct sender *s, const char *body, size_t len)
{
    struct message m, a;
    struct timespec t;
    bool forever = s->opt.timeout_ms < 0;

    memset(&m, 0, sizeof m);
    m.kind = s->opt.sync ? KIND_SYNC : KIND_DATA;
    m.id = ++s->id;
    strcpy(m.from, s->opt.me);
    m.len = (uint32_t)len;
    if (len)
        memcpy(m.body, body, len);
    if (s->opt.unbounded)
        return queue_up(s, &m);
    moment(&t, forever ? 0 : s->opt.timeout_ms);
    while (forever ? mq_send(s->queue, (char *)&m, sizeof m, s->opt.priority)
                   : mq_timedsend(s->queue, (char *)&m, sizeof m, s->opt.priority, &t))
        if (errno != EINTR)
            return errno == ETIMEDOUT ? MAIL_TIMEOUT : MAIL_SYSTEM;
    if (!s->opt.sync)
        return MAIL_OK;
    moment(&t, forever ? 0 : s->opt.timeout_ms);
    for (;;) {
        ssize_t n = forever ? mq_receive(s->reply, (char *)&a, sizeof a, NULL)
                            : mq_timedreceive(s->reply, (char *)&a, sizeof a, NULL, &t);
        if (n < 0 && errno == ETIMEDOUT)
            return MAIL_TIMEOUT;
        if (n < 0 && errno != EINTR)
            return MAIL_SYSTEM;
        if (n == sizeof a && a.kind == KIND_ACK && a.id == m.id)
            return MAIL_OK;
    }
}

enum mail_status sender_wait_for_input(struct sender *s, int fd)
{
    (void)s, (void)fd; /* the thread is at work all the time */
    return MAIL_OK;
}

enum mail_status sender_finish(struct sender *s)
{
    if (!s->threaded)
        return MAIL_OK;
    pthread_mutex_lock(&s->lock);
    s->no_more = 1;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    s->threaded = 0;
    errno = s->error;
    return s->error ? MAIL_SYSTEM : MAIL_OK;
}

void sender_close(struct sender *s)
{
    if (s->threaded) { /* on the way out of an error */
        pthread_cancel(s->thread);
        pthread_join(s->thread, NULL);
    }
    while (s->head) {
        node *n = s->head;
        s->head = n->next;
        free(n);
    }
    if (s->reply != NO_QUEUE) {
        mq_unlink(s->reply_name);
        mq_close(s->reply);
    }
    mq_close(s->queue);
    free(s);
}

/* ---- receiver ---- */

static sigjmp_buf out_of_wait;
static volatile sig_atomic_t waiting, asked;

static void on_signal(int s)
{
    (void)s;
    asked = 1;
    if (waiting)
        siglongjmp(out_of_wait, 1);
}

enum mail_status receiver_open(struct receiver **out, const struct address *address, long ms)
{
    struct sigaction act;
    struct receiver *r = malloc(sizeof *r);
    if (r == NULL)
        return MAIL_SYSTEM;
    memset(&act, 0, sizeof act);
    act.sa_handler = on_signal;
    sigaddset(&act.sa_mask, SIGTERM);
    sigaddset(&act.sa_mask, SIGINT);
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGINT, &act, NULL);
    r->ms = ms;
    enum mail_status st = attach(address, O_RDONLY, &r->queue, r->unlink);
    if (st != MAIL_OK) {
        int e = errno;
        free(r);
        errno = e;
        return st;
    }
    *out = r;
    return MAIL_OK;
}

static bool good(const struct message *m)
{
    return (m->kind == KIND_DATA || m->kind == KIND_SYNC) && m->len <= MAIL_BODY_MAX &&
           strnlen(m->from, sizeof m->from) < sizeof m->from && name_is_right(m->from);
}

static void answer(const struct message *m)
{
    char q[MAIL_QUEUE_NAME];
    struct message ack;
    struct mq_attr a;
    reply_queue_name(q, m->from);
    mqd_t d = mq_open(q, O_WRONLY | O_NONBLOCK);
    if (d == NO_QUEUE)
        return;
    memset(&ack, 0, sizeof ack);
    ack.kind = KIND_ACK;
    ack.id = m->id;
    strcpy(ack.from, "mrecv");
    if (mq_getattr(d, &a) == 0 && a.mq_msgsize == sizeof ack)
        (void)mq_send(d, (char *)&ack, sizeof ack, 0);
    mq_close(d);
}

enum mail_status receiver_next(struct receiver *r, struct message *m, unsigned *priority)
{
    struct timespec t;
    ssize_t n;

    moment(&t, r->ms < 0 ? 0 : r->ms);
    if (sigsetjmp(out_of_wait, 1) != 0) {
        waiting = 0;
        return MAIL_STOPPED;
    }
    do {
        waiting = 1;
        if (asked) {
            waiting = 0;
            return MAIL_STOPPED;
        }
        n = r->ms < 0 ? mq_receive(r->queue, (char *)m, sizeof *m, priority)
                      : mq_timedreceive(r->queue, (char *)m, sizeof *m, priority, &t);
        waiting = 0;
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == ETIMEDOUT ? MAIL_TIMEOUT : MAIL_SYSTEM;
    if (n != sizeof *m || !good(m))
        return MAIL_MALFORMED;
    if (m->kind == KIND_SYNC)
        answer(m);
    return MAIL_OK;
}

void receiver_close(struct receiver *r)
{
    mq_close(r->queue);
    if (r->unlink[0])
        mq_unlink(r->unlink);
    free(r);
}
