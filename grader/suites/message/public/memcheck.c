/* Memory and descriptors, under valgrind. */
#include "suites/message/peer/message.h"

static void start_checked(struct program *p, const char *input)
{
    program_memcheck(p);
    program_start(p);
    program_send_text(p, input);
    program_close_input(p);
}

TEST(memcheck, send, "a sender leaves no memory and no descriptor behind")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *a = word(&r), *b = long_name(&r, BODY_BYTES);

    struct queue *q = box_make(box, 5);
    struct program *p = command("msend --box %s --as %s --priority 3", box, me);
    start_checked(p, text("%s\n%s\n\n", a, b));
    expect_status(p, 0, "all lines have been sent");
    expect_count(q, 3, "three lines are three messages");
    expect_memory_clean(p);
}

TEST(memcheck, receive, "a receiver leaves no memory and no descriptor behind")
{
    struct random r = random_from_test();
    const char *from = name(&r), *to = name(&r), *a = word(&r), *b = long_name(&r, BODY_BYTES);

    struct queue *q = queue_make(link_of(from, to), LINK_CAPACITY, LETTER_BYTES);
    struct letter l = letter(DATA, 1, from, a);
    queue_put(q, &l);
    l = letter(SYNC, 2, from, b);
    queue_put(q, &l);
    struct program *p = command("mrecv --from %s --to %s --count 2 -v", from, to);
    start_checked(p, "");
    expect_status(p, 0, "two messages have been received");
    expect_printed(p, text("%s 1 0 %s\n%s 2 0 %s\n", from, a, from, b), "both messages");
    expect_memory_clean(p);
}

TEST(memcheck, sync, "a rendezvous leaves no memory and no descriptor behind")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *said = word(&r);

    struct queue *q = box_make(box, 5);
    queue_make(reply_of(me), 1, LETTER_BYTES); /* an old one */
    struct program *p = command("msend --box %s --as %s --sync", box, me);
    start_checked(p, text("%s\n", said));
    expect_next(q, letter(SYNC, 1, me, said), "the line, as kind SYNC");
    struct queue *reply = queue_open(reply_of(me), "msend makes its reply queue before it sends");
    struct letter ack = letter(ACK, 2, "grader", "");
    queue_put(reply, &ack);
    queue_wait_count(reply, 0, "msend takes the foreign ACK out of its reply queue");
    ack.id = 1;
    queue_put(reply, &ack);
    expect_status(p, 0, "the line has been acknowledged");
    expect_gone(reply_of(me), "the sender removes its reply queue when it ends");
    expect_memory_clean(p);
}
