/*
 * tirpc_server.c - an independent server: dispatcher and XDR are rpcgen's, from the lab's calc.x,
 * the rest is libtirpc.
 *
 *     tirpc_server [program|version|procedure|arguments|system|credentials]
 *
 * Prints "listening on TCP-PORT UDP-PORT", each a port on loopback that the system has chosen, and
 * serves until it is killed. With an argument it refuses every call, for the reason that the
 * argument names. Nobody is asked for leave and nothing registered: there is no rpcbind.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Written at build time; they lie in a folder of system headers, so that nobody warns of them. */
#include <calc.h>
#include <calc_xdr.c>
#include <calc_svc.c>

enum { BACKLOG = 16 };

static bool_t result_is(calc_result *result, bool overflow, quad_t value)
{
    result->status = overflow ? CALC_OVERFLOW : CALC_OK;
    result->calc_result_u.value = value;
    return TRUE;
}

bool_t calc_add_1_svc(calc_args args, calc_result *result, struct svc_req *request)
{
    quad_t value;
    (void)request;
    bool overflow = __builtin_add_overflow(args.a, args.b, &value);
    return result_is(result, overflow, value);
}

bool_t calc_sub_1_svc(calc_args args, calc_result *result, struct svc_req *request)
{
    quad_t value;
    (void)request;
    bool overflow = __builtin_sub_overflow(args.a, args.b, &value);
    return result_is(result, overflow, value);
}

bool_t calc_mul_1_svc(calc_args args, calc_result *result, struct svc_req *request)
{
    quad_t value;
    (void)request;
    bool overflow = __builtin_mul_overflow(args.a, args.b, &value);
    return result_is(result, overflow, value);
}

bool_t calc_div_1_svc(calc_args args, calc_result *result, struct svc_req *request)
{
    (void)request;
    if (args.b == 0) {
        result->status = CALC_DIVIDE_BY_ZERO;
        return TRUE;
    }
    bool overflow = args.b == -1 && args.a == INT64_MIN;
    return result_is(result, overflow, overflow ? 0 : args.a / args.b);
}

bool_t calc_sum_1_svc(calc_vector vector, calc_result *result, struct svc_req *request)
{
    quad_t sum = 0;
    bool overflow = false;
    (void)request;
    for (u_int i = 0; i < vector.calc_vector_len && !overflow; i++)
        overflow = __builtin_add_overflow(sum, vector.calc_vector_val[i], &sum);
    return result_is(result, overflow, sum);
}

bool_t calc_accumulate_1_svc(quad_t number, calc_result *result, struct svc_req *request)
{
    static quad_t total;
    quad_t value;
    (void)request;
    bool overflow = __builtin_add_overflow(total, number, &value);
    if (!overflow)
        total = value;
    return result_is(result, overflow, value);
}

int calc_prog_1_freeresult(SVCXPRT *transport, xdrproc_t xdr_result, caddr_t result)
{
    (void)transport;
    xdr_free(xdr_result, result);
    return 1;
}

static const char *reason = "";

static void refuse(struct svc_req *request, SVCXPRT *transport)
{
    (void)request;
    if (strcmp(reason, "procedure") == 0)
        svcerr_noproc(transport);
    else if (strcmp(reason, "arguments") == 0)
        svcerr_decode(transport);
    else if (strcmp(reason, "system") == 0)
        svcerr_systemerr(transport);
    else
        svcerr_weakauth(transport);
}

static bool_t answer_at(SVCXPRT *transport)
{
    /* What is registered is another program, or version, than the one that is called. */
    bool program = strcmp(reason, "program") == 0, version = strcmp(reason, "version") == 0;
    bool refuses = *reason != '\0' && !program && !version;
    return svc_reg(transport, CALC_PROG + program, CALC_VERS + version,
                   refuses ? refuse : calc_prog_1, NULL);
}

/* Returns the port, 0 on a failure. */
static int serve(bool tcp)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof at;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, tcp ? SOCK_STREAM : SOCK_DGRAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) != 0 ||
        (tcp && listen(fd, BACKLOG) != 0) || getsockname(fd, (struct sockaddr *)&at, &len) != 0)
        return 0;
    SVCXPRT *transport = tcp ? svc_vc_create(fd, 0, 0) : svc_dg_create(fd, 0, 0);
    if (transport == NULL || !answer_at(transport))
        return 0;
    return ntohs(at.sin_port);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        reason = argv[1];
    int tcp = serve(true), udp = serve(false);
    if (tcp == 0 || udp == 0) {
        fputs("tirpc_server: no port\n", stderr);
        return 1;
    }
    printf("listening on %d %d\n", tcp, udp);
    fflush(stdout);
    svc_run();
    return 1;
}
