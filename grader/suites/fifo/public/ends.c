/* Clean to the end. */
#include <signal.h>

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

    /* As from somebody who is in a hurry: the second one comes while the first is dealt with. */
    p = server_start(dir);
    wait_quiet(p, "the server waits for requests");
    program_stop(p);
    program_signal(p, SIGTERM);
    program_signal(p, SIGINT);
    program_signal(p, SIGCONT);
    expect_status(p, 0, "SIGTERM and SIGINT at once end a server cleanly");
    expect_names(dir, "", "the server removes what it has made");
}
