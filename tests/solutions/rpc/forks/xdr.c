/* Marshalling by memcpy() and the functions for network byte order. */
#include "calc.h"

#include <arpa/inet.h>
#include <endian.h>
#include <string.h>

static bool take(struct xdr_in *in, void *bytes, size_t len)
{
    if (in->left < len)
        return false;
    if (bytes != NULL)
        memcpy(bytes, in->next, len);
    in->next += len;
    in->left -= len;
    return true;
}

static void give(struct xdr_out *out, const void *bytes, size_t len)
{
    memcpy(out->bytes + out->len, bytes, len);
    out->len += len;
}

bool xdr_get_uint(struct xdr_in *in, uint32_t *value)
{
    uint32_t word;

    if (!take(in, &word, sizeof word))
        return false;
    *value = ntohl(word);
    return true;
}

void xdr_put_uint(struct xdr_out *out, uint32_t value)
{
    uint32_t word = htonl(value);

    give(out, &word, sizeof word);
}

bool xdr_get_hyper(struct xdr_in *in, int64_t *value)
{
    uint64_t words;

    if (!take(in, &words, sizeof words))
        return false;
    *value = (int64_t)be64toh(words);
    return true;
}

void xdr_put_hyper(struct xdr_out *out, int64_t value)
{
    uint64_t words = htobe64((uint64_t)value);

    give(out, &words, sizeof words);
}

bool xdr_skip_opaque(struct xdr_in *in, uint32_t max)
{
    uint32_t len;

    return xdr_get_uint(in, &len) && len <= max && take(in, NULL, (len + 3) & ~UINT32_C(3));
}

bool xdr_get_args(struct xdr_in *in, struct calc_args *args)
{
    return in->left >= 16 && xdr_get_hyper(in, &args->a) && xdr_get_hyper(in, &args->b);
}

void xdr_put_args(struct xdr_out *out, const struct calc_args *args)
{
    xdr_put_hyper(out, args->a);
    xdr_put_hyper(out, args->b);
}

bool xdr_get_vector(struct xdr_in *in, struct calc_vector *vector)
{
    uint32_t len;

    if (!xdr_get_uint(in, &len) || len > CALC_VECTOR_MAX || in->left / 8 < len)
        return false;
    vector->len = len;
    for (uint32_t i = 0; i < len; i++)
        xdr_get_hyper(in, &vector->values[i]);
    return true;
}

void xdr_put_vector(struct xdr_out *out, const struct calc_vector *vector)
{
    xdr_put_uint(out, vector->len);
    for (uint32_t i = 0; i < vector->len; i++)
        xdr_put_hyper(out, vector->values[i]);
}

bool xdr_get_result(struct xdr_in *in, struct calc_result *result)
{
    if (!xdr_get_uint(in, &result->status))
        return false;
    switch (result->status) {
    case CALC_OK:
        return xdr_get_hyper(in, &result->value);
    default:
        return true;
    }
}

void xdr_put_result(struct xdr_out *out, const struct calc_result *result)
{
    xdr_put_uint(out, result->status);
    if (result->status == CALC_OK)
        xdr_put_hyper(out, result->value);
}
