/* Mailboxes: made, named, removed. */
#include "harness/trace.h"
#include "suites/message/peer/message.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

/* Whoever looks first whether there is one: then somebody else makes it, before the next call. */
static void made_meanwhile(struct random *r)
{
    enum { SLEEPS_MS = 1000, STOPS_MAX = 10000 };
    const char *box = name(r);
    struct queue *other = NULL;
    struct trace_stop stop;

    struct program *p = command("mbox create %s 2", box);
    queue_expected(box_of(box));
    if (!trace_start(p))
        return;
    for (int i = 0; i < STOPS_MAX && other == NULL && trace_next(&stop, SLEEPS_MS); i++)
        if (stop.leaves && stop.number == SYS_mq_open && stop.result == -ENOENT)
            other = box_make(box, 3);
    trace_end();
    if (other == NULL) {
        expect_status(p, 0, "there was no mailbox of that name");
        return;
    }
    expect_status(p, 1, "somebody else has made a mailbox of that name, just before it was made");
    EXPECT(queue_same(other), "the mailbox is left as it was", "it has been replaced");
}

TEST(mailbox, create, "mbox create makes the queue once, and leaves one that is there alone")
{
    struct random r = random_from_test();
    const char *box = name(&r), *other = name(&r);
    int capacity = between(&r, 2, 9);

    struct program *p = run("mbox create %s %d", box, capacity);
    expect_status(p, 0, "the mailbox has been made");
    expect_silent(p, 0);
    struct queue *q = queue_open(box_of(box), "mbox create makes the queue of the mailbox");
    expect_queue(q, capacity, "mbox create");
    expect_count(q, 0, "a new mailbox is empty");

    struct letter left = letter(DATA, 7, "somebody", word(&r));
    queue_put(q, &left);
    p = run("mbox create %s %d", box, capacity + 1);
    expect_failure(p, "there is a mailbox of that name already");
    expect_silent(p, 1);
    EXPECT(queue_same(q), "the old mailbox is left as it was", "it has been replaced");
    expect_queue(q, capacity, "the first mbox create");
    expect_next(q, left, "the message that was in the old mailbox still is");

    expect_usage(text("mbox create %s 0", other), "a mailbox has room for at least one message");
    EXPECT(!queue_there(box_of(other)), "wrong usage makes nothing", "the mailbox is there");
    made_meanwhile(&r);
}

TEST(mailbox, destroy, "mbox destroy removes the name, and fails when there is none")
{
    struct random r = random_from_test();
    const char *box = name(&r);

    struct queue *q = box_make(box, 3);
    struct letter left = letter(DATA, 1, "somebody", word(&r));
    queue_put(q, &left);
    struct program *p = run("mbox destroy %s", box);
    expect_status(p, 0, "the mailbox has been removed, although a message was in it");
    expect_gone(box_of(box), "mbox destroy has removed it");

    p = run("mbox destroy %s", box);
    expect_failure(p, "there is no mailbox of that name any more");
    p = run("mbox create %s 2", box);
    expect_status(p, 0, "the name is free again");
    q = queue_open(box_of(box), "mbox create makes the queue of the mailbox");
    expect_count(q, 0, "a new mailbox is empty, whatever the old one held");
}

TEST(mailbox, names, "a name is 1 to 31 letters, digits, '-' and '_'; anything else is refused")
{
    struct random r = random_from_test();
    const char *longest = longest_name(&r), *word1 = word(&r), *word2 = word(&r);
    const char *wrong[] = {
        text("%s/%s", word1, word2),
        text("/%s", word1),
        text("%s.%s", word1, word2),
        long_name(&r, NAME_BYTES + 1),
        "''",
        text("%s+", word1),
    };

    struct program *p = run("mbox create %s 1", longest);
    expect_status(p, 0, "31 characters are a name");
    queue_open(box_of(longest), "a mailbox of the longest name");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        expect_usage(text("mbox create %s 1", wrong[i]), "that is no name of a mailbox");
        if (strchr(wrong[i], '/') == NULL)
            EXPECT(!queue_there(box_of(wrong[i])), "wrong usage makes nothing",
                   text("'%s' is there", box_of(wrong[i])));
    }
    expect_usage(text("msend --box %s/%s", word1, word2), "that is no name of a mailbox");
    expect_usage(text("mrecv --box %s.%s", word1, word2), "that is no name of a mailbox");
}

TEST(mailbox, missing, "msend and mrecv use a mailbox that is there, and never make one")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *said = word(&r);

    queue_expected(reply_of(me));
    struct program *p = run_with(text("%s\n", said), "msend --box %s", box);
    expect_failure(p, "there is no such mailbox");
    p = run_with(text("%s\n", said), "msend --box %s --as %s --sync", box, me);
    expect_failure(p, "there is no such mailbox");
    expect_gone(reply_of(me), "there is nobody to answer");
    p = run("mrecv --box %s", box);
    expect_failure(p, "there is no such mailbox");
    EXPECT(!queue_there(box_of(box)), "a missing mailbox is not made", "it is there");

    struct queue *q = box_make(box, 2);
    p = run_with(text("%s\n", said), "msend --box %s", box);
    expect_status(p, 0, "the mailbox is there now");
    expect_count(q, 1, "the line has been sent");
    p = run("mrecv --box %s --count 1", box);
    expect_status(p, 0, "the message has been received");
    expect_printed(p, text("%s\n", said), "the body of the message");
    EXPECT(queue_same(q), "the mailbox is still there", "it has been removed or replaced");
}
