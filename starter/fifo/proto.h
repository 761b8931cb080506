/*
 * proto.h - what client and server have agreed on: where their FIFOs are, and what is in a line.
 *
 * Given and fixed: the grader uses its own copy. Names and lines are public, so that any client can
 * talk to any server, whoever wrote them; one of the two is the grader's.
 *
 *     DIR/requests     every client --> the server     PID ID OP [TEXT]
 *     DIR/reply.PID    the server --> client PID       ID OK [TEXT]
 *                                                      ID ERR why
 *
 * Each is one line with its newline, at most PROTO_LINE_MAX bytes, and goes out in one write().
 */
#ifndef PROTO_H
#define PROTO_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum {
    PROTO_LINE_MAX = PIPE_BUF, /* bytes of a request or a reply, its newline counted: 4,096 */
    PROTO_DIGITS_MAX = 10,     /* digits of a PID or an ID, 1 at least */
    PROTO_MODE = 0600,         /* of both FIFOs */
    PROTO_TIMEOUT_MS = 2000,   /* what a client waits without -t */
};

/* How the programs end. */
enum {
    PROTO_DONE = 0,
    PROTO_FAILED = 1,    /* something went wrong, or a reply was ERR */
    PROTO_USAGE = 2,     /* wrong usage: nothing was done */
    PROTO_NO_ANSWER = 3, /* the client alone: no server, or no answer in time */
};

/* Writes "DIR/requests" into `path`. False: that would be too long. */
static inline bool proto_requests_path(char path[PATH_MAX], const char *dir)
{
    return snprintf(path, PATH_MAX, "%s/requests", dir) < PATH_MAX;
}

/* Writes "DIR/reply.PID" into `path`, `pid` being the digits as they are written. */
static inline bool proto_reply_path(char path[PATH_MAX], const char *dir, const char *pid)
{
    return snprintf(path, PATH_MAX, "%s/reply.%s", dir, pid) < PATH_MAX;
}

/* A number as people type it: digits alone, below 2^31. -1: it is none. */
static inline int proto_number(const char *text)
{
    long long value = 0;

    if (*text == '\0')
        return -1;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return -1;
        value = value * 10 + (*text - '0');
        if (value > INT_MAX)
            return -1;
    }
    return (int)value;
}

#endif
