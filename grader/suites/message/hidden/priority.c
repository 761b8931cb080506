/* Priorities: the range, and the order within one. */
#include "suites/message/peer/message.h"

#include <stdlib.h>
#include <string.h>

TEST(priority, mixed, "messages of mixed priorities: by priority, then by arrival")
{
    enum { MESSAGES = 10 };
    struct random r = random_from_test();
    const char *box = name(&r), *want = "";
    unsigned priority[MESSAGES];

    struct queue *q = box_make(box, MESSAGES);
    for (uint32_t i = 0; i < MESSAGES; i++) {
        priority[i] = (unsigned)random_below(&r, 3) * 15 + (i == 0);
        struct letter l = letter(DATA, i + 1, "grader", text("number %u", i + 1));
        l.priority = priority[i];
        queue_put(q, &l);
    }
    for (int p = 31; p >= 0; p--)
        for (int i = 0; i < MESSAGES; i++)
            if (priority[i] == (unsigned)p)
                want = text("%sgrader %d %d number %d\n", want, i + 1, p, i + 1);
    struct program *p = run("mrecv --box %s --count %d -v", box, MESSAGES);
    expect_status(p, 0, "all messages have been received");
    expect_printed(p, want, "by priority, then by arrival");
}

TEST(priority, everywhere, "--priority holds on a link, with --sync and with --unbounded")
{
    struct random r = random_from_test();
    const char *from = name(&r), *to = name(&r), *box = name(&r), *said = word(&r);
    unsigned priority = (unsigned)between(&r, 1, 31);
    struct letter want = letter(DATA, 1, from, said);
    want.priority = priority;

    struct program *p =
        run_with(text("%s\n", said), "msend --from %s --to %s --priority %u", from, to, priority);
    expect_status(p, 0, "the line has been sent");
    struct queue *q = queue_open(link_of(from, to), "msend makes the link");
    expect_next(q, want, "the line on the link");

    q = box_make(box, 3);
    p = run_with(text("%s\n", said), "msend --box %s --as %s --priority %u --unbounded", box, from,
                 priority);
    expect_status(p, 0, "the line has been sent");
    expect_next(q, want, "the line of an unbounded sender");

    /* Lines that wait in the sender: they go out while its input is open, or has ended. */
    enum { LINES = 6, LATE = 3 };
    struct queue *small = box_make(name(&r), 1);
    p = run("msend --box %s --as %s --priority %u --unbounded", small->path + strlen("/mbox."),
            from, priority);
    for (uint32_t i = 1; i <= LINES; i++)
        program_send_text(p, text("%s\n", said));
    expect_idle(p, "the queue is full and its input is open and silent");
    for (want.id = 1; want.id <= LINES; want.id++) {
        if (want.id == LATE)
            program_close_input(p);
        wait_quiet_or_end(p, "the queue is full");
        expect_next(small, want, "the lines that waited in an unbounded sender");
    }
    expect_status(p, 0, "the queue has taken everything");
    want.id = 1;

    p = run_with(text("%s\n", said), "msend --box %s --as %s --priority %u --sync", box, from,
                 priority);
    want.kind = SYNC;
    expect_next(q, want, "the line of a synchronous sender");
    struct queue *reply = queue_open(reply_of(from), "msend makes its reply queue");
    struct letter ack = letter(ACK, 1, "grader", "");
    queue_put(reply, &ack);
    expect_status(p, 0, "the line has been acknowledged");

    p = run_with(text("%s\n", said), "msend --from %s --to %s --priority %u --sync", from, to,
                 priority);
    q = queue_open(link_of(from, to), "the link");
    expect_next(q, want, "the line of a synchronous sender on a link");
    reply = queue_open(reply_of(from), "msend makes its reply queue");
    queue_put(reply, &ack);
    expect_status(p, 0, "the line has been acknowledged");
}
