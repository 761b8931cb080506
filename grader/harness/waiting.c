/*
 * waiting.c - describe_waiting(): who waits where, for the message of a test that got stuck.
 *
 * The system call and its first argument come from /proc/PID/syscall; what a descriptor is, and who
 * holds the other end of a pipe, from the descriptor lists of all processes of the test and our
 * own.
 */
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "harness/internal.h"
#include "harness/observe.h"
#include "harness/test.h"

enum { HOLDERS_MAX = 6 };

enum waits {
    WAITS_INPUT,   /* on a descriptor, its first argument, to read */
    WAITS_OUTPUT,  /* ... to write */
    WAITS_SEVERAL, /* on several at once */
    WAITS_QUEUE,   /* on a POSIX queue, its first argument */
    WAITS_MEMORY,  /* on a word of its memory, its first argument */
    WAITS_OTHER,
};

struct wait_call {
    long number;
    enum waits kind;
    const char
        *sentence; /* completes "NAME waits ..."; with a descriptor for the first two kinds */
};

static const struct wait_call wait_calls[] = {
    {SYS_read, WAITS_INPUT, "for input"},
    {SYS_readv, WAITS_INPUT, "for input"},
    {SYS_splice, WAITS_INPUT, "to move bytes (splice)"},
    {SYS_write, WAITS_OUTPUT, "to write"},
    {SYS_writev, WAITS_OUTPUT, "to write"},
    {SYS_sendfile, WAITS_OUTPUT, "to write (sendfile)"},
    {SYS_vmsplice, WAITS_OUTPUT, "to write (vmsplice)"},
    {SYS_recvfrom, WAITS_INPUT, "for a message"},
    {SYS_recvmsg, WAITS_INPUT, "for a message"},
    {SYS_sendto, WAITS_OUTPUT, "to send"},
    {SYS_sendmsg, WAITS_OUTPUT, "to send"},
    {SYS_accept, WAITS_INPUT, "for a connection"},
    {SYS_accept4, WAITS_INPUT, "for a connection"},
    {SYS_connect, WAITS_OUTPUT, "for a connection to be accepted"},
    {SYS_mq_timedreceive, WAITS_QUEUE, "for a message in a queue (mq_receive)"},
    {SYS_mq_timedsend, WAITS_QUEUE, "for room in a queue (mq_send)"},
    {SYS_wait4, WAITS_OTHER, "for a child to end (wait)"},
    {SYS_waitid, WAITS_OTHER, "for a child to end (waitid)"},
    {SYS_futex, WAITS_MEMORY, "for a lock, a semaphore or a thread (futex)"},
    {SYS_clock_nanosleep, WAITS_OTHER, "for time to pass (sleep)"},
    {SYS_nanosleep, WAITS_OTHER, "for time to pass (sleep)"},
    {SYS_rt_sigsuspend, WAITS_OTHER, "for a signal (sigsuspend)"},
    {SYS_rt_sigtimedwait, WAITS_OTHER, "for a signal (sigwait)"},
    {SYS_ppoll, WAITS_SEVERAL, "in poll"},
    {SYS_pselect6, WAITS_SEVERAL, "in select"},
    {SYS_epoll_pwait, WAITS_SEVERAL, "in epoll_wait"},
    {SYS_openat, WAITS_OTHER, "for somebody to open the other end of a FIFO (open)"},
    {SYS_flock, WAITS_OTHER, "for a lock on a file"},
    {SYS_fcntl, WAITS_OTHER, "for a lock on a file"},
#ifdef SYS_poll
    {SYS_poll, WAITS_SEVERAL, "in poll"},
    {SYS_select, WAITS_SEVERAL, "in select"},
    {SYS_epoll_wait, WAITS_SEVERAL, "in epoll_wait"},
    {SYS_pause, WAITS_OTHER, "for a signal (pause)"},
    {SYS_open, WAITS_OTHER, "for somebody to open the other end of a FIFO (open)"},
#endif
};

/* Everybody in the test, ourselves last, with what they hold. */
struct holder {
    char name[32];
    bool grader;
    struct descriptor_list *list;
};

struct scene {
    struct holder *holders;
    size_t count;
};

