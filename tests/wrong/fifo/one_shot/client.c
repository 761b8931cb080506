/* What: both open their FIFOs as one opens a file, as the book's first example does: the server
 *       waits for a client, serves it, ends with it; the client waits for whatever comes.
 * Passes: */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char path[4096], line[4096];
    int fd, len;
    char *text;

    if (argc < 3)
        return 2;
    snprintf(path, sizeof path, "%s/requests", argv[1]);
    fd = open(path, O_WRONLY);
    if (fd < 0)
        return 3;
    snprintf(path, sizeof path, "%s/reply.%d", argv[1], getpid());
    mkfifo(path, 0666);
    len = snprintf(line, sizeof line, "%d 1 %s %s\n", getpid(), argv[2], argc > 3 ? argv[3] : "");
    if (write(fd, line, (size_t)len) < len)
        return 1;
    close(fd);
    fd = open(path, O_RDONLY);
    len = (int)read(fd, line, sizeof line - 1);
    line[len > 0 ? len : 0] = '\0';
    text = strstr(line, " OK");
    printf("%s", text == NULL ? line : text + 4);
    unlink(path);
    return 0;
}
