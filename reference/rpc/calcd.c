/*
 * calcd.c - the calculator's server: a daemon that listens to a port, takes calls apart, executes
 * them, and sends each result in a message of its own.
 *
 *     calcd [-p PORT]
 *
 * What it teaches: the server half of a remote procedure call. The stub unmarshals the arguments,
 * calls an ordinary C function and marshals its result; the dispatcher finds that function by
 * three numbers in the message (program, version, procedure). Around it stands what no local call
 * needs: callers who send nonsense, half a message or none, who do not read, who die; messages
 * that come in pieces (TCP), or twice (UDP), though an ACCUMULATE must be executed once.
 */
#define _GNU_SOURCE
#include "calc.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>
#ifndef STARTER

enum {
    PORT_TRIES = 1000,     /* for one that is free both for UDP and TCP */
    REMEMBERED_MAX = 1024, /* calls */
    READ_MAX = 65536,      /* bytes at a time; a datagram has no more */
    DATAGRAMS_MAX = 64,    /* in a row, then it's the connections' turn */
    UNREAD_MAX = 65536,    /* bytes of replies, and we read no more calls of this client */
};
#endif

/* ---- Step 2: the procedures ---- */

static int64_t total; /* of ACCUMULATE: one for all clients */

/* ADD, SUB, MUL and DIV. What the machine can't hold is CALC_OVERFLOW, and never wraps around. */
static struct calc_result calculate(uint32_t procedure, const struct calc_args *args)
{
    struct calc_result result = {.status = CALC_OK};
#ifdef STARTER
    /* Your code goes here. */
    (void)procedure, (void)args;
#else
    int64_t a = args->a, b = args->b;
    bool overflow = false;

    if (procedure == CALC_ADD) {
        overflow = __builtin_add_overflow(a, b, &result.value);
    } else if (procedure == CALC_SUB) {
        overflow = __builtin_sub_overflow(a, b, &result.value);
    } else if (procedure == CALC_MUL) {
        overflow = __builtin_mul_overflow(a, b, &result.value);
    } else if (b == 0) {
        result.status = CALC_DIVIDE_BY_ZERO;
    } else if (a == INT64_MIN && b == -1) {
        overflow = true; /* the only one that division has; the processor would kill us for it */
    } else {
        result.value = a / b;
    }
    if (overflow)
        result.status = CALC_OVERFLOW;
#endif
    return result;
}

/* From the first to the last; the first partial sum that is too large ends it. */
static struct calc_result sum(const struct calc_vector *vector)
{
    struct calc_result result = {.status = CALC_OK};
#ifdef STARTER
    /* Your code goes here. */
    (void)vector;
#else

    for (uint32_t i = 0; i < vector->len; i++) {
        if (__builtin_add_overflow(result.value, vector->values[i], &result.value)) {
            result.status = CALC_OVERFLOW;
            break;
        }
    }
#endif
    return result;
}

/* Adds to the total and returns the new one. An overflow leaves it as it was. */
static struct calc_result accumulate(int64_t number)
{
#ifdef STARTER
    struct calc_result result = {.status = CALC_OK};

    /* Your code goes here. */
    (void)number, (void)total;
#else
    struct calc_args args = {total, number};
    struct calc_result result = calculate(CALC_ADD, &args);

    if (result.status == CALC_OK)
        total = result.value;
#endif
    return result;
}

/* ---- Steps 1 to 3: from a message to a procedure and back ---- */

/* The header of a call, as far as it matters here. */
struct call {
    uint32_t xid, program, version, procedure;
};

/* What can be said of a message by its header. */
enum header {
    NO_CALL,  /* there is no answer to it */
    MISMATCH, /* a call, of another version of RPC: only call->xid is known */
    RIGHT_CALL,
};

/* Reads a call's header, credentials and verifier too; then its arguments are next. */
static enum header get_header(struct xdr_in *in, struct call *call)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)in, (void)call;
    return NO_CALL;
