/* tools.c - the suite's own programs, and their arguments, which nobody else can read. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "harness/internal.h"
#include "harness/test.h"
#include "support/seal.h"

const char *tool_path(const char *name)
{
    return text("%s/%s", harness.job.tools, name);
}

/* The name of the tool whose path this is, or NULL. */
static const char *tool_of(const char *path)
{
    size_t len = strlen(harness.job.tools);
    if (strncmp(path, harness.job.tools, len) != 0 || path[len] != '/' ||
        strchr(path + len + 1, '/') != NULL)
        return NULL;
    return path + len + 1;
}

/* Those that can unseal are those that cannot be read (run/tools.h). */
static bool can_unseal(const char *path)
{
    struct stat st;
    return harness.job.seal_key != NULL && stat(path, &st) == 0 && (st.st_mode & S_IROTH) == 0;
}

static const char *seal(const char *const *words, size_t count)
{
    char *sealed = seal_words(harness.job.seal_key, words, count);
    const char *kept = text("%s", sealed);
    free(sealed);
    return kept;
}

/* How many of these are a tool's that it must not share. */
static size_t count_secrets(const char *const *args, size_t count)
{
    size_t n = 0;
    while (n < count && strcmp(args[n], "|") != 0 && (n == 0 || strcmp(args[n - 1], "args") != 0))
        n++;
    return n;
}

size_t tools_seal(const struct program *p, const char *const *args, size_t count, const char **out)
{
    size_t n = 0;
    for (size_t i = 0; i < count;) {
        const char *arg = args[i++], *tool = tool_of(arg);
        bool sealed = tool != NULL && can_unseal(arg);
        size_t secrets = sealed && !p->memcheck ? count_secrets(args + i, count - i) : 0;
        /* valgrind reads what it lets a program execute. */
        out[n++] = sealed && p->memcheck ? tool_path(text("plain/%s", tool)) : arg;
        if (secrets > 0)
            out[n++] = seal(args + i, secrets);
        i += secrets;
    }
    return n;
}

const char *tool_command(const char *name, const char *words)
{
    const char *path = tool_path(name), **list = test_alloc((strlen(words) + 1) * sizeof *list);
    size_t count = 0;
    if (!can_unseal(path))
        return text("'%s' %s", path, words);
    char *rest = (char *)text("%s", words);
    for (char *word; (word = strsep(&rest, " ")) != NULL;)
        if (*word != '\0')
            list[count++] = word;
    struct sealed *s = test_alloc(sizeof *s);
    *s = (struct sealed){harness.sealed, seal(list, count), text("%s", words)};
    harness.sealed = s;
    return text("'%s' %s", path, s->seal);
}

const char *tools_reveal(const char *arg)
{
    for (const struct sealed *s = harness.sealed; s != NULL; s = s->next) {
        const char *at = strstr(arg, s->seal);
        if (at != NULL)
            arg = text("%.*s%s%s", (int)(at - arg), arg, s->words, at + strlen(s->seal));
    }
    return arg;
}
