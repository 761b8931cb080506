/* The client, with the suite as its server: any bytes, and what may be in its way. */
#include "harness/trace.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "suites/fifo/peer/fifo.h"

/* One request, answered. */
static void expect_answered(struct desk *d, struct random *r, const char *why)
{
    const char *a = word(r), *b = word(r);
    struct program *p = run("client", "-t", "60000", d->dir, "ECHO", a, NULL);
    struct request q = expect_request(d, p, "1", "ECHO", a, why);
    answer(d, &q, "OK %s", b);
    expect_status(p, 0, "the reply is there");
    expect_printed(p, text("%s\n", b), "the text of the reply");
}

/* Ends with 3, and DIR/requests and `far` are as they were. */
static void expect_none(const char *dir, const char *far, const char *why)
{
    struct left before = look_at(requests_of(dir)), behind = look_at(far);
    struct program *p = run("client", "-t", "60000", dir, "ECHO", "x", NULL);
    harness_stuck_after(1000);
    expect_status(p, 3, why);
    expect_left(&before, why);
    expect_left(&behind, why);
}

TEST(client, not_a_server, "what is no FIFO is no server, and is not written to")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *path = requests_of(dir), *target = text("%s-x", word(&r));
    const char *far = inside(dir, target);

    file_make(text("%s/requests", dir), "", 0600);
    expect_none(dir, path, "a file is no server");
    unlink(path);
    folder_make(text("%s/requests", dir));
    expect_none(dir, path, "a directory is no server");
    rmdir(path);
    fifo_make(far, 0600);
    link_make(path, target);
    int reader = fifo_open(far, O_RDWR);
    expect_none(dir, far, "a link is no server, whatever it leads to");
    EXPECT(fifo_waiting(reader) == 0, "nothing is written through a link", "there are bytes");
    fifo_close(reader);
    unlink(far);
    file_make(text("%s/%s", dir, target), "", 0600);
    expect_none(dir, far, "a link is no server, whatever it leads to");
    expect_names(dir, text("requests %s", target), "the client leaves nothing");
    unlink(path);

    struct program *p = run("client", "-t", "60000", text("%s/none", dir), "ECHO", "x", NULL);
    expect_status(p, 3, "without a DIR there is no server");
    p = run("client", "-t", "60000", text("%s/%s", dir, target), "ECHO", "x", NULL);
    expect_status(p, 3, "a file is no DIR, and so there is no server");
    expect_names(dir, target, "the client leaves nothing");
    expect_answered(desk_open(dir), &r, "there is a server now");
}

TEST(client, foreign_many, "many foreign replies before its own, all there at once")
{
    /* So that a read of 4,096 bytes, of twice as many, or of few, ends in the middle of its own. */
    enum { BEFORE = 3 * LINE_MAX_BYTES + LINE_MAX_BYTES / 2, OWN = 3900, LONGEST = 2000 };
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r), *own = letters(&r, OWN);
    const char *all =
        "10 OK x\n01 OK x\n001 ERR x\n1x OK x\n11 ERR x\nOK 1\n\n 1 OK x\nx\n2\n-1 OK x\n";

    while (strlen(all) < BEFORE) {
        const char *id = text("%d OK ", between(&r, 2, 99999));
        size_t left = BEFORE - strlen(all) - strlen(id) - 1;
        size_t len = left <= LONGEST ? left : (size_t)between(&r, 1, LONGEST / 2);
        all = text("%s%s%s\n", all, id, letters(&r, len));
    }
    struct desk *d = desk_open(dir);
    struct program *p = run("client", "-t", "60000", dir, "ECHO", a, NULL);
    struct request q = expect_request(d, p, "1", "ECHO", a, "from one command");
    wait_quiet(p, "the client waits for its reply");
    program_stop(p); /* so that all of it is there when it reads */
    int fd = answer_open(d, &q);
    struct endpoint *out = endpoint_writer(fcntl(fd, F_DUPFD_CLOEXEC, 0), "our server");
    endpoint_send_text(out, text("%s1 OK %s\n", all, own));
    endpoint_close(out);
    fifo_close(fd);
    program_signal(p, SIGCONT);
    expect_status(p, 0, "its own reply is there, behind foreign ones");
    expect_printed(p, text("%s\n", own), "the text of its own reply alone");
}

