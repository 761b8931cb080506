/*
 * calc.c - the calculator's client: makes a call of its arguments, sends it, waits for the reply.
 *
 *     calc [-u] [-t MS] HOST PORT OP ARG...
 *
 * What it teaches: the client half of a remote procedure call. The stub marshals the arguments,
 * finds the port on the server, sends a message and waits; so far it looks like a local call. But
 * a local call always returns. Here nobody may be there, a datagram may be lost, and its copy then
 * must be known for one; the reply may be an old one, somebody else's, or nonsense; and when time
 * is up, nobody can say whether the procedure was executed.
 */
#define _GNU_SOURCE
#include "calc.h"

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_NOBODY = 3 };

enum {
    TIMEOUT_MS = 6200, /* for the whole call */
    REPLY_MAX = 1024,  /* bytes that we keep of a reply; the longest that has a result needs 436 */
};

/* When a call is sent over UDP, in ms from the start: the pauses double. */
static const int64_t send_at_ms[] = {0, 200, 600, 1400, 3000};
enum { SENDS = sizeof send_at_ms / sizeof *send_at_ms };

/* What the command line asks for. */
struct options {
    bool udp;
    int64_t timeout_ms;
    const char *host, *port;
    enum calc_procedure procedure;
    int count;    /* of arguments, as many as the procedure takes */
    char **words; /* the arguments */
};

/* A reply, without a record mark. */
struct reply {
    unsigned char bytes[REPLY_MAX];
    size_t len;
};

/* ---- Step 5: numbers as people type them ---- */

/*
 * Decimal digits, with a '-' before them if need be: -2^63 to 2^63 - 1. false: anything else.
 */
static bool parse_hyper(const char *word, int64_t *value)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)word;
    *value = 0;
    return false;
#else
    bool negative = *word == '-';

    word += negative;
    *value = 0;
    if (*word == '\0')
        return false;
    for (; *word != '\0'; word++) {
        int digit = *word - '0';

        /* A negative number goes down from 0 digit by digit: -2^63 has no positive counterpart. */
        if (digit < 0 || digit > 9 || __builtin_mul_overflow(*value, 10, value) ||
            __builtin_add_overflow(*value, negative ? -digit : digit, value))
            return false;
    }
    return true;
#endif
}

/* ---- Step 5: the call ---- */

/*
 * Writes the whole call: header (with a random xid), credentials and verifier AUTH_NONE, arguments.
 * `out` has room for CALC_CALL_MAX bytes. false: an argument is no hyper.
 */
static bool put_call(struct xdr_out *out, const struct options *options)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)out, (void)options;
    (void)parse_hyper;
    return false;
#else
    static struct calc_vector vector;
    uint32_t xid;

    for (int i = 0; i < options->count; i++) {
        if (!parse_hyper(options->words[i], &vector.values[i]))
            return false;
    }
    vector.len = (uint32_t)options->count;

    /* Random, so that a server does not take it for one of a call that an earlier calc has made
     * from the same port. */
    if (getrandom(&xid, sizeof xid, 0) != sizeof xid)
        xid = (uint32_t)getpid() ^ (uint32_t)time(NULL) << 16;
    xdr_put_uint(out, xid);
    xdr_put_uint(out, RPC_CALL);
    xdr_put_uint(out, RPC_VERSION);
    xdr_put_uint(out, CALC_PROG);
    xdr_put_uint(out, CALC_VERS);
    xdr_put_uint(out, options->procedure);
    for (int i = 0; i < 2; i++) { /* credentials, verifier */
        xdr_put_uint(out, RPC_AUTH_NONE);
        xdr_put_uint(out, 0);
    }
    if (options->procedure == CALC_SUM)
        xdr_put_vector(out, &vector);
    else if (options->procedure == CALC_ACCUMULATE)
        xdr_put_hyper(out, vector.values[0]);
    else if (options->procedure != CALC_NULL)
        xdr_put_args(out, &(struct calc_args){vector.values[0], vector.values[1]});
    return true;
#endif
}

/* ---- Step 5: the reply ---- */
#ifndef STARTER

/* Says why there is no result. Returns the exit status. */
static int complain(const char *what, const char *why, int status)
{
    fprintf(stderr, "calc: %s: %s\n", what, why);
    return status;
}

static int undecodable(void)
{
    return complain("reply", "can't be decoded", EXIT_FAILED);
}