#else
    uint32_t type, rpc_version, flavor;

    if (!xdr_get_uint(in, &call->xid) || !xdr_get_uint(in, &type) ||
        !xdr_get_uint(in, &rpc_version) || type != RPC_CALL)
        return NO_CALL;
    if (rpc_version != RPC_VERSION)
        return MISMATCH; /* who knows what else looks different there */
    if (!xdr_get_uint(in, &call->program) || !xdr_get_uint(in, &call->version) ||
        !xdr_get_uint(in, &call->procedure))
        return NO_CALL;
    for (int i = 0; i < 2; i++) {
        if (!xdr_get_uint(in, &flavor) || !xdr_skip_opaque(in, RPC_AUTH_MAX))
            return NO_CALL;
    }
    return RIGHT_CALL;
#endif
}
#ifndef STARTER

static void put_denied(struct xdr_out *reply, uint32_t xid)
{
    xdr_put_uint(reply, xid);
    xdr_put_uint(reply, RPC_REPLY);
    xdr_put_uint(reply, RPC_DENIED);
    xdr_put_uint(reply, RPC_MISMATCH);
    xdr_put_uint(reply, RPC_VERSION); /* the lowest that we know */
    xdr_put_uint(reply, RPC_VERSION); /* and the highest */
}

static void put_accepted(struct xdr_out *reply, uint32_t xid, enum rpc_accept_stat stat)
{
    xdr_put_uint(reply, xid);
    xdr_put_uint(reply, RPC_REPLY);
    xdr_put_uint(reply, RPC_ACCEPTED);
    xdr_put_uint(reply, RPC_AUTH_NONE); /* our verifier: this flavour, */
    xdr_put_uint(reply, 0);             /* no bytes */
    xdr_put_uint(reply, stat);
}
#endif

/*
 * The server stub: reads the arguments of a procedure, calls it, and writes its whole reply.
 * Arguments that can't be decoded are GARBAGE_ARGS, and nothing is executed. Returns whether
 * something was.
 */
static bool execute(const struct call *call, struct xdr_in *in, struct xdr_out *reply)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)call, (void)in, (void)reply;
    (void)calculate, (void)sum, (void)accumulate;
    return false;
#else
    static struct calc_vector vector; /* too large for a stack that others count on */
    struct calc_args args;
    struct calc_result result;
    int64_t number;
    bool decoded = true;

    if (call->procedure == CALC_SUM) {
        if ((decoded = xdr_get_vector(in, &vector)))
            result = sum(&vector);
    } else if (call->procedure == CALC_ACCUMULATE) {
        if ((decoded = xdr_get_hyper(in, &number)))
            result = accumulate(number);
    } else if (call->procedure != CALC_NULL) {
        if ((decoded = xdr_get_args(in, &args)))
            result = calculate(call->procedure, &args);
    }
    put_accepted(reply, call->xid, decoded ? RPC_SUCCESS : RPC_GARBAGE_ARGS);
    if (decoded && call->procedure != CALC_NULL)
        xdr_put_result(reply, &result);
    return decoded;
#endif
}

/* ---- Step 6: at most once ---- */
#ifndef STARTER

/* A call that came by UDP and was executed, and what was answered. */
struct remembered {
    struct sockaddr_in caller;
    uint32_t xid, procedure;
    size_t len; /* of the reply; 0: a place that was never used */
    unsigned char reply[CALC_REPLY_MAX];
};

static struct remembered memory[REMEMBERED_MAX]; /* a ring: call number n is at n % MAX */
static size_t executed;                          /* calls by UDP so far */
#endif

/*
 * The reply to a call that this caller has made before (same address and port, xid and procedure),
 * written to `reply`. false: we do not know of such a call.
 */
