/* Memory and descriptors, under valgrind, where something goes another way. */
#include "suites/pipe/peer/pipe.h"

#include <string.h>

TEST(memcheck, cannot_start, "nothing is left behind when a stage can't start")
{
    struct random r = random_from_test();

    struct program *p = pipeline("--meter no-such-%s | @ drain | @ arrive ran", word(&r));
    program_memcheck(p);
    program_start(p);
    expect_pipeline_status(p, 0, "the status of the last stage; the first can't start");
    file_text("ran", NULL, "the last stage runs");
    expect_memory_clean(p);
}

TEST(memcheck, child_first, "nothing is left behind when the coprocess ends before our stdin")
{
    struct random r = random_from_test();
    const char *said = word(&r);

    gate_make("gate");
    struct program *p = pipeline("--coprocess @ say %s arrive child await gate exit 0", said);
    program_memcheck(p);
    program_start(p);
    file_wait(p, "child", "the child runs");
    gate_open("gate", 1);
    expect_pipeline_status(p, 0, "the status of the child");
    expect_bytes(p, said, strlen(said), "what the child said");
    expect_memory_clean(p);
}
