/* Client and server of the submission, together. */
#include "suites/fifo/peer/fifo.h"

TEST(together, operations, "the client asks the server, and prints what it is told")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r), *b = word(&r);
    int asked = between(&r, 3, 50);

    struct program *server = server_start(dir);
    ask_next(dir, &r, 0, asked);
    struct program *p = run("client", dir, "ECHO", text("%s  %s", a, b), NULL);
    expect_status(p, 0, "the server has answered");
    expect_printed(p, text("%s  %s\n", a, b), "the text");
    p = run("client", dir, "DANCE", NULL);
    expect_failure(p, "the server does not know this");
    p = run_with(
        text("NEXT\nCOUNT %s\nREVERSE abc\n\nUPPER x y\nNEXT", text("%s%s", "1234", "5678")),
        "client", dir, "-", NULL);
    expect_failure(p, "an empty line is no operation");
    expect_printed(p, text("%d\n8\ncba\nX Y\n%d\n", asked + 1, asked + 2),
                   text("the text of each reply, others having asked for NEXT %d times", asked));
    ask_next(dir, &r, asked + 2, 1);
    expect_names(dir, "requests", "each client removes its FIFO");
    server_end(server, dir);
    p = run("client", dir, "ECHO", a, NULL);
    expect_status(p, 3, "the server has gone");
}
