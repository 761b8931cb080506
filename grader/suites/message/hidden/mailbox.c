/* Mailboxes: limits, wrong usage, queues of another form. */
#include "suites/message/peer/message.h"

TEST(mailbox, limit, "a capacity over the system's limit is a failure at run time")
{
    struct random r = random_from_test();
    const char *box = name(&r), *other = name(&r);

    struct program *p = run("mbox create %s 10", box);
    expect_status(p, 0, "10 messages are within the limit");
    expect_queue(queue_open(box_of(box), "mbox create makes the queue"), 10, "mbox create");
    p = run("mbox create %s %ld", other, queue_limit("msg_max", 10) + 1);
    expect_failure(p, "the capacity is over the system's limit");
    EXPECT(!queue_there(box_of(other)), "no mailbox is made", "it is there");
    p = run("mbox create %s 2000000000", other);
    expect_failure(p, "the capacity is over the system's limit");
    EXPECT(!queue_there(box_of(other)), "no mailbox is made", "it is there");
}

TEST(mailbox, usage, "mbox refuses what is not in its synopsis")
{
    struct random r = random_from_test();
    const char *box = name(&r), *other = name(&r);
    const char *wrong[] = {
        "mbox",
        text("mbox create %s", other),
        text("mbox create %s 3 4", other),
        text("mbox create %s -1", other),
        text("mbox create %s 3x", other),
        text("mbox create %s ''", other),
        text("mbox create %s +3", other),
        "mbox destroy",
        text("mbox destroy %s %s", box, box),
        text("mbox remove %s", box),
        text("mbox destroy %s/", box),
        text("mbox create %s[ 3", other),
        text("mbox create %s@ 3", other),
        text("mbox create %s^%s 3", word(&r), other),
        text("mbox create %s`%s 3", word(&r), other),
        text("mbox create %s, 3", other),
    };

    struct queue *q = box_make(box, 2);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        expect_usage(wrong[i], "that is not in the synopsis");
    EXPECT(queue_same(q) && !queue_there(box_of(other)), "wrong usage makes and removes nothing",
           "a mailbox has been made or removed");
    struct program *p = run("mbox create %s 3", other);
    expect_status(p, 0, "this is in the synopsis");
    queue_open(box_of(other), "mbox create makes the queue");
    for (const char *first = "-_7"; *first != '\0'; first++) {
        const char *named = text("%c%s", *first, other);
        p = run("mbox create %s 3", named);
        expect_status(p, 0, text("'%c' may be anywhere in a name", *first));
        queue_open(box_of(named), "mbox create makes the queue");
    }
    p = run("mbox destroy %s", box);
    expect_status(p, 0, "this is in the synopsis");
    expect_gone(box_of(box), "mbox destroy has removed it");
}

TEST(mailbox, destroyed_in_use, "who has a mailbox open goes on with it when it is destroyed")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *a = word(&r), *b = word(&r);

    struct queue *q = box_make(box, 1);
    struct program *sender = run_with(text("%s\n%s\n", a, b), "msend --box %s --as %s", box, me);
    queue_wait_count(q, 1, "msend fills the mailbox");
    expect_blocked(sender, "msend waits while the mailbox is full");
    struct program *p = run("mbox destroy %s", box);
    expect_status(p, 0, "the name has been removed");
    expect_gone(box_of(box), "mbox destroy has removed it");
    expect_blocked(sender, "the sender's queue is still there, and full");
    expect_next(q, letter(DATA, 1, me, a), "the first line");
    expect_status(sender, 0, "the second line has been sent");
    expect_next(q, letter(DATA, 2, me, b), "the second line");
}

TEST(mailbox, foreign_size, "a queue of another message size is refused, and left as it is")
{
    struct random r = random_from_test();
    const int sizes[] = {LETTER_BYTES - 1, LETTER_BYTES + 1, 44, 4096};
    const char *said = word(&r), *me = name(&r);

    queue_expected(reply_of(me));
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const char *box = name(&r), *why = text("its messages have %d bytes, not 556", sizes[i]);
        struct queue *q = queue_make(box_of(box), 2, sizes[i]);
        queue_put_bytes(q, "something", 9, 0);
        struct program *p = run_with(text("%s\n", said), "msend --box %s --as %s", box, me);
        expect_failure(p, why);
        p = run_with(text("%s\n", said), "msend --box %s --as %s --sync", box, me);
        expect_failure(p, why);
        expect_gone(reply_of(me), "there is nobody to answer");
        p = run("mrecv --box %s --count 1", box);
        expect_failure(p, why);
        expect_printed(p, "", "nothing, of a refused queue");
        EXPECT(queue_same(q), "a refused queue is left as it is", "it is gone");
        expect_count(q, 1, "a refused queue is left as it is");
    }
    const char *box = name(&r);
    struct queue *q = box_make(box, 2);
    struct program *p = run_with(text("%s\n", said), "msend --box %s --as %s", box, me);
    expect_status(p, 0, "556 bytes are right");
    expect_next(q, letter(DATA, 1, me, said), "the line");
}
