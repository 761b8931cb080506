/* Programs on a ring, waiting for it, and the expectations that most tests share. */
#include "suites/shm/peer/shm.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum { PRODUCERS_MAX = 8 };

/* What checks are about that tests of several steps make. */
static const struct about attaching = {
    "Step 3: put and take",
    "A producer attaches before it reads its input. Does ring_attach() count it under mutex, and "
    "post mutex again?"};
static const struct about waiting = {
    "Step 4: waiting",
    "Whoever waits for an item or a space holds nothing that is needed to bring one. In which "
    "order are the two semaphores waited for?"};
static const struct about ending = {
    "Step 5: the end of the stream",
    "A consumer ends when it gets a token and finds the ring empty and closed. Who posts that "
    "token, how often, and what does each consumer do with it?"};

/* ---- programs ---- */

static struct program *start(const char *program, const char *a, const char *b, const char *c)
{
    struct program *p = program_new(program);
    program_arg(p, a);
    if (b != NULL)
        program_arg(p, b);
    if (c != NULL)
        program_arg(p, c);
    program_start(p);
    return p;
}

struct program *producer(const char *name)
{
    return start("producer", name, NULL, NULL);
}

struct program *consumer(const char *name)
{
    return start("consumer", name, NULL, NULL);
}

struct program *consumer_of(const char *name, int count)
{
    return start("consumer", name, "-n", text("%d", count));
}

struct program *ring(const char *verb, const char *name)
{
    return start("ring", verb, name, NULL);
}

struct segment *ring_create(const char *name, uint32_t capacity, bool unbounded)
{
    struct program *p = program_new("ring");
    program_args(p, "create", name, text("%" PRIu32, capacity), NULL);
    if (unbounded)
        program_arg(p, "--unbounded");
    program_start(p);
    expect_exit(p, 0);
    return segment_open(name, "ring create makes the shared memory object /NAME");
}

void send_line(struct program *p, const char *line)
{
    const char *whole = text("%s\n", line);
    program_send(p, whole, strlen(whole));
}

/* ---- waiting ---- */

struct awaited {
    struct segment *s;
    enum field at;
    uint64_t value;
    struct program *p;
};

static uint64_t field_value(const struct segment *s, enum field at)
{
    if (at >= AT_MUTEX)
        return (uint64_t)sem_value(s, at);
    return at >= AT_HEAD ? get64(s, at) : get32(s, at);
}

static const char *field_name(enum field at)
{
    switch (at) {
    case AT_MAGIC:
        return "magic";
    case AT_CAPACITY:
        return "capacity";
    case AT_UNBOUNDED:
        return "unbounded";
    case AT_PRODUCERS:
        return "producers";
    case AT_CLOSED:
        return "closed";
    case AT_HEAD:
        return "head";
    case AT_TAIL:
        return "tail";
    case AT_MUTEX:
        return "the semaphore mutex";
    case AT_ITEMS:
        return "the semaphore items";
    case AT_SPACES:
        return "the semaphore spaces";
    case AT_ITEM:
        break;
    }
    return "?";
}

static bool field_came(void *context)
{
    const struct awaited *a = context;
    return field_value(a->s, a->at) == a->value || (a->p != NULL && program_has_ended(a->p));
}

void wait_field(struct segment *s, enum field at, uint64_t value, struct program *p,
                const char *what)
{
    struct awaited a = {s, at, value, p};
    const char *expected = text("%s: %s becomes %" PRIu64, what, field_name(at), value);
    bool came = wait_until_or_stuck(field_came, &a, expected);
    uint64_t now = field_value(s, at);
    if (now == value)
        return;
    const char *got = text("it is %" PRIu64, now);
    if (p != NULL && program_has_ended(p)) {
        got = text("%s, and a program has ended: %s (%s)", got, status_sentence(program_wait(p)),
                   errors_shown(p));
    } else if (!came) {
        got = text("%s, and nothing happens any more:\n%s", got, describe_waiting());
    }
    test_fail(expected, got);
}

void wait_sem(struct segment *s, enum field at, int value, struct program *p, const char *what)
{
    wait_field(s, at, (uint64_t)value, p, what);
}

void wait_attached(struct segment *s, uint32_t producers, struct program *p)
{
    const struct about *before = test_about(&attaching);
    wait_field(s, AT_PRODUCERS, producers, p, "a producer that starts attaches itself");
    test_about(before);
}

/* ---- expectations ---- */

void expect_success(struct program *p)
{
    expect_exit(p, 0);
    expect_errors_empty(p);
}

void expect_end(struct program *c)
{
    const struct about *before = test_about(&ending);
    expect_success(c);
    test_about(before);
}

void expect_failure(struct program *p, const char *why)
{
    const char *expected = text("exit status 1 and a sentence on stderr: %s", why);
    int status = wait_for_end(p, expected);
    size_t kept;
    program_wait_output_end(p, 2);
    const char *said = program_output(p, 2, &kept);
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 1, expected, status_sentence(status));
    EXPECT(kept > 0 && memchr(said, '\n', kept) != NULL, expected, "no line on stderr");
}

void expect_field(const struct segment *s, enum field at, uint64_t value, const char *what)
{
    uint64_t got = field_value(s, at);
    EXPECT(got == value, text("%s: %s is %" PRIu64, what, field_name(at), value),
           text("%s is %" PRIu64, field_name(at), got));
}

