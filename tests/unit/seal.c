/* Sealed arguments: from the suite's words to the tool that reads them. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/child.h"
#include "support/files.h"
#include "support/memory.h"
#include "support/seal.h"
#include "support/strbuf.h"

static char *program(const char *name)
{
    static char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 64);
    cr_assert(n > 0);
    path[n] = '\0';
    snprintf(strrchr(path, '/'), 64, "/programs/%s", name);
    return path;
}

static size_t place_in(const char *name)
{
    struct strbuf bytes = STRBUF_INIT;
    cr_assert_eq(file_read(program(name), 64 << 20, &bytes, NULL), 0);
    size_t place = seal_place(bytes.text, bytes.len);
    strbuf_release(&bytes);
    return place;
}

/* What a copy of unsealer with this key (NULL: none) prints; its exit status in *status. */
static char *told(const char *key, const char *sealed, const char *behind, int *status)
{
    char path[] = "/tmp/unsealer-XXXXXX";
    int fd = mkstemp(path);
    struct error err = ERROR_INIT;
    struct child child = CHILD_INIT;
    char *argv[] = {path, (char *)sealed, (char *)behind, NULL}, *env[] = {NULL};
    cr_assert_geq(fd, 0);
    close(fd);
    unlink(path);
    cr_assert_eq(file_copy(program("unsealer"), path, 0700, &err), 0, "%s", err.text);
    fd = open(path, O_WRONLY);
    if (key != NULL)
        cr_assert_eq(pwrite(fd, key, SEAL_KEY_BYTES, (off_t)place_in("unsealer")), SEAL_KEY_BYTES);
    close(fd);
    child.argv = argv;
    child.env = env;
    child.timeout_ms = 20000;
    child.max_out = 1 << 20;
    cr_assert_eq(child_run(&child, &err), 0, "%s", err.text);
    unlink(path);
    char *out = xstrdup(child.out.text);
    *status = child.status;
    child_release(&child);
    return out;
}

static char key[SEAL_KEY_BYTES + 1];
static const char *const words[] = {"say", "", "two words", "=", ".", "\xff\n"};
enum { WORDS = sizeof words / sizeof *words };

Test(seal, the_tool_reads_what_was_sealed_and_what_follows)
{
    int status;
    seal_new_key(key);
    char *sealed = seal_words(key, words, WORDS);
    char *out = told(key, sealed, "plain", &status);
    cr_assert_str_eq(out, "[say][][two words][=][.][\xff\n][plain]");
    cr_assert_eq(status, 0);
    free(out);
    free(sealed);
    sealed = seal_words(key, words, 0);
    out = told(key, sealed, NULL, &status);
    cr_assert_str_eq(out, "");
    free(out);
    free(sealed);
    char *many[1000];
    for (int i = 0; i < 1000; i++)
        many[i] = (char *)"0123456789";
    sealed = seal_words(key, (const char *const *)many, 1000);
    out = told(key, sealed, NULL, &status);
    cr_assert_eq(strlen(out), 12 * 1000u);
    free(out);
    free(sealed);
}

Test(seal, open_words_stay_as_they_are)
{
    int status;
    char *out = told(NULL, "say", "x", &status);
    cr_assert_str_eq(out, "[say][x]");
    free(out);
}

Test(seal, what_is_no_seal_ends_the_tool)
{
    static const char *const wrong[] = {"=", "=0", "=zz", "=00112233"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int status;
        char *out = told(NULL, wrong[i], NULL, &status);
        cr_assert_str_eq(out, "", "%s: %s", wrong[i], out);
        cr_assert_eq(status, 99, "%s", wrong[i]);
        free(out);
    }
}

Test(seal, another_key_tells_nothing)
{
    char other[SEAL_KEY_BYTES + 1];
    int status;
    seal_new_key(key);
    seal_new_key(other);
    cr_assert_neq(strcmp(key, other), 0);
    char *sealed = seal_words(key, words, WORDS), *out = told(other, sealed, NULL, &status);
    cr_assert_null(strstr(out, "say"), "%s", out);
    free(out);
    free(sealed);
}

Test(seal, the_same_words_never_look_the_same_nor_tell_their_length)
{
    seal_new_key(key);
    char *a = seal_words(key, words, WORDS), *b = seal_words(key, words, WORDS),
         *c = seal_words(key, words, 1);
    cr_assert_neq(strcmp(a, b), 0);
    cr_assert_eq(strlen(a), strlen(c));
    free(a);
    free(b);
    free(c);
}

Test(seal, a_tool_that_does_not_unseal_has_no_place)
{
    cr_assert_gt(place_in("unsealer"), 0u);
    cr_assert_eq(place_in("speak"), 0u);
}
