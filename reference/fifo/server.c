/*
 * server.c - answers what clients ask through a named pipe.
 *
 *     server DIR
 *
 * What it teaches: a pipe that has a name can be used by processes that have never heard of each
 * other: one that serves, and any number of clients that come and go. All of them write into one
 * FIFO, so a request must be whole (one write of at most PIPE_BUF bytes) and must say who asks.
 * The answer goes through a FIFO of the client's own. And a server works for strangers: whatever
 * comes in, and whoever does not take the answer, the next client is served.
 */
#ifndef STARTER
/*
 * One process, one thread. It sleeps in poll() alone, on the request FIFO and on the signals that
 * end it, and nothing else that it does can wait:
 *
 *     clients ==> DIR/requests ==> read, lines, answer ==> DIR/reply.PID, opened for each reply
 *     SIGTERM, SIGINT ==> signalfd ==> the end
 */
#endif
#define _GNU_SOURCE
#include "proto.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the server remembers. Add what you need. */
struct server {
    const char *dir;
    char path[PATH_MAX]; /* DIR/requests */
    int requests;        /* our end of it */
    uint64_t numbers;    /* how many NEXT has given out */
#ifndef STARTER
    int signals; /* SIGTERM and SIGINT come out of it, as data */
    size_t len;  /* of the line that is coming in: line[0] to line[len - 1] */
    char line[PROTO_LINE_MAX];
#endif
};

/* A request, in pieces. The strings lie in the line that it was made of. */
struct request {
    const char *pid, *id; /* digits, as they were written */
    const char *op;       /* "" if there was none */
    char *text;           /* "" if there was none; may be changed, and made shorter */
};

/* The functions of this file, as they stand below, each under its contract. */
bool requests_open(struct server *server);
void requests_close(struct server *server);
void requests_take(struct server *server, const char *bytes, size_t count);
bool request_parse(struct request *request, char *line, size_t len);
size_t reply_make(char reply[PROTO_LINE_MAX + 1], const struct request *request, uint64_t *numbers);
void reply_deliver(const struct server *server, const char *pid, const char *reply, size_t len);
int serve(struct server *server);
void fail(const char *what, const char *why);

/* ---- Step 1: the server's FIFO ---- */

#ifndef STARTER
/*
 * Takes away a FIFO that a server has left, and nothing else. Returns true when nothing is at the
 * server's path any more; false after a message.
 */
static bool remove_stale(const char *path)
{
    struct stat there;
    int fd;

    if (lstat(path, &there) < 0)
        return true; /* if that has another reason than ENOENT, mkfifo() will say it */
    if (!S_ISFIFO(there.st_mode)) {
        fail(path, "is there already, and is no FIFO");
        return false;
    }
    /* Without O_NONBLOCK this would wait for a reader. With it, a reader is what it tells. */
    fd = open(path, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0) {
        close(fd);
        fail(path, "has a server already");
        return false;
    }
    if (errno != ENXIO || unlink(path) < 0) {
        fail(path, strerror(errno));
        return false;
    }
    return true;
}

#endif
/*
 * Makes the FIFO at server->path, mode 0600, and opens it as server->requests, so that
 *   - opening it does not wait for a client;
 *   - it never ends: that the last client has closed it is no end of input.
 * What may be there already:
 *   - a FIFO that somebody reads (open() with O_WRONLY | O_NONBLOCK works): there is a server;
 *   - a FIFO that nobody reads (ENXIO) is stale: it is used again, or replaced;
 *   - anything else, a symbolic link too, is not ours.
 * Returns false after a message; then what was there is as it was, and nothing new is left.
 */
bool requests_open(struct server *server)
{
#ifdef STARTER
    /* Your code goes here. */
    server->requests = -1;
    fail(server->path, "not written yet");
    return false;
#else
    if (!remove_stale(server->path))
        return false;
    umask(~PROTO_MODE & 0777); /* whatever our caller's takes away, the mode is 0600 */
    if (mkfifo(server->path, PROTO_MODE) < 0) {
        fail(server->path, strerror(errno));
        return false;
    }
    /* For reading and writing, which Linux allows (fifo(7)): we are a writer ourselves, so there is
     * always one, and read() never tells of an end. */
    server->requests = open(server->path, O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (server->requests < 0) {
        fail(server->path, strerror(errno));
        unlink(server->path);
        return false;
    }
    return true;
#endif
}

/* Removes the name, then closes: a client finds no server, or one. */
void requests_close(struct server *server)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)server;
#else
    unlink(server->path);
    close(server->requests);
