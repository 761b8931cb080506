/* Requests from a stream: every line, and every end. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "suites/fifo/peer/fifo.h"
#include "support/clock.h"

TEST(lines, status, "an ERR goes to stderr, the next line is asked, and 1 is the status at the end")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r), *why = word(&r), *also = word(&r);

    struct desk *d = desk_open(dir);
    /* The line that is answered with ERR; 0: none, 4: the first and the last. */
    for (int wrong = 0; wrong <= 4; wrong++) {
        const char *printed = "";
        struct program *p =
            run_with("DANCE\nECHO x\nSING\n", "client", "-t", "60000", dir, "-", NULL);
        for (int i = 1; i <= 3; i++) {
            struct request q = take_request(d, p, "each line is asked, whatever was answered");
            EXPECT(strcmp(q.id, text("%d", i)) == 0, text("ID %d for the line %d", i, i),
                   text("the line %s", quoted(q.line, q.len, 100)));
            if (i > 1) { /* a late one to the line before */
                struct request old = q;
                old.id = text("%d", i - 1);
                answer(d, &old, i == 2 ? "OK %s" : "ERR %s", a);
            }
            if (i == wrong || (wrong == 4 && i != 2)) {
                answer(d, &q, "ERR %s%d %s", why, i, also);
                continue;
            }
            answer(d, &q, "OK %s%d", a, i);
            printed = text("%s%s%d\n", printed, a, i);
        }
        if (wrong > 0) {
            expect_failure(p, text("the reply to line %d was ERR", wrong < 4 ? wrong : 1));
            for (int i = 1; i <= 3; i++)
                if (i == wrong || (wrong == 4 && i != 2))
                    expect_said(p, text("%s%d %s", why, i, also), "why it was refused");
        } else {
            expect_status(p, 0, "no reply was ERR");
        }
        expect_printed(p, printed, "the texts of the other replies");
    }

    /* IDs of more than one digit, and of more than a byte. */
    enum { LINES = 300, LATE_FROM = 10, LATE_TO = 12 };
    const char *input = "", *printed = "";
    for (int i = 1; i <= LINES; i++)
        input = text("%sCOUNT\n", input);
    struct program *p = run_with(input, "client", "-t", "60000", dir, "-", NULL);
    for (int i = 1; i <= LINES; i++) {
        struct request q = expect_request(d, p, text("%d", i), "COUNT", "", "IDs count the lines");
        struct request old = q;
        old.id = "1"; /* as its own one begins */
        if (i >= LATE_FROM && i <= LATE_TO)
            answer(d, &old, "OK %s", a);
        answer(d, &q, "OK %d", i);
        printed = text("%s%d\n", printed, i);
    }
    expect_status(p, 0, "no reply was ERR");
    expect_printed(p, printed, "the texts of the replies");
}

TEST(lines, stops, "at the first line without an answer it is over: 3")
{
    enum { MS = 300 };
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r), *b = word(&r);

    struct desk *d = desk_open(dir);
    harness_stuck_after(STUCK_MS + MS);
    int64_t start = clock_ns();
    struct program *p = run_with(text("ECHO %s\nECHO %s\nECHO %s\nECHO %s\n", a, b, a, b), "client",
                                 "-t", text("%d", MS), dir, "-", NULL);
    struct request q = expect_request(d, p, "1", "ECHO", a, "of the first line");
    answer(d, &q, "ERR %s", a);
    q = expect_request(d, p, "2", "ECHO", b, "of the second line");
    answer(d, &q, "OK %s", b);
    expect_request(d, p, "3", "ECHO", a, "of the third line");
    expect_timeout(p, start, MS, "nobody has answered the third line, whatever came before");
    expect_printed(p, text("%s\n", b), "the text of the reply that was OK");
    expect_nothing_asked(d, "nothing more is asked after a line without an answer");
    expect_names(dir, "requests", "the client removes its FIFO");

    p = run("client", "-t", text("%d", MS), dir, "-", NULL);
    program_send_text(p, text("ECHO %s\n", a));
    q = expect_request(d, p, "1", "ECHO", a, "of the first line");
    answer(d, &q, "OK %s", b);
    expect_line(p, b, "the text of the reply");
    desk_leave(d);
    program_send_text(p, text("ECHO %s\n", a));
    expect_status(p, 3, "the server has gone between two lines");
    expect_names(dir, "requests", "the client removes its FIFO, and no other one");
}

