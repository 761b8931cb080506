/* Time-outs: each single wait, and nothing but the wait. */
#include "harness/trace.h"
#include "suites/message/peer/message.h"

#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "support/clock.h"

/* Puts bytes into the pipe until no more fit; how many. */
static size_t fill(int pipe_end)
{
    static const char filler[4096];
    size_t filled = 0;
    ssize_t n;
    fcntl(pipe_end, F_SETFL, O_NONBLOCK);
    for (size_t size = sizeof filler; size > 0; size /= 2)
        while ((n = write(pipe_end, filler, size)) > 0)
            filled += (size_t)n;
    fcntl(pipe_end, F_SETFL, 0); /* as the program expects its stdout */
    return filled;
}

/*
 * Another receiver takes the message between the end of a poll() and what comes then. Where the
 * machine was too slow to bring it in time, again with twice the time.
 */
static void another_was_faster(struct random *r)
{
    enum { MS = 600, LONGEST_MS = 4 * MS, SLEEPS_MS = 100, STOPS_MAX = 50 };
    const char *box = name(r);
    struct letter l = letter(DATA, 1, "grader", word(r)), taken;
    struct trace_stop stop;
    struct queue *q = box_make(box, 2);

    for (int ms = MS;; ms *= 2) {
        harness_stuck_after(STUCK_MS + ms); /* a long sleep is what is asked for */
        int64_t start = clock_ns();
        struct program *p = run("mrecv --box %s --timeout %d", box, ms);
        wait_quiet_or_end(p, "mrecv waits while the mailbox is empty");
        bool lost = false;
        if (!program_has_ended(p)) {
            if (!trace_begin(p))
                return;
            /* Until it sleeps again. */
            for (int i = 0; i < STOPS_MAX && trace_next(&stop, SLEEPS_MS); i++)
                ;
            queue_put(q, &l);
            lost = trace_next(&stop, SLEEPS_MS) && queue_take_now(q, &taken);
            trace_end();
        }
        expect_timeout(p, start, ms,
                       lost ? "another receiver has taken the message: it waits on, for another one"
                            : "no second message has come in time");
        program_wait_output_end(p, 1);
        bool too_late = !lost && program_output_total(p, 1) == 0;
        if (too_late && ms < LONGEST_MS) {
            queue_take_now(q, &taken);
            continue;
        }
        expect_printed(p, lost ? "" : text("%s\n", (const char *)l.body), "what it has received");
        return;
    }
}

TEST(timeout, each_wait_receive, "mrecv: time that was not spent waiting does not count")
{
    enum { MS = 250, MESSAGES = 5 };
    struct random r = random_from_test();
    const char *box = name(&r), *said = word(&r), *want = "";
    char drained[4096];
    int ends[2];

    struct queue *q = box_make(box, MESSAGES);
    for (uint32_t i = 1; i <= MESSAGES; i++) {
        struct letter l = letter(DATA, i, "grader", said);
        queue_put(q, &l);
        want = text("%s%s\n", want, said);
    }
    pipe_make(ends);
    size_t filled = fill(ends[1]);
    struct program *p = command("mrecv --box %s --timeout %d", box, MS);
    program_give(p, 1, ends[1]);
    program_start(p);
    close(ends[1]);
    expect_blocked(p, "mrecv waits for its output to be read");
    let_pass(MS + 50);
    int64_t start = clock_ns();
    while (filled > 0) {
        ssize_t n = read(ends[0], drained, filled < sizeof drained ? filled : sizeof drained);
        filled -= n > 0 ? (size_t)n : filled;
    }
    expect_timeout(p, start, MS, "no sixth message has come in time");
    ssize_t n = read(ends[0], drained, sizeof drained);
    EXPECT(n == (ssize_t)strlen(want) && memcmp(drained, want, strlen(want)) == 0,
           "all five messages are printed", quoted(drained, n > 0 ? (size_t)n : 0, 100));
    close(ends[0]);
    another_was_faster(&r);
}

