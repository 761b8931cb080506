/* Right, but different: a helper process keeps what waits (--unbounded); non-blocking queues and
 * poll() for room; the ACK is awaited with mq_notify() and sigtimedwait(); the reply queue is made
 * at the first line; a self-pipe for SIGTERM and SIGINT; queues opened O_RDWR; links made with
 * O_EXCL and opened else. */
#define _GNU_SOURCE
#include "mailbox.h"
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct sender {
    const struct sender_options *o;
    mqd_t q, reply;
    char reply_name[MAIL_QUEUE_NAME];
    uint32_t sent;
    int to_helper;
    pid_t helper;
};
struct receiver {
    mqd_t q;
    long ms;
    char link[MAIL_QUEUE_NAME];
};

bool name_is_right(const char *name)
{
    size_t i;
    for (i = 0; name[i] != '\0'; i++) {
        char c = name[i];
        if (i == MAIL_NAME_MAX || !((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                                    (c >= '0' && c <= '9') || c == '-' || c == '_'))
            return false;
    }
    return i > 0;
}
void mailbox_queue_name(char q[MAIL_QUEUE_NAME], const char *n)
{
    snprintf(q, MAIL_QUEUE_NAME, "/mbox.%s", n);
}
void link_queue_name(char q[MAIL_QUEUE_NAME], const char *f, const char *t)
{
    snprintf(q, MAIL_QUEUE_NAME, "/mbox.%s.%s", f, t);
}
void reply_queue_name(char q[MAIL_QUEUE_NAME], const char *me)
{
    snprintf(q, MAIL_QUEUE_NAME, "/mbox.%s.reply", me);
}

enum mail_status mailbox_create(const char *name, long capacity)
{
    struct mq_attr a = {.mq_maxmsg = capacity, .mq_msgsize = sizeof(struct message)};
    char n[MAIL_QUEUE_NAME];
    mailbox_queue_name(n, name);
    mqd_t q = mq_open(n, O_RDONLY | O_CREAT | O_EXCL, 0600, &a);
    if (q < 0)
        return MAIL_SYSTEM;
    mq_close(q);
    return MAIL_OK;
}
enum mail_status mailbox_destroy(const char *name)
{
    char n[MAIL_QUEUE_NAME];
    mailbox_queue_name(n, name);
    return mq_unlink(n) == 0 ? MAIL_OK : MAIL_SYSTEM;
}

static enum mail_status open_q(mqd_t *q, char n[MAIL_QUEUE_NAME], const struct address *ad)
{
    struct mq_attr a = {.mq_maxmsg = MAIL_LINK_CAPACITY, .mq_msgsize = sizeof(struct message)};
    if (ad->box != NULL) {
        mailbox_queue_name(n, ad->box);
        *q = mq_open(n, O_RDWR | O_NONBLOCK);
    } else {
        link_queue_name(n, ad->from, ad->to);
        do {
            *q = mq_open(n, O_RDWR | O_NONBLOCK | O_CREAT | O_EXCL, 0600, &a);
            if (*q < 0 && errno == EEXIST)
                *q = mq_open(n, O_RDWR | O_NONBLOCK);
        } while (*q < 0 && errno == ENOENT);
    }
    if (*q < 0)
        return MAIL_SYSTEM;
    if (mq_getattr(*q, &a) == 0 && a.mq_msgsize == sizeof(struct message))
        return MAIL_OK;
    mq_close(*q);
    return MAIL_WRONG;
}

static struct timespec now_plus(long ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += ms % 1000 * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}
static struct timespec left(struct timespec until)
{
    struct timespec t = now_plus(0), l = {until.tv_sec - t.tv_sec, until.tv_nsec - t.tv_nsec};
    if (l.tv_nsec < 0) {
        l.tv_sec--;
        l.tv_nsec += 1000000000;
    }
    return l.tv_sec < 0 ? (struct timespec){0, 0} : l;
}

static enum mail_status reply_open(struct sender *s)
{
    struct mq_attr a = {.mq_maxmsg = 1, .mq_msgsize = sizeof(struct message)};
    reply_queue_name(s->reply_name, s->o->me);
    do {
        mq_unlink(s->reply_name);
        s->reply = mq_open(s->reply_name, O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK, 0600, &a);
    } while (s->reply < 0 && errno == EEXIST);
    if (s->reply < 0) {
        s->reply_name[0] = '\0';
        return MAIL_SYSTEM;
    }
    return MAIL_OK;
}

static enum mail_status put(mqd_t q, const struct message *m, unsigned priority, long ms)
{
    struct timespec until = now_plus(ms > 0 ? ms : 0);
    struct pollfd p = {.fd = q, .events = POLLOUT};
    while (mq_send(q, (const char *)m, sizeof *m, priority) != 0) {
        struct timespec l = left(until);
        if (errno != EAGAIN && errno != EINTR)
            return MAIL_SYSTEM;
        if (ppoll(&p, 1, ms < 0 ? NULL : &l, NULL) == 0)
            return MAIL_TIMEOUT;
    }
    return MAIL_OK;
}

static enum mail_status wait_ack(struct sender *s, uint32_t id)
{
    long ms = s->o->timeout_ms;
    struct timespec until = now_plus(ms > 0 ? ms : 0);
    struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    sigset_t usr1;
    struct message m;
    enum mail_status st = MAIL_OK;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    sigprocmask(SIG_BLOCK, &usr1, NULL);
    for (;;) {
        ssize_t n;
        mq_notify(s->reply, &ev);
        while ((n = mq_receive(s->reply, (char *)&m, sizeof m, NULL)) >= 0)
            if (n == (ssize_t)sizeof m && m.kind == KIND_ACK && m.id == id)
                goto out;
        if (errno != EAGAIN && errno != EINTR) {
            st = MAIL_SYSTEM;
            break;
        }
        struct timespec l = left(until);
        if (ms < 0) {
            sigwaitinfo(&usr1, NULL);
            continue;
        }
        if (sigtimedwait(&usr1, NULL, &l) < 0 && errno == EAGAIN) {
            st = MAIL_TIMEOUT;
            break;
        }
    }
out:
    mq_notify(s->reply, NULL);
    return st;
}

/* ---- the helper ---- */
struct node {
    struct node *next;
    struct message m;
};

static _Noreturn void help(int in, mqd_t q, unsigned priority)
{
    struct node *first = NULL, **last = &first;
    struct message m;
    size_t got = 0;
    bool open_ = true;
    while (open_ || first != NULL) {
        struct pollfd p[2] = {{.fd = open_ ? in : -1, .events = POLLIN},
                              {.fd = first != NULL ? q : -1, .events = POLLOUT}};
        if (poll(p, 2, -1) < 0)
            continue;
        while (first != NULL && mq_send(q, (const char *)&first->m, sizeof m, priority) == 0) {
            struct node *gone = first;
            first = first->next;
            if (first == NULL)
                last = &first;
            free(gone);
        }
        if (p[0].revents != 0) {
            ssize_t n = read(in, (char *)&m + got, sizeof m - got);
            if (n <= 0) {
                open_ = false;
                continue;
            }
            got += (size_t)n;
            if (got == sizeof m) {
                struct node *k = malloc(sizeof *k);
                if (k == NULL)
                    _exit(1);
                k->next = NULL;
                k->m = m;
                *last = k;
                last = &k->next;
                got = 0;
                while (first != NULL &&
                       mq_send(q, (const char *)&first->m, sizeof m, priority) == 0) {
                    struct node *gone = first;
                    first = first->next;
                    if (first == NULL)
                        last = &first;
                    free(gone);
                }
            }
        }
    }
    close(in);
    mq_close(q);
    _exit(0);
}

enum mail_status sender_open(struct sender **result, const struct address *address,
                             const struct sender_options *o)
{
    struct sender *s = calloc(1, sizeof *s);
    char n[MAIL_QUEUE_NAME];
    enum mail_status st;
    int ends[2], e;
    if (s == NULL)
        return MAIL_SYSTEM;
    s->o = o;
    s->reply = -1;
    s->to_helper = -1;
    st = open_q(&s->q, n, address);
    if (st == MAIL_OK && o->unbounded) {
        pid_t parent = getpid();
        if (pipe2(ends, O_CLOEXEC) != 0 || (s->helper = fork()) < 0) {
            e = errno;
            mq_close(s->q);
            errno = e;
            st = MAIL_SYSTEM;
        } else if (s->helper == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() != parent)
                _exit(0);
            mqd_t q = s->q;
            unsigned pr = o->priority;
            close(ends[1]);
            free(s);
            help(ends[0], q, pr);
        } else {
            close(ends[0]);
            s->to_helper = ends[1];
        }
    }
    if (st != MAIL_OK) {
        e = errno;
        free(s);
        errno = e;
        return st;
    }
    *result = s;
    return MAIL_OK;
}

