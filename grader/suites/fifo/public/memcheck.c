/* Memory and descriptors, under valgrind. */
#include <signal.h>

#include "suites/fifo/peer/fifo.h"

TEST(memcheck, server, "a server leaves no memory and no descriptor behind")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r);
    const char *ops[] = {"ECHO", "UPPER", "REVERSE", "COUNT", "NEXT"};

    struct program *p = command("server", dir, NULL);
    program_memcheck(p);
    program_start(p);
    server_wait(p, dir);
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        struct visitor *v = visitor_new(dir, &r);
        size_t len;
        ask(dir, "%s %zu %s %s", v->pid, i, ops[i], a);
        reply_of_server(v, &len, "the reply to each operation");
        visitor_leaves(v);
    }
    expect_served(dir, &r, "a reply to the last client");
    server_end(p, dir);
    expect_memory_clean(p);
}

TEST(memcheck, client, "a client leaves no memory and no descriptor behind")
{
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *a = word(&r), *b = letters(&r, 3000);

    struct desk *d = desk_open(dir);
    struct program *p = command("client", "-t", "60000", dir, "ECHO", a, NULL);
    program_memcheck(p);
    program_start(p);
    struct request q = expect_request(d, p, "1", "ECHO", a, "from one command");
    struct request other = q;
    other.id = "2";
    answer(d, &other, "OK %s", a);
    answer(d, &q, "OK %s", b);
    expect_status(p, 0, "the reply is there");
    expect_printed(p, text("%s\n", b), "the text of the reply");
    expect_memory_clean(p);
}