/* The call was refused. What follows in some refusals is the lowest and the highest version. */
static int refused(const char *why, struct xdr_in *in, bool versions)
{
    uint32_t low, high;

    if (!versions)
        return complain("rejected", why, EXIT_FAILED);
    if (!xdr_get_uint(in, &low) || !xdr_get_uint(in, &high))
        return undecodable();
    fprintf(stderr, "calc: rejected: %s: it has %" PRIu32 " to %" PRIu32 "\n", why, low, high);
    return EXIT_FAILED;
}

/* Prints the result of a call that was executed. */
static int print_result(struct xdr_in *in, enum calc_procedure procedure)
{
    struct calc_result result;

    if (procedure == CALC_NULL)
        return EXIT_OK;
    if (!xdr_get_result(in, &result))
        return undecodable();
    if (result.status == CALC_DIVIDE_BY_ZERO)
        return complain("result", "divided by zero", EXIT_FAILED);
    if (result.status == CALC_OVERFLOW)
        return complain("result", "overflow", EXIT_FAILED);
    if (result.status != CALC_OK)
        return complain("result", "unknown status", EXIT_FAILED);
    if (printf("%" PRId64 "\n", result.value) < 0 || fflush(stdout) != 0)
        return complain("stdout", strerror(errno), EXIT_FAILED);
    return EXIT_OK;
}

static int accepted(struct xdr_in *in, enum calc_procedure procedure)
{
    uint32_t flavor, stat;

    if (!xdr_get_uint(in, &flavor) || !xdr_skip_opaque(in, RPC_AUTH_MAX) ||
        !xdr_get_uint(in, &stat))
        return undecodable();
    switch (stat) {
    case RPC_SUCCESS:
        return print_result(in, procedure);
    case RPC_PROG_UNAVAIL:
        return refused("the server does not have this program", in, false);
    case RPC_PROG_MISMATCH:
        return refused("not this version of the program", in, true);
    case RPC_PROC_UNAVAIL:
        return refused("the program does not have this procedure", in, false);
    case RPC_GARBAGE_ARGS:
        return refused("the server can't decode the arguments", in, false);
    case RPC_SYSTEM_ERR:
        return refused("the server has an error of its own", in, false);
    default:
        return undecodable();
    }
}
#endif

/*
 * Takes apart a reply that has the xid of our call, and prints the value that is in it, or on
 * stderr why there is none. Returns the exit status: EXIT_FAILED for a calculator's error, for a
 * rejection, and for what can't be decoded.
 */
static int print_reply(const struct reply *reply, enum calc_procedure procedure)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)reply, (void)procedure;
    return EXIT_FAILED;
#else
    struct xdr_in in = {reply->bytes, reply->len};
    uint32_t xid, type, stat;

    if (!xdr_get_uint(&in, &xid) || !xdr_get_uint(&in, &type) || !xdr_get_uint(&in, &stat) ||
        type != RPC_REPLY)
        return undecodable();
    if (stat == RPC_ACCEPTED)
        return accepted(&in, procedure);
    if (stat != RPC_DENIED || !xdr_get_uint(&in, &stat))
        return undecodable();
    if (stat == RPC_MISMATCH)
        return refused("not this version of RPC", &in, true);
    if (stat == RPC_AUTH_ERROR)
        return refused("the server does not accept our credentials", &in, false);
    return undecodable();
#endif
}
#ifndef STARTER

/* ---- Time ---- */

static int64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* Waits until `fd` is ready for `events`, or the moment has come. Returns whether it is ready. */
static bool wait_until(int fd, short events, int64_t moment_us)
{
    struct pollfd watched = {.fd = fd, .events = events};

    for (;;) {
        int64_t left_ms = (moment_us - now_us() + 999) / 1000; /* up: to wake early is to spin */
        int ready;

        if (left_ms <= 0)
            return false;
        ready = poll(&watched, 1, left_ms > INT32_MAX ? INT32_MAX : (int)left_ms);
        if (ready > 0)
            return true;
    }
}

/* Whether a message has the xid of our call: both begin with it. */
static bool is_ours(const unsigned char *call, const unsigned char *message, size_t len)
{
    return len >= 4 && memcmp(message, call, 4) == 0;
}
#endif

/* ---- Step 5: TCP ---- */
#ifndef STARTER

