/* Descriptors closed at the start, inherited, shared with the caller. */
#include "suites/pipe/peer/pipe.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { ALL_CLOSED = 7 };

static const char *closed_names(int closed)
{
    static const char *const names[] = {"",  "0",       "1",       "0 and 1",
                                        "2", "0 and 2", "1 and 2", "0, 1 and 2"};
    return names[closed];
}

static void close_streams(struct program *p, int closed)
{
    for (int fd = 0; fd < 3; fd++)
        if (closed & (1 << fd))
            program_stream(p, fd, STREAM_CLOSED);
}

static void expect_data(const char *file, const char *sent, int closed)
{
    size_t len;
    const char *expected =
        text("started with %s closed, the data still goes its way", closed_names(closed));
    const char *got = file_text(file, &len, expected);
    EXPECT(len == strlen(sent) && memcmp(got, sent, len) == 0, text("%s: '%s'", expected, sent),
           quoted(got, len, 100));
}

/* Two stages with every combination of 0, 1 and 2 closed at the start. */
static void expect_closed_works(const char *option)
{
    struct random r = random_from_test();
    bool meter = *option != '\0';

    for (int closed = 1; closed <= ALL_CLOSED; closed++) {
        const char *sent = word(&r);
        struct program *p =
            pipeline("%s @ report first%d say %s | @ report last%d sink got%d exit 4", option,
                     closed, sent, closed, closed);
        close_streams(p, closed);
        program_start(p);
        /* With stderr closed the meter has nowhere to print, which may count as its failure. */
        if (meter && (closed & 4))
            program_wait(p);
        else
            expect_pipeline_status(
                p, 4,
                text("the status of the last stage; %s closed at the start", closed_names(closed)));
        expect_data(text("got%d", closed), sent, closed);
        struct held first = held_read(text("first%d", closed), "the first stage"),
                    last = held_read(text("last%d", closed), "the last stage");
        if (closed & 1)
            expect_closed_or_null(&first, 0, "the first stage");
        if (closed & 2)
            expect_closed_or_null(&last, 1, "the last stage");
        if (closed & 4) {
            expect_closed_or_null(&first, 2, "the first stage");
            expect_closed_or_null(&last, 2, "the last stage");
        } else if (meter) {
            expect_links(p, (uint64_t[]){strlen(sent)}, 1);
        }
        expect_no_more(&first, "the first stage");
        expect_no_more(&last, "the last stage");
    }
}

TEST(descriptors, any_closed, "with any of 0, 1 and 2 closed at the start the data goes its way")
{
    expect_closed_works("");
}

TEST(descriptors, closed_meter, "--meter with any of 0, 1 and 2 closed at the start")
{
    expect_closed_works("--meter");
}

TEST(descriptors, closed_coprocess, "--coprocess with any of 0, 1 and 2 closed at the start")
{
    struct random r = random_from_test();

    gate_make("gate");
    for (int closed = 1; closed <= ALL_CLOSED; closed++) {
        const char *sent = word(&r), *said = word(&r);
        struct program *p = pipeline("--coprocess @ report child%d arrive up%d await gate "
                                     "sink got%d say %s exit 4",
                                     closed, closed, closed, said);
        close_streams(p, closed);
        program_start(p);
        file_wait(p, text("up%d", closed), "the child runs");
        gate_open("gate", 1);
        if (!(closed & 1)) {
            program_send_text(p, sent);
            program_close_input(p);
        }
        if (closed & 2)
            program_wait(p); /* what the child says is thrown away, or ends it */
        else
            expect_pipeline_status(
                p, 4,
                text("the status of the child; %s closed at the start", closed_names(closed)));
        if (!(closed & 2))
            expect_bytes(p, said, strlen(said), "what the child says");
        expect_data(text("got%d", closed), closed & 1 ? "" : sent, closed);
        struct held child = held_read(text("child%d", closed), "the child");
        if (closed & 4)
            expect_closed_or_null(&child, 2, "the child");
        expect_no_more(&child, "the child");
    }

    /* More than a pipe holds: it is thrown away, or the child cannot write it. */
    struct program *p = pipeline("--coprocess @ emit 1 300000 exit 4");
    program_stream(p, 1, STREAM_CLOSED);
    program_start(p);
    program_close_input(p);
    wait_for_end(p, "pipeline ends, although its stdout was closed at the start and the child "
                    "writes more than a pipe holds");
}

TEST(descriptors, meter, "--meter: two pipes a link, and a stage holds no end but its own")
{
    enum { STAGES = 4 };
    struct held h[STAGES];

    struct program *p = pipeline("--meter @ report stage0");
    for (int i = 1; i < STAGES; i++)
        program_words(p, "| @ report stage%d", i);
    program_words(p, "exit 4");
    program_start(p);
    expect_pipeline_status(p, 4, "the status of the last stage");
    for (int i = 0; i < STAGES; i++) {
        const char *stage = text("stage %d of %d", i + 1, STAGES);
        h[i] = held_read(text("stage%d", i), stage);
        expect_no_more(&h[i], stage);
        if (i == 0)
            continue;
        EXPECT(h[i - 1].kind[1] == HELD_PIPE && h[i].kind[0] == HELD_PIPE,
               "each link is one pipe into pipeline and one out of it",
               "a stage is joined to something else than a pipe");
        EXPECT(h[i - 1].inode[1] != h[i].inode[0],
               "each link is one pipe into pipeline and one out of it, so that the bytes pass "
               "through pipeline",
               text("stage %d writes into the very pipe that stage %d reads", i, i + 1));
    }
}

