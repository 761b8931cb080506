/* endpoint.c - the suite's own ends: streams of bytes. */
#include "harness/endpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness/internal.h"
#include "harness/test.h"

struct endpoint *endpoint_add(enum endpoint_kind kind, int fd, const char *name)
{
    struct endpoint *e = test_alloc(sizeof *e);
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
        test_broken("%s: no descriptor of ours: %s", name, strerror(errno));
    e->name = text("%s", name);
    e->kind = kind;
    e->fd = e->in.fd = e->out.fd = -1;
    e->in.last = &e->in.first;
    e->out.whose = e->name;
    e->out.by_lines = e->out.only_lines = true;
    e->next = harness.endpoints;
    harness.endpoints = e;
    return e;
}

struct endpoint *endpoint_reader(int fd, const char *name)
{
    struct endpoint *e = endpoint_add(ENDPOINT_STREAM, fd, name);
    e->out.fd = fd;
    return e;
}

struct endpoint *endpoint_writer(int fd, const char *name)
{
    struct endpoint *e = endpoint_add(ENDPOINT_STREAM, fd, name);
    e->in.fd = fd;
    return e;
}

static void must_send(const struct endpoint *e, const char *call)
{
    if (e->in.fd < 0 || e->in.close_when_fed)
        test_broken("%s: '%s' is closed, or is none that is written to", call, e->name);
}

/* ---- sending ---- */

void endpoint_queue(struct endpoint *e, const void *bytes, size_t len)
{
    must_send(e, "endpoint_queue");
    test_note("> %s: %s", e->name, quoted(bytes, len, 100));
    input_enqueue_bytes(&e->in, bytes, len);
}

static bool is_fed(void *context)
{
    const struct endpoint *e = context;
    return e->in.first == NULL;
}

size_t endpoint_send(struct endpoint *e, const void *bytes, size_t len)
{
    endpoint_queue(e, bytes, len);
    uint64_t pending = input_pending(&e->in);
    uint64_t before = e->in.taken + (pending > len ? pending - len : 0);
    if (e->in.first != NULL)
        input_feed(&e->in);
    wait_until(is_fed, e, text("what %s sends is read (%zu bytes)", e->name, len));
    return e->in.taken > before ? (size_t)(e->in.taken - before) : 0;
}

size_t endpoint_send_text(struct endpoint *e, const char *bytes)
{
    return endpoint_send(e, bytes, strlen(bytes));
}

size_t endpoint_send_some(struct endpoint *e, const void *bytes, size_t len)
{
    pump(0);
    must_send(e, "endpoint_send_some");
    size_t done = input_write_some(&e->in, bytes, len);
    test_note("> %s: %zu of %zu bytes", e->name, done, len);
    return done;
}

uint64_t endpoint_taken(const struct endpoint *e)
{
    return e->in.taken;
}

bool endpoint_is_gone(const struct endpoint *e)
{
    return e->in.gone;
}

/* ---- receiving ---- */

void endpoint_hold(struct endpoint *e, bool hold)
{
    e->held = e->out.held = hold;
}

size_t endpoint_let_in(struct endpoint *e, size_t most)
{
    size_t len = output_let_in(&e->out, most);
    test_note("> %s: reads %zu bytes", e->name, len);
    return len;
}

void endpoint_discard(struct endpoint *e)
{
    e->out.by_lines = false;
}

struct endpoint_wait {
    struct endpoint *endpoint;
    size_t len; /* 0: a line */
};

static size_t waiting(const struct output *o)
{
    return o->lines.len - o->line_pos;
}

static bool has_come(void *context)
{
    const struct endpoint_wait *w = context;
    const struct output *o = &w->endpoint->out;
    return o->fd < 0 || (w->len > 0 ? waiting(o) >= w->len : output_has_line(o));
}

const char *endpoint_read_line(struct endpoint *e, const char *what, size_t *len)
{
    struct endpoint_wait w = {e, 0};
    size_t n = 0;
    wait_until(has_come, &w, what);
    const char *line = output_take_line(&e->out, &n);
    if (line != NULL)
        test_note("< %s: %s", e->name, quoted(line, n, 100));
    if (len != NULL)
        *len = n;
    return line;
}

const char *endpoint_read(struct endpoint *e, size_t len, const char *what)
{
    struct endpoint_wait w = {e, len};
    if (len == 0)
        return "";
    wait_until(has_come, &w, what);
    if (waiting(&e->out) < len)
        return NULL;
    const char *bytes = output_take(&e->out, len);
    test_note("< %s: %s", e->name, quoted(bytes, len, 100));
    return bytes;
}

const char *endpoint_peek(struct endpoint *e, size_t *len)
{
    *len = waiting(&e->out);
    return e->out.lines.text + e->out.line_pos;
}

uint64_t endpoint_total(const struct endpoint *e)
{
    return e->out.total;
}

bool endpoint_ended(const struct endpoint *e)
{
    return e->out.ended;
}

bool endpoint_was_reset(const struct endpoint *e)
{
    return e->out.was_reset;
}

static bool is_over(void *context)
{
    const struct endpoint *e = context;
    return e->out.fd < 0;
}

void endpoint_wait_end(struct endpoint *e, const char *what)
{
    wait_until(is_over, e, what);
}

/* ---- the end ---- */

void endpoint_close_input(struct endpoint *e)
{
    if (e->in.close_when_fed)
        return;
    must_send(e, "endpoint_close_input");
    e->in.close_when_fed = true;
    test_note("> %s: end", e->name);
    input_settle(&e->in);
}

static void close_all(struct endpoint *e)
{
    if (e->fd >= 0) { /* both directions are this one */
        e->in.fd = e->out.fd = -1;
        close_fd(&e->fd);
    }
    close_fd(&e->in.fd);
    close_fd(&e->out.fd);
    input_drop(&e->in);
}

void endpoint_close(struct endpoint *e)
{
    test_note("> %s: closed", e->name);
    if (e->out.fd >= 0 && !e->out.held)
        output_drain(&e->out);
    close_all(e);
}

void endpoint_reset(struct endpoint *e)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0}; /* socket(7) */
    test_note("> %s: reset", e->name);
    if (e->fd >= 0 && setsockopt(e->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) != 0)
        test_broken("%s: cannot reset: %s", e->name, strerror(errno));
    close_all(e);
}

void endpoints_close(void)
{
    for (struct endpoint *e = harness.endpoints; e != NULL; e = e->next) {
        close_all(e);
        output_release(&e->out);
    }
    harness.endpoints = NULL;
}
