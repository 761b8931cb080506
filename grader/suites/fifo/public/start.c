/* The server's own FIFO. */
#include <fcntl.h>

#include "suites/fifo/peer/fifo.h"

TEST(start, makes_fifo, "server makes DIR/requests and stays, whoever opens it and goes")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r);

    struct program *p = server_start(dir);
    wait_quiet(p, "the server sleeps until a client comes: where read() returns 0 at once, for "
                  "nobody writes yet, that is no end, and no reason to read again and again");
    expect_mode(requests_of(dir), 0600, "DIR/requests is a FIFO");
    expect_names(dir, "requests", "that is all a server needs");
    for (int i = 0; i < 3; i++) {
        int fd = writer_open(dir);
        wait_quiet(p, "a client that writes nothing is no reason to end");
        fifo_close(fd);
        wait_quiet(p, "that a client goes is no reason to end, nor to ask again and again: when "
                      "the last writer has gone read() returns 0 at once, and poll() with "
                      "POLLHUP, as long as nobody else could write");
    }
    EXPECT(server_is_reachable(dir), "the server still reads DIR/requests", what_happened());
    expect_mode(requests_of(dir), 0600, "DIR/requests is a FIFO");
}

TEST(start, stale, "a FIFO that nobody reads was left by a server that died: it is taken over")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r);

    fifo_make(requests_of(dir), 0644);
    fifo_make(reply_of(dir, "77"), 0600);
    struct program *p = server_start(dir);
    wait_quiet(p, "the server waits for requests");
    expect_mode(requests_of(dir), 0600, "the server's FIFO, used again or made anew");
    expect_served(dir, &r, "a reply from a server that has taken over an old FIFO");
    EXPECT(is_fifo(reply_of(dir, "77")), "a reply FIFO is its client's to remove, and no server's",
           "the one that was there before the server is gone");
}

TEST(start, second_server, "a second server is refused, and the first one does not notice")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r);

    struct program *first = server_start(dir);
    expect_served(dir, &r, "a reply from the first server");
    wait_quiet(first, "the first server waits for requests");
    struct left fifo = look_at(requests_of(dir));
    struct program *second = run("server", dir, NULL);
    expect_failure(second, "DIR/requests has a server already");
    expect_left(&fifo, "it is the first server's");
    expect_names(dir, "requests", "a server that is refused leaves nothing");
    expect_served(dir, &r, "a reply from the first server, after a second one was refused");
    expect_still_running(first, "a second server is no matter of the first one's");
}

TEST(start, foreign_file, "what is no FIFO is not the server's: it is left as it is")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *free_dir = dir_make(&r);

    file_make(text("%s/requests", dir), text("%s\n", word(&r)), 0644);
    struct left file = look_at(requests_of(dir));
    struct program *p = run("server", dir, NULL);
    expect_failure(p, "a file of that name is somebody else's");
    expect_left(&file, "the server refuses to start");
    expect_names(dir, "requests", "a server that is refused leaves nothing");
    server_start(free_dir);
    expect_served(free_dir, &r, "a reply from a server whose DIR/requests was free");
}
