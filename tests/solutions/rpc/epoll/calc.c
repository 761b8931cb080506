/*
 * Right, but different: connected sockets for both, so that the kernel alone decides whose
 * datagrams come through; select(); one loop for UDP and TCP, which differ in what is sent again
 * and in where a message ends. A refusal by ICMP ends it at once.
 */
#define _GNU_SOURCE
#include "calc.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 65536 + 4096 };

static unsigned char buffer[ROOM]; /* what has come */
static size_t filled;

static int say(int status, const char *what)
{
    fprintf(stderr, "calc: call: %s\n", what);
    return status;
}

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Whether `fd` can be written to (or read from) before `moment`. */
static bool ready(int fd, bool to_write, double moment)
{
    double left = moment - seconds();
    struct timeval wait;
    fd_set set;

    if (left <= 0)
        return false;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    wait.tv_sec = (time_t)left;
    wait.tv_usec = (suseconds_t)((left - (double)wait.tv_sec) * 1e6) + 1;
    if (wait.tv_usec >= 1000000)
        wait.tv_usec = 999999;
    return select(fd + 1, to_write ? NULL : &set, to_write ? &set : NULL, NULL, &wait) > 0;
}

/* -1: no connection by then. */
static int connected(const struct addrinfo *to, bool udp, double end)
{
    int fd = socket(AF_INET, udp ? SOCK_DGRAM : SOCK_STREAM, 0), error = 0, on = 1;
    socklen_t size = sizeof error;

    fcntl(fd, F_SETFL, O_NONBLOCK);
    if (connect(fd, to->ai_addr, to->ai_addrlen) == 0)
        return fd;
    if (errno == EINPROGRESS && ready(fd, true, end) &&
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        return fd;
    }
    close(fd);
    return -1;
}

/* ---- what has come ---- */

/* Removes marks in place: whether a record is whole. *taken: bytes of it, with marks. */
static bool whole(size_t *len, size_t *taken)
{
    size_t at = 0;

    *len = 0;
    for (;;) {
        struct xdr_in in = {buffer + at, 4};
        uint32_t mark;

        if (filled - at < 4 || !xdr_get_uint(&in, &mark))
            return false;
        at += 4 + (size_t)(mark & ~RECORD_LAST);
        if (at > filled)
            return false;
        *len += mark & ~RECORD_LAST;
        if ((mark & RECORD_LAST) != 0)
            break;
    }
    *taken = at;
    for (size_t from = 0, to = 0; from < *taken;) {
        struct xdr_in in = {buffer + from, 4};
        uint32_t mark;

        xdr_get_uint(&in, &mark);
        memmove(buffer + to, buffer + from + 4, mark & ~RECORD_LAST);
        to += mark & ~RECORD_LAST;
        from += 4 + (mark & ~RECORD_LAST);
    }
    return true;
}

/* The next whole reply of ours is at the buffer's front: its length; 0: not yet. */
static size_t our_record(const unsigned char *xid)
{
    size_t len, taken;

    while (whole(&len, &taken)) {
        if (len >= 4 && memcmp(buffer, xid, 4) == 0)
            return len;
        memmove(buffer, buffer + taken, filled - taken);
        filled -= taken;
    }
    return 0;
}

/* ---- the exchange ---- */

/* 0, and *reply; or the exit status. */
static int exchange(int fd, bool udp, const struct xdr_out *call, double start, double end,
                    struct xdr_in *reply)
{
    static const double again[] = {0.2, 0.6, 1.4, 3.0};
    const unsigned char *at = call->bytes + (udp ? 4 : 0);
    size_t left = call->len - (udp ? 4 : 0);
    int sent = 0;

