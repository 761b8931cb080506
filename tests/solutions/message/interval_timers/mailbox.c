/* Right, but different: time-outs are interval timers whose signal interrupts the plain call, again
 * and again until they are taken back; SIGTERM begins one as well; the reply queue is made before
 * the mailbox is looked for, and removed if there is none; the receiver is a static one that
 * atexit() cleans; only the bodies of what waits are kept. */
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
/* Time-outs by interval timers whose signal interrupts the call; the timer goes on until it is
 * taken back, so it can't come too early. */
static volatile sig_atomic_t late, over;
static void ring(int n)
{
    if (n == SIGALRM) {
        late = 1;
        return;
    }
    over = 1;
    struct itimerval t = {{0, 10000}, {0, 10000}};
    setitimer(ITIMER_REAL, &t, NULL);
}
static void arm(long ms)
{
    struct itimerval t = {{0, ms > 0 ? 10000 : 0}, {ms / 1000, ms % 1000 * 1000}};
    late = 0;
    if (!over)
        setitimer(ITIMER_REAL, &t, NULL);
}
static void disarm(void)
{
    struct itimerval t = {{0, 0}, {0, 0}};
    if (!over)
        setitimer(ITIMER_REAL, &t, NULL);
}
struct kept {
    size_t len;
    char body[];
};
struct sender {
    const struct sender_options *o;
    char name[MAIL_QUEUE_NAME], reply_name[MAIL_QUEUE_NAME];
    mqd_t q, reply;
    uint32_t id, gone;
    struct kept **kept;
    size_t from, to, room;
};
static void catch (int n)
{
    struct sigaction a = {.sa_handler = ring};
    sigaction(n, &a, NULL);
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
    catch (SIGALRM);
    /* the reply queue first */
    if (o->sync) {
        reply_queue_name(s->reply_name, o->me);
        s->reply = make_reply(s->reply_name, O_RDONLY);
        if (s->reply < 0) {
            int e = errno;
            free(s);
            errno = e;
            return st;
        }
    }
    st = open_address(ad, O_WRONLY, &s->q, s->name);
    if (st != MAIL_OK) {
        int e = errno;
        if (o->sync) {
            mq_unlink(s->reply_name);
            mq_close(s->reply);
        }
        free(s);
        errno = e;
        return st;
    }
    *out = s;
    return MAIL_OK;
}
static int send_one(struct sender *s, const struct message *m, long ms)
{
    int r, e;
    if (ms == 0) {
        struct timespec zero = {0, 0};
        r = mq_timedsend(s->q, (char *)m, sizeof *m, s->o->priority, &zero);
        return r == 0 ? MAIL_OK : errno == ETIMEDOUT ? MAIL_TIMEOUT : MAIL_SYSTEM;
    }
    if (ms > 0)
        arm(ms);
    do
        r = mq_send(s->q, (char *)m, sizeof *m, s->o->priority);
    while (r != 0 && errno == EINTR && !(ms > 0 && late));
    e = errno;
    if (ms > 0)
        disarm();
    errno = e;
    return r == 0 ? MAIL_OK : errno == EINTR ? MAIL_TIMEOUT : MAIL_SYSTEM;
}
static enum mail_status out_now(struct sender *s)
{
    for (; s->from < s->to; s->from++) {
        struct message m;
        struct kept *k = s->kept[s->from];
        fill(&m, KIND_DATA, s->gone + 1, s->o->me, k->body, k->len);
        int st = send_one(s, &m, 0);
        if (st == MAIL_TIMEOUT)
            return MAIL_OK;
        if (st != MAIL_OK)
            return st;
        s->gone++;
        free(k);
    }
    s->from = s->to = 0;
    return MAIL_OK;
}
enum mail_status sender_send(struct sender *s, const char *body, size_t len)
{
    struct message m;
    long ms = s->o->timeout_ms;
    int st;
    if (s->o->unbounded) {
        struct kept *k = malloc(sizeof *k + len);
        if (!k)
            return MAIL_SYSTEM;
        k->len = len;
        memcpy(k->body, body, len);
        if (s->to == s->room) {
            s->room = s->room ? s->room + s->room / 2 : 8;
            s->kept = realloc(s->kept, s->room * sizeof *s->kept);
            if (!s->kept)
                return MAIL_SYSTEM;
        }
        s->kept[s->to++] = k;
        return out_now(s);
    }
    fill(&m, s->o->sync ? KIND_SYNC : KIND_DATA, ++s->id, s->o->me, body, len);
    st = send_one(s, &m, ms);
    if (st != MAIL_OK || !s->o->sync)
        return st;
    if (ms > 0)
        arm(ms);
    for (;;) {
        struct message a;
        struct timespec zero = {0, 0};
        ssize_t n = ms == 0 ? mq_timedreceive(s->reply, (char *)&a, sizeof a, NULL, &zero)
                            : mq_receive(s->reply, (char *)&a, sizeof a, NULL);
        if (n == sizeof a && a.kind == KIND_ACK && a.id == s->id) {
            st = MAIL_OK;
            break;
        }
        if ((ms > 0 && late) || (n < 0 && errno == ETIMEDOUT)) {
            st = MAIL_TIMEOUT;
            break;
        }
        if (n < 0 && errno != EINTR) {
            st = MAIL_SYSTEM;
            break;
        }
    }
    int e = errno;
    if (ms > 0)
        disarm();
    errno = e;
    return st;
}
enum mail_status sender_wait_for_input(struct sender *s, int fd)
{
    while (s->from < s->to) {
        struct pollfd p[2] = {{s->q, POLLOUT, 0}, {fd, POLLIN, 0}};
        if (poll(p, 2, -1) < 0 && errno != EINTR)
            return MAIL_SYSTEM;
        if (p[1].revents)
            return MAIL_OK;
        if (p[0].revents && out_now(s) != MAIL_OK)
            return MAIL_SYSTEM;
    }
    return MAIL_OK;
}
enum mail_status sender_finish(struct sender *s)
{
    for (; s->from < s->to; s->from++) {
        struct message m;
        struct kept *k = s->kept[s->from];
        fill(&m, KIND_DATA, s->gone + 1, s->o->me, k->body, k->len);
        if (send_one(s, &m, -1) != MAIL_OK)
            return MAIL_SYSTEM;
        s->gone++;
        free(k);
    }
    return MAIL_OK;
}
void sender_close(struct sender *s)
{
    if (s->o->sync) {
        mq_unlink(s->reply_name);
        mq_close(s->reply);
    }
    free(s->kept);
    mq_close(s->q);
    free(s);
}
struct receiver {
    mqd_t q;
    char name[MAIL_QUEUE_NAME];
    long ms;
    bool link;
};
static struct receiver only; /* there is one a process */
static void at_end(void)
{
    if (only.q > 0) {
        mq_close(only.q);
        if (only.link)
            mq_unlink(only.name);
    }
}
enum mail_status receiver_open(struct receiver **out, const struct address *ad, long ms)
{
    catch (SIGALRM);
    catch (SIGTERM);
    catch (SIGINT);
    enum mail_status st = open_address(ad, O_RDONLY, &only.q, only.name);
    if (st != MAIL_OK) {
        only.q = 0;
        return st;
    }
    only.ms = ms;
    only.link = !ad->box;
    atexit(at_end);
    *out = &only;
    return MAIL_OK;
}
enum mail_status receiver_next(struct receiver *r, struct message *m, unsigned *priority)
{
    struct timespec zero = {0, 0};
    ssize_t n;
    if (over)
        return MAIL_STOPPED;
    if (r->ms == 0) {
        n = mq_timedreceive(r->q, (char *)m, sizeof *m, priority, &zero);
        if (n < 0 && errno == ETIMEDOUT)
            return MAIL_TIMEOUT;
    } else {
        if (r->ms > 0)
            arm(r->ms);
        do
            n = mq_receive(r->q, (char *)m, sizeof *m, priority);
        while (n < 0 && errno == EINTR && !over && !(r->ms > 0 && late));
        int e = errno;
        if (r->ms > 0)
            disarm();
        errno = e;
        if (n < 0 && over)
            return MAIL_STOPPED;
        if (n < 0 && errno == EINTR)
            return MAIL_TIMEOUT;
    }
    if (n < 0)
        return MAIL_SYSTEM;
    if (!message_is_right(m, (size_t)n))
        return MAIL_MALFORMED;
    if (m->kind == KIND_SYNC)
        answer(m);
    return MAIL_OK;
}
void receiver_close(struct receiver *r)
{
    (void)r;
}
