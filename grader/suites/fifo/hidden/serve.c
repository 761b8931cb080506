/* Requests and replies: every byte of them. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "suites/fifo/peer/fifo.h"

TEST(serve, spaces, "one space ends a field, all others belong to the text")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r);
    const char *texts[] = {" ", "  ", text(" %s", a), text("%s ", a), text("  %s   %s ", a, a)};

    server_start(dir);
    struct visitor *v = visitor_staying(dir, &r);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const char *id = text("%zu", i + 10);
        ask(dir, "%s %s ECHO %s", v->pid, id, texts[i]);
        expect_reply_text(v, id, texts[i], strlen(texts[i]), "the text with its spaces");
        ask(dir, "%s %s COUNT %s", v->pid, id, texts[i]);
        expect_reply(v, text("%s OK %zu", id, strlen(texts[i])), "spaces are bytes of the text");
    }
    const char *empty[] = {"ECHO", "ECHO ", "UPPER", "UPPER ", "REVERSE", "REVERSE "};
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++) {
        ask(dir, "%s 2 %s", v->pid, empty[i]);
        expect_reply(v, "2 OK", text("an empty text after '%s' makes 'ID OK'", empty[i]));
    }
    ask(dir, "%s 3 COUNT", v->pid);
    expect_reply(v, "3 OK 0", "the text is absent, which is empty");
    ask(dir, "%s 4 COUNT ", v->pid);
    expect_reply(v, "4 OK 0", "the text is empty");
}

TEST(serve, any_bytes, "a text has any bytes but newline and NUL")
{
    enum { ALL = 254 };
    struct random r = random_from_test();
    const char *dir = dir_make(&r);
    unsigned char bytes[ALL + 1] = "", changed[ALL + 1] = "";
    size_t len = 0;
    for (int b = 1; b < 256; b++)
        if (b != '\n')
            bytes[len++] = (unsigned char)b;
    random_shuffle(&r, bytes, len, 1);

    server_start(dir);
    struct visitor *v = visitor_staying(dir, &r);
    ask(dir, "%s 1 ECHO %s", v->pid, (const char *)bytes);
    expect_reply_text(v, "1", (const char *)bytes, len, "ECHO gives back every byte");
    for (size_t i = 0; i < len; i++)
        changed[i] = bytes[i] >= 'a' && bytes[i] <= 'z' ? bytes[i] - 'a' + 'A' : bytes[i];
    ask(dir, "%s 2 UPPER %s", v->pid, (const char *)bytes);
    expect_reply_text(v, "2", (const char *)changed, len, "UPPER changes a to z and nothing else");
    for (size_t i = 0; i < len; i++)
        changed[i] = bytes[len - 1 - i];
    ask(dir, "%s 3 REVERSE %s", v->pid, (const char *)bytes);
    expect_reply_text(v, "3", (const char *)changed, len, "REVERSE turns all bytes round");
    ask(dir, "%s 4 COUNT %s", v->pid, (const char *)bytes);
    expect_reply(v, text("4 OK %zu", len), "COUNT is the number of bytes");
    ask(dir, "%s 5 ECHO %%s%%n%%d%%%%", v->pid);
    expect_reply(v, "5 OK %s%n%d%%", "a text is no format");
    ask(dir, "%s 6 ECHO x\r", v->pid);
    expect_reply(v, "6 OK x\r", "a carriage return is a byte of the text");
    for (int i = 0; i < 10; i++) {
        size_t n = (size_t)between(&r, 1, 3000);
        const char *said = random_text(&r, n);
        ask(dir, "%s 7 ECHO %s", v->pid, said);
        expect_reply_text(v, "7", said, n, "ECHO gives back every byte");
    }
}

TEST(serve, numbers, "PID and ID are used as they are written, 1 to 10 digits of them")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r);
    const char *pids[] = {"0", "7", "0007", "0000000000", "4294967297", "9999999999"};
    const char *ids[] = {"0", "007", "0000000001", "2147483648", "4294967296", "9999999999"};

    server_start(dir);
    for (size_t i = 0; i < sizeof pids / sizeof *pids; i++) {
        struct visitor *v = visitor_as(dir, pids[i]);
        ask(dir, "%s %s ECHO %s", pids[i], ids[i], a);
        expect_reply(v, text("%s OK %s", ids[i], a),
                     text("the reply in reply.%s, with the ID %s", pids[i], ids[i]));
        visitor_leaves(v);
    }
}

TEST(serve, odd_operations, "what is no operation gets one line with ERR, whatever it is")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r);
    const char *odd[] = {" ",
                         text("  %s", a),
                         " ECH",
                         text(" ECHO%s", a),
                         " ECHOO",
                         text(" ECHO\t%s", a),
                         " ECHO\r",
                         " Upper",
                         " NEX",
                         " NEXT1",
                         text(" \x80\xff %s", a),
                         " %s%n%s"};

    server_start(dir);
    struct visitor *v = visitor_staying(dir, &r);
    ask(dir, "%s 1", v->pid);
    expect_error_reply(v, "1", "a request without an operation");
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        const char *id = text("%zu", i + 2);
        ask(dir, "%s %s%s", v->pid, id, odd[i]);
        expect_error_reply(v, id,
                           text("%s is no operation", quoted(odd[i] + 1, strlen(odd[i] + 1), 60)));
    }
    /* As long as a request can be: the reply may not quote all of it. */
    const char *much = letters(&r, LINE_MAX_BYTES - strlen(v->pid) - 5);
    ask(dir, "%s 77 %s", v->pid, much);
    expect_error_reply(v, "77", text("%zu letters are no operation", strlen(much)));
    ask(dir, "%s 78 NEXT", v->pid);
    expect_reply(v, "78 OK 1", "NEXT is one: nothing before this was");
    /* An operation that is not there is not the one before it. */
    ask(dir, "%s 79", v->pid);
    expect_error_reply(v, "79", "a request without an operation, after one with NEXT");
    ask(dir, "%s 80 ", v->pid);
    expect_error_reply(v, "80", "a request with an empty operation, after one with NEXT");
    ask(dir, "%s 81 NEXT", v->pid);
    expect_reply(v, "81 OK 2", "the next value: neither of these was NEXT");
}

TEST(serve, next, "NEXT counts the NEXT of one server, from 1 with each server")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *other = dir_make(&r);

    struct program *p = server_start(dir);
    server_start(other);
    struct visitor *v = visitor_staying(dir, &r), *w = visitor_staying(other, &r);
    for (int i = 1; i <= 12; i++) {
        ask(dir, "%s %d NEXT%s", v->pid, i, i % 3 == 0 ? " 5" : i % 3 == 1 ? " " : "");
        expect_reply(v, text("%d OK %d", i, i), "the next value, whatever the text is");
        ask(dir, "%s 1 COUNT", v->pid);
        expect_reply(v, "1 OK 0", "another operation");
        ask(dir, "%s 2 NEXTT", v->pid);
        expect_error_reply(v, "2", "NEXTT is no operation");
    }
    ask(other, "%s 1 NEXT", w->pid);
    expect_reply(w, "1 OK 1", "the counter of another server is another counter");
    server_end(p, dir);
    server_start(dir);
    ask(dir, "%s 9 NEXT", v->pid);
    expect_reply(v, "9 OK 1", "a new server begins with 1");
}
