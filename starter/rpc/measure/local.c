/*
 * local.c - the mechanisms without a server: a ring in shared memory, a message queue, a pipe. Two
 * programs, and between them an object of the kernel's that has a name, or none.
 */
#define _GNU_SOURCE
#include "measure.h"

#include <mqueue.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

/* Has the lab's own program make an object with our name. */
static bool create(const struct mechanism *m, const char *program)
{
    begin_run();
    start(m->folder, (const char *[]){program, "create", name, CAPACITY, NULL}, nothing, nothing);
    return finish();
}

/* ---- shm ---- */

static bool prepare_ring(const struct mechanism *m)
{
    return create(m, "./ring");
}

/* The receiver is first, here and everywhere: so it is there when something comes. */
static bool start_ring(const struct mechanism *m, struct transfer *t)
{
    start(m->folder, (const char *[]){"./consumer", name, NULL}, nothing, t->out);
    start(m->folder, (const char *[]){"./producer", name, NULL}, t->in, nothing);
    return true;
}

static void end_ring(void)
{
    shm_unlink(name);
}

struct mechanism ring = {
    .name = "ring",
    .programs = {"ring", "producer", "consumer"},
    .variable = "SHM",
    .beside = "../shm",
    .prepare = prepare_ring,
    .start = start_ring,
    .end = end_ring,
};

/* ---- message ---- */

static bool prepare_queue(const struct mechanism *m)
{
    return create(m, "./mbox");
}

static bool start_queue(const struct mechanism *m, struct transfer *t)
{
    char number[24];

    snprintf(number, sizeof number, "%ld", t->count);
    start(m->folder, (const char *[]){"./mrecv", "--box", name, "--count", number, NULL}, nothing,
          t->out);
    start(m->folder, (const char *[]){"./msend", "--box", name, NULL}, t->in, nothing);
    return true;
}

static void end_queue(void)
{
    char mailbox[sizeof name + 8];

    snprintf(mailbox, sizeof mailbox, "/mbox.%s", name);
    mq_unlink(mailbox);
}

struct mechanism queue = {
    .name = "queue",
    .programs = {"mbox", "msend", "mrecv"},
    .variable = "MESSAGE",
    .beside = "../message",
    .prepare = prepare_queue,
    .start = start_queue,
    .end = end_queue,
};

/* ---- pipe ---- */

/* A pipe is made together with its processes, and goes with them. */
static bool prepare_pipe(const struct mechanism *m)
{
    (void)m;
    return true;
}

/*
 * The two programs are dd, which makes one write of each line of a file, and cat; for single lines
 * cat and cat. Without a pipeline program they get a pipe of ours.
 */
static bool start_pipe(const struct mechanism *m, struct transfer *t)
{
    char block[24];
    const char *whole[] = {"./pipeline", "dd", block, "status=none", "|", "cat", NULL};
    const char *single[] = {"./pipeline", "cat", "|", "cat", NULL};
    const char **pipeline = t->singly ? single : whole;
    int ends[2];

    snprintf(block, sizeof block, "bs=%zu", length);
    if (m->folder != NULL) {
        start(m->folder, pipeline, t->in, t->out);
        return true;
    }
    open_pipe(ends);
    start(".", (const char *[]){"cat", NULL}, ends[0], t->out);
    pipeline[t->singly ? 2 : 4] = NULL; /* in place of the bar */
    start(".", pipeline + 1, t->in, ends[1]);
    close(ends[0]);
    close(ends[1]);
    return true;
}

static void end_pipe(void)
{
}

struct mechanism pipes = {
    .name = "pipe",
    .programs = {"pipeline"},
    .variable = "PIPE",
    .beside = "../pipe",
    .prepare = prepare_pipe,
    .start = start_pipe,
    .end = end_pipe,
};
