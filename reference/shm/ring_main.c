/*
 * ring_main.c - the program `ring`: makes, shows and removes rings. Given and fixed.
 *
 *     ring create NAME CAPACITY [--unbounded]
 *     ring info NAME
 *     ring destroy NAME
 */
#include <inttypes.h>
#include <stdlib.h>

#include "ring.h"

static int usage(void)
{
    fprintf(stderr,
            "usage: ring create NAME CAPACITY [--unbounded] | ring info NAME | "
            "ring destroy NAME\n"
            "       (NAME: 1 to %d bytes without a slash; CAPACITY: 1 to %d)\n",
            RING_NAME_MAX, RING_CAPACITY_MAX);
    return 2;
}

static bool is_name(const char *word)
{
    return *word != '\0' && strlen(word) <= RING_NAME_MAX && strchr(word, '/') == NULL;
}

/* Decimal digits alone, 1 to RING_CAPACITY_MAX; else 0. */
static uint32_t parse_capacity(const char *word)
{
    size_t digits = strspn(word, "0123456789");
    unsigned long long value;

    if (digits == 0 || word[digits] != '\0')
        return 0;
    value = strtoull(word, NULL, 10); /* too large is ULLONG_MAX */
    return value <= RING_CAPACITY_MAX ? (uint32_t)value : 0;
}

static int show(const char *name)
{
    struct ring_view *view;
    struct ring_info info = {0};
    enum ring_status status = ring_open(&view, name);

    if (status != RING_OK)
        return ring_complain("ring", name, status);
    ring_info(view, &info);
    ring_close(view);
    printf("capacity=%" PRIu32 " unbounded=%" PRIu32 " producers=%" PRIu32 " closed=%" PRIu32
           " head=%" PRIu64 " tail=%" PRIu64 "\n",
           info.capacity, info.unbounded, info.producers, info.closed, info.head, info.tail);
    if (fflush(stdout) != 0)
        return ring_complain("ring", "stdout", RING_SYSTEM);
    return 0;
}

int main(int argc, char **argv)
{
    enum ring_status status;

    if (argc < 3 || !is_name(argv[2]))
        return usage();
    if (strcmp(argv[1], "create") == 0) {
        bool unbounded = argc == 5 && strcmp(argv[4], "--unbounded") == 0;
        uint32_t capacity = argc >= 4 ? parse_capacity(argv[3]) : 0;

        if (capacity == 0 || argc != (unbounded ? 5 : 4))
            return usage();
        status = ring_create(argv[2], capacity, unbounded);
    } else if (argc != 3) {
        return usage();
    } else if (strcmp(argv[1], "info") == 0) {
        return show(argv[2]);
    } else if (strcmp(argv[1], "destroy") == 0) {
        status = ring_destroy(argv[2]);
    } else {
        return usage();
    }
    return status == RING_OK ? 0 : ring_complain("ring", argv[2], status);
}
