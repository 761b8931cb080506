/*
 * refused.c - the thread that answers what the lab excludes.
 *
 * A program that makes such a call waits in the kernel until somebody answers its notification, so
 * that must not depend on what the test does: one thread of the worker holds the listeners of all
 * programs, answers, and writes onto the board what was refused. It touches nothing else.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "harness/internal.h"
#include "harness/test.h"

enum { LISTENERS_MAX = 256 };

static struct {
    bool running;
    pthread_t thread;
    int control[2]; /* the test writes listeners, as ints; -1: end */
} refused;

static void refused_record(struct board *board, const struct refused_call *call)
{
    int count = atomic_load(&board->refused_count);
    for (int i = 0; i < count; i++) {
        if (strcmp(board->refused[i].call, call->call) == 0 &&
            board->refused[i].rule == call->rule) {
            atomic_fetch_add(&board->refused_times[i], 1);
            return;
        }
    }
    if (count == BOARD_REFUSED_MAX)
        return;
    board->refused[count] = *call;
    atomic_store(&board->refused_times[count], 1);
    atomic_store(&board->refused_count, count + 1); /* last: now it can be read */
}

static void *refused_run(void *argument)
{
    struct board *board = argument;
    struct pollfd fds[1 + LISTENERS_MAX];
    nfds_t count = 1;
    fds[0] = (struct pollfd){.fd = refused.control[0], .events = POLLIN};
    for (;;) {
        if (poll(fds, count, -1) < 0)
            continue;
        for (nfds_t i = count - 1; i >= 1; i--) {
            struct refused_call call;
            int answered = 0;
            if (fds[i].revents & POLLIN)
                answered = sandbox_answer(fds[i].fd, &call);
            if (answered == 1)
                refused_record(board, &call);
            if (answered < 0 || ((fds[i].revents & (POLLHUP | POLLERR | POLLNVAL)) != 0 &&
                                 (fds[i].revents & POLLIN) == 0)) {
                close(fds[i].fd); /* nobody has that filter any more */
                fds[i] = fds[--count];
            }
        }
        int listener;
        if ((fds[0].revents & POLLIN) == 0 ||
            read(refused.control[0], &listener, sizeof listener) != (ssize_t)sizeof listener)
            continue;
        if (listener < 0)
            break;
        if (count <= LISTENERS_MAX)
            fds[count++] = (struct pollfd){.fd = listener, .events = POLLIN};
        else
            close(listener);
    }
    for (nfds_t i = 1; i < count; i++)
        close(fds[i].fd);
    return NULL;
}

void refused_watch(int listener)
{
    if (!refused.running) {
        if (pipe2(refused.control, O_CLOEXEC) != 0)
            test_broken("no pipe: %s", strerror(errno));
        sigset_t all, old;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old); /* the thread inherits it: no signal is its own */
        int error = pthread_create(&refused.thread, NULL, refused_run, harness.board);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        if (error != 0)
            test_broken("no thread: %s", strerror(error));
        refused.running = true;
    }
    if (write(refused.control[1], &listener, sizeof listener) != (ssize_t)sizeof listener)
        test_broken("no listener: %s", strerror(errno));
}

void refused_stop(void)
{
    if (!refused.running)
        return;
    int end = -1;
    if (write(refused.control[1], &end, sizeof end) == (ssize_t)sizeof end)
        pthread_join(refused.thread, NULL);
    close(refused.control[0]);
    close(refused.control[1]);
    refused.running = false;
}
