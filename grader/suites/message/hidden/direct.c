/* Direct links: who leaves them, who removes them, whom they belong to. */
#include "suites/message/peer/message.h"

#include <signal.h>

#include "support/clock.h"

TEST(direct, senders_append, "a sender that finds the link uses it, with what is in it")
{
    struct random r = random_from_test();
    const char *from = name(&r), *to = name(&r), *a = word(&r), *b = word(&r), *c = word(&r);

    struct program *p = run_with(text("%s\n", a), "msend --from %s --to %s", from, to);
    expect_status(p, 0, "the line has been sent");
    struct queue *q = queue_open(link_of(from, to), "msend makes the link");
    p = run_with(text("%s\n%s\n", b, c), "msend --from %s --to %s", from, to);
    expect_status(p, 0, "the lines have been sent");
    EXPECT(queue_same(q), "the link stays the same", "it has been replaced or removed");
    expect_next(q, letter(DATA, 1, from, a), "from is the link's sender, ids count from 1");
    expect_next(q, letter(DATA, 1, from, b), "each msend counts its ids from 1");
    expect_next(q, letter(DATA, 2, from, c), "each msend counts its ids from 1");
    expect_count(q, 0, "three lines are three messages");
    /* A link stays, though nothing is in it any more. */
    p = run_with(text("%s\n", a), "msend --from %s --to %s --sync", from, to);
    expect_next(q, letter(SYNC, 1, from, a), "the line, as kind SYNC");
    struct queue *reply = queue_open(reply_of(from), "msend makes its reply queue");
    struct letter ack = letter(ACK, 1, "grader", "");
    queue_put(reply, &ack);
    expect_status(p, 0, "the line has been acknowledged");
    EXPECT(queue_same(q), "a sender leaves the link, also when it is empty", "it is gone");

    /* Names as long as they may be, alike but for the last character. */
    const char *froms[2], *tos[2];
    longest_names(&r, froms);
    longest_names(&r, tos);
    for (int i = 0; i < 2; i++) {
        const char *link = link_of(froms[i], tos[i]);
        p = run_with(text("%s\n%s\n", a, b), "msend --from %s --to %s", froms[i], tos[i]);
        expect_status(p, 0, "both lines have been sent");
        q = queue_open(link, "a link has all of both names, though they have 31 characters");
        expect_next(q, letter(DATA, 1, froms[i], a), "the first line");
        p = run("mrecv --from %s --to %s --count 1 -v", froms[i], tos[i]);
        expect_status(p, 0, "one message has been received");
        expect_printed(p, text("%s 2 0 %s\n", froms[i], b), "the second line");
        expect_gone(link, "the receiver removes its link when it ends");
    }
}

TEST(direct, removed_with_contents, "the receiver removes the link, with what is still in it")
{
    struct random r = random_from_test();
    const char *from = name(&r), *to = name(&r), *a = word(&r), *b = word(&r);

    struct program *p = run_with(text("%s\n%s\n", a, b), "msend --from %s --to %s", from, to);
    expect_status(p, 0, "both lines are in the link, for the receiver to come");
    struct queue *old = queue_open(link_of(from, to), "msend makes the link");
    p = run("mrecv --from %s --to %s --count 1", from, to);
    expect_status(p, 0, "one message has been received");
    expect_printed(p, text("%s\n", a), "the first message");
    expect_gone(link_of(from, to), "the receiver removes its link when it ends with 0");

    p = run_with(text("%s\n", b), "msend --from %s --to %s", from, to);
    expect_status(p, 0, "the line is in a new link");
    EXPECT(!queue_same(old), "the link is a new one", "the old one is back");
    p = run("mrecv --from %s --to %s --timeout 100", from, to);
    expect_status(p, 3, "no second message has come");
    expect_printed(p, text("%s\n", b), "what was sent to the new link alone");
    expect_gone(link_of(from, to), "the receiver removes its link when it ends with 3, too");
}

