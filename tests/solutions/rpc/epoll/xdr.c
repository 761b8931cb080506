/* Marshalling of whole words: everything goes through two functions for n words. */
#include "calc.h"

static bool get_words(struct xdr_in *in, uint32_t *words, size_t count)
{
    if (in->left / 4 < count)
        return false;
    for (size_t i = 0; i < count; i++) {
        uint32_t word = 0;

        for (int b = 0; b < 4; b++)
            word = word * 256 + *in->next++;
        words[i] = word;
        in->left -= 4;
    }
    return true;
}

static void put_words(struct xdr_out *out, const uint32_t *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        unsigned char *b = out->bytes + out->len;

        b[0] = (unsigned char)(words[i] / 16777216);
        b[1] = (unsigned char)(words[i] / 65536 % 256);
        b[2] = (unsigned char)(words[i] / 256 % 256);
        b[3] = (unsigned char)(words[i] % 256);
        out->len += 4;
    }
}

bool xdr_get_uint(struct xdr_in *in, uint32_t *value)
{
    return get_words(in, value, 1);
}

bool xdr_get_hyper(struct xdr_in *in, int64_t *value)
{
    uint32_t w[2];

    if (!get_words(in, w, 2))
        return false;
    *value = (int64_t)((uint64_t)w[0] * 4294967296u + w[1]);
    return true;
}

bool xdr_skip_opaque(struct xdr_in *in, uint32_t max)
{
    uint32_t len, nothing[(RPC_AUTH_MAX + 3) / 4];

    if (max > RPC_AUTH_MAX)
        max = RPC_AUTH_MAX;
    return get_words(in, &len, 1) && len <= max && get_words(in, nothing, len / 4 + (len % 4 > 0));
}

bool xdr_get_args(struct xdr_in *in, struct calc_args *args)
{
    return xdr_get_hyper(in, &args->a) && xdr_get_hyper(in, &args->b);
}

bool xdr_get_vector(struct xdr_in *in, struct calc_vector *vector)
{
    if (!get_words(in, &vector->len, 1) || vector->len > CALC_VECTOR_MAX)
        return false;
    for (uint32_t i = 0; i < vector->len; i++) {
        if (!xdr_get_hyper(in, vector->values + i))
            return false;
    }
    return true;
}

bool xdr_get_result(struct xdr_in *in, struct calc_result *result)
{
    return get_words(in, &result->status, 1) &&
           (result->status != CALC_OK || xdr_get_hyper(in, &result->value));
}

void xdr_put_uint(struct xdr_out *out, uint32_t value)
{
    put_words(out, &value, 1);
}

void xdr_put_hyper(struct xdr_out *out, int64_t value)
{
    uint32_t w[2] = {(uint32_t)((uint64_t)value / 4294967296u), (uint32_t)value};

    put_words(out, w, 2);
}

void xdr_put_args(struct xdr_out *out, const struct calc_args *args)
{
    xdr_put_hyper(out, args->a);
    xdr_put_hyper(out, args->b);
}

void xdr_put_vector(struct xdr_out *out, const struct calc_vector *vector)
{
    put_words(out, &vector->len, 1);
    for (uint32_t i = 0; i < vector->len; i++)
        xdr_put_hyper(out, vector->values[i]);
}

void xdr_put_result(struct xdr_out *out, const struct calc_result *result)
{
    put_words(out, &result->status, 1);
    if (result->status == CALC_OK)
        xdr_put_hyper(out, result->value);
}
