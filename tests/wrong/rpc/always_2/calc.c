/* What: both programs end with 2 at once, and do nothing else.
 * Passes: */
#include <stdio.h>

int main(void)
{
    fputs("usage: nothing is ever done\n", stderr);
    return 2;
}
