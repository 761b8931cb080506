/* Leaves a daemon: forked twice, a session of its own, nothing open, at the root. */
#include <signal.h>
#include <unistd.h>

int main(void)
{
    if (fork() == 0) {
        setsid();
        if (fork() == 0) {
            for (int i = 0; i < 256; i++)
                close(i);
            if (chdir("/") != 0)
                return 1;
            signal(SIGTERM, SIG_IGN);
            for (;;)
                sleep(1000);
        }
        _exit(0);
    }
    return 0;
}
