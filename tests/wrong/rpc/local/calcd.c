/* Prints a port that nobody listens at, and waits for a signal. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static void stop(int number)
{
    (void)number;
    _exit(0);
}

int main(void)
{
    signal(SIGTERM, stop);
    signal(SIGINT, stop);
    puts("listening on 5000");
    fflush(stdout);
    for (;;)
        pause();
}
