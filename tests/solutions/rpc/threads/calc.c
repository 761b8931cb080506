/*
 * Right, but different: blocking sockets. Over UDP a thread of its own sends the call again, while
 * the main thread receives; over TCP stdio reads the connection. One timer bounds it all: SIGALRM
 * ends the process.
 */
#define _GNU_SOURCE
#include "calc.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static unsigned char call[4 + CALC_CALL_MAX]; /* behind a mark */
static size_t call_len;                       /* without it */
static int fd = -1;
static struct sockaddr_in server;

static void say(const char *text)
{
    ssize_t ignored = write(STDERR_FILENO, text, strlen(text));

    (void)ignored;
}

static void time_is_up(int number)
{
    (void)number;
    say("calc: server: no reply in time\n");
    _exit(3);
}

static int give_up(int status, const char *text)
{
    say(text);
    return status;
}

/* ---- the call ---- */

static bool hyper(const char *text, int64_t *value)
{
    const char *digits = text + (*text == '-');
    char *end;

    errno = 0;
    *value = strtoll(text, &end, 10);
    return *digits != '\0' && strspn(digits, "0123456789") == strlen(digits) && errno == 0 &&
           *end == '\0';
}

static bool make_call(uint32_t procedure, int count, char **words)
{
    struct xdr_out out = {.bytes = call, .len = 4};
    uint32_t header[] = {0, RPC_CALL, RPC_VERSION, CALC_PROG, CALC_VERS, procedure, 0, 0, 0, 0};
    int64_t value;

    if (getrandom(header, sizeof header[0], 0) != sizeof header[0])
        return false;
    for (int i = 0; i < 10; i++)
        xdr_put_uint(&out, header[i]);
    if (procedure == CALC_SUM)
        xdr_put_uint(&out, (uint32_t)count);
    for (int i = 0; i < count; i++) {
        if (!hyper(words[i], &value))
            return false;
        xdr_put_hyper(&out, value);
    }
    call_len = out.len - 4;
    out.len = 0;
    xdr_put_uint(&out, RECORD_LAST | (uint32_t)call_len);
    return true;
}

/* ---- transports: the reply's bytes, -1 when there is none ---- */

static void *send_again(void *unused)
{
    static const long pauses_ms[] = {0, 200, 400, 800, 1600};
    struct timespec at;

    (void)unused;
    clock_gettime(CLOCK_MONOTONIC, &at);
    for (int i = 0; i < 5; i++) {
        at.tv_sec += pauses_ms[i] / 1000;
        at.tv_nsec += pauses_ms[i] % 1000 * 1000000;
        if (at.tv_nsec >= 1000000000) {
            at.tv_sec++;
            at.tv_nsec -= 1000000000;
        }
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
        sendto(fd, call + 4, call_len, 0, (struct sockaddr *)&server, sizeof server);
    }
    return NULL;
}

static ssize_t by_udp(unsigned char *reply, size_t room)
{
    pthread_t sender;
    ssize_t len;

    fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || pthread_create(&sender, NULL, send_again, NULL) != 0)
        return -1;
    for (;;) {
        struct sockaddr_in from = {0};
        socklen_t size = sizeof from;

        len = recvfrom(fd, reply, room, 0, (struct sockaddr *)&from, &size);
        if (len >= 4 && from.sin_port == server.sin_port &&
            from.sin_addr.s_addr == server.sin_addr.s_addr && memcmp(reply, call + 4, 4) == 0)
            break;
    }
    pthread_cancel(sender);
    pthread_join(sender, NULL);
    close(fd);
    return len;
}

