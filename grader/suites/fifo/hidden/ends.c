/* Clean to the end: signals at any moment, and the client's own ends. */
#include "harness/trace.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "suites/fifo/peer/fifo.h"

/* Exit 0, and DIR/requests is gone; nothing but `names` is there. */
static void expect_clean_end(struct program *p, const char *dir, const char *names, const char *why)
{
    struct stat st;
    expect_status(p, 0, why);
    EXPECT(lstat(requests_of(dir), &st) != 0, "the server removes DIR/requests when it ends",
           text("it is still there: %s", why));
    expect_names(dir, names,
                 "the server removes what it has made, and what others have made stays");
}

TEST(ends, interrupted, "SIGINT and SIGTERM end a server to which no client ever came")
{
    const int signals[] = {SIGINT, SIGTERM};
    struct random r = random_from_test();
    const char *dir = dir_make(&r);

    for (int i = 0; i < 2; i++) {
        struct program *p = server_start(dir);
        wait_quiet(p, "the server waits for its first client");
        program_signal(p, signals[i]);
        expect_clean_end(
            p, dir, "", text("SIG%s while it waits for its first client", i == 0 ? "INT" : "TERM"));
    }
    struct program *p = server_start(dir);
    expect_served(dir, &r, "a reply from a new server");
    wait_quiet(p, "the server waits for requests");
    program_signal(p, SIGINT);
    expect_clean_end(p, dir, "", "SIGINT ends a server cleanly");

    fifo_make(requests_of(dir), 0600); /* one that was taken over goes, too */
    p = server_start(dir);
    program_signal(p, SIGTERM);
    expect_clean_end(p, dir, "", "SIGTERM ends a server that has taken over an old FIFO");
}

/* SIGTERM or SIGINT at its `stops`th system call after a request has come; false: it was asleep
 * again before that, or can't be traced. */
static bool ended_in_reply(const char *dir, struct random *r, int stops)
{
    enum { SLEEPS_MS = 100 };
    struct program *p = server_start(dir);
    struct visitor *v = visitor_new(dir, r);
    struct trace_stop stop;
    const char *want = text("%d OK x\n", stops);
    int passed = 0;

    wait_quiet(p, "the server waits for requests");
    int writer = writer_open(dir);
    wait_quiet(p, "the server waits for requests");
    if (!trace_begin(p)) {
        server_end(p, dir);
        return false;
    }
    writer_send(writer, text("%s %d ECHO x\n", v->pid, stops), strlen(v->pid) + strlen(want) + 3);
    while (passed < stops && trace_next(&stop, SLEEPS_MS))
        passed++;
    program_signal(p, stops % 2 == 0 ? SIGTERM : SIGINT);
    trace_end();
    expect_clean_end(p, dir, text("reply.%s", v->pid), "a signal in the middle of a reply");
    size_t len;
    const char *bytes = endpoint_peek(v->reply, &len);
    EXPECT(len == 0 || (len == strlen(want) && memcmp(bytes, want, len) == 0),
           "the reply is there whole, or not at all", quoted(bytes, len, 100));
    fifo_close(writer);
    visitor_leaves(v);
    return passed == stops;
}

TEST(ends, middle_of_reply, "SIGTERM and SIGINT in the middle of a reply end the server cleanly")
{
    enum { EACH_OF = 10, EVERY = 3, STOPS_MAX = 28 };
    struct random r = random_from_test();
    const char *dir = dir_make(&r);

    /* A reply of one process takes some 10 or 20 of them; all of the first, some of the others. */
    for (int stops = 1; stops <= STOPS_MAX; stops += stops < EACH_OF ? 1 : EVERY)
        if (!ended_in_reply(dir, &r, stops))
            break;
    server_start(dir);
    expect_served(dir, &r, "a reply from a new server");
}

TEST(ends, busy, "a signal ends the server, whatever is under way")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r);

    struct program *p = server_start(dir);
    int writer = writer_open(dir);
    writer_send(writer, "12 3 EC", 7);
    wait_quiet(p, "the server waits for the rest of a line");
    program_signal(p, SIGTERM);
    expect_clean_end(p, dir, "", "a client is there, and has written half a line");
    fifo_close(writer);

    /* Requests wait, and there is nobody who reads the replies. */
    p = server_start(dir);
    struct visitor *v = visitor_staying(dir, &r);
    endpoint_hold(v->reply, true);
    writer = writer_open(dir);
    wait_quiet(p, "the server waits for requests");
    program_stop(p);
    const char *line = text("%s 1 ECHO %s\n", v->pid, letters(&r, 3000));
    for (int i = 0; i < 12; i++)
        writer_send(writer, line, strlen(line));
    program_signal(p, SIGTERM);
    program_signal(p, SIGCONT);
    expect_clean_end(p, dir, text("reply.%s", v->pid), "many requests wait");
    fifo_close(writer);

    p = server_start(dir);
    fifo_fill(writer_open(dir), 0);
    ask(dir, "\n%s 1 ECHO %s", v->pid, word(&r));
    program_signal(p, SIGINT);
    expect_clean_end(p, dir, text("reply.%s", v->pid), "its input is garbage");
}

TEST(ends, client_default, "SIGTERM and SIGINT kill a client, and the next one does not care")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r), *b = word(&r);
    const int signals[] = {SIGTERM, SIGINT};

    struct desk *d = desk_open(dir);
    for (int i = 0; i < 4; i++) {
        struct program *p = i < 2 ? run("client", "-t", "60000", dir, "ECHO", a, NULL)
                                  : run("client", "-t", "60000", dir, "-", NULL);
        if (i < 2)
            expect_request(d, p, "1", "ECHO", a, "from one command");
        wait_quiet(p, i < 2 ? "the client waits for its reply" : "the client waits for its input");
        program_signal(p, signals[i % 2]);
        expect_killed(p, signals[i % 2]);
        p = run("client", "-t", "60000", dir, "ECHO", b, NULL);
        struct request q = expect_request(d, p, "1", "ECHO", b, "from the next command");
        answer(d, &q, "OK %s", a);
        expect_status(p, 0, "the reply is there");
        expect_printed(p, text("%s\n", a), "the text of the reply");
    }
}

TEST(ends, client_output, "a reply that can't be printed is an error")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r);

    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    if (full < 0)
        suite_failed("cannot open", "/dev/full");
    struct desk *d = desk_open(dir);
    for (int i = 0; i < 2; i++) {
        struct program *p = i == 0 ? command("client", "-t", "60000", dir, "ECHO", a, NULL)
                                   : command("client", "-t", "60000", dir, "-", NULL);
        program_give(p, 1, full);
        program_start(p);
        if (i == 1)
            program_send_text(p, text("ECHO %s\n", a));
        program_close_input(p);
        struct request q = expect_request(d, p, "1", "ECHO", a, "its output is not yet needed");
        answer(d, &q, "OK %s", a);
        expect_failure(p, "the text of the reply can't be written");
        expect_names(dir, "requests", "the client removes its FIFO");
    }
    close(full);
    struct program *p = run("client", "-t", "60000", dir, "ECHO", a, NULL);
    struct request q = expect_request(d, p, "1", "ECHO", a, "from the next command");
    answer(d, &q, "OK %s", a);
    expect_status(p, 0, "the text of the reply can be written");
    expect_printed(p, text("%s\n", a), "the text of the reply");
}
