/*
 * pattern.h - the bytes that the stage program `probe` makes and checks.
 *
 * A block of PATTERN_PERIOD random bytes of every value, made from a seed, over and over. The
 * period is a prime, so that no loss, repetition or exchange of a whole buffer goes unseen; the
 * block is made once, so that a gigabyte costs little.
 */
#ifndef PIPE_SHARED_PATTERN_H
#define PIPE_SHARED_PATTERN_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { PATTERN_PERIOD = 65521, PATTERN_CHUNK = 65536 };

/* PATTERN_PERIOD + PATTERN_CHUNK bytes, so that a chunk can begin anywhere; NULL: no memory. */
static inline unsigned char *pattern_make(uint64_t seed)
{
    unsigned char *block = malloc(PATTERN_PERIOD + PATTERN_CHUNK);
    if (block == NULL)
        return NULL;
    for (size_t i = 0; i < PATTERN_PERIOD; i += sizeof(uint64_t)) {
        uint64_t z = (seed += 0x9E3779B97F4A7C15u); /* SplitMix64 */
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        z ^= z >> 31;
        memcpy(block + i, &z, sizeof z); /* the last one runs over; the copy below mends it */
    }
    for (size_t i = 0; i < PATTERN_CHUNK; i++)
        block[PATTERN_PERIOD + i] = block[i % PATTERN_PERIOD];
    return block;
}

/* The bytes from `offset` on, at most PATTERN_CHUNK of them. */
static inline const unsigned char *pattern_at(const unsigned char *block, uint64_t offset)
{
    return block + offset % PATTERN_PERIOD;
}

#endif
