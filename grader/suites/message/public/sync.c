/* The rendezvous: the sender waits until the receiver has the message. */
#include "suites/message/peer/message.h"

TEST(sync, blocked_until_ack, "--sync: the sender is blocked until the ACK, for each message")
{
    enum { LINES = 3 };
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *words[LINES], *input = "";
    for (int i = 0; i < LINES; i++) {
        words[i] = word(&r);
        input = text("%s%s\n", input, words[i]);
    }

    struct queue *q = box_make(box, 10);
    struct program *p = run_with(input, "msend --box %s --as %s --sync", box, me);
    struct queue *reply = queue_wait(p, reply_of(me), "msend makes its reply queue");
    for (uint32_t id = 1; id <= LINES; id++) {
        expect_next(q, letter(SYNC, id, me, words[id - 1]), "the next line, as kind SYNC");
        expect_blocked(p, text("msend waits for the ACK with id %u", id));
        expect_count(q, 0, "nothing more is sent before the ACK is there");
        struct letter ack = letter(ACK, id, "grader", "");
        queue_put(reply, &ack);
    }
    expect_status(p, 0, "all lines have been taken and acknowledged");
    expect_gone(reply_of(me), "the sender removes its reply queue when it ends");
}

TEST(sync, acknowledged, "mrecv answers each SYNC message with an ACK, and DATA never")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *a = word(&r), *b = word(&r), *c = word(&r);
    uint32_t id = (uint32_t)random_u64(&r) | 1;

    struct queue *q = box_make(box, 10);
    struct queue *reply = queue_make(reply_of(me), 1, LETTER_BYTES);
    struct program *p = run("mrecv --box %s --count 3", box);
    struct letter l = letter(SYNC, id, me, a);
    queue_put(q, &l);
    expect_ack(reply, id, "the answer to a SYNC message, in the reply queue of its sender");
    l = letter(DATA, id + 1, me, b);
    queue_put(q, &l);
    expect_line(p, a, "the body of the SYNC message");
    expect_line(p, b, "the body of the DATA message");
    expect_blocked(p, "mrecv waits for the third message");
    expect_count(reply, 0, "a DATA message is not answered");
    l = letter(SYNC, id + 2, me, c);
    l.priority = 7;
    queue_put(q, &l);
    expect_ack(reply, id + 2, "the answer to the second SYNC message, which has priority 7");
    expect_status(p, 0, "three messages have been received");
    expect_printed(p, text("%s\n%s\n%s\n", a, b, c), "the three bodies");
    EXPECT(queue_same(reply), "the reply queue is its sender's to remove", "it is gone");
}

TEST(sync, foreign_id, "an ACK with another id does not free the sender")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *a = word(&r), *b = word(&r);

    struct queue *q = box_make(box, 10);
    struct program *p = run_with(text("%s\n%s\n", a, b), "msend --box %s --as %s --sync", box, me);
    struct queue *reply = queue_wait(p, reply_of(me), "msend makes its reply queue");
    uint32_t foreign[] = {0, 2, 3, (uint32_t)random_u64(&r) | 0x80000000u};
    expect_next(q, letter(SYNC, 1, me, a), "the first line, as kind SYNC");
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        struct letter ack = letter(ACK, foreign[i], "grader", "");
        queue_put(reply, &ack);
        queue_wait_count(reply, 0, "msend takes the foreign ACK out of its reply queue");
        expect_blocked(p, text("msend waits for the ACK with id 1, and not %u", foreign[i]));
        expect_count(q, 0, "nothing more is sent before the right ACK is there");
    }
    struct letter ack = letter(ACK, 1, "grader", "");
    queue_put(reply, &ack);
    expect_next(q, letter(SYNC, 2, me, b), "the second line, after the right ACK");
    ack.id = 2;
    queue_put(reply, &ack);
    expect_status(p, 0, "both lines have been acknowledged");
}
