/* The rendezvous, with everything that can come between. */
#include "harness/trace.h"
#include "suites/message/peer/message.h"

#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

static void put_ack(struct queue *reply, uint32_t id)
{
    struct letter ack = letter(ACK, id, "grader", "");
    queue_put(reply, &ack);
}

TEST(sync, reply_queue, "the reply queue is made before the message is sent, and is private")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *said = word(&r), *old = word(&r);

    struct queue *q = box_make(box, 1);
    struct letter full = letter(DATA, 1, "grader", old);
    queue_put(q, &full);
    struct program *p = run_with(text("%s\n", said), "msend --box %s --as %s --sync", box, me);
    struct queue *reply =
        queue_wait(p, reply_of(me), "msend makes its reply queue before it sends");
    expect_blocked(p, "msend waits while the mailbox is full");
    expect_queue(reply, 1, "msend --sync");
    expect_next(q, full, "the message that was there before");
    expect_next(q, letter(SYNC, 1, me, said), "the line, as soon as there is room");
    expect_blocked(p, "msend waits for the ACK with id 1");
    put_ack(reply, 1);
    expect_status(p, 0, "the line has been acknowledged");
    expect_gone(reply_of(me), "the sender removes its reply queue when it ends");

    /* The mailbox is there, and the system has no room for one more queue. */
    if (!queues_fill())
        return;
    p = run_with(text("%s\n", said), "msend --box %s --as %s --sync", box, me);
    expect_failure(p, "its reply queue can't be made");
    expect_count(q, 0, "no message is sent that nobody could answer");
    queues_free();
    expect_gone(reply_of(me), "it has not been made");
}

TEST(sync, old_reply_queue, "a reply queue that was left behind is replaced, ACK and all")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *said = word(&r);

    for (int i = 0; i < 3; i++) {
        struct queue *q = i == 0 ? box_make(box, 5) : queue_open(box_of(box), "the mailbox");
        struct queue *old =
            i == 2 ? queue_make_closed(reply_of(me))
                   : queue_make(reply_of(me), i == 0 ? 1 : 4, i == 0 ? LETTER_BYTES : 64);
        if (i == 0)
            put_ack(old, 1);
        struct program *p = run_with(text("%s\n", said), "msend --box %s --as %s --sync", box, me);
        expect_next(q, letter(SYNC, 1, me, said), "the line");
        expect_blocked(p, "msend waits for a new ACK, not for one that an earlier run left");
        EXPECT(!queue_same(old), "the old reply queue is replaced by a new one",
               "it is the old one");
        struct queue *reply = queue_open(reply_of(me), "msend makes its reply queue");
        expect_queue(reply, 1, "msend --sync");
        put_ack(reply, 1);
        expect_status(p, 0, "the line has been acknowledged");
        expect_gone(reply_of(me), "the sender removes its reply queue when it ends");
    }
}

TEST(sync, foreign_kinds, "what is no ACK with the right id does not free the sender")
{
    enum { MANY = 200 };
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *a = word(&r), *b = word(&r);
    unsigned char bytes[LETTER_BYTES];

    struct queue *q = box_make(box, 10);
    struct program *p = run_with(text("%s\n%s\n", a, b), "msend --box %s --as %s --sync", box, me);
    struct queue *reply = queue_wait(p, reply_of(me), "msend makes its reply queue");
    expect_next(q, letter(SYNC, 1, me, a), "the first line, as kind SYNC");
    struct letter foreign[] = {
        letter(DATA, 1, me, "x"),       letter(SYNC, 1, me, "x"),   letter(0, 1, me, ""),
        letter(ACK + 1, 1, me, ""),     letter(ACK, 2, me, ""),     letter(ACK, 0x01000000, me, ""),
        letter(ACK, 257, me, ""),       letter(ACK, 65537, me, ""), letter(ACK + 256, 1, me, ""),
        letter(ACK + 65536, 1, me, ""),
    };
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        queue_put(reply, &foreign[i]);
        queue_wait_count(reply, 0, "msend takes the foreign message out of its reply queue");
        expect_blocked(p, text("msend goes on waiting after a message of kind %u with id %u",
                               foreign[i].kind, foreign[i].id));
        expect_count(q, 0, "nothing more is sent before the right ACK is there");
    }
    memset(bytes, 0, sizeof bytes);
    bytes[0] = ACK;
    bytes[4] = 1;
    const size_t sizes[] = {0, 4, 8, 44, LETTER_BYTES - 1};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        queue_put_bytes(reply, bytes, sizes[i], 0);
        queue_wait_count(reply, 0, "msend takes the foreign message out of its reply queue");
        expect_blocked(p, text("msend goes on waiting after a message of %zu bytes", sizes[i]));
        expect_count(q, 0, "nothing more is sent before the right ACK is there");
    }
    for (uint32_t id = 2; id <= MANY; id++) {
        put_ack(reply, id);
        queue_wait_count(reply, 0, "msend takes the foreign ACK out of its reply queue");
    }
    expect_blocked(p, "msend goes on waiting, however many replies were none");
    expect_count(q, 0, "nothing more is sent before the right ACK is there");
    /* Whoever it is from, whatever else is in it: kind and id are what counts. */
    struct letter ack = letter(ACK, 1, "", "anything");
    memset(ack.from, 0xff, FROM_BYTES);
    ack.len = UINT32_MAX;
    ack.priority = 9;
    queue_put(reply, &ack);
    expect_next(q, letter(SYNC, 2, me, b), "the second line, after the right ACK");
    put_ack(reply, 1);
    queue_wait_count(reply, 0, "msend takes the late ACK out of its reply queue");
    expect_blocked(p, "msend waits for the ACK with id 2, and not for a second one with id 1");
    put_ack(reply, 2);
    expect_status(p, 0, "both lines have been acknowledged");
}

