/* One process for each connection, which answers whatever comes: see calc.c. */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void stop(int number)
{
    (void)number;
    _exit(0);
}

/* Changes the bytes that came to those that go back, and returns how many these are. */
static ssize_t answer(unsigned char *bytes, ssize_t len)
{
    (void)bytes;
    return len;
}

static void serve(int tcp, int udp)
{
    static unsigned char bytes[65536];
    struct pollfd both[] = {{.fd = tcp, .events = POLLIN}, {.fd = udp, .events = POLLIN}};
    struct sockaddr_in from;
    socklen_t size = sizeof from;
    ssize_t len;

    poll(both, 2, -1);
    if (both[1].revents != 0) {
        len = recvfrom(udp, bytes + 4, sizeof bytes - 4, 0, (struct sockaddr *)&from, &size);
        len = len > 0 ? answer(bytes, len + 4) : 0;
        if (len > 4)
            sendto(udp, bytes + 4, (size_t)len - 4, 0, (struct sockaddr *)&from, size);
    }
    if (both[0].revents != 0) {
        int fd = accept(tcp, NULL, NULL);

        if (fork() == 0) {
            while ((len = recv(fd, bytes, sizeof bytes, 0)) > 0) {
                len = answer(bytes, len);
                if (len > 0 && send(fd, bytes, (size_t)len, MSG_NOSIGNAL) < 0)
                    break;
            }
            _exit(0);
        }
        close(fd);
    }
}

int main(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof at;
    int tcp = socket(AF_INET, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0);

    bind(udp, (struct sockaddr *)&at, sizeof at);
    getsockname(udp, (struct sockaddr *)&at, &size);
    bind(tcp, (struct sockaddr *)&at, sizeof at);
    listen(tcp, 100);
    signal(SIGTERM, stop);
    signal(SIGINT, stop);
    signal(SIGCHLD, SIG_IGN);
    printf("listening on %d\n", ntohs(at.sin_port));
    fflush(stdout);
    for (;;)
        serve(tcp, udp);
}