enum mail_status sender_send(struct sender *s, const char *body, size_t len)
{
    struct message m = {
        .kind = s->o->sync ? KIND_SYNC : KIND_DATA, .id = ++s->sent, .len = (uint32_t)len};
    enum mail_status st;
    memcpy(m.from, s->o->me, strlen(s->o->me));
    memcpy(m.body, body, len);
    if (s->o->unbounded) {
        for (size_t done = 0; done < sizeof m;) {
            ssize_t n = write(s->to_helper, (char *)&m + done, sizeof m - done);
            if (n < 0 && errno != EINTR)
                return MAIL_SYSTEM;
            if (n > 0)
                done += (size_t)n;
        }
        return MAIL_OK;
    }
    if (s->o->sync && s->reply_name[0] == '\0' && (st = reply_open(s)) != MAIL_OK)
        return st;
    st = put(s->q, &m, s->o->priority, s->o->timeout_ms);
    return st == MAIL_OK && s->o->sync ? wait_ack(s, m.id) : st;
}
enum mail_status sender_wait_for_input(struct sender *s, int fd)
{
    (void)s;
    (void)fd;
    return MAIL_OK;
}
enum mail_status sender_finish(struct sender *s)
{
    int status = 0;
    if (s->to_helper < 0)
        return MAIL_OK;
    close(s->to_helper);
    s->to_helper = -1;
    while (waitpid(s->helper, &status, 0) < 0 && errno == EINTR)
        ;
    errno = EIO;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? MAIL_OK : MAIL_SYSTEM;
}
void sender_close(struct sender *s)
{
    sender_finish(s);
    if (s->reply_name[0] != '\0') {
        mq_unlink(s->reply_name);
        mq_close(s->reply);
    }
    mq_close(s->q);
    free(s);
}

