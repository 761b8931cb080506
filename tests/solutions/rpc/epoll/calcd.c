/*
 * Right, but different: epoll, level-triggered; the signals end epoll_pwait(); the whole input of a
 * connection is kept in one buffer with its marks and looked through for whole records; replies are
 * made straight into a fixed buffer, and what has no room there waits as input. Calls whose
 * arguments are garbage are remembered, too; the memory is a ring of 16,384 with chains by hash.
 */
#define _GNU_SOURCE
#include "calc.h"

#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { IN_ROOM = 1 << 17, OUT_ROOM = 4096, RING = 16384, CHAINS = 4096 };

struct peer {
    struct peer *next, *previous;
    int fd;
    bool ended;
    uint32_t watched;
    size_t in_len, in_room, out_len;
    unsigned char *in;
    unsigned char out[OUT_ROOM];
};

struct answered {
    struct answered *next, **back; /* in its chain; back NULL: not in use */
    uint64_t caller;               /* address and port */
    uint64_t call;                 /* xid and procedure */
    uint32_t len;
    unsigned char reply[CALC_REPLY_MAX];
};

static volatile sig_atomic_t stopped;
static int64_t total;
static struct answered ring[RING], *chains[CHAINS];
static size_t answered_count;
static struct peer peers = {.next = &peers, .previous = &peers};
static int epoll, udp, tcp;
static bool full; /* the listener is not watched */

static void stop(int number)
{
    (void)number;
    stopped = 1;
}

/* ---- answering ---- */

static bool fits(int64_t a, uint32_t op, int64_t b, int64_t *r)
{
    if (op == CALC_SUB) {
        if (b > 0 ? a < INT64_MIN + b : a > INT64_MAX + b)
            return false;
        *r = a - b;
    } else if (op == CALC_MUL) {
        if (a > 0 ? (b > 0 ? a > INT64_MAX / b : b < INT64_MIN / a)
                  : (b > 0 ? a < INT64_MIN / b : a != 0 && b < INT64_MAX / a))
            return false;
        *r = a * b;
    } else if (op == CALC_DIV) {
        if (a == INT64_MIN && b == -1)
            return false;
        *r = a / b;
    } else {
        if (b > 0 ? a > INT64_MAX - b : a < INT64_MIN - b)
            return false;
        *r = a + b;
    }
    return true;
}

/* The result of a call, written behind the reply's header. false: garbage. */
static bool call_procedure(uint32_t op, struct xdr_in *in, struct xdr_out *out)
{
    struct calc_result result = {.status = CALC_OK, .value = 0};
    struct calc_args args = {0, 0};
    uint32_t count;

    switch (op) {
    case CALC_NULL:
        return true;
    case CALC_SUM:
        if (!xdr_get_uint(in, &count) || count > CALC_VECTOR_MAX || count * 8 > in->left)
            return false;
        for (; count > 0 && result.status == CALC_OK; count--) {
            xdr_get_hyper(in, &args.b);
            if (!fits(result.value, CALC_ADD, args.b, &result.value))
                result.status = CALC_OVERFLOW;
        }
        break;
    case CALC_ACCUMULATE:
        if (!xdr_get_hyper(in, &args.b))
            return false;
        if (!fits(total, CALC_ADD, args.b, &total))
            result.status = CALC_OVERFLOW;
        result.value = total;
        break;
    default:
        if (!xdr_get_args(in, &args))
            return false;
        if (op == CALC_DIV && args.b == 0)
            result.status = CALC_DIVIDE_BY_ZERO;
        else if (!fits(args.a, op, args.b, &result.value))
            result.status = CALC_OVERFLOW;
    }
    xdr_put_result(out, &result);
    return true;
}

static struct answered **chain_of(uint64_t caller, uint64_t call)
{
    return &chains[((caller ^ (call * 0x9e3779b97f4a7c15u)) * 0xbf58476d1ce4e5b9u) >> 52];
}

static void keep(uint64_t caller, uint64_t call, const struct xdr_out *reply)
{
    struct answered *a = &ring[answered_count++ % RING], **chain = chain_of(caller, call);

    if (a->back != NULL) {
        *a->back = a->next;
        if (a->next != NULL)
            a->next->back = a->back;
    }
    a->caller = caller;
    a->call = call;
    a->len = (uint32_t)reply->len;
    memcpy(a->reply, reply->bytes, reply->len);
    a->next = *chain;
    a->back = chain;
    if (a->next != NULL)
        a->next->back = &a->next;
    *chain = a;
}

