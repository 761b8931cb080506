/* desk.c - the suite as the server of a client. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "suites/fifo/peer/fifo.h"

/*
 * A client that has what it needs does not sleep: one that sleeps for so long, with nothing to
 * come, waits for something else. Tests of time-outs ask for more.
 */
enum { NUMBER_DIGITS = 10, CLIENT_STUCK_MS = 1000 };

struct desk *desk_open(const char *dir)
{
    struct desk *d = calloc(1, sizeof *d); /* kept until the worker ends */
    if (d == NULL)
        suite_failed("no memory for", dir);
    d->dir = dir;
    fifo_make(requests_of(dir), 0600);
    /* For writing too: clients come and go, and no end is seen. */
    d->fd = fifo_open(requests_of(dir), O_RDWR);
    harness_stuck_after(CLIENT_STUCK_MS);
    return d;
}

void desk_leave(struct desk *d)
{
    if (d->in != NULL)
        endpoint_close(d->in);
    fifo_close(d->fd);
    d->fd = -1;
    d->in = NULL;
    test_note("our server goes");
}

/* From here on what comes is read. */
static struct endpoint *desk_reads(struct desk *d)
{
    if (d->in == NULL)
        d->in = endpoint_reader(fcntl(d->fd, F_DUPFD_CLOEXEC, 0), "DIR/requests");
    return d->in;
}

void desk_fill(struct desk *d, size_t room)
{
    if (d->in != NULL)
        endpoint_hold(d->in, true);
    fifo_fill(d->fd, room);
}

const char *desk_drain(struct desk *d, size_t *len)
{
    const char *bytes = fifo_drain(d->fd, len);
    if (d->in != NULL)
        endpoint_hold(d->in, false);
    return bytes;
}

/* ---- requests ---- */

struct coming {
    struct endpoint *in;
    struct program *p;
};

static bool has_come(void *context)
{
    const struct coming *c = context;
    size_t len;
    const char *bytes = endpoint_peek(c->in, &len);
    return (len > 0 && memchr(bytes, '\n', len) != NULL) || program_has_ended(c->p);
}

/* The field at `*at`, which ends before a blank or at the end; `*at` is behind the blank then. */
static const char *field(const char **at, const char *end)
{
    const char *stop = memchr(*at, ' ', (size_t)(end - *at));
    const char *from = *at;
    if (stop == NULL)
        stop = end;
    *at = stop < end ? stop + 1 : end;
    return text("%.*s", (int)(stop - from), from);
}

static bool is_number(const char *digits)
{
    size_t len = strlen(digits);
    return len >= 1 && len <= NUMBER_DIGITS && strspn(digits, "0123456789") == len;
}

struct request take_request(struct desk *d, struct program *p, const char *what)
{
    struct coming c = {desk_reads(d), p};
    size_t len;
    bool came = wait_until_or_stuck(has_come, &c, what);
    const char *bytes = endpoint_peek(c.in, &len);
    if (!came || len == 0 || memchr(bytes, '\n', len) == NULL)
        test_fail(text("a request in DIR/requests: %s", what),
                  len > 0 ? text("no whole line: %s", quoted(bytes, len, 100))
                          : text("nothing came\n%s", what_happened()));
    struct request q = {.line = endpoint_read_line(c.in, what, &len), .len = len};
    const char *at = q.line, *end = q.line + q.len;
    q.pid = field(&at, end);
    q.id = field(&at, end);
    q.op = field(&at, end);
    q.text = at;
    q.text_len = (size_t)(end - at);
    const char *expected = text("a request 'PID ID OP [TEXT]': %s", what);
    const char *got = text("the line %s", quoted(q.line, q.len, 100));
    EXPECT(is_number(q.pid) && is_number(q.id), expected, got);
    return q;
}

struct request expect_request(struct desk *d, struct program *p, const char *id, const char *op,
                              const char *said, const char *what)
{
    struct request q = take_request(d, p, what);
    const char *expected = text("%s: a request with ID %s, '%s' and the text %s", what, id, op,
                                quoted(said, strlen(said), 100));
    EXPECT(strcmp(q.id, id) == 0 && strcmp(q.op, op) == 0 && q.text_len == strlen(said) &&
               memcmp(q.text, said, q.text_len) == 0,
           expected, text("the line %s", quoted(q.line, q.len, 100)));
    return q;
}

void expect_nothing_asked(struct desk *d, const char *why)
{
    size_t len = 0;
    const char *bytes = d->in != NULL ? endpoint_peek(d->in, &len) : "";
    EXPECT(len == 0, text("nothing is written to DIR/requests: %s", why), quoted(bytes, len, 100));
    if (d->fd < 0 || fifo_waiting(d->fd) == 0)
        return;
    bytes = fifo_drain(d->fd, &len);
    EXPECT(len == 0, text("nothing is written to DIR/requests: %s", why), quoted(bytes, len, 100));
}

/* ---- replies ---- */

int answer_open(struct desk *d, const struct request *q)
{
    const char *path = reply_of(d->dir, q->pid);
    const char *expected =
        "the client has its FIFO DIR/reply.PID, open for reading, before it asks";
    expect_mode(path, 0600, expected);
    int fd = fifo_open(path, O_WRONLY);
    EXPECT(fd >= 0, expected, text("nobody reads it\n%s", what_happened()));
    return fd;
}

void answer_bytes(struct desk *d, const struct request *q, const void *bytes, size_t len)
{
    int fd = answer_open(d, q);
    test_note("< the reply: %s", quoted(bytes, len, 100));
    ssize_t n = write(fd, bytes, len);
    EXPECT(n == (ssize_t)len || errno != EPIPE, "the client reads its FIFO until it has its reply",
           "it has closed it");
    if (n != (ssize_t)len)
        suite_failed("cannot write to", reply_of(d->dir, q->pid));
    fifo_close(fd);
}

void answer(struct desk *d, const struct request *q, const char *reply, ...)
{
    char bytes[2 * LINE_MAX_BYTES];
    va_list args;
    va_start(args, reply);
    int begin = snprintf(bytes, sizeof bytes, "%s ", q->id);
    int n = vsnprintf(bytes + begin, sizeof bytes - (size_t)begin, reply, args) + begin;
    va_end(args);
    if (n < begin || (size_t)n >= sizeof bytes)
        suite_failed("too long a reply", reply);
    bytes[n] = '\n';
    answer_bytes(d, q, bytes, (size_t)n + 1);
}
