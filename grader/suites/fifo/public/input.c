/* What comes in: a stream of bytes that anybody writes to. */
#include <string.h>

#include "suites/fifo/peer/fifo.h"

TEST(input, two_in_one_write, "a read may bring several requests: all of them are answered")
{
    enum { REQUESTS = 5 };
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r), *lines = "", *said[REQUESTS];
    struct visitor *v[REQUESTS];

    server_start(dir);
    struct visitor *one = visitor_new(dir, &r), *two = visitor_new(dir, &r);
    ask(dir, "%s 1 ECHO %s\n%s 2 ECHO x%s", one->pid, a, two->pid, a);
    expect_reply(one, text("1 OK %s", a), "the reply to the first of two requests in one write");
    expect_reply(two, text("2 OK x%s", a), "the reply to the second of two requests in one write");
    for (int i = 0; i < REQUESTS; i++) {
        v[i] = visitor_new(dir, &r);
        said[i] = word(&r);
        lines = text("%s%s %d ECHO %s\n", lines, v[i]->pid, i, said[i]);
    }
    ask_bytes(dir, lines, strlen(lines));
    for (int i = 0; i < REQUESTS; i++)
        expect_reply(v[i], text("%d OK %s", i, said[i]), "the reply to one of five in one write");
    expect_served(dir, &r, "a reply to the next client");
}

TEST(input, half_line, "half a line and no more: the server serves those who come after it")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r);

    struct program *p = server_start(dir);
    for (int i = 0; i < 4; i++) {
        const char *halves[] = {"12", "12 3", text("12 3 ECHO %s", word(&r)), "x"};
        ask_bytes(dir, halves[i], strlen(halves[i]));
        wait_quiet(p, "the server goes on when a client has written half a line and gone");
        expect_served_after_half(p, dir, &r,
                                 "a reply: half a line may cost the request behind it, and no "
                                 "other one");
    }
}

TEST(input, not_numbers, "a PID or an ID that is no number is no request")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r);
    const char *pids[] = {"x", "12x", "-12", "+12", "12345678901", "0x12", "1.2"};

    struct program *p = server_start(dir);
    for (size_t i = 0; i < sizeof pids / sizeof *pids; i++) {
        struct visitor *v = visitor_as(dir, pids[i]);
        ask(dir, "%s 1 ECHO %s", pids[i], word(&r));
        wait_quiet(p, "the server has read this line, before the next one comes");
        expect_served(dir, &r, "a reply to the client after a line without a PID");
        expect_no_reply(p, v, text("'%s' is no PID of 1 to 10 digits", pids[i]));
        visitor_leaves(v);
    }
    struct visitor *v = visitor_new(dir, &r);
    for (size_t i = 0; i < sizeof pids / sizeof *pids; i++) {
        ask(dir, "%s %s ECHO %s", v->pid, pids[i], word(&r));
        wait_quiet(p, "the server has read this line, before the next one comes");
        expect_served(dir, &r, "a reply to the client after a line without an ID");
        expect_no_reply(p, v, text("'%s' is no ID of 1 to 10 digits", pids[i]));
    }
    /* A path that leads out of the reply FIFOs. */
    struct visitor *victim = visitor_as(dir, "1");
    folder_make(text("%s/reply.7", dir));
    ask(dir, "7/../reply.1 1 ECHO %s", word(&r));
    wait_quiet(p, "the server has read this line, before the next one comes");
    expect_served(dir, &r, "a reply to the client after a line without a PID");
    expect_no_reply(p, victim, "'7/../reply.1' is no PID");
}
