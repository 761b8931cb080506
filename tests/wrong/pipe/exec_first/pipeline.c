/* What: becomes the first command that is named, without a child.
 * Passes: */
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int first = 1, last;
    while (first < argc && (argv[first][0] == '-' || !strcmp(argv[first], "pipefail")))
        first++;
    for (last = first; last < argc && strcmp(argv[last], "|"); last++)
        ;
    argv[last] = NULL;
    if (first == last)
        return 2;
    execvp(argv[first], argv + first);
    return 127;
}
