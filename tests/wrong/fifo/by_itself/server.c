/* The other half. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[4096];

static void stop(int number)
{
    (void)number;
    unlink(path);
    _exit(0);
}

int main(int argc, char **argv)
{
    struct stat there;

    if (argc != 2) {
        fputs("usage: server DIR\n", stderr);
        return 2;
    }
    snprintf(path, sizeof path, "%s/requests", argv[1]);
    if (lstat(path, &there) == 0) {
        if (!S_ISFIFO(there.st_mode) || open(path, O_WRONLY | O_NONBLOCK) >= 0) {
            fputs("server: there is something already\n", stderr);
            return 1;
        }
        unlink(path);
    }
    signal(SIGTERM, stop);
    signal(SIGINT, stop);
    if (mkfifo(path, 0600) < 0 || open(path, O_RDWR) < 0) {
        perror("server: requests");
        return 1;
    }
    for (;;)
        pause();
}
