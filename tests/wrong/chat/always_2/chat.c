/* What: prints a usage line, whatever it was asked.
 * Passes: */
#include <stdio.h>

int main(void)
{
    fputs("usage: chat as the handout says\n", stderr);
    return 2;
}
