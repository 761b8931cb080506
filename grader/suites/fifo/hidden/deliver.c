/* Replies that can't be delivered, and where none belongs. */
#include "harness/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "suites/fifo/peer/fifo.h"

/*
 * The server has opened the FIFO and not yet written: then its reader goes. A writer is there when
 * reading says that nothing has come, and not that it is the end.
 */
static void reader_goes(struct program *p, const char *dir, const char *pid)
{
    enum { STOPS_MAX = 300, SLEEPS_MS = 100 };
    const char *path = reply_of(dir, pid);
    struct trace_stop stop;
    char byte;

    fifo_make(path, 0600);
    int fd = fifo_open(path, O_RDONLY), writer = writer_open(dir);
    wait_quiet(p, "the server waits for requests");
    if (!trace_begin(p))
        return;
    const char *line = text("%s 1 ECHO x\n", pid);
    writer_send(writer, line, strlen(line));
    fifo_close(writer);
    for (int i = 0; i < STOPS_MAX && trace_next(&stop, SLEEPS_MS); i++) {
        ssize_t n = read(fd, &byte, 1);
        if (n != 0 && (n > 0 || errno == EAGAIN))
            break;
    }
    fifo_close(fd);
    trace_end();
}

TEST(deliver, dies_before_reading, "a client that dies before it reads takes no server with it")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r);

    struct program *p = server_start(dir);
    expect_served(dir, &r, "a reply to the first client");
    wait_quiet(p, "the server waits for requests");
    size_t descriptors = process_family_descriptors(program_pid(p));
    for (int i = 0; i < 3; i++) {
        const char *pid = new_pid(&r);
        reader_goes(p, dir, pid);
        wait_quiet(p, "the server lives on when a client goes between its open and its write");
        EXPECT(is_fifo(reply_of(dir, pid)), "a reply FIFO is its client's to remove", "it is gone");
        unlink(reply_of(dir, pid));
        expect_served(dir, &r, "a reply to the client after one that has died");
        struct visitor *v = visitor_new(dir, &r);
        endpoint_close(v->reply);
        ask(dir, "%s 2 ECHO %s", v->pid, word(&r));
        expect_served(dir, &r, "a reply to the client after one that has died");
        visitor_leaves(v);
    }
    wait_quiet(p, "the server waits for requests");
    EXPECT(process_family_descriptors(program_pid(p)) <= descriptors,
           text("as many open descriptors as before these clients: %zu", descriptors),
           text("%zu", process_family_descriptors(program_pid(p))));
}

TEST(deliver, one_write, "a reply is written in one write: whole, or not at all")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = letters(&r, (size_t)between(&r, 100, 2000));
    size_t len;

    struct program *p = server_start(dir);
    for (size_t room = 1; room <= 61; room += 15) {
        const char *pid = new_pid(&r), *path = reply_of(dir, pid);
        fifo_make(path, 0600);
        int fd = fifo_open(path, O_RDWR);
        fifo_fill(fd, room);
        ask(dir, "%s 12 ECHO %s", pid, a);
        expect_served(dir, &r, "a reply to the next client");
        wait_quiet(p, "the server waits for requests");
        const char *bytes = fifo_drain(fd, &len);
        EXPECT(len == 0, "where there is no room for all of a reply, nothing of it is written",
               text("a part of it: %s", quoted(bytes, len, 60)));
        const char *want = text("13 OK %s\n", a);
        ask(dir, "%s 13 ECHO %s", pid, a);
        expect_served(dir, &r, "a reply to the next client");
        wait_quiet(p, "the server waits for requests");
        bytes = fifo_drain(fd, &len);
        EXPECT(len == strlen(want) && memcmp(bytes, want, len) == 0,
               "all of the next reply, for which there is room", quoted(bytes, len, 100));
        fifo_close(fd);
        unlink(path);
    }
    /* Any reply, and less room than the shortest one needs, "12 OK 1" and a newline. */
    const char *whats[] = {"NEXT", "COUNT", "DANCE"};
    for (size_t i = 0; i < 3 * sizeof whats / sizeof *whats; i++) {
        const char *pid = new_pid(&r), *path = reply_of(dir, pid), *what = whats[i / 3];
        fifo_make(path, 0600);
        int fd = fifo_open(path, O_RDWR);
        fifo_fill(fd, 3 + 2 * (i % 3));
        ask(dir, "%s 12 %s", pid, what);
        expect_served(dir, &r, "a reply to the next client");
        wait_quiet(p, "the server waits for requests");
        const char *bytes = fifo_drain(fd, &len);
        EXPECT(
            len == 0,
            text("where there is no room for all of a reply to %s, nothing of it is written", what),
            text("a part of it: %s", quoted(bytes, len, 60)));
        fifo_close(fd);
        unlink(path);
    }
}

TEST(deliver, not_a_fifo, "the server writes into nothing but a FIFO")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *names = "requests";
    enum { KINDS = 4 };
    struct left before[KINDS];

    struct program *p = server_start(dir);
    for (int i = 0; i < KINDS; i++) {
        const char *pid = new_pid(&r), *name = text("%s/reply.%s", dir, pid);
        const char *path = reply_of(dir, pid);
        if (i == 0)
            file_make(name, text("%s %s %s\n", word(&r), word(&r), word(&r)), 0644);
        else if (i == 1)
            folder_make(name);
        else if (i == 2)
            socket_make(path);
        else
            fifo_make(path, 0); /* one that the server has no right to open */
        before[i] = look_at(path);
        names = text("%s reply.%s", names, pid);
        ask(dir, "%s 1 ECHO %s", pid, word(&r));
        ask(dir, "%s 2 NEXXT", pid);
        expect_served(dir, &r,
                      i < 3 ? "a reply to the client after one whose reply.PID is no FIFO"
                            : "a reply to the client after one whose reply.PID has mode 000");
    }
    wait_quiet(p, "the server waits for requests");
    for (int i = 0; i < KINDS; i++)
        expect_left(&before[i], "the server writes into nothing but a FIFO");
    expect_names(dir, names, "the server makes nothing in place of a reply FIFO");
}

TEST(deliver, link, "the server writes through no link")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *names = "requests";
    char byte;

    const char *file = text("%s-f", word(&r)), *fifo = text("%s-p", word(&r));
    file_make(text("%s/%s", dir, file), text("%s\n", word(&r)), 0644);
    fifo_make(inside(dir, fifo), 0600);
    int reader = fifo_open(inside(dir, fifo), O_RDONLY);
    const char *targets[] = {fifo, file, text("%s-n", word(&r)), inside(dir, fifo)};
    struct left before = look_at(inside(dir, file));
    names = text("%s %s %s", names, file, fifo);

    struct program *p = server_start(dir);
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        const char *pid = new_pid(&r);
        link_make(reply_of(dir, pid), targets[i]);
        names = text("%s reply.%s", names, pid);
        struct left link = look_at(reply_of(dir, pid));
        ask(dir, "%s 1 ECHO %s", pid, word(&r));
        expect_served(dir, &r, "a reply to the client after one whose reply.PID is a link");
        wait_quiet(p, "the server waits for requests");
        expect_left(&link, "it is no FIFO");
    }
    EXPECT(read(reader, &byte, 1) <= 0, "no reply goes through a link, to whatever it leads",
           "a reply came through it");
    expect_left(&before, "no reply goes through a link");
    expect_names(dir, names, "no reply goes through a link, and none makes what it leads to");
}
