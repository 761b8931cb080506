/* server.c - calcd, and what the grader's side does as its clients. */
#include "harness/trace.h"
#include "suites/rpc/peer/rpc.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LOOPBACK_2 = 0x7F000002, XID_ALIVE = 0x4E554C4C };

/* ---- its start and its end ---- */

static int port_told(struct program *p, const char *why)
{
    static const char wanted[] = "listening on ";
    const char *expected = text("calcd prints 'listening on PORT' and goes on running%s", why);
    size_t len;
    const char *line = program_read_line(p, 1, &len);
    EXPECT(line != NULL, expected, text("its output ended before a line (%s)", errors_shown(p)));
    char *end = NULL;
    long port = 0;
    if (len > sizeof wanted - 1 && memcmp(line, wanted, sizeof wanted - 1) == 0 &&
        line[sizeof wanted - 1] >= '1' && line[sizeof wanted - 1] <= '9')
        port = strtol(line + sizeof wanted - 1, &end, 10);
    EXPECT(end != NULL && *end == '\0' && port < 65536, expected,
           text("the line %s", quoted(line, len, 100)));
    return (int)port;
}

static struct server start(struct program *p)
{
    program_start(p);
    program_close_input(p);
    return (struct server){p, port_told(p, "")};
}

struct server calcd(const char *args)
{
    return start(command("calcd%s%s", *args != '\0' ? " " : "", args));
}

struct server calcd_checked(void)
{
    struct program *p = program_new("calcd");
    program_memcheck(p);
    return start(p);
}

/* The port and type of its socket `fd`, which has just been bound; 0: no socket of IPv4. */
static int port_of_its(struct program *p, int fd, int *type)
{
    struct sockaddr_in at = {0};
    socklen_t len = sizeof at, size = sizeof *type;
    int pidfd = (int)syscall(SYS_pidfd_open, program_pid(p), 0);
    int ours = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
    if (ours >= 0 && (getsockname(ours, (struct sockaddr *)&at, &len) != 0 ||
                      getsockopt(ours, SOL_SOCKET, SO_TYPE, type, &size) != 0))
        at.sin_port = 0;
    close(ours);
    close(pidfd);
    return at.sin_family == AF_INET ? ntohs(at.sin_port) : 0;
}

static bool take_port(int port, int type)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0); /* ours until the worker ends */
    return fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0 &&
           (type != SOCK_STREAM || listen(fd, 1) == 0);
}

bool calcd_without_port(struct server *s, int *taken)
{
    enum { SLEEPS_MS = 1000 };
    struct trace_stop stop;
    int type = 0, fd = -1;
    struct program *p = program_new("calcd");
    bool held = trace_start(p);
    *taken = 0;
    while (held && *taken == 0 && trace_next(&stop, SLEEPS_MS)) {
        if (stop.number == SYS_bind && !stop.leaves)
            fd = (int)stop.arguments[0];
        else if (stop.number == SYS_bind && stop.result == 0)
            *taken = port_of_its(p, fd, &type);
    }
    bool forced = *taken != 0 && take_port(*taken, type == SOCK_STREAM ? SOCK_DGRAM : SOCK_STREAM);
    if (held)
        trace_end();
    if (forced)
        test_note("> the same port of the other protocol is taken, before calcd can have it");
    *s = (struct server){
        p, port_told(p, forced ? ", though its first port is taken for UDP or TCP" : "")};
    return forced;
}

void calcd_end(const struct server *s)
{
    program_signal(s->p, SIGTERM);
    expect_status(s->p, 0, "SIGTERM ends calcd cleanly");
}

/* ---- connections ---- */

struct endpoint *connection(const struct server *s, const char *name)
{
    return net_connect(AF_INET, s->port, name);
}

