/* What people type. */
#include "suites/rpc/peer/rpc.h"

TEST(ends, usage, "wrong usage of calcd: exit 2, and nobody is served")
{
    static const char *const wrong[] = {"x",      "-p", "-p x",   "-p 65536",
                                        "-p 12x", "-x", "-p -1",  "-p 0 x",
                                        "-p ''",  "0",  "-p 4e3", "-p 99999999"};
    struct server s = calcd("-p 0");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        expect_usage(text("calcd %s", wrong[i]), "wrong usage");
    expect_alive(&s, "another one was started with wrong usage");
    calcd_end(&s);
}
