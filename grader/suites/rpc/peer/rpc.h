/*
 * rpc.h - what the tests of the rpc lab share: the grader's side of the wire.
 *
 * calcd is called, and calc is answered, by code that is written here a second time, from the
 * handout, RFC 5531 (the messages) and RFC 4506 (XDR) alone: none of the lab's own files is
 * included, so that one mistake can't hide in both.
 *
 * What calcd has to say to any bytes whatever is determined: answer_to() knows it, and replies are
 * compared with it byte by byte, and told field by field.
 */
#ifndef RPC_PEER_RPC_H
#define RPC_PEER_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "harness/harness.h"
#include "support/clock.h"

/* ---- messages ---- */

enum { PROGRAM = 0x20000415, VERSION = 1, VECTOR_MAX = 1024, AUTH_MAX = 400, RECORD_MAX = 65536 };
enum { WIRE_MAX = 9600 }; /* a vector of 1,025 behind a header with 2 times 404 bytes fits */
enum procedure { PROC_NULL, ADD, SUB, MUL, DIV, SUM, ACCUMULATE, PROCEDURES };
enum { CALL = 0, REPLY = 1 };
enum { SUCCESS, PROG_UNAVAIL, PROG_MISMATCH, PROC_UNAVAIL, GARBAGE_ARGS, SYSTEM_ERR };
enum { CALC_OK, CALC_DIVIDE_BY_ZERO, CALC_OVERFLOW };

/* A message, or a piece of one. */
struct wire {
    size_t len;
    unsigned char bytes[WIRE_MAX];
};
void put_u32(struct wire *w, uint32_t value);
void put_hyper(struct wire *w, int64_t value);
void put_bytes(struct wire *w, const void *bytes, size_t len);
void put_auth(struct wire *w, uint32_t flavor, const void *bytes, uint32_t len);
uint32_t get_u32(const void *at);

/* Everything of a call that can be wrong. */
struct header {
    uint32_t xid, type, rpcvers, program, version, procedure;
};
struct header right_header(uint32_t xid, uint32_t procedure);
/* The six words, and AUTH_NONE twice. */
struct wire call_with(struct header h);
struct wire call_null(uint32_t xid);
struct wire call_two(uint32_t xid, enum procedure p, int64_t a, int64_t b); /* ADD to DIV */
struct wire call_sum(uint32_t xid, const int64_t *numbers, uint32_t count);
struct wire call_accumulate(uint32_t xid, int64_t number);
/* A right call of any procedure with random arguments of all sizes, edges among them. */
struct wire call_random(struct random *r, uint32_t xid);
int64_t hyper_random(struct random *r); /* small, large, or at an edge */

/* Up to the reply's result: accepted, verifier AUTH_NONE 0, SUCCESS. */
struct wire reply_begin(uint32_t xid);
struct wire reply_value(uint32_t xid, int64_t value);      /* CALC_OK */
struct wire reply_status(uint32_t xid, uint32_t status);   /* of the calculator */
struct wire reply_rejected(uint32_t xid, uint32_t accept); /* with its arm, if it has one */
struct wire reply_rpc_mismatch(uint32_t xid, uint32_t low, uint32_t high);
struct wire reply_auth_error(uint32_t xid, uint32_t why);

/*
 * The contract as a function: the reply that `len` bytes are due, false when they are no call.
 * `total` is the server's running total; NULL: no ACCUMULATE is among the calls.
 */
bool answer_to(const void *bytes, size_t len, int64_t *total, struct wire *reply);

/* "00000001 00000000 ...": as 4-byte words in hexadecimal, cut in the middle of long ones. */
const char *hex(const void *bytes, size_t len);
/* "ADD(3, -4)" of a call, as far as it can be read. */
const char *described(const struct wire *call);
/* Every byte of the reply `got` is that of `want`; tells the first field that differs. */
void expect_reply(const struct wire *got, const struct wire *want, const char *what);

/* ---- records: messages in a stream ---- */

/* One fragment, in one segment. */
void record_send(struct endpoint *e, const struct wire *w);
/* Appends `w` to `stream` (of `size` bytes, `*len` of them used) as fragments of `piece` bytes. */
void record_append(unsigned char *stream, size_t size, size_t *len, const struct wire *w,
                   size_t piece);
/* The mark of a fragment. */
uint32_t mark(bool last, uint32_t len);
/* Sends four bytes, high byte first. */
void send_word(struct endpoint *e, uint32_t word);
/* Reads the next record, in whatever fragments; false: the stream ended before it did. */
bool record_read(struct endpoint *e, struct wire *w, const char *what);
/* record_read() of a reply that must come and be `want`. */
void expect_record(struct endpoint *e, const struct wire *want, const char *what);
/* Sends the call as one record and expects its reply, as answer_to() says. */
void expect_called(struct endpoint *e, const struct wire *call, int64_t *total);
/* Nothing more has come on the connection. */
void expect_nothing(struct endpoint *e, const char *what);

