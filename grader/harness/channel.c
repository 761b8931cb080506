/*
 * channel.c - one direction of what the harness holds: bytes that wait to be written to a
 * descriptor, or that were read from one.
 *
 * Programs have three of them (streams.c), an endpoint has two (endpoint.c). Everything read is
 * kept up to KEPT_MAX: all of it, or the first half and, as a ring behind it, the last half.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness/internal.h"
#include "harness/random.h"
#include "harness/test.h"

enum { HEAD = KEPT_MAX / 2, READS_A_ROUND = 16 };

void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Our end is over: a socket that the other direction still uses is its owner's to close. */
static void channel_end(int *fd, bool shared)
{
    if (shared)
        *fd = -1;
    else
        close_fd(fd);
}

/* ---- what is to be written ---- */

struct queued *input_enqueue(struct input *in)
{
    struct queued *q = test_alloc(sizeof *q);
    *in->last = q;
    in->last = &q->next;
    return q;
}

void input_enqueue_bytes(struct input *in, const void *bytes, size_t len)
{
    struct queued *q = input_enqueue(in);
    char *copy = test_alloc(len);
    if (len > 0)
        memcpy(copy, bytes, len);
    q->bytes = copy;
    q->len = len;
    if (in->gone)
        input_drop(in);
}

uint64_t input_pending(const struct input *in)
{
    uint64_t pending = 0;
    for (const struct queued *q = in->first; q != NULL; q = q->next)
        pending += q->len - q->done;
    return pending;
}

size_t input_write_some(struct input *in, const void *bytes, size_t len)
{
    size_t done = 0;
    if (in->first != NULL || in->gone)
        return 0;
    while (done < len) {
        ssize_t n = write(in->fd, (const char *)bytes + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            input_is_gone(in);
        if (n < 0)
            break;
        done += (size_t)n;
    }
    in->taken += done;
    return done;
}

void input_drop(struct input *in)
{
    in->first = NULL;
    in->last = &in->first;
}

void input_is_gone(struct input *in)
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
bool input_feed(struct input *in)
{
    bool moved = false;
    for (int round = 0; in->first != NULL && round < READS_A_ROUND; round++) {
        size_t len;
        const char *bytes = input_next(in, &len);
        ssize_t n = len == 0 ? 0 : write(in->fd, bytes, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            input_is_gone(in); /* EPIPE; of a connection ECONNRESET too */
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
bool input_settle(struct input *in)
{
    if (in->fd < 0 || !in->close_when_fed || in->first != NULL)
        return false;
    if (in->shared)
        shutdown(in->fd, SHUT_WR);
    channel_end(&in->fd, in->shared);
    return true;
}

/* ---- what was read ---- */

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

static void output_check(struct output *o, const char *bytes, size_t len)
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
                   (unsigned long long)(o->pattern_offset + i + 1), o->whose,
                   byte_text((unsigned char)bytes[i]), byte_text((unsigned char)pattern[i])));
}

/*
 * Of a connection: that something has come is acknowledged at once. Else a program that sends mark
 * and reply, or a line and its end, in two pieces and without TCP_NODELAY waits 40 ms for each
 * (tcp(7)): it is right all the same, and the test would run out of time.
 */
static void acknowledge(int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
}

/* One read(2) of at most `most` bytes; how many came, -1: none now. */
static ssize_t output_read(struct output *o, size_t most)
{
    static char chunk[CHUNK];
    ssize_t n;
    do
        n = read(o->fd, chunk, most < sizeof chunk ? most : sizeof chunk);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return -1;
    if (n <= 0) {
        o->ended = true;
        o->was_reset = n < 0;
        channel_end(&o->fd, o->shared);
        return 0;
    }
    if (o->shared)
        acknowledge(o->fd);
    o->total += (uint64_t)n;
    if (o->patterned)
        output_check(o, chunk, (size_t)n);
    else if (!o->only_lines)
        output_keep(o, chunk, (size_t)n);
    if (o->by_lines)
        strbuf_add(&o->lines, chunk, (size_t)n);
    return n;
}

/* Reads what there is; true when anything came, or the end did. */
bool output_drain(struct output *o)
{
    bool moved = false;
    for (int round = 0; round < READS_A_ROUND; round++) {
        ssize_t n = output_read(o, CHUNK);
        if (n < 0)
            return moved;
        moved = true;
        if (n < CHUNK / 2)
            return moved; /* nearly empty: poll again */
    }
    return moved;
}

size_t output_let_in(struct output *o, size_t most)
{
    size_t all = 0;
    ssize_t n;
    while (all < most && o->fd >= 0 && (n = output_read(o, most - all)) > 0)
        all += (size_t)n;
    return all;
}

bool output_is_watched(const struct output *o)
{
    return o->fd >= 0 && !o->held && (!o->by_lines || o->lines.len - o->line_pos < KEPT_MAX);
}

void output_by_lines(struct output *o)
{
    if (o->by_lines)
        return;
    strbuf_add(&o->lines, o->kept.text, o->kept.len);
    o->by_lines = true;
}

bool output_has_line(const struct output *o)
{
    return memchr(o->lines.text + o->line_pos, '\n', o->lines.len - o->line_pos) != NULL;
}

const char *output_take(struct output *o, size_t len)
{
    char *bytes = test_alloc(len + 1);
    memcpy(bytes, o->lines.text + o->line_pos, len);
    o->line_pos += len;
    if (o->line_pos > CHUNK) { /* what has been read goes */
        memmove(o->lines.text, o->lines.text + o->line_pos, o->lines.len - o->line_pos);
        strbuf_setlen(&o->lines, o->lines.len - o->line_pos);
        o->line_pos = 0;
    }
    return bytes;
}

const char *output_take_line(struct output *o, size_t *len)
{
    const char *start = o->lines.text + o->line_pos;
    const char *end = memchr(start, '\n', o->lines.len - o->line_pos);
    if (end == NULL)
        return NULL;
    *len = (size_t)(end - start);
    char *line = (char *)output_take(o, *len + 1);
    line[*len] = '\0';
    return line;
}

const char *output_kept(struct output *o, size_t *kept)
{
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

void output_release(struct output *o)
{
    channel_end(&o->fd, o->shared);
    strbuf_release(&o->kept);
    strbuf_release(&o->lines);
}