static bool recall(const struct sockaddr_in *caller, const struct call *call, struct xdr_out *reply)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)caller, (void)call, (void)reply;
#else
    /* One after the other: a thousand looks cost less than the two system calls of a datagram. */
    for (size_t i = 0; i < REMEMBERED_MAX; i++) {
        const struct remembered *r = &memory[i];

        if (r->len > 0 && r->xid == call->xid && r->procedure == call->procedure &&
            r->caller.sin_port == caller->sin_port &&
            r->caller.sin_addr.s_addr == caller->sin_addr.s_addr) {
            memcpy(reply->bytes, r->reply, r->len);
            reply->len = r->len;
            return true;
        }
    }
#endif
    return false;
}

/* Keeps the reply to a call, in place of the oldest one. */
static void remember(const struct sockaddr_in *caller, const struct call *call,
                     const struct xdr_out *reply)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)caller, (void)call, (void)reply;
#else
    struct remembered *r = &memory[executed++ % REMEMBERED_MAX];

    r->caller = *caller;
    r->xid = call->xid;
    r->procedure = call->procedure;
    r->len = reply->len;
    memcpy(r->reply, reply->bytes, reply->len);
#endif
}

/* ---- Steps 1 to 3: the dispatcher ---- */

/*
 * Answers one message, whole as it came: `reply` is empty and has room for CALC_REPLY_MAX bytes.
 * `caller` is who sent the datagram, or NULL over TCP, where nothing is ever sent twice. Returns
 * false when there is nothing to be answered, since the message is no call.
 */
static bool answer(struct xdr_in in, const struct sockaddr_in *caller, struct xdr_out *reply)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)in, (void)caller, (void)reply;
    (void)get_header, (void)execute, (void)recall, (void)remember;
    return false;
#else
    struct call call;
    enum header header = get_header(&in, &call);

    if (header == NO_CALL)
        return false;
    if (header == MISMATCH) {
        put_denied(reply, call.xid);
    } else if (call.program != CALC_PROG) {
        put_accepted(reply, call.xid, RPC_PROG_UNAVAIL);
    } else if (call.version != CALC_VERS) {
        put_accepted(reply, call.xid, RPC_PROG_MISMATCH);
        xdr_put_uint(reply, CALC_VERS); /* the lowest that we have */
        xdr_put_uint(reply, CALC_VERS); /* and the highest */
    } else if (call.procedure > CALC_ACCUMULATE) {
        put_accepted(reply, call.xid, RPC_PROC_UNAVAIL);
    } else if (caller == NULL) {
        execute(&call, &in, reply);
    } else if (!recall(caller, &call, reply) && execute(&call, &in, reply)) {
        remember(caller, &call, reply);
    }
    return true;
#endif
}

/* ---- Step 6: datagrams ---- */

/*
 * Answers the datagrams that are there: each is a message. Does not wait, neither for a datagram
 * nor to send a reply: one that can't go out now is lost, as any datagram may be.
 */
static void serve_datagrams(int udp)
{
#ifdef STARTER
    /* Your code goes here: recvfrom(), answer(), sendto(). */
    (void)udp;
    (void)answer;
#else
    static unsigned char bytes[READ_MAX];
    unsigned char reply_bytes[CALC_REPLY_MAX];

    for (int i = 0; i < DATAGRAMS_MAX; i++) {
        struct sockaddr_in caller = {0};
        socklen_t size = sizeof caller;
        struct xdr_out reply = {.bytes = reply_bytes};
        ssize_t len = recvfrom(udp, bytes, sizeof bytes, 0, (struct sockaddr *)&caller, &size);

        if (len < 0)
            return;
        if (answer((struct xdr_in){bytes, (size_t)len}, &caller, &reply))
            sendto(udp, reply.bytes, reply.len, 0, (struct sockaddr *)&caller, sizeof caller);
    }
#endif
}

/* ---- Steps 1 and 4: records ---- */
#ifndef STARTER

/* Bytes that grow. */
struct buffer {
    unsigned char *bytes;
    size_t len, room;
};