TEST(lines, none, "no line: 0 where there is a server, 3 where there is none")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r), *b = word(&r);

    struct program *p = run_with("", "client", "-t", "60000", dir, "-", NULL);
    expect_status(p, 3, "there is no server");
    expect_names(dir, "", "the client leaves nothing");
    p = run_with(text("ECHO %s\n", a), "client", "-t", "60000", dir, "-", NULL);
    expect_status(p, 3, "there is no server");
    struct desk *d = desk_open(dir);
    p = run_with("", "client", "-t", "60000", dir, "-", NULL);
    expect_status(p, 0, "there is a server, and nothing to be asked");
    expect_printed(p, "", "nothing was asked");
    expect_nothing_asked(d, "there is no line");
    expect_names(dir, "requests", "the client removes its FIFO");
    /* Who ends without asking for anything is told from one that has nothing to ask. */
    p = run_with(text("ECHO %s\n", a), "client", "-t", "60000", dir, "-", NULL);
    struct request q = expect_request(d, p, "1", "ECHO", a, "there is a server, and a line");
    answer(d, &q, "OK %s", b);
    expect_status(p, 0, "the line was answered");
    expect_printed(p, text("%s\n", b), "the text of the reply");
    desk_leave(d);
    p = run_with("", "client", "-t", "60000", dir, "-", NULL);
    expect_status(p, 3, "nobody reads DIR/requests: there is no server");
    expect_names(dir, "requests", "the client leaves nothing");
}

/* Asks `before` short lines, and then `bad`: an error that names that line. */
static void expect_refused(struct desk *d, struct random *r, int before, const char *bad,
                           size_t len, const char *why)
{
    const char *a = word(r);
    struct program *p = run("client", "-t", "60000", d->dir, "-", NULL);
    for (int i = 1; i <= before; i++) {
        program_send_text(p, text("ECHO %s\n", a));
        struct request q = expect_request(d, p, text("%d", i), "ECHO", a, "of a right line");
        answer(d, &q, "OK %s", a);
        expect_line(p, a, "the text of the reply");
    }
    program_queue(p, bad, len);
    program_queue(p, "\nECHO behind\n", 13);
    program_close_input(p);
    expect_failure(p, why);
    expect_line_number(p, before + 1, why);
    expect_nothing_asked(d, why);
    expect_names(d->dir, "requests", "the client removes its FIFO");
}

TEST(lines, too_long, "a line that makes a request over PIPE_BUF is an error with its number")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r);

    struct desk *d = desk_open(dir);
    struct program *p = run("client", "-t", "60000", dir, "-", NULL);
    program_send_text(p, text("ECHO %s\n", a));
    struct request q = expect_request(d, p, "1", "ECHO", a, "of the first line");
    answer(d, &q, "OK %s", a);
    /* "PID 2 ECHO TEXT\n" */
    size_t most = LINE_MAX_BYTES - strlen(q.pid) - 9;
    const char *much = letters(&r, most);
    program_send_text(p, text("ECHO %s\n", much));
    q = expect_request(d, p, "2", "ECHO", much, "a request of PIPE_BUF bytes");
    answer(d, &q, "OK %s", much);
    program_send_text(p, text("ECHO %s\nECHO x\n", letters(&r, most + 1)));
    expect_failure(p, "line 3 makes a request of PIPE_BUF + 1 bytes");
    expect_line_number(p, 3, "it is too long");
    expect_printed(p, text("%s\n%s\n", a, much), "the texts of the replies before it");
    expect_nothing_asked(d, "neither the line that is too long nor the one behind it");
    expect_names(dir, "requests", "the client removes its FIFO");

    const size_t lengths[] = {LINE_MAX_BYTES, 5000, 100000};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        expect_refused(d, &r, (int)i + 1, text("ECHO %s", letters(&r, lengths[i])), lengths[i] + 5,
                       text("a line of %zu bytes is too long", lengths[i] + 5));
}

