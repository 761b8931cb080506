/*
 * queue.c - the raw queues, and messages by their offsets.
 *
 * A message, as the handout draws it: kind at byte 0, id at 4, from at 8 (32 bytes), len at 40,
 * body at 44 (512 bytes); numbers in the machine's own order, 556 bytes in all.
 */
#include "suites/message/peer/message.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandbox/layers.h"

enum { AT_KIND = 0, AT_ID = 4, AT_FROM = 8, AT_LEN = 40, AT_BODY = 44 };
enum { QUEUES_MAX = 128, TAKE_MAX = 8192, PRIORITY_SHOWN = 31, SOON_MS = 20 };

/* ---- messages ---- */

struct letter letter_bytes(uint32_t kind, uint32_t id, const char *from, const void *body,
                           size_t len)
{
    struct letter l = {.kind = kind, .id = id, .len = (uint32_t)len};
    if (len > BODY_BYTES || strlen(from) > FROM_BYTES)
        suite_failed("a message too long from", from);
    memcpy(l.from, from, strlen(from));
    memcpy(l.body, body, len);
    return l;
}

struct letter letter(uint32_t kind, uint32_t id, const char *from, const char *body)
{
    return letter_bytes(kind, id, from, body, strlen(body));
}

static void encode(unsigned char bytes[static LETTER_BYTES], const struct letter *l)
{
    memset(bytes, 0, LETTER_BYTES);
    memcpy(bytes + AT_KIND, &l->kind, sizeof l->kind);
    memcpy(bytes + AT_ID, &l->id, sizeof l->id);
    memcpy(bytes + AT_FROM, l->from, FROM_BYTES);
    memcpy(bytes + AT_LEN, &l->len, sizeof l->len);
    memcpy(bytes + AT_BODY, l->body, BODY_BYTES);
}

static bool all_zero(const unsigned char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

static struct letter decode(const unsigned char *bytes, size_t size, unsigned priority)
{
    struct letter l = {.size = size, .priority = priority};
    if (size >= AT_ID)
        memcpy(&l.kind, bytes + AT_KIND, sizeof l.kind);
    if (size >= AT_FROM)
        memcpy(&l.id, bytes + AT_ID, sizeof l.id);
    if (size != LETTER_BYTES)
        return l;
    memcpy(l.from, bytes + AT_FROM, FROM_BYTES);
    memcpy(&l.len, bytes + AT_LEN, sizeof l.len);
    memcpy(l.body, bytes + AT_BODY, BODY_BYTES);
    size_t from = strlen(l.from), len = l.len < BODY_BYTES ? l.len : BODY_BYTES;
    l.zero_behind = all_zero((const unsigned char *)l.from + from, FROM_BYTES - from) &&
                    all_zero(l.body + len, BODY_BYTES - len);
    return l;
}

static const char *letter_sentence(const struct letter *l, bool complete)
{
    static const char *const kinds[] = {"0", "DATA", "SYNC", "ACK"};
    if (complete && l->size != LETTER_BYTES)
        return text("a message of %zu bytes", l->size);
    return text("kind %s, id %u, from %s, len %u, body %s, priority %u",
                l->kind <= ACK ? kinds[l->kind] : text("%u", l->kind), l->id,
                quoted(l->from, strlen(l->from), 40), l->len,
                quoted(l->body, l->len < BODY_BYTES ? l->len : BODY_BYTES, 60), l->priority);
}

void expect_letter(const struct letter *got, const struct letter *want, const char *what)
{
    const char *expected = text("%s: %s", what, letter_sentence(want, false));
    bool same = got->size == LETTER_BYTES && got->kind == want->kind && got->id == want->id &&
                strcmp(got->from, want->from) == 0 && got->len == want->len &&
                memcmp(got->body, want->body, want->len) == 0 && got->priority == want->priority;
    EXPECT(same, expected, letter_sentence(got, true));
    EXPECT(got->zero_behind,
           text("%s, with nothing but zero bytes behind the text of `from` and behind `len` bytes "
                "of `body`",
                what),
           "other bytes: what a buffer held before goes out with the message");
}

/* ---- names ---- */

const char *long_name(struct random *r, size_t len)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    char *made = (char *)text("%*s", (int)len, "");
    /* No option begins with a letter. */
    for (size_t i = 0; i < len; i++)
        made[i] = allowed[random_below(r, i == 0 ? 52 : sizeof allowed - 1)];
    return made;
}

