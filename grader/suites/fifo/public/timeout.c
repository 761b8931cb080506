/* Never for ever. */
#include "suites/fifo/peer/fifo.h"
#include "support/clock.h"

TEST(timeout, no_answer, "without a reply the client ends with 3 when its time is over")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r), *b = word(&r);
    int ms = between(&r, 200, 400);

    struct desk *d = desk_open(dir);
    harness_stuck_after(STUCK_MS + ms);
    int64_t start = clock_ns();
    struct program *p = run("client", "-t", text("%d", ms), dir, "ECHO", a, NULL);
    expect_request(d, p, "1", "ECHO", a, "from one command");
    expect_timeout(p, start, ms, "nobody has answered in time");
    expect_printed(p, "", "there is no reply");
    expect_names(dir, "requests", "the client removes its FIFO, also when its time is over");
    expect_nothing_asked(d, "a request is written once");

    p = run("client", "-t", "60000", dir, "ECHO", a, NULL);
    struct request q = expect_request(d, p, "1", "ECHO", a, "from the next command");
    answer(d, &q, "OK %s", b);
    expect_status(p, 0, "the reply is there in time: nobody waits until the time is over");
    expect_printed(p, text("%s\n", b), "the text of the reply");
}