TEST(client, any_bytes, "texts of any bytes, there and back")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r);
    const char *texts[] = {
        " ",  "  a  b ",      "%s%n%d",       "-5",
        "--", "\x80\xff\x01", "\r",           "OK",
        "1",  "ERR x",        "$(x) `y` \\n", random_text(&r, (size_t)between(&r, 100, 4000))};

    struct desk *d = desk_open(dir);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const char *back = i % 2 == 0 ? texts[i] : random_text(&r, (size_t)between(&r, 1, 4000));
        if (*back == ' ' && i % 2 == 1)
            back++;
        struct program *p = run("client", "-t", "60000", dir, "ECHO", texts[i], NULL);
        struct request q = expect_request(d, p, "1", "ECHO", texts[i], "the text as it is");
        const char *reply = text("1 OK %s\n", back);
        answer_bytes(d, &q, reply, strlen(reply));
        expect_status(p, 0, "the reply is there");
        expect_printed(p, text("%s\n", back), "the text of the reply as it is");
    }
    struct program *p = run("client", "-t", "60000", dir, "COUNT", "", NULL);
    struct request q = expect_request(d, p, "1", "COUNT", "", "an empty text");
    answer(d, &q, "OK");
    expect_status(p, 0, "the reply is there");
    expect_printed(p, "\n", "an empty text is an empty line");

    const char *longest = letters(&r, LINE_MAX_BYTES - strlen("1 OK \n"));
    p = run("client", "-t", "60000", dir, "COUNT", NULL);
    q = expect_request(d, p, "1", "COUNT", "", "no text");
    answer(d, &q, "OK %s", longest);
    expect_status(p, 0, "a reply of PIPE_BUF bytes with its newline is there");
    expect_printed(p, text("%s\n", longest), "the text of the reply as it is");
    p = run("client", "-t", "60000", dir, "COUNT", NULL);
    q = expect_request(d, p, "1", "COUNT", "", "no text");
    answer(d, &q, "ERR 100%% of %%s %%d %%%%");
    expect_failure(p, "the reply was ERR");
    expect_said(p, "100% of %s %d %%", "why it was refused, as it is");
}

/* The number of the process as it knows it itself: the last one of its namespaces. */
static const char *pid_of(struct program *p)
{
    char line[256];
    const char *pid = NULL;
    FILE *status = fopen(text("/proc/%d/status", (int)program_pid(p)), "re");
    while (status != NULL && fgets(line, sizeof line, status) != NULL)
        if (strncmp(line, "NSpid:", 6) == 0)
            pid = text("%ld", strtol(strrchr(line, '\t') + 1, NULL, 10));
    if (status != NULL)
        fclose(status);
    return pid;
}

TEST(client, old_fifo, "a reply FIFO that an earlier process has left is replaced")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r), *b = word(&r);

    struct desk *d = desk_open(dir);
    struct program *p = command("client", "-t", "60000", dir, "ECHO", a, NULL);
    if (!trace_start(p)) {
        program_signal(p, SIGKILL);
        program_wait(p);
        expect_answered(d, &r, "without an old FIFO");
        return;
    }
    const char *pid = pid_of(p), *old = pid == NULL ? NULL : reply_of(dir, pid);
    int held = -1;
    if (old != NULL) {
        fifo_make(old, 0644);
        held = fifo_open(old, O_RDWR);
        const char *late = text("1 OK %s\n", word(&r));
        if (write(held, late, strlen(late)) < 0)
            suite_failed("cannot write to", old);
    }
    trace_end();
    struct request q = expect_request(d, p, "1", "ECHO", a, "there was an old reply FIFO");
    answer(d, &q, "OK %s", b);
    expect_status(p, 0, "the reply is there");
    expect_printed(p, text("%s\n", b),
                   "the text of the reply, and not what was in the old FIFO of that name");
    expect_names(dir, "requests", "the client removes its FIFO");

    /* What can't be removed like a FIFO: that is a failure, and there is a server all the same. */
    p = command("client", "-t", "60000", dir, "ECHO", a, NULL);
    bool traced = trace_start(p);
    pid = pid_of(p);
    if (pid != NULL) {
        folder_make(text("%s/reply.%s", dir, pid));
        file_make(text("%s/reply.%s/x", dir, pid), "", 0600);
    }
    if (traced)
        trace_end();
    wait_quiet_or_end(p, "the client fails, or has found another way and asks");
    if (traced && program_has_ended(p)) {
        expect_status(p, 1, "a folder lies where its FIFO should be, and it cannot be made");
        expect_nothing_asked(d, "there is no FIFO for the reply");
    }
}