#endif
}

/* ---- Steps 2 and 5: from bytes to requests ---- */

/*
 * Takes a line apart: "PID ID OP [TEXT]", `len` bytes without the newline, and line[len] may be
 * written to. PID and ID are 1 to 10 digits; one space stands between fields; TEXT is the rest.
 * OP and TEXT may be missing. Returns false for a line that nobody can be answered: without a PID
 * and an ID, or with a NUL in it.
 */
bool request_parse(struct request *request, char *line, size_t len)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)request, (void)line, (void)len;
    return false;
#else
    const char **numbers[] = {&request->pid, &request->id};

    if (memchr(line, '\0', len) != NULL)
        return false;
    line[len] = '\0';
    for (size_t i = 0; i < 2; i++) {
        size_t digits = strspn(line, "0123456789");

        if (digits < 1 || digits > PROTO_DIGITS_MAX)
            return false;
        if (line[digits] != ' ' && line[digits] != '\0')
            return false;
        *numbers[i] = line;
        line += digits;
        if (*line == ' ')
            *line++ = '\0';
    }
    request->op = line;
    line += strcspn(line, " ");
    if (*line == ' ')
        *line++ = '\0';
    request->text = line;
    return true;
#endif
}
#ifndef STARTER

/* A complete line has come: the whole way of a request. */
static void answer(struct server *server, size_t len)
{
    char reply[PROTO_LINE_MAX + 1];
    struct request request;

    if (!request_parse(&request, server->line, len))
        return;
    len = reply_make(reply, &request, &server->numbers);
    reply_deliver(server, request.pid, reply, len);
}
#endif

/*
 * What read() gave: any piece of the stream of bytes that the clients write, with several requests
 * in it, or none, or the middle of one. For each line that is complete, of at most PROTO_LINE_MAX
 * bytes with its newline: request_parse(), reply_make(), reply_deliver(). A longer one is dropped,
 * up to its newline. What comes after the last newline is kept for the next call.
 */
void requests_take(struct server *server, const char *bytes, size_t count)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)server, (void)bytes, (void)count;
#else
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] != '\n') {
            if (server->len < PROTO_LINE_MAX)
                server->line[server->len++] = bytes[i];
            continue;
        }
        if (server->len < PROTO_LINE_MAX) /* else its newline is one too many */
            answer(server, server->len);
        server->len = 0;
    }
#endif
}

/* ---- Step 2: replies ---- */

#ifndef STARTER
/* A to Z for a to z, and no other byte, whatever the locale may know of letters. */
static void make_upper(char *text)
{
    for (; *text != '\0'; text++) {
        if (*text >= 'a' && *text <= 'z')
            *text = (char)(*text - 'a' + 'A');
    }
}

static void reverse(char *text)
{
    size_t len = strlen(text);

    for (size_t i = 0; i < len / 2; i++) {
        char first = text[i];

        text[i] = text[len - 1 - i];
        text[len - 1 - i] = first;
    }
}

#endif
/*
 * Writes the reply to `request`, with its newline and a zero byte behind that, and returns its
 * length without the zero byte:
 *   ECHO     "ID OK TEXT"
 *   UPPER    a to z are A to Z, all other bytes as they are
 *   REVERSE  the bytes of TEXT from the last to the first
 *   COUNT    how many bytes TEXT has
 *   NEXT     1, 2, 3... as *numbers counts; TEXT is ignored
 *   any other operation, or none: "ID ERR why"
 * An empty text makes "ID OK", without a space. Each reply fits: it is shorter than its request, or
 * short altogether.
 */
size_t reply_make(char reply[PROTO_LINE_MAX + 1], const struct request *request, uint64_t *numbers)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)request, (void)numbers;
    reply[0] = '\0';
    return 0;
#else
    const char *op = request->op, *text = request->text;
    char number[32];
    int len;

    if (strcmp(op, "UPPER") == 0) {
        make_upper(request->text);
    } else if (strcmp(op, "REVERSE") == 0) {
        reverse(request->text);
    } else if (strcmp(op, "COUNT") == 0) {
        snprintf(number, sizeof number, "%zu", strlen(text));
        text = number;
    } else if (strcmp(op, "NEXT") == 0) {
        snprintf(number, sizeof number, "%llu", (unsigned long long)++*numbers);
        text = number;
    } else if (strcmp(op, "ECHO") != 0) {
        len = snprintf(reply, PROTO_LINE_MAX + 1, "%s ERR no such operation\n", request->id);
        return (size_t)len;
    }
    len = snprintf(reply, PROTO_LINE_MAX + 1, "%s OK%s%s\n", request->id, *text == '\0' ? "" : " ",
                   text);
    return (size_t)len;
