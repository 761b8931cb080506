/* Memory and descriptors, under valgrind, where something goes another way. */
#include <fcntl.h>
#include <signal.h>
#include <string.h>

#include "suites/fifo/peer/fifo.h"

TEST(memcheck, hostile, "bad lines and replies that nobody gets: nothing is read that is not there")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r), *pid = new_pid(&r), *full = new_pid(&r);

    fifo_make(requests_of(dir), 0600); /* a stale one */
    struct program *p = command("server", dir, NULL);
    program_memcheck(p);
    program_start(p);
    server_wait(p, dir);
    fifo_make(reply_of(dir, pid), 0600);
    fifo_make(reply_of(dir, full), 0600);
    fifo_fill(fifo_open(reply_of(dir, full), O_RDWR), 0);
    struct visitor *v = visitor_staying(dir, &r);
    const char *lines[] = {"",
                           "1",
                           "1 ",
                           "1 2",
                           text("%s 1", v->pid),
                           text("%s 2 ", v->pid),
                           text("%s 3 REVERSE", v->pid),
                           text("%s 4 %s", v->pid, letters(&r, 4000)),
                           text("%s 5 ECHO %s", pid, a),
                           text("%s 6 ECHO %s", full, a),
                           text("%s 7 ECHO %s", new_pid(&r), a),
                           text("%s 8 ECHO %s", v->pid, letters(&r, 4096 - 17)),
                           letters(&r, 4096),
                           letters(&r, 20000)};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        ask_bytes(dir, text("%s\n", lines[i]), strlen(lines[i]) + 1);
        if (i % 2 == 1)
            expect_served(dir, &r, "a reply to the client after bad lines");
    }
    ask_bytes(dir, "1 2 ECHO a\0b\n", 13);
    expect_served(dir, &r, "a reply to the client after a line with a NUL");
    ask_bytes(dir, "half", 4);
    struct visitor *lost = visitor_new(dir, &r);
    ask(dir, "%s 1 ECHO %s", lost->pid, a);
    expect_served(dir, &r, "a reply to the second client after half a line");
    program_signal(p, SIGINT);
    expect_status(p, 0, "SIGINT ends a server cleanly");
    expect_memory_clean(p);
}

TEST(memcheck, lines, "a client that asks many lines leaves nothing behind")
{
    enum { LINES = 12 };
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *input = "", *printed = "", *said[LINES];

    for (int i = 0; i < LINES; i++) {
        said[i] = letters(&r, (size_t)between(&r, 1, 4000));
        input = text("%sECHO %s%s", input, said[i], i < LINES - 1 ? "\n" : "");
        printed = text("%s%s\n", printed, said[i]);
    }
    struct desk *d = desk_open(dir);
    struct program *p = command("client", "-t", "60000", dir, "-", NULL);
    program_memcheck(p);
    program_start(p);
    program_queue(p, input, strlen(input));
    program_close_input(p);
    for (int i = 0; i < LINES; i++) {
        struct request q = expect_request(d, p, text("%d", i + 1), "ECHO", said[i], "of each line");
        answer(d, &q, "OK %s", said[i]);
    }
    expect_status(p, 0, "each line was answered");
    expect_printed(p, printed, "the text of each reply");
    expect_memory_clean(p);
}
