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
    /* Your code goes here. */
    (void)word;
    *value = 0;
    return false;
}

/* ---- Step 5: the call ---- */

/*
 * Writes the whole call: header (with a random xid), credentials and verifier AUTH_NONE, arguments.
 * `out` has room for CALC_CALL_MAX bytes. false: an argument is no hyper.
 */
static bool put_call(struct xdr_out *out, const struct options *options)
{
    /* Your code goes here. */
    (void)out, (void)options;
    (void)parse_hyper;
    return false;
}

/* ---- Step 5: the reply ---- */

/*
 * Takes apart a reply that has the xid of our call, and prints the value that is in it, or on
 * stderr why there is none. Returns the exit status: EXIT_FAILED for a calculator's error, for a
 * rejection, and for what can't be decoded.
 */
static int print_reply(const struct reply *reply, enum calc_procedure procedure)
{
    /* Your code goes here. */
    (void)reply, (void)procedure;
    return EXIT_FAILED;
}

/* ---- Step 5: TCP ---- */

/*
 * Sends the call as a record through a connection of its own, and receives records until one has
 * the call's xid; others are skipped. Returns EXIT_OK, or EXIT_NOBODY after a message.
 */
static int call_tcp(const struct sockaddr_in *server, const struct xdr_out *call,
                    int64_t timeout_ms, struct reply *reply)
{
    /* Your code goes here. */
    (void)server, (void)call, (void)timeout_ms, (void)reply;
    return EXIT_NOBODY;
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
    /* Your code goes here. */
    (void)server, (void)call, (void)timeout_ms, (void)reply;
    (void)send_at_ms;
    return EXIT_NOBODY;
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