#endif
}

/* ---- Steps 2 and 4: delivering a reply ---- */

/*
 * Opens DIR/reply.PID, writes the reply in one write(), closes it. Never waits, for nobody: a reply
 * that cannot be delivered at once is dropped without a word. There may be no such FIFO; or one
 * that nobody has opened for reading; or one that is full; the reader may go away in this moment;
 * or it is no FIFO (into which nothing is written), or a symbolic link (which is not followed).
 */
void reply_deliver(const struct server *server, const char *pid, const char *reply, size_t len)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)server, (void)pid, (void)reply, (void)len;
#else
    char path[PATH_MAX];
    struct stat opened;
    int fd;

    if (!proto_reply_path(path, server->dir, pid))
        return;
    fd = open(path, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return;
    /* Of what we have opened, not of the name: that may lead to something else by now. At most
     * PIPE_BUF bytes go in as a whole or, with O_NONBLOCK, not at all. */
    if (fstat(fd, &opened) == 0 && S_ISFIFO(opened.st_mode) && write(fd, reply, len) < 0) {
        /* Full (EAGAIN) or the reader has gone (EPIPE): dropped. */
    }
    close(fd);
#endif
}

/* ---- Steps 1, 2 and 9: the server's life ---- */

#ifndef STARTER
/*
 * From here on SIGTERM and SIGINT no longer end the process, but wait until they are read from
 * server->signals. And SIGPIPE does not kill us: a write() to a client that has gone just fails.
 */
static bool signals_prepare(struct server *server)
{
    sigset_t ends;

    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    signal(SIGPIPE, SIG_IGN);
    server->signals = signalfd(-1, &ends, SFD_NONBLOCK | SFD_CLOEXEC);
    if (server->signals < 0)
        fail("signalfd", strerror(errno));
    return server->signals >= 0;
}

/* Serves until a signal has come. Returns the exit status. */
static int serve_requests(struct server *server)
{
    struct pollfd either[] = {{.fd = server->requests, .events = POLLIN},
                              {.fd = server->signals, .events = POLLIN}};
    char bytes[65536];
    ssize_t count;

    for (;;) {
        if (poll(either, 2, -1) < 0 && errno != EINTR) {
            fail("poll", strerror(errno));
            return PROTO_FAILED;
        }
        if (either[1].revents != 0)
            return PROTO_DONE;
        count = read(server->requests, bytes, sizeof bytes);
        if (count > 0)
            requests_take(server, bytes, (size_t)count);
        if (count < 0 && errno != EAGAIN && errno != EINTR) {
            fail(server->path, strerror(errno));
            return PROTO_FAILED;
        }
    }
}

#endif
/*
 * The server's life: prepares for SIGTERM and SIGINT, opens the request FIFO, reads and answers
 * until one of the two comes, removes the FIFO. While there is nothing to do it sleeps, in a call
 * that ends for a request and for a signal. Returns the exit status.
 */
int serve(struct server *server)
{
#ifdef STARTER
    /* Your code goes here: this does not read, and does not know of signals. */
    if (!requests_open(server))
        return PROTO_FAILED;
    requests_close(server);
    return PROTO_FAILED;
#else
    int status;

    /* The signals first: one that comes when the FIFO is just there must not leave it behind. */
    if (!signals_prepare(server))
        return PROTO_FAILED;
    if (!requests_open(server)) {
        close(server->signals);
        return PROTO_FAILED;
    }
    status = serve_requests(server);
    requests_close(server);
    close(server->signals);
    return status;
#endif
}

/* ---- Given: messages and the command line ---- */

/* Says on stderr what failed, and why. */
void fail(const char *what, const char *why)
{
    fprintf(stderr, "server: %s: %s\n", what, why);
}

int main(int argc, char **argv)
{
    static struct server server;

    if (argc != 2 || argv[1][0] == '\0') {
        fputs("usage: server DIR\n", stderr);
        return PROTO_USAGE;
    }
    server.dir = argv[1];
    if (!proto_requests_path(server.path, server.dir)) {
        fail(server.dir, strerror(ENAMETOOLONG));
        return PROTO_FAILED;
    }
    return serve(&server);
}
