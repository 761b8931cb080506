/* --unbounded: when what waits in the sender goes out. */
#include "suites/message/peer/message.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "support/clock.h"

TEST(unbounded, at_once, "while there is room a line goes out at once")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *a = word(&r), *b = word(&r);

    struct queue *q = box_make(box, 2);
    struct program *p = run("msend --box %s --as %s --unbounded", box, me);
    program_send_text(p, text("%s\n", a));
    expect_next(q, letter(DATA, 1, me, a), "the first line, while the input is still open");
    expect_idle(p, "its input is silent and the queue is empty");
    program_send_text(p, text("%s\n", b));
    expect_next(q, letter(DATA, 2, me, b), "the second line");
    program_send_text(p, text("%s\n%s\n%s\n", b, a, b));
    expect_idle(p, "its input is silent, the queue is full and a line waits");
    program_close_input(p);
    expect_next(q, letter(DATA, 3, me, b), "the third line");
    wait_quiet_or_end(p, "msend ends, and does not look again and again for a receiver");
    expect_status(p, 0, "the queue has taken everything: msend waits for no receiver");
    expect_count(q, 2, "what was sent last is in the queue");

    /* The same on a link, and more than the link, a small pipe and msend.c can hold. */
    enum { LINES = 200 };
    const char *to = name(&r), *said = long_name(&r, 500);
    p = command("msend --from %s --to %s --unbounded", me, to);
    program_pipe_size(p, 4096);
    program_start(p);
    q = queue_wait(p, link_of(me, to), "msend makes the link");
    program_send_text(p, text("%s 1\n", said));
    expect_next(q, letter(DATA, 1, me, text("%s 1", said)), "the first line, over the link");
    for (int i = 2; i <= LINES; i++)
        EXPECT(program_send_text(p, text("%s %d\n", said, i)) > 0,
               "msend --unbounded reads all of its input although the link is full", "it stopped");
    expect_idle(p, "the link is full and its input is open and silent");
    for (uint32_t i = 2; i <= LINES; i++)
        expect_next(q, letter(DATA, i, me, text("%s %u", said, i)), "the lines, in their order");
    program_close_input(p);
    expect_status(p, 0, "the link has taken everything");
}

TEST(unbounded, silent_input, "what waits goes out as room appears, though the input is silent")
{
    enum { LINES = 9 };
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *said = word(&r);
    size_t lens[LINES] = {0, 1, 511, 512, 512, 512, 257, 300, 512};
    unsigned char bodies[LINES][BODY_BYTES + 1];
    random_shuffle(&r, lens, LINES, sizeof *lens);
    for (int i = 0; i < LINES; i++) {
        random_line_bytes(&r, bodies[i], lens[i]);
        if (lens[i] > 2) /* bytes that end a text, or are no part of one */
            memcpy(bodies[i], (unsigned char[]){0, 255, '\r'}, 3);
        bodies[i][lens[i]] = '\n';
    }

    struct queue *q = box_make(box, 2);
    struct program *p = run("msend --box %s --as %s --unbounded", box, me);
    for (int i = 0; i < LINES; i++)
        program_send(p, bodies[i], lens[i] + 1);
    expect_idle(p, "the queue is full and its input is open and silent");
    for (uint32_t i = 1; i <= LINES; i++) {
        expect_next(q, letter_bytes(DATA, i, me, bodies[i - 1], lens[i - 1]),
                    text("the lines, in their order: line %u, of %zu bytes, whatever they are", i,
                         lens[i - 1]));
        queue_wait_count(q, LINES - (long)i < 2 ? LINES - (long)i : 2,
                         "what waits goes out as soon as there is room");
    }
    expect_idle(p, "everything is out and its input is open and silent");
    for (int i = 1; i <= 6; i++)
        program_send_text(p, text("%s %d\n", said, i));
    expect_idle(p, "the queue is full and four lines wait");
    /* Room for two at once. */
    program_stop(p);
    for (uint32_t i = 1; i <= 2; i++)
        expect_next(q, letter(DATA, LINES + i, me, text("%s %u", said, i)),
                    "what was in the queue");
    program_signal(p, SIGCONT);
    queue_wait_count(q, 2, "there was room for two: two of the lines that waited go out");
    for (uint32_t i = 3; i <= 6; i++)
        expect_next(q, letter(DATA, LINES + i, me, text("%s %u", said, i)), "what waited");
    program_send_text(p, text("%s\n", said));
    expect_next(q, letter(DATA, LINES + 7, me, said), "a line that came after that");
    program_close_input(p);
    expect_status(p, 0, "the queue has taken everything");
}

