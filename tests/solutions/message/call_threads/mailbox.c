/* Right, but different: every call that may wait is made by a thread of its own, in plain mq_send()
 * and mq_receive(), and cancelled when main, in sigtimedwait(), has seen a signal or the time out;
 * what waits with --unbounded lies in pages that grow with mremap(). */
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
#include <pthread.h>
#include <sys/mman.h>
#include <sys/select.h>
struct sender {
    const struct sender_options *o;
    char name[MAIL_QUEUE_NAME], reply_name[MAIL_QUEUE_NAME];
    mqd_t q, reply;
    uint32_t id;
    struct message *m;
    size_t bytes, from, to;
};
/* A call that waits, in a thread of its own; main waits for the thread, for a signal, or for a
 * time. */
struct job {
    mqd_t q;
    bool send;
    struct message *m;
    unsigned priority;
    pthread_t main;
    volatile ssize_t got;
    volatile int error;
    volatile bool done;
};
static void *work(void *arg)
{
    struct job *j = arg;
    ssize_t n;
    do
        n = j->send ? mq_send(j->q, (char *)j->m, sizeof *j->m, j->priority)
                    : mq_receive(j->q, (char *)j->m, sizeof *j->m, &j->priority);
    while (n < 0 && errno == EINTR);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    j->error = errno;
    j->got = n;
    j->done = true;
    pthread_kill(j->main, SIGUSR2);
    return NULL;
}
static int wait_job(struct job *j, long ms, bool stops, const struct timespec *until)
{
    pthread_t t;
    sigset_t s, all, old;
    int n, how = MAIL_OK;
    struct timespec zero = {0, 0};
    sigemptyset(&s);
    sigaddset(&s, SIGUSR2);
    if (stops) {
        sigaddset(&s, SIGTERM);
        sigaddset(&s, SIGINT);
    }
    if (ms == 0) { /* only what can be done at once */
        ssize_t r = j->send
                        ? mq_timedsend(j->q, (char *)j->m, sizeof *j->m, j->priority, &zero)
                        : mq_timedreceive(j->q, (char *)j->m, sizeof *j->m, &j->priority, &zero);
        j->got = r;
        j->error = errno;
        return r < 0 ? errno == ETIMEDOUT ? MAIL_TIMEOUT : MAIL_SYSTEM : MAIL_OK;
    }
    sigset_t usr2;
    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &usr2, NULL);
    j->main = pthread_self();
    j->done = false;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_create(&t, NULL, work, j);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    for (;;) {
        long long ns = left_ns(CLOCK_MONOTONIC, until);
        struct timespec left = {ns / 1000000000, ns % 1000000000};
        n = ms < 0 ? sigwaitinfo(&s, NULL) : sigtimedwait(&s, NULL, &left);
        if (n == SIGUSR2)
            break;
        if (n == SIGTERM || n == SIGINT) {
            how = MAIL_STOPPED;
            break;
        }
        if (n < 0 && errno == EAGAIN) {
            how = MAIL_TIMEOUT;
            break;
        }
    }
    if (how != MAIL_OK)
        pthread_cancel(t);
    pthread_join(t, NULL);
    if (j->done && how != MAIL_OK) {
        sigtimedwait(&usr2, NULL, &zero); /* it was faster all the same */
        if (how == MAIL_STOPPED)
            raise(SIGTERM); /* blocked: for the next call */
    }
    if (j->done)
        how = j->got < 0 ? MAIL_SYSTEM : MAIL_OK;
    errno = j->error;
    return how;
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
    st = open_address(ad, O_WRONLY, &s->q, s->name);
    if (st == MAIL_OK && o->sync) {
        reply_queue_name(s->reply_name, o->me);
        mq_unlink(s->reply_name);
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
static enum mail_status out_now(struct sender *s)
{
    struct timespec past = {1, 0};
    while (s->from < s->to &&
           mq_timedsend(s->q, (char *)&s->m[s->from], sizeof *s->m, s->o->priority, &past) == 0)
        s->from++;
    if (s->from == s->to) {
        s->from = s->to = 0;
        return MAIL_OK;
    }
    return errno == ETIMEDOUT ? MAIL_OK : MAIL_SYSTEM;
}
enum mail_status sender_send(struct sender *s, const char *body, size_t len)
{
    long ms = s->o->timeout_ms;
    struct message m, ack;
    if (s->o->unbounded) {
        if ((s->to + 1) * sizeof m > s->bytes) {
            size_t live = s->to - s->from;
            if (s->from > live + 1000) {
                memmove(s->m, s->m + s->from, live * sizeof m);
                s->from = 0;
                s->to = live;
            } else {
                size_t bytes = s->bytes ? s->bytes * 2 : 1 << 16;
                void *p = s->bytes ? mremap(s->m, s->bytes, bytes, MREMAP_MAYMOVE)
                                   : mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                if (p == MAP_FAILED)
                    return MAIL_SYSTEM;
                s->m = p;
                s->bytes = bytes;
            }
        }
        fill(&s->m[s->to++], KIND_DATA, ++s->id, s->o->me, body, len);
        return out_now(s);
    }
    fill(&m, s->o->sync ? KIND_SYNC : KIND_DATA, ++s->id, s->o->me, body, len);
    struct timespec until = after(CLOCK_MONOTONIC, ms > 0 ? ms : 0);
    struct job j = {.q = s->q, .send = true, .m = &m, .priority = s->o->priority};
    int st = wait_job(&j, ms, false, &until);
    if (st != MAIL_OK || !s->o->sync)
        return st;
    until = after(CLOCK_MONOTONIC, ms > 0 ? ms : 0);
    for (bool first = true;; first = false) {
        struct job a = {.q = s->reply, .m = &ack};
        if (!first && ms >= 0 && left_ns(CLOCK_MONOTONIC, &until) == 0)
            return MAIL_TIMEOUT;
        st = wait_job(&a, ms, false, &until);
        if (st != MAIL_OK)
            return st;
        if (a.got == sizeof ack && ack.kind == KIND_ACK && ack.id == s->id)
            return MAIL_OK;
    }
}
enum mail_status sender_wait_for_input(struct sender *s, int fd)
{
    for (;;) {
        if (out_now(s) != MAIL_OK)
            return MAIL_SYSTEM;
        if (s->from == s->to)
            return MAIL_OK;
        fd_set in, room;
        FD_ZERO(&in);
        FD_SET(fd, &in);
        FD_ZERO(&room);
        FD_SET(s->q, &room);
        if (pselect(s->q + 1, &in, &room, NULL, NULL, NULL) > 0 && FD_ISSET(fd, &in))
            return MAIL_OK;
    }
}
enum mail_status sender_finish(struct sender *s)
{
    while (s->from < s->to) {
        if (mq_send(s->q, (char *)&s->m[s->from], sizeof *s->m, s->o->priority) == 0)
            s->from++;
        else if (errno != EINTR)
            return MAIL_SYSTEM;
    }
    return MAIL_OK;
}
void sender_close(struct sender *s)
{
    if (s->reply >= 0) {
        mq_close(s->reply);
        mq_unlink(s->reply_name);
    }
    if (s->bytes)
        munmap(s->m, s->bytes);
    mq_close(s->q);
    free(s);
}
struct receiver {
    mqd_t q;
    char name[MAIL_QUEUE_NAME];
    long ms;
    bool link;
};
enum mail_status receiver_open(struct receiver **out, const struct address *ad, long ms)
{
    struct receiver *r = calloc(1, sizeof *r);
    sigset_t s;
    if (!r)
        return MAIL_SYSTEM;
    sigemptyset(&s);
    sigaddset(&s, SIGTERM);
    sigaddset(&s, SIGINT);
    sigaddset(&s, SIGUSR2);
    sigprocmask(SIG_BLOCK, &s, NULL);
    enum mail_status st = open_address(ad, O_RDONLY, &r->q, r->name);
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
    struct timespec until = after(CLOCK_MONOTONIC, r->ms > 0 ? r->ms : 0), zero = {0, 0};
    struct job j = {.q = r->q, .m = m};
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGTERM);
    sigaddset(&s, SIGINT);
    if (sigtimedwait(&s, NULL, &zero) > 0)
        return MAIL_STOPPED;
    int st = wait_job(&j, r->ms, true, &until);
    if (st != MAIL_OK)
        return st;
    *priority = j.priority;
    if (!message_is_right(m, (size_t)j.got))
        return MAIL_MALFORMED;
    if (m->kind == KIND_SYNC)
        answer(m);
    return MAIL_OK;
}
void receiver_close(struct receiver *r)
{
    if (r->link)
        mq_unlink(r->name);
    mq_close(r->q);
    free(r);
}
