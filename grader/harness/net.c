/* net.c - the suite's own ends that are sockets: connections, listeners, datagrams. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness/endpoint.h"
#include "harness/internal.h"
#include "harness/observe.h"
#include "harness/test.h"
#include "support/ipv6.h"

enum {
    BACKLOG = 1024,
    DATAGRAM_MAX = 65536,
    DATAGRAMS_KEPT = 16 << 20,
    A_ROUND = 64,
    PORTS = 1 << 16
};

/* ---- addresses ---- */

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static socklen_t loopback(union address *a, int family, int port)
{
    memset(a, 0, sizeof *a);
    if (family == AF_INET6) {
        a->v6 = (struct sockaddr_in6){.sin6_family = AF_INET6,
                                      .sin6_port = htons((uint16_t)port),
                                      .sin6_addr = IN6ADDR_LOOPBACK_INIT};
        return sizeof a->v6;
    }
    a->v4 = (struct sockaddr_in){.sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return sizeof a->v4;
}

static int port_of(const union address *a)
{
    return ntohs(a->any.sa_family == AF_INET6 ? a->v6.sin6_port : a->v4.sin_port);
}

static int own_port(int fd)
{
    union address a = {0};
    socklen_t len = sizeof a;
    if (getsockname(fd, &a.any, &len) != 0)
        test_broken("getsockname: %s", strerror(errno));
    return port_of(&a);
}

static int open_socket(int family, int type, const char *name)
{
    int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        test_broken("no socket for %s: %s", name, strerror(errno));
    return fd;
}

static int open_bound(int family, int type, const char *name)
{
    union address a;
    int fd = open_socket(family, type, name);
    if (bind(fd, &a.any, loopback(&a, family, 0)) != 0)
        test_broken("no port for %s: %s", name, strerror(errno));
    return fd;
}

bool net_has_ipv6(void)
{
    return ipv6_fault() == 0;
}

static struct endpoint *add_socket(enum endpoint_kind kind, int fd, const char *name)
{
    struct endpoint *e = endpoint_add(kind, fd, name);
    e->fd = fd;
    e->port = own_port(fd);
    return e;
}

int endpoint_port(const struct endpoint *e)
{
    return e->port;
}

/* ---- connections ---- */

static struct endpoint *add_connection(int fd, const char *name)
{
    struct endpoint *e = add_socket(ENDPOINT_STREAM, fd, name);
    int on = 1;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
        test_broken("%s: no TCP_NODELAY: %s", name, strerror(errno));
    e->in.fd = e->out.fd = fd;
    e->in.shared = e->out.shared = true;
    return e;
}

static bool is_decided(void *context)
{
    struct pollfd fd = {.fd = *(const int *)context, .events = POLLOUT};
    return poll(&fd, 1, 0) == 1;
}

/* The segments that we announce decide how large the other side's system makes its send buffer. */
static void make_narrow(int fd, const char *name)
{
    const int receive_bytes = 4096, segment_bytes = 536;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment_bytes, sizeof segment_bytes) != 0)
        test_broken("no small buffer for %s: %s", name, strerror(errno));
}

/* NULL: refused. */
static struct endpoint *connect_to(int family, int port, bool narrow, const char *name)
{
    union address a;
    socklen_t len = loopback(&a, family, port);
    int fd = open_socket(family, SOCK_STREAM, name), fault = 0;
    socklen_t fault_len = sizeof fault;
    if (narrow)
        make_narrow(fd, name);
    if (connect(fd, &a.any, len) != 0) {
        fault = errno;
        if (fault == EINPROGRESS) {
            wait_until(is_decided, &fd, text("the connection of %s is taken", name));
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &fault, &fault_len);
        }
    }
    if (fault == 0) {
        test_note("> %s: connected", name);
        return add_connection(fd, name);
    }
    close_fd(&fd);
    if (fault != ECONNREFUSED && fault != ECONNRESET)
        test_broken("%s: no connection: %s", name, strerror(fault));
    return NULL;
}

struct endpoint *net_try_connect(int family, int port, const char *name)
{
    return connect_to(family, port, false, name);
}

static struct endpoint *must_connect(struct endpoint *e, int port, const char *name)
{
    if (e == NULL)
        test_fail(text("%s can connect to the port", name),
                  text("nobody listens there (port %d): the connection was refused\n%s", port,
                       describe_waiting()));
    return e;
}

struct endpoint *net_connect(int family, int port, const char *name)
{
    return must_connect(connect_to(family, port, false, name), port, name);
}

struct endpoint *net_connect_narrow(int family, int port, const char *name)
{
    return must_connect(connect_to(family, port, true, name), port, name);
}

bool net_is_acknowledged(const struct endpoint *e)
{
    int unsent = 0;
    return e->in.first == NULL && ioctl(e->fd, SIOCOUTQ, &unsent) == 0 && unsent == 0;
}

/* ---- under way ---- */

/* The ports at which we read whatever comes: [port]. false: at none. */
static bool reading_ports(bool *reading)
{
    bool any = false;
    memset(reading, 0, PORTS * sizeof *reading);
    for (const struct endpoint *e = harness.endpoints; e != NULL; e = e->next)
        if (e->out.shared && e->fd >= 0 && output_is_watched(&e->out))
            reading[e->port] = any = true;
    return any;
}

/* proc_net_tcp(5): "0: 0100007F:07E8 0100007F:9C40 01 TX:RX ...", in hexadecimal. */
static bool sends_to(const char *path, const bool *reading)
{
    char line[512];
    bool found = false;
    FILE *f = fopen(path, "re");
    while (f != NULL && !found && fgets(line, sizeof line, f) != NULL) {
        unsigned port, waiting;
        found = sscanf(line, " %*d: %*[0-9A-F]:%*x %*[0-9A-F]:%x %*x %x:", &port, &waiting) == 2 &&
                port < PORTS && reading[port] && waiting > 0;
    }
    if (f != NULL)
        fclose(f);
    return found;
}

