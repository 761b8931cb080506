/*
 * seal.h - arguments that only the suite's own programs can read.
 *
 * The stages of a pipeline under test are the suite's tools, and what they are to do stands in
 * their arguments, which pass through the submission. If it could read them it could play the
 * tools itself, and need no process, no pipe and no wait. So the words are encrypted (ChaCha20,
 * RFC 8439, by libnettle) with a key that is another one in each grading: the engine writes it into
 * its copy of the tool, a file that may be executed and not read, and tells it to the suite.
 * Without users of their own, programs can read the copies too: such a grade is not official.
 *
 *   engine   seal_new_key(), seal_place()     once in a grading
 *   suite    seal_words()                     instead of the words: one word, "=" and hex digits
 *   tool     unseal_arguments()               first of all in main()
 */
#ifndef IPCLAB_SUPPORT_SEAL_H
#define IPCLAB_SUPPORT_SEAL_H

#include <stddef.h>

enum { SEAL_KEY_BYTES = 32 };

/* Hex digits, from the system's random numbers; ends in a zero byte that is not the key's. */
void seal_new_key(char key[SEAL_KEY_BYTES + 1]);

/* Where in the bytes of a tool's file the key goes; 0: it reads its arguments as they are. */
size_t seal_place(const char *bytes, size_t len);

/* `count` words as one, which tells nothing of them, nor how long they are within 64 bytes. The
 * caller frees it. */
char *seal_words(const char *key, const char *const *words, size_t count);

/*
 * In the tool: when the first argument is sealed, it is replaced by the words in it; the others
 * follow. Then the key is forgotten, and /proc tells again of the process to whoever is of its user
 * (of a program that cannot be read it does not: ptrace(2)). Ends with 99 when it can't.
 */
void unseal_arguments(int *argc, char ***argv);

/* ---- for the two files of this module ---- */

enum { SEAL_NONCE_BYTES = 8, SEAL_BLOCK = 64, SEAL_MARK_BYTES = 16 };
#define SEAL_MARK "ipclab seal key:" /* and behind it the place */

#endif
