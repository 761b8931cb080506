/*
 * xdr.c - marshalling: C values to bytes of a message, and back.
 *
 * What it teaches: two machines need not agree on anything but the bytes between them. Which byte
 * of a number comes first, how large it is, where padding lies, what an enum is: each compiler
 * decides that for itself, and XDR (RFC 4506) decides it for the wire. So no struct is ever sent:
 * each item goes through one of these functions. What comes in was written by a stranger: nothing
 * is read behind the message's end, whatever a length in it claims.
 *
 * calc.h has what each function is for.
 */
#include "calc.h"

/* ---- Numbers ---- */

/* Four bytes, the highest first. An enum, a bool and a length are such a number, too. */
bool xdr_get_uint(struct xdr_in *in, uint32_t *value)
{
    /* Your code goes here. */
    (void)in, (void)value;
    return false;
}

void xdr_put_uint(struct xdr_out *out, uint32_t value)
{
    /* Your code goes here. */
    (void)out, (void)value;
}

/* Eight bytes: the high word, then the low word. */
bool xdr_get_hyper(struct xdr_in *in, int64_t *value)
{
    /* Your code goes here. */
    (void)in, (void)value;
    return false;
}

void xdr_put_hyper(struct xdr_out *out, int64_t value)
{
    /* Your code goes here. */
    (void)out, (void)value;
}

/* ---- Bytes ---- */

/*
 * A length, so many bytes, and 0 to 3 bytes more, so that the next item begins at a multiple of 4.
 * Here they are only passed over: credentials and verifiers.
 */
bool xdr_skip_opaque(struct xdr_in *in, uint32_t max)
{
    /* Your code goes here. */
    (void)in, (void)max;
    return false;
}

/* ---- The types of calc.x ---- */

/* A struct: its members, one after the other. */
bool xdr_get_args(struct xdr_in *in, struct calc_args *args)
{
    /* Your code goes here. */
    (void)in, (void)args;
    return false;
}

void xdr_put_args(struct xdr_out *out, const struct calc_args *args)
{
    /* Your code goes here. */
    (void)out, (void)args;
}

/* A vector: how many, then each. More than CALC_VECTOR_MAX can't be right. */
bool xdr_get_vector(struct xdr_in *in, struct calc_vector *vector)
{
    /* Your code goes here. */
    (void)in, (void)vector;
    return false;
}

void xdr_put_vector(struct xdr_out *out, const struct calc_vector *vector)
{
    /* Your code goes here. */
    (void)out, (void)vector;
}

/*
 * A union: its switch (the status), then what belongs to that: a value to CALC_OK, nothing to any
 * other. So a status that calc.x does not know can be decoded, too; it is for the caller to judge.
 */
bool xdr_get_result(struct xdr_in *in, struct calc_result *result)
{
    /* Your code goes here. */
    (void)in, (void)result;
    return false;
}

void xdr_put_result(struct xdr_out *out, const struct calc_result *result)
{
    /* Your code goes here. */
    (void)out, (void)result;
}
