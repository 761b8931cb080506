/* Time-outs. */
#include "suites/message/peer/message.h"

#include "support/clock.h"

TEST(timeout, receive, "mrecv --timeout waits so long for the next message, then ends with 3")
{
    enum { MESSAGES = 10 };
    struct random r = random_from_test();
    const char *box = name(&r), *from = name(&r), *said = word(&r);
    int ms = between(&r, 150, 250);

    struct queue *q = box_make(box, MESSAGES);
    struct letter l = letter(DATA, 1, from, said);
    queue_put(q, &l);
    int64_t start = clock_ns();
    struct program *p = run("mrecv --box %s --timeout %d", box, ms);
    expect_timeout(p, start, ms, "no second message has come in time");
    expect_printed(p, text("%s\n", said), "the message that was there");

    const char *want = "";
    for (uint32_t i = 1; i <= MESSAGES; i++) {
        l = letter(DATA, i, from, text("%s %u", said, i));
        queue_put(q, &l);
        want = text("%s%s %u\n", want, said, i);
    }
    p = run("mrecv --box %s --timeout 0", box);
    expect_status(p, 3, "a time of 0 does not wait: what is there is taken, then it ends");
    expect_printed(p, want, "all messages that were there");
}

TEST(timeout, send, "msend --timeout waits so long for room, then ends with 3")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *a = word(&r), *b = word(&r);
    int ms = between(&r, 150, 250);

    struct queue *q = box_make(box, 1);
    int64_t start = clock_ns();
    struct program *p =
        run_with(text("%s\n%s\n", a, b), "msend --box %s --as %s --timeout %d", box, me, ms);
    expect_timeout(p, start, ms, "nobody has made room for the second line in time");
    expect_next(q, letter(DATA, 1, me, a), "the first line has been sent");
    expect_count(q, 0, "the second line has not been sent");

    p = run_with(text("%s\n", b), "msend --box %s --as %s --timeout %d", box, me, ms);
    expect_status(p, 0, "there is room");
    expect_next(q, letter(DATA, 1, me, b), "the line has been sent");
}
