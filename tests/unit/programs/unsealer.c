/* unsealer - a tool as suites have them: prints its arguments, each as [ARGUMENT]. */
#include <stdio.h>

#include "support/seal.h"

int main(int argc, char **argv)
{
    unseal_arguments(&argc, &argv);
    for (int i = 1; i < argc; i++)
        printf("[%s]", argv[i]);
    return argv[argc] != NULL;
}
