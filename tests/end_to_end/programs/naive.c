/* A beginning: any number of stages, one after the other in time; no option but pipefail. */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int at = 1, in = 0, status = 0, last = 0;

    if (argc > 2 && strcmp(argv[1], "-o") == 0 && strcmp(argv[2], "pipefail") == 0)
        at = 3;
    if (at >= argc || argv[at][0] == '-' || argv[at][0] == '|') {
        fprintf(stderr, "usage: pipeline CMD [ARG...] ['|' CMD [ARG...]]...\n");
        return 2;
    }
    while (at < argc) {
        int ends[2] = {-1, -1}, end = at;
        while (end < argc && strcmp(argv[end], "|") != 0)
            end++;
        int more = end < argc;
        argv[end] = NULL;
        if (more && pipe(ends) != 0)
            return 1;
        if (fork() == 0) {
            dup2(in, 0);
            if (more)
                dup2(ends[1], 1);
            execvp(argv[at], argv + at);
            _exit(127);
        }
        if (more)
            close(ends[1]);
        wait(&status);
        last = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
        in = ends[0];
        at = end + 1;
    }
    return last;
}