/* Sends all bytes. false: no connection any more, or the time is over; errno says which. */
static bool send_all(int fd, const unsigned char *bytes, size_t len, int64_t deadline)
{
    while (len > 0) {
        ssize_t sent;

        if (!wait_until(fd, POLLOUT, deadline)) {
            errno = ETIMEDOUT;
            return false;
        }
        sent = send(fd, bytes, len, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        if (sent > 0) {
            bytes += sent;
            len -= (size_t)sent;
        }
    }
    return true;
}

/* Receives `len` bytes. false: they do not come; errno says why, 0 for the end of the stream. */
static bool receive_all(int fd, unsigned char *bytes, size_t len, int64_t deadline)
{
    while (len > 0) {
        ssize_t got;

        if (!wait_until(fd, POLLIN, deadline)) {
            errno = ETIMEDOUT;
            return false;
        }
        got = recv(fd, bytes, len, 0);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
            errno = got == 0 ? 0 : errno;
            return false;
        }
        if (got > 0) {
            bytes += got;
            len -= (size_t)got;
        }
    }
    return true;
}

/* Receives one record, in whatever fragments. Of one that is too long the first bytes are kept. */
static bool receive_record(int fd, struct reply *reply, int64_t deadline)
{
    unsigned char bytes[4096];
    uint32_t mark;

    reply->len = 0;
    do {
        struct xdr_in in = {bytes, 4};

        if (!receive_all(fd, bytes, 4, deadline) || !xdr_get_uint(&in, &mark))
            return false;
        for (uint32_t left = mark & ~RECORD_LAST; left > 0;) {
            uint32_t part = left < sizeof bytes ? left : sizeof bytes;
            size_t room = sizeof reply->bytes - reply->len;

            if (!receive_all(fd, bytes, part, deadline))
                return false;
            memcpy(reply->bytes + reply->len, bytes, part < room ? part : room);
            reply->len += part < room ? part : room;
            left -= part;
        }
    } while ((mark & RECORD_LAST) == 0);
    return true;
}

/* A connection to the server. -1, and errno. */
static int connect_to(const struct sockaddr_in *server, int64_t deadline)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error = 0;
    socklen_t size = sizeof error;

    if (fd < 0)
        return -1;
    if (connect(fd, (const struct sockaddr *)server, sizeof *server) != 0) {
        error = errno;
        if (error == EINPROGRESS) {
            error = ETIMEDOUT;
            if (wait_until(fd, POLLOUT, deadline))
                getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
        }
    }
    if (error == 0)
        return fd;
    close(fd);
    errno = error;
    return -1;
}
#endif

/*
 * Sends the call as a record through a connection of its own, and receives records until one has
 * the call's xid; others are skipped. Returns EXIT_OK, or EXIT_NOBODY after a message.
 */
static int call_tcp(const struct sockaddr_in *server, const struct xdr_out *call,
                    int64_t timeout_ms, struct reply *reply)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)server, (void)call, (void)timeout_ms, (void)reply;
    return EXIT_NOBODY;
#else
    unsigned char record[4 + CALC_CALL_MAX];
    struct xdr_out mark = {.bytes = record};
    int64_t deadline = now_us() + timeout_ms * 1000;
    int fd = connect_to(server, deadline);
    bool right;

    if (fd < 0)
        return complain("server", strerror(errno), EXIT_NOBODY);
    /* Mark and call in one send: two small ones may wait for each other in the network. */
    xdr_put_uint(&mark, RECORD_LAST | (uint32_t)call->len);
    memcpy(record + 4, call->bytes, call->len);
    right = send_all(fd, record, 4 + call->len, deadline);
    do
        right = right && receive_record(fd, reply, deadline);
    while (right && !is_ours(call->bytes, reply->bytes, reply->len));
    close(fd);
    if (right)
        return EXIT_OK;
    return complain("server", errno == 0 ? "closed without a reply" : strerror(errno), EXIT_NOBODY);
#endif
}

/* ---- Step 7: UDP ---- */

/*
 * Sends the call as a datagram, again at each moment of send_at_ms, until a datagram comes that is
 * its reply: from the server's address and port, with the call's xid. Everything else is ignored.
 * Returns EXIT_OK, or EXIT_NOBODY after a message.
 */
static int call_udp(const struct sockaddr_in *server, const struct xdr_out *call,
                    int64_t timeout_ms, struct reply *reply)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)server, (void)call, (void)timeout_ms, (void)reply;
    (void)send_at_ms;
    return EXIT_NOBODY;
