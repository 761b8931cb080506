/* Receiving: any bytes, hostile messages, many with many, death. */
#include "suites/message/peer/message.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "support/clock.h"

TEST(receive, any_bytes, "a body is printed as it is, NUL and all, to its length")
{
    enum { MESSAGES = 8 };
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r);
    size_t lens[MESSAGES] = {0, 1, 2, 511, 512, 256, 300, 512};
    unsigned char output[MESSAGES * (BODY_BYTES + 1)];
    size_t len = 0;
    random_shuffle(&r, lens, MESSAGES, sizeof *lens);

    struct queue *q = box_make(box, MESSAGES);
    for (int i = 0; i < MESSAGES; i++) {
        unsigned char *body = output + len;
        random_line_bytes(&r, body, lens[i]);
        if (lens[i] > 2)
            memcpy(body, (unsigned char[]){0, 255, '%'}, 3);
        struct letter l = letter_bytes(DATA, (uint32_t)i + 1, me, body, lens[i]);
        queue_put(q, &l);
        len += lens[i];
        output[len++] = '\n';
    }
    struct program *p = run("mrecv --box %s --count %d", box, MESSAGES);
    expect_status(p, 0, "all messages have been received");
    expect_printed_bytes(p, output, len, "the bodies, each to its length");
}

TEST(receive, behind_is_free, "what stands behind the text of from and behind len is nothing")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *said = word(&r);

    struct queue *q = box_make(box, 10);
    struct letter l = letter(DATA, 5, me, text("%s and more", said));
    l.len = (uint32_t)strlen(said);
    memset(l.from + strlen(me) + 1, '.', FROM_BYTES - strlen(me) - 1);
    queue_put(q, &l);
    l = letter(DATA, 6, longest_name(&r), "");
    queue_put(q, &l);
    struct program *p = run("mrecv --box %s --count 2 -v", box);
    expect_status(p, 0, "both messages are well formed");
    expect_printed(p, text("%s 5 0 %s\n%s 6 0 \n", me, said, l.from),
                   "from to its NUL, and len bytes of the body");
    expect_error_lines(p, 0, "both messages are well formed");

    /* Any id, again and again, any priority, and the shortest names. */
    const uint32_t ids[] = {0, 0, UINT32_MAX, 1, 1, 3, 3, 2};
    const unsigned priorities[] = {32767, 32767, 32, 31, 31, 30, 30, 1};
    const char *from[] = {"x", "x", "-", "_", "_", "0", "0", "--"}, *want = "";
    enum { MESSAGES = sizeof ids / sizeof *ids };
    for (int i = 0; i < MESSAGES; i++) {
        l = letter(i == 2 ? SYNC : DATA, ids[i], from[i], said);
        l.priority = priorities[i];
        queue_put(q, &l);
        want = text("%s%s %u %u %s\n", want, from[i], ids[i], priorities[i], said);
    }
    p = run("mrecv --box %s --count %d -v", box, (int)MESSAGES);
    expect_status(p, 0, "all messages are well formed, whatever their id and their priority");
    expect_printed(p, want, "all messages, also those that came twice");
    expect_error_lines(p, 0, "all messages are well formed");
}

TEST(receive, count_zero, "--count 0 ends at once and takes nothing")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *said = word(&r);

    struct queue *q = box_make(box, 2);
    struct letter l = letter(SYNC, 1, me, said);
    queue_put(q, &l);
    struct program *p = run("mrecv --box %s --count 0", box);
    expect_status(p, 0, "nothing is asked for");
    expect_printed(p, "", "nothing");
    expect_count(q, 1, "the message is left");
    p = run("mrecv --box %s --count 1", box);
    expect_status(p, 0, "one message has been received");
    expect_printed(p, text("%s\n", said), "the message");

    queue_make(link_of(me, box), LINK_CAPACITY, LETTER_BYTES);
    p = run("mrecv --from %s --to %s --count 0", me, box);
    expect_status(p, 0, "nothing is asked for");
    expect_gone(link_of(me, box), "the receiver removes its link when it ends");
}