/* It enters a call that does nothing but let time pass: no descriptor, and an end. */
static bool begins_to_sleep(const struct trace_stop *stop)
{
    if (stop->leaves)
        return false;
    switch (stop->number) {
    case SYS_nanosleep:
    case SYS_clock_nanosleep:
        return true;
    case SYS_ppoll:
        return stop->arguments[1] == 0 && stop->arguments[2] != 0;
    case SYS_pselect6:
#ifdef SYS_select
    case SYS_select:
#endif
        return stop->arguments[0] == 0 && stop->arguments[4] != 0;
#ifdef SYS_poll
    case SYS_poll:
        return stop->arguments[1] == 0 && (int)stop->arguments[2] >= 0;
#endif
    default:
        return false;
    }
}

static void put_syncs(struct queue *q, uint32_t count, const char *odd, const char *even)
{
    for (uint32_t i = 1; i <= count; i++) {
        struct letter l = letter(SYNC, i, i % 2 == 0 ? even : odd, "x");
        queue_put(q, &l);
    }
}

/*
 * Many messages that can't be answered: it takes all of them before it sleeps for the first time.
 * And what was dropped is not sent later, when there is a reply queue with room.
 */
static void never_sleeps(struct random *r)
{
    enum { MESSAGES = 10, SLEEPS_MS = 100, STOPS_MAX = 2000 };
    const char *box = name(r), *missing = name(r), *full = name(r);
    struct trace_stop stop;

    struct queue *q = box_make(box, MESSAGES);
    struct queue *full_queue = queue_make(reply_of(full), 1, LETTER_BYTES);
    put_ack(full_queue, 77);
    put_syncs(q, MESSAGES, full, full);
    struct program *p = run("mrecv --box %s", box);
    expect_blocked(p, "mrecv waits for the next message, and for nothing else");
    expect_count(q, 0, "mrecv does not wait for a reply queue that is full");
    bool held = trace_begin(p), slept = false;
    put_syncs(q, MESSAGES, full, missing);
    for (int i = 0; held && !slept && i < STOPS_MAX && trace_next(&stop, SLEEPS_MS); i++)
        slept = begins_to_sleep(&stop) && queue_count(q) > 0;
    if (held)
        trace_end();
    EXPECT(!slept, "mrecv does not wait for a reply queue that is missing, or full",
           "it sleeps for a time, to look again afterwards");
    expect_blocked(p, "mrecv waits for the next message, and for nothing else");
    expect_count(q, 0, "mrecv does not wait for a reply queue that is missing, or full");
    expect_ack(full_queue, 77, "what was in the full queue before");
    struct queue *late_queue = queue_make(reply_of(missing), MESSAGES, LETTER_BYTES);
    expect_blocked(p, "mrecv waits for the next message, and for nothing else");
    expect_count(full_queue, 0, "an ACK that was dropped is not sent later");
    expect_count(late_queue, 0, "an ACK that was dropped is not sent later");
    program_signal(p, SIGTERM);
    expect_status(p, 0, "SIGTERM ends a receiver cleanly");
}

