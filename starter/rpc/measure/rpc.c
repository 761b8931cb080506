/*
 * rpc.c - remote procedure calls: for each line one call of CALC_SUM, over one TCP connection.
 *
 *     "LINE" --> a client of ours --TCP--> calcd --TCP--> the client --> "LINE"
 *
 * Your calc makes one call in its life, and starting a program takes longer than a call. So the
 * client is a function of this file. It makes numbers of a line's bytes, and prints the line when
 * the server has sent the right sum of them. Calls and replies are always of the same form here,
 * so it is enough to lay down the words of one and to compare those of the other.
 */
#define _GNU_SOURCE
#include "measure.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BYTES = 7, /* of a line in one hyper: of 8 the sum could overflow */
    HYPERS_MAX = (LARGE + BYTES - 1) / BYTES,
    CALL_WORDS = 12 + 2 * HYPERS_MAX,
    REPLY_WORDS = 10,
    CALC_PROG = 0x20000415,
    CALC_SUM = 5,
};
static const uint32_t LAST_FRAGMENT = 0x80000000;

static bool prepare_rpc(const struct mechanism *m)
{
    return start_server(m->folder, (const char *[]){"./calcd", NULL}, has_port);
}

/* ---- The client ---- */

static int failed(uint32_t number, const char *what)
{
    dprintf(2, "line %u: %s\n", number, what);
    return 1;
}

static bool write_all(int fd, const void *bytes, size_t len)
{
    const char *at = bytes;
    ssize_t count;

    for (; len > 0; at += count, len -= (size_t)count) {
        if ((count = write(fd, at, len)) < 0)
            return false;
    }
    return true;
}

/* One call: the `number`th line, of `len` bytes with its newline. Returns the exit status. */
static int call(int server, uint32_t number, const char *line, size_t len)
{
    uint32_t count = ((uint32_t)len - 1 + BYTES - 1) / BYTES, at = 12;
    uint32_t words[CALL_WORDS] = {0, number, 0, 2, CALC_PROG, 1, CALC_SUM, 0, 0, 0, 0, count};
    uint32_t expected[REPLY_WORDS] = {LAST_FRAGMENT | 36, number, 1};
    unsigned char reply[sizeof expected];
    size_t there = 0;
    uint64_t sum = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint64_t value = 0;

        for (size_t byte = i * BYTES; byte < (i + 1) * BYTES && byte < len - 1; byte++)
            value = value << 8 | (unsigned char)line[byte];
        words[at++] = (uint32_t)(value >> 32);
        words[at++] = (uint32_t)value;
        sum += value;
    }
    words[0] = LAST_FRAGMENT | (at - 1) * 4;
    expected[8] = (uint32_t)(sum >> 32);
    expected[9] = (uint32_t)sum;
    for (uint32_t i = 0; i < at; i++)
        words[i] = htonl(words[i]);
    for (uint32_t i = 0; i < REPLY_WORDS; i++)
        expected[i] = htonl(expected[i]);

    if (!write_all(server, words, at * 4))
        return failed(number, strerror(errno));
    while (there < sizeof reply) {
        ssize_t more = recv(server, reply + there, sizeof reply - there, 0);

        if (more <= 0)
            return failed(number, more == 0 ? "calcd has closed the connection" : strerror(errno));
        there += (size_t)more;
        /* A rejection is shorter, and nothing would come behind it. */
        if (memcmp(reply, expected, there) != 0)
            return failed(number, "the reply is not the sum");
    }
    return write_all(1, line, len) ? 0 : failed(number, strerror(errno));
}

/* In a process of its own: calls with each line of stdin. */
static int client(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(port)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), status = 0;
    char bytes[1 << 14], *newline;
    size_t end = 0;
    uint32_t number = 0;
    ssize_t more;

    if (server < 0 || connect(server, (struct sockaddr *)&address, sizeof address) < 0)
        return failed(number, strerror(errno));
    while (status == 0 && (more = read(0, bytes + end, sizeof bytes - end)) > 0) {
        char *line = bytes;

        end += (size_t)more;
        while (status == 0 && (newline = memchr(line, '\n', end - (size_t)(line - bytes)))) {
            status = call(server, ++number, line, (size_t)(newline + 1 - line));
            line = newline + 1;
        }
        end -= (size_t)(line - bytes);
        memmove(bytes, line, end);
    }
    return status;
}

static bool start_rpc(const struct mechanism *m, struct transfer *t)
{
    (void)m;
    start_function("measure's client", client, t->in, t->out);
    return true;
}

static void end_rpc(void)
{
}

struct mechanism rpc = {
    .name = "rpc",
    .programs = {"calcd"},
    .variable = "RPC",
    .beside = "../rpc",
    .prepare = prepare_rpc,
    .start = start_rpc,
    .end = end_rpc,
};
