/* Sending asynchronously: the kernel's queue is the buffer. */
#include "suites/message/peer/message.h"

#include <stdlib.h>
#include <string.h>

TEST(send, format, "each line of the input is a message in the agreed form")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *first = word(&r), *last = word(&r);

    struct queue *q = box_make(box, 10);
    struct program *p = run_with(text("%s\n\n%s", first, last), "msend --box %s --as %s", box, me);
    expect_status(p, 0, "all lines have been sent");
    expect_silent(p, 0);
    expect_next(q, letter(DATA, 1, me, first), "the first line");
    expect_next(q, letter(DATA, 2, me, ""), "an empty line is a message, too");
    expect_next(q, letter(DATA, 3, me, last), "a last line without newline counts");
    expect_count(q, 0, "three lines are three messages");
}

TEST(send, full, "the sender waits while the queue is full, and only then")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *words[5];
    const char *input = "";
    for (int i = 0; i < 5; i++) {
        words[i] = word(&r);
        input = text("%s%s\n", input, words[i]);
    }

    struct queue *q = box_make(box, 3);
    struct program *p = run_with(input, "msend --box %s --as %s", box, me);
    queue_wait_count(q, 3, "msend fills the mailbox");
    expect_blocked(p, "msend waits while the mailbox is full");
    for (uint32_t i = 0; i < 2; i++) {
        expect_next(q, letter(DATA, i + 1, me, words[i]), "the lines in their order");
        queue_wait_count(q, 3, "msend sends the next line as soon as there is room");
    }
    wait_quiet_or_end(p, "msend ends, and does not look again and again for a receiver");
    expect_status(p, 0, "everything is in the queue: an asynchronous sender waits for no receiver");
    for (uint32_t i = 2; i < 5; i++)
        expect_next(q, letter(DATA, i + 1, me, words[i]), "the lines in their order");
}

/* Whether `number` stands in `text`, and not as part of a longer one. */
static bool names_number(const char *message, long number)
{
    for (const char *at = message; *at != '\0';) {
        if (*at < '0' || *at > '9') {
            at++;
            continue;
        }
        char *end;
        if (strtol(at, &end, 10) == number)
            return true;
        at = end;
    }
    return false;
}

TEST(send, long_line, "512 bytes are a message; a longer line is an error with its number")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r);
    int before = between(&r, 2, 5);
    const char *line = long_name(&r, BODY_BYTES), *input = "";
    for (int i = 0; i < before; i++)
        input = text("%s%s\n", input, line);

    struct queue *q = box_make(box, 10);
    struct program *p =
        run_with(text("%s%s+\n%s\n", input, line, word(&r)), "msend --box %s --as %s", box, me);
    expect_failure(p, text("line %d is too long", before + 1));
    size_t len;
    const char *said = program_output(p, 2, &len);
    EXPECT(names_number(text("%.*s", (int)len, said), before + 1),
           text("the message on stderr names line %d", before + 1), quoted(said, len, 200));
    for (int i = 0; i < before; i++)
        expect_next(q, letter(DATA, (uint32_t)i + 1, me, line), "a line of 512 bytes");
    expect_count(q, 0, "the long line and what is behind it is not sent");
}
