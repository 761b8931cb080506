/*
 * plan.c - which tests will run, and the seed of each.
 */
#include "run/run.h"

#include <stdlib.h>
#include <string.h>

#include "support/files.h"
#include "support/memory.h"
#include "support/strbuf.h"

enum { SECRET_MAX_BYTES = 4096 };

static int check_names(const struct grading *g, struct error *err)
{
    for (size_t i = 0; g->options.tests && g->options.tests[i]; i++) {
        const struct manifest_test *t = manifest_named(&g->manifest, g->options.tests[i]);
        if (!t)
            return error_set(err, FAULT_USAGE,
                             "lab '%s' has no test '%s': see 'ipclab labs %s' for the list",
                             g->manifest.lab, g->options.tests[i], g->manifest.lab);
        if (g->options.public_only && t->visibility != VISIBILITY_PUBLIC)
            return error_set(err, FAULT_USAGE, "test '%s' is not public", g->options.tests[i]);
    }
    return 0;
}

/* The course's key, mixed into hidden tests' seeds so that students cannot compute them. */
static int read_secret(struct strbuf *secret, struct error *err)
{
    const char *path = getenv("IPCLAB_SECRET");
    if (path && *path && file_read(path, SECRET_MAX_BYTES, secret, err)) {
        error_prefix(err, "the course's secret (IPCLAB_SECRET)");
        return -1;
    }
    return 0;
}

static char *shell_quoted(const char *word)
{
    struct strbuf s = STRBUF_INIT;
    if (*word && strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                              "_-./@+:,=") == strlen(word)) {
        strbuf_addstr(&s, word);
    } else {
        strbuf_addch(&s, '\'');
        for (const char *c = word; *c; c++) {
            if (*c == '\'')
                strbuf_addstr(&s, "'\\''");
            else
                strbuf_addch(&s, *c);
        }
        strbuf_addch(&s, '\'');
    }
    return strbuf_detach(&s);
}

/*
 * The command that repeats a run: a student's Makefile says in IPCLAB_REPEAT how it started us
 * ("make check"), since its ipclab may stand in a container.
 */
static char *repeat_command(const struct grading *g, const struct manifest_test *t)
{
    const char *repeat = getenv("IPCLAB_REPEAT");
    unsigned long long seed = g->seed;
    if (repeat && *repeat && t->visibility == VISIBILITY_PUBLIC)
        return xasprintf("%s TEST=%s SEED=%llu", repeat, t->id, seed);
    char *path = shell_quoted(g->options.path);
    char *command =
        xasprintf("ipclab grade %s %s --test %s --seed %llu", g->manifest.lab, path, t->id, seed);
    free(path);
    return command;
}

int run_plan(struct grading *g, struct error *err)
{
    struct strbuf secret = STRBUF_INIT;
    if (check_names(g, err) || read_secret(&secret, err))
        return -1;
    if (g->options.have_seed) {
        g->seed = g->options.seed;
    } else {
        char *name = xasprintf("%s/%s", g->manifest.lab, g->submission.sha256);
        g->seed = hash_seed("", 0, name);
        free(name);
    }
    g->runs = xcalloc(g->manifest.test_count + 1, sizeof(*g->runs));
    for (size_t i = 0; i < g->manifest.test_count; i++) {
        const struct manifest_test *t = &g->manifest.tests[i];
        if (!grading_wants(g, t))
            continue;
        struct run *r = &g->runs[g->run_count++];
        bool hidden = t->visibility != VISIBILITY_PUBLIC;
        char *name = xasprintf("%llu/%s", (unsigned long long)g->seed, t->id);
        r->test = t;
        r->seed = hash_seed(secret.text, hidden ? secret.len : 0, name);
        r->repeat = repeat_command(g, t);
        free(name);
    }
    strbuf_release(&secret);
    return 0;
}
