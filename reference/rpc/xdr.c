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
#ifdef STARTER
    /* Your code goes here. */
    (void)in, (void)value;
    return false;
#else
    const unsigned char *b = in->next;

    if (in->left < 4)
        return false;
    /* Without the casts a byte of 128 or more would be shifted into an int's sign. */
    *value = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | (uint32_t)b[3];
    in->next += 4;
    in->left -= 4;
    return true;
#endif
}

void xdr_put_uint(struct xdr_out *out, uint32_t value)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)out, (void)value;
#else
    for (int shift = 24; shift >= 0; shift -= 8)
        out->bytes[out->len++] = (unsigned char)(value >> shift);
#endif
}

/* Eight bytes: the high word, then the low word. */
bool xdr_get_hyper(struct xdr_in *in, int64_t *value)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)in, (void)value;
    return false;
#else
    uint32_t high, low;

    if (!xdr_get_uint(in, &high) || !xdr_get_uint(in, &low))
        return false;
    *value = (int64_t)((uint64_t)high << 32 | low);
    return true;
#endif
}

void xdr_put_hyper(struct xdr_out *out, int64_t value)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)out, (void)value;
#else
    xdr_put_uint(out, (uint32_t)((uint64_t)value >> 32));
    xdr_put_uint(out, (uint32_t)value);
#endif
}

/* ---- Bytes ---- */

/*
 * A length, so many bytes, and 0 to 3 bytes more, so that the next item begins at a multiple of 4.
 * Here they are only passed over: credentials and verifiers.
 */
bool xdr_skip_opaque(struct xdr_in *in, uint32_t max)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)in, (void)max;
    return false;
#else
    uint32_t len;

    if (!xdr_get_uint(in, &len) || len > max)
        return false;
    len = (len + 3) / 4 * 4; /* no overflow: len is at most max by now */
    if (in->left < len)
        return false;
    in->next += len;
    in->left -= len;
    return true;
#endif
}

/* ---- The types of calc.x ---- */

/* A struct: its members, one after the other. */
bool xdr_get_args(struct xdr_in *in, struct calc_args *args)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)in, (void)args;
    return false;
#else
    return xdr_get_hyper(in, &args->a) && xdr_get_hyper(in, &args->b);
#endif
}

void xdr_put_args(struct xdr_out *out, const struct calc_args *args)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)out, (void)args;
#else
    xdr_put_hyper(out, args->a);
    xdr_put_hyper(out, args->b);
#endif
}

/* A vector: how many, then each. More than CALC_VECTOR_MAX can't be right. */
bool xdr_get_vector(struct xdr_in *in, struct calc_vector *vector)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)in, (void)vector;
    return false;
#else
    if (!xdr_get_uint(in, &vector->len) || vector->len > CALC_VECTOR_MAX)
        return false;
    for (uint32_t i = 0; i < vector->len; i++) {
        if (!xdr_get_hyper(in, &vector->values[i]))
            return false;
    }
    return true;
#endif
}

void xdr_put_vector(struct xdr_out *out, const struct calc_vector *vector)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)out, (void)vector;
#else
    xdr_put_uint(out, vector->len);
    for (uint32_t i = 0; i < vector->len; i++)
        xdr_put_hyper(out, vector->values[i]);
#endif
}

/*
 * A union: its switch (the status), then what belongs to that: a value to CALC_OK, nothing to any
 * other. So a status that calc.x does not know can be decoded, too; it is for the caller to judge.
 */
bool xdr_get_result(struct xdr_in *in, struct calc_result *result)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)in, (void)result;
    return false;
#else
    result->value = 0;
    if (!xdr_get_uint(in, &result->status))
        return false;
    return result->status != CALC_OK || xdr_get_hyper(in, &result->value);
#endif
}

void xdr_put_result(struct xdr_out *out, const struct calc_result *result)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)out, (void)result;
#else
    xdr_put_uint(out, result->status);
    if (result->status == CALC_OK)
        xdr_put_hyper(out, result->value);
#endif
}