/* How many bytes of reply there are to a message: 0, it is no call. `caller` 0: over TCP. */
static size_t answer(const unsigned char *bytes, size_t len, uint64_t caller, unsigned char *reply)
{
    struct xdr_in in = {bytes, len};
    struct xdr_out out = {.bytes = reply};
    uint32_t head[6], flavor, stat = RPC_SUCCESS;
    uint64_t call;

    for (int i = 0; i < 3; i++) {
        if (!xdr_get_uint(&in, &head[i]))
            return 0;
    }
    if (head[1] != RPC_CALL)
        return 0;
    xdr_put_uint(&out, head[0]);
    xdr_put_uint(&out, RPC_REPLY);
    xdr_put_uint(&out, head[2] != RPC_VERSION);
    xdr_put_uint(&out, 0);
    if (head[2] != RPC_VERSION) {
        xdr_put_uint(&out, RPC_VERSION);
        xdr_put_uint(&out, RPC_VERSION);
        return out.len;
    }
    for (int i = 3; i < 6; i++) {
        if (!xdr_get_uint(&in, &head[i]))
            return 0;
    }
    for (int i = 0; i < 2; i++) {
        if (!xdr_get_uint(&in, &flavor) || !xdr_skip_opaque(&in, RPC_AUTH_MAX))
            return 0;
    }
    if (head[3] != CALC_PROG)
        stat = RPC_PROG_UNAVAIL;
    else if (head[4] != CALC_VERS)
        stat = RPC_PROG_MISMATCH;
    else if (head[5] > CALC_ACCUMULATE)
        stat = RPC_PROC_UNAVAIL;
    call = (uint64_t)head[0] << 32 | head[5];
    if (stat == RPC_SUCCESS && caller != 0) {
        for (struct answered *a = *chain_of(caller, call); a != NULL; a = a->next) {
            if (a->caller == caller && a->call == call) {
                memcpy(reply, a->reply, a->len);
                return a->len;
            }
        }
    }
    xdr_put_uint(&out, 0);
    xdr_put_uint(&out, stat);
    if (stat == RPC_PROG_MISMATCH) {
        xdr_put_uint(&out, CALC_VERS);
        xdr_put_uint(&out, CALC_VERS);
    } else if (stat == RPC_SUCCESS) {
        if (!call_procedure(head[5], &in, &out))
            reply[23] = RPC_GARBAGE_ARGS;
        if (caller != 0)
            keep(caller, call, &out);
    }
    return out.len;
}

/* ---- connections ---- */

static void watch(struct peer *p, int fd, uint32_t events, int how)
{
    struct epoll_event event = {.events = events, .data.ptr = p};

    if (p != NULL) {
        if (how == EPOLL_CTL_MOD && p->watched == events)
            return;
        p->watched = events;
    }
    epoll_ctl(epoll, how, fd, &event);
}

static void drop(struct peer *p)
{
    p->next->previous = p->previous;
    p->previous->next = p->next;
    close(p->fd);
    free(p->in);
    free(p);
    if (full) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &tcp};

        full = false;
        epoll_ctl(epoll, EPOLL_CTL_ADD, tcp, &event);
    }
}

/*
 * The length of the record at the front of the input, with its marks, and where it is known whole;
 * 0: not whole yet; -1: too long. *content is how many bytes are behind the marks.
 */
static ssize_t whole_record(const struct peer *p, size_t *content)
{
    size_t at = 0;

    *content = 0;
    while (p->in_len - at >= 4) {
        struct xdr_in in = {p->in + at, 4};
        uint32_t mark;

        xdr_get_uint(&in, &mark);
        *content += mark & ~RECORD_LAST;
        if (*content > RECORD_MAX)
            return -1;
        at += 4 + (mark & ~RECORD_LAST);
        if (at > p->in_len)
            return 0;
        if ((mark & RECORD_LAST) != 0)
            return (ssize_t)at;
    }
    return 0;
}

/*
 * Takes the marks of fragments that are whole, but not the last, together: so a record of many
 * empty fragments needs no more room than others. One fragment is left, with the sum as its length.
 */
static void join_fragments(struct peer *p)
{
    for (;;) {
        struct xdr_in in = {p->in, 4}, second;
        struct xdr_out out = {.bytes = p->in};
        uint32_t mark, next;

        if (p->in_len < 4 || !xdr_get_uint(&in, &mark) || (mark & RECORD_LAST) != 0 ||
            p->in_len < 8 + (size_t)mark)
            return;
        second = (struct xdr_in){p->in + 4 + mark, 4};
        xdr_get_uint(&second, &next);
        if ((next & ~RECORD_LAST) + mark > RECORD_MAX)
            return; /* whole_record() finds it */
        xdr_put_uint(&out, next + mark);
        p->in_len -= 4;
        memmove(p->in + 4 + mark, p->in + 8 + mark, p->in_len - 4 - mark);
    }
}

/* Answers what is whole, as long as there is room for replies. false: drop it. */
static bool answer_records(struct peer *p)
{
    while (OUT_ROOM - p->out_len >= 4 + CALC_REPLY_MAX) {
        struct xdr_out mark = {.bytes = p->out + p->out_len};
        size_t content, len;
        ssize_t size;

        join_fragments(p);
        size = whole_record(p, &content);
        if (size <= 0)
            return size == 0;
        len = answer(p->in + 4, content, 0, p->out + p->out_len + 4);
        if (len > 0) {
            xdr_put_uint(&mark, RECORD_LAST | (uint32_t)len);
            p->out_len += 4 + len;
        }
        p->in_len -= (size_t)size;
        memmove(p->in, p->in + size, p->in_len);
    }
    return true;
}

