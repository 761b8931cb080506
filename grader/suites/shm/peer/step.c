/* Programs of the lab under the tracer. */
#include "suites/shm/peer/step.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { STEPS_MAX = 20000, LONGEST_MS = 4000 };

static int steps;

static void held(struct program *p, bool traced)
{
    steps = 0;
    if (!traced && !program_has_ended(p))
        test_not_measured(
            text("the right to trace a program of the test (ptrace: %s)", strerror(errno)));
}

void step_start(struct program *p)
{
    held(p, trace_start(p));
}

void step_attach(struct program *p)
{
    held(p, trace_begin(p));
}

static bool went_on(bool stands)
{
    if (!stands && !trace_ended())
        test_fail("the program does its work, and waits for nobody",
                  "it waits in the middle of its work");
    return stands;
}

bool step_to_call(struct trace_stop *stop)
{
    return went_on(trace_next(stop, LONGEST_MS));
}

bool step_instruction(void)
{
    struct trace_stop stop;
    return steps++ < STEPS_MAX ? went_on(trace_step(LONGEST_MS)) : step_to_call(&stop);
}

bool makes_name(const struct trace_stop *stop)
{
    if (stop->leaves)
        return false;
    switch (stop->number) {
    case SYS_openat:
        return (stop->arguments[2] & O_CREAT) != 0;
    case SYS_mknodat:
    case SYS_linkat:
    case SYS_renameat2:
        return true;
#ifdef SYS_open /* not on every machine */
    case SYS_open:
        return (stop->arguments[1] & O_CREAT) != 0;
    case SYS_creat:
    case SYS_mknod:
    case SYS_link:
    case SYS_rename:
    case SYS_renameat:
        return true;
#endif
    }
    return false;
}

/*
 * The object as it is; NULL while it is too short for a header, or not yet its owner's to open: a
 * creator may give it its mode last.
 */
static struct segment *object_there(const char *name)
{
    struct stat st;
    if (!segment_there(name) || stat(text("/dev/shm/%s", name), &st) != 0 ||
        st.st_size < HEADER_SIZE || (st.st_mode & 0600) != 0600)
        return NULL;
    return segment_open(name, "the object can be opened by its owner");
}

/* Nobody but the owner can have it, not even for a moment: what was opened stays open. */
static void expect_private(const char *name)
{
    struct stat st;
    if (stat(text("/dev/shm/%s", name), &st) == 0)
        EXPECT((st.st_mode & 0077) == 0, "the object has mode 0600 from its first moment on",
               text("its creator makes it with mode %04o", (unsigned)st.st_mode & 07777));
}

struct segment *create_step_by_step(const char *name, uint32_t capacity, bool unbounded,
                                    const char *what)
{
    struct program *p = program_new("ring");
    program_args(p, "create", name, text("%u", capacity), NULL);
    if (unbounded)
        program_arg(p, "--unbounded");
    struct trace_stop stop;
    struct segment *s = NULL;
    step_start(p);
    while ((s = object_there(name)) == NULL && step_to_call(&stop))
        expect_private(name);
    while (s != NULL && get32(s, AT_MAGIC) != MAGIC && step_instruction())
        ;
    if (s == NULL)
        s = segment_open(name, what);
    expect_field(s, AT_MAGIC, MAGIC, what);
    struct snapshot ready = segment_snapshot(s);
    trace_end();
    expect_exit(p, 0);
    size_t seen = s->mapped < ring_bytes(capacity) ? s->mapped : ring_bytes(capacity);
    EXPECT(segment_size(s) == ready.size && memcmp(s->at, ready.bytes, seen) == 0, what,
           "magic was there while other fields, semaphores or the length were yet to come");
    return s;
}

/* ---- under the mutex ---- */

static void expect_tokens(const struct segment *s)
{
    uint64_t full = get64(s, AT_TAIL) - get64(s, AT_HEAD), capacity = get32(s, AT_CAPACITY);
    EXPECT((uint64_t)sem_value(s, AT_ITEMS) <= full + get32(s, AT_CLOSED),
           "a token of 'items' is posted when the item, or the end, is there, not before",
           text("'items' is %d, tail - head %d, closed %u", sem_value(s, AT_ITEMS), (int)full,
                get32(s, AT_CLOSED)));
    EXPECT(get32(s, AT_UNBOUNDED) != 0 || (uint64_t)sem_value(s, AT_SPACES) <= capacity - full,
           "a token of 'spaces' is posted when the place is empty, not before",
           text("'spaces' is %d, capacity - (tail - head) %d", sem_value(s, AT_SPACES),
                (int)(capacity - full)));
}

void step_with_mutex(struct segment *s, struct program *p, enum field field, uint64_t value,
                     enum field tokens, int count)
{
    step_attach(p);
    struct snapshot before = segment_snapshot(s);
    bool is_free = true;
    segment_unlock(s);
    for (;;) {
        if (is_free) {
            expect_unchanged(s, &before, "nothing is touched without 'mutex'");
        } else {
            free(before.bytes);
            before = segment_snapshot(s);
        }
        is_free = sem_value(s, AT_MUTEX) > 0;
        if (is_free)
            expect_tokens(s);
        bool came = field >= AT_HEAD ? get64(s, field) == value : get32(s, field) == value;
        if (is_free && came && sem_value(s, tokens) == count)
            return;
        EXPECT(step_instruction(), "it does its work and posts 'mutex'", "it has ended before");
    }
}