TEST(client, one_write, "a request goes out in one write: whole, or not yet")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = letters(&r, (size_t)between(&r, 100, 2000));
    size_t len;

    struct desk *d = desk_open(dir);
    for (size_t room = 1; room <= 40; room += 13) {
        desk_fill(d, room);
        struct program *p = run("client", "-t", "600000", dir, "ECHO", a, NULL);
        wait_quiet(p, "the client waits for room for all of its request");
        EXPECT(fifo_waiting(d->fd) == LINE_MAX_BYTES - room,
               "where there is no room for all of a request, nothing of it is written",
               text("a part of it: %s", quoted(desk_drain(d, &len), 40, 60)));
        desk_drain(d, &len);
        if (len > 0) /* what came when there was room */
            test_fail("nothing of the request before there is room", text("%zu bytes", len));
        wait_quiet(p, "the client writes its request and waits for the reply");
        struct request q = {.id = "1"};
        const char *line = desk_drain(d, &len);
        q.pid = text("%.*s", (int)strspn(line, "0123456789"), line);
        const char *want = text("%s 1 ECHO %s\n", q.pid, a);
        EXPECT(len == strlen(want) && memcmp(line, want, len) == 0,
               text("the request in one piece: %s", quoted(want, strlen(want), 60)),
               quoted(line, len, 100));
        answer(d, &q, "OK");
        expect_status(p, 0, "the reply is there");
        expect_printed(p, "\n", "an empty text");
    }
}

TEST(client, too_long, "a request of PIPE_BUF bytes is sent, a longer one is not")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r);

    struct desk *d = desk_open(dir);
    struct program *p =
        run("client", "-t", "60000", dir, "ECHO", letters(&r, LINE_MAX_BYTES), NULL);
    expect_failure(p, "the request would be longer than PIPE_BUF");
    expect_nothing_asked(d, "it is too long");
    expect_names(dir, "requests", "the client leaves nothing");
    p = run("client", "-t", "60000", dir, "COUNT", letters(&r, 100000), NULL);
    expect_failure(p, "the request would be much longer than PIPE_BUF");
    expect_nothing_asked(d, "it is too long");
    p = run("client", "-t", "60000", dir, letters(&r, 5000), NULL);
    expect_failure(p, "the request would be longer than PIPE_BUF, by its operation alone");
    expect_nothing_asked(d, "it is too long");
    const char *op = letters(&r, 1000);
    p = run("client", "-t", "60000", dir, op, "x", NULL);
    struct request odd = expect_request(d, p, "1", op, "x", "an operation is sent as it is");
    answer(d, &odd, "ERR no");
    expect_failure(p, "the reply was ERR");

    /* "PID 1 ECHO TEXT\n": how many digits its PID has is not known before. */
    int sent = 0, refused = 0;
    for (size_t len = LINE_MAX_BYTES - 19; len <= LINE_MAX_BYTES - 9; len++) {
        const char *much = letters(&r, len);
        p = run("client", "-t", "60000", dir, "ECHO", much, NULL);
        wait_quiet_or_end(p, "the client asks and waits for its reply, or refuses");
        if (program_has_ended(p)) {
            expect_failure(p, "the request would be longer than PIPE_BUF");
            expect_nothing_asked(d, "it is too long");
            refused++;
            continue;
        }
        EXPECT(refused == 0, "a shorter request was refused, and so is this", "it was sent");
        struct request q = expect_request(d, p, "1", "ECHO", much, "a long text");
        EXPECT(q.len + 1 <= LINE_MAX_BYTES, "a request of at most PIPE_BUF bytes, with its newline",
               text("%zu bytes", q.len + 1));
        sent = (int)q.len + 1;
        answer(d, &q, "OK %s", much);
        expect_status(p, 0, "the reply is there");
        expect_printed(p, text("%s\n", much), "the text of the reply");
    }
    EXPECT(sent == LINE_MAX_BYTES,
           text("the longest request that is sent has PIPE_BUF (%d) bytes, its newline counted",
                LINE_MAX_BYTES),
           text("it has %d", sent));
    expect_names(dir, "requests", "the client leaves nothing");
}

