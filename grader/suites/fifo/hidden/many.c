/* Many clients: what may not be lost, used up or missed. */
#include "harness/trace.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "suites/fifo/peer/fifo.h"

/* The value in a reply to NEXT, of which `seen` holds how often each has come. */
static void note_value(struct visitor *v, const char *id, unsigned char *seen, long max,
                       const char *what)
{
    size_t len;
    const char *got = reply_of_server(v, &len, what);
    const char *begin = text("%s OK ", id);
    char *end = "";
    long value =
        strncmp(got, begin, strlen(begin)) == 0 ? strtol(got + strlen(begin), &end, 10) : 0;
    EXPECT(value >= 1 && value <= max && *end == '\0' && got[strlen(begin)] != '0',
           text("a reply '%sN', N from 1 to %ld: so many NEXT were asked for", begin, max),
           text("the line %s", quoted(got, len, 100)));
    EXPECT(seen[value]++ == 0, "each value of NEXT is given once",
           text("%ld was given twice", value));
}

/*
 * Requests that wait at once, and a server whose threads, if it has some, answer them in step,
 * instruction by instruction: what two of them share and do not guard is in use by both then. (Each
 * is over in so short a time that they would hardly ever meet.)
 */
static void ask_in_step(struct program *p, const char *dir, struct random *r, unsigned char *seen,
                        long max)
{
    enum { CLIENTS = 8, STEPS_MAX = 100000, SLEEPS_MS = 50 };
    const char *what =
        "the reply to one of eight requests that come at the same time: what threads "
        "share, a buffer too, is used by one at a time";
    struct visitor *v[CLIENTS];
    const char *lines = "", *said[CLIENTS];

    for (int i = 0; i < CLIENTS; i++) {
        v[i] = visitor_new(dir, r);
        said[i] = word(r);
        lines = i % 2 == 0 ? text("%s%s %d NEXT\n", lines, v[i]->pid, i)
                           : text("%s%s %d ECHO %s\n", lines, v[i]->pid, i, said[i]);
    }
    int writer = writer_open(dir);
    wait_quiet(p, "the server waits for requests");
    bool traced = trace_begin(p);
    writer_send(writer, lines, strlen(lines));
    fifo_close(writer);
    for (int i = 0; traced && i < STEPS_MAX && trace_step(SLEEPS_MS); i++)
        ;
    if (traced)
        trace_end();
    for (int i = 0; i < CLIENTS; i++) {
        if (i % 2 == 0)
            note_value(v[i], text("%d", i), seen, max, what);
        else
            expect_reply(v[i], text("%d OK %s", i, said[i]), what);
        visitor_leaves(v[i]);
    }
}

TEST(many, next, "NEXT for 200 clients at once: each value once, none left out")
{
    enum { CLIENTS = 200, LOST = 40, GOOD = 20, ROUNDS = 2, IN_STEP = 4 * ROUNDS };
    struct random r = random_from_test();
    const char *dir = dir_make(&r);
    struct visitor *v[CLIENTS];
    unsigned char seen[CLIENTS + IN_STEP + LOST + GOOD + 1] = {0};

    struct program *p = server_start(dir);
    expect_served(dir, &r, "a reply to the first client");
    program_stop(p);
    for (int i = 0; i < CLIENTS; i++) {
        v[i] = visitor_new(dir, &r);
        ask(dir, "%s %d NEXT", v[i]->pid, i);
    }
    program_signal(p, SIGCONT);
    for (int i = 0; i < CLIENTS; i++)
        note_value(v[i], text("%d", i), seen, CLIENTS, "the reply to NEXT");
    for (int i = 0; i < ROUNDS; i++)
        ask_in_step(p, dir, &r, seen, CLIENTS + IN_STEP);
    /* Values whose replies are dropped: lost, or given to the next, and to nobody else. */
    for (int i = 0; i < LOST + GOOD; i++) {
        if (i % 3 < 2) {
            ask(dir, "%s 1 NEXT", new_pid(&r));
            continue;
        }
        struct visitor *w = visitor_new(dir, &r);
        ask(dir, "%s 2 NEXT", w->pid);
        note_value(w, "2", seen, CLIENTS + IN_STEP + LOST + GOOD, "the reply to NEXT");
        visitor_leaves(w);
    }
}

enum { TOGETHER = 24 };
enum kind { GOOD, UNKNOWN, NO_FIFO, NOT_OPENED, FULL, A_FILE, A_LINK, NO_REQUEST, SILENT, KINDS };

