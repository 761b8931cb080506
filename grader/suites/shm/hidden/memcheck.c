/* Memory and descriptors, under valgrind, where something goes another way. */
#include "suites/shm/peer/shm.h"

#include <string.h>

static struct program *checked(const char *program, const char *name)
{
    struct program *p = program_new(program);
    program_arg(p, name);
    program_memcheck(p);
    return p;
}

TEST(memcheck, create,
     "ring create leaves no memory and no descriptor behind, and sets all that it writes")
{
    struct random r = random_from_test();
    const char *name = ring_name(&r);

    struct program *p = checked("ring", "create");
    program_args(p, name, "6", "--unbounded", NULL);
    program_start(p);
    expect_success(p);
    struct segment *s = segment_open(name, "ring create makes the object");
    expect_field(s, AT_CAPACITY, 6, "after ring create");
    expect_memory_clean(p);
}

TEST(memcheck, info, "ring info and ring destroy leave no memory and no descriptor behind")
{
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 6, false);

    struct program *p = checked("ring", "info");
    program_arg(p, s->name);
    program_start(p);
    struct segment *other = segment_make(ring_name(&r), 2, false);
    struct program *destroy = checked("ring", "destroy"); /* at once: a start costs a second */
    program_arg(destroy, other->name);
    program_start(destroy);
    expect_success(p);
    expect_output_text(p, info_line(s));
    expect_memory_clean(p);
    expect_success(destroy);
    EXPECT(!segment_there(other->name), "the name is gone", "it is still there");
    expect_memory_clean(destroy);
}

TEST(memcheck, growth, "a producer that grows a wrapped ring reads and writes nothing but the ring")
{
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 3, true);
    const char *line = letters(&r, ITEM_MAX);

    set64(s, AT_HEAD, 4);
    set64(s, AT_TAIL, 4);
    struct program *p = checked("producer", s->name);
    program_start(p);
    for (int i = 0; i < 60; i++)
        send_line(p, line);
    program_close_input(p);
    expect_success(p);
    expect_field(s, AT_CAPACITY, 96, "60 items in a ring that began with 3 places");
    expect_item(s, 63, line, ITEM_MAX, "after the growth");
    expect_memory_clean(p);
}

TEST(memcheck, follows, "a consumer that follows growths leaves no memory and no descriptor behind")
{
    struct random r = random_from_test();
    struct segment *s = segment_make(ring_name(&r), 1, true);
    struct program *c = checked("consumer", s->name);

    segment_attach(s);
    program_start(c);
    for (int i = 0; i < 40; i++)
        segment_put_text(s, "0123456789");
    expect_line_text(c, "0123456789");
    for (int i = 0; i < 90; i++)
        segment_put_text(s, "abc");
    segment_detach(s);
    expect_success(c);
    program_wait_output_end(c, 1);
    EXPECT(program_output_total(c, 1) == 40 * 11 + 90 * 4, "all items come out",
           text("%d bytes", (int)program_output_total(c, 1)));
    expect_memory_clean(c);
}
