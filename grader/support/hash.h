/*
 * hash.h - SHA-256 (FIPS 180-4) and HMAC-SHA-256 (RFC 2104), by libnettle, as lower-case hex.
 */
#ifndef IPCLAB_SUPPORT_HASH_H
#define IPCLAB_SUPPORT_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "support/error.h"

enum { HASH_HEX_SIZE = 65 }; /* 64 digits and the NUL */

struct hash; /* one running SHA-256 */

struct hash *hash_new(void);
void hash_add(struct hash *h, const void *bytes, size_t len);
/* Adds `text` and its NUL, so that ("ab","c") and ("a","bc") differ. */
void hash_add_string(struct hash *h, const char *text);
/* Adds the whole regular file; -1 and `err` when it cannot be read. */
int hash_add_file(struct hash *h, const char *path, struct error *err);
/* Writes the digest and frees `h`. */
void hash_finish(struct hash *h, char hex[static HASH_HEX_SIZE]);

void hash_bytes(const void *bytes, size_t len, char hex[static HASH_HEX_SIZE]);

/* The first 8 bytes of HMAC(key, text), as a number: seeds. `key` may be empty. */
uint64_t hash_seed(const void *key, size_t key_len, const char *text);

#endif