TEST(client, usage, "wrong usage, and a newline where none can be, write nothing")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r);

    struct desk *d = desk_open(dir);
    expect_usage(run("client", NULL), "client without operands");
    expect_usage(run("client", dir, NULL), "client without an operation");
    expect_usage(run("client", dir, "ECHO", a, a, NULL), "client with a fourth operand");
    expect_usage(run("client", dir, "-", a, NULL), "client with an operand behind '-'");
    expect_usage(run("client", "-t", NULL), "-t without a time");
    expect_usage(run("client", "-t", "100", NULL), "client without operands");
    expect_usage(run("client", "-t", "ten", dir, "ECHO", a, NULL), "a time that is no number");
    expect_usage(run("client", "-t", "10ms", dir, "ECHO", a, NULL), "a time that is no number");
    expect_usage(run("client", "-t", "-1", dir, "ECHO", a, NULL), "a negative time");
    expect_usage(run("client", "-t", "", dir, "ECHO", a, NULL), "an empty time");
    expect_usage(run("client", "-x", dir, "ECHO", a, NULL), "an option that does not exist");
    const int refused[] = {1, 2};
    const char *newlines[][2] = {{"ECHO", text("%s\n%s", a, a)}, {"ECHO", "\n"}, {"EC\nHO", a}};
    for (size_t i = 0; i < sizeof newlines / sizeof *newlines; i++) {
        struct program *p = run("client", dir, newlines[i][0], newlines[i][1], NULL);
        expect_exit_one_of(p, refused, 2);
        expect_said(p, "\n", "a line, that there is a newline in a request");
    }
    expect_nothing_asked(d, "neither for wrong usage nor for a newline in a request");
    expect_names(dir, "requests", "the client leaves nothing");
    expect_answered(d, &r, "right usage");
}

TEST(client, several, "clients at the same time: each has a FIFO of its own")
{
    enum { CLIENTS = 5 };
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *said[CLIENTS], *back[CLIENTS];
    struct program *p[CLIENTS];
    struct request q[CLIENTS];
    int order[CLIENTS];

    struct desk *d = desk_open(dir);
    for (int i = 0; i < CLIENTS; i++) {
        said[i] = text("%s%d", word(&r), i);
        back[i] = text("%d%s", i, word(&r));
        order[i] = i;
        p[i] = run("client", "-t", "60000", dir, "ECHO", said[i], NULL);
        q[i] = expect_request(d, p[i], "1", "ECHO", said[i], "from each client");
        for (int j = 0; j < i; j++)
            EXPECT(strcmp(q[i].pid, q[j].pid) != 0, "each client asks with a PID of its own",
                   "two have the same");
    }
    random_shuffle(&r, order, CLIENTS, sizeof *order);
    for (int i = 0; i < CLIENTS; i++) {
        int n = order[i];
        answer(d, &q[n], "OK %s", back[n]);
        expect_status(p[n], 0, "its reply is there");
        expect_printed(p[n], text("%s\n", back[n]), "the text of its own reply");
    }
    expect_names(dir, "requests", "each client removes its FIFO");

    /* DIR is a path as any other one. */
    const char *deep = dir_make_deep(&r), *odd = text("%s/100%%s %%d", dir_make(&r));
    folder_make(odd); /* no format, and no word */
    const char *ways[] = {text("%s/", dir), text("./%s", dir), inside(dir, "."), deep, odd};
    struct desk *far[] = {desk_open(deep), desk_open(odd)};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct program *one = run("client", "-t", "60000", ways[i], "ECHO", said[0], NULL);
        struct desk *of = i < 3 ? d : far[i - 3];
        struct request asked =
            expect_request(of, one, "1", "ECHO", said[0], "whatever the path of DIR");
        answer(of, &asked, "OK %s", back[0]);
        expect_status(one, 0, "its reply is there");
        expect_names(of->dir, "requests", "the client removes its FIFO");
    }
}

TEST(client, waits_asleep, "a client that waits sleeps in the kernel")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r);

    /* So long a time is told from that of somebody who looks again and again. */
    struct desk *d = desk_open(dir);
    struct program *p = run("client", "-t", "600000", dir, "ECHO", a, NULL);
    struct request q = expect_request(d, p, "1", "ECHO", a, "from one command");
    expect_idle(p, "no reply has come");
    struct request other = q;
    other.id = "3";
    answer(d, &other, "OK %s", a);
    expect_idle(p, "a foreign reply has come, and its writer has closed the FIFO");
    int fd = answer_open(d, &q);
    expect_idle(p, "the server has opened its FIFO and has not yet replied");
    fifo_close(fd);
    expect_idle(p, "the server has opened its FIFO and closed it without a reply");
    program_stop_and_continue(p);
    expect_idle(p, "it was stopped and continued");
    answer(d, &q, "OK %s", a);
    expect_status(p, 0, "the reply is there");

    desk_fill(d, 0);
    p = run("client", "-t", "600000", dir, "ECHO", a, NULL);
    expect_idle(p, "DIR/requests is full");
    program_stop_and_continue(p);
    expect_idle(p, "DIR/requests is full, and it was stopped and continued");
    size_t len;
    desk_drain(d, &len);
    q = take_request(d, p, "there is room now");
    answer(d, &q, "OK %s", a);
    expect_status(p, 0, "the reply is there");
}
