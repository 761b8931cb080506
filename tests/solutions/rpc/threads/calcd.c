/*
 * Right, but different: a thread for each connection, in blocking calls; one for UDP, one that
 * accepts; a mutex around the total and the memory of calls; the main thread waits for the signal.
 * It opens TCP first, and keeps the memory of calls as a list of pointers into a table.
 */
#define _GNU_SOURCE
#include "calc.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TABLE = 4096, KEPT = 1500 };

/* A call over UDP: in a chain of its bucket, and in a queue by age. */
struct known {
    struct known *next, *younger;
    struct sockaddr_in from;
    uint32_t xid, procedure;
    size_t len;
    unsigned char reply[CALC_REPLY_MAX];
};

struct client {
    struct client *next, **back;
    int fd;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* around all of these */
static pthread_cond_t gone = PTHREAD_COND_INITIALIZER;
static int64_t total;
static struct known *table[TABLE], *oldest, *youngest;
static size_t kept;
static struct client *clients;

static int stop = -1, udp = -1, tcp = -1;

/* ---- procedures ---- */

static bool execute(uint32_t procedure, struct xdr_in *in, struct xdr_out *out)
{
    struct calc_args args = {0, 0};
    struct calc_result result = {.status = CALC_OK};
    bool over = false;

    if (procedure == CALC_NULL)
        return true;
    if (procedure == CALC_SUM) {
        struct calc_vector *vector = malloc(sizeof *vector);
        bool right = vector != NULL && xdr_get_vector(in, vector);

        for (uint32_t i = 0; right && !over && i < vector->len; i++)
            over = __builtin_add_overflow(result.value, vector->values[i], &result.value);
        free(vector);
        if (!right)
            return false;
    } else if (procedure == CALC_ACCUMULATE) {
        if (!xdr_get_hyper(in, &args.a))
            return false;
        over = __builtin_add_overflow(total, args.a, &result.value);
        if (!over)
            total = result.value;
    } else {
        __int128 a, b, wide = 0;

        if (!xdr_get_args(in, &args))
            return false;
        a = args.a;
        b = args.b;
        if (procedure == CALC_ADD)
            wide = a + b;
        else if (procedure == CALC_SUB)
            wide = a - b;
        else if (procedure == CALC_MUL)
            wide = a * b;
        else if (b == 0)
            result.status = CALC_DIVIDE_BY_ZERO;
        else
            wide = a / b;
        over = wide > INT64_MAX || wide < INT64_MIN;
        result.value = (int64_t)wide;
    }
    if (over)
        result.status = CALC_OVERFLOW;
    xdr_put_result(out, &result);
    return true;
}

/* ---- memory of calls ---- */

static size_t bucket(const struct sockaddr_in *from, uint32_t xid, uint32_t procedure)
{
    uint32_t hash = from->sin_addr.s_addr * 31u + from->sin_port;

    return ((hash * 31u + xid) * 31u + procedure) * 2654435761u >> 20;
}

static struct known *find(const struct sockaddr_in *from, uint32_t xid, uint32_t procedure)
{
    struct known *k = table[bucket(from, xid, procedure)];

