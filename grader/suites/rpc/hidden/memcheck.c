/* Memory and descriptors under valgrind, where something goes another way. */
#include "suites/rpc/peer/rpc.h"

#include <string.h>

TEST(memcheck, server_hostile,
     "calcd reads nothing that has not come, and keeps nothing of who has "
     "gone")
{
    enum { HEADER = 40 };
    struct random r = random_from_test();
    struct server s = calcd_checked();
    struct endpoint *u = net_datagrams(AF_INET, "a UDP client"), *e;
    int64_t total = 0;
    unsigned char stream[64];
    uint32_t xid = 0;
    for (size_t len = 0; len < 56; len += 3) { /* over UDP each message has its own end */
        struct wire w = call_two(++xid, ADD, 1, 2), reply;
        w.len = len;
        if (answer_to(w.bytes, w.len, NULL, &reply))
            expect_answered(u, &s, &w, NULL);
        else
            net_send_to(u, s.port, w.bytes, w.len);
    }
    for (int i = 0; i < 20; i++) {
        struct wire w = call_random(&r, ++xid);
        if (w.len > HEADER)
            w.len -= random_below(&r, w.len - HEADER);
        expect_answered(u, &s, &w, &total);
        if (i % 4 == 0) { /* again: from memory */
            net_send_to(u, s.port, w.bytes, w.len);
            net_receive(u, "the reply to a repeated call");
        }
    }
    struct wire call = call_two(++xid, ADD, 1, 2);
    for (int i = 0; i < 6; i++) {
        size_t len = 0;
        e = connection(&s, "a client that goes in the middle of a call");
        record_append(stream, sizeof stream, &len, &call, 50);
        endpoint_send(e, stream, i == 0 ? 2 : len - 1);
        if (i % 2)
            endpoint_reset(e);
        else
            endpoint_close(e);
    }
    e = connection(&s, "a client of too long a record");
    send_word(e, mark(true, RECORD_MAX + 1));
    endpoint_wait_end(e, "calcd closes the connection of too long a record");
    e = connection(&s, "a client that stays");
    expect_called(e, &call, NULL);
    send_word(e, mark(true, (uint32_t)call.len));
    endpoint_send(e, call.bytes, 20);
    wait_quiet(s.p, "calcd waits for the rest of the call");
    calcd_end(&s);
    expect_memory_clean(s.p);
}

static struct program *checked(const char *options, const struct endpoint *server)
{
    struct program *p =
        command("calc %s -t 60000 127.0.0.1 %d add 1 2", options, endpoint_port(server));
    program_memcheck(p);
    program_start(p);
    program_close_input(p);
    return p;
}

TEST(memcheck, client_udp, "calc reads nothing that has not come")
{
    struct endpoint *server = net_datagrams(AF_INET, "our server");
    for (int kind = 0; kind < 2; kind++) {
        int from;
        struct program *p = checked("-u", server);
        struct wire call = receive_call(server, &from, "calc -u sends its call"), reply;
        uint32_t xid = get_u32(call.bytes);
        net_send_to(server, from, "runt", 3);
        reply = reply_value(xid + 1, 3);
        net_send_to(server, from, reply.bytes, reply.len);
        reply = reply_value(xid, 3);
        net_send_to(server, from, reply.bytes, kind == 1 ? 30 : reply.len);
        if (kind == 0)
            expect_printed(p, "3\n", "the value of the reply");
        else
            expect_failure(p, "the reply is cut");
        expect_memory_clean(p);
        while (net_receive_now(server) != NULL)
            ; /* what it has sent again before the reply came */
    }
}
