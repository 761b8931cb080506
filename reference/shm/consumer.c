/*
 * consumer.c - the program `consumer`: prints the items of a ring as lines. Given and fixed.
 *
 *     consumer NAME [-n COUNT]
 */
#include <stdlib.h>

#include "ring.h"

/* Decimal digits alone; false if it is no such number, or too large for 64 bits. */
static bool parse_count(const char *word, unsigned long long *count)
{
    size_t digits = strspn(word, "0123456789");

    if (digits == 0 || word[digits] != '\0')
        return false;
    errno = 0;
    *count = strtoull(word, NULL, 10);
    return errno == 0;
}

/* Prints items until the ring has ended, or `count` of them if `counted`. Returns the status. */
static int consume(struct ring_view *view, const char *name, bool counted, unsigned long long count)
{
    for (unsigned long long taken = 0; !counted || taken < count; taken++) {
        struct ring_item item;
        enum ring_status status = ring_take(view, &item);

        if (status == RING_END)
            break;
        if (status != RING_OK)
            return ring_complain("consumer", name, status);
        /* Flushed line by line: whoever reads us wants each item as it comes. */
        if (fwrite(item.data, 1, item.len, stdout) != item.len || putchar('\n') == EOF ||
            fflush(stdout) != 0)
            return ring_complain("consumer", "stdout", RING_SYSTEM);
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct ring_view *view;
    unsigned long long count = 0;
    bool counted = argc == 4;
    enum ring_status status;
    int result;

    if ((argc != 2 && argc != 4) || *argv[1] == '\0' || strlen(argv[1]) > RING_NAME_MAX ||
        strchr(argv[1], '/') != NULL ||
        (counted && (strcmp(argv[2], "-n") != 0 || !parse_count(argv[3], &count)))) {
        fprintf(stderr, "usage: consumer NAME [-n COUNT]\n");
        return 2;
    }
    status = ring_open(&view, argv[1]);
    if (status != RING_OK)
        return ring_complain("consumer", argv[1], status);
    result = consume(view, argv[1], counted, count);
    ring_close(view);
    return result;
}
