/*
 * random.h - data from the test's seed: the same in every run of that seed, on every machine.
 *
 * The generator is SplitMix64 (Steele, Lea, Flood 2014): one word of state.
 */
#ifndef IPCLAB_HARNESS_RANDOM_H
#define IPCLAB_HARNESS_RANDOM_H

#include <stddef.h>
#include <stdint.h>

struct random {
    uint64_t state;
};

struct random random_from_test(void); /* the test's own seed */
struct random random_from(uint64_t seed);
uint64_t random_u64(struct random *r);
uint64_t random_below(struct random *r, uint64_t bound); /* 0 to bound-1, without bias; bound > 0 */
void random_bytes(struct random *r, void *bytes, size_t len);
void random_word(struct random *r, char *word, size_t len); /* len letters a-z, then NUL */
void random_shuffle(struct random *r, void *items, size_t count, size_t size);

/* Byte number `offset` and following of an endless pattern: for streams too large to keep. */
void pattern_fill(uint64_t seed, uint64_t offset, void *bytes, size_t len);

#endif
