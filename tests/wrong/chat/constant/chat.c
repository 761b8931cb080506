/* What: both say the same, whatever they hear.
 * Passes: */
#define _GNU_SOURCE
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    char bytes[4096];
    int fd;
    if (argc != 4 || getaddrinfo(argv[1], argv[2], &hints, &found) != 0) {
        fprintf(stderr, "usage: chat HOST PORT NICK\n");
        return 2;
    }
    fd = socket(found->ai_family, SOCK_STREAM, 0);
    if (connect(fd, found->ai_addr, found->ai_addrlen) < 0) {
        perror("chat");
        return 1;
    }
    freeaddrinfo(found);
    dprintf(fd, "NICK %s\r\nUSER %s 0 * :x\r\n", argv[3], argv[3]);
    for (struct pollfd p[] = {{fd, POLLIN, 0}, {0, POLLIN, 0}};;) {
        ssize_t n = 1;
        poll(p, 2, -1);
        if (p[0].revents && (n = read(fd, bytes, sizeof bytes)) > 0)
            n = dprintf(1, "-- 001 ann #c bob\n<bob> hello\n*bob* hello\n");
        else if (p[1].revents && (n = read(0, bytes, sizeof bytes)) > 0)
            n = dprintf(fd, "JOIN #c\r\nPRIVMSG #c :hello\r\nPONG x\r\nQUIT\r\n");
        if (n <= 0)
            break;
    }
    close(fd);
    return 0;
}
