/* Ends at once, but a child of a session of its own holds what the grader reads and writes. */
#include <unistd.h>

int main(void)
{
    if (fork() == 0) {
        setsid();
        for (;;)
            sleep(1000);
    }
    return 0;
}
