/* visitor.c - the suite as the clients of a server. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "suites/fifo/peer/fifo.h"
#include "support/clock.h"

/*
 * A server never sleeps for a time: when it sleeps for so long with nothing to come, it will not
 * wake up. It is shorter than usual, so that a broken server costs no patience.
 */
enum { SERVER_STUCK_MS = 600 };
/*
 * One that polls is never stuck. It is given up when it was found asleep for a time so often, at
 * least so far apart, and has not replied: others are woken by a request.
 */
enum { NAPS = 50, NAPS_APART_MS = 20 };

/* ---- its server ---- */

/* Of the last ones, which DIR is whose. */
enum { SERVERS_KEPT = 4 };
static struct {
    struct program *p;
    const char *dir;
} servers[SERVERS_KEPT];
static size_t server_count;

static void forget_servers(void)
{
    server_count = 0;
}

static struct program *server_of(const char *dir)
{
    for (size_t i = server_count; i-- > 0 && i + SERVERS_KEPT >= server_count;)
        if (strcmp(servers[i % SERVERS_KEPT].dir, dir) == 0)
            return servers[i % SERVERS_KEPT].p;
    return NULL;
}

bool server_is_reachable(const char *dir)
{
    int fd = is_fifo(requests_of(dir)) ? fifo_open(requests_of(dir), O_WRONLY) : -1;
    if (fd >= 0)
        fifo_close(fd);
    return fd >= 0;
}

struct starting {
    struct program *p;
    const char *dir;
};

static bool is_up(void *context)
{
    const struct starting *s = context;
    return program_has_ended(s->p) || server_is_reachable(s->dir);
}

void server_wait(struct program *p, const char *dir)
{
    const char *expected = "server makes the FIFO DIR/requests, if it is not there, and opens it "
                           "for reading";
    struct starting s = {p, dir};
    test_at_end(forget_servers);
    servers[server_count % SERVERS_KEPT].p = p;
    servers[server_count++ % SERVERS_KEPT].dir = dir;
    harness_stuck_after(SERVER_STUCK_MS);
    bool up = wait_until_or_stuck(is_up, &s, expected);
    EXPECT(!program_has_ended(p), expected,
           text("server has ended: %s (%s)", status_sentence(program_wait(p)), errors_shown(p)));
    EXPECT(up, expected,
           is_fifo(requests_of(dir))
               ? text("nobody reads the FIFO that is there:\n%s", describe_waiting())
               : "no FIFO is there");
}

struct program *server_start(const char *dir)
{
    struct program *p = run("server", dir, NULL);
    server_wait(p, dir);
    return p;
}

void server_end(struct program *p, const char *dir)
{
    struct stat st;
    program_signal(p, SIGTERM);
    expect_status(p, 0, "SIGTERM ends a server cleanly");
    EXPECT(lstat(requests_of(dir), &st) != 0, "the server removes DIR/requests when it ends",
           "it is still there");
}

/* ---- asking ---- */

int writer_open(const char *dir)
{
    int fd = fifo_open(requests_of(dir), O_WRONLY);
    EXPECT(fd >= 0, "a client can open DIR/requests: the server is there and reads it",
           text("%s\n%s",
                is_fifo(requests_of(dir)) ? "nobody reads it" : "there is no FIFO of that name",
                what_happened()));
    return fd;
}

struct sending {
    int fd;
    const void *bytes;
    size_t len;
    bool gone;
};

/* All of it or nothing, as far as PIPE_BUF allows; else as much as goes in. */
static bool is_sent(void *context)
{
    struct sending *s = context;
    ssize_t n = write(s->fd, s->bytes, s->len);
    s->gone = n < 0 && errno != EAGAIN;
    if (n > 0) {
        s->bytes = (const char *)s->bytes + n;
        s->len -= (size_t)n;
    }
    return s->len == 0 || s->gone;
}

void writer_send(int fd, const void *bytes, size_t len)
{
    const char *expected = "the server reads what its clients write to DIR/requests";
    struct sending s = {fd, bytes, len, false};
    test_note("> requests: %s", quoted(bytes, len, 100));
    EXPECT(wait_until_or_stuck(is_sent, &s, expected) && !s.gone, expected,
           text("%s\n%s", s.gone ? "it has closed it" : "it does not", what_happened()));
}

void ask_bytes(const char *dir, const void *bytes, size_t len)
{
    int fd = writer_open(dir);
    writer_send(fd, bytes, len);
    fifo_close(fd);
}

void ask(const char *dir, const char *line, ...)
{
    char bytes[2 * LINE_MAX_BYTES];
    va_list args;
    va_start(args, line);
    int n = vsnprintf(bytes, sizeof bytes - 1, line, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof bytes - 1)
        suite_failed("too long a request", line);
    bytes[n] = '\n';
    ask_bytes(dir, bytes, (size_t)n + 1);
}

/* ---- its replies ---- */

const char *new_pid(struct random *r)
{
    static unsigned last = 10000;
    last += (unsigned)between(r, 1, 99999);
    return text("%u", last);
}

