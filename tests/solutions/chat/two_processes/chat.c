/*
 * chat.c - two processes, one for each direction: the child reads stdin with getline() and sends,
 * the parent reads the socket and prints. A lock in memory that both share keeps their lines apart.
 */
#define _GNU_SOURCE
#include "irc.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <time.h>
#include <stdatomic.h>
#include <semaphore.h>

struct shared {
    sem_t out;            /* the sending direction of the socket */
    atomic_int quit;      /* QUIT was said */
    atomic_int long_line; /* its number */
};
static struct shared *sh;
static int sock;

static int fail(const char *a, const char *b)
{
    fprintf(stderr, "chat: %s: %s\n", a, b);
    return 1;
}

static bool put(const char *bytes, size_t len)
{
    bool ok = true;
    while (sem_wait(&sh->out) < 0)
        ;
    while (len > 0) {
        ssize_t n = send(sock, bytes, len, MSG_NOSIGNAL);
        if (n < 0) {
            ok = false;
            break;
        }
        bytes += n;
        len -= (size_t)n;
    }
    sem_post(&sh->out);
    return ok;
}

static void note(const char *t)
{
    printf("-- %s\n", t);
    fflush(stdout);
}

static void too_long(unsigned long n)
{
    fprintf(stderr, "chat: line %lu: too long\n", n);
    atomic_store(&sh->long_line, 1);
    atomic_store(&sh->quit, 1);
    put("QUIT\r\n", 6);
}

static void typing(int bell)
{
    char *line = NULL, channel[600] = "", out[1200];
    size_t size = 0;
    ssize_t n;
    unsigned long number = 0;

    while ((n = getline(&line, &size, stdin)) >= 0) {
        if (n > 0 && line[n - 1] == '\n')
            line[--n] = '\0';
        number++;
        if (n > 520) {
            too_long(number);
            goto end;
        }
        if (line[0] != '/') {
            if (line[0] == '\0')
                continue;
            if (channel[0] == '\0') {
                note("no channel");
                continue;
            }
            snprintf(out, sizeof out, "PRIVMSG %s :%s", channel, line);
        } else {
            char *rest = line + strcspn(line, " ");
            if (*rest != '\0')
                *rest++ = '\0';
            if (strcmp(line, "/quit") == 0) {
                break;
            } else if (strcmp(line, "/part") == 0) {
                if (channel[0] == '\0') {
                    note("no channel");
                    continue;
                }
                snprintf(out, sizeof out, "PART %s :bye", channel);
                channel[0] = '\0';
            } else if (strcmp(line, "/join") == 0 && *rest != '\0') {
                snprintf(out, sizeof out, "JOIN %s", rest);
                snprintf(channel, sizeof channel, "%s", rest);
            } else if (strcmp(line, "/nick") == 0 && *rest != '\0') {
                snprintf(out, sizeof out, "NICK %s", rest);
            } else if (strcmp(line, "/msg") == 0 && strchr(rest, ' ') != NULL &&
                       strchr(rest, ' ')[1] != '\0') {
                int w = (int)strcspn(rest, " ");
                snprintf(out, sizeof out, "PRIVMSG %.*s :%s", w, rest, rest + w + 1);
            } else {
                note("what?");
                continue;
            }
        }
        if (strlen(out) > 510) {
            too_long(number);
            goto end;
        }
        strcat(out, "\r\n");
        put(out, strlen(out));
    }
    atomic_store(&sh->quit, 1);
    put("QUIT :bye\r\n", 11);
end:
    free(line);
    close(bell);
}

