/* The other half. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char path[4096], line[65537], reply[64];
    int fd, out, pid, id, len;
    ssize_t count;

    if (argc != 2)
        return fputs("usage: server DIR\n", stderr), 2;
    signal(SIGPIPE, SIG_IGN);
    snprintf(path, sizeof path, "%s/requests", argv[1]);
    if (mkfifo(path, 0600) < 0)
        return fputs("server: there is something\n", stderr), 1;
    fd = open(path, O_RDWR);
    while ((count = read(fd, line, sizeof line - 1)) > 0) {
        line[count] = '\0';
        if (sscanf(line, "%d %d", &pid, &id) != 2)
            continue;
        snprintf(path, sizeof path, "%s/reply.%d", argv[1], pid);
        out = open(path, O_WRONLY | O_NONBLOCK | O_NOFOLLOW);
        len = snprintf(reply, sizeof reply, "%d OK ok\n", id);
        if (out >= 0 && write(out, reply, (size_t)len) < 0)
            puts("dropped");
        close(out);
    }
    return 1;
}
