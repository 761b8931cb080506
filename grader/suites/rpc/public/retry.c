/* calc over UDP, with the grader as its server. */
#include "suites/rpc/peer/rpc.h"

#include <string.h>

TEST(retry, call, "a call is one datagram, its reply another")
{
    struct random r = random_from_test();
    const int64_t numbers[] = {(int64_t)random_u64(&r), between(&r, 1, 1000)};
    struct endpoint *server = net_datagrams(AF_INET, "our server");
    int from, value = between(&r, -1000, -1);
    struct program *p =
        calc("-u", server, text("sum %lld %lld", (long long)numbers[0], (long long)numbers[1]));
    struct wire call = receive_call(server, &from, "calc -u sends its call as a datagram"), reply;
    expect_call(&call, call_sum(0, numbers, 2), "the call of SUM, without a record mark");
    reply = reply_value(get_u32(call.bytes), value);
    net_send_to(server, from, reply.bytes, reply.len);
    expect_printed(p, text("%d\n", value), "the value of the reply");
}

TEST(retry, same_call, "without a reply the same bytes come again, with the same xid")
{
    struct random r = random_from_test();
    struct endpoint *server = net_datagrams(AF_INET, "our server");
    int from, again, number = between(&r, 1, 1000);
    struct program *p = calc("-u", server, text("acc %d", number));
    struct wire call = receive_call(server, &from, "calc -u sends its call"), reply;
    expect_call(&call, call_accumulate(0, number), "the call of ACCUMULATE");
    for (int i = 2; i <= 3; i++) {
        struct wire next =
            receive_call(server, &again, "calc -u sends its call again when no reply comes");
        EXPECT(next.len == call.len && memcmp(next.bytes, call.bytes, call.len) == 0,
               text("the same %zu bytes again: %s", call.len, hex(call.bytes, call.len)),
               text("the %zu bytes %s", next.len, hex(next.bytes, next.len)));
        EXPECT(again == from,
               "they come from the same port: it is part of what the server knows "
               "a call by",
               "they come from another one");
    }
    reply = reply_value(get_u32(call.bytes), number);
    net_send_to(server, from, reply.bytes, reply.len);
    expect_printed(p, text("%d\n", number), "the value of the reply");
}
