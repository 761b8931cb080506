/*
 * producer.c - the program `producer`: puts each line of its input into a ring. Given and fixed.
 *
 *     producer NAME
 */
#include "ring.h"

enum line { LINE, LINE_TOO_LONG, LINE_NONE };

/*
 * Reads the next line of stdin, without its newline: any bytes, NUL too, and the last one may lack
 * its newline. (Not getline(): a line without end would take all memory.)
 */
static enum line read_line(char line[RING_ITEM_MAX], size_t *len)
{
    int byte;

    *len = 0;
    while ((byte = getchar()) != EOF && byte != '\n') {
        if (*len == RING_ITEM_MAX)
            return LINE_TOO_LONG;
        line[(*len)++] = (char)byte;
    }
    return byte == EOF && (*len == 0 || ferror(stdin)) ? LINE_NONE : LINE;
}

/* Puts all lines. Returns the exit status. */
static int produce(struct ring_view *view, const char *name)
{
    char line[RING_ITEM_MAX];
    size_t len;

    for (unsigned long long number = 1;; number++) {
        enum ring_status status;
        enum line got = read_line(line, &len);

        if (got == LINE_TOO_LONG) {
            fprintf(stderr, "producer: line %llu: longer than %d bytes\n", number, RING_ITEM_MAX);
            return 1;
        }
        if (got == LINE_NONE)
            return ferror(stdin) ? ring_complain("producer", "stdin", RING_SYSTEM) : 0;
        status = ring_put(view, line, len);
        if (status != RING_OK)
            return ring_complain("producer", name, status);
    }
}

int main(int argc, char **argv)
{
    struct ring_view *view;
    enum ring_status status;
    int result;

    if (argc != 2 || *argv[1] == '\0' || strlen(argv[1]) > RING_NAME_MAX ||
        strchr(argv[1], '/') != NULL) {
        fprintf(stderr, "usage: producer NAME\n");
        return 2;
    }
    status = ring_open(&view, argv[1]);
    if (status != RING_OK)
        return ring_complain("producer", argv[1], status);
    status = ring_attach(view);
    if (status != RING_OK) {
        result = ring_complain("producer", argv[1], status);
    } else {
        /* From here on every way out goes through ring_detach(), else the ring never closes. */
        result = produce(view, argv[1]);
        status = ring_detach(view);
        if (status != RING_OK)
            result = ring_complain("producer", argv[1], status);
    }
    ring_close(view);
    return result;
}
