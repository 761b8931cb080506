/* Random data: the same for a seed on every machine, even, and cheap to make anywhere in a stream.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "harness/random.h"

Test(random, is_splitmix64)
{
    struct random r = random_from(1234567); /* the reference implementation's own values */
    cr_assert_eq(random_u64(&r), 6457827717110365317u);
    cr_assert_eq(random_u64(&r), 3203168211198807973u);
    cr_assert_eq(random_u64(&r), 9817491932198370423u);
}

Test(random, stays_below_its_bound_and_reaches_all_of_it)
{
    struct random r = random_from(1);
    int seen[7] = {0};
    for (int i = 0; i < 7000; i++) {
        uint64_t value = random_below(&r, 7);
        cr_assert_lt(value, 7);
        seen[value]++;
    }
    for (int i = 0; i < 7; i++)
        cr_assert(seen[i] > 800 && seen[i] < 1200, "%d: %d", i, seen[i]);
    cr_assert_eq(random_below(&r, 1), 0);
}

Test(random, makes_words_and_bytes)
{
    struct random a = random_from(5), b = random_from(5);
    char word[9], bytes[13] = {0}, again[13] = {0};
    random_word(&a, word, 8);
    cr_assert_eq(strspn(word, "abcdefghijklmnopqrstuvwxyz"), 8);
    a = random_from(5);
    random_bytes(&a, bytes, 12);
    random_bytes(&b, again, 12);
    cr_assert_eq(memcmp(bytes, again, 13), 0);
    cr_assert_eq(bytes[12], 0);
}

Test(random, shuffles_all_items)
{
    struct random r = random_from(9);
    int items[50], sum = 0, moved = 0;
    for (int i = 0; i < 50; i++)
        items[i] = i;
    random_shuffle(&r, items, 50, sizeof items[0]);
    for (int i = 0; i < 50; i++) {
        sum += items[i];
        moved += items[i] != i;
    }
    cr_assert_eq(sum, 49 * 50 / 2);
    cr_assert_gt(moved, 30);
}

Test(pattern, is_the_same_in_one_piece_and_in_many)
{
    static unsigned char whole[20000], pieces[20000];
    struct random r = random_from(3);
    unsigned char other;
    pattern_fill(77, 123, whole, sizeof whole);
    for (size_t at = 0; at < sizeof pieces;) {
        size_t n = 1 + random_below(&r, 700);
        if (n > sizeof pieces - at)
            n = sizeof pieces - at;
        pattern_fill(78, 0, &other, 1); /* another seed in between */
        pattern_fill(77, 123 + at, pieces + at, n);
        at += n;
    }
    cr_assert_eq(memcmp(whole, pieces, sizeof whole), 0);
}

Test(pattern, shows_what_is_lost_doubled_or_exchanged)
{
    static unsigned char a[8192], b[8192];
    pattern_fill(1, 0, a, sizeof a);
    for (uint64_t shift = 1; shift < 70000; shift += 997) {
        pattern_fill(1, shift, b, sizeof b);
        cr_assert_neq(memcmp(a, b, 64), 0, "shift %llu", (unsigned long long)shift);
    }
    for (uint64_t block = 1; block < 2000; block++) {
        pattern_fill(1, block * 4096, b, 4096);
        cr_assert_neq(memcmp(a, b, 4096), 0, "block %llu", (unsigned long long)block);
    }
    pattern_fill(2, 0, b, sizeof b);
    cr_assert_neq(memcmp(a, b, 16), 0);
}
