/* Memory and descriptors, under valgrind. */
#include "suites/rpc/peer/rpc.h"

TEST(memcheck, server, "calcd gives back what it took: TCP, UDP, SIGTERM")
{
    struct random r = random_from_test();
    int64_t numbers[100], total = 0;
    for (int i = 0; i < 100; i++)
        numbers[i] = (int64_t)random_u64(&r) >> 8;
    struct server s = calcd_checked();
    struct endpoint *e = connection(&s, "a client"), *u = net_datagrams(AF_INET, "a UDP client");
    for (uint32_t i = 1; i <= 10; i++) {
        struct wire call = call_random(&r, i);
        expect_called(e, &call, &total);
        call = call_random(&r, i + 10);
        expect_answered(u, &s, &call, &total);
    }
    struct wire call = call_sum(1, numbers, 100);
    expect_called(e, &call, NULL);
    endpoint_close(e);
    e = connection(&s, "a client that stays");
    expect_called(e, &call, NULL);
    calcd_end(&s);
    expect_memory_clean(s.p);
}

TEST(memcheck, client, "calc gives back what it took")
{
    struct random r = random_from_test();
    struct endpoint *server = our_listener();
    int value = between(&r, 1, 1000);
    struct program *p =
        command("calc -t 60000 localhost %d sum 1 2 3 4 5 6 7 8 9", endpoint_port(server));
    program_memcheck(p);
    program_start(p);
    program_close_input(p);
    struct wire call, reply;
    struct endpoint *e = accept_call(server, &call);
    reply = reply_value(get_u32(call.bytes), value);
    record_send(e, &reply);
    expect_printed(p, text("%d\n", value), "the value of the reply");
    expect_memory_clean(p);
}