static ssize_t by_tcp(unsigned char *reply, size_t room)
{
    ssize_t len = -1;
    FILE *in;

    fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&server, sizeof server) != 0 ||
        send(fd, call, 4 + call_len, MSG_NOSIGNAL) != (ssize_t)(4 + call_len) ||
        (in = fdopen(fd, "r")) == NULL) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    do {
        uint32_t mark = 0;

        len = 0;
        while (len >= 0 && (mark & RECORD_LAST) == 0) {
            unsigned char bytes[4];
            struct xdr_in at = {bytes, 4};
            int c = 0;

            if (fread(bytes, 1, 4, in) != 4 || !xdr_get_uint(&at, &mark))
                len = -1;
            for (uint32_t left = mark & ~RECORD_LAST; len >= 0 && left > 0; left--) {
                if ((c = getc(in)) == EOF)
                    len = -1;
                else if ((size_t)len < room)
                    reply[len++] = (unsigned char)c;
            }
        }
    } while (len >= 0 && (len < 4 || memcmp(reply, call + 4, 4) != 0));
    fclose(in);
    return len;
}

/* ---- the reply ---- */

static int result_of(struct xdr_in in, uint32_t procedure)
{
    uint32_t words[5];
    struct calc_result result = {0};

    for (int i = 0; i < 3; i++) {
        if (!xdr_get_uint(&in, &words[i]))
            return give_up(1, "calc: reply: too short\n");
    }
    if (words[1] != RPC_REPLY || words[2] > RPC_DENIED)
        return give_up(1, "calc: reply: nonsense\n");
    if (words[2] == RPC_DENIED)
        return give_up(1, "calc: call: denied\n");
    if (!xdr_get_uint(&in, &words[3]) || !xdr_skip_opaque(&in, RPC_AUTH_MAX) ||
        !xdr_get_uint(&in, &words[4]))
        return give_up(1, "calc: reply: too short\n");
    if (words[4] != RPC_SUCCESS)
        return give_up(1, "calc: call: rejected\n");
    if (procedure == CALC_NULL)
        return 0;
    if (!xdr_get_result(&in, &result))
        return give_up(1, "calc: reply: too short\n");
    if (result.status != CALC_OK)
        return give_up(1, result.status == CALC_OVERFLOW ? "calc: result: overflow\n"
                                                         : "calc: result: none\n");
    printf("%lld\n", (long long)result.value);
    return fflush(stdout) == 0 ? 0 : give_up(1, "calc: stdout: write error\n");
}

/* ---- the command line ---- */

static int usage(void)
{
    return give_up(2, "usage: calc [-u] [-t MS] HOST PORT OP ARG...\n");
}

int main(int argc, char **argv)
{
    static const char names[][5] = {"null", "add", "sub", "mul", "div", "sum", "acc"};
    static const int least[] = {0, 2, 2, 2, 2, 0, 1}, most[] = {0, 2, 2, 2, 2, 1024, 1};
    unsigned char reply[2048];
    struct addrinfo wanted = {.ai_family = AF_INET}, *found;
    struct itimerval timer = {{0, 0}, {0, 0}};
    bool udp = false;
    long ms = 6200;
    uint32_t procedure = 0;
    ssize_t len;
    int i = 1;

    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "-u") == 0)
            udp = true;
        else if (strcmp(argv[i], "-t") != 0 || i + 1 == argc ||
                 (ms = calc_number(argv[++i], INT32_MAX)) < 0)
            return usage();
    }
    if (argc - i < 3 || calc_number(argv[i + 1], 65535) <= 0)
        return usage();
    while (procedure < 7 && strcmp(names[procedure], argv[i + 2]) != 0)
        procedure++;
    if (procedure == 7 || argc - i - 3 < least[procedure] || argc - i - 3 > most[procedure] ||
        !make_call(procedure, argc - i - 3, argv + i + 3))
        return usage();
    if (getaddrinfo(argv[i], argv[i + 1], &wanted, &found) != 0)
        return give_up(3, "calc: host: no address\n");
    memcpy(&server, found->ai_addr, sizeof server);
    freeaddrinfo(found);
    if (ms == 0)
        return give_up(3, "calc: server: no time\n");
    signal(SIGALRM, time_is_up);
    timer.it_value.tv_sec = ms / 1000;
    timer.it_value.tv_usec = ms % 1000 * 1000;
    setitimer(ITIMER_REAL, &timer, NULL);
    len = (udp ? by_udp : by_tcp)(reply, sizeof reply);
    if (len < 0)
        return give_up(3, "calc: server: no reply\n");
    return result_of((struct xdr_in){reply, (size_t)len}, procedure);
}
