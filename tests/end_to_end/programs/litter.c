/* Leaves files, locked folders, and a tree that is 20,000 levels deep. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void)
{
    close(open("file", O_WRONLY | O_CREAT, 0));
    close(open("/tmp/e2e-litter", O_WRONLY | O_CREAT, 0600));
    close(open("/var/tmp/e2e-litter", O_WRONLY | O_CREAT, 0600));
    close(open("/dev/shm/e2e-litter", O_WRONLY | O_CREAT, 0600));
    if (symlink("/etc/passwd", "link") != 0 || mkdir("locked", 0700) != 0 ||
        mkdir("locked/in", 0700) != 0)
        return 1;
    close(open("locked/in/file", O_WRONLY | O_CREAT, 0));
    if (chmod("locked/in", 0) != 0 || chmod("locked", 0) != 0)
        return 1;
    for (int i = 0; i < 20000; i++) {
        if (mkdir("d", 0700) != 0 || chdir("d") != 0)
            break;
    }
    chmod(".", 0);
    return 0;
}
