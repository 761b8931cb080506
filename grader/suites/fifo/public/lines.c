/* Requests from a stream. */
#include "suites/fifo/peer/fifo.h"

TEST(lines, one_at_a_time, "client DIR -: a request for each line, the next after the reply")
{
    enum { LINES = 4 };
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *said[LINES + 1], *back[LINES + 1];

    struct desk *d = desk_open(dir);
    struct program *p = run("client", "-t", "60000", dir, "-", NULL);
    for (int i = 1; i <= LINES; i++) {
        said[i] = text("%s %s", word(&r), word(&r));
        back[i] = word(&r);
        if (i == 2) { /* in two pieces, as somebody types who thinks in between */
            program_send_text(p, "ECHO ");
            wait_quiet(p, "the client waits for the rest of its line");
            expect_nothing_asked(d, "the line has no newline yet, and there may be more of it");
            program_send_text(p, text("%s\n", said[i]));
        } else {
            program_send_text(p, text("ECHO %s\n", said[i]));
        }
        if (i == 1) /* the next one waits, and is not yet asked */
            program_send_text(p, "COUNT\n");
        struct request q = expect_request(d, p, text("%d", i == 1 ? 1 : i + 1), "ECHO", said[i],
                                          "of a line, as soon as that has come");
        wait_quiet(p, "the client waits for its reply");
        expect_nothing_asked(d, "the reply to the request before has not come yet");
        answer(d, &q, "OK %s", back[i]);
        expect_line_at_once(p, i == 1 ? 1 : i + 1, back[i],
                            "the text of each reply as soon as it is there");
        if (i == 1) {
            q = expect_request(d, p, "2", "COUNT", "", "of the second line, after the first reply");
            answer(d, &q, "OK");
            expect_line_at_once(p, 2, "", "an empty text is an empty line");
        }
    }
    program_close_input(p);
    expect_status(p, 0, "each line was answered");
    expect_names(dir, "requests", "the client removes its FIFO when its input has ended");
}
