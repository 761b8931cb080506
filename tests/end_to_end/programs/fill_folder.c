/* Fills its folder: one file as large as it gets, then as many as it gets. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(void)
{
    static char bytes[65536];
    char name[64];

    memset(bytes, 'x', sizeof bytes);
    signal(SIGXFSZ, SIG_IGN);
    int big = open("big", O_WRONLY | O_CREAT, 0600);
    while (write(big, bytes, sizeof bytes) > 0)
        continue;
    for (int i = 0; i < 2000; i++) {
        snprintf(name, sizeof name, "file %d\n\033[2J\377", i);
        close(open(name, O_WRONLY | O_CREAT, 0));
    }
    return 0;
}