TEST(receive, usage, "mrecv refuses what is not in its synopsis, and takes nothing then")
{
    struct random r = random_from_test();
    const char *box = name(&r), *from = name(&r), *to = name(&r), *said = word(&r);
    const char *wrong[] = {
        "mrecv",
        "mrecv --box",
        text("mrecv --from %s", from),
        text("mrecv --to %s", to),
        text("mrecv --box %s --from %s --to %s", box, from, to),
        text("mrecv --from %s --to reply", from),
        text("mrecv --from %s --to %s.%s", from, to, to),
        text("mrecv --box %s --count -1", box),
        text("mrecv --box %s --count 1x", box),
        text("mrecv --box %s --count", box),
        text("mrecv --box %s --timeout -5", box),
        text("mrecv --box %s --timeout ''", box),
        text("mrecv --box %s -%s", box, "x"),
        text("mrecv --box %s %s", box, to),
    };

    struct queue *q = box_make(box, 2);
    struct letter l = letter(DATA, 1, from, said);
    queue_put(q, &l);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        expect_usage(wrong[i], "that is not in the synopsis");
    EXPECT(!queue_there(link_of(from, to)), "wrong usage makes nothing", "a link has been made");
    expect_count(q, 1, "wrong usage takes nothing");
    struct program *p = run("mrecv --box %s --count 1 --timeout 60000 -v", box);
    expect_status(p, 0, "this is in the synopsis");
    expect_printed(p, text("%s 1 0 %s\n", from, said), "the message");
}

/* Puts a hostile message in front of a right one: mrecv must print the right one alone. */
static void expect_malformed(struct queue *q, const char *box, const char *what)
{
    static uint32_t id;
    const char *said = text("right %u", ++id);
    struct letter l = letter(DATA, id, "grader", said);
    queue_put(q, &l);
    struct program *p = run("mrecv --box %s --count 1 -v", box);
    expect_status(p, 0, text("one well-formed message has been received, behind %s", what));
    expect_printed(p, text("grader %u 0 %s\n", id, said),
                   text("the well-formed message alone; %s is malformed", what));
    expect_error_lines(p, 1, text("%s is malformed", what));
}

TEST(receive, hostile_sizes, "a message of any other size, or with a hostile len, is malformed")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r);
    const size_t sizes[] = {0, 1, 4, 43, 44, LETTER_BYTES - 1};
    const uint32_t lens[] = {BODY_BYTES + 1, 0x7fffffff, 0x80000000u, UINT32_MAX};
    unsigned char bytes[LETTER_BYTES] = {DATA}; /* a right message, but for its size */

    struct queue *q = box_make(box, 4);
    struct queue *reply = queue_make(reply_of(me), 1, LETTER_BYTES);
    memcpy(bytes + 8, me, strlen(me));
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (bytes[0] = DATA; bytes[0] <= SYNC; bytes[0]++) {
            queue_put_bytes(q, bytes, sizes[i], 0);
            expect_malformed(q, box, text("a message of %zu bytes", sizes[i]));
        }
    }
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        struct letter l = letter(i % 2 == 0 ? SYNC : DATA, 1, me, "x");
        l.len = lens[i];
        queue_put(q, &l);
        expect_malformed(q, box, text("a len of %u", lens[i]));
    }
    expect_count(reply, 0, "a malformed message is not answered");
}

/* Each character that no name may have, ten messages at a time: the last of each ten is right. */
static void every_other_character(struct random *r)
{
    enum { CAPACITY = 10 };
    const char *box = name(r), *me = word(r), *said = word(r), *in_turn = "";
    size_t waiting = 0;

    struct queue *q = box_make(box, CAPACITY);
    for (int c = 1; c < 256; c++) {
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
            c != '-' && c != '_') {
            struct letter wrong = letter(DATA, 1, text("%s%c%s", me, c, me), said);
            queue_put(q, &wrong);
            in_turn = text("%s %d", in_turn, c);
            waiting++;
        }
        if (waiting < CAPACITY - 1 && c < 255)
            continue;
        struct letter right = letter(DATA, 2, me, said);
        queue_put(q, &right);
        struct program *p = run("mrecv --box %s --count 1 -v", box);
        expect_status(p, 0, "one well-formed message has been received");
        expect_printed(p, text("%s 2 0 %s\n", me, said),
                       text("the well-formed message alone; in the names of the others stand the "
                            "characters of the numbers%s",
                            in_turn));
        expect_error_lines(p, waiting, "one for each malformed message");
        waiting = 0;
        in_turn = "";
    }
}

