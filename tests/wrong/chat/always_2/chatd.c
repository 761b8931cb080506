#include <stdio.h>

int main(void)
{
    fputs("usage: chatd as the handout says\n", stderr);
    return 2;
}
