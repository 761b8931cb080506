/* The other half. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char path[4096], line[4096], reply[5000], op[32];
    int fd, pid, id, at = 0;
    ssize_t len;

    if (argc != 2)
        return 2;
    snprintf(path, sizeof path, "%s/requests", argv[1]);
    mkfifo(path, 0666);
    fd = open(path, O_RDONLY);
    len = read(fd, line, sizeof line - 1);
    line[len > 0 ? len : 0] = '\0';
    if (sscanf(line, "%d %d %31s %n", &pid, &id, op, &at) < 3)
        return 1;
    snprintf(reply, sizeof reply, "%d OK %s", id, line + at);
    close(fd);
    snprintf(path, sizeof path, "%s/reply.%d", argv[1], pid);
    fd = open(path, O_WRONLY);
    if (write(fd, reply, strlen(reply)) < 0)
        return 1;
    return 0;
}
