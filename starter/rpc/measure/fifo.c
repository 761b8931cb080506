/*
 * fifo.c - named pipes: a client asks the server to send each line back, one after the other.
 *
 *     "ECHO LINE" --> client --> DIR/requests --> server --> DIR/reply.PID --> client --> "LINE"
 */
#define _GNU_SOURCE
#include "measure.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64]; /* of the FIFOs; "": there is none */

/* A FIFO that can be opened like this has a reader. */
static bool is_ready(void)
{
    char path[PATH_MAX];
    int fd;

    snprintf(path, sizeof path, "%s/requests", folder);
    fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static bool prepare_fifo(const struct mechanism *m)
{
    snprintf(folder, sizeof folder, "/tmp/%s.XXXXXX", name);
    if (mkdtemp(folder) == NULL) {
        folder[0] = '\0';
        die("/tmp");
    }
    return start_server(m->folder, (const char *[]){"./server", folder, NULL}, is_ready);
}

static bool start_fifo(const struct mechanism *m, struct transfer *t)
{
    char ms[24];

    /* For each request as long as for the whole run: it is not the client that decides here. */
    snprintf(ms, sizeof ms, "%ld", limit * 1000);
    start(m->folder, (const char *[]){"./client", "-t", ms, folder, "-", NULL}, t->in, t->out);
    return true;
}

/* A server or a client that was killed has left its FIFO. */
static void end_fifo(void)
{
    DIR *directory = folder[0] != '\0' ? opendir(folder) : NULL;
    const struct dirent *entry;

    if (directory == NULL)
        return;
    while ((entry = readdir(directory)) != NULL)
        unlinkat(dirfd(directory), entry->d_name, 0);
    closedir(directory);
    rmdir(folder);
    folder[0] = '\0';
}

struct mechanism fifo = {
    .name = "fifo",
    .programs = {"server", "client"},
    .variable = "FIFO",
    .beside = "../fifo",
    .before_in = "ECHO ",
    .prepare = prepare_fifo,
    .start = start_fifo,
    .end = end_fifo,
};
