/* Direct links: established by whichever side comes first, removed by the receiver. */
#include "suites/message/peer/message.h"

#include <signal.h>

TEST(direct, sender_first, "a sender that comes first makes the link and leaves it")
{
    struct random r = random_from_test();
    const char *from = name(&r), *to = name(&r), *a = word(&r), *b = word(&r);

    struct program *p = run_with(text("%s\n%s\n", a, b), "msend --from %s --to %s", from, to);
    expect_status(p, 0, "both lines are in the link, for the receiver to come");
    struct queue *q = queue_open(link_of(from, to), "msend makes the link");
    expect_queue(q, LINK_CAPACITY, "msend");
    expect_count(q, 2, "two lines are two messages");

    p = run("mrecv --from %s --to %s --count 2", from, to);
    expect_status(p, 0, "two messages have been received");
    expect_printed(p, text("%s\n%s\n", a, b), "what was sent before the receiver came");
    expect_gone(link_of(from, to), "the receiver removes its link when it ends");
}

TEST(direct, receiver_first, "a receiver that comes first makes the link, and waits")
{
    struct random r = random_from_test();
    const char *from = name(&r), *to = name(&r), *said = word(&r);

    struct program *p = run("mrecv --from %s --to %s --count 2", from, to);
    struct queue *q = queue_wait(p, link_of(from, to), "mrecv makes the link");
    expect_blocked(p, "mrecv waits for a message");
    expect_queue(q, LINK_CAPACITY, "mrecv");
    struct letter l = letter(DATA, 1, from, word(&r));
    queue_put(q, &l);
    expect_line(p, (const char *)l.body, "the receiver prints what comes over the link");
    struct program *sender = run_with(text("%s\n", said), "msend --from %s --to %s", from, to);
    expect_status(sender, 0, "the line has been sent over the link that is there");
    expect_status(p, 0, "two messages have been received");
    expect_printed(p, text("%s\n%s\n", (const char *)l.body, said), "both bodies");
    expect_gone(link_of(from, to), "the receiver removes its link when it ends");
}

TEST(direct, two_links, "from P to Q and from Q to P are two links")
{
    struct random r = random_from_test();
    const char *a = name(&r), *b = name(&r), *said = word(&r), *back = word(&r);

    struct program *to_b = run("mrecv --from %s --to %s --count 1", a, b);
    struct program *to_a = run("mrecv --from %s --to %s --count 1", b, a);
    expect_blocked(to_b, "mrecv waits for a message");
    expect_blocked(to_a, "mrecv waits for a message");
    struct program *p = run_with(text("%s\n", back), "msend --from %s --to %s", b, a);
    expect_status(p, 0, "the line has been sent");
    expect_status(to_a, 0, "one message has been received over this link");
    expect_printed(to_a, text("%s\n", back), "what was sent over this link");
    expect_blocked(to_b, "nothing came over the link in the other direction");
    p = run_with(text("%s\n", said), "msend --from %s --to %s", a, b);
    expect_status(p, 0, "the line has been sent");
    expect_status(to_b, 0, "one message has been received over this link");
    expect_printed(to_b, text("%s\n", said), "what was sent over this link");
}
