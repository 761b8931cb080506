/* Never for ever: what the time covers, and what it does not. */
#include "harness/trace.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>

#include "suites/fifo/peer/fifo.h"
#include "support/clock.h"

static struct program *timed(const char *dir, int ms, const char *said)
{
    harness_stuck_after(STUCK_MS + ms);
    return run("client", "-t", text("%d", ms), dir, "ECHO", said, NULL);
}

TEST(timeout, default, "without -t the time is 2,000 ms")
{
    enum { MS = 2000 };
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r);

    struct desk *d = desk_open(dir);
    harness_stuck_after(STUCK_MS + MS);
    int64_t start = clock_ns();
    struct program *p = run("client", dir, "ECHO", a, NULL);
    expect_request(d, p, "1", "ECHO", a, "from one command");
    expect_timeout(p, start, MS, "nobody has answered in time");
    expect_names(dir, "requests", "the client removes its FIFO");
}

/*
 * What was spent on the wait for room is not there for the reply. Where the machine was too slow to
 * make room in time, again with twice the time.
 */
static void one_time_for_both(struct desk *d, const char *said)
{
    enum { MS = 400, LONGEST_MS = 8 * MS };
    size_t len;
    bool asked = false;

    for (int ms = MS; ms <= LONGEST_MS && !asked; ms *= 2) {
        desk_fill(d, 0);
        struct program *p = timed(d->dir, ms, said);
        wait_quiet_or_end(p, "the client waits for room");
        int64_t begun = clock_ns(); /* before this */
        let_pass(ms / 2);
        desk_drain(d, &len);
        harness_stuck_after(STUCK_MS + ms);
        wait_quiet_or_end(p, "the client asks, and waits for its reply");
        endpoint_peek(d->in, &len);
        asked = len > 0;
        if (asked)
            expect_request(d, p, "1", "ECHO", said, "as soon as there is room");
        while (!program_has_ended(p) &&
               !expect_over(p, begun, ms,
                            "the time is one for both: for the wait for room, and for the reply"))
            ;
        expect_status(p, 3, "nobody has answered in time");
    }
}

/* There is room, and another client takes it before this one has written. */
static void room_is_taken(struct random *r)
{
    enum { STOPS_MAX = 20, SLEEPS_MS = 100 };
    const char *dir = dir_make(r), *said = letters(r, 3000);
    struct trace_stop stop = {0};
    size_t len;

    struct desk *d = desk_open(dir);
    desk_fill(d, 0);
    struct program *p = run("client", "-t", "600000", dir, "ECHO", said, NULL);
    wait_quiet(p, "the client waits for room");
    if (!trace_begin(p))
        return;
    desk_drain(d, &len);
    for (int i = 0; i < STOPS_MAX && !(stop.leaves && stop.result > 0); i++)
        if (!trace_next(&stop, SLEEPS_MS))
            break;
    if (fifo_waiting(d->fd) == 0) /* else it has written already, in a call that waits */
        desk_fill(d, 0);
    trace_end();
    wait_quiet(p, "the client waits for its reply, or again for room: there was some, and another "
                  "one has taken it");
    const char *line = desk_drain(d, &len);
    if (len == 0) {
        wait_quiet(p, "the client asks, and waits for its reply");
        line = desk_drain(d, &len);
    }
    struct request q = {.id = "1"};
    q.pid = text("%.*s", (int)strspn(line, "0123456789"), line);
    const char *want = text("%s 1 ECHO %s\n", q.pid, said);
    EXPECT(len == strlen(want) && memcmp(line, want, len) == 0,
           "the request, when there is room for it at last", quoted(line, len, 100));
    answer(d, &q, "OK");
    expect_status(p, 0, "its reply is there");
}

TEST(timeout, full, "the time covers the wait for room, too")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r), *b = word(&r);
    int ms = between(&r, 150, 300);
    size_t len;

    struct desk *d = desk_open(dir);
    desk_fill(d, 0);
    int64_t start = clock_ns();
    struct program *p = timed(dir, ms, a);
    expect_timeout(p, start, ms, "DIR/requests is full all the time");
    expect_names(dir, "requests", "the client removes its FIFO");
    const char *bytes = desk_drain(d, &len);
    EXPECT(len == 0, "nothing was written: there was no room", quoted(bytes, len, 100));

    desk_fill(d, 0);
    p = run("client", "-t", "600000", dir, "ECHO", a, NULL);
    wait_quiet(p, "the client waits for room");
    desk_drain(d, &len);
    struct request q = expect_request(d, p, "1", "ECHO", a, "as soon as there is room");
    answer(d, &q, "OK %s", b);
    expect_status(p, 0, "the reply is there");
    expect_printed(p, text("%s\n", b), "the text of the reply");

    one_time_for_both(d, a);
    harness_stuck_after(STUCK_MS);
    room_is_taken(&r);
}