struct endpoint *connection_elsewhere(const struct server *s)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)s->port)};
    to.sin_addr.s_addr = htonl(LOOPBACK_2);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        suite_failed("no socket for", "a connection");
    EXPECT(connect(fd, (struct sockaddr *)&to, sizeof to) == 0,
           "calcd listens at all IPv4 addresses of its machine: a client connects to "
           "127.0.0.2",
           text("no connection: %s", strerror(errno)));
    struct endpoint *e = endpoint_writer(dup(fd), "a client of 127.0.0.2, sending");
    struct wire call = call_null(XID_ALIVE), want = reply_begin(XID_ALIVE);
    record_send(e, &call);
    e = endpoint_reader(fd, "a client of 127.0.0.2");
    expect_record(e, &want, "the reply to NULL, called at 127.0.0.2");
    return e;
}

struct endpoint *narrow_connection(const struct server *s)
{
    return net_connect_narrow(AF_INET, s->port, "the client that does not read");
}

void expect_alive(const struct server *s, const char *when)
{
    struct endpoint *e = connection(s, "a new client");
    struct wire call = call_null(XID_ALIVE), want = reply_begin(XID_ALIVE);
    record_send(e, &call);
    expect_record(e, &want, text("calcd lives and answers a NULL call: %s", when));
    endpoint_close(e);
}

bool alive_or_closed(struct endpoint *e, uint32_t xid, const char *when)
{
    struct wire call = call_null(xid), want = reply_begin(xid), got;
    if (!endpoint_is_gone(e))
        record_send(e, &call);
    const char *what = text("%s: the next reply is the one to the NULL call behind it, or the "
                            "connection is closed",
                            when);
    if (record_read(e, &got, what)) {
        expect_reply(&got, &want, what);
        return true;
    }
    size_t left;
    const char *rest = endpoint_peek(e, &left);
    EXPECT(left == 0, what, text("the bytes %s, and then the end", hex(rest, left)));
    return false;
}

void total_moves(int port, struct random *r, int64_t *total)
{
    enum { VALUE = 8 };
    int64_t number = between(r, 1, 1000000);
    struct endpoint *e = net_connect(AF_INET, port, "a client of the test's own");
    struct wire call = call_accumulate((uint32_t)random_u64(r), number), want, got;
    answer_to(call.bytes, call.len, total, &want);
    const char *what = text("the total is %lld for all clients, after %s by a client of the test's "
                            "own",
                            (long long)*total, described(&call));
    record_send(e, &call);
    if (!record_read(e, &got, what))
        test_fail(what, "the connection has ended before the reply");
    EXPECT(got.len >= VALUE &&
               memcmp(got.bytes + got.len - VALUE, want.bytes + want.len - VALUE, VALUE) == 0,
           what, hex(got.bytes, got.len));
    endpoint_close(e);
}

/* ---- datagrams ---- */

struct wire wire_of(const struct datagram *d)
{
    struct wire w = {.len = 0};
    EXPECT(d->len <= WIRE_MAX, "a datagram of this lab", text("one of %zu bytes", d->len));
    put_bytes(&w, d->bytes, d->len);
    return w;
}

static void answered(struct endpoint *e, const struct server *s, const struct wire *call,
                     int64_t *total, const char *what)
{
    struct wire want;
    if (!answer_to(call->bytes, call->len, total, &want))
        suite_failed("this is no call:", hex(call->bytes, call->len));
    net_send_to(e, s->port, call->bytes, call->len);
    const struct datagram *d = net_receive(e, what);
    struct wire got = wire_of(d);
    expect_reply(&got, &want, what);
    EXPECT(d->port == s->port, text("%s: from the port that was called, %d", what, s->port),
           text("from port %d", d->port));
}

void expect_answered(struct endpoint *e, const struct server *s, const struct wire *call,
                     int64_t *total)
{
    answered(e, s, call, total, text("the reply to %s, called over UDP", described(call)));
}

void expect_executed(struct endpoint *e, const struct server *s, const struct wire *call,
                     int64_t *total, const char *why)
{
    answered(
        e, s, call, total,
        text("the reply to %s, called over UDP: it is executed, since %s", described(call), why));
}

/* ---- what it costs ---- */

long memory_kb(const struct server *s)
{
    wait_quiet(s->p, "calcd waits for its clients"); /* who is about to end has ended */
    return process_family_peak_kb(program_pid(s->p));
}

