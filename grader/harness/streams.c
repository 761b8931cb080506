/*
 * streams.c - feeding and draining all programs of the test.
 *
 * pump() is the only place that polls: our ends of all pipes, and a pidfd for each program, so that
 * an end wakes us at once. Everything read is kept up to KEPT_MAX: all of it, or the first half
 * and, as a ring behind it, the last half.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/internal.h"
#include "harness/random.h"
#include "harness/test.h"
#include "support/memory.h"

enum { HEAD = KEPT_MAX / 2, READS_A_ROUND = 16, SHORT_POLL_MS = 5, WATCHED_MAX = 1024 };

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

void stream_open_output(struct output *o, int fd)
{
    o->fd = fd;
    o->is_pipe = true;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void streams_close(struct program *p)
{
    close_fd(&p->in.fd);
    for (int fd = 1; fd <= 2; fd++) {
        close_fd(&p->out[fd].fd);
        strbuf_release(&p->out[fd].kept);
        strbuf_release(&p->out[fd].lines);
    }
    close_fd(&p->xml.fd);
    close_fd(&p->log.fd);
    strbuf_release(&p->xml.kept);
    strbuf_release(&p->log.kept);
    close_fd(&p->pidfd);
}

/* ---- input ---- */

static struct queued *enqueue(struct program *p, const char *call)
{
    if (!p->started)
        test_broken("%s: '%s' has not been started", call, p->name);
    if (!p->in.is_pipe || p->in.close_when_fed)
        test_broken("%s: the standard input of '%s' is %s", call, p->name,
                    p->in.is_pipe ? "closed already" : "no pipe");
    struct queued *q = test_alloc(sizeof *q);
    *p->in.last = q;
    p->in.last = &q->next;
    return q;
}

static void input_drop(struct input *in)
{
    in->first = NULL;
    in->last = &in->first;
}

static void input_is_gone(struct input *in)
{
    in->gone = true;
    input_drop(in);
}

/* What is to be written next, at most CHUNK bytes of it. */
static const char *input_next(struct input *in, size_t *len)
{
    struct queued *q = in->first;
    if (q->bytes != NULL) {
        *len = q->len - q->done < CHUNK ? (size_t)(q->len - q->done) : (size_t)CHUNK;
        return q->bytes + q->done;
    }
    if (in->chunk_pos == in->chunk_len) {
        if (in->chunk == NULL)
            in->chunk = test_alloc(CHUNK);
        in->chunk_pos = 0;
        in->chunk_len = q->len - q->done < CHUNK ? (size_t)(q->len - q->done) : (size_t)CHUNK;
        pattern_fill(q->seed, q->offset + q->done, in->chunk, in->chunk_len);
    }
    *len = in->chunk_len - in->chunk_pos;
    return in->chunk + in->chunk_pos;
}

/* Writes what the pipe takes; true when anything was taken, or the end was reached. */
static bool input_feed(struct input *in)
{
    bool moved = false;
    for (int round = 0; in->first != NULL && round < READS_A_ROUND; round++) {
        size_t len;
        const char *bytes = input_next(in, &len);
        ssize_t n = len == 0 ? 0 : write(in->fd, bytes, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EPIPE)
            input_is_gone(in);
        if (n < 0)
            return moved || in->gone;
        moved = true;
        struct queued *q = in->first;
        q->done += (uint64_t)n;
        in->taken += (uint64_t)n;
        if (q->bytes == NULL)
            in->chunk_pos += (size_t)n;
        if (q->done == q->len) {
            in->first = q->next;
            if (in->first == NULL)
                in->last = &in->first;
        }
    }
    return moved;
}

/* Closes our end where that was asked for and everything has been taken. */
static bool input_settle(struct input *in)
{
    if (in->fd < 0 || !in->close_when_fed || in->first != NULL)
        return false;
    close_fd(&in->fd);
    return true;
}