const char *name(struct random *r)
{
    return text("%s%s", long_name(r, (size_t)between(r, 12, 16)), unique_suffix());
}

const char *longest_name(struct random *r)
{
    const char *suffix = unique_suffix();
    return text("%s%s", long_name(r, NAME_BYTES - strlen(suffix)), suffix);
}

void longest_names(struct random *r, const char *names[static 2])
{
    const char *suffix = unique_suffix();
    const char *common = text("%s%s", long_name(r, NAME_BYTES - 1 - strlen(suffix)), suffix);
    names[0] = text("%sA", common);
    names[1] = text("%sB", common);
}

const char *box_of(const char *box)
{
    return text("/mbox.%s", box);
}

const char *link_of(const char *from, const char *to)
{
    return text("/mbox.%s.%s", from, to);
}

const char *reply_of(const char *me)
{
    return text("/mbox.%s.reply", me);
}

/* ---- queues ---- */

/* Of this test; they outlive the test's memory. */
static struct queue kept[QUEUES_MAX];
static size_t kept_count;

static void queues_remove(void)
{
    while (kept_count > 0) {
        const struct queue *q = &kept[--kept_count];
        mq_unlink(q->path);
        if (q->fd >= 0)
            mq_close(q->fd);
    }
}

static struct queue *keep(const char *path, mqd_t fd)
{
    if (kept_count == QUEUES_MAX || strlen(path) >= sizeof kept[0].path)
        suite_failed("too many queues, or too long a name", path);
    test_at_end(queues_remove);
    struct queue *q = &kept[kept_count++];
    strcpy(q->path, path);
    q->fd = fd;
    return q;
}

void queue_expected(const char *path)
{
    keep(path, -1);
}

static struct queue *make(const char *path, long capacity, long message_bytes, mode_t mode)
{
    struct mq_attr attributes = {.mq_maxmsg = capacity, .mq_msgsize = message_bytes};
    mqd_t fd = mq_open(path, O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK | O_CLOEXEC, mode, &attributes);
    if (fd == (mqd_t)-1)
        suite_failed("cannot make the queue", path);
    struct queue *q = keep(path, fd);
    give_away_fd(fd, path);
    return q;
}

struct queue *queue_make(const char *path, long capacity, long message_bytes)
{
    return make(path, capacity, message_bytes, 0600);
}

struct queue *queue_make_closed(const char *path)
{
    return make(path, 1, LETTER_BYTES, 0);
}

struct queue *box_make(const char *box, long capacity)
{
    return queue_make(box_of(box), capacity, LETTER_BYTES);
}

/* Whatever it is: it may be one that we have no right to. */
bool queue_there(const char *path)
{
    mqd_t fd = mq_open(path, O_RDONLY | O_CLOEXEC);
    if (fd == (mqd_t)-1)
        return errno != ENOENT;
    mq_close(fd);
    return true;
}

struct queue *queue_open(const char *path, const char *what)
{
    mqd_t fd = mq_open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd == (mqd_t)-1) {
        const char *error = strerror(errno); /* before what_happened() changes errno */
        test_fail(what, text("the queue '%s': %s\n%s", path, error, what_happened()));
    }
    return keep(path, fd);
}

struct waiter {
    struct program *p;
    const char *path;
    const struct queue *q;
    long count;
};

static bool came_or_ended(void *context)
{
    struct waiter *w = context;
    return queue_there(w->path) || program_has_ended(w->p);
}

struct queue *queue_wait(struct program *p, const char *path, const char *what)
{
    struct waiter w = {.p = p, .path = path};
    if (!wait_until_or_stuck(came_or_ended, &w, what))
        test_fail(what, text("there is no queue '%s':\n%s", path, what_happened()));
    if (!queue_there(path))
        test_fail(what, text("there is no queue '%s': %s", path, what_happened()));
    return queue_open(path, what);
}