int main(int argc, char **argv)
{
    if (argc != 4 || strspn(argv[2], "0123456789") != strlen(argv[2]) || argv[2][0] == '\0' ||
        atol(argv[2]) < 1 || atol(argv[2]) > 65535) {
        fprintf(stderr, "usage: chat HOST PORT NICK\n");
        return 2;
    }
    struct addrinfo h = {.ai_socktype = SOCK_STREAM}, *l, *a;
    int e = getaddrinfo(argv[1], argv[2], &h, &l), bell[2], status = 1;
    if (e != 0)
        return fail(argv[1], gai_strerror(e));
    for (sock = -1, a = l; a != NULL && sock < 0; a = a->ai_next) {
        sock = socket(a->ai_family, SOCK_STREAM, 0);
        if (sock >= 0 && connect(sock, a->ai_addr, a->ai_addrlen) < 0) {
            close(sock);
            sock = -1;
        }
    }
    freeaddrinfo(l);
    if (sock < 0)
        return fail(argv[1], "cannot connect");
    sh = mmap(NULL, sizeof *sh, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    sem_init(&sh->out, 1, 1);
    char hello[400];
    snprintf(hello, sizeof hello, "USER %.9s 0 * :someone\r\nNICK %s\r\n", argv[3], argv[3]);
    put(hello, strlen(hello));
    if (pipe(bell) < 0)
        return fail("pipe", strerror(errno));
    pid_t child = fork();
    if (child == 0) {
        close(bell[0]);
        typing(bell[1]);
        close(sock);
        exit(0);
    }
    close(bell[1]);

    char line[511];
    size_t len = 0;
    bool on = false;
    long long deadline = -1;
    for (;;) {
        struct pollfd p[2] = {{.fd = sock, .events = POLLIN}, {.fd = bell[0], .events = POLLIN}};
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        long long ms = now.tv_sec * 1000LL + now.tv_nsec / 1000000;
        if (deadline >= 0 && ms >= deadline) {
            status = 0;
            break;
        }
        if (poll(p, 2, deadline < 0 ? -1 : (int)(deadline - ms + 1)) < 0)
            continue;
        if (p[1].revents) {
            close(bell[0]);
            bell[0] = -1;
            deadline = ms + 2000;
        }
        if (!p[0].revents)
            continue;
        char bytes[3000];
        ssize_t n = recv(sock, bytes, sizeof bytes, 0);
        if (n <= 0) {
            if (n < 0 && errno == EINTR)
                continue;
            if (deadline >= 0 || atomic_load(&sh->quit))
                status = 0;
            else
                status = fail("server", "gone");
            break;
        }
        for (ssize_t i = 0; i < n; i++) {
            if (bytes[i] != '\n') {
                if (len < 510)
                    line[len++] = bytes[i];
                continue;
            }
            while (len > 0 && line[len - 1] == '\r')
                len--;
            line[len] = '\0';
            len = 0;
            char *at = line, *from = "", *word[3] = {"", "", ""};
            if (*at == ':') {
                from = ++at;
                at += strcspn(at, " ");
                if (*at != '\0')
                    *at++ = '\0';
                from[strcspn(from, "!")] = '\0';
            }
            int k = 0;
            for (; k < 3; k++) {
                at += strspn(at, " ");
                if (*at == '\0')
                    break;
                if (*at == ':' && k > 0) {
                    word[k++] = at + 1;
                    at += strlen(at);
                    break;
                }
                word[k] = at;
                at += strcspn(at, " ");
                if (*at != '\0')
                    *at++ = '\0';
            }
            const char *c = word[0];
            if (*c == '\0' || strcmp(c, "PONG") == 0)
                continue;
            if (strcmp(c, "PING") == 0) {
                char pong[600];
                snprintf(pong, sizeof pong, "PONG :%.490s\r\n", word[1]);
                put(pong, strlen(pong));
                continue;
            }
            if ((strcmp(c, "PRIVMSG") == 0 || strcmp(c, "NOTICE") == 0) && k > 2)
                printf(word[1][0] == '#' ? "<%s> %s\n" : "*%s* %s\n", from, word[2]);
            else
                printf("-- %s %s %s %s %s\n", from, c, word[1], word[2], at);
            fflush(stdout);
            if (strcmp(c, "001") == 0)
                on = true;
            if (!on && (strcmp(c, "433") == 0 || strcmp(c, "432") == 0)) {
                status = fail(argv[3], "the nick is refused");
                goto out;
            }
        }
    }
out:
    if (atomic_load(&sh->long_line))
        status = 1;
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    if (bell[0] >= 0)
        close(bell[0]);
    close(sock);
    return status;
}
