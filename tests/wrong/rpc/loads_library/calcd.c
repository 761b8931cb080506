/* What: calcd is libtirpc's server, loaded while it runs: nothing of the lab is its own.
 * Passes: */
#include <dlfcn.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PROGRAM = 0x20000415, VERSION = 1, MAX_VALUES = 1024 };

/* The library's types, as far as they are needed; its headers may not be there. */
struct request {
    uint32_t program, version, procedure;
};
typedef int convert(void *stream, void *value);
struct transport {
    int fd;
    unsigned short port;
    int (**operations)(struct transport *t, convert *c, void *value);
};
enum { GET_ARGUMENTS = 2 };

struct pair {
    int64_t a, b;
};
struct values {
    uint32_t count;
    int64_t *all;
};
struct result {
    int32_t status;
    int64_t value;
};

static convert *hyper, *integer, *nothing;
static int (*array)(void *stream, int64_t **all, uint32_t *count, unsigned most, unsigned size,
                    convert *each);
static int (*reply)(struct transport *t, convert *c, void *value);
static void (*no_procedure)(struct transport *t);
static void (*not_decoded)(struct transport *t);

static int convert_pair(void *stream, void *value)
{
    struct pair *p = value;
    return hyper(stream, &p->a) && hyper(stream, &p->b);
}

static int convert_values(void *stream, void *value)
{
    struct values *v = value;
    return array(stream, &v->all, &v->count, MAX_VALUES, sizeof *v->all, hyper);
}

static int convert_result(void *stream, void *value)
{
    struct result *r = value;
    return integer(stream, &r->status) && (r->status != 0 || hyper(stream, &r->value));
}

static int decode(struct transport *t, convert *c, void *value)
{
    return t->operations[GET_ARGUMENTS](t, c, value);
}

static struct result divide(struct pair p)
{
    struct result r = {0, 0};
    if (p.b == 0)
        r.status = 1;
    else if (p.a == INT64_MIN && p.b == -1)
        r.status = 2;
    else
        r.value = p.a / p.b;
    return r;
}

static void dispatch(struct request *call, struct transport *t)
{
    static int64_t total, all[MAX_VALUES];
    struct result r = {0, 0};
    struct values v = {0, all};
    struct pair p = {0, 0};
    int decoded = 1, over = 0;

    switch (call->procedure) {
    case 0:
        reply(t, nothing, NULL);
        return;
    case 1:
    case 2:
    case 3:
    case 4:
        decoded = decode(t, convert_pair, &p);
        if (call->procedure == 1)
            over = __builtin_add_overflow(p.a, p.b, &r.value);
        else if (call->procedure == 2)
            over = __builtin_sub_overflow(p.a, p.b, &r.value);
        else if (call->procedure == 3)
            over = __builtin_mul_overflow(p.a, p.b, &r.value);
        else
            r = divide(p);
        break;
    case 5:
        decoded = decode(t, convert_values, &v);
        for (uint32_t i = 0; decoded && i < v.count && !over; i++)
            over = __builtin_add_overflow(r.value, v.all[i], &r.value);
        break;
    case 6:
        decoded = decode(t, hyper, &p.a);
        over = decoded && __builtin_add_overflow(total, p.a, &r.value);
        total = over ? total : r.value;
        break;
    default:
        no_procedure(t);
        return;
    }
    if (over)
        r.status = 2;
    if (decoded)
        reply(t, convert_result, &r);
    else
        not_decoded(t);
}

static void end(int signal)
{
    (void)signal;
    _exit(0);
}

/* dlsym(3) tells how: ISO C knows no conversion from void * to a function. */
static void *find(void *library, const char *name)
{
    void *found = dlsym(library, name);
    if (!found)
        exit(1);
    return found;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    void *(*stream_transport)(int fd, unsigned send, unsigned receive);
    void *(*datagram_transport)(int fd, unsigned send, unsigned receive);
    int (*add)(void *t, uint32_t program, uint32_t version,
               void (*d)(struct request *, struct transport *), void *network);
    void (*run)(void);
    int on = 1, tcp = socket(AF_INET, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0);
    void *library = dlopen("libtirpc.so.3", RTLD_NOW | RTLD_GLOBAL);

    if (!library) {
        fprintf(stderr, "calcd: %s\n", dlerror());
        return 1;
    }
    *(void **)&hyper = find(library, "xdr_hyper");
    *(void **)&integer = find(library, "xdr_int");
    *(void **)&nothing = find(library, "xdr_void");
    *(void **)&array = find(library, "xdr_array");
    *(void **)&reply = find(library, "svc_sendreply");
    *(void **)&no_procedure = find(library, "svcerr_noproc");
    *(void **)&not_decoded = find(library, "svcerr_decode");
    *(void **)&stream_transport = find(library, "svc_vc_create");
    *(void **)&datagram_transport = find(library, "svc_dg_create");
    *(void **)&add = find(library, "svc_reg");
    *(void **)&run = find(library, "svc_run");
    signal(SIGTERM, end);
    signal(SIGINT, end);
    address.sin_port = htons((uint16_t)(argc == 3 ? atoi(argv[2]) : 0));
    setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(tcp, (struct sockaddr *)&address, size) || listen(tcp, SOMAXCONN) ||
        getsockname(tcp, (struct sockaddr *)&address, &size) ||
        bind(udp, (struct sockaddr *)&address, size))
        return 1;
    add(stream_transport(tcp, 0, 0), PROGRAM, VERSION, dispatch, NULL);
    add(datagram_transport(udp, 0, 0), PROGRAM, VERSION, dispatch, NULL);
    printf("listening on %d\n", ntohs(address.sin_port));
    fflush(stdout);
    run();
    return 1;
}
