/* seal.c - the engine's and the suite's side of seal.h. */
#include "support/seal.h"

#include <nettle/base16.h>
#include <nettle/chacha.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "support/memory.h"
#include "support/strbuf.h"

/* At most 256 bytes come whole, whatever signals do (getrandom(2)). */
static void random_bytes(unsigned char *bytes, size_t len)
{
    if (getrandom(bytes, len, 0) != (ssize_t)len)
        abort();
}

void seal_new_key(char key[SEAL_KEY_BYTES + 1])
{
    unsigned char random[SEAL_KEY_BYTES / 2];
    random_bytes(random, sizeof random);
    base16_encode_update(key, sizeof random, random);
    key[SEAL_KEY_BYTES] = '\0';
}

size_t seal_place(const char *bytes, size_t len)
{
    const char *mark = memmem(bytes, len, SEAL_MARK, SEAL_MARK_BYTES);
    if (mark == NULL || len - (size_t)(mark - bytes) < SEAL_MARK_BYTES + SEAL_KEY_BYTES)
        return 0;
    return (size_t)(mark - bytes) + SEAL_MARK_BYTES;
}

char *seal_words(const char *key, const char *const *words, size_t count)
{
    struct strbuf bytes = STRBUF_INIT; /* the nonce, then the words */
    struct chacha_ctx chacha;
    unsigned char nonce[SEAL_NONCE_BYTES];
    random_bytes(nonce, sizeof nonce);
    strbuf_add(&bytes, nonce, sizeof nonce);
    for (size_t i = 0; i < count; i++) {
        strbuf_addch(&bytes, '.'); /* what does not begin so is padding */
        strbuf_add(&bytes, words[i], strlen(words[i]) + 1);
    }
    do
        strbuf_addch(&bytes, '\0');
    while (bytes.len % SEAL_BLOCK != 0);
    uint8_t *text = (uint8_t *)bytes.text + SEAL_NONCE_BYTES;
    chacha_set_key(&chacha, (const uint8_t *)key);
    chacha_set_nonce(&chacha, nonce);
    chacha_crypt(&chacha, bytes.len - SEAL_NONCE_BYTES, text, text);
    char *sealed = xmalloc(2 + BASE16_ENCODE_LENGTH(bytes.len));
    sealed[0] = '=';
    base16_encode_update(sealed + 1, bytes.len, (const uint8_t *)bytes.text);
    sealed[1 + BASE16_ENCODE_LENGTH(bytes.len)] = '\0';
    strbuf_release(&bytes);
    return sealed;
}