TEST(lines, nul, "a line with a NUL in it is an error with its number")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r);

    struct desk *d = desk_open(dir);
    expect_refused(d, &r, 1, "ECHO a\0b", 8, "there is a NUL in line 2");
    expect_refused(d, &r, 2, "ECHO a\0", 7, "there is a NUL at the end of line 3");
    expect_refused(d, &r, 3, "\0ECHO a", 7, "there is a NUL at the beginning of line 4");
}

TEST(lines, edges, "an empty line counts, spaces stay, the last line needs no newline")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r), *b = random_text(&r, 300);

    struct desk *d = desk_open(dir);
    struct program *p = run_with(text("\nECHO  %s \nECHO %%s%s\nECHO \xff\r%s\r\nCOUNT", a, b, a),
                                 "client", "-t", "60000", dir, "-", NULL);
    struct request q = take_request(d, p, "an empty line is a request, too");
    EXPECT(strcmp(q.id, "1") == 0 && *q.op == '\0' && q.text_len == 0,
           "the request 'PID 1' without an operation", quoted(q.line, q.len, 100));
    answer(d, &q, "ERR %s", a);
    q = expect_request(d, p, "2", "ECHO", text(" %s ", a), "the spaces of the text stay");
    answer(d, &q, "OK  %s ", a);
    q = expect_request(d, p, "3", "ECHO", text("%%s%s", b), "the text has any bytes");
    const char *reply = text("3 OK %%d%s\n", b);
    answer_bytes(d, &q, reply, strlen(reply));
    q = expect_request(d, p, "4", "ECHO", text("\xff\r%s\r", a), "the text has any bytes");
    answer(d, &q, "OK x");
    q = expect_request(d, p, "5", "COUNT", "", "the last line has no newline");
    answer(d, &q, "OK 0");
    expect_failure(p, "the first reply was ERR");
    expect_printed(p, text(" %s \n%%d%s\nx\n0\n", a, b), "the texts of the replies as they are");
}

TEST(lines, each_request, "each request has all of the time, and what passes between them is free")
{
    enum { MS = 400, LINES = 3 };
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r);

    struct desk *d = desk_open(dir);
    struct program *p = run("client", "-t", text("%d", MS), dir, "-", NULL);
    for (int i = 1; i <= LINES; i++) {
        let_pass(i == 1 ? MS + 50 : MS / 2 + 50);
        wait_quiet(p, "the client waits for the next line: that takes as long as it takes");
        program_send_text(p, text("ECHO %s\n", a));
        struct request q = expect_request(d, p, text("%d", i), "ECHO", a, "however late it comes");
        answer(d, &q, "OK %s", a);
        expect_line(p, a, "the text of the reply");
    }
    int64_t start = clock_ns();
    program_send_text(p, text("ECHO %s\n", a));
    expect_request(d, p, text("%d", LINES + 1), "ECHO", a, "of the last line");
    expect_timeout(p, start, MS, "nobody has answered the last line in time");

    p = run("client", "-t", "600000", dir, "-", NULL);
    expect_idle(p, "no line has come yet");
    program_send_text(p, text("ECHO %s\n", a));
    struct request q = expect_request(d, p, "1", "ECHO", a, "of the first line");
    answer(d, &q, "OK %s", a);
    expect_line(p, a, "the text of the reply");
    expect_idle(p, "the next line has not come yet");
    /* If its FIFO is there between two lines. */
    int fd = is_fifo(reply_of(dir, q.pid)) ? fifo_open(reply_of(dir, q.pid), O_WRONLY) : -1;
    if (fd >= 0 && write(fd, "1 OK late\n", 10) < 0)
        suite_failed("cannot write to", reply_of(dir, q.pid));
    if (fd >= 0)
        fifo_close(fd);
    expect_idle(p, "the next line has not come yet, and a late reply to the one before has");
    program_stop_and_continue(p);
    expect_idle(p, "the next line has not come yet, and it was stopped and continued");
    program_send_text(p, text("ECHO %s\n", a));
    q = expect_request(d, p, "2", "ECHO", a, "of the second line");
    answer(d, &q, "OK %s", a);
    expect_line(p, a, "the text of the reply");
    program_close_input(p);
    expect_status(p, 0, "each line was answered");
}
