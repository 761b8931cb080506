/* streams.c - what a suite asks of a program's standard streams. */
#include <poll.h>
#include <string.h>

#include "harness/internal.h"
#include "harness/random.h"
#include "harness/test.h"

const char *stream_name(int fd)
{
    return fd == 0 ? "standard input" : fd == 1 ? "standard output" : "standard error";
}

static struct output *output_of(struct program *p, int fd, const char *call)
{
    if (fd != 1 && fd != 2)
        test_broken("%s: descriptor %d is no output", call, fd);
    if (!p->started)
        test_broken("%s: '%s' has not been started", call, p->name);
    return &p->out[fd];
}

void stream_open_output(struct program *p, struct output *o, int fd)
{
    o->fd = fd;
    o->is_pipe = true;
    if (o == &p->out[1] || o == &p->out[2])
        o->whose = text("the %s of %s", stream_name(o == &p->out[1] ? 1 : 2), p->name);
}

void streams_close(struct program *p)
{
    close_fd(&p->in.fd);
    output_release(&p->out[1]);
    output_release(&p->out[2]);
    reports_release(&p->xml);
    reports_release(&p->log);
    close_fd(&p->pidfd);
}

/* ---- input ---- */

static void must_take_input(const struct program *p, const char *call)
{
    if (!p->started)
        test_broken("%s: '%s' has not been started", call, p->name);
    if (!p->in.is_pipe || p->in.close_when_fed)
        test_broken("%s: the standard input of '%s' is %s", call, p->name,
                    p->in.is_pipe ? "closed already" : "no pipe");
}

void program_queue(struct program *p, const void *bytes, size_t len)
{
    must_take_input(p, "program_queue");
    test_note("> %zu bytes to the standard input of %s: %s", len, p->name, quoted(bytes, len, 60));
    input_enqueue_bytes(&p->in, bytes, len);
}

void program_queue_pattern(struct program *p, uint64_t seed, uint64_t len)
{
    must_take_input(p, "program_queue_pattern");
    struct queued *q = input_enqueue(&p->in);
    q->len = len;
    q->seed = seed;
    q->offset = p->in.pattern_total;
    p->in.pattern_total += len;
    test_note("> %llu random bytes to the standard input of %s", (unsigned long long)len, p->name);
    if (p->in.gone)
        input_drop(&p->in);
}

static bool input_is_fed(void *context)
{
    const struct program *p = context;
    return p->in.first == NULL;
}

size_t program_send(struct program *p, const void *bytes, size_t len)
{
    program_queue(p, bytes, len);
    /* What stands in the queue before us is taken before. */
    uint64_t pending = input_pending(&p->in);
    uint64_t before = p->in.taken + (pending > len ? pending - len : 0);
    if (p->in.first != NULL)
        input_feed(&p->in);
    wait_until(input_is_fed, p,
               text("%s reads its standard input (%zu bytes were sent)", p->name, len));
    return p->in.taken > before ? (size_t)(p->in.taken - before) : 0;
}

size_t program_send_text(struct program *p, const char *bytes)
{
    return program_send(p, bytes, strlen(bytes));
}

size_t program_send_some(struct program *p, const void *bytes, size_t len)
{
    pump(0);
    if (!p->started || !p->in.is_pipe || p->in.fd < 0)
        test_broken("program_send_some: '%s' has no open standard input", p->name);
    size_t done = input_write_some(&p->in, bytes, len);
    test_note("> offered %zu bytes to the standard input of %s", len, p->name);
    return done;
}

void program_close_input(struct program *p)
{
    if (!p->started || !p->in.is_pipe)
        test_broken("program_close_input: the standard input of '%s' is no pipe", p->name);
    if (p->in.close_when_fed)
        return;
    p->in.close_when_fed = true;
    test_note("> end of the standard input of %s", p->name);
    input_settle(&p->in);
}

bool program_input_is_gone(struct program *p)
{
    struct pollfd fd = {.fd = p->in.fd};
    if (!p->in.gone && p->in.fd >= 0 && poll(&fd, 1, 0) == 1 && (fd.revents & POLLERR) != 0)
        input_is_gone(&p->in);
    return p->in.gone;
}

uint64_t program_input_taken(const struct program *p)
{
    return p->in.taken;
}

/* ---- output ---- */

void program_hold_output(struct program *p, int fd, bool hold)
{
    if (fd != 1 && fd != 2)
        test_broken("program_hold_output: descriptor %d is no output", fd);
    p->out[fd].held = hold; /* before the start, too */
}

void program_close_output(struct program *p, int fd)
{
    struct output *o = output_of(p, fd, "program_close_output");
    close_fd(&o->fd);
    o->closed_by_us = true;
    test_note("< closed the reading end of the %s of %s", stream_name(fd), p->name);
}

struct output_wait {
    struct program *program;
    struct output *output;
    uint64_t len;
};

static bool output_has(void *context)
{
    const struct output_wait *w = context;
    return w->output->total >= w->len || w->output->fd < 0;
}

bool program_wait_output(struct program *p, int fd, uint64_t len)
{
    struct output_wait w = {p, output_of(p, fd, "program_wait_output"), len};
    wait_until(
        output_has, &w,
        text("%s writes %llu bytes to its %s", p->name, (unsigned long long)len, stream_name(fd)));
    return w.output->total >= len;
}

static bool has_line_or_end(void *context)
{
    const struct output_wait *w = context;
    return w->output->fd < 0 || output_has_line(w->output);
}

const char *program_expect_line(struct program *p, int fd, const char *what, size_t *len)
{
    struct output_wait w = {p, output_of(p, fd, "program_read_line"), 0};
    struct output *o = w.output;
    if (!o->by_lines) {
        if (o->patterned)
            test_broken("program_read_line: the output of '%s' is not kept", p->name);
        if (o->total > KEPT_MAX) /* the program's doing, not the suite's */
            test_fail(text("%s writes lines to its %s", p->name, stream_name(fd)),
                      text("%llu bytes came before the first line was looked for",
                           (unsigned long long)o->total));
        output_by_lines(o);
    }
    wait_until(has_line_or_end, &w, what);
    size_t n;
    return output_take_line(o, len != NULL ? len : &n);
}

const char *program_read_line(struct program *p, int fd, size_t *len)
{
    return program_expect_line(p, fd, text("%s writes a line to its %s", p->name, stream_name(fd)),
                               len);
}

static bool output_is_over(void *context)
{
    const struct output_wait *w = context;
    return w->output->fd < 0;
}

void program_wait_output_end(struct program *p, int fd)
{
    struct output_wait w = {p, output_of(p, fd, "program_wait_output_end"), 0};
    wait_until(output_is_over, &w,
               text("everybody closes the %s of %s, so that its reader sees the end",
                    stream_name(fd), p->name));
}

bool program_output_ended(const struct program *p, int fd)
{
    return p->out[fd == 2 ? 2 : 1].ended;
}

const char *program_output(struct program *p, int fd, size_t *kept)
{
    return output_kept(output_of(p, fd, "program_output"), kept);
}

uint64_t program_output_total(const struct program *p, int fd)
{
    return p->out[fd == 2 ? 2 : 1].total;
}

void program_expect_pattern(struct program *p, int fd, uint64_t seed)
{
    if (fd != 1 && fd != 2)
        test_broken("program_expect_pattern: descriptor %d is no output", fd);
    if (p->out[fd].total > 0)
        test_broken("program_expect_pattern: '%s' has written already: call it before the start",
                    p->name);
    p->out[fd].patterned = true;
    p->out[fd].pattern_seed = seed;
}
