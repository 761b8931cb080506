/* What: the client ends with 0 at once, and does nothing else.
 * Passes: */
#include <stdio.h>

int main(void)
{
    fputs("usage: nothing is ever done\n", stderr);
    return 0;
}
