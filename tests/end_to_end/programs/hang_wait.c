/* Waits for ever for a child that waits for ever. */
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
    if (fork() == 0) {
        for (;;)
            pause();
    }
    waitpid(-1, 0, 0);
    return 0;
}
