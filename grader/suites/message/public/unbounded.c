/* --unbounded: what the queue can't hold waits in the sender's memory. */
#include "suites/message/peer/message.h"

#include <string.h>

TEST(unbounded, accepts, "all input is accepted while the queue is full, and goes out in order")
{
    enum { LINES = 4000 }; /* more than the pipe and msend.c together can hold */
    struct random r = random_from_test();
    const char *box = name(&r), *me = name(&r), *said = long_name(&r, 60);
    char *input = (char *)text("%*s", LINES * 80, "");
    size_t len = 0;
    for (int i = 1; i <= LINES; i++) {
        const char *line = text("%s %d\n", said, i);
        memcpy(input + len, line, strlen(line));
        len += strlen(line);
    }

    struct queue *q = box_make(box, 10);
    struct program *p = run("msend --box %s --as %s --unbounded", box, me);
    EXPECT(program_send(p, input, len) == len,
           "msend --unbounded reads all of its input although nobody receives", "it stopped");
    expect_idle(p, "the queue is full and its input is silent");
    expect_count(q, 10, "what the queue can hold is in it");
    program_close_input(p);
    expect_idle(p, "the queue is full and its input has ended");
    for (int i = 1; i <= LINES; i++)
        expect_next(q, letter(DATA, (uint32_t)i, me, text("%s %d", said, i)),
                    "all lines, in their order");
    expect_status(p, 0, "the queue has taken everything");
}