TEST(sync, reply_refused,
     "mrecv never waits for a reply queue that is missing, full, closed or foreign")
{
    struct random r = random_from_test();
    const char *box = name(&r), *missing = name(&r), *full = name(&r), *small = name(&r);
    const char *large = name(&r), *right = longest_name(&r), *closed = name(&r);

    struct queue *q = box_make(box, 10);
    struct queue *full_queue = queue_make(reply_of(full), 1, LETTER_BYTES);
    put_ack(full_queue, 77);
    struct queue *small_queue = queue_make(reply_of(small), 1, 64);
    struct queue *large_queue = queue_make(reply_of(large), 1, 2 * LETTER_BYTES);
    /* Of another capacity, and with a message in it: that is no reason. */
    struct queue *right_queue = queue_make(reply_of(right), 4, LETTER_BYTES);
    put_ack(right_queue, 78);
    queue_make_closed(reply_of(closed));
    const char *from[] = {missing, full, small, large, closed, right};
    const char *want = "";
    for (uint32_t i = 0; i < 6; i++) {
        struct letter l = letter(SYNC, i + 1, from[i], text("from %s", from[i]));
        queue_put(q, &l);
        want = text("%sfrom %s\n", want, from[i]);
    }
    struct program *p = run("mrecv --box %s --count 6", box);
    expect_status(p, 0, "six messages have been received; five of the ACKs are dropped");
    expect_printed(p, want, "all messages");
    expect_error_lines(p, 0, "an ACK is dropped without a word");
    expect_ack(right_queue, 78, "what was in the reply queue before");
    expect_ack(right_queue, 6, "the answer to the last message");
    expect_count(right_queue, 0, "a message is answered once");
    expect_gone(reply_of(missing), "a receiver makes no reply queue");
    expect_ack(full_queue, 77, "what was in the full queue before");
    expect_count(full_queue, 0, "the ACK for the full queue is dropped");
    expect_count(small_queue, 0, "the ACK for a queue of another message size is dropped");
    expect_count(large_queue, 0, "the ACK for a queue of another message size is dropped");
    never_sleeps(&r);
}

TEST(sync, two_senders, "each of two senders is freed by its own ACK")
{
    struct random r = random_from_test();
    /* As long as names may be, alike but for the last character. */
    const char *box = name(&r), *names[2], *said = word(&r);
    longest_names(&r, names);
    const char *a = names[0], *b = names[1];

    struct queue *q = box_make(box, 10);
    struct program *first = run_with(text("%s\n", said), "msend --box %s --as %s --sync", box, a);
    expect_next(q, letter(SYNC, 1, a, said), "the first sender's line");
    struct program *second = run_with(text("%s\n", said), "msend --box %s --as %s --sync", box, b);
    expect_next(q, letter(SYNC, 1, b, said), "the second sender's line");
    struct queue *reply_a = queue_open(reply_of(a), "msend makes its reply queue");
    struct queue *reply_b = queue_open(reply_of(b), "msend makes its reply queue");
    put_ack(reply_b, 1);
    expect_status(second, 0, "its line has been acknowledged");
    expect_gone(reply_of(b), "the sender removes its reply queue when it ends");
    expect_blocked(first, "the first sender waits for its own ACK");
    EXPECT(queue_same(reply_a), "the first sender's reply queue is there", "it is gone");
    put_ack(reply_a, 1);
    expect_status(first, 0, "its line has been acknowledged");
}

TEST(sync, receiver_dies, "a receiver that dies before its ACK leaves the sender waiting")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *a = word(&r), *b = word(&r);

    struct queue *q = box_make(box, 10);
    struct program *p = run_with(text("%s\n%s\n", a, b), "msend --box %s --as %s --sync", box, me);
    queue_expected(reply_of(me));
    /* We are that receiver: we take the message, and never answer. */
    expect_next(q, letter(SYNC, 1, me, a), "the first line");
    struct program *next = run("mrecv --box %s", box);
    expect_blocked(next, "another receiver waits: the message went to the one that died");
    expect_blocked(p, "without --timeout the sender waits for ever");
    expect_count(q, 0, "it sends neither this message again nor the next one");
    program_signal(p, SIGTERM);
    expect_killed(p, SIGTERM);
    program_signal(next, SIGTERM);
    expect_status(next, 0, "SIGTERM ends a receiver cleanly");
    expect_printed(next, "", "nothing came to the second receiver");
}

TEST(sync, sender_killed, "a sender that is killed while it waits holds up neither side")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *a = word(&r), *b = word(&r);

    struct queue *q = box_make(box, 10);
    struct program *p = run_with(text("%s\n", a), "msend --box %s --as %s --sync", box, me);
    queue_wait_count(q, 1, "the line is in the mailbox");
    expect_blocked(p, "msend waits for the ACK");
    program_signal(p, SIGKILL);
    expect_killed(p, SIGKILL);
    expect_count(q, 1, "the message of a dead sender stays");

    struct program *receiver = run("mrecv --box %s --count 2 -v", box);
    expect_line(receiver, text("%s 1 0 %s", me, a), "the message of a dead sender is received");
    expect_blocked(receiver, "mrecv waits for the second message");
    p = run_with(text("%s\n", b), "msend --box %s --as %s --sync", box, me);
    expect_status(p, 0, "the next sender of that name meets the receiver");
    expect_status(receiver, 0, "two messages have been received");
    expect_printed(receiver, text("%s 1 0 %s\n%s 1 0 %s\n", me, a, me, b), "both messages");
    expect_gone(reply_of(me), "the sender has replaced and removed the old reply queue");
}
