/* Clean to the end. */
#include "suites/fifo/peer/fifo.h"

TEST(ends, terminated, "SIGTERM ends the server with 0, and DIR/requests is gone")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r);

    struct program *p = server_start(dir);
    expect_served(dir, &r, "a reply to a client");
    wait_quiet(p, "the server waits for requests");
    server_end(p, dir);
    expect_names(dir, "", "the server removes what it has made");
    expect_no_orphans(p);
}
