/* Many clients, and none. */
#include <signal.h>

#include "suites/fifo/peer/fifo.h"

TEST(many, two_hundred, "200 clients at once: each gets its own reply")
{
    enum { CLIENTS = 200 };
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *said[CLIENTS];
    struct visitor *v[CLIENTS];
    int order[CLIENTS];

    server_start(dir);
    for (int i = 0; i < CLIENTS; i++) {
        v[i] = visitor_new(dir, &r);
        said[i] = word(&r);
        order[i] = i;
    }
    random_shuffle(&r, order, CLIENTS, sizeof *order);
    for (int i = 0; i < CLIENTS; i++)
        ask(dir, "%s %d ECHO %s", v[order[i]]->pid, order[i], said[order[i]]);
    for (int i = 0; i < CLIENTS; i++)
        expect_reply(v[i], text("%d OK %s", i, said[i]), "the reply to one of 200 clients");
}

TEST(many, idle, "a server that has nothing to do uses no processor time")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r);

    struct program *p = server_start(dir);
    expect_idle(p, "no client has come yet");
    expect_served(dir, &r, "a reply to the first client");
    expect_idle(p, "the first client has gone");
    expect_served(dir, &r, "a reply to the second client");
    expect_idle(p, "the second client has gone");
    int fd = writer_open(dir);
    expect_idle(p, "a client is there and writes nothing");
    writer_send(fd, "12 1 EC", 7);
    expect_idle(p, "a client has written half a line");
    fifo_close(fd);
    expect_idle(p, "a client has written half a line and gone");
    program_stop_and_continue(p);
    expect_idle(p, "it was stopped and continued");
    expect_served_after_half(p, dir, &r, "a reply to the last client");
}
