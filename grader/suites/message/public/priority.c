/* Priorities, and what -v shows of a message. */
#include "suites/message/peer/message.h"

TEST(priority, order, "higher priorities come first, and equal ones in the order of sending")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r);
    int low = between(&r, 0, 9), middle = between(&r, 10, 20), high = between(&r, 21, 31);
    const char *a = word(&r), *b = word(&r), *c = word(&r), *d = word(&r), *e = word(&r);

    struct queue *q = box_make(box, 10);
    struct program *p = run_with(text("%s\n%s\n", a, b), "msend --box %s --priority %d", box, low);
    expect_status(p, 0, "two lines have been sent");
    p = run_with(text("%s\n", c), "msend --box %s --priority %d", box, high);
    expect_status(p, 0, "a line has been sent");
    p = run_with(text("%s\n%s\n", d, e), "msend --box %s --as %s --priority %d", box, me, middle);
    expect_status(p, 0, "two lines have been sent");
    p = run("mrecv --box %s --count 3", box);
    expect_status(p, 0, "three messages have been received");
    expect_printed(p, text("%s\n%s\n%s\n", c, d, e),
                   text("priority %d, then twice %d; what has %d is left", high, middle, low));
    struct letter l = queue_take(q, "the message of the lowest priority is left");
    EXPECT(l.priority == (unsigned)low, text("a message of priority %d", low),
           text("priority %u", l.priority));
    p = run_with("x\n", "msend --box %s --as %s", box, me);
    expect_status(p, 0, "a line has been sent");
    queue_take(q, "the second message of the lowest priority");
    l = queue_take(q, "a message sent without --priority");
    EXPECT(l.priority == 0, "without --priority it is 0", text("priority %u", l.priority));
}

TEST(priority, verbose, "-v shows sender, id, priority and body, one space between them")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *other = name(&r), *said = word(&r);
    int priority = between(&r, 1, 31);

    struct queue *q = box_make(box, 10);
    struct letter l = letter(DATA, 4000000000u, me, text("%s %s", said, said));
    l.priority = 31;
    queue_put(q, &l);
    l = letter(DATA, 3, other, "");
    l.priority = (unsigned)priority - 1;
    queue_put(q, &l);
    struct program *p = run("mrecv --box %s --count 2 -v", box);
    expect_status(p, 0, "two messages have been received");
    expect_printed(p,
                   text("%s 4000000000 31 %s %s\n%s 3 %d \n", me, said, said, other, priority - 1),
                   "FROM ID PRIORITY BODY; an empty body leaves the third space");
}
