/* Memory and descriptors, under valgrind, where something goes another way. */
#include "suites/message/peer/message.h"

#include <signal.h>

static void start_checked(struct program *p, const char *input)
{
    program_memcheck(p);
    program_start(p);
    program_send_text(p, input);
    program_close_input(p);
}

TEST(memcheck, unbounded, "what waited in an unbounded sender is given back")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *to = name(&r), *said = word(&r), *input = "";
    for (int i = 1; i <= 30; i++)
        input = text("%s%s %d\n", input, said, i);

    struct program *mbox = command("mbox create %s 2", box);
    start_checked(mbox, "");
    expect_status(mbox, 0, "the mailbox has been made");
    expect_memory_clean(mbox);
    queue_open(box_of(box), "mbox create makes the queue of the mailbox");
    struct program *p = command("msend --from %s --to %s --unbounded", me, to);
    start_checked(p, input);
    struct queue *q = queue_wait(p, link_of(me, to), "msend makes the link");
    queue_wait_count(q, LINK_CAPACITY, "the first lines are in the link");
    expect_idle(p, "the queue is full and its input has ended");
    for (uint32_t i = 1; i <= 30; i++)
        expect_next(q, letter(DATA, i, me, text("%s %u", said, i)), "all lines, in their order");
    expect_status(p, 0, "the queue has taken everything");
    expect_memory_clean(p);
}

TEST(memcheck, malformed, "malformed messages make a receiver read nothing that is not there")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *said = word(&r);

    /* On a link that it has made itself. */
    struct program *p = command("mrecv --from %s --to %s --count 1 -v", me, box);
    start_checked(p, "");
    struct queue *q = queue_wait(p, link_of(me, box), "mrecv makes the link");
    queue_put_bytes(q, "", 0, 0);
    queue_put_bytes(q, "\1\0\0\0\1\0\0\0abc", 11, 0);
    struct letter l = letter(DATA, 1, long_name(&r, FROM_BYTES), "x");
    queue_put(q, &l);
    l = letter(DATA, 2, me, "x");
    l.len = UINT32_MAX;
    queue_put(q, &l);
    l = letter(DATA, 3, me, said);
    queue_put(q, &l);
    expect_status(p, 0, "one well-formed message has been received");
    expect_printed(p, text("%s 3 0 %s\n", me, said), "the well-formed message");
    expect_error_lines(p, 4, "one for each malformed message");
    expect_memory_clean(p);
    box_make(box, 1);
    p = command("mbox destroy %s", box);
    start_checked(p, "");
    expect_status(p, 0, "the mailbox has been removed");
    expect_memory_clean(p);
}

TEST(memcheck, answers, "a receiver that answers, and is then terminated, leaves nothing open")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *a = word(&r), *b = word(&r);
    const char *full = name(&r), *foreign = name(&r);

    struct queue *q = box_make(box, 10);
    struct queue *reply = queue_make(reply_of(me), 1, LETTER_BYTES);
    struct program *p = command("mrecv --box %s", box);
    start_checked(p, "");
    struct letter l = letter(SYNC, 1, me, a);
    queue_put(q, &l);
    expect_ack(reply, 1, "the answer to the first message");
    l = letter(SYNC, 2, me, b);
    queue_put(q, &l);
    expect_ack(reply, 2, "the answer to the second message");
    /* Two that can't be answered: the reply queue is full, and has another message size. */
    struct letter old = letter(ACK, 9, "grader", "");
    queue_put(queue_make(reply_of(full), 1, LETTER_BYTES), &old);
    queue_make(reply_of(foreign), 1, 64);
    l = letter(SYNC, 3, full, a);
    queue_put(q, &l);
    l = letter(SYNC, 4, foreign, b);
    queue_put(q, &l);
    queue_wait_count(q, 0, "the receiver takes all messages");
    expect_blocked(p, "mrecv waits for the next message");
    program_signal(p, SIGTERM);
    expect_status(p, 0, "SIGTERM ends a receiver cleanly");
    expect_printed(p, text("%s\n%s\n%s\n%s\n", a, b, a, b), "all four messages");
    expect_memory_clean(p);
}
