/* Replies that can't be delivered. */
#include "harness/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "suites/fifo/peer/fifo.h"

/* Whether that call is one that opens a file, or (of a full FIFO) one that writes. */
static bool can_fail_with(int error, long call)
{
    if (error == EAGAIN)
        return call == SYS_write || call == SYS_writev;
#ifdef SYS_open
    if (call == SYS_open)
        return true;
#endif
    return call == SYS_openat;
}

/*
 * Asks as `pid`, and lets the server go on until it has failed to open that FIFO or to write into
 * it, with `error`: the moment at which the reply can't be delivered. It is held then, until
 * trace_end(). False: no call did, or it can't be traced.
 */
static bool fails_with(struct program *p, const char *dir, const char *pid, int error)
{
    enum { STOPS_MAX = 300, SLEEPS_MS = 100 };
    struct trace_stop stop;
    bool failed = false;

    int writer = writer_open(dir);
    wait_quiet(p, "the server waits for requests");
    if (!trace_begin(p)) {
        fifo_close(writer);
        return false;
    }
    const char *line = text("%s 1 ECHO late\n", pid);
    writer_send(writer, line, strlen(line));
    fifo_close(writer);
    for (int i = 0; i < STOPS_MAX && !failed && trace_next(&stop, SLEEPS_MS); i++)
        failed = stop.leaves && stop.result == -error && can_fail_with(error, stop.number);
    return failed;
}

TEST(deliver, no_fifo, "where there is no reply FIFO, none is made, and the next client is served")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r);

    struct program *p = server_start(dir);
    for (int i = 0; i < 3; i++) {
        ask(dir, "%s %d ECHO %s", new_pid(&r), i, word(&r));
        wait_asleep(p, "the server drops a reply that nobody can get, and goes on");
        expect_names(dir, "requests", "the reply FIFO is the client's to make");
        expect_served(dir, &r, "a reply to the client after one without a FIFO");
    }

    /* Made just too late, for a server that tries once more. */
    const char *pid = new_pid(&r);
    struct visitor *v = fails_with(p, dir, pid, ENOENT) ? visitor_as(dir, pid) : NULL;
    trace_end();
    if (v != NULL)
        expect_no_reply(
            p, v,
            "a reply that can't be delivered at once is dropped: the server tries once, "
            "and neither waits for its client nor looks again");
}

TEST(deliver, never_opened, "nobody waits for a client that does not open its FIFO")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *pid = new_pid(&r), *path = reply_of(dir, pid);
    char byte;

    struct program *p = server_start(dir);
    fifo_make(path, 0600);
    for (int i = 0; i < 3; i++) {
        ask(dir, "%s %d ECHO %s", pid, i, word(&r));
        wait_asleep(p, "the server waits for the next request, and not for a client to come");
        expect_served(dir, &r, "a reply to the client after one that does not open its FIFO");
    }
    wait_quiet(p, "the server waits for requests");
    int fd = fifo_open(path, O_RDONLY);
    EXPECT(fd >= 0, "the reply FIFO is its client's to remove, who may open it still",
           "it is gone");
    expect_served(dir, &r, "a reply to the next client");
    wait_quiet(p, "the server waits for requests");
    EXPECT(read(fd, &byte, 1) <= 0,
           "a reply that can't be delivered at once is dropped: nothing comes later",
           "a reply has come after the FIFO was opened");
    ask(dir, "%s 9 COUNT", pid);
    expect_served(dir, &r, "a reply to the next client");
    wait_quiet(p, "the server waits for requests");
    char reply[8] = "";
    ssize_t n = read(fd, reply, sizeof reply);
    EXPECT(n == 7 && memcmp(reply, "9 OK 0\n", 7) == 0,
           "now that it is open, the reply \"9 OK 0\" to the next request",
           n > 0 ? quoted(reply, (size_t)n, 100) : "nothing");
    fifo_close(fd);

    /* Opened just too late, for a server that tries once more. */
    if (fails_with(p, dir, pid, ENXIO))
        fd = fifo_open(path, O_RDONLY);
    trace_end();
    wait_quiet(p, "the server waits for requests");
    EXPECT(read(fd, &byte, 1) <= 0,
           "a reply that can't be delivered at once is dropped: the server tries once, and neither "
           "waits for its client nor looks again",
           "a reply has come after the FIFO was opened");
}

TEST(deliver, never_drained, "nobody waits for a client that does not read: its reply is dropped")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *pid = new_pid(&r), *path = reply_of(dir, pid);
    size_t len;

    struct program *p = server_start(dir);
    fifo_make(path, 0600);
    int fd = fifo_open(path, O_RDWR);
    fifo_fill(fd, 0);
    for (int i = 0; i < 3; i++) {
        ask(dir, "%s %d ECHO %s", pid, i, word(&r));
        wait_asleep(p, "the server waits for the next request, and not for room in a FIFO");
        expect_served(dir, &r, "a reply to the client after one whose FIFO is full");
    }
    wait_quiet(p, "the server waits for requests");
    const char *bytes = fifo_drain(fd, &len);
    expect_served(dir, &r, "a reply to the next client");
    wait_quiet(p, "the server waits for requests");
    if (len == 0)
        bytes = fifo_drain(fd, &len);
    EXPECT(len == 0, "a reply that can't be delivered at once is dropped: nothing comes later",
           quoted(bytes, len, 100));
    ask(dir, "%s 9 COUNT", pid);
    wait_quiet(p, "the server has read the request, before the next one comes");
    expect_served(dir, &r, "a reply to the next client");
    wait_quiet(p, "the server waits for requests");
    bytes = fifo_drain(fd, &len);
    EXPECT(len == 7 && memcmp(bytes, "9 OK 0\n", 7) == 0,
           "now that there is room again, the reply \"9 OK 0\"", quoted(bytes, len, 100));

    /* Drained just too late, for a server that tries once more. */
    len = 0;
    fifo_fill(fd, 0);
    if (fails_with(p, dir, pid, EAGAIN))
        bytes = fifo_drain(fd, &len);
    trace_end();
    wait_quiet(p, "the server waits for requests");
    if (len == 0)
        bytes = fifo_drain(fd, &len);
    EXPECT(len == 0,
           "a reply that can't be delivered at once is dropped: the server tries once, and neither "
           "waits for room nor looks again",
           quoted(bytes, len, 100));
}
