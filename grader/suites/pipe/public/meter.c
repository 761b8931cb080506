/* The meter: pipeline carries the bytes of all links itself, and counts them. */
#include "suites/pipe/peer/pipe.h"

#include <string.h>

TEST(meter, counts, "--meter carries every byte and prints one line a link, in order")
{
    struct random r = random_from_test();
    int n[3], seed[3];
    for (int i = 0; i < 3; i++) {
        n[i] = between(&r, 1, 200000);
        seed[i] = between(&r, 1, 1 << 30);
    }
    const char *said = word(&r);
    int status = random_status(&r);

    struct program *p = pipeline("--meter @ emit %d %d | @ check %d %d emit %d %d | "
                                 "@ check %d %d emit %d %d | @ check %d %d say %s exit %d",
                                 seed[0], n[0], seed[0], n[0], seed[1], n[1], seed[1], n[1],
                                 seed[2], n[2], seed[2], n[2], said, status);
    program_start(p);
    expect_pipeline_status(p, status, "the status of the last stage; each stage checked its input");
    expect_bytes(p, said, strlen(said), "what the last stage says");
    expect_links(p, (uint64_t[]){(uint64_t)n[0], (uint64_t)n[1], (uint64_t)n[2]}, 3);
}

TEST(meter, all_links_at_once, "a link moves while the one before it is full")
{
    struct random r = random_from_test();
    const char *first = word(&r), *last = word(&r);
    int seed = between(&r, 1, 1 << 30), count = between(&r, 300000, 400000);

    /* The middle stage reads nothing until the right one has got its word: link 1 is full then. */
    gate_make("full");
    gate_make("got");
    struct program *p = pipeline("--meter @ emit %d %d | "
                                 "@ await full say %s await got check %d %d say %s | "
                                 "@ echo %zu post got copy",
                                 seed, count, first, seed, count, last, strlen(first));
    program_start(p);
    wait_quiet(p, "link 1 is full, since the middle stage does not read yet");
    gate_open("full", 1);
    expect_pipeline_status(p, 0,
                           "all links move at once: link 2 carries a word while link 1 is full and "
                           "its reader waits for what that word sets off");
    expect_bytes(p, text("%s%s", first, last), strlen(first) + strlen(last),
                 "what came over link 2, before and after");
    expect_links(p, (uint64_t[]){(uint64_t)count, strlen(first) + strlen(last)}, 2);
}

TEST(meter, right_stage_stops, "--meter yes '|' head -1 ends")
{
    struct program *p = pipeline("--meter yes | head -1");
    program_start(p);
    expect_pipeline_status(p, 0,
                           "the status of head; what it no longer takes ends the output of yes");
    expect_bytes(p, "y\n", 2, "the one line that head prints");
    expect_link_lines(p, 1);
}