    while (left > 0 && !udp) {
        ssize_t n = send(fd, at, left, MSG_NOSIGNAL);

        if (n > 0) {
            at += n;
            left -= (size_t)n;
        } else if (errno != EAGAIN || !ready(fd, true, end)) {
            return say(3, "can't be sent");
        }
    }
    if (udp && send(fd, at, left, 0) < 0 && errno == ECONNREFUSED)
        return say(3, "refused");
    for (;;) {
        double until = udp && sent < 4 && start + again[sent] < end ? start + again[sent] : end;
        ssize_t n;

        if (!ready(fd, false, until)) {
            if (seconds() >= end)
                return say(3, "no reply in time");
            if (udp && sent < 4 && seconds() >= start + again[sent]) {
                send(fd, at, left, 0);
                sent++;
            }
            continue;
        }
        if (udp)
            filled = 0;
        if (filled == ROOM)
            return say(1, "a reply without end");
        n = recv(fd, buffer + filled, ROOM - filled, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (n < 0 || (n == 0 && !udp))
            return say(3, n < 0 ? strerror(errno) : "closed without a reply");
        filled += (size_t)n;
        if (udp && (filled < 4 || memcmp(buffer, call->bytes + 4, 4) != 0))
            continue;
        *reply = (struct xdr_in){buffer, udp ? filled : our_record(call->bytes + 4)};
        if (reply->left > 0)
            return 0;
    }
}

/* ---- the reply ---- */

static int show(struct xdr_in in, bool has_result)
{
    static const char *const why[] = {"", "no such program", "no such version", "no such procedure",
                                      "garbage"};
    uint32_t head[6] = {0};
    struct calc_result result;
    int count = 0;

    while (count < 4 && xdr_get_uint(&in, &head[count]))
        count++;
    if (count < 4 || head[1] != RPC_REPLY)
        return say(1, "the reply can't be decoded");
    if (head[2] != RPC_ACCEPTED)
        return say(1, "denied");
    if (!xdr_skip_opaque(&in, RPC_AUTH_MAX) || !xdr_get_uint(&in, &head[4]))
        return say(1, "the reply can't be decoded");
    if (head[4] != RPC_SUCCESS)
        return say(1, head[4] <= 4 ? why[head[4]] : "failed");
    if (!has_result)
        return 0;
    if (!xdr_get_result(&in, &result))
        return say(1, "the result can't be decoded");
    if (result.status == CALC_DIVIDE_BY_ZERO)
        return say(1, "divided by zero");
    if (result.status != CALC_OK)
        return say(1, result.status == CALC_OVERFLOW ? "overflow" : "unknown status");
    if (printf("%lld\n", (long long)result.value) < 0 || fflush(stdout) != 0)
        return say(1, "can't be printed");
    return 0;
}

/* ---- the command line ---- */

static bool number(const char *text, int64_t *value)
{
    bool negative = *text == '-';
    uint64_t size = 0, most = (uint64_t)INT64_MAX + negative;

    text += negative;
    if (*text == '\0')
        return false;
    for (; *text >= '0' && *text <= '9'; text++) {
        uint64_t digit = (uint64_t)(*text - '0');

        if (size > (most - digit) / 10)
            return false;
        size = size * 10 + digit;
    }
    *value = (int64_t)(negative ? 0 - size : size);
    return *text == '\0';
}

static int usage(void)
{
    fputs("usage: calc [-u] [-t MS] HOST PORT OP ARG...\n", stderr);
    return 2;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int arguments; /* -1: a vector */
    } ops[] = {{"null", 0}, {"add", 2},  {"sub", 2}, {"mul", 2},
               {"div", 2},  {"sum", -1}, {"acc", 1}};
    static unsigned char bytes[4 + CALC_CALL_MAX];
    struct xdr_out call = {.bytes = bytes, .len = 4};
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *to;
    struct xdr_in reply = {NULL, 0};
    bool udp = false;
    double start, end;
    long ms = 6200;
    uint32_t op = 0, xid;
    int fd, status, option, count;

    opterr = 0;
    while ((option = getopt(argc, argv, "+ut:")) != -1) {
        if (option == 'u')
            udp = true;
        else if (option == 't')
            ms = calc_number(optarg, INT32_MAX);
        if (option == '?' || ms < 0)
            return usage();
    }
    argv += optind;
    count = argc - optind - 3;
    if (count < 0 || calc_number(argv[1], 65535) < 1)
        return usage();
    while (op < 7 && strcmp(ops[op].name, argv[2]) != 0)
        op++;
    if (op == 7 || (ops[op].arguments < 0 ? count > CALC_VECTOR_MAX : count != ops[op].arguments))
        return usage();

    if (getrandom(&xid, sizeof xid, 0) < 0)
        return say(1, "no random number");
    for (int i = 0; i < 10; i++)
        xdr_put_uint(&call,
                     (const uint32_t[]){xid, RPC_CALL, 2, CALC_PROG, CALC_VERS, op, 0, 0, 0, 0}[i]);
    if (ops[op].arguments < 0)
        xdr_put_uint(&call, (uint32_t)count);
    for (int i = 0; i < count; i++) {
        int64_t value;

        if (!number(argv[3 + i], &value))
            return usage();
        xdr_put_hyper(&call, value);
    }
    xdr_put_uint(&(struct xdr_out){.bytes = bytes}, RECORD_LAST | (uint32_t)(call.len - 4));

    if (getaddrinfo(argv[0], argv[1], &hints, &to) != 0)
        return say(3, "no such host");
    start = seconds();
    end = start + (double)ms / 1000;
    fd = connected(to, udp, end);
    freeaddrinfo(to);
    if (fd < 0)
        return say(3, "no connection");
    status = exchange(fd, udp, &call, start, end, &reply);
    close(fd);
    return status != 0 ? status : show(reply, op != CALC_NULL);
}
