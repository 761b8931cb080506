/* The server's own FIFO: what may be in its place. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "suites/fifo/peer/fifo.h"

/* The server is refused, and `path` is as it was. */
static void expect_refused(const char *dir, const char *what)
{
    struct left before = look_at(requests_of(dir));
    struct program *p = run("server", dir, NULL);
    expect_failure(p, what);
    expect_left(&before, what);
}

TEST(start, foreign_kinds, "a directory, a link or a socket at DIR/requests is refused and left")
{
    enum { KINDS = 6 };
    struct random r = random_from_test();
    const char *whats[KINDS] = {
        "a directory is no FIFO",       "a link to a file is no FIFO",
        "a link to a FIFO is no FIFO",  "a link to a FIFO that has a reader is no FIFO",
        "a link to nothing is no FIFO", "a socket is no FIFO",
    };
    for (int i = 0; i < KINDS; i++) {
        const char *dir = dir_make(&r), *path = requests_of(dir);
        const char *target = text("%s-%d", word(&r), i), *far = inside(dir, target);
        if (i == 0) {
            folder_make(text("%s/requests", dir));
        } else if (i < 5) {
            link_make(path, target);
            if (i == 1)
                file_make(text("%s/%s", dir, target), "", 0600);
            else if (i < 4)
                fifo_make(far, 0644);
            if (i == 3 && fifo_open(far, O_RDONLY) < 0)
                suite_failed("cannot open", far);
        } else {
            socket_make(path);
        }
        bool there = i >= 1 && i <= 3;
        struct left behind = there ? look_at(far) : look_at(path);
        expect_refused(dir, whats[i]);
        expect_left(&behind, whats[i]);
        expect_names(dir, text("requests%s%s", there ? " " : "", there ? target : ""), whats[i]);
    }
    const char *dir = dir_make(&r);
    server_start(dir);
    expect_served(dir, &r, "a reply from a server whose DIR/requests was free");
}

TEST(start, held, "whoever holds the FIFO open for reading is its server")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r);

    fifo_make(requests_of(dir), 0640);
    int reader = fifo_open(requests_of(dir), O_RDONLY);
    expect_refused(dir, "a FIFO that somebody reads has a server");
    char byte;
    EXPECT(read(reader, &byte, 1) <= 0, "a server that is refused writes nothing into the FIFO",
           "there are bytes in it");
    expect_names(dir, "requests", "a server that is refused leaves nothing");
    fifo_close(reader);
    struct program *p = server_start(dir);
    wait_quiet(p, "the server waits for requests");
    expect_mode(requests_of(dir), 0600, "the server's FIFO, used again or made anew");
    expect_served(dir, &r, "a reply: the reader of the old FIFO is gone, it is stale now");
}

TEST(start, directory, "DIR is any folder by any path; without a folder there is no server")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *deep = dir_make_deep(&r), *file = word(&r);

    file_make(text("%s/%s", dir, file), "x", 0644);
    struct program *p = run("server", text("%s/%s", dir, "missing"), NULL);
    expect_failure(p, "DIR is not there");
    p = run("server", text("%s/%s", dir, file), NULL);
    expect_failure(p, "DIR is no folder");
    expect_names(dir, file, "a server that can't start leaves nothing");

    const char *odd = text("%s/100%%s %%d", dir_make(&r)); /* no format, and no word */
    folder_make(odd);
    const char *ways[] = {dir, text("%s/", dir), text("./%s", dir), inside(dir, "."), deep, odd};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        const char *where = i < 4 ? dir : ways[i];
        p = run("server", ways[i], NULL);
        server_wait(p, where);
        expect_served(where, &r, "a reply from a server, whatever the path of its DIR");
        server_end(p, where);
    }
}

TEST(start, usage, "server takes one operand: all else is wrong usage")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *other = dir_make(&r);

    struct program *p = run("server", NULL);
    expect_usage(p, "server without DIR");
    p = run("server", dir, other, NULL);
    expect_usage(p, "server with two operands");
    expect_names(dir, "", "wrong usage makes nothing");
    expect_names(other, "", "wrong usage makes nothing");
    server_start(dir);
    expect_served(dir, &r, "a reply from a server with one operand");
}
