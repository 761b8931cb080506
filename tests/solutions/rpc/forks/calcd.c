/*
 * Right, but different: a process for each connection, which serves it in blocking calls; the total
 * lies in shared anonymous memory and is changed by compare and exchange. The first process accepts
 * and serves UDP, in select(); a pipe to itself tells of signals and of children that have ended.
 */
#define _GNU_SOURCE
#include "calc.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MEMORY = 2048, CHILDREN = 180 };

struct entry {
    uint32_t address, xid, procedure;
    uint16_t port;
    uint16_t len; /* 0: none */
    unsigned char reply[CALC_REPLY_MAX];
};

static _Atomic int64_t *total;
static struct entry memory[MEMORY];
static unsigned next_entry;
static pid_t children[CHILDREN];
static int count, ends[2], udp = -1, tcp = -1;

static void on_signal(int number)
{
    int error = errno;
    unsigned char byte = (unsigned char)number;
    ssize_t ignored = write(ends[1], &byte, 1);

    (void)ignored;
    errno = error;
}

/* ---- answering ---- */

static enum calc_status two(uint32_t procedure, int64_t a, int64_t b, int64_t *value)
{
    bool over = false;

    switch (procedure) {
    case CALC_ADD:
        over = __builtin_add_overflow(a, b, value);
        break;
    case CALC_SUB:
        over = __builtin_sub_overflow(a, b, value);
        break;
    case CALC_MUL:
        over = __builtin_mul_overflow(a, b, value);
        break;
    default:
        if (b == 0)
            return CALC_DIVIDE_BY_ZERO;
        over = b == -1 && __builtin_sub_overflow(0, a, value);
        if (b != -1)
            *value = a / b;
    }
    return over ? CALC_OVERFLOW : CALC_OK;
}

static enum calc_status accumulate(int64_t number, int64_t *value)
{
    int64_t old = atomic_load(total);

    do {
        if (__builtin_add_overflow(old, number, value))
            return CALC_OVERFLOW;
    } while (!atomic_compare_exchange_weak(total, &old, *value));
    return CALC_OK;
}

static bool execute(uint32_t procedure, struct xdr_in *in, struct calc_result *result)
{
    static struct calc_vector vector;
    struct calc_args args;

    result->status = CALC_OK;
    result->value = 0;
    if (procedure == CALC_NULL)
        return true;
    if (procedure == CALC_SUM) {
        if (!xdr_get_vector(in, &vector))
            return false;
        for (uint32_t i = 0; i < vector.len && result->status == CALC_OK; i++)
            result->status = two(CALC_ADD, result->value, vector.values[i], &result->value);
        return true;
    }
    if (procedure == CALC_ACCUMULATE) {
        if (!xdr_get_hyper(in, &args.a))
            return false;
        result->status = accumulate(args.a, &result->value);
        return true;
    }
    if (!xdr_get_args(in, &args))
        return false;
    result->status = two(procedure, args.a, args.b, &result->value);
    return true;
}

static struct entry *known(const struct sockaddr_in *from, uint32_t xid, uint32_t procedure)
{
    for (int i = 0; i < MEMORY; i++) {
        struct entry *e = &memory[i];

        if (e->len > 0 && e->xid == xid && e->procedure == procedure && e->port == from->sin_port &&
            e->address == from->sin_addr.s_addr)
            return e;
    }
    return NULL;
}

static size_t answer(struct xdr_in in, const struct sockaddr_in *from, unsigned char *bytes)
{
    struct xdr_out out = {.bytes = bytes};
    uint32_t xid, type, version, program, program_version, procedure, flavor, stat;
    struct calc_result result;
    struct entry *entry;

    if (!xdr_get_uint(&in, &xid) || !xdr_get_uint(&in, &type) || !xdr_get_uint(&in, &version) ||
        type != RPC_CALL)
        return 0;
    xdr_put_uint(&out, xid);
    xdr_put_uint(&out, RPC_REPLY);
    if (version != RPC_VERSION) {
        xdr_put_uint(&out, RPC_DENIED);
        xdr_put_uint(&out, RPC_MISMATCH);
        xdr_put_uint(&out, 2);
        xdr_put_uint(&out, 2);
        return out.len;
    }
    if (!xdr_get_uint(&in, &program) || !xdr_get_uint(&in, &program_version) ||
        !xdr_get_uint(&in, &procedure) || !xdr_get_uint(&in, &flavor) ||
        !xdr_skip_opaque(&in, RPC_AUTH_MAX) || !xdr_get_uint(&in, &flavor) ||
        !xdr_skip_opaque(&in, RPC_AUTH_MAX))
        return 0;
    xdr_put_uint(&out, RPC_ACCEPTED);
    xdr_put_uint(&out, RPC_AUTH_NONE);
    xdr_put_uint(&out, 0);
    stat = program != CALC_PROG           ? RPC_PROG_UNAVAIL
           : program_version != CALC_VERS ? RPC_PROG_MISMATCH
           : procedure > 6                ? RPC_PROC_UNAVAIL
                                          : RPC_SUCCESS;
    if (stat == RPC_SUCCESS) {
        if (from != NULL && (entry = known(from, xid, procedure)) != NULL) {
            memcpy(bytes, entry->reply, entry->len);
            return entry->len;
        }
        if (!execute(procedure, &in, &result))
            stat = RPC_GARBAGE_ARGS;
    }
    xdr_put_uint(&out, stat);
    if (stat == RPC_PROG_MISMATCH) {
        xdr_put_uint(&out, 1);
        xdr_put_uint(&out, 1);
    }
    if (stat == RPC_SUCCESS && procedure != CALC_NULL)
        xdr_put_result(&out, &result);
    if (stat == RPC_SUCCESS && from != NULL) {
        entry = &memory[next_entry++ % MEMORY];
        *entry = (struct entry){from->sin_addr.s_addr, xid, procedure, from->sin_port,
                                (uint16_t)out.len,     {0}};
        memcpy(entry->reply, bytes, out.len);
    }
    return out.len;
}

