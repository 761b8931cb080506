/* Sending: any bytes, any number of lines, wrong usage, death. */
#include "suites/message/peer/message.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

TEST(send, any_bytes, "a body is any bytes but newline, 0 to 512 of them")
{
    enum { LINES = 8 };
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r);
    size_t lens[LINES] = {0, 1, 2, 511, 512, 256, 300, 512};
    unsigned char input[LINES * (BODY_BYTES + 1)], *bodies[LINES];
    size_t len = 0;
    random_shuffle(&r, lens, LINES, sizeof *lens);
    for (int i = 0; i < LINES; i++) {
        bodies[i] = input + len;
        random_line_bytes(&r, bodies[i], lens[i]);
        if (lens[i] > 2) /* bytes that end a text, or are no part of one */
            memcpy(bodies[i], (unsigned char[]){0, 255, '\r'}, 3);
        len += lens[i];
        input[len++] = '\n';
    }

    struct queue *q = box_make(box, LINES);
    struct program *p = run("msend --box %s --as %s", box, me);
    program_send(p, input, len);
    program_close_input(p);
    expect_status(p, 0, "all lines have been sent");
    for (int i = 0; i < LINES; i++)
        expect_next(q, letter_bytes(DATA, (uint32_t)i + 1, me, bodies[i], lens[i]),
                    text("line %d, of %zu bytes, whatever they are", i + 1, lens[i]));
}

TEST(send, as_they_come, "a line is sent when it is complete, whatever comes behind it")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *a = word(&r), *b = word(&r), *c = word(&r);

    struct queue *q = box_make(box, 10);
    struct program *p = run("msend --box %s --as %s", box, me);
    program_send_text(p, text("%s\n%s", a, b));
    expect_next(q, letter(DATA, 1, me, a), "the first line, while the second is not complete");
    expect_blocked(p, "msend waits for the rest of the second line");
    expect_count(q, 0, "half a line is not yet a message");
    program_send_text(p, text("%s\n", c));
    expect_next(q, letter(DATA, 2, me, text("%s%s", b, c)), "the second line, sent in two parts");
    program_close_input(p);
    expect_status(p, 0, "all lines have been sent");
    expect_count(q, 0, "two lines are two messages");
}

TEST(send, order, "many lines through a small queue: none lost, none twice, in order")
{
    enum { LINES = 500 };
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *said = word(&r);

    struct queue *q = box_make(box, 3);
    struct program *p = run("msend --box %s --as %s", box, me);
    for (int i = 1; i <= LINES; i++) {
        const char *line = text("%s %d\n", said, i);
        program_queue(p, line, strlen(line));
    }
    program_close_input(p);
    for (int i = 1; i <= LINES; i++)
        expect_next(q, letter(DATA, (uint32_t)i, me, text("%s %d", said, i)), "the next line");
    expect_status(p, 0, "all lines have been sent");
    expect_count(q, 0, "no line has been sent twice");
}

TEST(send, process_id, "without --as the messages of a mailbox are from the process id")
{
    struct random r = random_from_test();
    const char *box = name(&r), *said = word(&r);

    struct queue *q = box_make(box, 2);
    struct program *p = run("msend --box %s", box);

    program_send_text(p, text("%s\n", said));
    program_close_input(p);
    expect_status(p, 0, "the line has been sent");
    expect_next(q, letter(DATA, 1, text("%d", (int)program_pid(p)), said),
                "the line, from the process id of the sender");

    p = run("msend --box %s --sync", box);
    const char *me = text("%d", (int)program_pid(p));
    queue_expected(reply_of(me));
    program_send_text(p, text("%s\n", said));
    expect_next(q, letter(SYNC, 1, me, said), "the line, from the process id of the sender");
    struct queue *reply = queue_open(reply_of(me), "msend makes its reply queue");
    struct letter ack = letter(ACK, 1, "grader", "");
    queue_put(reply, &ack);
    program_close_input(p);
    expect_status(p, 0, "the line has been acknowledged");
    expect_gone(reply_of(me), "the sender removes its reply queue when it ends");
}

TEST(send, usage, "msend refuses what is not in its synopsis, and sends nothing then")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *to = name(&r), *said = word(&r);
    const char *wrong[] = {
        "msend",
        "msend --box",
        text("msend --from %s", me),
        text("msend --to %s", to),
        text("msend --box %s --from %s --to %s", box, me, to),
        text("msend --from %s --to %s --as %s", me, to, me),
        text("msend --from %s --to reply", me),
        text("msend --box %s --as %s.%s", box, me, to),
        text("msend --box %s --as %s", box, long_name(&r, NAME_BYTES + 1)),
        text("msend --box %s --priority 32", box),
        text("msend --box %s --priority -1", box),
        text("msend --box %s --priority 1x", box),
        text("msend --box %s --timeout -1", box),
        text("msend --box %s --timeout 1s", box),
        text("msend --box %s --%s", box, to),
        text("msend --box %s %s", box, to),
    };

    struct queue *q = box_make(box, 10);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        expect_usage(wrong[i], "that is not in the synopsis");
    EXPECT(!queue_there(link_of(me, to)) && !queue_there(reply_of(me)), "wrong usage makes nothing",
           "a queue has been made");
    struct program *p = run_with(text("%s\n", said),
                                 "msend --box %s --as %s --priority 31 --timeout 60000", box, me);
    expect_status(p, 0, "this is in the synopsis");
    struct letter want = letter(DATA, 1, me, said);
    want.priority = 31;
    expect_next(q, want, "the line");
    expect_count(q, 0, "wrong usage sends nothing");
}

TEST(send, no_input, "an empty input is no message, and no failure")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *said = word(&r);
    const char *options[] = {"", " --sync", " --unbounded", " --timeout 0"};

    struct queue *q = box_make(box, 2);
    queue_expected(link_of(me, box));
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        struct program *p = run_with("", "msend --box %s --as %s%s", box, me, options[i]);
        expect_status(p, 0, "there was nothing to send");
        expect_count(q, 0, "no line is no message");
        expect_gone(reply_of(me), "no program uses it any more");
        p = run_with("", "msend --from %s --to %s%s", me, box, options[i]);
        expect_status(p, 0, "there was nothing to send");
        expect_gone(reply_of(me), "no program uses it any more");
        queue_remove(link_of(me, box));
    }
    struct program *p = run_with(said, "msend --box %s --as %s", box, me);
    expect_status(p, 0, "the line has been sent");
    expect_next(q, letter(DATA, 1, me, said), "a line without newline is a message");
}

TEST(send, killed, "a sender that dies while it waits for room leaves the queue as it is")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *other = name(&r);
    const char *a = word(&r), *b = word(&r), *c = word(&r);
    int signals[] = {SIGKILL, SIGTERM, SIGINT};
    int signal = signals[random_below(&r, 3)];

    struct queue *q = box_make(box, 1);
    struct program *p = run_with(text("%s\n%s\n", a, b), "msend --box %s --as %s", box, me);
    queue_wait_count(q, 1, "msend fills the mailbox");
    expect_blocked(p, "msend waits while the mailbox is full");
    struct program *next = run_with(text("%s\n", c), "msend --box %s --as %s", box, other);
    expect_blocked(next, "the second msend waits, too");
    program_signal(p, signal);
    expect_killed(p, signal);
    expect_blocked(next, "the mailbox is still full");
    expect_next(q, letter(DATA, 1, me, a), "what was sent before is in the queue");
    expect_status(next, 0, "there is room for the other sender's line");
    expect_next(q, letter(DATA, 1, other, c), "the other sender's line");
    expect_count(q, 0, "the dead sender's second line was never sent");
}