void expect_memory(const struct server *s, long before, long limit_kb, const char *what)
{
    long grown = memory_kb(s) - before;
    EXPECT(grown <= limit_kb,
           text("%s: calcd's memory grows by no more than %ld KiB", what, limit_kb),
           text("it grew by %ld KiB", grown));
}

/* ---- datagrams in bulk ---- */

struct bulk {
    int fd;
    uint32_t sync_xid;
    struct wire out[BULK_MAX], in[BULK_MAX];
    size_t waiting; /* in `out`, not sent yet */
    struct iovec parts[BULK_MAX];
    struct mmsghdr messages[BULK_MAX]; /* of `out` or of `in` */
};

struct bulk *bulk_open(const struct server *s)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)s->port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct bulk *b = calloc(1, sizeof *b);
    if (b == NULL)
        suite_failed("no memory for", "datagrams");
    b->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (b->fd < 0 || connect(b->fd, (struct sockaddr *)&to, sizeof to) != 0)
        suite_failed("no socket for", "datagrams");
    b->sync_xid = 0xF0000000u;
    return b; /* lives until the worker ends */
}

/* All that waits goes with one call of the system. */
static void flush(struct bulk *b)
{
    size_t sent = 0;
    for (size_t i = 0; i < b->waiting; i++) {
        b->parts[i] = (struct iovec){b->out[i].bytes, b->out[i].len};
        b->messages[i].msg_hdr = (struct msghdr){.msg_iov = &b->parts[i], .msg_iovlen = 1};
    }
    while (sent < b->waiting) {
        int n = sendmmsg(b->fd, b->messages + sent, (unsigned)(b->waiting - sent), 0);
        if (n < 0 && errno != ECONNREFUSED) /* that was about an earlier one */
            suite_failed("cannot send", "datagrams");
        sent += n > 0 ? (size_t)n : 0;
    }
    b->waiting = 0;
}

void bulk_send(struct bulk *b, const struct wire *call)
{
    if (b->waiting == BULK_MAX)
        flush(b);
    b->out[b->waiting].len = 0;
    put_bytes(&b->out[b->waiting++], call->bytes, call->len);
}

/* How many have come, into `in`. */
static size_t receive(struct bulk *b)
{
    for (size_t i = 0; i < BULK_MAX; i++) {
        b->parts[i] = (struct iovec){b->in[i].bytes, sizeof b->in[i].bytes};
        b->messages[i].msg_hdr = (struct msghdr){.msg_iov = &b->parts[i], .msg_iovlen = 1};
    }
    int n = recvmmsg(b->fd, b->messages, BULK_MAX, 0, NULL);
    for (int i = 0; i < n; i++)
        b->in[i].len = b->messages[i].msg_len;
    return n > 0 ? (size_t)n : 0;
}

static bool is_readable(void *context)
{
    struct pollfd fd = {.fd = ((const struct bulk *)context)->fd, .events = POLLIN};
    return poll(&fd, 1, 0) == 1;
}

void bulk_collect(struct bulk *b, struct wire *replies, size_t count, bulk_what *what,
                  void *context)
{
    struct wire call = call_null(++b->sync_xid), null = reply_begin(b->sync_xid);
    size_t come = 0;
    bool synced = false;
    bulk_send(b, &call);
    flush(b);
    while (come < count || !synced) {
        size_t n = receive(b);
        if (n == 0)
            wait_until(is_readable, b, what(replies, come, context));
        for (size_t i = 0; i < n; i++) {
            const struct wire *got = &b->in[i];
            if (got->len >= 4 && get_u32(got->bytes) == b->sync_xid) {
                expect_reply(got, &null, what(replies, come, context));
                synced = true;
                continue;
            }
            EXPECT(come < count, what(replies, come, context),
                   text("a reply too many: %s", hex(got->bytes, got->len)));
            replies[come].len = 0;
            put_bytes(&replies[come++], got->bytes, got->len);
        }
    }
}