/* false: no memory. */
static bool append(struct buffer *buffer, const unsigned char *bytes, size_t len)
{
    if (buffer->room - buffer->len < len) {
        size_t room = (buffer->len + len) * 2;
        unsigned char *grown = realloc(buffer->bytes, room);

        if (grown == NULL)
            return false;
        buffer->bytes = grown;
        buffer->room = room;
    }
    if (len > 0)
        memcpy(buffer->bytes + buffer->len, bytes, len);
    buffer->len += len;
    return true;
}
#endif

/* A client's connection, and how far we are with what comes through it. */
struct connection {
    int fd;
#ifdef STARTER
    /* Add what you need: bytes come as they like, and not record by record. */
#else
    bool ended;            /* the client sends no more; it may still read */
    unsigned char mark[4]; /* of the fragment that is coming */
    size_t mark_len;       /* bytes of it that are here */
    uint32_t left;         /* bytes of that fragment that are not here yet */
    bool last;             /* it ends the record */
    struct buffer record;  /* what is here of the record, without marks */
    struct buffer replies; /* what the client has not taken yet */
#endif
};
#ifndef STARTER

/* A record is whole: its reply, if there is one, goes out as a record of one fragment. */
static bool answer_record(struct connection *c)
{
    unsigned char bytes[4 + CALC_REPLY_MAX];
    struct xdr_out mark = {.bytes = bytes}, reply = {.bytes = bytes + 4};
    bool right = true;

    if (answer((struct xdr_in){c->record.bytes, c->record.len}, NULL, &reply)) {
        xdr_put_uint(&mark, RECORD_LAST | (uint32_t)reply.len);
        right = append(&c->replies, bytes, 4 + reply.len);
    }
    c->record.len = 0;
    return right;
}
#endif

/*
 * Takes the bytes that have come next through a connection, `len` of them, wherever they begin and
 * end, and answers the records that are complete by them. false: the connection is to be closed,
 * since a record is too long.
 */
static bool feed(struct connection *c, const unsigned char *bytes, size_t len)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)c, (void)bytes, (void)len;
    return false;
#else
    while (len > 0) {
        if (c->mark_len < 4) {
            struct xdr_in in = {c->mark, 4};

            c->mark[c->mark_len++] = *bytes++;
            len--;
            if (c->mark_len < 4 || !xdr_get_uint(&in, &c->left))
                continue;
            c->last = (c->left & RECORD_LAST) != 0;
            c->left &= ~RECORD_LAST;
            if (c->left > RECORD_MAX - c->record.len)
                return false;
        } else {
            size_t part = len < c->left ? len : c->left;

            if (!append(&c->record, bytes, part))
                return false;
            bytes += part;
            len -= part;
            c->left -= (uint32_t)part;
        }
        if (c->left == 0) { /* the fragment is whole; one without bytes is so behind its mark */
            c->mark_len = 0;
            if (c->last && !answer_record(c))
                return false;
        }
    }
    return true;
#endif
}
#ifndef STARTER

/* Reads what there is, once. false: the connection is to be closed. */
static bool receive(struct connection *c)
{
    static unsigned char bytes[READ_MAX];
    ssize_t len = recv(c->fd, bytes, sizeof bytes, 0);

    if (len > 0)
        return feed(c, bytes, (size_t)len);
    if (len == 0)
        c->ended = true;
    return len == 0 || errno == EAGAIN || errno == EINTR;
}

/* Sends what the client takes now. false: the connection is to be closed. */
static bool send_replies(struct connection *c)
{
    ssize_t sent;

    if (c->replies.len > 0) {
        /* Who has gone is found out by EPIPE, and not by the signal that would end us all. */
        sent = send(c->fd, c->replies.bytes, c->replies.len, MSG_NOSIGNAL);
        if (sent < 0)
            return errno == EAGAIN || errno == EINTR;
        c->replies.len -= (size_t)sent;
        memmove(c->replies.bytes, c->replies.bytes + sent, c->replies.len);
    }
    return !c->ended || c->replies.len > 0;
}