/* --timeout is for the wait for room, on a link and with --sync, too. */
static void no_room(struct random *r)
{
    const char *box = name(r), *me = name(r), *said = word(r);
    struct letter full = letter(DATA, 1, "grader", "");

    for (int i = 0; i < 4; i++) {
        bool link = i % 2 == 1;
        int ms = i < 2 ? between(r, 100, 150) : 0;
        const char *path = link ? link_of(me, box) : box_of(box), *sync = i != 1 ? " --sync" : "";
        const char *to =
            link ? text("--from %s --to %s", me, box) : text("--box %s --as %s", box, me);
        queue_remove(path);
        struct queue *q = queue_make(path, 1, LETTER_BYTES);
        queue_put(q, &full);
        int64_t start = clock_ns();
        struct program *p = run_with(text("%s\n", said), "msend %s%s --timeout %d", to, sync, ms);
        expect_timeout(p, start, ms, "nobody has made room in time");
        EXPECT(queue_same(q), "a sender removes no queue but its reply queue", "it is gone");
        expect_next(q, full, "what was in the queue before");
        expect_count(q, 0, "the line was not sent");
        expect_gone(reply_of(me), "the sender removes its reply queue when it ends");
    }
}

/* It has been woken since there was room, and another sender took it. Again as above. */
static void another_sender_was_faster(struct random *r)
{
    enum { MS = 300, LONGEST_MS = 8 * MS };
    const char *box = name(r), *me = name(r), *said = word(r);
    struct letter full = letter(DATA, 1, "grader", ""), got;
    struct letter want = letter(DATA, 1, me, said);
    struct queue *q = box_make(box, 1);

    for (int ms = MS; ms <= LONGEST_MS; ms *= 2) {
        harness_stuck_after(STUCK_MS + ms);
        queue_put(q, &full);
        int64_t start = clock_ns();
        struct program *p =
            run_with(text("%s\n", said), "msend --box %s --as %s --timeout %d", box, me, ms);
        wait_quiet_or_end(p, "msend waits while the mailbox is full");
        bool lost = room_is_lost(p, q, &full);
        if (lost) {
            expect_timeout(p, start, ms, "another sender has taken the room: it waits on");
            expect_next(q, full, "the other sender's message");
            expect_count(q, 0, "the line was not sent");
            return;
        }
        /* It waits in mq_send(): then room is never lost. Or it can't be traced, or has ended. */
        bool sent = queue_take_now(q, &got) && strcmp(got.from, me) == 0;
        wait_for_end(p, "msend ends when its line has been sent, or when its time is over");
        while (!sent && queue_take_now(q, &got))
            sent = strcmp(got.from, me) == 0;
        if (sent) {
            expect_letter(&got, &want, "the line, as soon as there was room");
            return;
        }
    }
}

/*
 * The wait for the second ACK has all of its time, however long ago the first one was. Where the
 * machine was too slow to answer the first line in time, again with twice the time.
 */
static void each_ack(struct random *r)
{
    enum { MS = 200, LONGEST_MS = 16 * MS };
    const char *box = name(r), *me = name(r), *a = word(r), *b = word(r);
    struct letter ack = letter(ACK, 1, "grader", "");
    struct queue *q = box_make(box, 2);

    for (int ms = MS;; ms *= 2) {
        harness_stuck_after(STUCK_MS + ms);
        struct program *p = run("msend --box %s --as %s --sync --timeout %d", box, me, ms);
        program_send_text(p, text("%s\n", a));
        expect_next(q, letter(SYNC, 1, me, a), "the first line");
        if (queue_there(reply_of(me)))
            queue_put(queue_open(reply_of(me), "msend makes its reply queue"), &ack);
        wait_quiet_or_end(p, "msend waits for its input");
        if (program_has_ended(p) && ms < LONGEST_MS)
            continue;
        let_pass(ms + 50);
        int64_t start = clock_ns();
        program_send_text(p, text("%s\n", b));
        expect_timeout(p, start, ms, "nobody has answered the second line in time");
        expect_next(q, letter(SYNC, 2, me, b), "the second line stays in the queue");
        expect_gone(reply_of(me), "the sender removes its reply queue when it ends");
        return;
    }
}

TEST(timeout, each_wait_send, "msend: the time runs while it waits for room, not for its input")
{
    enum { MS = 200 };
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *a = word(&r), *b = word(&r);

    struct queue *q = box_make(box, 1);
    struct program *p = run("msend --box %s --as %s --timeout %d", box, me, MS);
    expect_blocked(p, "msend waits for its input");
    let_pass(MS + 50);
    program_send_text(p, text("%s\n", a));
    expect_next(q, letter(DATA, 1, me, a), "the line, however late it came");
    program_send_text(p, text("%s\n", a));
    queue_wait_count(q, 1, "the second line");
    expect_blocked(p, "msend waits for its input");
    let_pass(MS + 50);
    int64_t start = clock_ns();
    program_send_text(p, text("%s\n", b));
    expect_timeout(p, start, MS, "nobody has made room in time");
    expect_next(q, letter(DATA, 2, me, a), "the second line was sent");
    expect_count(q, 0, "the third line was not sent");
    no_room(&r);
    another_sender_was_faster(&r);
    each_ack(&r);
}

