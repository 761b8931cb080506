/* calc and calcd, with a bad network between them. */
#include "suites/rpc/peer/proxy.h"

#include <inttypes.h>
#include <stdio.h>

struct callers {
    struct proxy *proxy;
    struct program *calc[PROXY_PATHS];
};

static bool all_have_ended(void *context)
{
    const struct callers *c = context;
    bool all = true;
    proxy_carry(c->proxy);
    for (int i = 0; i < PROXY_PATHS; i++)
        all &= program_has_ended(c->calc[i]);
    return all;
}

/* The total that a calc was answered. */
static int64_t printed(struct program *p)
{
    int64_t total = 0;
    char more;
    size_t len;
    expect_status(p, 0, "calc has its reply, over a network that loses, doubles and reorders");
    const char *line = program_read_line(p, 1, &len);
    if (line == NULL || sscanf(text("%.*s", (int)len, line), "%" SCNd64 "%c", &total, &more) != 1)
        test_fail("calc prints the total, a line",
                  line != NULL ? quoted(line, len, 100) : "no line on its standard output");
    return total;
}

/*
 * Each adds a power of two of its own: so a total tells whose calls were executed before it, and
 * how often. In which order they are is free. From where they count on, another client has made;
 * and what a calc prints, the network has brought: it can't come from anywhere else.
 */
TEST(together, network, "calc and calcd over a network that loses, doubles and reorders")
{
    struct random r = random_from_test();
    struct server s = calcd("");
    struct callers c = {.proxy = proxy_open(&s, &r)};
    int64_t total = 0, after[PROXY_PATHS];
    total_moves(s.port, &r, &total);
    const int64_t before = total;
    for (int i = 0; i < PROXY_PATHS; i++)
        c.calc[i] = calc("-u", proxy_front(c.proxy), text("acc %d", 1 << i));
    wait_until(all_have_ended, &c,
               "each calc gets its reply, over a network that loses, doubles and reorders");
    for (int i = 0; i < PROXY_PATHS; i++) {
        after[i] = printed(c.calc[i]);
        EXPECT(proxy_has_brought(c.proxy, after[i]), "calc prints the total of its reply",
               text("%" PRId64 ", of which no reply has come", after[i]));
    }
    /* One call is executed after the other. */
    for (int done = 0; done < PROXY_PATHS; done++) {
        int next = 0;
        while (next < PROXY_PATHS && after[next] != total + (1 << next))
            next++;
        EXPECT(next < PROXY_PATHS,
               text("a call that makes another total of %" PRId64 " (from %" PRId64
                    " on each adds a number of its own, 1 to %d, once)",
                    total, before, 1 << (PROXY_PATHS - 1)),
               text("the totals %" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64
                    ", %" PRId64 ", %" PRId64 " and %" PRId64,
                    after[0], after[1], after[2], after[3], after[4], after[5], after[6],
                    after[7]));
        total = after[next];
    }
    /* What was under way has come; none of it counts once more. */
    wait_quiet(s.p, "calcd waits for its clients");
    struct wire look = call_accumulate((uint32_t)random_u64(&r), 0);
    expect_called(connection(&s, "a client over TCP"), &look, &total);
}