/* There was room, but another sender was faster: all input is accepted all the same. */
static void room_is_taken(struct random *r)
{
    enum { LINES = 300 };
    const char *box = name(r), *me = name(r), *said = long_name(r, 500);
    struct letter filler = letter(DATA, 1, "grader", "");

    struct queue *q = box_make(box, 1);
    struct program *p = command("msend --box %s --as %s --unbounded", box, me);
    program_pipe_size(p, 4096);
    program_start(p);
    for (int i = 1; i <= 3; i++)
        program_send_text(p, text("%s %d\n", said, i));
    expect_idle(p, "the queue is full and two lines wait");
    uint32_t next = 1;
    if (room_is_lost(p, q, &filler)) {
        next = 2;
        expect_idle(p, "another sender has taken the room");
    }
    for (int i = 4; i <= LINES; i++)
        EXPECT(program_send_text(p, text("%s %d\n", said, i)) > 0,
               "msend --unbounded reads all of its input although others fill the queue",
               "it stopped");
    program_close_input(p);
    struct letter l = queue_take(q, "what is in the queue");
    if (next == 2)
        expect_letter(&l, &filler, "the other sender's message");
    else
        next = l.id + 1;
    for (; next <= LINES; next++)
        expect_next(q, letter(DATA, next, me, text("%s %u", said, next)), "all lines, in order");
    expect_status(p, 0, "the queue has taken everything");
}

TEST(unbounded, both_at_once, "room and a new line at once: what waits still goes first")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *said = word(&r);

    struct queue *q = box_make(box, 3);
    struct program *p = run("msend --box %s --as %s --unbounded", box, me);
    for (int i = 1; i <= 5; i++)
        program_send_text(p, text("%s %d\n", said, i));
    expect_idle(p, "the queue is full and two lines wait");
    /* Stopped, so that it finds both when it goes on. */
    program_stop(p);
    program_send_text(p, text("%s 6\n", said));
    for (uint32_t i = 1; i <= 3; i++)
        expect_next(q, letter(DATA, i, me, text("%s %u", said, i)), "what was in the queue");
    program_signal(p, SIGCONT);
    for (uint32_t i = 4; i <= 6; i++)
        expect_next(q, letter(DATA, i, me, text("%s %u", said, i)), "the lines, in their order");
    program_close_input(p);
    expect_status(p, 0, "the queue has taken everything");
    room_is_taken(&r);
}

/* Waiting for a sender to have kept what it was given, at whatever cost. */
struct keeping {
    struct program *p;
    struct activity last;
    int64_t since;
};

/* It sleeps, or has ended. */
static bool has_kept(void *context)
{
    struct keeping *k = context;
    pid_t pid = program_pid(k->p);
    struct activity now = activity_sample(pid);
    int64_t time = clock_ns();
    if (program_has_ended(k->p))
        return true;
    if (now.all_asleep && k->since != 0 && activity_same(&now, &k->last))
        return time - k->since >= BLOCKED_MS * (int64_t)NS_PER_MS;
    k->last = now;
    k->since = time;
    return false;
}

/*
 * Many more: what it costs to keep a line does not grow with the lines that wait. A walk through
 * all of them makes each part dearer than the one before. One dear part alone is none: memory that
 * doubles is copied then, or the machine was busy.
 */
static void keeps_more(struct random *r)
{
    enum { PARTS = 6, PARTS_MAX = 15, PART = 10000, TIMES_MAX = 5, DEAR_MAX = 3, LOOKED_AT = 100 };
    const double little = 0.3; /* seconds of processor time */
    const char *box = name(r), *me = name(r);
    char *input = (char *)text("%*s", PART * 12, "");
    double first = 0, before = 0, most = 0;
    int dear = 0; /* parts, one after the other */

    struct queue *q = box_make(box, 10);
    struct program *p = run("msend --box %s --as %s --unbounded", box, me);
    for (int part = 0; part < PARTS || (dear > 0 && part < PARTS_MAX); part++) {
        struct keeping k = {.p = p};
        size_t len = 0;
        for (int i = 1; i <= PART; i++)
            len += (size_t)sprintf(input + len, "%d\n", part * PART + i);
        bool taken = program_send(p, input, len) == len;
        wait_until(has_kept, &k, "msend keeps the lines that the queue can't hold");
        EXPECT(
            taken && !program_has_ended(p),
            text("msend --unbounded keeps what the queue can't hold, %d lines", (part + 1) * PART),
            text("it stopped after more than %d lines (%s)", part * PART, errors_shown(p)));
        double spent = process_cpu_seconds(program_pid(p)) - before;
        before += spent;
        if (part == 0) {
            first = spent;
            most = TIMES_MAX * first > little ? TIMES_MAX * first : little;
        }
        dear = spent > most ? dear + 1 : 0;
        EXPECT(dear < DEAR_MAX, "to keep one more line costs the same, however many lines wait",
               text("%d lines took %.2f s of processor time when none waited, and %.2f s when %d "
                    "did",
                    PART, first, spent, part * PART));
    }
    expect_idle(p, "the queue is full and its input is silent");
    for (int i = 1; i <= LOOKED_AT; i++)
        expect_next(q, letter(DATA, (uint32_t)i, me, text("%d", i)), "all lines, in their order");
    program_signal(p, SIGKILL);
    expect_killed(p, SIGKILL);
}

