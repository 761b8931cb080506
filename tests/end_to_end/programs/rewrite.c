/*
 * Would be the reference in later tests: tries to write to, remove and replace its own program and
 * the suite's tools. Says "LEAK" when it can.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char self[4096], other[4200];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);

    if (len < 0)
        return 1;
    self[len] = '\0';
    snprintf(other, sizeof other, "%s.new", self);
    if (open(self, O_WRONLY) >= 0 || open(other, O_WRONLY | O_CREAT, 0755) >= 0 ||
        rename(self, other) == 0 || unlink(self) == 0 || chmod(self, 0777) == 0 ||
        link(self, "copy") == 0)
        fprintf(stderr, "LEAK %s\n", self);
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '/' && strstr(argv[i], "/tools/") != NULL &&
            (open(argv[i], O_WRONLY) >= 0 || unlink(argv[i]) == 0))
            fprintf(stderr, "LEAK %s\n", argv[i]);
    }
    fprintf(stderr, "LOOKED\n");
    return 0;
}
