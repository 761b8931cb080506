/* What comes in: garbage, lines that are too long, lines that are cut anywhere. */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "suites/fifo/peer/fifo.h"

TEST(input, over_long,
     "a line that is too long is dropped up to its newline, and nothing behind it")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r);
    const size_t lengths[] = {LINE_MAX_BYTES + 4, 5000, 2 * LINE_MAX_BYTES + 1, 20000, 100000};
    /* Where a request begins inside of it: behind what a buffer might hold. */
    const size_t cuts[] = {LINE_MAX_BYTES - 1, LINE_MAX_BYTES, LINE_MAX_BYTES + 1, 512, 1024, 8192,
                           UINT16_MAX + 1};

    struct program *p = server_start(dir);
    struct visitor *v = visitor_staying(dir, &r), *inner = visitor_staying(dir, &r);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        ask_bytes(dir, text("%s 1 ECHO %s\n", v->pid, letters(&r, lengths[i])),
                  strlen(v->pid) + 8 + lengths[i] + 1);
        expect_served(dir, &r,
                      text("a reply to the request after a line of %zu bytes", lengths[i]));
    }
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        const char *head = text("%s 2 ECHO ", v->pid);
        const char *tail = text("%s 3 ECHO %s", inner->pid, letters(&r, LINE_MAX_BYTES - 100));
        ask_bytes(dir, text("%s%s%s\n", head, letters(&r, cuts[i] - strlen(head)), tail),
                  cuts[i] + strlen(tail) + 1);
        expect_served(dir, &r, "a reply to the request after a line that is too long");
    }
    const size_t nuls[] = {3, LINE_MAX_BYTES - 1, LINE_MAX_BYTES + 100};
    for (size_t i = 0; i < sizeof nuls / sizeof *nuls; i++) { /* for two reasons no request */
        const char *head = text("%s 2 ECHO ", v->pid);
        char *line = (char *)text("%s%s\n", head, letters(&r, 5000));
        size_t len = strlen(line);
        line[nuls[i]] = '\0';
        ask_bytes(dir, line, len);
        expect_served(dir, &r,
                      "a reply to the request after a line that is too long and has a NUL in it");
    }
    for (int i = 0; i < 3; i++) { /* the end of a long line, in pieces */
        int fd = writer_open(dir);
        writer_send(fd, letters(&r, 5000), 5000);
        wait_quiet(p, "the server waits for the rest of the line");
        const char *rest = text("%s 4 ECHO %s", inner->pid, word(&r));
        writer_send(fd, rest, strlen(rest));
        wait_quiet(p, "the server waits for the rest of the line");
        writer_send(fd, "\n", 1);
        fifo_close(fd);
        expect_served(dir, &r, "a reply to the request after a line that is too long");
    }
    expect_no_reply(p, v, "the line is longer than PIPE_BUF");
    expect_no_reply(p, inner, "what stands inside of a line that is too long is no request");
}

TEST(input, longest, "PIPE_BUF bytes with the newline are a request, one more are not")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r);
    const char *ops[] = {"ECHO", "UPPER", "REVERSE", "COUNT"};

    struct program *p = server_start(dir);
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        struct visitor *v = visitor_staying(dir, &r);
        const char *head = text("%s 1 %s ", v->pid, ops[i]);
        size_t len = LINE_MAX_BYTES - 1 - strlen(head);
        char *said = (char *)letters(&r, len + 1), *want = (char *)text("%.*s", (int)len, said);
        ask(dir, "%s%s", head, said);
        expect_served(dir, &r, "a reply to the request after a line that is too long by a byte");
        expect_no_reply(p, v, "the line has PIPE_BUF + 1 bytes");
        said[len] = '\0';
        ask(dir, "%s%s", head, said);
        for (size_t j = 0; j < len; j++)
            if (i == 1)
                want[j] = (char)(said[j] - 'a' + 'A');
            else if (i == 2)
                want[j] = said[len - 1 - j];
        expect_reply(v, i == 3 ? text("1 OK %zu", len) : text("1 OK %s", want),
                     "the reply to a request of PIPE_BUF bytes");
        visitor_leaves(v);
    }
}

TEST(input, half_lines, "half lines of any length, by writers who go and who stay")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r);
    const size_t lengths[] = {1,    LINE_MAX_BYTES - 1, LINE_MAX_BYTES, LINE_MAX_BYTES + 1, 6000,
                              50000};

    struct program *p = server_start(dir);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        ask_bytes(dir, letters(&r, lengths[i]), lengths[i]);
        wait_quiet(p, "the server goes on after a line without an end");
        expect_served_after_half(p, dir, &r,
                                 text("a reply to the second request after %zu bytes without a "
                                      "newline, whose writer has gone",
                                      lengths[i]));
        int fd = writer_open(dir);
        writer_send(fd, letters(&r, lengths[i]), lengths[i]);
        wait_quiet(p, "the server goes on while a line has no end");
        expect_served_after_half(p, dir, &r,
                                 text("a reply to the second request after %zu bytes without a "
                                      "newline, whose writer stays",
                                      lengths[i]));
        fifo_close(fd);
    }
}