TEST(timeout, any_time, "a time is any number of milliseconds, also close to a full second")
{
    struct random r = random_from_test();
    const char *box = name(&r), *other = name(&r), *me = name(&r), *said = word(&r);
    const int times[] = {999, 1000, 1999, 59999, 2000000000};

    struct queue *q = box_make(box, 10);
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        struct program *p = run_with(text("%s\n%s\n%s\n", said, said, said),
                                     "msend --box %s --as %s --timeout %d", box, me, times[i]);
        expect_status(p, 0, text("there is room, nothing is waited for (--timeout %d)", times[i]));
        p = run("mrecv --box %s --count 3 --timeout %d", box, times[i]);
        expect_status(p, 0, text("three messages are there (--timeout %d)", times[i]));
        expect_printed(p, text("%s\n%s\n%s\n", said, said, said), "three messages");
        expect_count(q, 0, "three lines are three messages");
    }
    /* A minute, an hour, and 23 days. */
    const int long_times[] = {60000, 3600000, 2000000000};
    struct queue *small = box_make(other, 1);
    for (size_t i = 0; i < sizeof long_times / sizeof *long_times; i++) {
        int ms = long_times[i];
        struct program *p = run("mrecv --box %s --timeout %d --count 1", box, ms);
        expect_blocked(p, text("mrecv waits, up to %d ms", ms));
        struct letter l = letter(DATA, 1, me, said);
        queue_put(q, &l);
        expect_status(p, 0, "one message has been received");
        expect_printed(p, text("%s\n", said), "the message");

        queue_put(small, &l);
        p = run_with(text("%s\n", said), "msend --box %s --as %s --sync --timeout %d", other, me,
                     ms);
        expect_blocked(p, text("msend waits for room, up to %d ms", ms));
        expect_next(small, l, "what was in the mailbox before");
        expect_next(small, letter(SYNC, 1, me, said), "the line, as soon as there is room");
        expect_blocked(p, text("msend waits for the ACK, up to %d ms", ms));
        struct queue *reply = queue_open(reply_of(me), "msend makes its reply queue");
        l = letter(ACK, 1, "grader", "");
        queue_put(reply, &l);
        expect_status(p, 0, "the line has been acknowledged");
    }
}

/* An ACK that is there before the sender can look for it: then it has not to wait for it. */
static void answered_at_once(struct random *r)
{
    enum { SLEEPS_MS = 1000, STOPS_MAX = 1000 };
    const char *box = name(r), *me = name(r), *said = word(r);
    struct letter ack = letter(ACK, 1, "grader", "");
    struct trace_stop stop;

    struct queue *q = box_make(box, 2);
    struct program *p = run("msend --box %s --as %s --sync --timeout 0", box, me);
    wait_quiet(p, "msend waits for its input");
    if (!trace_begin(p))
        return;
    program_send_some(p, text("%s\n", said), strlen(said) + 1);
    for (int i = 0; i < STOPS_MAX && queue_count(q) == 0 && trace_next(&stop, SLEEPS_MS); i++)
        ;
    queue_put(queue_open(reply_of(me), "msend makes its reply queue before it sends"), &ack);
    trace_end();
    program_close_input(p);
    expect_status(p, 0, "the ACK is there already when msend looks for it: nothing is waited for");
    expect_next(q, letter(SYNC, 1, me, said), "the message");
}

TEST(timeout, zero, "a time of 0 does not wait, neither for room nor for an ACK")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *a = word(&r), *b = word(&r), *c = word(&r);

    struct queue *q = box_make(box, 2);
    struct program *p =
        run_with(text("%s\n%s\n%s\n", a, b, c), "msend --box %s --as %s --timeout 0", box, me);
    expect_status(p, 3, "there is no room for the third line");
    expect_next(q, letter(DATA, 1, me, a), "the first line, for which there was room");
    expect_next(q, letter(DATA, 2, me, b), "the second line, for which there was room");
    expect_count(q, 0, "the third line was not sent");
    p = run_with(text("%s\n%s\n", a, b), "msend --box %s --as %s --sync --timeout 0", box, me);
    expect_status(p, 3, "no ACK is there at once");
    expect_next(q, letter(SYNC, 1, me, a), "the message stays in the queue");
    expect_count(q, 0, "nothing more is sent");
    expect_gone(reply_of(me), "the sender removes its reply queue when it ends");
    answered_at_once(&r);
}