bool net_is_under_way(void)
{
    static bool reading[PORTS];
    return reading_ports(reading) && (sends_to("/proc/thread-self/net/tcp", reading) ||
                                      sends_to("/proc/thread-self/net/tcp6", reading));
}

/* ---- listeners ---- */

static struct endpoint *add_listener(int family, bool narrow, const char *name)
{
    int fd = open_bound(family, SOCK_STREAM, name);
    if (narrow) /* whatever it accepts inherits that */
        make_narrow(fd, name);
    if (listen(fd, BACKLOG) != 0)
        test_broken("%s cannot listen: %s", name, strerror(errno));
    return add_socket(ENDPOINT_LISTENER, fd, name);
}

struct endpoint *net_listen(int family, const char *name)
{
    return add_listener(family, false, name);
}

struct endpoint *net_listen_narrow(int family, const char *name)
{
    return add_listener(family, true, name);
}

struct endpoint *net_listen_full(int family, const char *name)
{
    union address a;
    int fd = open_bound(family, SOCK_STREAM, name), first = open_socket(family, SOCK_STREAM, name);
    socklen_t len = loopback(&a, family, own_port(fd));
    if (listen(fd, 0) != 0)
        test_broken("%s cannot listen: %s", name, strerror(errno));
    /* A queue of 0 takes one; it is there when connect() has been decided, within the kernel. */
    if (connect(first, &a.any, len) != 0 && errno != EINPROGRESS)
        test_broken("%s cannot fill its queue: %s", name, strerror(errno));
    wait_until(is_decided, &first, text("the queue of %s is full", name));
    add_socket(ENDPOINT_STREAM, first, text("the one who fills the queue of %s", name));
    struct endpoint *listener = add_socket(ENDPOINT_LISTENER, fd, name);
    listener->held = true;
    return listener;
}

bool net_accept_all(struct endpoint *listener)
{
    bool any = false;
    for (int round = 0; round < A_ROUND; round++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return any;
        if (listener->accepted_count == listener->accepted_capacity) {
            size_t capacity = listener->accepted_capacity * 2 + 8;
            struct endpoint **more = test_alloc(capacity * sizeof(struct endpoint *));
            if (listener->accepted_count > 0)
                memcpy(more, listener->accepted,
                       listener->accepted_count * sizeof(struct endpoint *));
            listener->accepted = more;
            listener->accepted_capacity = capacity;
        }
        struct endpoint *e = add_connection(
            fd, text("connection %zu of %s", listener->accepted_count + 1, listener->name));
        listener->accepted[listener->accepted_count++] = e;
        test_note("< %s: a connection", listener->name);
        any = true;
    }
    return any;
}

static bool somebody_came(void *context)
{
    const struct endpoint *listener = context;
    return listener->accepted_taken < listener->accepted_count;
}

struct endpoint *net_accept(struct endpoint *listener, const char *what)
{
    wait_until(somebody_came, listener, what);
    return listener->accepted[listener->accepted_taken++];
}

/* ---- datagrams ---- */

struct endpoint *net_datagrams(int family, const char *name)
{
    return add_socket(ENDPOINT_DATAGRAMS, open_bound(family, SOCK_DGRAM, name), name);
}

void net_send_to(struct endpoint *e, int port, const void *bytes, size_t len)
{
    union address a;
    int family = AF_INET;
    socklen_t size = sizeof family;
    getsockopt(e->fd, SOL_SOCKET, SO_DOMAIN, &family, &size);
    size = loopback(&a, family, port);
    test_note("> %s: a datagram to port %d: %s", e->name, port, quoted(bytes, len, 100));
    /* Over loopback a datagram is in the other socket, or dropped there, when this returns. */
    if (sendto(e->fd, bytes, len, 0, &a.any, size) != (ssize_t)len)
        test_broken("%s cannot send a datagram of %zu bytes: %s", e->name, len, strerror(errno));
}

bool net_read_datagrams(struct endpoint *e)
{
    static unsigned char buffer[DATAGRAM_MAX];
    bool any = false;
    for (int round = 0; round < A_ROUND; round++) {
        union address from = {0};
        socklen_t size = sizeof from;
        ssize_t n = recvfrom(e->fd, buffer, sizeof buffer, 0, &from.any, &size);
        if (n < 0)
            return any;
        if (e->waiting > DATAGRAMS_KEPT)
            test_fail(text("%s gets an answer to what it has sent", e->name),
                      "datagrams without end");
        struct datagram *d = test_alloc(sizeof *d + (size_t)n);
        d->port = port_of(&from);
        d->len = (size_t)n;
        memcpy(d->bytes, buffer, (size_t)n);
        if (e->first == NULL)
            e->first = d;
        else
            e->last->next = d;
        e->last = d;
        e->waiting += (size_t)n;
        any = true;
    }
    return any;
}

const struct datagram *net_receive_now(struct endpoint *e)
{
    pump(0);
    struct datagram *d = e->first;
    if (d == NULL)
        return NULL;
    e->first = d->next;
    e->waiting -= d->len;
    test_note("< %s: a datagram: %s", e->name, quoted(d->bytes, d->len, 100));
    return d;
}

static bool one_came(void *context)
{
    const struct endpoint *e = context;
    return e->first != NULL;
}

const struct datagram *net_receive(struct endpoint *e, const char *what)
{
    if (what != NULL)
        wait_until(one_came, e, what);
    else if (!wait_until_or_stuck(one_came, e, "a datagram comes"))
        return NULL;
    return net_receive_now(e);
}