static struct visitor *visitor_make(const char *dir, const char *pid, int flags)
{
    static struct visitor *all; /* kept until the worker ends */
    struct visitor *v = calloc(1, sizeof *v);
    if (v == NULL)
        suite_failed("no memory for", pid);
    *v = (struct visitor){.next = all, .dir = dir, .pid = pid, .path = reply_of(dir, pid)};
    all = v;
    fifo_make(v->path, 0600);
    int fd = open(v->path, flags | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        suite_failed("cannot open", v->path);
    v->reply = endpoint_reader(fd, text("client %s", pid));
    return v;
}

struct visitor *visitor_as(const char *dir, const char *pid)
{
    return visitor_make(dir, pid, O_RDONLY);
}

struct visitor *visitor_new(const char *dir, struct random *r)
{
    return visitor_make(dir, new_pid(r), O_RDONLY);
}

struct visitor *visitor_staying(const char *dir, struct random *r)
{
    return visitor_make(dir, new_pid(r), O_RDWR);
}

void visitor_leaves(struct visitor *v)
{
    endpoint_close(v->reply);
    unlink(v->path);
}

struct replying {
    struct visitor *v;
    struct program *p;
    int64_t looked_at_ns;
    int naps;
};

static bool has_a_line(const struct visitor *v)
{
    size_t len;
    const char *bytes = endpoint_peek(v->reply, &len);
    return len > 0 && memchr(bytes, '\n', len) != NULL;
}

static bool has_replied(void *context)
{
    struct replying *w = context;
    int64_t now = clock_ns();
    if (endpoint_ended(w->v->reply) || has_a_line(w->v))
        return true;
    if (w->p == NULL || program_has_ended(w->p) ||
        now - w->looked_at_ns < NAPS_APART_MS * (int64_t)NS_PER_MS)
        return false;
    w->looked_at_ns = now;
    w->naps += process_sleeps_for_a_time(program_pid(w->p));
    return w->naps > NAPS;
}

const char *reply_of_server(struct visitor *v, size_t *len, const char *what)
{
    struct replying w = {v, server_of(v->dir), clock_ns(), 0};
    size_t n;
    wait_until_or_stuck(has_replied, &w, what);
    const char *bytes = endpoint_peek(v->reply, &n);
    if (!has_a_line(v))
        test_fail(text("a reply in DIR/reply.%s: %s", v->pid, what),
                  n > 0 ? text("no whole line: %s", quoted(bytes, n, 100))
                        : text("%s\n%s",
                               endpoint_ended(v->reply) ? "it was opened, and closed again empty"
                               : w.naps > NAPS ? "nothing came, and the server sleeps for a time "
                                                 "again and again"
                                               : "nothing came",
                               what_happened()));
    return endpoint_read_line(v->reply, what, len);
}

static void expect_reply_bytes(struct visitor *v, const char *line, size_t len, const char *what)
{
    size_t n;
    const char *expected = text("%s: the line %s", what, quoted(line, len, 100));
    const char *got = reply_of_server(v, &n, what);
    EXPECT(n == len && memcmp(got, line, n) == 0, expected,
           text("the line %s", quoted(got, n, 100)));
    EXPECT(n + 1 == endpoint_total(v->reply) || !endpoint_ended(v->reply), expected,
           "more behind it");
}

void expect_reply(struct visitor *v, const char *line, const char *what)
{
    expect_reply_bytes(v, line, strlen(line), what);
}

void expect_reply_text(struct visitor *v, const char *id, const char *bytes, size_t len,
                       const char *what)
{
    const char *line = text("%s OK%s%.*s", id, len > 0 ? " " : "", (int)len, bytes);
    expect_reply_bytes(v, line, strlen(line), what);
}

void expect_error_reply(struct visitor *v, const char *id, const char *what)
{
    size_t len;
    const char *got = reply_of_server(v, &len, what);
    const char *begin = text("%s ERR ", id);
    EXPECT(len > strlen(begin) && memcmp(got, begin, strlen(begin)) == 0,
           text("%s: a line '%swhy'", what, begin), text("the line %s", quoted(got, len, 100)));
    EXPECT(len < LINE_MAX_BYTES,
           text("%s: a line of at most PIPE_BUF bytes, so that one write brings it whole", what),
           text("%zu bytes", len + 1));
}

void expect_no_reply(struct program *p, struct visitor *v, const char *why)
{
    wait_quiet(p, "the server goes on running");
    size_t len;
    const char *bytes = endpoint_peek(v->reply, &len);
    EXPECT(len == 0, text("no reply: %s", why), text("the reply %s", quoted(bytes, len, 100)));
}

void expect_served(const char *dir, struct random *r, const char *why)
{
    struct visitor *v = visitor_new(dir, r);
    const char *said = word(r);
    int id = between(r, 1, 99999);
    ask(dir, "%s %d ECHO %s", v->pid, id, said);
    expect_reply(v, text("%d OK %s", id, said), why);
    visitor_leaves(v);
}

void ask_next(const char *dir, struct random *r, int before, int times)
{
    struct visitor *v = visitor_staying(dir, r);
    for (int i = 1; i <= times; i++) {
        ask(dir, "%s %d NEXT", v->pid, i);
        expect_reply(v, text("%d OK %d", i, before + i), "the next value, whoever asks for it");
    }
    visitor_leaves(v);
}

void expect_served_after_half(struct program *p, const char *dir, struct random *r, const char *why)
{
    struct visitor *lost = visitor_new(dir, r);
    ask(dir, "%s 1 ECHO %s", lost->pid, word(r));
    wait_quiet(p, why);
    expect_served(dir, r, why);
    visitor_leaves(lost);
}
