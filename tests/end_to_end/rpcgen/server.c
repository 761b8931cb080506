/*
 * server.c - a server of the calculator whose stub rpcgen has written, for test_peers_rpc.py.
 *
 *     server [program|version|procedure|arguments|system|credentials]
 *
 * Prints "listening on TCP-PORT UDP-PORT", both on loopback alone and known to no rpcbind, and
 * serves until it is killed. With an argument it refuses every call, for the reason that the
 * argument names. The generated dispatcher, calc_prog_1(), comes from calc_svc.c.
 */
#include "calc.h"

#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void calc_prog_1(struct svc_req *request, SVCXPRT *transport);

/* ---- the procedures ---- */

static bool_t answer(calc_result *result, bool_t overflow)
{
    result->status = overflow ? CALC_OVERFLOW : CALC_OK;
    return TRUE;
}

bool_t calc_add_1_svc(calc_args *args, calc_result *result, struct svc_req *request)
{
    (void)request;
    return answer(result, __builtin_add_overflow(args->a, args->b, &result->calc_result_u.value));
}

bool_t calc_sub_1_svc(calc_args *args, calc_result *result, struct svc_req *request)
{
    (void)request;
    return answer(result, __builtin_sub_overflow(args->a, args->b, &result->calc_result_u.value));
}

bool_t calc_mul_1_svc(calc_args *args, calc_result *result, struct svc_req *request)
{
    (void)request;
    return answer(result, __builtin_mul_overflow(args->a, args->b, &result->calc_result_u.value));
}

bool_t calc_div_1_svc(calc_args *args, calc_result *result, struct svc_req *request)
{
    (void)request;
    if (args->b == 0) {
        result->status = CALC_DIVIDE_BY_ZERO;
        return TRUE;
    }
    if (args->a == INT64_MIN && args->b == -1)
        return answer(result, TRUE);
    result->calc_result_u.value = args->a / args->b;
    return answer(result, FALSE);
}

bool_t calc_sum_1_svc(calc_vector *vector, calc_result *result, struct svc_req *request)
{
    bool_t overflow = FALSE;

    (void)request;
    result->calc_result_u.value = 0;
    for (u_int i = 0; i < vector->calc_vector_len && !overflow; i++)
        overflow = __builtin_add_overflow(result->calc_result_u.value, vector->calc_vector_val[i],
                                          &result->calc_result_u.value);
    return answer(result, overflow);
}

bool_t calc_accumulate_1_svc(quad_t *number, calc_result *result, struct svc_req *request)
{
    static quad_t total;
    bool_t overflow = __builtin_add_overflow(total, *number, &result->calc_result_u.value);

    (void)request;
    if (!overflow)
        total = result->calc_result_u.value;
    return answer(result, overflow);
}

int calc_prog_1_freeresult(SVCXPRT *transport, xdrproc_t procedure, caddr_t result)
{
    (void)transport;
    xdr_free(procedure, result);
    return 1;
}

/* ---- refusals ---- */

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

/* ---- two sockets ---- */

static void need(int is_right, const char *what)
{
    if (!is_right) {
        perror(what);
        exit(1);
    }
}

/* A socket on loopback, at a port that the system chooses and that is left in *port. */
static int bound_socket(int type, int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, type, 0);

    need(fd >= 0, "socket");
    need(bind(fd, (struct sockaddr *)&address, sizeof address) == 0, "bind");
    /* The library listens only at sockets that it has bound itself. */
    need(type != SOCK_STREAM || listen(fd, SOMAXCONN) == 0, "listen");
    need(getsockname(fd, (struct sockaddr *)&address, &size) == 0, "getsockname");
    *port = ntohs(address.sin_port);
    return fd;
}

int main(int argc, char **argv)
{
    int tcp_port, udp_port;
    SVCXPRT *tcp = svctcp_create(bound_socket(SOCK_STREAM, &tcp_port), 0, 0);
    SVCXPRT *udp = svcudp_create(bound_socket(SOCK_DGRAM, &udp_port));
    void (*serve)(struct svc_req *, SVCXPRT *) = calc_prog_1;
    u_long program = CALC_PROG, version = CALC_VERS;

    if (argc > 1)
        reason = argv[1];
    if (strcmp(reason, "program") == 0)
        program++;
    else if (strcmp(reason, "version") == 0)
        version++;
    else if (argc > 1)
        serve = refuse;
    /* Protocol 0: no rpcbind is told. */
    need(tcp != NULL && svc_register(tcp, program, version, serve, 0), "svc_register, tcp");
    need(udp != NULL && svc_register(udp, program, version, serve, 0), "svc_register, udp");
    printf("listening on %d %d\n", tcp_port, udp_port);
    fflush(stdout);
    svc_run();
    return 1;
}
