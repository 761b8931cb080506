/*
 * tirpc_client.c - an independent client: the stubs are rpcgen's, from the lab's calc.x, the rest
 * is libtirpc.
 *
 *     tirpc_client tcp|fragments|udp PORT
 *
 * reads calls from stdin, a line each, as calc has them ("add 1 -2"; a number is the procedure of
 * that number, without arguments), and prints a line for each: the value, "divide by zero",
 * "overflow", or what the library has to complain about. All go through one connection; with
 * `fragments` in records of many small fragments.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Written at build time; they lie in a folder of system headers, so that nobody warns of them. */
#include <calc.h>
#include <calc_xdr.c>
#include <calc_clnt.c>

enum {
    NUMBERS_MAX = 1024,
    LINE_BYTES = 32768,
    SMALLEST = 100, /* the library takes no smaller buffer; one of 0 is its own choice */
};

static CLIENT *client_to(const char *transport, int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct netbuf address = {.maxlen = sizeof to, .len = sizeof to, .buf = &to};
    bool_t udp = strcmp(transport, "udp") == 0;
    int fd = socket(AF_INET, udp ? SOCK_DGRAM : SOCK_STREAM, 0);
    if (fd < 0)
        return NULL;
    return udp ? clnt_dg_create(fd, &address, CALC_PROG, CALC_VERS, 0, 0)
               : clnt_vc_create(fd, &address, CALC_PROG, CALC_VERS,
                                strcmp(transport, "tcp") == 0 ? 0 : SMALLEST, 0);
}

/* rpcgen makes no stub for procedure 0. So any number may be called, also one too many. */
static enum clnt_stat bare_call(CLIENT *client, rpcproc_t procedure)
{
    struct timeval most = {25, 0};
    xdrproc_t nothing = (xdrproc_t)(void (*)(void))xdr_void;
    return clnt_call(client, procedure, nothing, NULL, nothing, NULL, most);
}

static enum clnt_stat call(CLIENT *client, const char *op, quad_t *numbers, u_int count,
                           calc_result *result)
{
    calc_args two = {numbers[0], numbers[1]};
    calc_vector vector = {count, numbers};
    if (strcmp(op, "add") == 0)
        return calc_add_1(two, result, client);
    if (strcmp(op, "sub") == 0)
        return calc_sub_1(two, result, client);
    if (strcmp(op, "mul") == 0)
        return calc_mul_1(two, result, client);
    if (strcmp(op, "div") == 0)
        return calc_div_1(two, result, client);
    if (strcmp(op, "sum") == 0)
        return calc_sum_1(vector, result, client);
    if (strcmp(op, "acc") == 0)
        return calc_accumulate_1(numbers[0], result, client);
    return bare_call(client, (rpcproc_t)atoi(op));
}

int main(int argc, char **argv)
{
    static char line[LINE_BYTES];
    static quad_t numbers[NUMBERS_MAX + 1];
    CLIENT *client = argc == 3 ? client_to(argv[1], atoi(argv[2])) : NULL;
    if (client == NULL) {
        fputs(clnt_spcreateerror("tirpc_client"), stderr);
        return 1;
    }
    while (fgets(line, sizeof line, stdin) != NULL) {
        u_int count = 0;
        calc_result result = {.status = CALC_OK};
        char *rest = line, *op = strsep(&rest, " \n"), *word;
        while ((word = strsep(&rest, " \n")) != NULL)
            if (*word != '\0' && count <= NUMBERS_MAX)
                numbers[count++] = strtoll(word, NULL, 10);
        enum clnt_stat stat = call(client, op, numbers, count, &result);
        if (stat != RPC_SUCCESS)
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