/* false: drop it. */
static bool receive(struct peer *p)
{
    ssize_t len;

    if (p->in_len == p->in_room) {
        size_t room = p->in_room == 0 ? 512 : p->in_room * 2;
        unsigned char *in = room > IN_ROOM ? NULL : realloc(p->in, room);

        if (in == NULL)
            return false;
        p->in = in;
        p->in_room = room;
    }
    len = recv(p->fd, p->in + p->in_len, p->in_room - p->in_len, MSG_DONTWAIT);
    if (len < 0)
        return errno == EAGAIN;
    p->ended = len == 0;
    p->in_len += (size_t)len;
    return true;
}

static void serve(struct peer *p, uint32_t events)
{
    ssize_t sent = 0;

    if ((events & EPOLLIN) != 0 && !p->ended && !receive(p)) {
        drop(p);
        return;
    }
    if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
        drop(p);
        return;
    }
    do {
        if (!answer_records(p)) {
            drop(p);
            return;
        }
        if (p->out_len == 0)
            break;
        sent = send(p->fd, p->out, p->out_len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) {
            drop(p);
            return;
        }
        if (sent > 0) {
            p->out_len -= (size_t)sent;
            memmove(p->out, p->out + sent, p->out_len);
        }
    } while (sent > 0);
    if (p->ended && p->out_len == 0)
        drop(p);
    else
        watch(p, p->fd, p->out_len > 0 ? EPOLLOUT : EPOLLIN, EPOLL_CTL_MOD);
}

static void accept_one(void)
{
    int fd = accept4(tcp, NULL, NULL, SOCK_CLOEXEC);
    struct peer *p;

    if (fd < 0) {
        full = errno == EMFILE || errno == ENFILE;
        if (full)
            epoll_ctl(epoll, EPOLL_CTL_DEL, tcp, NULL);
        return;
    }
    p = calloc(1, sizeof *p);
    if (p == NULL) {
        close(fd);
        return;
    }
    p->fd = fd;
    p->next = &peers;
    p->previous = peers.previous;
    p->previous->next = peers.previous = p;
    watch(p, fd, EPOLLIN, EPOLL_CTL_ADD);
}

static void serve_datagram(void)
{
    static unsigned char bytes[65536];
    unsigned char reply[CALC_REPLY_MAX];
    struct sockaddr_in from = {0};
    struct iovec part = {bytes, sizeof bytes};
    struct msghdr message = {
        .msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &part, .msg_iovlen = 1};
    ssize_t len = recvmsg(udp, &message, MSG_DONTWAIT);
    size_t reply_len;

    if (len < 0)
        return;
    reply_len = answer(bytes, (size_t)len,
                       (uint64_t)ntohl(from.sin_addr.s_addr) << 16 | ntohs(from.sin_port), reply);
    if (reply_len > 0)
        sendto(udp, reply, reply_len, MSG_DONTWAIT, (struct sockaddr *)&from, sizeof from);
}

/* ---- start and end ---- */

static int open_both(uint16_t port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t size = sizeof at;
    int on = 1;

    udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(udp, (struct sockaddr *)&at, size) == 0 &&
        getsockname(udp, (struct sockaddr *)&at, &size) == 0 &&
        bind(tcp, (struct sockaddr *)&at, size) == 0 && listen(tcp, 4096) == 0)
        return ntohs(at.sin_port);
    close(udp);
    close(tcp);
    return -1;
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = stop};
    struct epoll_event event = {.events = EPOLLIN};
    sigset_t ends, none;
    long wanted = 0;
    int port = -1;

    if (argc > 1)
        wanted = argc == 3 && strcmp(argv[1], "-p") == 0 ? calc_number(argv[2], 65535) : -1;
    if (wanted < 0) {
        fprintf(stderr, "usage: %s [-p PORT]\n", argv[0]);
        return 2;
    }
    sigemptyset(&none);
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL); /* and let in only while we wait */
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    for (int i = 0; port < 0 && i < (wanted == 0 ? 200 : 1); i++)
        port = open_both((uint16_t)wanted);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (port < 0 || epoll < 0) {
        fprintf(stderr, "calcd: port: %s\n", strerror(errno));
        return 1;
    }
    event.data.ptr = &udp;
    epoll_ctl(epoll, EPOLL_CTL_ADD, udp, &event);
    event.data.ptr = &tcp;
    epoll_ctl(epoll, EPOLL_CTL_ADD, tcp, &event);
    printf("listening on %d\n", port);
    fflush(stdout);

    while (!stopped) {
        struct epoll_event events[1]; /* one at a time: what it points to may go with another */

        if (epoll_pwait(epoll, events, 1, -1, &none) <= 0)
            continue;
        if (events[0].data.ptr == &udp)
            serve_datagram();
        else if (events[0].data.ptr == &tcp)
            accept_one();
        else
            serve(events[0].data.ptr, events[0].events);
    }
    full = false;
    while (peers.next != &peers)
        drop(peers.next);
    close(epoll);
    close(udp);
    close(tcp);
    return 0;
}
