/* Memory and descriptors, under valgrind. */
#include "suites/shm/peer/shm.h"

#include <string.h>

TEST(memcheck, producer, "a producer leaves no memory and no descriptor behind")
{
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 3, false);
    const char *first = word(&r), *second = word(&r);

    struct program *p = program_new("producer");
    program_arg(p, s->name);
    program_memcheck(p);
    program_start(p);
    send_line(p, first);
    send_line(p, second);
    program_close_input(p);
    expect_success(p);
    expect_item(s, 0, first, strlen(first), "after the end of the producer");
    expect_item(s, 1, second, strlen(second), "after the end of the producer");
    expect_memory_clean(p);
}

TEST(memcheck, consumer, "a consumer leaves no memory and no descriptor behind")
{
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 3, false);
    const char *first = word(&r), *second = word(&r);

    segment_attach(s);
    segment_put_text(s, first);
    segment_put_text(s, second);
    segment_detach(s);
    struct program *c = program_new("consumer");
    program_arg(c, s->name);
    program_memcheck(c);
    program_start(c);
    expect_end(c);
    expect_output_text(c, text("%s\n%s\n", first, second));
    expect_memory_clean(c);
}
