/*
 * calc.h - what client and server of the calculator share: the interface of calc.x as C sees it,
 * the numbers of the RPC protocol, and what xdr.c offers to both stubs.
 *
 * Given and fixed: the grader uses its own copy.
 */
#ifndef CALC_H
#define CALC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- The interface: calc.x ---- */

#define CALC_PROG UINT32_C(0x20000415)
#define CALC_VERS UINT32_C(1)

enum calc_procedure {
    CALC_NULL = 0, /* every program has it: no arguments, no result */
    CALC_ADD = 1,
    CALC_SUB = 2,
    CALC_MUL = 3,
    CALC_DIV = 4,
    CALC_SUM = 5,
    CALC_ACCUMULATE = 6,
};

enum calc_status {
    CALC_OK = 0,
    CALC_DIVIDE_BY_ZERO = 1,
    CALC_OVERFLOW = 2,
};

struct calc_result {
    uint32_t status; /* enum calc_status, or from a strange server any other number */
    int64_t value;   /* with CALC_OK */
};

struct calc_args {
    int64_t a, b;
};

enum { CALC_VECTOR_MAX = 1024 };

struct calc_vector {
    uint32_t len; /* 0 to CALC_VECTOR_MAX */
    int64_t values[CALC_VECTOR_MAX];
};

/* ---- The messages: RFC 5531 ---- */

#define RPC_VERSION UINT32_C(2)

enum rpc_type { RPC_CALL = 0, RPC_REPLY = 1 };

/* In a reply, behind the type: */
enum rpc_reply_stat { RPC_ACCEPTED = 0, RPC_DENIED = 1 };

/* in an accepted one, behind the verifier: */
enum rpc_accept_stat {
    RPC_SUCCESS = 0,       /* the result follows */
    RPC_PROG_UNAVAIL = 1,  /* no such program here */
    RPC_PROG_MISMATCH = 2, /* not this version of it: the lowest and the highest follow */
    RPC_PROC_UNAVAIL = 3,  /* no such procedure */
    RPC_GARBAGE_ARGS = 4,  /* its arguments can't be decoded */
    RPC_SYSTEM_ERR = 5,    /* such as no memory */
};

/* in a denied one: */
enum rpc_reject_stat {
    RPC_MISMATCH = 0,   /* not this version of RPC: the lowest and the highest follow */
    RPC_AUTH_ERROR = 1, /* the caller was not believed: a number that says why follows */
};

enum { RPC_AUTH_NONE = 0, RPC_AUTH_MAX = 400 }; /* a flavour; bytes behind one, at most */

/* Record marking, over TCP: the mark's highest bit, and the largest record that calcd takes. */
#define RECORD_LAST UINT32_C(0x80000000)
enum { RECORD_MAX = 65536 };

enum {
    CALC_CALL_MAX = 40 + 4 + 8 * CALC_VECTOR_MAX, /* bytes of the largest call that calc makes */
    CALC_REPLY_MAX = 36,                          /* of the largest reply that calcd makes */
};

/* ---- What xdr.c offers ---- */

/* What is still to be read of a message. */
struct xdr_in {
    const unsigned char *next;
    size_t left;
};

/* A message that is being written. Whoever makes one brings enough room. */
struct xdr_out {
    unsigned char *bytes;
    size_t len; /* written so far */
};

/*
 * Each reads one item from the front of `in`. false: the message ends before the item does, or the
 * item can't be right; then what `in` and the result hold is not said.
 */
bool xdr_get_uint(struct xdr_in *in, uint32_t *value);
bool xdr_get_hyper(struct xdr_in *in, int64_t *value);
bool xdr_skip_opaque(struct xdr_in *in, uint32_t max); /* opaque<max>, with its padding */
bool xdr_get_args(struct xdr_in *in, struct calc_args *args);
bool xdr_get_vector(struct xdr_in *in, struct calc_vector *vector);
bool xdr_get_result(struct xdr_in *in, struct calc_result *result);

/* Each writes one item behind what `out` holds. */
void xdr_put_uint(struct xdr_out *out, uint32_t value);
void xdr_put_hyper(struct xdr_out *out, int64_t value);
void xdr_put_args(struct xdr_out *out, const struct calc_args *args);
void xdr_put_vector(struct xdr_out *out, const struct calc_vector *vector);
void xdr_put_result(struct xdr_out *out, const struct calc_result *result);

/* ---- Given ---- */

/* A number as people type it: digits alone, at most `most`. -1: it is none. */
static inline long calc_number(const char *text, long most)
{
    long value = 0;

    if (*text == '\0')
        return -1;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || value > (most - (*text - '0')) / 10)
            return -1;
        value = value * 10 + (*text - '0');
    }
    return value;
}

#endif