void expect_sem(const struct segment *s, enum field at, int value, const char *what)
{
    expect_field(s, at, (uint64_t)value, what);
}

void expect_mutex_free(const struct segment *s, const char *when)
{
    const struct about *before = test_about(&waiting);
    EXPECT(sem_value(s, AT_MUTEX) == 1,
           text("'mutex' is free (its value is 1) %s: whoever waits for something else does not "
                "hold it, for nobody could bring what is waited for",
                when),
           text("its value is %d", sem_value(s, AT_MUTEX)));
    test_about(before);
}

void expect_line(struct program *p, const void *bytes, size_t len)
{
    size_t got_len;
    const char *expected = text("the consumer prints the item as a line, as soon as it is there: "
                                "%s",
                                quoted(bytes, len, 80));
    const char *got = program_read_line(p, 1, &got_len);
    if (got == NULL)
        test_fail(expected, text("no line: the consumer's output has ended (%s)",
                                 status_sentence(program_wait(p))));
    EXPECT(got_len == len && memcmp(got, bytes, len) == 0, expected,
           text("%zu bytes: %s", got_len, quoted(got, got_len, 80)));
}

void expect_line_text(struct program *p, const char *bytes)
{
    expect_line(p, bytes, strlen(bytes));
}

const char *info_line(const struct segment *s)
{
    return text("capacity=%" PRIu32 " unbounded=%" PRIu32 " producers=%" PRIu32 " closed=%" PRIu32
                " head=%" PRIu64 " tail=%" PRIu64 "\n",
                get32(s, AT_CAPACITY), get32(s, AT_UNBOUNDED), get32(s, AT_PRODUCERS),
                get32(s, AT_CLOSED), get64(s, AT_HEAD), get64(s, AT_TAIL));
}

/* ---- many ---- */

void send_numbered(struct program *p, int i, int each)
{
    size_t size = (size_t)each * 16 + 1, len = 0;
    char *lines = (char *)text("%*s", (int)size - 1, "");
    for (int n = 0; n < each; n++)
        len += (size_t)snprintf(lines + len, size - len, "%d %d\n", i, n);
    program_queue(p, lines, len);
    program_close_input(p);
}

/* Marks the lines of one consumer in `seen`. */
static void mark_items(struct program *p, int who, int producers, int each, char *seen)
{
    int last[PRODUCERS_MAX];
    size_t kept;
    const char *expected = "every item comes out once and whole, those of each producer in the "
                           "order in which it sent them";
    program_wait_output_end(p, 1);
    const char *out = program_output(p, 1, &kept), *end = out + kept;
    EXPECT(kept == program_output_total(p, 1), expected, "far more output than was sent");
    for (int i = 0; i < producers; i++)
        last[i] = -1;
    for (const char *line = out; line < end;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        int i, n, used = -1;
        const char *word = text("%.*s", (int)((stop != NULL ? stop : end) - line), line);
        if (stop == NULL || sscanf(word, "%d %d%n", &i, &n, &used) != 2 ||
            used != (int)strlen(word) || i < 0 || i >= producers || n < 0 || n >= each)
            test_fail(expected,
                      text("consumer %d printed a line that nobody sent: %s", who + 1,
                           quoted(line, (size_t)((stop != NULL ? stop : end) - line), 80)));
        if (seen[i * each + n])
            test_fail(expected, text("item %d of producer %d came out twice", n, i + 1));
        if (n <= last[i])
            test_fail(expected, text("consumer %d printed item %d of producer %d after item %d",
                                     who + 1, n, i + 1, last[i]));
        last[i] = n;
        seen[i * each + n] = 1;
        line = stop + 1;
    }
}

void expect_all_items(struct program *const *consumers, int consumer_count, int producers, int each)
{
    char *seen = calloc((size_t)producers, (size_t)each);
    if (seen == NULL)
        abort();
    for (int i = 0; i < consumer_count; i++)
        mark_items(consumers[i], i, producers, each, seen);
    int lost = 0, first = -1;
    for (int i = 0; i < producers * each; i++)
        if (!seen[i]) {
            first = lost++ == 0 ? i : first;
        }
    EXPECT(lost == 0, "every item that a producer put comes out of a consumer",
           text("%d of %d are lost, the first of them item %d of producer %d", lost,
                producers * each, first % each, first / each + 1));
    free(seen);
}

/* ---- what a program holds ---- */

struct object {
    const char *path;
    int count;
};

static bool count_mapping(const struct mapping *m, void *context)
{
    struct object *o = context;
    o->count += strncmp(m->path, o->path, strlen(o->path)) == 0;
    return true;
}

int mappings_of(struct program *p, const char *name)
{
    struct object o = {text("/dev/shm/%s", name), 0};
    return process_mappings(program_pid(p), count_mapping, &o) ? o.count : -1;
}

int descriptors_of(struct program *p, const char *name)
{
    static struct descriptor_list list;
    const char *object = text("/dev/shm/%s", name);
    int count = 0;
    process_descriptors(program_pid(p), &list);
    for (size_t i = 0; i < list.count; i++)
        if (strncmp(list.fd[i].target, object, strlen(object)) == 0)
            count++;
    return count;
}
