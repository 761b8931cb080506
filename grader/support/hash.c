#include "support/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nettle/hmac.h>
#include <nettle/sha2.h>

#include "support/memory.h"

struct hash {
    struct sha256_ctx sha;
};

struct hash *hash_new(void)
{
    struct hash *h = xmalloc(sizeof *h);
    sha256_init(&h->sha);
    return h;
}

void hash_add(struct hash *h, const void *bytes, size_t len)
{
    sha256_update(&h->sha, len, bytes);
}

void hash_add_string(struct hash *h, const char *text)
{
    hash_add(h, text, strlen(text) + 1);
}

int hash_add_file(struct hash *h, const char *path, struct error *err)
{
    unsigned char buffer[16384];
    struct stat st;
    int result = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return error_errno(err, "cannot open '%s'", path);
    if (fstat(fd, &st) != 0) {
        error_errno(err, "cannot look at '%s'", path);
        goto out;
    }
    if (!S_ISREG(st.st_mode)) {
        error_set(err, FAULT_GRADER, "cannot read '%s': not a regular file", path);
        goto out;
    }
    for (;;) {
        ssize_t n = read(fd, buffer, sizeof buffer);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            error_errno(err, "cannot read '%s'", path);
            goto out;
        }
        if (n == 0)
            break;
        hash_add(h, buffer, (size_t)n);
    }
    result = 0;
out:
    close(fd);
    return result;
}

void hash_finish(struct hash *h, char hex[static HASH_HEX_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_digest(&h->sha, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
    hex[2 * sizeof digest] = '\0';
    free(h);
}

void hash_bytes(const void *bytes, size_t len, char hex[static HASH_HEX_SIZE])
{
    struct hash *h = hash_new();
    hash_add(h, bytes, len);
    hash_finish(h, hex);
}

uint64_t hash_seed(const void *key, size_t key_len, const char *text)
{
    struct hmac_sha256_ctx hmac;
    uint8_t digest[8];
    uint64_t seed = 0;
    hmac_sha256_set_key(&hmac, key_len, key_len ? key : (const void *)"");
    hmac_sha256_update(&hmac, strlen(text), (const uint8_t *)text);
    hmac_sha256_digest(&hmac, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        seed = seed << 8 | digest[i];
    return seed;
}
