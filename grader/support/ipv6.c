#include "support/ipv6.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

int ipv6_fault(void)
{
    const struct sockaddr_in6 loopback = {.sin6_family = AF_INET6,
                                          .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), fault = 0;

    if (fd == -1 || bind(fd, (const struct sockaddr *)&loopback, sizeof loopback) != 0)
        fault = errno;
    if (fd != -1)
        close(fd);
    return fault;
}