static struct scene scene_take(const struct process_list *all)
{
    struct scene s = {test_alloc((all->count + 1) * sizeof(struct holder)), 0};
    static struct descriptor_list list;
    for (size_t i = 0; i <= all->count; i++) {
        bool grader = i == all->count;
        struct holder *h = &s.holders[s.count++];
        process_descriptors(grader ? getpid() : all->pid[i], &list);
        size_t size = offsetof(struct descriptor_list, fd) + list.count * sizeof list.fd[0];
        h->list = test_alloc(size);
        memcpy(h->list, &list, size);
        h->grader = grader;
        if (!grader)
            process_command(all->pid[i], h->name);
    }
    return s;
}

static const struct descriptor *find_descriptor(const struct descriptor_list *list, long number)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->fd[i].number == number)
            return &list->fd[i];
    return NULL;
}

/* "pipeline (descriptor 4), the grader": who could still write to (or read from) this pipe. */
static const char *pipe_holders(const struct scene *s, const struct descriptor *pipe, bool writers)
{
    struct strbuf out = STRBUF_INIT;
    size_t named = 0;
    for (size_t i = 0; i < s->count; i++) {
        const struct holder *h = &s->holders[i];
        for (size_t j = 0; j < h->list->count; j++) {
            const struct descriptor *d = &h->list->fd[j];
            int mode = d->flags & O_ACCMODE;
            if (strcmp(d->target, pipe->target) != 0 ||
                (mode != O_RDWR && mode != (writers ? O_WRONLY : O_RDONLY)))
                continue;
            if (++named > HOLDERS_MAX)
                continue;
            strbuf_addstr(&out, named > 1 ? ", " : "");
            if (h->grader)
                strbuf_addstr(&out, "the grader");
            else
                strbuf_addf(&out, "%s (descriptor %d)", h->name, d->number);
        }
    }
    if (named > HOLDERS_MAX)
        strbuf_addf(&out, " and %zu more", named - HOLDERS_MAX);
    const char *kept = named == 0 ? NULL : text("%s", out.text);
    strbuf_release(&out);
    return kept;
}

static const char *what_it_is(const struct scene *s, const struct descriptor *d, bool reads)
{
    if (d == NULL)
        return "";
    if (strncmp(d->target, "socket:", 7) == 0)
        return ", a socket";
    if (strncmp(d->target, "pipe:", 5) != 0)
        return strncmp(d->target, "/dev/", 5) == 0 ? text(", %s", d->target) : "";
    const char *holders = pipe_holders(s, d, reads);
    if (holders == NULL)
        return ", a pipe";
    return text(reads ? ", a pipe whose write end is still open in: %s"
                      : ", a full pipe that would be read by: %s",
                holders);
}

/* A FIFO that the test holds open both ways, and waits at no program of the submission's own. */
static bool is_gate(const struct scene *s, const struct holder *h, const struct descriptor *d)
{
    if (d == NULL || d->target[0] != '/')
        return false;
    for (const struct program *p = harness.programs; p != NULL; p = p->next)
        if (!p->peer && strcmp(p->name, h->name) == 0)
            return false;
    const struct descriptor_list *ours = s->holders[s->count - 1].list;
    for (size_t i = 0; i < ours->count; i++)
        if (strcmp(ours->fd[i].target, d->target) == 0 && (ours->fd[i].flags & O_ACCMODE) == O_RDWR)
            return true;
    return false;
}

/*
 * Whoever waits for several descriptors at once: which, stands in its memory, which is not ours to
 * read. So all its pipes above 2, with who is at their other ends.
 */
static const char *pipes_held(const struct scene *s, const struct holder *h)
{
    struct strbuf out = STRBUF_INIT;
    size_t named = 0;
    for (size_t i = 0; i < h->list->count && named < HOLDERS_MAX; i++) {
        const struct descriptor *d = &h->list->fd[i];
        bool reads = (d->flags & O_ACCMODE) == O_RDONLY;
        if (d->number <= STDERR_FILENO || strncmp(d->target, "pipe:", 5) != 0)
            continue;
        const char *others = pipe_holders(s, d, reads);
        strbuf_addf(&out, "%s descriptor %d, %s: %s", named++ == 0 ? "; it holds" : ";", d->number,
                    reads ? "a pipe whose write end is open in" : "a pipe that is read by",
                    others == NULL ? "nobody" : others);
    }
    const char *kept = text("%s", named == 0 ? "" : out.text);
    strbuf_release(&out);
    return kept;
}