TEST(unbounded, many, "20,000 lines wait in the sender and go out in order")
{
    enum { LINES = 20000, LOOKED_AT = 3000 };
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r);
    char *input = (char *)text("%*s", LINES * 12, "");
    size_t len = 0;
    for (int i = 1; i <= LINES; i++)
        len += (size_t)sprintf(input + len, "%d\n", i);

    struct queue *q = box_make(box, 10);
    struct program *p = run("msend --box %s --as %s --unbounded", box, me);
    EXPECT(program_send(p, input, len) == len, "msend --unbounded reads all of its input",
           "it stopped");
    program_close_input(p);
    for (int i = 1; i <= LOOKED_AT; i++)
        expect_next(q, letter(DATA, (uint32_t)i, me, text("%d", i)), "all lines, in their order");
    /* The rest to a receiver of the lab. */
    struct program *receiver = command("mrecv --box %s --count %d", box, LINES - LOOKED_AT);
    program_start(receiver);
    expect_status(receiver, 0, "all messages have been received");
    expect_status(p, 0, "the queue has taken everything");
    const char *rest = text("%d\n", LOOKED_AT + 1);
    size_t kept, skipped = (size_t)(strstr(input, text("\n%s", rest)) + 1 - input);
    program_wait_output_end(receiver, 1);
    const char *got = program_output(receiver, 1, &kept);
    EXPECT(kept == len - skipped && memcmp(got, input + skipped, kept) == 0,
           "the receiver prints the rest of the lines, in their order",
           text("%zu of %zu bytes, or others", kept, len - skipped));
    keeps_more(&r);
}

TEST(unbounded, long_line, "a line too long: what came before it is sent all the same, then 1")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *a = word(&r), *b = word(&r), *c = word(&r);

    struct queue *q = box_make(box, 1);
    struct program *p =
        run_with(text("%s\n%s\n%s\n%s\n%s\n", a, b, c, long_name(&r, BODY_BYTES + 1), a),
                 "msend --box %s --as %s --unbounded", box, me);
    queue_wait_count(q, 1, "the first line is in the mailbox");
    expect_idle(p, "the queue is full, and lines before the long one still wait");
    expect_next(q, letter(DATA, 1, me, a), "the lines before the long one");
    expect_next(q, letter(DATA, 2, me, b), "the lines before the long one");
    expect_failure(p, "line 4 is too long, and what came before it has been sent");
    expect_next(q, letter(DATA, 3, me, c), "the lines before the long one");
    expect_count(q, 0, "the long line and what is behind it is not sent");
}

TEST(unbounded, excludes, "--unbounded goes neither with --sync nor with --timeout")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *from = name(&r), *to = name(&r);
    const char *said = word(&r);

    struct queue *q = box_make(box, 1);
    expect_usage(text("msend --box %s --as %s --sync --unbounded", box, me),
                 "--unbounded excludes --sync");
    expect_usage(text("msend --box %s --as %s --unbounded --timeout 5", box, me),
                 "--unbounded excludes --timeout");
    expect_usage(text("msend --from %s --to %s --unbounded --timeout 0", from, to),
                 "--unbounded excludes --timeout");
    EXPECT(!queue_there(reply_of(me)) && !queue_there(link_of(from, to)),
           "wrong usage makes nothing", "a queue has been made");
    struct program *p =
        run_with(text("%s\n%s\n", said, said), "msend --box %s --as %s --unbounded", box, me);
    queue_wait_count(q, 1, "the first line is in the mailbox");
    expect_idle(p, "the queue is full and its input has ended");
    expect_next(q, letter(DATA, 1, me, said), "the first line");
    expect_next(q, letter(DATA, 2, me, said), "the second line");
    expect_status(p, 0, "the queue has taken everything");

    /* Its input may be a file, too. */
    file_make("lines", text("%s\n%s\n%s", said, said, said), 0644);
    int file = open(text("%s/lines", test_directory()), O_RDONLY | O_CLOEXEC);
    p = command("msend --box %s --as %s --unbounded", box, me);
    program_give(p, 0, file);
    program_start(p);
    close(file);
    for (uint32_t i = 1; i <= 3; i++)
        expect_next(q, letter(DATA, i, me, said), "the lines of the file");
    expect_status(p, 0, "the queue has taken everything");
}
