/* Right, but different: a helper process sends what waits, in plain mq_send(), out of a large ring
 * in shared anonymous memory; no time-out is a deadline in ten years; pselect() lets the signals
 * in; the receiver removes the link only if the name still leads to its own queue. */
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
#include <sys/prctl.h>
#include <sys/wait.h>
enum { SLOTS = 4 << 20 }; /* more than memory is allowed for, nearly */
struct shared {
    pthread_mutex_t lock;
    pthread_cond_t work, room;
    uint64_t given, gone;
    bool end;
    struct message m[SLOTS];
};
struct sender {
    const struct sender_options *o;
    char name[MAIL_QUEUE_NAME], reply_name[MAIL_QUEUE_NAME];
    mqd_t q, reply;
    uint32_t id;
    struct shared *sh;
    pid_t child;
};
static _Noreturn void help(struct shared *sh, mqd_t q, unsigned priority)
{
    for (;;) {
        struct message m;
        pthread_mutex_lock(&sh->lock);
        while (sh->gone == sh->given && !sh->end)
            pthread_cond_wait(&sh->work, &sh->lock);
        if (sh->gone == sh->given)
            break;
        m = sh->m[sh->gone % SLOTS];
        pthread_mutex_unlock(&sh->lock);
        while (mq_send(q, (char *)&m, sizeof m, priority) != 0)
            if (errno != EINTR)
                _exit(1);
        pthread_mutex_lock(&sh->lock);
        sh->gone++;
        pthread_cond_signal(&sh->room);
        pthread_mutex_unlock(&sh->lock);
    }
    _exit(0);
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
        s->reply = make_reply(s->reply_name, O_RDWR);
        if (s->reply < 0) {
            int e = errno;
            mq_close(s->q);
            errno = e;
            st = MAIL_SYSTEM;
        }
    }
    if (st == MAIL_OK && o->unbounded) {
        pthread_mutexattr_t ma;
        pthread_condattr_t ca;
        pid_t us = getpid();
        s->sh = mmap(NULL, sizeof *s->sh, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (s->sh == MAP_FAILED) {
            mq_close(s->q);
            free(s);
            return MAIL_SYSTEM;
        }
        pthread_mutexattr_init(&ma);
        pthread_mutexattr_setpshared(&ma, PTHREAD_PROCESS_SHARED);
        pthread_mutex_init(&s->sh->lock, &ma);
        pthread_condattr_init(&ca);
        pthread_condattr_setpshared(&ca, PTHREAD_PROCESS_SHARED);
        pthread_cond_init(&s->sh->work, &ca);
        pthread_cond_init(&s->sh->room, &ca);
        s->child = fork();
        if (s->child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() != us)
                _exit(0);
            help(s->sh, s->q, o->priority);
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
enum mail_status sender_send(struct sender *s, const char *body, size_t len)
{
    long ms = s->o->timeout_ms;
    struct message m;
    if (s->o->unbounded) {
        pthread_mutex_lock(&s->sh->lock);
        while (s->sh->given - s->sh->gone == SLOTS)
            pthread_cond_wait(&s->sh->room, &s->sh->lock);
        fill(&s->sh->m[s->sh->given++ % SLOTS], KIND_DATA, ++s->id, s->o->me, body, len);
        pthread_cond_signal(&s->sh->work);
        pthread_mutex_unlock(&s->sh->lock);
        return MAIL_OK;
    }
    fill(&m, s->o->sync ? KIND_SYNC : KIND_DATA, ++s->id, s->o->me, body, len);
    struct timespec until = after(CLOCK_REALTIME, ms < 0 ? 1000L * 3600 * 24 * 365 * 10 : ms);
    while (mq_timedsend(s->q, (char *)&m, sizeof m, s->o->priority, &until) != 0)
        if (errno != EINTR)
            return errno == ETIMEDOUT ? MAIL_TIMEOUT : MAIL_SYSTEM;
    if (!s->o->sync)
        return MAIL_OK;
    until = after(CLOCK_REALTIME, ms < 0 ? 1000L * 3600 * 24 * 365 * 10 : ms);
    for (bool first = true;; first = false) {
        struct message a;
        if (!first && left_ns(CLOCK_REALTIME, &until) == 0)
            return MAIL_TIMEOUT;
        ssize_t n = mq_timedreceive(s->reply, (char *)&a, sizeof a, NULL, &until);
        if (n == sizeof a && a.kind == KIND_ACK && a.id == s->id)
            return MAIL_OK;
        if (n < 0 && errno != EINTR)
            return errno == ETIMEDOUT ? MAIL_TIMEOUT : MAIL_SYSTEM;
    }
}
enum mail_status sender_wait_for_input(struct sender *s, int fd)
{
    (void)s, (void)fd;
    return MAIL_OK;
}
enum mail_status sender_finish(struct sender *s)
{
    int status = 0;
    if (!s->sh || s->child <= 0)
        return MAIL_OK;
    pthread_mutex_lock(&s->sh->lock);
    s->sh->end = true;
    pthread_cond_signal(&s->sh->work);
    pthread_mutex_unlock(&s->sh->lock);
    while (waitpid(s->child, &status, 0) < 0 && errno == EINTR)
        ;
    s->child = 0;
    errno = EIO;
    return status == 0 ? MAIL_OK : MAIL_SYSTEM;
}
void sender_close(struct sender *s)
{
    sender_finish(s);
    if (s->sh)
        munmap(s->sh, sizeof *s->sh);
    if (s->reply >= 0) {
        mq_close(s->reply);
        mq_unlink(s->reply_name);
    }
    mq_close(s->q);
    free(s);
}
#include <sys/select.h>
struct receiver {
    mqd_t q;
    char name[MAIL_QUEUE_NAME];
    long ms;
    bool link;
    sigset_t inside;
};
static volatile sig_atomic_t over;
static void stop(int n)
{
    (void)n;
    over = 1;
}
enum mail_status receiver_open(struct receiver **out, const struct address *ad, long ms)
{
    struct receiver *r = calloc(1, sizeof *r);
    sigset_t s;
    if (!r)
        return MAIL_SYSTEM;
    sigemptyset(&s);
    sigaddset(&s, SIGTERM);
    sigaddset(&s, SIGINT);
    sigprocmask(SIG_BLOCK, &s, &r->inside);
    signal(SIGTERM, stop);
    signal(SIGINT, stop); /* BSD: SA_RESTART */
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
    struct timespec until = after(CLOCK_MONOTONIC_RAW, r->ms > 0 ? r->ms : 0);
    ssize_t n;
    sigset_t pending;
    sigpending(&pending);
    if (sigismember(&pending, SIGTERM) || sigismember(&pending, SIGINT))
        return MAIL_STOPPED;
    while ((n = mq_receive(r->q, (char *)m, sizeof *m, priority)) < 0) {
        long long ns = left_ns(CLOCK_MONOTONIC_RAW, &until);
        struct timespec left = {ns / 1000000000, ns % 1000000000};
        fd_set f;
        if (errno != EAGAIN)
            return MAIL_SYSTEM;
        FD_ZERO(&f);
        FD_SET(r->q, &f);
        int ready = pselect(r->q + 1, &f, NULL, NULL, r->ms < 0 ? NULL : &left, &r->inside);
        if (over)
            return MAIL_STOPPED;
        if (ready == 0)
            return MAIL_TIMEOUT;
    }
    if (!message_is_right(m, (size_t)n))
        return MAIL_MALFORMED;
    if (m->kind == KIND_SYNC)
        answer(m);
    return MAIL_OK;
}
void receiver_close(struct receiver *r)
{
    struct stat mine, now;
    /* only if the name is still ours */
    if (r->link) {
        mqd_t d = mq_open(r->name, O_RDONLY);
        if (d >= 0 && fstat(d, &now) == 0 && fstat(r->q, &mine) == 0 && mine.st_ino == now.st_ino)
            mq_unlink(r->name);
        if (d >= 0)
            mq_close(d);
    }
    mq_close(r->q);
    free(r);
}