/*
 * The wait for room takes part of the time, the wait for the ACK has all of it once more. Where the
 * machine was too slow to make room in time, again with twice the time.
 */
static void two_waits(struct random *r)
{
    enum { MS = 400, PASSES = MS / 2 };
    const char *box = name(r), *me = name(r), *said = word(r);
    struct letter full = letter(DATA, 1, "grader", "");
    struct queue *q = box_make(box, 1);
    bool sent = false;

    for (int ms = MS; !sent; ms *= 2) {
        harness_stuck_after(STUCK_MS + ms); /* a long sleep is what is asked for */
        queue_put(q, &full);
        int64_t start = clock_ns();
        struct program *p =
            run_with(text("%s\n", said), "msend --box %s --as %s --sync --timeout %d", box, me, ms);
        wait_quiet_or_end(p, "msend waits while the mailbox is full");
        let_pass(PASSES);
        int64_t room = clock_ns();
        expect_next(q, full, "the message that was there before");
        expect_status(p, 3, "nobody has answered in time");
        struct letter got, want = letter(SYNC, 1, me, said);
        sent = queue_take_now(q, &got);
        expect_timeout(
            p, sent ? room : start, ms,
            "the wait for room and the wait for the ACK are two, each with all the time");
        if (sent)
            expect_letter(&got, &want, "the line, as soon as there was room");
    }
}

TEST(timeout, ack, "no ACK in time: 3, the message stays, nothing more is sent")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *a = word(&r), *b = word(&r);
    int ms = between(&r, 150, 250);

    struct queue *q = box_make(box, 5);
    int64_t start = clock_ns();
    struct program *p =
        run_with(text("%s\n%s\n", a, b), "msend --box %s --as %s --sync --timeout %d", box, me, ms);
    expect_timeout(p, start, ms, "nobody has answered in time");
    expect_gone(reply_of(me), "the sender removes its reply queue when it ends");
    expect_next(q, letter(SYNC, 1, me, a), "the message stays in the queue");
    expect_count(q, 0, "nothing more is sent");

    /* A receiver that dies between receipt and ACK: it has the message, and never answers. */
    start = clock_ns();
    p = run_with(text("%s\n%s\n", a, b), "msend --box %s --as %s --sync --timeout %d", box, me, ms);
    expect_next(q, letter(SYNC, 1, me, a), "the message");
    expect_timeout(p, start, ms, "its receiver has died before it has answered");
    expect_count(q, 0, "the message is not sent again, and nothing more is");

    two_waits(&r);

    p = run("mrecv --box %s --count 1", box);
    struct program *sender =
        run_with(text("%s\n", b), "msend --box %s --as %s --sync --timeout 60000", box, me);
    expect_status(sender, 0, "the receiver answers in time");
    expect_status(p, 0, "one message has been received");
    expect_printed(p, text("%s\n", b), "the message");
}

TEST(timeout, foreign_replies, "foreign replies don't lengthen the wait for the ACK")
{
    enum { MS = 300 };
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *said = word(&r);

    struct queue *q = box_make(box, 5);
    int64_t start = clock_ns();
    struct program *p =
        run_with(text("%s\n", said), "msend --box %s --as %s --sync --timeout %d", box, me, MS);
    struct queue *reply = queue_wait(p, reply_of(me), "msend makes its reply queue");
    expect_next(q, letter(SYNC, 1, me, said), "the message");
    for (uint32_t id = 2; !program_has_ended(p); id++) {
        /* One whenever it has gone back to sleep: a wait begun anew would never be over. */
        wait_quiet_or_end(p, "msend waits for its ACK");
        EXPECT(
            clock_ns() - start < (int64_t)20 * MS * NS_PER_MS,
            text("msend --timeout %d ends although a foreign reply comes every now and then", MS),
            text("after %d ms it still waits", 20 * MS));
        struct letter ack = letter(ACK, id, "grader", "");
        if (queue_count(reply) == 0)
            queue_put(reply, &ack);
    }
    expect_timeout(p, start, MS, "no ACK with id 1 has come in time");
    expect_gone(reply_of(me), "the sender removes its reply queue when it ends");
}