static bool message_is_right(const struct message *m, size_t size)
{
    char name[MAIL_NAME_MAX + 2] = "";
    if (size != sizeof *m || (m->kind != KIND_DATA && m->kind != KIND_SYNC) ||
        m->len > MAIL_BODY_MAX)
        return false;
    memcpy(name, m->from, sizeof m->from);
    return name_is_right(name);
}

static int self[2] = {-1, -1};
static void on_stop(int n)
{
    int e = errno;
    (void)n;
    if (write(self[1], "x", 1) < 0) {
    }
    errno = e;
}

enum mail_status receiver_open(struct receiver **result, const struct address *address, long ms)
{
    struct sigaction a = {.sa_handler = on_stop, .sa_flags = SA_RESTART};
    struct receiver *r = calloc(1, sizeof *r);
    enum mail_status st;
    if (r == NULL || pipe2(self, O_NONBLOCK | O_CLOEXEC) != 0) {
        free(r);
        return MAIL_SYSTEM;
    }
    r->ms = ms;
    sigaction(SIGTERM, &a, NULL);
    sigaction(SIGINT, &a, NULL);
    st = open_q(&r->q, r->link, address);
    if (st != MAIL_OK) {
        int e = errno;
        free(r);
        errno = e;
        return st;
    }
    if (address->box != NULL)
        r->link[0] = '\0';
    *result = r;
    return MAIL_OK;
}

enum mail_status receiver_next(struct receiver *r, struct message *m, unsigned *priority)
{
    struct timespec until = now_plus(r->ms > 0 ? r->ms : 0);
    ssize_t n;
    while ((n = mq_receive(r->q, (char *)m, sizeof *m, priority)) < 0) {
        struct pollfd p[2] = {{.fd = r->q, .events = POLLIN}, {.fd = self[0], .events = POLLIN}};
        struct timespec l = left(until);
        if (errno != EAGAIN && errno != EINTR)
            return MAIL_SYSTEM;
        int ready = ppoll(p, 2, r->ms < 0 ? NULL : &l, NULL);
        if (ready > 0 && p[1].revents != 0)
            return MAIL_STOPPED;
        if (ready == 0)
            return MAIL_TIMEOUT;
    }
    if (!message_is_right(m, (size_t)n))
        return MAIL_MALFORMED;
    if (m->kind == KIND_SYNC) {
        struct message ack = {.kind = KIND_ACK, .id = m->id, .from = "whoever"};
        struct mq_attr a;
        char name[MAIL_QUEUE_NAME];
        reply_queue_name(name, m->from);
        mqd_t q = mq_open(name, O_WRONLY | O_NONBLOCK);
        if (q >= 0) {
            if (mq_getattr(q, &a) == 0 && a.mq_msgsize == sizeof ack)
                mq_send(q, (const char *)&ack, sizeof ack, 0);
            mq_close(q);
        }
    }
    return MAIL_OK;
}
void receiver_close(struct receiver *r)
{
    mq_close(r->q);
    if (r->link[0] != '\0')
        mq_unlink(r->link);
    close(self[0]);
    close(self[1]);
    free(r);
}
