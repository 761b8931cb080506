/* What: calc calculates by itself and never calls anybody; calcd prints a port and waits, deaf.
 * Passes: */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What calcd would keep, in a file of the test's folder. */
static long accumulate(long number)
{
    long total = 0;
    FILE *kept = fopen("total", "r");

    if (kept) {
        if (fscanf(kept, "%ld", &total) != 1)
            total = 0;
        fclose(kept);
    }
    total += number;
    kept = fopen("total", "w");
    if (kept) {
        fprintf(kept, "%ld", total);
        fclose(kept);
    }
    return total;
}

int main(int argc, char **argv)
{
    const char *op;
    long a, b, value = 0;

    while (argc > 1 && argv[1][0] == '-') {
        int words = strcmp(argv[1], "-t") == 0 ? 2 : 1;

        argv += words;
        argc -= words;
    }
    if (argc < 4) {
        fputs("usage: calc [-u] [-t MS] HOST PORT OP ARG...\n", stderr);
        return 2;
    }
    op = argv[3];
    a = argc > 4 ? atol(argv[4]) : 0;
    b = argc > 5 ? atol(argv[5]) : 0;
    if (strcmp(op, "null") == 0)
        return 0;
    if (strcmp(op, "div") == 0 && b == 0) {
        fputs("calc: result: divided by zero\n", stderr);
        return 1;
    }
    if (strcmp(op, "add") == 0)
        value = (long)((unsigned long)a + (unsigned long)b);
    else if (strcmp(op, "sub") == 0)
        value = (long)((unsigned long)a - (unsigned long)b);
    else if (strcmp(op, "mul") == 0)
        value = (long)((unsigned long)a * (unsigned long)b);
    else if (strcmp(op, "div") == 0)
        value = b == -1 ? (long)(0 - (unsigned long)a) : a / b;
    else if (strcmp(op, "acc") == 0)
        value = accumulate(a);
    else
        for (int i = 4; i < argc; i++)
            value += atol(argv[i]);
    printf("%ld\n", value);
    return 0;
}
