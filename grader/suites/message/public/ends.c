/* Ends by a signal. */
#include "suites/message/peer/message.h"

#include <signal.h>

TEST(ends, terminated, "SIGTERM ends a waiting receiver with 0; its link is gone, a box stays")
{
    struct random r = random_from_test();
    const char *from = name(&r), *to = name(&r), *box = name(&r), *said = word(&r);

    struct program *p = run("mrecv --from %s --to %s", from, to);
    struct queue *q = queue_wait(p, link_of(from, to), "mrecv makes the link");
    struct letter l = letter(DATA, 1, from, said);
    queue_put(q, &l);
    expect_line(p, said, "the receiver prints what comes over the link");
    expect_blocked(p, "mrecv waits for a message");
    program_signal(p, SIGTERM);
    expect_status(p, 0, "SIGTERM is how a server is ended");
    expect_gone(link_of(from, to), "the receiver removes its link when it ends");

    q = box_make(box, 2);
    p = run("mrecv --box %s", box);
    expect_blocked(p, "mrecv waits for a message");
    program_signal(p, SIGTERM);
    expect_status(p, 0, "SIGTERM is how a server is ended");
    EXPECT(queue_same(q), "a mailbox belongs to nobody: it stays", "it is gone");
}