TEST(input, missing_fields, "a line without a PID and an ID is dropped")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r);

    struct program *p = server_start(dir);
    struct visitor *v = visitor_staying(dir, &r);
    const char *lines[] = {"",
                           " ",
                           v->pid,
                           text("%s ", v->pid),
                           text("%s  1 ECHO %s", v->pid, a),
                           text(" %s 1 ECHO %s", v->pid, a),
                           text("%s ECHO %s", v->pid, a),
                           text("%s\t1 ECHO %s", v->pid, a),
                           text("%s 1\tECHO %s", v->pid, a),
                           text("%s 1ECHO %s", v->pid, a),
                           text("ECHO %s", a)};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        ask(dir, "%s", lines[i]);
        expect_served(dir, &r, "a reply to the client after a line that is no request");
        expect_no_reply(p, v, text("%s is no request", quoted(lines[i], strlen(lines[i]), 60)));
    }
    ask(dir, "%s 1 ECHO %s", v->pid, a);
    expect_reply(v, text("1 OK %s", a), "the reply to a request with all of its fields");
    expect_names(dir, text("requests reply.%s", v->pid), "no FIFO is made for a line like that");
}

TEST(input, nul, "a line with a NUL in it is dropped, wherever it is")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r);

    struct program *p = server_start(dir);
    struct visitor *v = visitor_staying(dir, &r);
    const char *line = text("%s 12 ECHO %s %s\n", v->pid, a, a);
    for (size_t at = 0; at + 1 < strlen(line); at += (size_t)between(&r, 1, 2)) {
        char *cut = (char *)text("%s", line);
        cut[at] = '\0';
        ask_bytes(dir, cut, strlen(line));
        expect_served(dir, &r, "a reply to the client after a line with a NUL");
        expect_no_reply(p, v, text("its byte %zu is a NUL", at + 1));
    }
    /* One more than there need be, in front of the newline. */
    char *longer = (char *)text("%s 12 ECHO %s.\n", v->pid, a);
    longer[strlen(longer) - 2] = '\0';
    ask_bytes(dir, longer, strlen(v->pid) + 10 + strlen(a));
    expect_served_after_half(p, dir, &r, "a reply to a client after a line with a NUL");
    expect_no_reply(p, v, "its last byte is a NUL");
    /* What looks like a request behind it is still of the same line. */
    char *before = (char *)text("x.%s", line);
    before[1] = '\0';
    ask_bytes(dir, before, strlen(line) + 2);
    expect_served(dir, &r, "a reply to the client after a line with a NUL");
    expect_no_reply(p, v, "its second byte is a NUL");
    ask_bytes(dir, line, strlen(line));
    expect_reply(v, text("12 OK %s %s", a, a), "the reply to the same line without a NUL");
}

TEST(input, garbage, "whatever random bytes come, the server goes on")
{
    enum { LINES = 200, LONGEST = 300 };
    struct random r = random_from_test();
    const char *dir = dir_make(&r);
    char bytes[LONGEST + 1];

    struct program *p = server_start(dir);
    for (int i = 0; i < LINES; i++) {
        size_t len = (size_t)between(&r, 0, LONGEST);
        random_bytes(&r, bytes, len);
        for (size_t j = 0; j < len && i % 2 == 0; j++) /* bytes that look like a request */
            bytes[j] = "0123456789  \0ECHO-\t\x80/."[(unsigned char)bytes[j] % 23];
        bytes[len] = '\n';
        ask_bytes(dir, bytes, len + 1);
        if (i % 20 == 0)
            expect_served(dir, &r, "a reply to the client after lines of random bytes");
    }
    expect_served(dir, &r, "a reply to the client after lines of random bytes");
    wait_quiet(p, "the server waits for requests");
    expect_names(dir, "requests", "the server makes nothing, whatever comes");
}

TEST(input, boundaries, "many requests wait: wherever a read ends, each of them is answered")
{
    enum { VISITORS = 200, ENOUGH = 12, LARGE = 1024 * 1024 };
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *said[VISITORS];
    struct visitor *v[VISITORS];
    int count = 0;

    struct program *p = server_start(dir);
    expect_served(dir, &r, "a reply to the first client");
    program_stop(p); /* so that all of it waits when it reads */
    int fd = writer_open(dir);
    /* More than one read of 64 KiB, which would take all that a FIFO usually holds, and so never
     * end inside of a request. A machine that does not allow it leaves the usual size. */
    fcntl(fd, F_SETPIPE_SZ, LARGE);
    /* Nothing that is dropped takes with it what is behind it. */
    const char *bad = text("%s\n\nx\n%s 1 ECHO x\n%s 2 WHAT\n", letters(&r, LINE_MAX_BYTES + 9),
                           new_pid(&r), new_pid(&r));
    writer_send(fd, bad, strlen(bad));
    for (ssize_t sent = 1; count < VISITORS && sent > 0; count += sent > 0) {
        v[count] = visitor_new(dir, &r);
        said[count] = letters(&r, (size_t)between(&r, 1, count % 4 == 0 ? 3900 : 900));
        const char *line = text("%s %d ECHO %s\n", v[count]->pid, count, said[count]);
        sent = write(fd, line, strlen(line)); /* whole, or the FIFO is full */
    }
    if (count < ENOUGH)
        suite_failed("too few requests fit into", requests_of(dir));
    fifo_close(fd);
    program_signal(p, SIGCONT);
    for (int i = 0; i < count; i++)
        expect_reply(v[i], text("%d OK %s", i, said[i]),
                     text("the reply to one of %d requests that waited at once", count));
    expect_served(dir, &r, "a reply to the next client");
}
