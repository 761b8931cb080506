/* The client, with the suite as its server. */
#include "harness/trace.h"

#include <string.h>

#include "suites/fifo/peer/fifo.h"

TEST(client, request, "client writes one line, waits for the reply, prints its text")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r), *b = word(&r), *c = word(&r);

    struct desk *d = desk_open(dir);
    struct program *p = run("client", "-t", "60000", dir, "UPPER", text("%s %s", a, b), NULL);
    struct request q = expect_request(d, p, "1", "UPPER", text("%s %s", a, b), "from one command");
    wait_quiet(p, "the client waits for its reply");
    answer(d, &q, "OK %s", c);
    expect_status(p, 0, "the reply is there");
    expect_printed(p, text("%s\n", c), "the text of the reply and a newline");
    expect_names(dir, "requests", "the client removes its FIFO when it has its reply");
    expect_nothing_asked(d, "one command is one request");
}

/* Whether the request is on its way, and the FIFO for its reply is not what it should be. */
static void look_if_asked(struct desk *d, bool *asked)
{
    char line[LINE_MAX_BYTES];
    if (fifo_waiting(d->fd) == 0)
        return;
    *asked = true;
    size_t len;
    const char *bytes = desk_drain(d, &len);
    size_t digits = strspn(bytes, "0123456789");
    EXPECT(digits > 0 && digits < sizeof line, "a request begins with the client's PID",
           quoted(bytes, len, 100));
    struct request q = {.pid = text("%.*s", (int)digits, bytes), .id = "1"};
    int fd = answer_open(d, &q);
    fifo_close(fd);
}

TEST(client, fifo_first, "the client's own FIFO is there, and open, before its request is")
{
    enum { STOPS_MAX = 2000, SLEEPS_MS = 300 };
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r), *b = word(&r);
    struct trace_stop stop;
    bool asked = false;

    struct desk *d = desk_open(dir);
    struct program *p = command("client", "-t", "60000", dir, "ECHO", a, NULL);
    if (trace_start(p)) {
        /* At each of its system calls. */
        for (int i = 0; i < STOPS_MAX && !asked && trace_next(&stop, SLEEPS_MS); i++)
            look_if_asked(d, &asked);
        trace_end();
    }
    wait_quiet_or_end(p, "the client has asked and waits");
    if (!asked)
        look_if_asked(d, &asked);
    EXPECT(asked, "the client writes its request into DIR/requests", what_happened());

    p = run("client", "-t", "60000", dir, "ECHO", a, NULL);
    struct request q = expect_request(d, p, "1", "ECHO", a, "from one command");
    answer(d, &q, "OK %s", b);
    expect_status(p, 0, "the reply is there");
    expect_printed(p, text("%s\n", b), "the text of the reply");
}

TEST(client, error_reply, "a reply with ERR goes to stderr, and the exit status is 1")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r), *why = word(&r);

    struct desk *d = desk_open(dir);
    struct program *p = run("client", "-t", "60000", dir, "DANCE", NULL);
    struct request q = take_request(d, p, "a client does not know what its server can do");
    EXPECT(strcmp(q.op, "DANCE") == 0 && q.text_len == 0, "the request DANCE without a text",
           text("the line %s", quoted(q.line, q.len, 100)));
    answer(d, &q, "ERR no %s today", why);
    expect_failure(p, "the reply was ERR");
    expect_said(p, text("no %s today", why), "why it was refused");
    expect_printed(p, "", "there is no text");
    expect_names(dir, "requests", "the client removes its FIFO in any case");

    p = run("client", "-t", "60000", dir, "ECHO", a, NULL);
    q = take_request(d, p, "from the next command");
    answer(d, &q, "OK ERR %s", a);
    expect_status(p, 0, "the reply was OK");
    expect_printed(p, text("ERR %s\n", a), "the text of the reply");
}

TEST(client, no_server, "without a server the client ends at once with 3, and leaves nothing")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r);

    struct program *p = run("client", "-t", "60000", dir, "ECHO", a, NULL);
    harness_stuck_after(1000); /* it has no reason to wait */
    expect_status(p, 3, "there is no DIR/requests: there is no server, nobody waits for it");
    expect_printed(p, "", "there is no reply");
    expect_names(dir, "", "the client leaves nothing");

    struct desk *d = desk_open(dir);
    p = run("client", dir, "ECHO", a, NULL);
    struct request q = expect_request(d, p, "1", "ECHO", a, "there is a server now");
    answer(d, &q, "OK %s", a);
    expect_status(p, 0, "the reply is there");

    desk_leave(d);
    p = run("client", "-t", "60000", dir, "ECHO", a, NULL);
    expect_status(p, 3, "nobody reads DIR/requests: there is no server, nobody waits for it");
    expect_printed(p, "", "there is no reply");
    expect_names(dir, "requests", "the client leaves nothing, and removes no FIFO of others");
}

TEST(client, foreign_id, "a reply with another ID is not the client's own")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r), *b = word(&r), *c = word(&r);

    struct desk *d = desk_open(dir);
    struct program *p = run("client", "-t", "60000", dir, "ECHO", a, NULL);
    struct request q = expect_request(d, p, "1", "ECHO", a, "from one command");
    struct request others = q;
    others.id = "2";
    answer(d, &others, "OK %s", b);
    wait_quiet(p, "the client goes on waiting for the reply with its own ID");
    others.id = "11";
    answer(d, &others, "ERR %s", b);
    wait_quiet(p, "the client goes on waiting for the reply with its own ID");
    answer(d, &q, "OK %s", c);
    expect_status(p, 0, "its own reply is there");
    expect_printed(p, text("%s\n", c), "the text of its own reply alone");
}