/* ---- calcd ---- */

struct server {
    struct program *p;
    int port;
};
/* `args` as words with single blanks between them. Waits for its line. */
struct server calcd(const char *args);
struct server calcd_checked(void); /* under valgrind */
/* As soon as calcd has got its first port, the other protocol's is taken from it: it needs another
 * one. False: that can't be forced here, and `s` is an ordinary calcd. */
bool calcd_without_port(struct server *s, int *taken);
struct endpoint *connection(const struct server *s, const char *name);
/* One that soon takes no more, while it is held (net_connect_narrow()). */
struct endpoint *narrow_connection(const struct server *s);
/* A new connection to 127.0.0.2, to calcd's port. */
struct endpoint *connection_elsewhere(const struct server *s);
/* It lives: NULL is answered on a new connection. */
void expect_alive(const struct server *s, const char *when);
/* The same on this connection, which may instead be closed: false. */
bool alive_or_closed(struct endpoint *e, uint32_t xid, const char *when);
/* As a datagram: what comes next at `e` is its reply. */
void expect_answered(struct endpoint *e, const struct server *s, const struct wire *call,
                     int64_t *total);
/* The same, of a call that is another one than those before it: `why` completes "it is executed,
 * since ...". */
void expect_executed(struct endpoint *e, const struct server *s, const struct wire *call,
                     int64_t *total, const char *why);
/*
 * Another client, ours, makes the total at this port move by some number from the seed: what calc
 * prints for ACCUMULATE from then on it can't know by itself. Of the reply only the value is looked
 * at, so this is about `total` alone.
 */
void total_moves(int port, struct random *r, int64_t *total);
struct wire wire_of(const struct datagram *d);
/* SIGTERM, exit 0. */
void calcd_end(const struct server *s);
/* Peak resident memory of calcd and all that it has started, in KiB; VmHWM. */
long memory_kb(const struct server *s);
enum { MIB_KB = 1024 };
/* Fails when the peak has grown by more than `limit_kb` since `before`. */
void expect_memory(const struct server *s, long before, long limit_kb, const char *what);

/* A socket of datagrams whose calls come and go in bulk, without a line each in the transcript. */
struct bulk;
struct bulk *bulk_open(const struct server *s);
/* Sends; at most BULK_MAX together before they are waited for. */
enum { BULK_MAX = 64 };
void bulk_send(struct bulk *b, const struct wire *call);
/*
 * Waits for `count` replies, in whatever order, and for the one to a NULL call that is sent behind
 * them; one more than these fails. `what` says what is expected when `come` replies are there.
 */
typedef const char *bulk_what(const struct wire *replies, size_t come, void *context);
void bulk_collect(struct bulk *b, struct wire *replies, size_t count, bulk_what *what,
                  void *context);

/* ---- calc ---- */

/* From words with single blanks between them: run("calc 127.0.0.1 %d add 1 2", port). */
struct program *command(const char *format, ...) __attribute__((format(printf, 1, 2)));
struct program *run(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* calc OPTIONS 127.0.0.1 PORT ARGS, started. */
struct program *calc(const char *options, const struct endpoint *server, const char *args);

/* Where a calc can connect to, over TCP. */
struct endpoint *our_listener(void);
/* Accepts calc's connection and reads its call. */
struct endpoint *accept_call(struct endpoint *listener, struct wire *call);
/* The next datagram as a call of calc's; `from` gets its port. */
struct wire receive_call(struct endpoint *e, int *from, const char *what);
/* The call's bytes are those of the call `want`, whose xid is set to the call's own. */
void expect_call(const struct wire *call, struct wire want, const char *what);

/* An endpoint of datagrams at 127.0.0.2 and the port of `e`, to send from; -1 when there's none. */
int elsewhere_socket(const struct endpoint *e);
void send_from(int fd, int port, const struct wire *w);
/* Waits for a datagram there. */
struct wire receive_elsewhere(int fd, const char *what);

/* ---- expectations of programs ---- */

/* All of stdout, after the end with 0. */
void expect_printed(struct program *p, const char *bytes, const char *why);
/* Answers the call of `p` with `value`: it prints `shown`. */
void answer_with_value(struct endpoint *listener, struct program *p, int64_t value,
                       const char *shown);
/* Exit 1 with a line on stderr and nothing on stdout. */
void expect_failure(struct program *p, const char *why);
/* Exit 3, nothing on stdout. */
void expect_unanswered(struct program *p, const char *why);
/* The same, not before `ms` since `since_ns`. */
void expect_timeout(struct program *p, int64_t since_ns, int ms, const char *why);
/* The same, where the test has let the time pass by let_pass(), which counts it. */
void expect_over(struct program *p, int64_t since_ns, int ms, const char *why);
/* The words are wrong usage: exit 2 and a line on stderr. */
void expect_usage(const char *words, const char *why);

#endif
