/* Ends: by signals, by failures, and what is left. */
#include "suites/message/peer/message.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

TEST(ends, interrupted, "SIGINT and SIGTERM end a receiver, whatever its options are")
{
    struct random r = random_from_test();
    const char *from = name(&r), *to = name(&r), *said = word(&r);
    const char *options[] = {"", " --timeout 60000", " --count 3"};

    for (int i = 0; i < 3; i++) {
        int signal = i == 1 ? SIGTERM : SIGINT;
        struct program *p = run("mrecv --from %s --to %s%s", from, to, options[i]);
        struct queue *q = queue_wait(p, link_of(from, to), "mrecv makes the link");
        struct letter l = letter(DATA, 1, from, said);
        queue_put(q, &l);
        expect_line(p, said, "the receiver prints what comes over the link");
        expect_blocked(p, "mrecv waits for the next message");
        program_signal(p, signal);
        expect_status(p, 0, text("signal %d is how a server is ended", signal));
        expect_gone(link_of(from, to), "the receiver removes its link when it ends");
        expect_printed(p, text("%s\n", said), "the message");
    }
}

/* A helper process of a sender may end a moment after it, and is not to be asked until then. */
static bool nobody_is_left(void *context)
{
    static struct process_list left;
    (void)context;
    process_children(getpid(), &left);
    return left.count == 0;
}

TEST(ends, sender_default, "SIGTERM and SIGINT end a sender as signals do")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *said = word(&r);
    const char *options[] = {"", " --sync", " --unbounded"};

    struct queue *q = box_make(box, 1);
    queue_expected(reply_of(me));
    for (int i = 0; i < 3; i++) {
        int signal = i % 2 == 0 ? SIGTERM : SIGINT;
        struct program *p =
            run_with(text("%s\n%s\n", said, said), "msend --box %s --as %s%s", box, me, options[i]);
        queue_wait_count(q, 1, "the first line is in the mailbox");
        expect_blocked(p, "msend waits");
        program_signal(p, signal);
        expect_killed(p, signal);
        wait_until_or_stuck(nobody_is_left, NULL, "nothing of the sender goes on");
        expect_next(q, letter(i == 1 ? SYNC : DATA, 1, me, said), "what was sent stays");
        expect_count(q, 0, "nothing is sent on the way out");
    }
    struct program *p = run("mrecv --box %s", box);
    expect_blocked(p, "mrecv waits: what waited in a sender is lost with it");
    program_signal(p, SIGTERM);
    expect_status(p, 0, "SIGTERM ends a receiver cleanly");
    expect_printed(p, "", "nothing that a sender left");
}

TEST(ends, output_fails, "a receiver that can't print ends with 1, and removes its link")
{
    struct random r = random_from_test();
    const char *from = name(&r), *to = name(&r), *said = word(&r);

    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    if (full < 0)
        test_not_measured("there is no /dev/full on this machine");
    struct queue *q = queue_make(link_of(from, to), LINK_CAPACITY, LETTER_BYTES);
    struct letter l = letter(DATA, 1, from, said);
    queue_put(q, &l);
    struct program *p = command("mrecv --from %s --to %s", from, to);
    program_give(p, 1, full);
    program_start(p);
    expect_failure(p, "its output can't be written");
    expect_gone(link_of(from, to), "the receiver removes its link when it ends with 1, too");
    close(full);

    p = run("mrecv --from %s --to %s --count 1", from, to);
    q = queue_wait(p, link_of(from, to), "mrecv makes the link");
    queue_put(q, &l);
    expect_status(p, 0, "one message has been received");
    expect_printed(p, text("%s\n", said), "the message");
}

/* Stopped and continued while it waits: it must go on waiting. */
static void stop_and_continue(struct program *p, const char *why)
{
    expect_blocked(p, why);
    program_stop_and_continue(p);
    expect_blocked(p, text("%s, also after it has been stopped and continued", why));
}

TEST(ends, continued, "who is stopped and continued while it waits goes on waiting")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *a = word(&r), *b = word(&r);

    struct queue *q = box_make(box, 1);
    struct program *p = run("mrecv --box %s --count 1 --timeout 60000", box);
    stop_and_continue(p, "mrecv waits while the mailbox is empty");
    struct letter l = letter(DATA, 1, me, a);
    queue_put(q, &l);
    expect_status(p, 0, "one message has been received");
    expect_printed(p, text("%s\n", a), "the message");

    queue_put(q, &l);
    p = run_with(text("%s\n%s\n", a, b), "msend --box %s --as %s --unbounded", box, me);
    stop_and_continue(p, "msend --unbounded waits while the mailbox is full");
    expect_next(q, l, "what was in the mailbox before");
    expect_next(q, letter(DATA, 1, me, a), "the first line");
    expect_next(q, letter(DATA, 2, me, b), "the second line");
    expect_status(p, 0, "the queue has taken everything");

    queue_put(q, &l);
    p = run_with(text("%s\n", b), "msend --box %s --as %s --sync", box, me);
    stop_and_continue(p, "msend waits while the mailbox is full");
    expect_next(q, l, "what was in the mailbox before");
    expect_next(q, letter(SYNC, 1, me, b), "the line, as kind SYNC");
    stop_and_continue(p, "msend waits for the ACK");
    struct queue *reply = queue_open(reply_of(me), "msend makes its reply queue");
    struct letter ack = letter(ACK, 1, "grader", "");
    queue_put(reply, &ack);
    expect_status(p, 0, "the line has been acknowledged");
}