/* Some good ones at a time. */
static void visit_together(const char *dir, struct random *r)
{
    struct visitor *v[TOGETHER];
    const char *said = word(r);
    for (int i = 0; i < TOGETHER; i++) {
        v[i] = visitor_new(dir, r);
        ask(dir, "%s %d ECHO %s", v[i]->pid, i, said);
    }
    for (int i = 0; i < TOGETHER; i++) {
        expect_reply(v[i], text("%d OK %s", i, said),
                     "a reply to one of 1,000 clients, some of whom are no good");
        visitor_leaves(v[i]);
    }
}

/* One client of that kind, or some good ones, come and go. */
static void visit(const char *dir, struct random *r, enum kind kind)
{
    const char *pid = new_pid(r), *path = reply_of(dir, pid);
    int fd = -1;

    switch (kind) {
    case GOOD:
        visit_together(dir, r);
        return;
    case UNKNOWN: {
        struct visitor *v = visitor_as(dir, pid);
        ask(dir, "%s 1 NOTHING", pid);
        expect_error_reply(v, "1", "the reply to one of 1,000 clients");
        visitor_leaves(v);
        return;
    }
    case NO_REQUEST:
        ask(dir, "%s", word(r));
        return;
    case SILENT:
        fifo_close(writer_open(dir));
        return;
    case NOT_OPENED:
        fifo_make(path, 0600);
        break;
    case FULL:
        fifo_make(path, 0600);
        fifo_fill(fd = fifo_open(path, O_RDWR), 0);
        break;
    case A_FILE:
        file_make(text("%s/reply.%s", dir, pid), "", 0600);
        break;
    case A_LINK:
        link_make(path, "requests");
        break;
    default:
        break;
    }
    ask(dir, "%s 1 ECHO %s", pid, word(r));
    if (fd < 0)
        return; /* what lies there stays until it was looked at */
    expect_served(dir, r, "a reply to the client after one whose FIFO is full");
    fifo_close(fd);
    unlink(path);
}

TEST(many, thousand, "after 1,000 clients the server holds as much as before them")
{
    enum { CLIENTS = 1000 };
    struct random r = random_from_test();
    const char *dir = dir_make(&r);

    struct program *p = server_start(dir);
    for (int kind = 0; kind < KINDS; kind++)
        visit(dir, &r, (enum kind)kind);
    wait_quiet(p, "the server waits for requests");
    size_t descriptors = process_family_descriptors(program_pid(p)), processes = processes_of(p);
    for (int clients = 0; clients < CLIENTS; clients += TOGETHER + KINDS - 1)
        for (int kind = 0; kind < KINDS; kind++)
            visit(dir, &r, (enum kind)kind);
    expect_served(dir, &r, "a reply to the last one of more than 1,000 clients");
    wait_quiet(p, "the server waits for requests");
    EXPECT(process_family_descriptors(program_pid(p)) <= descriptors,
           text("as many open descriptors after 1,000 clients as before: %zu", descriptors),
           text("%zu", process_family_descriptors(program_pid(p))));
    EXPECT(processes_of(p) <= processes,
           text("as many processes after 1,000 clients as before: %zu", processes + 1),
           text("%zu (those count that have ended and were not waited for)", processes_of(p) + 1));
    server_end(p, dir);
}

TEST(many, always_reachable, "between two clients, too, the server reads its FIFO")
{
    enum { STOPS_MAX = 200, SLEEPS_MS = 100, ROUNDS = 3 };
    struct random r = random_from_test();
    const char *dir = dir_make(&r);
    struct trace_stop stop;

    struct program *p = server_start(dir);
    for (int round = 0; round < ROUNDS; round++) {
        expect_served(dir, &r, "a reply to a client");
        struct visitor *v = visitor_new(dir, &r);
        wait_quiet(p, "the server waits for requests");
        int writer = writer_open(dir);
        if (!trace_begin(p)) {
            fifo_close(writer);
            return;
        }
        const char *line = text("%s 1 ECHO x\n", v->pid);
        writer_send(writer, line, strlen(line));
        fifo_close(writer);
        /* At each of its system calls until it sleeps again. Each look is a client that comes and
         * goes, so it may go on for ever. */
        bool there = true;
        for (int i = 0; i < STOPS_MAX && there && trace_next(&stop, SLEEPS_MS); i++)
            there = server_is_reachable(dir);
        trace_end();
        EXPECT(there,
               "a client finds the server at any time from its start to its end: it does not close "
               "DIR/requests when the last client has gone, not even to open it again",
               "there is a moment after a client has gone when nobody reads DIR/requests: who asks "
               "then is told that there is no server");
        expect_reply(v, "1 OK x", "the reply");
    }
}
