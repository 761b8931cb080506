#define _GNU_SOURCE
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct pollfd polled[1000];

static const char answer[] = ":chatd 001 ann :Welcome\r\n:chatd 002 ann :x\r\n:chatd 003 ann :x\r\n"
                             ":chatd 004 ann chatd 1 x y\r\n:chatd 422 ann :x\r\n"
                             ":chatd PONG chatd :x\r\n:ann!ann@127.0.0.1 JOIN #c\r\n"
                             ":chatd 353 ann = #c :ann\r\n:chatd 366 ann #c :x\r\n";

static void end(int n)
{
    (void)n;
    _exit(0);
}

int main(int argc, char **argv)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6};
    socklen_t len = sizeof a;
    const int on = 1, off = 0;
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    if (argc != 1 && (argc != 3 || strcmp(argv[1], "-p") != 0)) {
        fprintf(stderr, "usage: chatd [-p PORT]\n");
        return 2;
    }
    signal(SIGTERM, end);
    signal(SIGINT, end);
    a.sin6_port = htons((uint16_t)(argc == 3 ? atoi(argv[2]) : 6667));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 1000) < 0) {
        perror("chatd");
        return 1;
    }
    getsockname(fd, (struct sockaddr *)&a, &len);
    printf("listening on %d\n", ntohs(a.sin6_port));
    fflush(stdout);
    polled[0] = (struct pollfd){.fd = fd, .events = POLLIN};
    for (int count = 1;;) {
        poll(polled, (nfds_t)count, -1);
        for (int i = 1; i < count; i++) {
            char bytes[2048];
            ssize_t n = polled[i].revents ? recv(polled[i].fd, bytes, sizeof bytes, 0) : 0;
            if (polled[i].revents && n <= 0) {
                close(polled[i].fd);
                polled[i] = polled[--count];
                continue;
            }
            if (n > 0)
                send(polled[i].fd, answer, sizeof answer - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        }
        if (polled[0].revents && count < 1000)
            polled[count++] = (struct pollfd){.fd = accept(fd, NULL, NULL), .events = POLLIN};
    }
}