void queue_remove(const char *path)
{
    mq_unlink(path);
}

/* No program of another grading sees them. (The bench's floor has no slot at all.) */
static bool queues_are_ours(void)
{
#ifdef IPCLAB_FLOOR
    return false;
#else
    return unique_suffix()[0] == '\0';
#endif
}

static int filled;

static const char *filler_of(int i)
{
    static char path[32];
    snprintf(path, sizeof path, "/filler.%d", i);
    return path;
}

void queues_free(void)
{
    while (filled > 0)
        mq_unlink(filler_of(--filled));
}

long queue_limit(const char *limit, long unknown)
{
    FILE *f = fopen(text("/proc/sys/fs/mqueue/%s", limit), "re");
    long value = unknown;
    if (f != NULL) {
        if (fscanf(f, "%ld", &value) != 1)
            value = unknown;
        fclose(f);
    }
    return value;
}

/* Who is privileged may make more than there may be: that is no matter, there is no room then. */
bool queues_fill(void)
{
    enum { MOST = 4096 };
    struct mq_attr attributes = {.mq_maxmsg = 1, .mq_msgsize = 1};
    long most = queue_limit("queues_max", 0);
    if (!queues_are_ours() || most <= 0 || most > MOST)
        return false;
    test_at_end(queues_free);
    while (filled < most) {
        mqd_t fd =
            mq_open(filler_of(filled), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600, &attributes);
        if (fd == (mqd_t)-1)
            break;
        filled++;
        give_away_fd(fd, "a filler");
        mq_close(fd);
    }
    if (filled == most || errno == ENOSPC)
        return true;
    queues_free();
    return false;
}

static struct mq_attr attributes_of(const struct queue *q)
{
    struct mq_attr a;
    if (mq_getattr(q->fd, &a) != 0)
        suite_failed("no attributes of", q->path);
    return a;
}

long queue_count(const struct queue *q)
{
    return attributes_of(q).mq_curmsgs;
}

bool queue_same(const struct queue *q)
{
    struct stat ours, now;
    mqd_t fd = mq_open(q->path, O_RDONLY | O_CLOEXEC);
    if (fd == (mqd_t)-1)
        return false;
    bool same = fstat(q->fd, &ours) == 0 && fstat(fd, &now) == 0 && ours.st_ino == now.st_ino;
    mq_close(fd);
    return same;
}

void expect_queue(const struct queue *q, long capacity, const char *who)
{
    struct mq_attr a = attributes_of(q);
    struct stat s;
    if (fstat(q->fd, &s) != 0)
        suite_failed("no mode of", q->path);
    EXPECT(a.mq_maxmsg == capacity && a.mq_msgsize == LETTER_BYTES && (s.st_mode & 07777) == 0600,
           text("%s makes '%s' with room for %ld messages of %d bytes, mode 0600", who, q->path,
                capacity, (int)LETTER_BYTES),
           text("room for %ld messages of %ld bytes, mode %04o", a.mq_maxmsg, a.mq_msgsize,
                (unsigned)s.st_mode & 07777));
}

void expect_gone(const char *path, const char *why)
{
    static const struct about reply = {
        "Step 6: rendezvous",
        "A reply queue is its sender's: whoever has made it removes its name on every way to the "
        "end. Which function comes last on all of them?"};
    static const struct about link = {
        "Step 3: direct links",
        "A link is removed by its receiver, on every way to the end of it: which function comes "
        "last on all of them? mq_close() leaves the name."};
    size_t len = strlen(path), dots = 0;
    for (const char *at = path; *at != '\0'; at++)
        dots += *at == '.';
    bool of_reply = len > strlen(".reply") && strcmp(path + len - strlen(".reply"), ".reply") == 0;
    const struct about *before = test_about(of_reply ? &reply : dots == 2 ? &link : NULL);
    EXPECT(!queue_there(path), text("the queue '%s' is gone: %s", path, why), "it is still there");
    test_about(before);
    expect_no_other_queue("the handout names all that there are");
}

static bool is_kept(const char *name)
{
    for (size_t i = 0; i < kept_count; i++)
        if (strcmp(kept[i].path + 1, name) == 0)
            return true;
    return false;
}

