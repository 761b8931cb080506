/*
 * chat.c - sockets: two chat clients on one channel, one sends, and the other prints what it hears.
 *
 *     "LINE" --> chat sender --TCP--> chatd --TCP--> chat receiver --> "<sender> LINE"
 *
 * chatd stops for nobody. If the sender were faster than the receiver, more and more would wait in
 * chatd, until that drops the receiver. So somebody has to look at how far the receiver is; here it
 * is measure, which sends no more lines than WINDOW ahead of it.
 */
#define _GNU_SOURCE
#include "measure.h"

#include <string.h>
#include <unistd.h>

/* All that is on its way fits into one pipe (64 KiB), so writing to the sender never blocks us. */
enum { WINDOW = 200 };

static bool prepare_chat(const struct mechanism *m)
{
    return start_server(m->folder, (const char *[]){"./chatd", "-p", "0", NULL}, has_port);
}

static void say(int fd, const char *line)
{
    if (write(fd, line, strlen(line)) < 0) {
        /* It has gone: that is found out where we wait. */
    }
}

static bool start_chat(const struct mechanism *m, struct transfer *t)
{
    const char *line;
    int ends[2];
    size_t len;

    open_pipe(ends);
    start(m->folder, (const char *[]){"./chat", "127.0.0.1", port, "receiver", NULL}, ends[0],
          t->out);
    start(m->folder, (const char *[]){"./chat", "127.0.0.1", port, "sender", NULL}, t->in, nothing);
    close(ends[0]);
    t->also = ends[1]; /* the receiver's stdin: stays open until it has heard everything */
    say(t->also, "/join #measure\n");
    say(t->to, "/join #measure\n");
    /* Whoever comes second: as soon as the receiver knows of the sender, both are there. */
    fail("./chat has ended, and has not told of another one on its channel");
    do
        line = next_line(t, &len);
    while (line != NULL && (strncmp(line, "-- ", 3) != 0 || strstr(line, "sender") == NULL));
    return line != NULL;
}

/* What has a name in this mechanism is a port, and goes with the server. */
static void end_chat(void)
{
}

struct mechanism chat = {
    .name = "chat",
    .programs = {"chatd", "chat"},
    .variable = "CHAT",
    .beside = "../chat",
    .before_out = "<sender> ",
    .window = WINDOW,
    .prepare = prepare_chat,
    .start = start_chat,
    .end = end_chat,
};
