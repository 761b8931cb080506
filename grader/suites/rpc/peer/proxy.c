/*
 * proxy.c - a bad network between any calc and calcd, for UDP (RFC 768 promises neither that a
 * datagram comes, nor that it comes once, nor an order).
 *
 * It looks at no datagram: who sends from a new port has a path of its own, with a socket of its
 * own towards calcd, so that calcd tells the callers apart by their ports as it would without it.
 */
#include "suites/rpc/peer/proxy.h"

#include <string.h>

/* What befalls the datagrams of a path. A calc that keeps its times has its reply at 600 ms. */
enum fate {
    FATE_CALL_LOST,
    FATE_REPLY_LOST,
    FATE_CALL_DOUBLED,
    FATE_CALL_LATE, /* the first copy comes behind the second */
    FATE_REPLY_DOUBLED,
    FATE_REPLY_LATE,
    FATE_CALL_LOST_TWICE,
    FATE_DOUBLED_AND_LOST, /* the call is doubled, and the reply to its first copy is lost */
    FATES
};

/* One direction of a path: how many datagrams have come for it, and the one that is held back. */
struct lane {
    int come;
    bool held;
    struct wire late;
};

struct path {
    struct proxy *proxy;
    struct endpoint *back;
    int port; /* the caller's */
    enum fate fate;
    struct lane calls, replies;
    struct wire brought; /* the last reply that was delivered */
};

struct proxy {
    struct endpoint *front;
    int server_port;
    struct random *random;
    enum fate fates[PROXY_PATHS];
    struct path paths[PROXY_PATHS];
    size_t count;
};

struct proxy *proxy_open(const struct server *s, struct random *r)
{
    static struct proxy p;
    p = (struct proxy){.front = net_datagrams(AF_INET, "the network, towards calc"),
                       .server_port = s->port,
                       .random = r};
    for (size_t i = 0; i < PROXY_PATHS; i++)
        p.fates[i] = (enum fate)(i % FATES);
    random_shuffle(r, p.fates, PROXY_PATHS, sizeof *p.fates);
    return &p;
}

struct endpoint *proxy_front(const struct proxy *p)
{
    return p->front;
}

static struct path *path_of(struct proxy *p, int port)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->paths[i].port == port)
            return &p->paths[i];
    EXPECT(p->count < PROXY_PATHS, "a call that is sent again comes from the same port",
           text("calls from more than %d ports, of %d programs", PROXY_PATHS, PROXY_PATHS));
    struct path *path = &p->paths[p->count];
    *path = (struct path){.proxy = p,
                          .port = port,
                          .fate = p->fates[p->count],
                          .back = net_datagrams(AF_INET, "the network, towards calcd")};
    p->count++;
    return path;
}

static void send_call(struct path *path, const struct wire *w)
{
    net_send_to(path->back, path->proxy->server_port, w->bytes, w->len);
}

static void send_reply(struct path *path, const struct wire *w)
{
    path->brought = *w;
    net_send_to(path->proxy->front, path->port, w->bytes, w->len);
}

/* The next datagram of a lane: `lost` of the first are lost; the first one is doubled, or late. */
static void carry(struct path *path, struct lane *lane, const struct wire *w, int lost,
                  bool doubled, bool late, void (*send)(struct path *path, const struct wire *w))
{
    int which = lane->come++;
    if (which < lost)
        return;
    if (late && which == 0) {
        lane->late = *w;
        lane->held = true;
        return;
    }
    send(path, w);
    if (doubled && which == 0)
        send(path, w);
    if (lane->held)
        send(path, &lane->late);
    lane->held = false;
}

static void carry_call(struct path *path, const struct wire *w)
{
    int lost = path->fate == FATE_CALL_LOST ? 1 : path->fate == FATE_CALL_LOST_TWICE ? 2 : 0;
    bool doubled = path->fate == FATE_CALL_DOUBLED || path->fate == FATE_DOUBLED_AND_LOST;
    carry(path, &path->calls, w, lost, doubled, path->fate == FATE_CALL_LATE, send_call);
}

static void carry_reply(struct path *path, const struct wire *w)
{
    bool lost = path->fate == FATE_REPLY_LOST || path->fate == FATE_DOUBLED_AND_LOST;
    carry(path, &path->replies, w, lost, path->fate == FATE_REPLY_DOUBLED,
          path->fate == FATE_REPLY_LATE, send_reply);
}

void proxy_carry(struct proxy *p)
{
    enum { TOGETHER = 32 };
    static struct {
        int from;
        struct wire bytes;
    } calls[TOGETHER];
    size_t count = 0;
    const struct datagram *d;
    while (count < TOGETHER && (d = net_receive_now(p->front)) != NULL) {
        calls[count].from = d->port;
        calls[count++].bytes = wire_of(d);
    }
    /* What has come together arrives in an order of its own. */
    random_shuffle(p->random, calls, count, sizeof *calls);
    for (size_t i = 0; i < count; i++)
        carry_call(path_of(p, calls[i].from), &calls[i].bytes);
    for (size_t i = 0; i < p->count; i++) {
        while ((d = net_receive_now(p->paths[i].back)) != NULL) {
            struct wire reply = wire_of(d);
            carry_reply(&p->paths[i], &reply);
        }
    }
}

bool proxy_has_brought(const struct proxy *p, int64_t value)
{
    const struct wire want = reply_value(0, value);
    for (size_t i = 0; i < p->count; i++) {
        const struct wire *got = &p->paths[i].brought;
        if (got->len == want.len && memcmp(got->bytes + 4, want.bytes + 4, want.len - 4) == 0)
            return true; /* all but the xid */
    }
    return false;
}
