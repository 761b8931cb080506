/* unseal.c - the tool's side of seal.h: the only file with a place for a key. */
#include <nettle/base16.h>
#include <nettle/chacha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "support/seal.h"

enum { CANNOT = 99 };

static volatile unsigned char place[SEAL_MARK_BYTES + SEAL_KEY_BYTES] = SEAL_MARK;

static _Noreturn void cannot(const char *what)
{
    dprintf(STDERR_FILENO, "cannot read the sealed arguments: %s\n", what);
    _exit(CANNOT);
}

/* The bytes that the hex digits say, and room for one more. */
static unsigned char *bytes_of(const char *hex, size_t *len)
{
    struct base16_decode_ctx decode;
    size_t digits = strlen(hex);
    unsigned char *bytes = malloc(BASE16_DECODE_LENGTH(digits) + 1);
    if (bytes == NULL)
        cannot("no memory");
    *len = BASE16_DECODE_LENGTH(digits);
    base16_decode_init(&decode);
    if (!base16_decode_update(&decode, len, bytes, digits, hex) || !base16_decode_final(&decode))
        cannot("no hex digits");
    return bytes;
}

/* The words end each with a zero byte; an empty one would be padding, so each begins with a dot. */
static char **words_of(char *bytes, size_t len, size_t room, int *count)
{
    char **words = calloc(len / 2 + room + 3, sizeof *words); /* the name, them, `room`, NULL */
    if (words == NULL)
        cannot("no memory");
    bytes[len] = '\0';
    *count = 0;
    for (char *word = bytes; word < bytes + len && *word == '.'; word += strlen(word) + 1)
        words[(*count)++] = word + 1;
    return words;
}

/* The words of a sealed argument, which lie in `opened` until the program ends. */
static unsigned char *opened;

static char **open_seal(const unsigned char key[SEAL_KEY_BYTES], const char *sealed, size_t room,
                        int *count)
{
    struct chacha_ctx chacha;
    size_t len;
    opened = bytes_of(sealed, &len);
    if (len < SEAL_NONCE_BYTES)
        cannot("too short");
    chacha_set_key(&chacha, key);
    chacha_set_nonce(&chacha, opened);
    len -= SEAL_NONCE_BYTES;
    chacha_crypt(&chacha, len, opened + SEAL_NONCE_BYTES, opened + SEAL_NONCE_BYTES);
    explicit_bzero(&chacha, sizeof chacha);
    return words_of((char *)opened + SEAL_NONCE_BYTES, len, room, count);
}

void unseal_arguments(int *argc, char ***argv)
{
    unsigned char key[SEAL_KEY_BYTES];
    for (size_t i = 0; i < SEAL_KEY_BYTES; i++) {
        key[i] = place[SEAL_MARK_BYTES + i];
        place[SEAL_MARK_BYTES + i] = 0;
    }
    if (*argc > 1 && (*argv)[1][0] == '=') {
        int count, behind = *argc - 2;
        char **words = open_seal(key, (*argv)[1] + 1, (size_t)behind, &count);
        memmove(words + 1, words, (size_t)count * sizeof *words);
        words[0] = (*argv)[0];
        memcpy(words + 1 + count, *argv + 2, (size_t)behind * sizeof *words);
        *argc = 1 + count + behind;
        *argv = words;
    }
    explicit_bzero(key, sizeof key);
    prctl(PR_SET_DUMPABLE, 1);
}