struct place {
    unsigned long address;
    const char *text;
};

static bool is_place(const struct mapping *m, void *context)
{
    struct place *p = context;
    if (p->address < m->from || p->address >= m->to)
        return true;
    const char *deleted = strstr(m->path, " (deleted)");
    if (strncmp(m->path, "/dev/shm/", 9) == 0)
        p->text =
            text(", byte %lu of %.*s", p->address - m->from + m->offset,
                 (int)(deleted != NULL ? deleted - m->path : (ptrdiff_t)strlen(m->path)), m->path);
    return false;
}

/*
 * ", byte 72 of /dev/shm/NAME": the object of shared memory that `address` lies in, "" for what is
 * the process's own. Who knows the layout knows from it which semaphore it is.
 */
static const char *place_in_memory(pid_t pid, unsigned long address)
{
    struct place p = {address, ""};
    process_mappings(pid, is_place, &p);
    return p.text;
}

static const char *describe_one(const struct scene *s, size_t index, pid_t pid)
{
    const struct holder *h = &s->holders[index];
    char text_of[512];
    switch (process_state(pid)) {
    case 'Z':
        return text("%s has ended, and its parent has not waited for it", h->name);
    case 'T':
        return text("%s is stopped by a signal (SIGSTOP or its kind)", h->name);
    case 'R':
        return text("%s runs", h->name);
    case 0:
        return NULL;
    }
    const struct fsids before = observe_as(pid);
    size_t n = observe_read(text_of, sizeof text_of, pid, "syscall");
    fsids_restore(&before);
    char *end = text_of;
    long number = n > 0 ? strtol(text_of, &end, 10) : -1;
    unsigned long argument = end != text_of ? strtoul(end, NULL, 16) : 0;
    if (end == text_of || number < 0)
        return text("%s waits", h->name);
    for (size_t i = 0; i < sizeof wait_calls / sizeof wait_calls[0]; i++) {
        const struct wait_call *c = &wait_calls[i];
        if (c->number != number)
            continue;
        if (c->kind == WAITS_SEVERAL)
            return text("%s waits %s%s", h->name, c->sentence, pipes_held(s, h));
        if (c->kind == WAITS_OTHER)
            return text("%s waits %s", h->name, c->sentence);
        if (c->kind == WAITS_MEMORY)
            return text("%s waits %s%s", h->name, c->sentence, place_in_memory(pid, argument));
        const struct descriptor *d = find_descriptor(h->list, (long)argument);
        if (c->kind == WAITS_QUEUE)
            return text("%s waits %s%s%s", h->name, c->sentence, d != NULL ? ": " : "",
                        d != NULL ? d->target : "");
        if (c->kind == WAITS_INPUT && is_gate(s, h, d))
            return text("%s waits for the test to let it go on", h->name);
        return text("%s waits %s on descriptor %lu%s", h->name, c->sentence, argument,
                    what_it_is(s, d, c->kind == WAITS_INPUT));
    }
    return text("%s waits in system call %ld", h->name, number);
}

const char *describe_waiting(void)
{
    static struct process_list all;
    struct strbuf out = STRBUF_INIT;
    const char *lines[MESSAGE_WAITING];
    size_t times[MESSAGE_WAITING], count = 0, left_out = 0;
    process_descendants(getpid(), &all);
    struct scene s = scene_take(&all);
    for (size_t i = 0; i < all.count; i++) {
        const char *line = describe_one(&s, i, all.pid[i]);
        size_t same = 0;
        if (line == NULL)
            continue;
        while (same < count && strcmp(lines[same], line) != 0)
            same++;
        if (same < count) {
            times[same]++;
        } else if (count < MESSAGE_WAITING) {
            lines[count] = line;
            times[count++] = 1;
        } else {
            left_out++;
        }
    }
    for (size_t i = 0; i < count; i++) {
        strbuf_addf(&out, "%s%s", i > 0 ? "\n" : "", lines[i]);
        if (times[i] > 1)
            strbuf_addf(&out, " (%zu processes)", times[i]);
    }
    if (left_out > 0)
        strbuf_addf(&out, "\nand %zu more processes", left_out);
    const char *kept = text("%s", count > 0 ? out.text : "no process of the test is left");
    strbuf_release(&out);
    return kept;
}
