/* The server does the same. */
#include <stdio.h>

int main(void)
{
    fputs("usage: nothing is ever done\n", stderr);
    return 3;
}
