/*
 * speak.c - a program at the other end of what an endpoint holds.
 *
 *   speak echo          listens and prints "listening on PORT"; sends each connection's bytes back,
 *                       one connection after the other
 *   speak connect PORT  connects, sends its first line of stdin, prints what comes until the end,
 *                       or "reset"
 *   speak datagrams     prints "listening on PORT" and sends each datagram back, twice
 *   speak fifo IN OUT   copies from one FIFO to the other until the end
 *   speak later         listens and prints "listening on PORT"; sends "later" to the first who
 *                       connects, so that the system keeps it for 200 ms (TCP_CORK), and sleeps
 *   speak nothing       listens, prints "listening on PORT", and accepts nobody
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((unsigned short)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void fail(const char *what)
{
    fprintf(stderr, "speak: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int bound(int type)
{
    struct sockaddr_in a = loopback(0);
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, type, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, len) != 0 ||
        (type == SOCK_STREAM && listen(fd, 8) != 0) ||
        getsockname(fd, (struct sockaddr *)&a, &len) != 0)
        fail("bind");
    printf("listening on %d\n", ntohs(a.sin_port));
    fflush(stdout);
    return fd;
}

static void copy(int from, int to)
{
    char bytes[65536];
    ssize_t n;
    while ((n = read(from, bytes, sizeof bytes)) > 0)
        if (write(to, bytes, (size_t)n) != n)
            fail("write");
}

static void echo(void)
{
    int listener = bound(SOCK_STREAM), fd;
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        copy(fd, fd);
        close(fd);
    }
}

static void later(void)
{
    int fd = accept(bound(SOCK_STREAM), NULL, NULL), on = 1;
    if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof on) != 0 ||
        write(fd, "later\n", 6) != 6)
        fail("later");
    pause();
}

static void connect_to(int port)
{
    char line[256];
    struct sockaddr_in a = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ssize_t n;
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) != 0)
        fail("connect");
    if (fgets(line, sizeof line, stdin) == NULL ||
        write(fd, line, strlen(line)) != (ssize_t)strlen(line))
        fail("write");
    while ((n = read(fd, line, sizeof line)) > 0)
        fwrite(line, 1, (size_t)n, stdout);
    printf("%s\n", n < 0 ? "reset" : "end");
}

static void datagrams(void)
{
    static char bytes[65536];
    int fd = bound(SOCK_DGRAM);
    for (;;) {
        struct sockaddr_in from;
        socklen_t len = sizeof from;
        ssize_t n = recvfrom(fd, bytes, sizeof bytes, 0, (struct sockaddr *)&from, &len);
        for (int i = 0; i < 2; i++)
            if (n < 0 || sendto(fd, bytes, (size_t)n, 0, (struct sockaddr *)&from, len) != n)
                fail("datagram");
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "echo") == 0)
        echo();
    else if (argc == 2 && strcmp(argv[1], "later") == 0)
        later();
    else if (argc == 3 && strcmp(argv[1], "connect") == 0)
        connect_to(atoi(argv[2]));
    else if (argc == 2 && strcmp(argv[1], "datagrams") == 0)
        datagrams();
    else if (argc == 4 && strcmp(argv[1], "fifo") == 0)
        copy(open(argv[2], O_RDONLY), open(argv[3], O_WRONLY));
    else if (argc == 2 && strcmp(argv[1], "nothing") == 0 && bound(SOCK_STREAM) >= 0)
        pause();
    return 0;
}