/*
 * What we wait for. Of one who does not take replies we read no more calls: then its own sends come
 * to a stop, and we keep a bounded number of bytes for it.
 */
static short wanted(const struct connection *c)
{
    return (short)((!c->ended && c->replies.len < UNREAD_MAX ? POLLIN : 0) |
                   (c->replies.len > 0 ? POLLOUT : 0));
}

/* Does what is possible now. false: the connection is to be closed. */
static bool serve_connection(struct connection *c, short events)
{
    if ((events & POLLIN) != 0 && !receive(c))
        return false;
    /* Both directions have gone: nobody will take a reply. (Who only shut down sending has not.) */
    if ((events & (POLLERR | POLLHUP)) != 0)
        return false;
    return send_replies(c);
}

static void close_connection(struct connection *c)
{
    close(c->fd);
    free(c->record.bytes);
    free(c->replies.bytes);
}

/* ---- Steps 1 and 8: all clients at once ---- */

/* Descriptors that are watched: these three, then the connections, each beside its state. */
enum { SIGNALS, UDP, LISTENER, FIRST };

struct server {
    struct pollfd *watched;         /* FIRST + room of them */
    struct connection *connections; /* connections[i] is at watched[FIRST + i] */
    size_t count, room;
};

/* Makes room for one more connection. false: no memory. */
static bool make_room(struct server *s)
{
    size_t room = s->room == 0 ? 16 : s->room * 2;
    struct pollfd *watched;
    struct connection *connections;

    if (s->count < s->room)
        return true;
    watched = realloc(s->watched, (FIRST + room) * sizeof *watched);
    if (watched == NULL)
        return false;
    s->watched = watched;
    connections = realloc(s->connections, room * sizeof *connections);
    if (connections == NULL)
        return false;
    s->connections = connections;
    s->room = room;
    return true;
}

/* Takes one client in. When there are no descriptors left, nobody is let in until one goes. */
static void let_in(struct server *s)
{
    int fd = -1, on = 1;

    if (make_room(s))
        fd = accept4(s->watched[LISTENER].fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        /* A reply is not to wait until the one before it has been acknowledged. */
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        s->connections[s->count] = (struct connection){.fd = fd};
        s->watched[FIRST + s->count] = (struct pollfd){.fd = fd};
        s->count++;
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        s->watched[LISTENER].events = 0; /* else poll() would return at once, again and again */
    }
}

/* Lets a client go; the last one takes its place. */
static void let_go(struct server *s, size_t i)
{
    close_connection(&s->connections[i]);
    s->count--;
    s->connections[i] = s->connections[s->count];
    s->watched[FIRST + i] = s->watched[FIRST + s->count];
    s->watched[LISTENER].events = POLLIN;
}

/* Serves everybody until SIGTERM or SIGINT. Returns the exit status. */
static int serve(struct server *s)
{
    while (s->watched[SIGNALS].revents == 0) {
        for (size_t i = 0; i < s->count; i++)
            s->watched[FIRST + i].events = wanted(&s->connections[i]);
        if (poll(s->watched, FIRST + s->count, -1) < 0 && errno != EINTR) {
            fprintf(stderr, "calcd: poll: %s\n", strerror(errno));
            return 1;
        }
        if (s->watched[UDP].revents != 0)
            serve_datagrams(s->watched[UDP].fd);
        for (size_t i = s->count; i-- > 0;) { /* backwards: let_go() moves the last one */
            short events = s->watched[FIRST + i].revents;

            if (events != 0 && !serve_connection(&s->connections[i], events))
                let_go(s, i);
        }
        if (s->watched[LISTENER].revents != 0)
            let_in(s);
    }
    return 0;
}
#endif

/* ---- Step 1: a port ---- */
#ifndef STARTER

