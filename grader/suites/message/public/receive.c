/* Receiving: bodies on stdout, malformed messages on stderr, each message to one. */
#include "suites/message/peer/message.h"

#include <string.h>

TEST(receive, prints, "each body is a line on stdout, at once; --count ends it")
{
    struct random r = random_from_test();
    const char *box = name(&r), *from = name(&r), *words[4];
    for (int i = 0; i < 4; i++)
        words[i] = word(&r);

    struct queue *q = box_make(box, 5);
    struct program *p = run("mrecv --box %s --count 3", box);
    expect_blocked(p, "mrecv waits while the mailbox is empty");
    struct letter l = letter(DATA, 1, from, words[0]);
    queue_put(q, &l);
    expect_line(p, words[0], "mrecv prints a body as soon as it has it, with others still to come");
    expect_blocked(p, "mrecv waits for the second of three messages");
    for (uint32_t i = 1; i < 4; i++) {
        l = letter(DATA, i + 1, from, words[i]);
        queue_put(q, &l);
    }
    expect_status(p, 0, "three messages have been received");
    expect_printed(p, text("%s\n%s\n%s\n", words[0], words[1], words[2]), "the bodies, in order");
    expect_next(q, letter(DATA, 4, from, words[3]), "the fourth message is left in the mailbox");
}

TEST(receive, each_to_one, "several receivers: each message goes to exactly one of them")
{
    enum { RECEIVERS = 3, EACH = 8, MESSAGES = RECEIVERS * EACH };
    struct random r = random_from_test();
    const char *box = name(&r), *from = name(&r), *said = word(&r);
    struct program *p[RECEIVERS];

    struct queue *q = box_make(box, 4);
    for (int i = 0; i < RECEIVERS; i++)
        p[i] = run("mrecv --box %s --count %d", box, EACH);
    for (int i = 0; i < RECEIVERS; i++)
        expect_blocked(p[i], "mrecv waits while the mailbox is empty");
    for (uint32_t i = 1; i <= MESSAGES; i++) {
        struct letter l = letter(DATA, i, from, text("%s %u", said, i));
        queue_put(q, &l);
    }
    queue_wait_count(q, 0, "the receivers take all messages");
    for (int i = 0; i < RECEIVERS; i++) {
        expect_status(p[i], 0, text("%d messages have been received", EACH));
        program_wait_output_end(p[i], 1);
    }
    for (int i = 1; i <= MESSAGES; i++) {
        int times = 0;
        for (int j = 0; j < RECEIVERS; j++)
            times += printed_times(p[j], text("%s %d", said, i));
        EXPECT(times == 1, text("message %d of %d is printed by exactly one receiver", i, MESSAGES),
               text("%d times", times));
    }
}

TEST(receive, malformed, "a malformed message is told on stderr, not printed, not counted")
{
    struct random r = random_from_test();
    const char *box = name(&r), *from = name(&r), *said = word(&r);

    struct queue *q = box_make(box, 5);
    struct letter l = letter(DATA, 1, from, word(&r));
    l.len = BODY_BYTES + 1;
    queue_put(q, &l);
    l = letter(DATA + 8, 2, from, word(&r));
    queue_put(q, &l);
    unsigned char bytes[LETTER_BYTES - 1] = {DATA};
    memcpy(bytes + 2 * sizeof(uint32_t), from, strlen(from));
    queue_put_bytes(q, bytes, sizeof bytes, 0); /* all is right but its size */
    l = letter(DATA, 3, from, said);
    queue_put(q, &l);
    struct program *p = run("mrecv --box %s --count 1", box);
    expect_status(p, 0, "one well-formed message has been received");
    expect_printed(p, text("%s\n", said), "the body of the only well-formed message");
    expect_error_lines(p, 3, "one for each malformed message (len over 512, kind 9, 555 bytes)");
}