#else
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int64_t start = now_us(), deadline = start + timeout_ms * 1000, next = start;
    int sent = 0;

    if (fd < 0)
        return complain("socket", strerror(errno), EXIT_FAILED);
    while (sent == 0 || now_us() < deadline) {
        struct sockaddr_in from = {0};
        socklen_t size = sizeof from;
        ssize_t len;

        if (sent < SENDS && now_us() >= next) {
            /* One that can't be sent now is as good as lost: the next may go through. */
            sendto(fd, call->bytes, call->len, 0, (const struct sockaddr *)server, sizeof *server);
            sent++;
            next = sent < SENDS ? start + send_at_ms[sent] * 1000 : deadline;
        }
        if (!wait_until(fd, POLLIN, next < deadline ? next : deadline))
            continue;
        len = recvfrom(fd, reply->bytes, sizeof reply->bytes, 0, (struct sockaddr *)&from, &size);
        if (len >= 0 && from.sin_addr.s_addr == server->sin_addr.s_addr &&
            from.sin_port == server->sin_port && is_ours(call->bytes, reply->bytes, (size_t)len)) {
            reply->len = (size_t)len;
            close(fd);
            return EXIT_OK;
        }
    }
    close(fd);
    return complain("server", "no reply in time", EXIT_NOBODY);
#endif
}

/* ---- The command line ---- */

static int usage(void)
{
    fputs("usage: calc [-u] [-t MS] HOST PORT add|sub|mul|div|sum|acc|null ARG...\n", stderr);
    return EXIT_USAGE;
}

/* Fills `options`; false for what is no right usage. The arguments are not looked at yet. */
static bool parse(int argc, char **argv, struct options *options)
{
    static const struct {
        const char *name;
        int least, most; /* arguments */
    } procedures[] = {
        [CALC_NULL] = {"null", 0, 0},      [CALC_ADD] = {"add", 2, 2},
        [CALC_SUB] = {"sub", 2, 2},        [CALC_MUL] = {"mul", 2, 2},
        [CALC_DIV] = {"div", 2, 2},        [CALC_SUM] = {"sum", 0, CALC_VECTOR_MAX},
        [CALC_ACCUMULATE] = {"acc", 1, 1},
    };
    int option;

    opterr = 0; /* the usage says it all */
    while ((option = getopt(argc, argv, "+ut:")) != -1) {
        if (option == 'u')
            options->udp = true;
        else if (option != 't' || (options->timeout_ms = calc_number(optarg, INT32_MAX)) < 0)
            return false;
    }
    if (argc - optind < 3)
        return false;
    options->host = argv[optind];
    options->port = argv[optind + 1];
    options->count = argc - optind - 3;
    options->words = argv + optind + 3;
    for (int i = CALC_NULL; i <= CALC_ACCUMULATE; i++) {
        options->procedure = (enum calc_procedure)i;
        if (strcmp(procedures[i].name, argv[optind + 2]) == 0)
            return calc_number(options->port, 65535) > 0 && options->count >= procedures[i].least &&
                   options->count <= procedures[i].most;
    }
    return false;
}

/* The server's address: HOST's IPv4 address and the port. false after a message. */
static bool find_server(const struct options *options, struct sockaddr_in *server)
{
    struct addrinfo wanted = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found;
    int error = getaddrinfo(options->host, options->port, &wanted, &found);

    if (error != 0) {
        fprintf(stderr, "calc: %s: %s\n", options->host, gai_strerror(error));
        return false;
    }
    memcpy(server, found->ai_addr, sizeof *server);
    freeaddrinfo(found);
    return true;
}

int main(int argc, char **argv)
{
    struct options options = {.timeout_ms = TIMEOUT_MS};
    static unsigned char bytes[CALC_CALL_MAX];
    struct xdr_out call = {.bytes = bytes};
    struct sockaddr_in server;
    struct reply reply;
    int status;

    if (!parse(argc, argv, &options) || !put_call(&call, &options))
        return usage();
    if (!find_server(&options, &server))
        return EXIT_NOBODY;
    status = (options.udp ? call_udp : call_tcp)(&server, &call, options.timeout_ms, &reply);
    return status == EXIT_OK ? print_reply(&reply, options.procedure) : status;
}