TEST(direct, refused, "a link of another message size is refused and left as it is")
{
    struct random r = random_from_test();
    const char *from = name(&r), *to = name(&r), *said = word(&r);

    struct queue *q = queue_make(link_of(from, to), 3, 100);
    queue_put_bytes(q, "something", 9, 0);
    struct program *p = run("mrecv --from %s --to %s --count 1", from, to);
    expect_failure(p, "its messages have 100 bytes, not 556");
    EXPECT(queue_same(q), "a refused queue is left as it is", "it is gone");
    p = run_with(text("%s\n", said), "msend --from %s --to %s", from, to);
    expect_failure(p, "its messages have 100 bytes, not 556");
    EXPECT(queue_same(q), "a refused queue is left as it is", "it is gone");
    p = run_with(text("%s\n", said), "msend --from %s --to %s --sync", from, to);
    expect_failure(p, "its messages have 100 bytes, not 556");
    expect_count(q, 1, "a refused queue is left as it is");
    expect_gone(reply_of(from), "there is nobody to answer");

    /* Another capacity is no reason. */
    queue_remove(link_of(from, to));
    q = queue_make(link_of(from, to), 3, LETTER_BYTES);
    p = run_with(text("%s\n", said), "msend --from %s --to %s", from, to);
    expect_status(p, 0, "a link with room for three is one, too");
    EXPECT(queue_same(q), "the link that is there is used", "it has been replaced or removed");
    expect_count(q, 1, "the line has been sent");
    p = run("mrecv --from %s --to %s --count 1", from, to);
    expect_status(p, 0, "a link with room for three is one, too");
    expect_printed(p, text("%s\n", said), "the message");
    expect_gone(link_of(from, to), "the receiver removes its link when it ends");

    p = run("mrecv --from %s --to %s --count 1", from, to);
    queue_wait(p, link_of(from, to), "mrecv makes the link");
    struct program *sender = run_with(text("%s\n", said), "msend --from %s --to %s", from, to);
    expect_status(sender, 0, "the line has been sent");
    expect_status(p, 0, "one message has been received");
    expect_printed(p, text("%s\n", said), "the message");
}

/* What is in a link may be from anybody, and is answered there. */
static void from_others(struct random *r)
{
    const char *from = name(r), *to = name(r), *other = name(r), *a = word(r), *b = word(r);

    struct queue *q = queue_make(link_of(from, to), LINK_CAPACITY, LETTER_BYTES);
    struct queue *reply = queue_make(reply_of(from), 1, LETTER_BYTES);
    struct queue *reply_other = queue_make(reply_of(other), 1, LETTER_BYTES);
    struct letter l = letter(DATA, 1, other, a);
    queue_put(q, &l);
    l = letter(SYNC, 2, other, b);
    queue_put(q, &l);
    struct program *p = run("mrecv --from %s --to %s --count 2 -v", from, to);
    expect_status(p, 0, "two messages have been received, whoever they are from");
    expect_printed(p, text("%s 1 0 %s\n%s 2 0 %s\n", other, a, other, b), "both messages");
    expect_error_lines(p, 0, "both messages are well formed");
    expect_ack(reply_other, 2, "the answer, to the one whose name stands in `from`");
    expect_count(reply, 0, "the other one has not asked");
}

TEST(direct, rendezvous, "--sync over a link: sender and receiver of the lab meet")
{
    struct random r = random_from_test();
    const char *from = name(&r), *to = name(&r), *a = word(&r), *b = word(&r);

    struct program *sender =
        run_with(text("%s\n%s\n", a, b), "msend --from %s --to %s --sync", from, to);
    queue_wait(sender, link_of(from, to), "msend makes the link");
    expect_blocked(sender, "msend waits for the receiver to come");
    struct program *p = run("mrecv --from %s --to %s --count 2 -v", from, to);
    expect_status(p, 0, "two messages have been received");
    expect_status(sender, 0, "both messages have been acknowledged");
    expect_printed(p, text("%s 1 0 %s\n%s 2 0 %s\n", from, a, from, b), "both messages");
    expect_gone(link_of(from, to), "the receiver removes its link when it ends");
    expect_gone(reply_of(from), "the sender removes its reply queue when it ends");

    sender = run_with(text("%s\n", a), "msend --from %s --to %s --sync", from, from);
    queue_wait(sender, link_of(from, from), "msend makes the link: P and Q may be the same");
    expect_blocked(sender, "msend waits for the receiver to come");
    p = run("mrecv --from %s --to %s --count 1 -v", from, from);
    expect_status(p, 0, "one message has been received");
    expect_status(sender, 0, "the message has been acknowledged");
    expect_printed(p, text("%s 1 0 %s\n", from, a), "the message");
    expect_gone(link_of(from, from), "the receiver removes its link when it ends");
    expect_gone(reply_of(from), "the sender removes its reply queue when it ends");
    from_others(&r);
}