/* ---- one connection, in a process of its own ---- */

static bool read_all(int fd, unsigned char *bytes, size_t len)
{
    return len == 0 || recv(fd, bytes, len, MSG_WAITALL) == (ssize_t)len;
}

static void serve(int fd)
{
    unsigned char *record = NULL, reply[4 + CALC_REPLY_MAX];

    for (;;) {
        uint32_t mark = 0;
        size_t len = 0;

        while ((mark & RECORD_LAST) == 0) {
            unsigned char bytes[4], *more;
            struct xdr_in in = {bytes, 4};
            size_t part;

            if (!read_all(fd, bytes, 4) || !xdr_get_uint(&in, &mark))
                return;
            part = mark & ~RECORD_LAST;
            if (len + part > RECORD_MAX || (more = realloc(record, len + part + 1)) == NULL)
                return;
            record = more;
            if (!read_all(fd, record + len, part))
                return;
            len += part;
        }
        len = answer((struct xdr_in){record, len}, NULL, reply + 4);
        if (len > 0) {
            xdr_put_uint(&(struct xdr_out){.bytes = reply}, RECORD_LAST | (uint32_t)len);
            if (send(fd, reply, 4 + len, MSG_NOSIGNAL) < 0)
                return;
        }
    }
}

/* ---- the first process ---- */

static void accept_one(void)
{
    int fd = accept(tcp, NULL, NULL);
    pid_t pid;

    if (fd < 0)
        return;
    pid = fork();
    if (pid == 0) {
        signal(SIGTERM, SIG_DFL);
        signal(SIGINT, SIG_DFL);
        close(ends[0]);
        close(ends[1]);
        close(udp);
        close(tcp);
        serve(fd);
        _exit(0);
    }
    close(fd);
    if (pid > 0)
        children[count++] = pid;
}

static void datagram(void)
{
    static unsigned char bytes[65536];
    unsigned char reply[CALC_REPLY_MAX];
    struct sockaddr_in from = {0};
    socklen_t size = sizeof from;
    ssize_t len = recvfrom(udp, bytes, sizeof bytes, MSG_DONTWAIT, (struct sockaddr *)&from, &size);
    size_t reply_len = len < 0 ? 0 : answer((struct xdr_in){bytes, (size_t)len}, &from, reply);

    if (reply_len > 0)
        sendto(udp, reply, reply_len, MSG_DONTWAIT, (struct sockaddr *)&from, sizeof from);
}

/* What a signal has told. Returns whether we go on. */
static bool told(void)
{
    unsigned char number;

    while (read(ends[0], &number, 1) == 1) {
        if (number != SIGCHLD)
            return false;
    }
    for (int i = count - 1; i >= 0; i--) {
        if (waitpid(children[i], NULL, WNOHANG) > 0)
            children[i] = children[--count];
    }
    return true;
}

static bool open_both(int port, struct sockaddr_in *at)
{
    socklen_t size = sizeof *at;
    int on = 1;

    *at = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    tcp = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    udp = socket(AF_INET, SOCK_DGRAM, 0);
    setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(tcp, (struct sockaddr *)at, sizeof *at) == 0 &&
        getsockname(tcp, (struct sockaddr *)at, &size) == 0 &&
        bind(udp, (struct sockaddr *)at, sizeof *at) == 0 && listen(tcp, 1000) == 0)
        return true;
    close(tcp);
    close(udp);
    return false;
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_signal};
    const int signals[] = {SIGTERM, SIGINT, SIGCHLD};
    struct sockaddr_in at;
    int port = 0, tries = 100;

    if (argc != 1 && (argc != 3 || strcmp(argv[1], "-p") != 0 ||
                      (port = (int)calc_number(argv[2], 65535)) < 0)) {
        fprintf(stderr, "usage: calcd [-p PORT]\n");
        return 2;
    }
    while (!open_both(port, &at)) {
        if (port != 0 || --tries == 0) {
            fprintf(stderr, "calcd: %d: %s\n", port, strerror(errno));
            return 1;
        }
    }
    total = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (total == MAP_FAILED || pipe2(ends, O_NONBLOCK) != 0) {
        fprintf(stderr, "calcd: start: %s\n", strerror(errno));
        return 1;
    }
    for (int i = 0; i < 3; i++)
        sigaction(signals[i], &action, NULL);
    printf("listening on %d\n", ntohs(at.sin_port));
    fflush(stdout);

    for (;;) {
        fd_set set;

        FD_ZERO(&set);
        FD_SET(ends[0], &set);
        FD_SET(udp, &set);
        if (count < CHILDREN)
            FD_SET(tcp, &set);
        if (select(64, &set, NULL, NULL, NULL) < 0)
            continue;
        if (FD_ISSET(ends[0], &set) && !told())
            break;
        if (FD_ISSET(udp, &set))
            datagram();
        if (FD_ISSET(tcp, &set))
            accept_one();
    }
    for (int i = 0; i < count; i++)
        kill(children[i], SIGKILL);
    for (int i = 0; i < count; i++)
        waitpid(children[i], NULL, 0);
    munmap((void *)total, 4096);
    close(ends[0]);
    close(ends[1]);
    close(udp);
    close(tcp);
    return 0;
}
