/* random.c - SplitMix64 and the endless pattern. */
#include "harness/random.h"

#include <string.h>

#include "harness/test.h"

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

struct random random_from(uint64_t seed)
{
    return (struct random){seed};
}

struct random random_from_test(void)
{
    return random_from(test_seed());
}

uint64_t random_u64(struct random *r)
{
    r->state += 0x9e3779b97f4a7c15u;
    return mix(r->state);
}

uint64_t random_below(struct random *r, uint64_t bound)
{
    /* Values below 2^64 mod bound would make the small results likelier: draw again. */
    uint64_t uneven = (0 - bound) % bound;
    uint64_t value;
    do
        value = random_u64(r);
    while (value < uneven);
    return value % bound;
}

void random_bytes(struct random *r, void *bytes, size_t len)
{
    unsigned char *at = bytes;
    while (len > 0) {
        uint64_t value = random_u64(r);
        for (int i = 0; i < 8 && len > 0; i++, len--) {
            *at++ = (unsigned char)value; /* low byte first: the same on every machine */
            value >>= 8;
        }
    }
}

void random_word(struct random *r, char *word, size_t len)
{
    for (size_t i = 0; i < len; i++)
        word[i] = (char)('a' + random_below(r, 26));
    word[len] = '\0';
}

void random_shuffle(struct random *r, void *items, size_t count, size_t size)
{
    unsigned char *bytes = items;
    for (size_t i = count; i > 1; i--) {
        size_t j = random_below(r, i);
        unsigned char *a = bytes + (i - 1) * size, *b = bytes + j * size;
        for (size_t k = 0; k < size && a != b; k++) {
            unsigned char spare = a[k];
            a[k] = b[k];
            b[k] = spare;
        }
    }
}

/*
 * The pattern is made for gigabytes: a table of random bytes, made once a seed, and the stream is
 * blocks copied from changing places in it, each beginning with a number of its own. So making and
 * checking cost a memcpy, and a byte that is lost, doubled or moved still shows.
 */
enum { TABLE = 1 << 16, BLOCK = 1 << 12 };

void pattern_fill(uint64_t seed, uint64_t offset, void *bytes, size_t len)
{
    static unsigned char table[TABLE];
    static uint64_t table_seed;
    static bool table_made;
    if (!table_made || table_seed != seed) {
        struct random r = random_from(seed ^ 0x7061747465726e00u);
        random_bytes(&r, table, sizeof table);
        table_seed = seed;
        table_made = true;
    }
    unsigned char *at = bytes;
    while (len > 0) {
        uint64_t block = offset / BLOCK;
        size_t in_block = offset % BLOCK;
        size_t n = BLOCK - in_block < len ? BLOCK - in_block : len;
        uint64_t number = mix(seed + (block + 1) * 0x9e3779b97f4a7c15u);
        size_t from = (size_t)(number % (TABLE - BLOCK));
        memcpy(at, table + from + in_block, n);
        for (size_t i = in_block; i < 8 && i - in_block < n; i++)
            at[i - in_block] = (unsigned char)(number >> (8 * i));
        at += n;
        offset += n;
        len -= n;
    }
}