    while (k != NULL &&
           (k->xid != xid || k->procedure != procedure || k->from.sin_port != from->sin_port ||
            k->from.sin_addr.s_addr != from->sin_addr.s_addr))
        k = k->next;
    return k;
}

static void forget_oldest(void)
{
    struct known *k = oldest, **at;

    for (at = &table[bucket(&k->from, k->xid, k->procedure)]; *at != k;)
        at = &(*at)->next;
    *at = k->next;
    oldest = k->younger;
    free(k);
    kept--;
}

static void keep(const struct sockaddr_in *from, uint32_t xid, uint32_t procedure,
                 const struct xdr_out *reply)
{
    struct known *k = calloc(1, sizeof *k), **first = &table[bucket(from, xid, procedure)];

    if (k == NULL)
        return;
    k->from = *from;
    k->xid = xid;
    k->procedure = procedure;
    k->len = reply->len;
    memcpy(k->reply, reply->bytes, reply->len);
    k->next = *first;
    *first = k;
    if (oldest == NULL)
        oldest = k;
    else
        youngest->younger = k;
    youngest = k;
    if (++kept > KEPT)
        forget_oldest();
}

/* ---- dispatcher ---- */

static void accepted(struct xdr_out *out, uint32_t xid, uint32_t stat)
{
    const uint32_t words[] = {xid, RPC_REPLY, RPC_ACCEPTED, RPC_AUTH_NONE, 0, stat};

    out->len = 0;
    for (int i = 0; i < 6; i++)
        xdr_put_uint(out, words[i]);
}

/* With `lock` held. */
static bool answer(struct xdr_in in, const struct sockaddr_in *from, struct xdr_out *out)
{
    uint32_t words[6], flavor;
    struct known *known;

    for (int i = 0; i < 3; i++) {
        if (!xdr_get_uint(&in, &words[i]))
            return false;
    }
    if (words[1] != RPC_CALL)
        return false;
    if (words[2] != RPC_VERSION) {
        const uint32_t denied[] = {words[0], RPC_REPLY, RPC_DENIED, RPC_MISMATCH, 2, 2};

        for (int i = 0; i < 6; i++)
            xdr_put_uint(out, denied[i]);
        return true;
    }
    for (int i = 3; i < 6; i++) {
        if (!xdr_get_uint(&in, &words[i]))
            return false;
    }
    if (!xdr_get_uint(&in, &flavor) || !xdr_skip_opaque(&in, 400) || !xdr_get_uint(&in, &flavor) ||
        !xdr_skip_opaque(&in, 400))
        return false;
    if (words[3] != CALC_PROG) {
        accepted(out, words[0], RPC_PROG_UNAVAIL);
    } else if (words[4] != CALC_VERS) {
        accepted(out, words[0], RPC_PROG_MISMATCH);
        xdr_put_uint(out, 1);
        xdr_put_uint(out, 1);
    } else if (words[5] > CALC_ACCUMULATE) {
        accepted(out, words[0], RPC_PROC_UNAVAIL);
    } else if (from != NULL && (known = find(from, words[0], words[5])) != NULL) {
        memcpy(out->bytes, known->reply, known->len);
        out->len = known->len;
    } else {
        accepted(out, words[0], RPC_SUCCESS);
        if (!execute(words[5], &in, out))
            accepted(out, words[0], RPC_GARBAGE_ARGS);
        else if (from != NULL)
            keep(from, words[0], words[5], out);
    }
    return true;
}

static bool answer_locked(struct xdr_in in, const struct sockaddr_in *from, struct xdr_out *out)
{
    bool right;

    pthread_mutex_lock(&lock);
    right = answer(in, from, out);
    pthread_mutex_unlock(&lock);
    return right;
}

/* ---- threads ---- */

/* Waits for `fd` or the end. */
static bool wait_for(int fd)
{
    struct pollfd either[] = {{.fd = fd, .events = POLLIN}, {.fd = stop, .events = POLLIN}};

    while (poll(either, 2, -1) < 0)
        ;
    return either[1].revents == 0;
}

static void *serve_udp(void *unused)
{
    unsigned char *bytes = malloc(65536), reply[CALC_REPLY_MAX];

    (void)unused;
    while (bytes != NULL && wait_for(udp)) {
        struct sockaddr_in from = {0};
        socklen_t size = sizeof from;
        struct xdr_out out = {.bytes = reply};
        ssize_t len = recvfrom(udp, bytes, 65536, MSG_DONTWAIT, (struct sockaddr *)&from, &size);

        if (len >= 0 && answer_locked((struct xdr_in){bytes, (size_t)len}, &from, &out))
            sendto(udp, reply, out.len, MSG_DONTWAIT, (struct sockaddr *)&from, sizeof from);
    }
    free(bytes);
    return NULL;
}

/* One record at a time, in blocking calls. Returns false when the connection is over. */
static bool serve_record(FILE *in, int fd, unsigned char **record, size_t *room)
{
    unsigned char mark[4], reply[4 + CALC_REPLY_MAX];
    struct xdr_out whole = {.bytes = reply}, out = {.bytes = reply + 4};
    size_t len = 0, sent = 0;
    uint32_t word = 0;

    while ((word & RECORD_LAST) == 0) {
        struct xdr_in at = {mark, 4};
        size_t part;

        if (fread(mark, 1, 4, in) != 4 || !xdr_get_uint(&at, &word))
            return false;
        part = word & ~RECORD_LAST;
        if (part > RECORD_MAX - len)
            return false;
        if (len + part > *room) {
            unsigned char *more = realloc(*record, len + part);

            if (more == NULL)
                return false;
            *record = more;
            *room = len + part;
        }
        if (part > 0 && fread(*record + len, 1, part, in) != part)
            return false;
        len += part;
    }
    if (!answer_locked((struct xdr_in){*record, len}, NULL, &out))
        return false; /* who sends no calls is no client */
    xdr_put_uint(&whole, RECORD_LAST | (uint32_t)out.len);
    while (sent < 4 + out.len) {
        ssize_t n = send(fd, reply + sent, 4 + out.len - sent, MSG_NOSIGNAL);

        if (n < 0 && errno != EINTR)
            return false;
        sent += n > 0 ? (size_t)n : 0;
    }
    return true;
}

static void *serve_client(void *argument)
{
    struct client *c = argument;
    FILE *in = fdopen(c->fd, "r");
    unsigned char *record = NULL;
    size_t room = 0;

    while (in != NULL && serve_record(in, c->fd, &record, &room))
        ;
    free(record);
    pthread_mutex_lock(&lock);
    *c->back = c->next;
    if (c->next != NULL)
        c->next->back = c->back;
    if (in != NULL)
        fclose(in);
    else
        close(c->fd);
    free(c);
    pthread_cond_signal(&gone);
    pthread_mutex_unlock(&lock);
    return NULL;
}

static void add_client(int fd, const pthread_attr_t *attributes)
{
    struct client *c = calloc(1, sizeof *c);
    pthread_t thread;

    if (c == NULL) {
        close(fd);
        return;
    }
    c->fd = fd;
    pthread_mutex_lock(&lock);
    c->next = clients;
    c->back = &clients;
    if (clients != NULL)
        clients->back = &c->next;
    clients = c;
    if (pthread_create(&thread, attributes, serve_client, c) != 0) {
        clients = c->next;
        if (clients != NULL)
            clients->back = &clients;
        close(fd);
        free(c);
    }
    pthread_mutex_unlock(&lock);
}

static void *serve_tcp(void *unused)
{
    pthread_attr_t attributes;

    (void)unused;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 256 * 1024);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    while (wait_for(tcp)) {
        int fd = accept4(tcp, NULL, NULL, SOCK_CLOEXEC);

        if (fd >= 0) {
            add_client(fd, &attributes);
        } else if (errno == EMFILE) { /* until somebody goes */
            pthread_mutex_lock(&lock);
            if (clients != NULL)
                pthread_cond_wait(&gone, &lock);
            pthread_mutex_unlock(&lock);
        }
    }
    pthread_attr_destroy(&attributes);
    return NULL;
}

