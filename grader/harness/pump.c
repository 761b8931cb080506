/*
 * pump.c - the only place that polls: our ends of all pipes and sockets, and a pidfd for each
 * program, so that an end wakes us at once.
 */
#include <poll.h>

#include "harness/internal.h"

enum { SHORT_POLL_MS = 5, WATCHED_MAX = 4096, WATCHED_A_PROGRAM = 6, WATCHED_AN_ENDPOINT = 2 };

/* One of the five, and what is behind the descriptor. */
struct watched {
    struct input *input;
    struct output *output;
    struct reports *reports;
    struct endpoint *arrivals; /* a listener, or a socket of datagrams */
    bool is_end;
};

static struct pollfd fds[WATCHED_MAX];
static struct watched what[WATCHED_MAX];
static size_t count;

static void watch(int fd, int events, struct watched w)
{
    fds[count] = (struct pollfd){.fd = fd, .events = (short)events};
    what[count++] = w;
}

static void watch_input(struct input *in)
{
    if (in->fd >= 0 && !in->gone)
        watch(in->fd, in->first != NULL ? POLLOUT : 0, (struct watched){.input = in});
}

static void watch_output(struct output *o)
{
    if (output_is_watched(o))
        watch(o->fd, POLLIN, (struct watched){.output = o});
}

static void watch_reports(struct reports *r)
{
    if (r->fd >= 0)
        watch(r->fd, POLLIN, (struct watched){.reports = r});
}

static void watch_programs(int *timeout_ms)
{
    for (struct program *p = harness.programs; p != NULL; p = p->next) {
        if (!p->started || count + WATCHED_A_PROGRAM > WATCHED_MAX)
            continue;
        watch_input(&p->in);
        watch_output(&p->out[1]);
        watch_output(&p->out[2]);
        watch_reports(&p->xml);
        watch_reports(&p->log);
        if (p->ended)
            continue;
        if (p->pidfd >= 0)
            watch(p->pidfd, POLLIN, (struct watched){.is_end = true});
        else if (*timeout_ms > SHORT_POLL_MS) /* an old kernel: look often */
            *timeout_ms = SHORT_POLL_MS;
    }
}

static void watch_endpoints(void)
{
    for (struct endpoint *e = harness.endpoints; e != NULL; e = e->next) {
        if (count + WATCHED_AN_ENDPOINT > WATCHED_MAX)
            return;
        watch_input(&e->in);
        watch_output(&e->out);
        if (e->kind != ENDPOINT_STREAM && e->fd >= 0 && !e->held)
            watch(e->fd, POLLIN, (struct watched){.arrivals = e});
    }
}

static bool arrived(struct endpoint *e)
{
    return e->kind == ENDPOINT_LISTENER ? net_accept_all(e) : net_read_datagrams(e);
}

static bool move(const struct watched *w, short events)
{
    if (w->output != NULL)
        return output_drain(w->output);
    if (w->reports != NULL)
        return reports_drain(w->reports);
    if (w->arrivals != NULL)
        return arrived(w->arrivals);
    if (w->input == NULL)
        return false;
    /* POLLHUP: a connection that both sides have ended. */
    if ((events & (POLLERR | POLLHUP)) == 0)
        return input_feed(w->input);
    input_is_gone(w->input);
    return true;
}

bool pump(int timeout_ms)
{
    bool moved = false;
    count = 0;
    watch_programs(&timeout_ms);
    watch_endpoints();
    if (poll(fds, count, timeout_ms) > 0)
        for (size_t i = 0; i < count; i++)
            if (fds[i].revents != 0)
                moved |= move(&what[i], fds[i].revents);
    for (struct program *p = harness.programs; p != NULL; p = p->next)
        if (p->started)
            moved |= input_settle(&p->in);
    for (struct endpoint *e = harness.endpoints; e != NULL; e = e->next)
        moved |= input_settle(&e->in);
    moved |= reap();
    return moved;
}
