/*
 * main writes and reads in calls that wait; a second thread has the clock, and when the time is
 * over it cleans up and ends the process. So a server's death shows when the time is over.
 */
#define _GNU_SOURCE
#include "proto.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t change;
static bool asking, ended;
static struct timespec deadline;
static int milliseconds = 2000, requests, replies;
static unsigned long id;
static char own_path[PATH_MAX];

static void *watch(void *argument)
{
    pthread_mutex_lock(&lock);
    while (!ended) {
        if (!asking) {
            pthread_cond_wait(&change, &lock);
        } else if (pthread_cond_timedwait(&change, &lock, &deadline) == ETIMEDOUT && asking) {
            fputs("client: no answer in time\n", stderr);
            unlink(own_path);
            _exit(3);
        }
    }
    pthread_mutex_unlock(&lock);
    return argument;
}

static void set_asking(bool value)
{
    pthread_mutex_lock(&lock);
    asking = value;
    if (value) {
        clock_gettime(CLOCK_MONOTONIC, &deadline);
        deadline.tv_sec += milliseconds / 1000;
        deadline.tv_nsec += milliseconds % 1000 * 1000000;
        deadline.tv_sec += deadline.tv_nsec / 1000000000;
        deadline.tv_nsec %= 1000000000;
    }
    pthread_cond_signal(&change);
    pthread_mutex_unlock(&lock);
}

/* One line of the reply FIFO, without its newline; NULL: nothing comes, and we do not wait. */
static const char *reply_line(size_t *len)
{
    static char bytes[PIPE_BUF], line[PIPE_BUF];
    static size_t at;
    static ssize_t count;

    *len = 0;
    for (;;) {
        if (at == (size_t)count) {
            at = 0;
            count = read(replies, bytes, sizeof bytes);
            if (count <= 0) {
                count = 0;
                return NULL;
            }
        }
        if (bytes[at++] == '\n')
            return line;
        if (*len < sizeof line)
            line[(*len)++] = bytes[at - 1];
    }
}

static int ask(const char *what, const char *words, size_t len)
{
    char request[PIPE_BUF + 64], prefix[32];
    size_t head = (size_t)sprintf(request, "%d %lu ", getpid(), ++id), line_len, own;
    const char *line;

    own = (size_t)sprintf(prefix, "%lu ", id);
    if (head + len + 1 > PIPE_BUF || memchr(words, '\n', len) != NULL) {
        fprintf(stderr, "client: %s: can't be a request\n", what);
        return -1;
    }
    memcpy(request + head, words, len);
    request[head + len] = '\n';
    set_asking(true);
    if (write(requests, request, head + len + 1) < 0) {
        fprintf(stderr, "client: the server: %s\n", strerror(errno));
        return 3;
    }
    while ((line = reply_line(&line_len)) != NULL) {
        if (line_len < own || memcmp(line, prefix, own) != 0)
            continue;
        line += own;
        line_len -= own;
        if (line_len < 2 || (line_len > 2 && memcmp(line, "OK ", 3) != 0))
            break;
        set_asking(false);
        if (line_len > 3)
            fwrite(line + 3, line_len - 3, 1, stdout);
        putchar('\n');
        if (fflush(stdout) == 0)
            return 0;
        perror("client: stdout");
        return -1;
    }
    if (line == NULL) {
        fputs("client: no answer\n", stderr);
        return 3;
    }
    set_asking(false);
    fprintf(stderr, "client: %.*s\n", (int)line_len, line);
    return 1;
}

static int ask_lines(void)
{
    char *line = NULL, what[32];
    size_t room = 0;
    ssize_t len;
    int status = 0, number = 0, now;

    while ((len = getline(&line, &room, stdin)) > 0) {
        if (line[len - 1] == '\n')
            len--;
        sprintf(what, "line %d", ++number);
        if (memchr(line, '\0', (size_t)len) != NULL) {
            fprintf(stderr, "client: %s: NUL\n", what);
            now = -1;
        } else {
            now = ask(what, line, (size_t)len);
        }
        if (now != 0)
            status = now;
        if (now == 3 || now == -1)
            break;
    }
    free(line);
    return status;
}

static int run(char **operand)
{
    char words[200000];

    if (strcmp(operand[1], "-") == 0)
        return ask_lines();
    if (operand[2] == NULL)
        return ask("request", operand[1], strlen(operand[1]));
    if (snprintf(words, sizeof words, "%s %s", operand[1], operand[2]) >= (int)sizeof words)
        return 1;
    return ask("request", words, strlen(words));
}

int main(int argc, char **argv)
{
    char path[PATH_MAX];
    pthread_condattr_t attributes;
    pthread_t clock;
    struct stat st;
    int status;

    argv++, argc--;
    if (argc > 1 && strcmp(*argv, "-t") == 0) {
        milliseconds = proto_number(argv[1]);
        argv += 2, argc -= 2;
    }
    if (milliseconds < 0 || argc < 2 || argc > 3 || (argc == 3 && strcmp(argv[1], "-") == 0)) {
        fputs("usage: client [-t MS] DIR OP [TEXT]\n", stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    snprintf(path, sizeof path, "%s/requests", *argv);
    snprintf(own_path, sizeof own_path, "%s/reply.%d", *argv, getpid());
    requests = open(path, O_WRONLY | O_NONBLOCK | O_NOFOLLOW);
    if (requests < 0 || fstat(requests, &st) < 0 || !S_ISFIFO(st.st_mode)) {
        fprintf(stderr, "client: %s: no server\n", path);
        return 3;
    }
    unlink(own_path);
    if (mkfifo(own_path, 0600) < 0 || chmod(own_path, 0600) < 0) {
        perror("client: reply FIFO");
        return 1;
    }
    replies = open(own_path, O_RDWR | (milliseconds == 0 ? O_NONBLOCK : 0));
    if (milliseconds > 0)
        fcntl(requests, F_SETFL, 0);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&change, &attributes);
    if (milliseconds > 0)
        pthread_create(&clock, NULL, watch, NULL);
    status = run(argv);
    if (milliseconds > 0) {
        pthread_mutex_lock(&lock);
        asking = false;
        ended = true;
        pthread_cond_signal(&change);
        pthread_mutex_unlock(&lock);
        pthread_join(clock, NULL);
    }
    unlink(own_path);
    close(requests);
    close(replies);
    return status < 0 ? 1 : status;
}
