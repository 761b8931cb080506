/* Stops itself, and whenever it is continued again. */
#include <signal.h>

int main(void)
{
    for (;;)
        raise(SIGSTOP);
}
