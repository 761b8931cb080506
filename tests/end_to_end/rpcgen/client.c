/*
 * client.c - a client of the calculator whose stub rpcgen has written, for test_peers_rpc.py.
 *
 *     client tcp|fragments|udp ADDRESS PORT
 *
 * Each line of stdin is a call, as calc's command line has it ("add 1 2"); its answer is a line on
 * stdout: the value, "divide by zero", "overflow", or what the RPC library has to complain about.
 * All calls go through one connection; with `fragments` in records of many small fragments.
 */
#include "calc.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    VECTOR_MAX = 1024,
    SMALLEST = 100, /* the library takes no smaller buffer; one of 0 is its own choice */
};

/* The library's type for it lacks the parameters. */
static const xdrproc_t nothing = (xdrproc_t)(void (*)(void))xdr_void;

static void complain(const char *what)
{
    clnt_pcreateerror(what);
    exit(1);
}

static CLIENT *connect_to(const char *transport, const char *address, const char *port)
{
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    struct timeval again = {.tv_sec = 1};
    int fd = RPC_ANYSOCK;
    CLIENT *client;

    if (inet_pton(AF_INET, address, &server.sin_addr) != 1)
        complain(address);
    if (strcmp(transport, "udp") == 0)
        client = clntudp_create(&server, CALC_PROG, CALC_VERS, again, &fd);
    else
        client = clnttcp_create(&server, CALC_PROG, CALC_VERS, &fd,
                                strcmp(transport, "tcp") == 0 ? 0 : SMALLEST, 0);
    if (client == NULL)
        complain(transport);
    return client;
}

/* The procedure of the name `op`, with the numbers in `values`. */
static enum clnt_stat call(CLIENT *client, const char *op, quad_t *values, u_int count,
                           calc_result *result)
{
    calc_args args = {values[0], values[1]};
    calc_vector vector = {count, values};
    struct timeval patience = {.tv_sec = 25};

    if (strcmp(op, "add") == 0)
        return calc_add_1(&args, result, client);
    if (strcmp(op, "sub") == 0)
        return calc_sub_1(&args, result, client);
    if (strcmp(op, "mul") == 0)
        return calc_mul_1(&args, result, client);
    if (strcmp(op, "div") == 0)
        return calc_div_1(&args, result, client);
    if (strcmp(op, "sum") == 0)
        return calc_sum_1(&vector, result, client);
    if (strcmp(op, "acc") == 0)
        return calc_accumulate_1(&values[0], result, client);
    /* rpcgen makes no stub for procedure 0. So any number may be called, also one too many. */
    return clnt_call(client, (rpcproc_t)atoi(op), nothing, NULL, nothing, NULL, patience);
}

int main(int argc, char **argv)
{
    static char line[VECTOR_MAX * 21 + 100];
    CLIENT *client;

    if (argc != 4) {
        fprintf(stderr, "usage: client tcp|fragments|udp ADDRESS PORT\n");
        return 2;
    }
    client = connect_to(argv[1], argv[2], argv[3]);
    while (fgets(line, sizeof line, stdin) != NULL) {
        quad_t values[VECTOR_MAX] = {0};
        u_int count = 0;
        char *rest = line;
        const char *op = strtok_r(line, " \n", &rest), *word;
        calc_result result = {.status = CALC_OK};
        enum clnt_stat status;

        if (op == NULL)
            break;
        while (count < VECTOR_MAX && (word = strtok_r(NULL, " \n", &rest)) != NULL)
            values[count++] = strtoll(word, NULL, 10);
        status = call(client, op, values, count, &result);
        if (status != RPC_SUCCESS)
            printf("%s\n", clnt_sperror(client, op));
        else if (result.status == CALC_DIVIDE_BY_ZERO)
            printf("divide by zero\n");
        else if (result.status == CALC_OVERFLOW)
            printf("overflow\n");
        else
            printf("%" PRId64 "\n", (int64_t)result.calc_result_u.value);
        fflush(stdout);
    }
    clnt_destroy(client);
    return 0;
}
