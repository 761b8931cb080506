/* Replies that can't be delivered. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "suites/fifo/peer/fifo.h"

TEST(deliver, no_fifo, "where there is no reply FIFO, none is made, and the next client is served")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r);

    struct program *p = server_start(dir);
    for (int i = 0; i < 3; i++) {
        ask(dir, "%s %d ECHO %s", new_pid(&r), i, word(&r));
        wait_quiet(p, "the server drops a reply that nobody can get, and goes on");
        expect_names(dir, "requests", "the reply FIFO is the client's to make");
        expect_served(dir, &r, "a reply to the client after one without a FIFO");
    }
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
        wait_quiet(p, "the server has read the request, before the next one comes");
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
        wait_quiet(p, "the server has read the request, before the next one comes");
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
}
