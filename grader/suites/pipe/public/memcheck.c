/* Memory and descriptors, under valgrind. */
#include "suites/pipe/peer/pipe.h"

#include <string.h>

TEST(memcheck, plain, "three stages leave no memory and no descriptor behind")
{
    struct random r = random_from_test();
    const char *said = word(&r);

    struct program *p = pipeline("@ say %s | @ upper | @ copy", said);
    program_memcheck(p);
    program_start(p);
    expect_bytes(p, upper_case(said), strlen(said),
                 "a word that went through the stages, one of which makes it upper case");
    expect_pipeline_status(p, 0, "the status of the last stage");
    expect_memory_clean(p);
}

TEST(memcheck, meter, "two links of --meter leave no memory and no descriptor behind")
{
    struct random r = random_from_test();
    int seed = between(&r, 1, 1 << 30), count = between(&r, 70000, 90000);

    struct program *p =
        pipeline("--meter @ emit %d %d | @ copy | @ check %d %d", seed, count, seed, count);
    program_memcheck(p);
    program_start(p);
    expect_pipeline_status(p, 0, "the status of the last stage, which checked its input");
    expect_links(p, (uint64_t[]){(uint64_t)count, (uint64_t)count}, 2);
    expect_memory_clean(p);
}

TEST(memcheck, coprocess, "a coprocess leaves no memory and no descriptor behind")
{
    enum { COUNT = 100000 };

    struct program *p = pipeline("--coprocess @ arrive child copy");
    program_memcheck(p);
    program_expect_pattern(p, 1, 3);
    program_start(p);
    file_wait(p, "child", "the child runs");
    program_queue_pattern(p, 3, COUNT);
    program_close_input(p);
    expect_pipeline_status(p, 0, "the status of the child");
    program_wait_output_end(p, 1);
    EXPECT(program_output_total(p, 1) == COUNT, "all bytes come back through the child",
           text("%ju of %d bytes", (uintmax_t)program_output_total(p, 1), (int)COUNT));
    expect_memory_clean(p);
}