TEST(descriptors, coprocess, "--coprocess: the child holds its two pipes, stderr, and no other end")
{
    gate_make("gate");
    struct program *p = pipeline("--coprocess @ report child arrive up await gate exit 4");
    program_start(p);
    file_wait(p, "up", "the child runs");
    gate_open("gate", 1);
    expect_pipeline_status(p, 4, "the status of the child");
    struct held h = held_read("child", "the child");
    expect_no_more(&h, "the child");
    EXPECT(h.kind[0] == HELD_PIPE && h.kind[1] == HELD_PIPE,
           "the child's stdin and stdout are two pipes", "one of them is something else");
    EXPECT(h.inode[0] != h.inode[1], "the child's stdin and stdout are two pipes",
           "both are the same pipe");
}

struct reading {
    struct program *p;
    int fd;
    size_t len;
};

static bool read_enough(void *context)
{
    struct reading *w = context;
    char bytes[64];
    while (w->len > 0) {
        ssize_t n = read(w->fd, bytes, w->len < sizeof bytes ? w->len : sizeof bytes);
        if (n <= 0)
            break;
        w->len -= (size_t)n;
    }
    return w->len == 0 || program_has_ended(w->p);
}

static void expect_flags(const int fd[2], const int flags[2], const char *when)
{
    for (int i = 0; i < 2; i++) {
        int now = fcntl(fd[i], F_GETFL);
        EXPECT(now == flags[i],
               "the flags of the caller's descriptors stay as they were: O_NONBLOCK belongs to the "
               "open pipe, which the caller and others share",
               text("%s, O_NONBLOCK of %s is %s", when, i == 0 ? "stdin" : "stdout",
                    now & O_NONBLOCK ? "set" : "not set"));
    }
}

TEST(descriptors, flags, "the flags of the caller's descriptors stay as they were")
{
    static const char *const forms[] = {"@ copy | @ copy exit 4", "--meter @ copy | @ copy exit 4",
                                        "--coprocess @ copy exit 4"};
    struct random r = random_from_test();

    for (int i = 0; i < 3; i++) {
        const char *sent = word(&r);
        int in[2], out[2];
        pipe_make(in);
        pipe_make(out);
        fcntl(out[0], F_SETFL, O_NONBLOCK); /* ours: another open file than the writing end */
        const int shared[2] = {in[0], out[1]};
        const int flags[2] = {fcntl(in[0], F_GETFL), fcntl(out[1], F_GETFL)};

        struct program *p = pipeline("%s", forms[i]);
        program_give(p, 0, in[0]);
        program_give(p, 1, out[1]);
        program_start(p);
        struct reading reading = {p, out[0], strlen(sent)};
        EXPECT(write(in[1], sent, strlen(sent)) == (ssize_t)strlen(sent), "a word is sent", "not");
        wait_until(read_enough, &reading, "what is sent comes back");
        EXPECT(reading.len == 0, "what is sent comes back", "the pipeline ended instead");
        wait_quiet(p, "the pipeline waits for more input");
        expect_flags(shared, flags, "while it runs");
        close(in[1]);
        expect_pipeline_status(p, 4, "the status of the last stage");
        expect_flags(shared, flags, "after its end");
        close(in[0]);
        close(out[0]);
        close(out[1]);
    }

    /* And what is set stays set. Our stdin is at its end and our stdout has room, so nothing that
     * --coprocess does with them would have to wait. */
    static const char *const silent[] = {"@ arrive here0 await gate | @ drain exit 4",
                                         "--meter @ arrive here1 await gate | @ drain exit 4",
                                         "--coprocess @ arrive here2 await gate exit 4"};
    gate_make("gate");
    for (int i = 0; i < 3; i++) {
        int in[2], out[2];
        pipe_make(in);
        pipe_make(out);
        close(in[1]);
        fcntl(in[0], F_SETFL, O_NONBLOCK);
        fcntl(out[1], F_SETFL, O_NONBLOCK);
        const int shared[2] = {in[0], out[1]};
        const int flags[2] = {fcntl(in[0], F_GETFL), fcntl(out[1], F_GETFL)};
        struct program *p = pipeline("%s", silent[i]);
        program_give(p, 0, in[0]);
        program_give(p, 1, out[1]);
        program_start(p);
        file_wait(p, text("here%d", i), "the first stage runs");
        wait_quiet(p, "the pipeline waits for its stages");
        expect_flags(shared, flags, "while it runs");
        gate_open("gate", 1);
        expect_pipeline_status(p, 4, "the status of the last stage");
        expect_flags(shared, flags, "after its end");
        close(in[0]);
        close(out[0]);
        close(out[1]);
    }
}
