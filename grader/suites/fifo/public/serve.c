/* Requests and replies. */
#include <string.h>
#include <unistd.h>

#include "suites/fifo/peer/fifo.h"

TEST(serve, echo, "a request is a line, and its reply a line in the FIFO of who has asked")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r), *b = word(&r), *c = word(&r);

    struct program *p = server_start(dir);
    struct visitor *v = visitor_new(dir, &r), *w = visitor_new(dir, &r);
    ask(dir, "%s 1 ECHO %s", v->pid, a);
    expect_reply(v, text("1 OK %s", a), "the reply to the first request");
    wait_quiet(p, "the server waits for the next client");
    /* The writer of this one stays: its reply does not wait for the end of the input. */
    int stays = writer_open(dir);
    const char *line = text("%s 7 ECHO %s %s\n", w->pid, b, c);
    writer_send(stays, line, strlen(line));
    expect_reply(w, text("7 OK %s %s", b, c), "the reply to a client that keeps requests open");
    fifo_close(stays);
    visitor_leaves(w);
    expect_served(dir, &r, "a reply to the third client: the server goes on");
}

TEST(serve, operations, "UPPER, REVERSE, COUNT and NEXT")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r);
    char upper[32] = "", reverse[32] = "";
    size_t len = strlen(a);
    for (size_t i = 0; i < len; i++) {
        upper[i] = (char)(a[i] - 'a' + 'A');
        reverse[i] = a[len - 1 - i];
    }

    server_start(dir);
    struct visitor *v = visitor_staying(dir, &r);
    ask(dir, "%s 1 UPPER %s 12 Xy", v->pid, a);
    expect_reply(v, text("1 OK %s 12 XY", upper), "UPPER makes A-Z of a-z");
    ask(dir, "%s 2 REVERSE 1.%s", v->pid, a);
    expect_reply(v, text("2 OK %s.1", reverse), "REVERSE turns the text round");
    ask(dir, "%s 3 COUNT %s ", v->pid, a);
    expect_reply(v, text("3 OK %zu", len + 1), "COUNT is the number of bytes, spaces too");
    ask(dir, "%s 4 NEXT", v->pid);
    expect_reply(v, "4 OK 1", "NEXT begins with 1");
    ask(dir, "%s 5 NEXT", v->pid);
    expect_reply(v, "5 OK 2", "NEXT gives each value once");
    ask(dir, "%s 6 UPPER xy", v->pid);
    expect_reply(v, "6 OK XY", "UPPER of a short text, after a longer one");
    ask(dir, "%s 7 REVERSE xy", v->pid);
    expect_reply(v, "7 OK yx", "REVERSE of a short text, after a longer one");
}

TEST(serve, errors, "an operation that is not known is answered, too: ID ERR why")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r);

    server_start(dir);
    struct visitor *v = visitor_staying(dir, &r);
    ask(dir, "%s 1 DANCE %s", v->pid, a);
    expect_error_reply(v, "1", "DANCE is no operation");
    ask(dir, "%s 2 ECHO %s", v->pid, a);
    expect_reply(v, text("2 OK %s", a), "the reply to the request after it");
    ask(dir, "%s 3 echo %s", v->pid, a);
    expect_error_reply(v, "3", "echo is not ECHO");
}

TEST(serve, closes, "the reply FIFO is opened for each reply and closed behind it")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r);

    server_start(dir);
    const char *pid = new_pid(&r);
    for (int i = 1; i <= 3; i++) {
        const char *a = word(&r);
        struct visitor *v = visitor_as(dir, pid);
        ask(dir, "%s %d ECHO %s", pid, i, a);
        expect_reply(v, text("%d OK %s", i, a),
                     i == 1 ? "the reply" : "the reply in the new FIFO of that name");
        endpoint_wait_end(v->reply, "the server closes the reply FIFO, so that its reader sees the "
                                    "end");
        visitor_leaves(v);
    }
}