/* ---- start and end ---- */

static int open_port(int port)
{
    for (int i = 0; i < 500; i++) {
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
        socklen_t size = sizeof at;
        int on = 1;

        tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind(tcp, (struct sockaddr *)&at, sizeof at) == 0 && listen(tcp, 1024) == 0 &&
            getsockname(tcp, (struct sockaddr *)&at, &size) == 0 &&
            bind(udp, (struct sockaddr *)&at, sizeof at) == 0)
            return ntohs(at.sin_port);
        close(tcp);
        close(udp);
        if (port != 0)
            break;
    }
    return -1;
}

int main(int argc, char **argv)
{
    pthread_t accepting, datagrams;
    sigset_t ends;
    long port = 0;
    int which;

    if (argc == 3 && strcmp(argv[1], "-p") == 0)
        port = calc_number(argv[2], 65535);
    else if (argc != 1)
        port = -1;
    if (port < 0) {
        fputs("usage: calcd [-p PORT]\n", stderr);
        return 2;
    }
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ends, NULL); /* the threads inherit it */
    stop = eventfd(0, EFD_CLOEXEC);
    if ((port = open_port((int)port)) < 0) {
        fputs("calcd: port: can't be had\n", stderr);
        return 1;
    }
    if (pthread_create(&accepting, NULL, serve_tcp, NULL) != 0 ||
        pthread_create(&datagrams, NULL, serve_udp, NULL) != 0) {
        fputs("calcd: thread: none to be had\n", stderr);
        return 1;
    }
    printf("listening on %ld\n", port);
    fflush(stdout);
    sigwait(&ends, &which);

    eventfd_write(stop, 1);
    pthread_mutex_lock(&lock);
    pthread_cond_broadcast(&gone);
    pthread_mutex_unlock(&lock);
    pthread_join(accepting, NULL);
    pthread_join(datagrams, NULL);
    pthread_mutex_lock(&lock);
    for (struct client *c = clients; c != NULL; c = c->next)
        shutdown(c->fd, SHUT_RDWR);
    while (clients != NULL)
        pthread_cond_wait(&gone, &lock);
    while (kept > 0)
        forget_oldest();
    pthread_mutex_unlock(&lock);
    close(tcp);
    close(udp);
    close(stop);
    return 0;
}
