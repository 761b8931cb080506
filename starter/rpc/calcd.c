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

/* ---- Step 2: the procedures ---- */

static int64_t total; /* of ACCUMULATE: one for all clients */

/* ADD, SUB, MUL and DIV. What the machine can't hold is CALC_OVERFLOW, and never wraps around. */
static struct calc_result calculate(uint32_t procedure, const struct calc_args *args)
{
    struct calc_result result = {.status = CALC_OK};
    /* Your code goes here. */
    (void)procedure, (void)args;
    return result;
}

/* From the first to the last; the first partial sum that is too large ends it. */
static struct calc_result sum(const struct calc_vector *vector)
{
    struct calc_result result = {.status = CALC_OK};
    /* Your code goes here. */
    (void)vector;
    return result;
}

/* Adds to the total and returns the new one. An overflow leaves it as it was. */
static struct calc_result accumulate(int64_t number)
{
    struct calc_result result = {.status = CALC_OK};

    /* Your code goes here. */
    (void)number, (void)total;
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
    /* Your code goes here. */
    (void)in, (void)call;
    return NO_CALL;
}

/*
 * The server stub: reads the arguments of a procedure, calls it, and writes its whole reply.
 * Arguments that can't be decoded are GARBAGE_ARGS, and nothing is executed. Returns whether
 * something was.
 */
static bool execute(const struct call *call, struct xdr_in *in, struct xdr_out *reply)
{
    /* Your code goes here. */
    (void)call, (void)in, (void)reply;
    (void)calculate, (void)sum, (void)accumulate;
    return false;
}

/* ---- Step 6: at most once ---- */

/*
 * The reply to a call that this caller has made before (same address and port, xid and procedure),
 * written to `reply`. false: we do not know of such a call.
 */
static bool recall(const struct sockaddr_in *caller, const struct call *call, struct xdr_out *reply)
{
    /* Your code goes here. */
    (void)caller, (void)call, (void)reply;
    return false;
}

/* Keeps the reply to a call, in place of the oldest one. */
static void remember(const struct sockaddr_in *caller, const struct call *call,
                     const struct xdr_out *reply)
{
    /* Your code goes here. */
    (void)caller, (void)call, (void)reply;
}

/* ---- Steps 1 to 3: the dispatcher ---- */

/*
 * Answers one message, whole as it came: `reply` is empty and has room for CALC_REPLY_MAX bytes.
 * `caller` is who sent the datagram, or NULL over TCP, where nothing is ever sent twice. Returns
 * false when there is nothing to be answered, since the message is no call.
 */
static bool answer(struct xdr_in in, const struct sockaddr_in *caller, struct xdr_out *reply)
{
    /* Your code goes here. */
    (void)in, (void)caller, (void)reply;
    (void)get_header, (void)execute, (void)recall, (void)remember;
    return false;
}

/* ---- Step 6: datagrams ---- */

/*
 * Answers the datagrams that are there: each is a message. Does not wait, neither for a datagram
 * nor to send a reply: one that can't go out now is lost, as any datagram may be.
 */
static void serve_datagrams(int udp)
{
    /* Your code goes here: recvfrom(), answer(), sendto(). */
    (void)udp;
    (void)answer;
}

/* ---- Steps 1 and 4: records ---- */

/* A client's connection, and how far we are with what comes through it. */
struct connection {
    int fd;
    /* Add what you need: bytes come as they like, and not record by record. */
};

/*
 * Takes the bytes that have come next through a connection, `len` of them, wherever they begin and
 * end, and answers the records that are complete by them. false: the connection is to be closed,
 * since a record is too long.
 */
static bool feed(struct connection *c, const unsigned char *bytes, size_t len)
{
    /* Your code goes here. */
    (void)c, (void)bytes, (void)len;
    return false;
}

/* ---- Step 1: a port ---- */

/*
 * Opens two sockets at the same port of all IPv4 addresses: *udp, and *listener, which listens for
 * TCP. `port` 0: one that is free for both. Returns the port; -1, and errno, when that fails: then
 * nothing is left open.
 */
static int open_port(int port, int *udp, int *listener)
{
    /* Your code goes here. */
    (void)port, (void)udp, (void)listener;
    errno = ENOSYS;
    return -1;
}

/* ---- The command line ---- */

int main(int argc, char **argv)
{
    int port = 0, udp = -1, listener = -1;

    if (argc == 3 && strcmp(argv[1], "-p") == 0)
        port = (int)calc_number(argv[2], 65535);
    if ((argc != 1 && argc != 3) || (argc == 3 && strcmp(argv[1], "-p") != 0) || port < 0) {
        fputs("usage: calcd [-p PORT]\n", stderr);
        return 2;
    }
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
}