/* A socket of our own at `port` of all IPv4 addresses. -1, and errno. */
static int open_socket(int type, int port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_ANY)}};
    int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1, error;

    if (fd < 0)
        return -1;
    /* A port of connections that have just ended may be used again. Not for UDP: there it would
     * let two servers share a port. */
    if (type == SOCK_STREAM)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        (type != SOCK_STREAM || listen(fd, SOMAXCONN) == 0))
        return fd;
    error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* The port that a socket has got. */
static int port_of(int fd)
{
    struct sockaddr_in address = {0};
    socklen_t size = sizeof address;

    getsockname(fd, (struct sockaddr *)&address, &size);
    return ntohs(address.sin_port);
}
#endif

/*
 * Opens two sockets at the same port of all IPv4 addresses: *udp, and *listener, which listens for
 * TCP. `port` 0: one that is free for both. Returns the port; -1, and errno, when that fails: then
 * nothing is left open.
 */
static int open_port(int port, int *udp, int *listener)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)port, (void)udp, (void)listener;
    errno = ENOSYS;
    return -1;
#else
    int error;

    for (int i = 0; i < (port == 0 ? PORT_TRIES : 1); i++) {
        *udp = open_socket(SOCK_DGRAM, port);
        if (*udp < 0)
            return -1;
        *listener = open_socket(SOCK_STREAM, port_of(*udp));
        if (*listener >= 0)
            return port_of(*udp);
        error = errno;
        close(*udp);
        errno = error;
        if (error != EADDRINUSE)
            return -1;
    }
    return -1;
#endif
}

/* ---- The command line ---- */

int main(int argc, char **argv)
{
    int port = 0, udp = -1, listener = -1;
#ifndef STARTER
    struct server server = {0};
    sigset_t ends;
    int signals, result = 1;
#endif

    if (argc == 3 && strcmp(argv[1], "-p") == 0)
        port = (int)calc_number(argv[2], 65535);
    if ((argc != 1 && argc != 3) || (argc == 3 && strcmp(argv[1], "-p") != 0) || port < 0) {
        fputs("usage: calcd [-p PORT]\n", stderr);
        return 2;
    }
#ifdef STARTER
    port = open_port(port, &udp, &listener);
    if (port < 0) {
        fprintf(stderr, "calcd: port: %s\n", strerror(errno));
        return 1;
    }
    (void)udp, (void)listener;
    (void)feed, (void)serve_datagrams;
    /*
     * Your code goes here: print the port, then serve both sockets until SIGTERM or SIGINT comes.
     * (For step 1 one connection is enough: accept(), recv() and feed() in a loop.)
     */
    fputs("calcd: not written yet\n", stderr);
    return 1;
#else

    /* Both signals become something to read, that poll() sees beside the sockets: so none is lost
     * between a look and a wait. From here on, since whoever has read our line may send one. */
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    signals = signalfd(-1, &ends, SFD_CLOEXEC);
    port = open_port(port, &udp, &listener);
    server.watched = calloc(FIRST, sizeof *server.watched);
    if (signals < 0 || port < 0 || server.watched == NULL) {
        fprintf(stderr, "calcd: port: %s\n", strerror(errno));
        return 1;
    }
    server.watched[SIGNALS] = (struct pollfd){.fd = signals, .events = POLLIN};
    server.watched[UDP] = (struct pollfd){.fd = udp, .events = POLLIN};
    server.watched[LISTENER] = (struct pollfd){.fd = listener, .events = POLLIN};
    if (printf("listening on %d\n", port) < 0 || fflush(stdout) != 0)
        fprintf(stderr, "calcd: stdout: %s\n", strerror(errno));
    else
        result = serve(&server);

    while (server.count > 0)
        let_go(&server, server.count - 1);
    free(server.watched);
    free(server.connections);
    close(signals);
    close(udp);
    close(listener);
    return result;
#endif
}
