/* A thread reads, four workers answer, main waits for the signal. */
#define _GNU_SOURCE
#include "proto.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WORKERS = 4, WAITING = 64 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t change = PTHREAD_COND_INITIALIZER;
static char *queue[WAITING];
static unsigned put, taken;
static bool ended;
static unsigned long next;
static char *dir, *path;
static int requests;

static void deliver(const char *pid, const char *line, size_t len)
{
    char name[PATH_MAX];
    struct stat st;
    int fd;

    snprintf(name, sizeof name, "%s/reply.%s", dir, pid);
    fd = open(name, O_WRONLY | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode) && write(fd, line, len) < 0)
        errno = 0;
    close(fd);
}

static void answer(char *line)
{
    char pid[12], id[12], op[16] = "", reply[PIPE_BUF + 64];
    int end = 0, len;
    char *text;
    size_t n;

    if (sscanf(line, "%11[0-9]%n", pid, &end) != 1 || end > 10 || line[end] != ' ')
        return;
    line += end + 1;
    if (sscanf(line, "%11[0-9]%n", id, &end) != 1 || end > 10 || (line[end] && line[end] != ' '))
        return;
    line += end + (line[end] == ' ');
    n = strcspn(line, " ");
    snprintf(op, sizeof op, "%.*s", n < sizeof op ? (int)n : 0, line);
    text = line + n + (line[n] == ' ');
    n = strlen(text);
    if (strcmp(op, "COUNT") == 0) {
        len = sprintf(reply, "%s OK %zu\n", id, n);
    } else if (strcmp(op, "NEXT") == 0) {
        pthread_mutex_lock(&lock);
        len = sprintf(reply, "%s OK %lu\n", id, ++next);
        pthread_mutex_unlock(&lock);
    } else if (strcmp(op, "ECHO") == 0 || strcmp(op, "UPPER") == 0 || strcmp(op, "REVERSE") == 0) {
        len = sprintf(reply, "%s OK", id);
        if (n > 0)
            reply[len++] = ' ';
        for (size_t i = 0; i < n; i++) {
            char c = op[0] == 'R' ? text[n - 1 - i] : text[i];

            reply[len++] = op[0] == 'U' && c >= 'a' && c <= 'z' ? (char)(c & ~0x20) : c;
        }
        reply[len++] = '\n';
    } else {
        len = sprintf(reply, "%s ERR I do not know that\n", id);
    }
    deliver(pid, reply, (size_t)len);
}

static void *work(void *argument)
{
    for (;;) {
        char *line = NULL;

        pthread_mutex_lock(&lock);
        while (put == taken && !ended)
            pthread_cond_wait(&change, &lock);
        if (put != taken)
            line = queue[taken++ % WAITING];
        pthread_cond_broadcast(&change);
        pthread_mutex_unlock(&lock);
        if (line == NULL)
            return argument;
        answer(line);
        free(line);
    }
}

static void hand_over(const char *bytes, size_t len)
{
    char *line = strndup(bytes, len);

    pthread_mutex_lock(&lock);
    while (put - taken == WAITING)
        pthread_cond_wait(&change, &lock);
    queue[put++ % WAITING] = line;
    pthread_cond_broadcast(&change);
    pthread_mutex_unlock(&lock);
}

/* Cancelled only while it reads, so that it holds nothing then. */
static void *read_requests(void *argument)
{
    static char line[PIPE_BUF], bytes[PIPE_BUF];
    size_t len = 0;
    bool bad = false;
    ssize_t count;
    int state;

    for (;;) {
        pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state);
        count = read(requests, bytes, sizeof bytes);
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
        for (ssize_t i = 0; i < count; i++) {
            if (bytes[i] == '\n') {
                if (!bad)
                    hand_over(line, len);
                len = 0;
                bad = false;
            } else if (bytes[i] == '\0' || len == PIPE_BUF - 1) {
                bad = true;
            } else {
                line[len++] = bytes[i];
            }
        }
        if (count < 0 && errno != EINTR)
            return argument;
    }
}

static int complain(const char *why)
{
    fprintf(stderr, "server: %s: %s\n", path, why);
    free(path);
    return 1;
}

int main(int argc, char **argv)
{
    pthread_t reader, workers[WORKERS];
    struct stat st;
    sigset_t ends;
    int n;

    if (argc != 2) {
        fprintf(stderr, "usage: server DIR\n");
        return 2;
    }
    dir = argv[1];
    if (asprintf(&path, "%s/requests", dir) < 0)
        return 1;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (lstat(path, &st) == 0) {
        if (!S_ISFIFO(st.st_mode))
            return complain("no FIFO");
        n = open(path, O_WRONLY | O_NONBLOCK);
        if (n >= 0) {
            close(n);
            return complain("served by another one");
        }
        unlink(path);
    }
    if (mkfifo(path, 0600) < 0)
        return complain(strerror(errno));
    chmod(path, 0600);
    requests = open(path, O_RDWR);
    if (requests < 0)
        return complain(strerror(errno));
    pthread_create(&reader, NULL, read_requests, NULL);
    for (int i = 0; i < WORKERS; i++)
        pthread_create(&workers[i], NULL, work, NULL);
    sigwait(&ends, &n);
    unlink(path);
    free(path);
    pthread_cancel(reader);
    pthread_join(reader, NULL);
    pthread_mutex_lock(&lock);
    ended = true;
    pthread_cond_broadcast(&change);
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(workers[i], NULL);
    close(requests);
    return 0;
}
