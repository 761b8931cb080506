/* Ignores or handles every signal that can be, and stays. */
#include <signal.h>
#include <unistd.h>

static void again(int number)
{
    signal(number, again);
}

int main(void)
{
    for (int i = 1; i < 65; i++)
        signal(i, i % 2 ? again : SIG_IGN);
    for (;;)
        pause();
}