void expect_no_other_queue(const char *why)
{
    int fd = queues_are_ours() && programs_have_exited() ? sandbox_open_queues() : -1;
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    const char *other = NULL;
    if (folder == NULL) {
        if (fd >= 0)
            close(fd);
        return;
    }
    for (const struct dirent *e; other == NULL && (e = readdir(folder)) != NULL;)
        if (e->d_name[0] != '.' && !is_kept(e->d_name))
            other = text("'/%s' is there", e->d_name);
    closedir(folder);
    EXPECT(other == NULL, text("no other queue is left: %s", why), other);
}

void expect_count(const struct queue *q, long count, const char *why)
{
    long waiting = queue_count(q);
    EXPECT(waiting == count, text("%ld messages in '%s': %s", count, q->path, why),
           text("%ld", waiting));
}

static bool has_count(void *context)
{
    const struct waiter *w = context;
    return queue_count(w->q) == w->count;
}

void queue_wait_count(const struct queue *q, long count, const char *what)
{
    struct waiter w = {.q = q, .count = count};
    if (!wait_until_or_stuck(has_count, &w, what))
        test_fail(
            text("%s: %ld messages in '%s'", what, count, q->path),
            text("%ld, and nothing happens any more:\n%s", queue_count(q), describe_waiting()));
}

static bool has_room(void *context)
{
    const struct queue *q = context;
    struct mq_attr a = attributes_of(q);
    return a.mq_curmsgs < a.mq_maxmsg;
}

void queue_put_bytes(struct queue *q, const void *bytes, size_t len, unsigned priority)
{
    while (mq_send(q->fd, bytes, len, priority) != 0) {
        if (errno != EAGAIN)
            suite_failed("cannot send to", q->path);
        wait_until(has_room, q, text("somebody takes a message from '%s', which is full", q->path));
    }
}

void queue_put(struct queue *q, const struct letter *l)
{
    unsigned char bytes[LETTER_BYTES];
    encode(bytes, l);
    queue_put_bytes(q, bytes, sizeof bytes, l->priority);
}

bool queue_take_now(struct queue *q, struct letter *l)
{
    static unsigned char bytes[TAKE_MAX]; /* a queue's message size is no more than this anywhere */
    unsigned priority = 0;
    ssize_t size = mq_receive(q->fd, (char *)bytes, sizeof bytes, &priority);
    if (size < 0 && errno != EAGAIN)
        suite_failed("cannot receive from", q->path);
    if (size < 0)
        return false;
    *l = decode(bytes, (size_t)size, priority);
    return true;
}

static bool has_message(void *context)
{
    return queue_count(context) > 0;
}

struct letter queue_take(struct queue *q, const char *what)
{
    struct letter l;
    /* Mostly it is there, or will be in a moment: that is quicker seen so. */
    struct pollfd soon = {.fd = q->fd, .events = POLLIN};
    while (!queue_take_now(q, &l)) {
        if (poll(&soon, 1, SOON_MS) > 0)
            continue;
        if (!wait_until_or_stuck(has_message, q, what))
            test_fail(text("%s: a message in '%s'", what, q->path),
                      text("nothing in it, and nothing happens any more:\n%s", what_happened()));
    }
    return l;
}

void expect_next(struct queue *q, struct letter want, const char *what)
{
    struct letter got = queue_take(q, what);
    expect_letter(&got, &want, what);
}

void expect_ack(struct queue *reply, uint32_t id, const char *what)
{
    struct letter got = queue_take(reply, what);
    bool right = got.size == LETTER_BYTES && got.kind == ACK && got.id == id && got.len == 0 &&
                 got.priority == 0;
    EXPECT(right,
           text("%s: a message of %d bytes, kind ACK, id %u, len 0, priority 0", what,
                (int)LETTER_BYTES, id),
           letter_sentence(&got, true));
    EXPECT(all_zero(got.body, BODY_BYTES),
           text("%s: with nothing but zero bytes behind `len` bytes of `body`", what),
           "other bytes: what a buffer held before goes out with the message");
}