TEST(timeout, zero, "a time of 0 does not wait, neither for room nor for a reply")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r), *b = word(&r);
    size_t len;

    struct desk *d = desk_open(dir);
    for (int full = 0; full <= 1; full++) {
        if (full)
            desk_fill(d, 0);
        struct program *p = run("client", "-t", "0", dir, "ECHO", a, NULL);
        wait_quiet_or_end(p, "the client ends");
        EXPECT(program_has_ended(p), "the client does not wait: its time is 0",
               "it sleeps, until something happens or a time is over");
        expect_status(p, 3, "no reply is there at once");
        expect_printed(p, "", "there is no reply");
        expect_names(dir, "requests", "the client removes its FIFO");
        desk_drain(d, &len);
        EXPECT(!full || len == 0, "nothing was written: there was no room", "a request");
    }
    struct program *p = run("client", "-t", "2000000000", dir, "ECHO", a, NULL);
    struct request q = expect_request(d, p, "1", "ECHO", a, "with a time of 23 days");
    answer(d, &q, "OK %s", b);
    expect_status(p, 0, "the reply is there");
    expect_printed(p, text("%s\n", b), "the text of the reply");
}

TEST(timeout, foreign_replies, "foreign replies don't lengthen the time")
{
    enum { MS = 300 };
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r), *b = word(&r);

    struct desk *d = desk_open(dir);
    int64_t start = clock_ns();
    struct program *p = timed(dir, MS, a);
    struct request q = expect_request(d, p, "1", "ECHO", a, "from one command");
    int64_t asked = clock_ns();
    int fd = answer_open(d, &q);
    struct endpoint *out = endpoint_writer(fcntl(fd, F_DUPFD_CLOEXEC, 0), "our server");
    fifo_close(fd);
    for (int id = 2; !program_has_ended(p); id++) {
        /* One whenever it has gone back to sleep: a wait begun anew would never be over. */
        expect_over(
            p, asked, MS,
            text("client -t %d ends although a foreign reply comes every now and then", MS));
        const char *foreign = text("%d OK %s\n", id, b);
        endpoint_send_some(out, foreign, strlen(foreign));
    }
    expect_timeout(p, start, MS, "its own reply has not come in time");
    expect_printed(p, "", "there is no reply of its own");
    expect_names(dir, "requests", "the client removes its FIFO");
}

TEST(timeout, server_dies, "a server that dies while a client waits: 3, at once or in time")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r), *b = word(&r);
    int ms = between(&r, 250, 400);

    struct desk *d = desk_open(dir);
    struct program *p = run("client", "-t", "60000", dir, "ECHO", a, NULL);
    struct request q = expect_request(d, p, "1", "ECHO", a, "from one command");
    answer(d, &q, "OK %s", b);
    expect_status(p, 0, "the server has answered");
    expect_printed(p, text("%s\n", b), "the text of the reply");

    p = timed(dir, ms, a);
    expect_request(d, p, "1", "ECHO", a, "from one command");
    desk_leave(d);
    expect_status(p, 3, "the server has died before it has answered");
    expect_names(dir, "requests", "the client removes its FIFO, and no other one");

    /* While it waits for room. */
    dir = dir_make(&r);
    d = desk_open(dir);
    desk_fill(d, 0);
    p = timed(dir, ms, a);
    wait_quiet_or_end(p, "the client waits for room");
    desk_leave(d);
    expect_status(p, 3, "the server has died before there was room");
    expect_names(dir, "requests", "the client removes its FIFO, and no other one");

    /* It has answered, and then died: the client sees both at once. */
    dir = dir_make(&r);
    d = desk_open(dir);
    p = run("client", "-t", "60000", dir, "ECHO", a, NULL);
    q = expect_request(d, p, "1", "ECHO", a, "from one command");
    wait_quiet(p, "the client waits for its reply");
    program_stop(p);
    answer(d, &q, "OK %s", b);
    desk_leave(d);
    program_signal(p, SIGCONT);
    expect_status(p, 0, "the server has answered before it has died");
    expect_printed(p, text("%s\n", b), "the text of the reply");
}