void program_queue(struct program *p, const void *bytes, size_t len)
{
    struct queued *q = enqueue(p, "program_queue");
    char *copy = test_alloc(len);
    if (len > 0)
        memcpy(copy, bytes, len);
    q->bytes = copy;
    q->len = len;
    test_note("> %zu bytes to the standard input of %s: %s", len, p->name, quoted(bytes, len, 60));
    if (p->in.gone)
        input_drop(&p->in);
}

void program_queue_pattern(struct program *p, uint64_t seed, uint64_t len)
{
    struct queued *q = enqueue(p, "program_queue_pattern");
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
    uint64_t before = p->in.taken;
    for (const struct queued *q = p->in.first; q != NULL && q->next != NULL; q = q->next)
        before += q->len - q->done; /* what stands in the queue before us */
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
    if (p->in.first != NULL || p->in.gone)
        return 0;
    size_t done = 0;
    while (done < len) {
        ssize_t n = write(p->in.fd, (const char *)bytes + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EPIPE)
            input_is_gone(&p->in);
        if (n < 0)
            break;
        done += (size_t)n;
    }
    p->in.taken += done;
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

static void output_keep(struct output *o, const char *bytes, size_t len)
{
    if (o->kept.len < KEPT_MAX) {
        size_t n = KEPT_MAX - o->kept.len < len ? KEPT_MAX - o->kept.len : len;
        strbuf_add(&o->kept, bytes, n);
        bytes += n;
        len -= n;
        o->tail_next = HEAD; /* the oldest byte of the ring, once it is full */
    }
    while (len > 0) {
        size_t room = KEPT_MAX - o->tail_next;
        size_t n = room < len ? room : len;
        memcpy(o->kept.text + o->tail_next, bytes, n);
        o->tail_next = o->tail_next + n == KEPT_MAX ? HEAD : o->tail_next + n;
        bytes += n;
        len -= n;
    }
}

static const char *byte_text(unsigned char byte)
{
    return quoted(&byte, 1, 8);
}

static void output_check(struct output *o, const char *bytes, size_t len, const char *whose)
{
    static char pattern[CHUNK];
    pattern_fill(o->pattern_seed, o->pattern_offset, pattern, len);
    if (memcmp(pattern, bytes, len) == 0) {
        o->pattern_offset += len;
        return;
    }
    size_t i = 0;
    while (pattern[i] == bytes[i])
        i++;
    test_fail("the bytes that come out are those that went in, all of them and in order",
              text("byte %llu of %s is %s and not %s; everything before it was right",
                   (unsigned long long)(o->pattern_offset + i + 1), whose,
                   byte_text((unsigned char)bytes[i]), byte_text((unsigned char)pattern[i])));
}

/* Reads what there is; true when anything came, or the end did. */
static bool output_drain(struct output *o, struct program *p, int fd)
{
    static char chunk[CHUNK];
    bool moved = false;
    for (int round = 0; round < READS_A_ROUND; round++) {
        ssize_t n = read(o->fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return moved;
        if (n <= 0) {
            o->ended = true;
            close_fd(&o->fd);
            return true;
        }
        moved = true;
        o->total += (uint64_t)n;
        if (o->patterned)
            output_check(o, chunk, (size_t)n, text("the %s of %s", stream_name(fd), p->name));
        else
            output_keep(o, chunk, (size_t)n);
        if (o->by_lines)
            strbuf_add(&o->lines, chunk, (size_t)n);
        if (n < (ssize_t)sizeof chunk / 2)
            return moved; /* nearly empty: poll again */
    }
    return moved;
}

/* ---- the pump ---- */

struct watched {
    struct program *program;
    struct output *output; /* NULL: the input */
    int fd;
    bool is_end;
};

static bool output_is_watched(const struct output *o)
{
    return o->fd >= 0 && !o->held && (!o->by_lines || o->lines.len - o->line_pos < KEPT_MAX);
}

static size_t watch(struct pollfd *fds, struct watched *what, int *timeout_ms)
{
    size_t n = 0;
    for (struct program *p = harness.programs; p != NULL && n + 8 < WATCHED_MAX; p = p->next) {
        if (!p->started)
            continue;
        if (p->in.fd >= 0 && !p->in.gone) {
            fds[n] = (struct pollfd){.fd = p->in.fd, .events = p->in.first ? POLLOUT : 0};
            what[n++] = (struct watched){.program = p};
        }
        struct output *outputs[] = {&p->out[1], &p->out[2], &p->xml, &p->log};
        for (int i = 0; i < 4; i++) {
            if (!output_is_watched(outputs[i]))
                continue;
            fds[n] = (struct pollfd){.fd = outputs[i]->fd, .events = POLLIN};
            what[n++] = (struct watched){.program = p, .output = outputs[i], .fd = i + 1};
        }
        if (p->ended)
            continue;
        if (p->pidfd < 0) { /* an old kernel: look often */
            *timeout_ms = *timeout_ms > SHORT_POLL_MS ? SHORT_POLL_MS : *timeout_ms;
            continue;
        }
        fds[n] = (struct pollfd){.fd = p->pidfd, .events = POLLIN};
        what[n++] = (struct watched){.program = p, .is_end = true};
    }
    return n;
}

bool pump(int timeout_ms)
{
    static struct pollfd fds[WATCHED_MAX];
    static struct watched what[WATCHED_MAX];
    bool moved = false;
    size_t count = watch(fds, what, &timeout_ms);
    int ready = poll(fds, count, timeout_ms);
    for (size_t i = 0; i < count && ready > 0; i++) {
        struct program *p = what[i].program;
        if (fds[i].revents == 0 || what[i].is_end)
            continue;
        if (what[i].output != NULL) {
            moved |= output_drain(what[i].output, p, what[i].fd);
        } else if (fds[i].revents & POLLERR) {
            input_is_gone(&p->in);
            moved = true;
        } else {
            moved |= input_feed(&p->in);
        }
    }
    for (struct program *p = harness.programs; p != NULL; p = p->next)
        if (p->started)
            moved |= input_settle(&p->in);
    moved |= reap();
    return moved;
}

/* ---- what a suite asks of outputs ---- */

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

static bool output_has_line(void *context)
{
    const struct output_wait *w = context;
    const struct strbuf *lines = &w->output->lines;
    return w->output->fd < 0 || memchr(lines->text + w->output->line_pos, '\n',
                                       lines->len - w->output->line_pos) != NULL;
}

const char *program_read_line(struct program *p, int fd, size_t *len)
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
        strbuf_add(&o->lines, o->kept.text, o->kept.len);
        o->by_lines = true;
    }
    wait_until(output_has_line, &w, text("%s writes a line to its %s", p->name, stream_name(fd)));
    const char *start = o->lines.text + o->line_pos;
    const char *end = memchr(start, '\n', o->lines.len - o->line_pos);
    if (end == NULL)
        return NULL;
    size_t n = (size_t)(end - start);
    char *line = test_alloc(n + 1);
    memcpy(line, start, n);
    o->line_pos += n + 1;
    if (o->line_pos > CHUNK) { /* what has been read goes */
        memmove(o->lines.text, o->lines.text + o->line_pos, o->lines.len - o->line_pos);
        strbuf_setlen(&o->lines, o->lines.len - o->line_pos);
        o->line_pos = 0;
    }
    if (len != NULL)
        *len = n;
    return line;
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
    struct output *o = output_of(p, fd, "program_output");
    *kept = o->kept.len;
    if (o->kept.len < KEPT_MAX || o->tail_next == HEAD)
        return o->kept.text;
    char *copy = test_alloc(KEPT_MAX + 1); /* the ring, put straight */
    size_t newest = o->tail_next - HEAD;
    memcpy(copy, o->kept.text, HEAD);
    memcpy(copy + HEAD, o->kept.text + o->tail_next, KEPT_MAX - o->tail_next);
    memcpy(copy + KEPT_MAX - newest, o->kept.text + HEAD, newest);
    return copy;
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
