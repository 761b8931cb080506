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
#define _GNU_SOURCE
#include "proto.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the server remembers. Add what you need. */
struct server {
    const char *dir;
    char path[PATH_MAX]; /* DIR/requests */
    int requests;        /* our end of it */
    uint64_t numbers;    /* how many NEXT has given out */
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

static char *path_to_remove;
static int fd_to_close;

static void clean_up(int sig)
{
    (void)sig;
    unlink(path_to_remove);
    close(fd_to_close);
    _exit(0);
}

/* ---- Step 1: the server's FIFO ---- */

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
    struct stat st;
    int fd;

    if (lstat(server->path, &st) == 0) {
        if (!S_ISFIFO(st.st_mode)) {
            fail(server->path, "not a FIFO");
            return false;
        }
        fd = open(server->path, O_WRONLY | O_NONBLOCK);
        if (fd >= 0) {
            close(fd);
            fail(server->path, "there is a server");
            return false;
        }
        if (errno != ENXIO) {
            fail(server->path, strerror(errno));
            return false;
        }
        unlink(server->path);
    }
    if (mkfifo(server->path, PROTO_MODE) != 0) {
        fail(server->path, strerror(errno));
        return false;
    }
    chmod(server->path, PROTO_MODE);
    server->requests = open(server->path, O_RDWR | O_CLOEXEC);
    if (server->requests == -1) {
        fail(server->path, strerror(errno));
        unlink(server->path);
        return false;
    }
    return true;
}

/* Removes the name, then closes: a client finds no server, or one. */
void requests_close(struct server *server)
{
    unlink(server->path);
    close(server->requests);
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
    char *p = line;
    int digits;

    for (size_t i = 0; i < len; i++) {
        if (line[i] == '\0')
            return false;
    }
    line[len] = '\0';

    request->pid = p;
    digits = 0;
    while (*p >= '0' && *p <= '9') {
        p++;
        digits++;
    }
    if (digits == 0 || digits > PROTO_DIGITS_MAX || *p != ' ')
        return false;
    *p++ = '\0';

    request->id = p;
    digits = 0;
    while (*p >= '0' && *p <= '9') {
        p++;
        digits++;
    }
    if (digits == 0 || digits > PROTO_DIGITS_MAX)
        return false;
    if (*p == '\0') {
        request->op = p;
        request->text = p;
        return true;
    }
    if (*p != ' ')
        return false;
    *p++ = '\0';

    request->op = p;
    p = strchr(p, ' ');
    if (p == NULL) {
        request->text = line + len;
    } else {
        *p = '\0';
        request->text = p + 1;
    }
    return true;
}

/*
 * What read() gave: any piece of the stream of bytes that the clients write, with several requests
 * in it, or none, or the middle of one. For each line that is complete, of at most PROTO_LINE_MAX
 * bytes with its newline: request_parse(), reply_make(), reply_deliver(). A longer one is dropped,
 * up to its newline. What comes after the last newline is kept for the next call.
 */
void requests_take(struct server *server, const char *bytes, size_t count)
{
    /* one whole line, serve() has taken it with getline() */
    char line[PROTO_LINE_MAX], reply[PROTO_LINE_MAX + 1];
    struct request request;
    size_t len;

    if (count > PROTO_LINE_MAX || count == 0 || bytes[count - 1] != '\n')
        return;
    memcpy(line, bytes, count);
    if (!request_parse(&request, line, count - 1))
        return;
    len = reply_make(reply, &request, &server->numbers);
    reply_deliver(server, request.pid, reply, len);
}

/* ---- Step 2: replies ---- */

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
    size_t n = strlen(request->text);
    char result[PROTO_LINE_MAX] = "";

    if (strcmp(request->op, "ECHO") == 0) {
        strcpy(result, request->text);
    } else if (strcmp(request->op, "UPPER") == 0) {
        for (size_t i = 0; i < n; i++) {
            result[i] = request->text[i];
            if (result[i] >= 'a' && result[i] <= 'z')
                result[i] -= 32;
        }
    } else if (strcmp(request->op, "REVERSE") == 0) {
        for (size_t i = 0; i < n; i++)
            result[i] = request->text[n - i - 1];
    } else if (strcmp(request->op, "COUNT") == 0) {
        sprintf(result, "%zu", n);
    } else if (strcmp(request->op, "NEXT") == 0) {
        *numbers += 1;
        sprintf(result, "%ju", (uintmax_t)*numbers);
    } else {
        return (size_t)sprintf(reply, "%s ERR unknown operation\n", request->id);
    }
    if (result[0] == '\0')
        return (size_t)sprintf(reply, "%s OK\n", request->id);
    return (size_t)sprintf(reply, "%s OK %s\n", request->id, result);
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
    char path[PATH_MAX];
    struct stat st;
    int fd;

    if (!proto_reply_path(path, server->dir, pid))
        return;
    if (lstat(path, &st) != 0 || !S_ISFIFO(st.st_mode))
        return;
    fd = open(path, O_WRONLY | O_NONBLOCK);
    if (fd == -1)
        return;
    if (write(fd, reply, len) == -1) {
        /* dropped */
    }
    close(fd);
}

/* ---- Steps 1, 2 and 9: the server's life ---- */

/*
 * The server's life: prepares for SIGTERM and SIGINT, opens the request FIFO, reads and answers
 * until one of the two comes, removes the FIFO. While there is nothing to do it sleeps, in a call
 * that ends for a request and for a signal. Returns the exit status.
 */
int serve(struct server *server)
{
    struct sigaction action = {.sa_handler = clean_up};
    char *line = NULL;
    size_t size = 0;
    ssize_t n;
    FILE *file;

    signal(SIGPIPE, SIG_IGN);
    sigset_t both;
    sigemptyset(&both);
    sigaddset(&both, SIGTERM);
    sigaddset(&both, SIGINT);
    sigprocmask(SIG_BLOCK, &both, NULL);
    if (!requests_open(server))
        return PROTO_FAILED;
    path_to_remove = server->path;
    fd_to_close = server->requests;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigprocmask(SIG_UNBLOCK, &both, NULL);

    file = fdopen(server->requests, "r");
    while ((n = getline(&line, &size, file)) > 0) {
        sigprocmask(SIG_BLOCK, &both, NULL); /* the reply's descriptor must be closed */
        requests_take(server, line, (size_t)n);
        sigprocmask(SIG_UNBLOCK, &both, NULL);
    }
    unlink(server->path);
    return PROTO_FAILED;
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
