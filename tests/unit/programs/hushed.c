/* Loses memory, and has asked valgrind not to tell. */
#include <stdlib.h>
#include <valgrind/valgrind.h>

int main(void)
{
    VALGRIND_DISABLE_ERROR_REPORTING;
    char *volatile lost = malloc(40);
    VALGRIND_FREELIKE_BLOCK(lost, 0);
    lost = NULL;
    return 7;
}
