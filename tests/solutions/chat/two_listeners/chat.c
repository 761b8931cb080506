#define _GNU_SOURCE
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* What is to be sent. `typing` and `hearing` put it in, `sending` takes it out. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static char *queue;
static size_t queued;
static bool quitting, over, in_flight;
static int result, fd;
static const char *my_nick;

static void finish(int status)
{
    pthread_mutex_lock(&lock);
    if (!over)
        result = status;
    over = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

/* Waits while much is to be sent, if `patient`: the keyboard can wait. False: too long. */
static bool command(bool patient, const char *format, ...)
{
    char line[1024];
    va_list list;
    va_start(list, format);
    size_t len = (size_t)vsnprintf(line, sizeof line, format, list);
    va_end(list);
    if (len > 510)
        return false;
    strcpy(line + len, "\r\n");
    len += 2;
    pthread_mutex_lock(&lock);
    while (patient && queued > 4000 && !over)
        pthread_cond_wait(&changed, &lock);
    queue = realloc(queue, queued + len);
    if (queue == NULL)
        _exit(1);
    memcpy(queue + queued, line, len);
    queued += len;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    return true;
}

static void *sending(void *unused)
{
    pthread_mutex_lock(&lock);
    while (!over) {
        if (queued == 0) {
            pthread_cond_wait(&changed, &lock);
            continue;
        }
        char *bytes = queue;
        size_t len = queued, sent = 0;
        queue = NULL;
        queued = 0;
        in_flight = true;
        pthread_mutex_unlock(&lock);
        while (sent < len) {
            ssize_t n = send(fd, bytes + sent, len - sent, MSG_NOSIGNAL);
            if (n < 0 && errno != EINTR)
                break;
            if (n > 0)
                sent += (size_t)n;
        }
        free(bytes);
        pthread_mutex_lock(&lock);
        in_flight = false;
        pthread_cond_broadcast(&changed);
    }
    pthread_mutex_unlock(&lock);
    return unused;
}

__attribute__((format(printf, 1, 2))) static void show(const char *format, ...)
{
    va_list list;
    flockfile(stdout);
    va_start(list, format);
    vprintf(format, list);
    va_end(list);
    putchar('\n');
    bool failed = fflush(stdout) != 0;
    funlockfile(stdout);
    if (failed) {
        fprintf(stderr, "chat: stdout: %s\n", strerror(errno));
        finish(1);
    }
}

static char room[1200];

/* False: this was the last line. */
static bool typed(char *line, int number)
{
    bool fits = true, last = false;
    char *rest = line + strcspn(line, " "), *word, *more;
    size_t verb = (size_t)(rest - line);
    rest += strspn(rest, " ");
    word = strndup(rest, strcspn(rest, " "));
    more = rest + strlen(word);
    more += *more == ' ';
    if (line[0] == '\0')
        ;
    else if (line[0] != '/' && room[0])
        fits = command(true, "PRIVMSG %s :%s", room, line);
    else if (line[0] != '/')
        show("-- where?");
    else if (verb == 5 && !strncmp(line, "/quit", 5)) {
        last = true;
        pthread_mutex_lock(&lock);
        quitting = true; /* before the server knows it, and closes */
        pthread_mutex_unlock(&lock);
        fits = command(true, "QUIT :%s", rest);
    } else if (verb == 5 && !strncmp(line, "/part", 5) && room[0]) {
        fits = command(true, "PART %s", room);
        room[0] = '\0';
    } else if (verb == 5 && !strncmp(line, "/join", 5) && word[0]) {
        fits = command(true, "JOIN %s", word);
        strcpy(room, word);
    } else if (verb == 5 && !strncmp(line, "/nick", 5) && word[0])
        fits = command(true, "NICK %s", word);
    else if (verb == 4 && !strncmp(line, "/msg", 4) && word[0] && more[0])
        fits = command(true, "PRIVMSG %s :%s", word, more);
    else
        show("-- what do you mean by %s?", line);
    free(word);
    if (!fits) {
        fprintf(stderr, "chat: line %d: too long\n", number);
        pthread_mutex_lock(&lock);
        while ((queued > 0 || in_flight) && !over)
            pthread_cond_wait(&changed, &lock);
        pthread_mutex_unlock(&lock);
        finish(1);
    }
    if (last) {
        struct timespec end;
        pthread_mutex_lock(&lock);
        clock_gettime(CLOCK_MONOTONIC, &end);
        end.tv_sec += 2;
        while (!over && pthread_cond_timedwait(&changed, &lock, &end) != ETIMEDOUT)
            ;
        pthread_mutex_unlock(&lock);
        finish(0);
    }
    return fits && !last;
}

static void *typing(void *unused)
{
    static char line[1101], bytes[512];
    size_t len = 0;
    int number = 0;
    char quit[] = "/quit";
    for (;;) {
        ssize_t n = read(0, bytes, sizeof bytes);
        if (n < 0) {
            fprintf(stderr, "chat: stdin: %s\n", strerror(errno));
            finish(1);
            return unused;
        }
        for (ssize_t i = 0; i < n; i++) {
            if (bytes[i] != '\n') {
                if (len < sizeof line - 1)
                    line[len++] = bytes[i];
                continue;
            }
            line[len] = '\0';
            len = 0;
            if (!typed(line, ++number))
                return unused;
        }
        if (n == 0) {
            line[len] = '\0';
            if (typed(line, ++number))
                typed(quit, number);
            return unused;
        }
    }
}

/* False: this nick is not for us. */
static bool heard(char *line)
{
    static bool welcome;
    char *nick = "server", *verb, *p[16] = {0};
    int n = 0;
    if (*line == ':') {
        nick = line + 1;
        line += strcspn(line, " ");
        if (*line)
            *line++ = '\0';
        nick[strcspn(nick, "!")] = '\0';
    }
    line += strspn(line, " ");
    verb = line;
    line += strcspn(line, " ");
    while (*line && n < 15) {
        *line++ = '\0';
        line += strspn(line, " ");
        if (*line == ':') {
            p[n++] = line + 1;
            break;
        }
        if (*line)
            p[n++] = line;
        line += strcspn(line, " ");
    }
    if (!strcmp(verb, "PING"))
        command(false, "PONG :%s", n ? p[0] : "");
    else if ((!strcmp(verb, "PRIVMSG") || !strcmp(verb, "NOTICE")) && n >= 2)
        show(p[0][0] == '#' ? "<%s> %s" : "*%s* %s", nick, p[1]);
    else if (strcmp(verb, "PONG") && *verb) {
        char all[1200] = "";
        for (int i = 0; i < n; i++)
            strcat(strcat(all, " "), p[i]);
        show("-- %s %s%s", nick, verb, all);
    }
    if (!strcmp(verb, "001"))
        welcome = true;
    return welcome || (strcmp(verb, "432") && strcmp(verb, "433"));
}

static void *hearing(void *unused)
{
    static char line[601], bytes[1024];
    size_t len = 0;
    for (;;) {
        ssize_t n = recv(fd, bytes, sizeof bytes, 0);
        pthread_mutex_lock(&lock);
        bool expected = quitting;
        pthread_mutex_unlock(&lock);
        if (n <= 0) {
            if (!expected)
                fprintf(stderr, "chat: server: %s\n", n ? strerror(errno) : "has gone");
            finish(expected ? 0 : 1);
            return unused;
        }
        for (ssize_t i = 0; i < n; i++) {
            if (bytes[i] == '\n') {
                line[len] = '\0';
                len = 0;
                if (!heard(line)) {
                    fprintf(stderr, "chat: %s: refused by the server\n", my_nick);
                    finish(1);
                    return unused;
                }
            } else if (bytes[i] != '\r' && len < sizeof line - 1) {
                line[len++] = bytes[i];
            }
        }
    }
}

int main(int argc, char **argv)
{
    struct addrinfo want = {.ai_socktype = SOCK_STREAM}, *list, *a;
    pthread_condattr_t attributes;
    pthread_t threads[3];
    int why = 0, port = argc == 4 ? atoi(argv[2]) : 0;
    if (port < 1 || port > 65535 || argv[2][strspn(argv[2], "0123456789")]) {
        fprintf(stderr, "usage: chat HOST PORT NICK\n");
        return 2;
    }
    my_nick = argv[3];
    why = getaddrinfo(argv[1], argv[2], &want, &list);
    if (why != 0) {
        fprintf(stderr, "chat: %s: %s\n", argv[1], gai_strerror(why));
        return 1;
    }
    for (a = list, fd = -1; a != NULL && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, SOCK_STREAM, 0);
        if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
            why = errno;
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    if (fd < 0) {
        fprintf(stderr, "chat: %s: %s\n", argv[1], strerror(why));
        return 1;
    }
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&changed, &attributes);
    command(false, "NICK %s", my_nick);
    command(false, "USER %.8s 8 * :%s", my_nick, my_nick);
    pthread_create(&threads[0], NULL, sending, NULL);
    pthread_create(&threads[1], NULL, hearing, NULL);
    pthread_create(&threads[2], NULL, typing, NULL);
    pthread_mutex_lock(&lock);
    while (!over)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    /* Two of them may wait for ever; the process ends them. */
    fflush(stdout);
    close(fd);
    _exit(result);
}
