/*
 * refused.c - the thread that answers what the lab excludes.
 *
 * A program that makes such a call waits in the kernel until somebody answers its notification, so
 * that must not depend on what the test does: one thread of the worker holds the listeners of all
 * programs, answers, and writes onto the board what was refused. While a call waits for its answer,
 * its program is asleep and yet not at rest: refused_call_waits().
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

enum { LISTENERS_MAX = 1024 };
enum { LOOK_AGAIN, END };

static struct {
    bool running;
    pthread_t thread;
    int wake[2]; /* the test writes: LOOK_AGAIN, END */
    /* All under the lock, which the thread holds while it answers. The test adds listeners, the
     * thread takes out those that nobody can ask any more. */
    pthread_mutex_t lock;
    int listener[LISTENERS_MAX];
    nfds_t count;
} refused = {.lock = PTHREAD_MUTEX_INITIALIZER};

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

/* What is asked now is answered. Returns false when nobody has that filter any more. */
static bool refused_answer(struct board *board, const struct pollfd *polled)
{
    struct refused_call call;
    int answered = 0;
    if (polled->revents & POLLIN)
        answered = sandbox_answer(polled->fd, &call);
    if (answered == 1)
        refused_record(board, &call);
    return answered >= 0 && ((polled->revents & (POLLHUP | POLLERR | POLLNVAL)) == 0 ||
                             (polled->revents & POLLIN) != 0);
}

static nfds_t listeners(struct pollfd *fds)
{
    for (nfds_t i = 0; i < refused.count; i++)
        fds[i] = (struct pollfd){.fd = refused.listener[i], .events = POLLIN};
    return refused.count;
}

static void *refused_run(void *argument)
{
    struct board *board = argument;
    struct pollfd fds[LISTENERS_MAX + 1];
    char what = LOOK_AGAIN;
    while (what != END) {
        pthread_mutex_lock(&refused.lock);
        nfds_t count = listeners(fds);
        pthread_mutex_unlock(&refused.lock);
        fds[count] = (struct pollfd){.fd = refused.wake[0], .events = POLLIN};
        if (poll(fds, count + 1, -1) < 0)
            continue;
        pthread_mutex_lock(&refused.lock);
        for (nfds_t i = count; i-- > 0;) {
            if (refused_answer(board, &fds[i]))
                continue;
            close(fds[i].fd);
            refused.listener[i] = refused.listener[--refused.count];
        }
        pthread_mutex_unlock(&refused.lock);
        if ((fds[count].revents & POLLIN) && read(refused.wake[0], &what, sizeof what) < 0)
            what = LOOK_AGAIN;
    }
    pthread_mutex_lock(&refused.lock);
    while (refused.count > 0)
        close(refused.listener[--refused.count]);
    pthread_mutex_unlock(&refused.lock);
    return NULL;
}

bool refused_call_waits(void)
{
    static struct pollfd fds[LISTENERS_MAX];
    if (!refused.running)
        return false;
    if (pthread_mutex_trylock(&refused.lock) != 0)
        return true; /* it answers */
    nfds_t count = listeners(fds);
    bool waits = false;
    if (count > 0 && poll(fds, count, 0) > 0) {
        for (nfds_t i = 0; i < count; i++)
            waits |= (fds[i].revents & POLLIN) != 0;
    }
    pthread_mutex_unlock(&refused.lock);
    return waits;
}

static void refused_wake(char what)
{
    if (write(refused.wake[1], &what, sizeof what) != sizeof what)
        test_broken("the thread that answers can't be woken: %s", strerror(errno));
}

void refused_watch(int listener)
{
    if (!refused.running) {
        if (pipe2(refused.wake, O_CLOEXEC) != 0)
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
    pthread_mutex_lock(&refused.lock);
    bool full = refused.count == LISTENERS_MAX;
    if (!full)
        refused.listener[refused.count++] = listener;
    pthread_mutex_unlock(&refused.lock);
    if (full)
        test_broken("more than %d programs run at once", LISTENERS_MAX);
    refused_wake(LOOK_AGAIN);
}

void refused_stop(void)
{
    if (!refused.running)
        return;
    refused_wake(END);
    pthread_join(refused.thread, NULL);
    close(refused.wake[0]);
    close(refused.wake[1]);
    refused.running = false;
}
