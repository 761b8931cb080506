/* A server that listens: the port, and the end by a signal. */
#include "suites/chat/peer/chat.h"

#include <signal.h>
#include <sys/socket.h>

TEST(listen, port, "chatd tells its port and listens there, one that is given or one that it chose")
{
    struct random r = random_from_test();
    const char *token = letters(&r, 8);
    struct chatd *d = chatd_start();
    struct user *u = guest(d, "a client");
    say(u, "PING :%s", token);
    hear(u, "the server at the port that it tells answers", ":? PONG ? :%s", token);

    struct endpoint *holder = net_listen(AF_INET, "who had the port before");
    int port = endpoint_port(holder);
    endpoint_close(holder);
    struct program *p = program_new("chatd");
    program_args(p, "-p", text("%d", port), NULL);
    d = chatd_start_as(p);
    EXPECT(d->port == port, text("'listening on %d' of chatd -p %d", port, port),
           text("listening on %d", d->port));
    u = guest(d, "a client");
    say(u, "PING :%s", token);
    hear(u, "the server at the port that was given answers", ":? PONG ? :%s", token);
}

static void ends_by(int signal, const char *name)
{
    struct random r = random_from_test();
    struct chatd *d = chatd_start();
    struct user *ann = member_on(d, a_nick(&r), "#end");
    struct user *half = guest(d, "a client with half a line");
    say_bytes(half, "NICK ", 5);
    settle(ann);
    program_signal(d->p, signal);
    expect_status(d->p, 0, text("%s ends a server cleanly, while clients are on", name));
    endpoint_wait_end(ann->e, "the connection of a client ends with the server");
}

TEST(listen, ends, "SIGTERM and SIGINT end chatd with 0 while clients are on")
{
    ends_by(SIGTERM, "SIGTERM");
    ends_by(SIGINT, "SIGINT");
}