TEST(receive, hostile_fields, "another kind, or a from that is no name, is malformed: no answer")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r);
    const uint32_t kinds[] = {0, ACK, 4, 0x01000000, UINT32_MAX};
    const char *wrong[] = {"", "a/b", "../a", "a.b", "a b", "a\x80", long_name(&r, FROM_BYTES)};

    struct queue *q = box_make(box, 4);
    struct queue *reply = queue_make(reply_of(me), 1, LETTER_BYTES);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct letter l = letter(kinds[i], 1, me, "x");
        queue_put(q, &l);
        expect_malformed(q, box, text("a message of kind %u", kinds[i]));
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct letter l = letter(SYNC, 1, wrong[i], "x");
        queue_put(q, &l);
        expect_malformed(q, box, text("a message from %s", quoted(wrong[i], strlen(wrong[i]), 40)));
    }
    struct letter l = letter(SYNC, 1, me, "x");
    l.len = BODY_BYTES + 1;
    queue_put(q, &l);
    expect_malformed(q, box, "a SYNC message with a len of 513");
    expect_count(reply, 0, "a malformed message is not answered");
    every_other_character(&r);
}

/* `p` has printed the lines "NAME 1" to "NAME last" in this order, as far as it has any. */
static void expect_in_order(struct program *p, const char *sender)
{
    size_t kept, len = strlen(sender);
    const char *at = program_output(p, 1, &kept), *end = at + kept;
    long before = 0;
    for (const char *newline; at < end && (newline = memchr(at, '\n', (size_t)(end - at))) != NULL;
         at = newline + 1) {
        const char *line = text("%.*s", (int)(newline - at), at);
        long number;
        if (strncmp(line, sender, len) != 0 || sscanf(line + len, " %ld", &number) != 1)
            continue;
        EXPECT(number > before, text("the messages of sender %s in their order", sender),
               text("number %ld after %ld", number, before));
        before = number;
    }
}

TEST(receive, many_with_many, "three senders, three receivers: none lost, none twice, in order")
{
    enum { EACH = 3, LINES = 150 };
    struct random r = random_from_test();
    const char *box = name(&r), *me[EACH];
    struct program *in[EACH], *out[EACH];

    struct queue *q = box_make(box, 2);
    for (int i = 0; i < EACH; i++) {
        me[i] = name(&r);
        char *input = (char *)text("%*s", LINES * 32, "");
        size_t len = 0;
        for (int j = 1; j <= LINES; j++)
            len += (size_t)sprintf(input + len, "%s %d\n", me[i], j);
        in[i] = run("msend --box %s --as %s%s", box, me[i], i == 1 ? " --sync" : "");
        program_queue(in[i], input, len);
        program_close_input(in[i]);
    }
    for (int i = 0; i < EACH; i++)
        out[i] = run("mrecv --box %s", box);
    for (int i = 0; i < EACH; i++)
        expect_status(in[i], 0, "all lines have been sent");
    queue_wait_count(q, 0, "the receivers take all messages");
    for (int i = 0; i < EACH; i++) {
        expect_blocked(out[i], "mrecv waits for the next message");
        program_signal(out[i], SIGTERM);
        expect_status(out[i], 0, "SIGTERM ends a receiver cleanly");
        program_wait_output_end(out[i], 1);
        for (int j = 0; j < EACH; j++)
            expect_in_order(out[i], me[j]);
    }
    for (int i = 0; i < EACH; i++) {
        for (int j = 1; j <= LINES; j++) {
            int times = 0;
            for (int k = 0; k < EACH; k++)
                times += printed_times(out[k], text("%s %d", me[i], j));
            EXPECT(times == 1, text("message %d of sender %d is printed exactly once", j, i + 1),
                   text("%d times", times));
        }
    }
}

TEST(receive, killed_waiting, "a receiver that is killed while it waits takes nothing with it")
{
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *a = word(&r), *b = word(&r);

    struct queue *q = box_make(box, 3);
    struct program *first = run("mrecv --box %s", box);
    expect_blocked(first, "mrecv waits while the mailbox is empty");
    struct program *second = run("mrecv --box %s --count 2", box);
    expect_blocked(second, "mrecv waits while the mailbox is empty");
    program_stop(first);
    struct program *p = run_with(text("%s\n", a), "msend --box %s --as %s", box, me);
    expect_status(p, 0, "the line has been sent");
    expect_line(second, a, "the message goes to the receiver that runs");
    program_signal(first, SIGKILL);
    expect_killed(first, SIGKILL);
    p = run_with(text("%s\n", b), "msend --box %s --as %s", box, me);
    expect_status(p, 0, "the line has been sent");
    expect_status(second, 0, "both messages have been received by the one that lives");
    expect_printed(second, text("%s\n%s\n", a, b), "both messages");
    expect_count(q, 0, "nothing is left");
}
