/*
 * Takes a submission from a commit of a local git repository, by git's own plumbing as a child.
 *
 * The repository is the student's, its configuration too: git is told where everything is by its
 * environment, which comes before what the repository says; it may not talk to anybody, and it runs
 * in the sandbox (Landlock), where it sees the system and this repository and nothing else. Its
 * objects must be its own: with borrowed ones (alternates, links) a name could lead to another
 * person's files. Only commands that read objects are used: no index, no work tree, no filters, no
 * hooks.
 */
#include "intake/intake.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandbox/sandbox.h"
#include "support/child.h"
#include "support/files.h"
#include "support/memory.h"

enum {
    PLACES = 2,
    ENTRIES_MAX = 10000,
    LISTING_MAX = 4 << 20,
    GIT_SECONDS = 20,
    GIT_MEMORY_MB = 1024,
    GIT_DESCRIPTORS = 256,
    ENVIRONMENT_MAX = 64,
};

struct git {
    const char *repository; /* as the user wrote it */
    char *directory;        /* the .git folder, resolved */
    char *env[ENVIRONMENT_MAX];
    size_t env_count;
    struct policy policy;
    struct sandbox sandbox;
};

struct entry {
    const char *mode, *type, *object, *name; /* in the listing's own memory */
};

static bool is_there(const char *dir, const char *name, struct stat *st)
{
    char *path = path_join(dir, name);
    bool is = lstat(path, st) == 0;
    free(path);
    return is;
}

static int check_own(const struct git *git, struct error *err)
{
    /* Each a way to make git look elsewhere. */
    static const char *const elsewhere[] = {"commondir", "objects/info/alternates", "gitdir"};
    static const char *const own[] = {"objects",     "refs",         "HEAD",        "config",
                                      "packed-refs", "objects/pack", "objects/info"};
    struct stat st;
    for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++) {
        if (is_there(git->directory, elsewhere[i], &st))
            return error_set(err, FAULT_SUBMISSION,
                             "the repository '%s' borrows from another one ('%s'): hand in a full "
                             "clone ('git clone --no-hardlinks --dissociate')",
                             git->repository, elsewhere[i]);
    }
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        if (is_there(git->directory, own[i], &st) && !S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
            return error_set(err, FAULT_SUBMISSION,
                             "'%s' of the repository '%s' is a link or no file", own[i],
                             git->repository);
    }
    return 0;
}

/* A .git that is a file or link points elsewhere: it is not followed. */
static int find_directory(struct git *git, struct error *err)
{
    char resolved[PATH_MAX];
    struct stat st;
    if (!realpath(git->repository, resolved))
        return error_errno(err, "cannot look at '%s'", git->repository);
    if (is_there(resolved, ".git", &st)) {
        if (!S_ISDIR(st.st_mode))
            return error_set(err, FAULT_SUBMISSION,
                             "'.git' of '%s' is no folder: hand in a full clone", git->repository);
        git->directory = path_join(resolved, ".git");
    } else if (is_there(resolved, "HEAD", &st) && is_there(resolved, "objects", &st)) {
        git->directory = xstrdup(resolved);
    } else {
        return error_set(err, FAULT_SUBMISSION, "'%s' is no git repository", git->repository);
    }
    return check_own(git, err);
}

static void set(struct git *git, const char *name, const char *value)
{
    if (git->env_count + 1 == ENVIRONMENT_MAX)
        abort();
    git->env[git->env_count++] = xasprintf("%s=%s", name, value);
}

static void make_environment(struct git *git)
{
    static const char *const fixed[][2] = {
        {"PATH", "/usr/local/bin:/usr/bin:/bin"},
        {"HOME", "/nonexistent"},
        {"LC_ALL", "C"},
        {"GIT_CONFIG_NOSYSTEM", "1"},
        {"GIT_CONFIG_SYSTEM", "/dev/null"},
        {"GIT_CONFIG_GLOBAL", "/dev/null"},
        {"GIT_ATTR_NOSYSTEM", "1"},
        {"GIT_NO_REPLACE_OBJECTS", "1"},
        {"GIT_GRAFT_FILE", "/dev/null"},
        {"GIT_NO_LAZY_FETCH", "1"}, /* git 2.39.4; before it, no protocol is allowed */
        {"GIT_ALLOW_PROTOCOL", "none"},
        {"GIT_OPTIONAL_LOCKS", "0"},
        {"GIT_TERMINAL_PROMPT", "0"},
        {"GIT_ASKPASS", "/bin/false"},
        {"GIT_SSH_COMMAND", "/bin/false"},
        {"GIT_PROXY_COMMAND", "/bin/false"},
        {"GIT_PAGER", "cat"},
        {"GIT_EDITOR", "/bin/false"},
        {"GIT_CEILING_DIRECTORIES", "/"},
    };
    static const char *const config[][2] = {
        {"safe.directory", "*"},           {"protocol.allow", "never"},
        {"core.fsmonitor", "false"},       {"core.hooksPath", "/dev/null"},
        {"core.commitGraph", "false"},     {"core.multiPackIndex", "false"},
        {"core.useReplaceRefs", "false"},  {"core.attributesFile", "/dev/null"},
        {"core.quotePath", "false"},       {"core.warnAmbiguousRefs", "false"},
        {"fetch.recurseSubmodules", "no"}, {"submodule.recurse", "false"},
    };
    char name[40], count[8];
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        set(git, fixed[i][0], fixed[i][1]);
    char *objects = path_join(git->directory, "objects");
    set(git, "GIT_DIR", git->directory);
    set(git, "GIT_COMMON_DIR", git->directory);
    set(git, "GIT_OBJECT_DIRECTORY", objects);
    free(objects);
    size_t n = sizeof config / sizeof *config;
    snprintf(count, sizeof count, "%zu", n);
    set(git, "GIT_CONFIG_COUNT", count);
    for (size_t i = 0; i < n; i++) {
        snprintf(name, sizeof name, "GIT_CONFIG_KEY_%zu", i);
        set(git, name, config[i][0]);
        snprintf(name, sizeof name, "GIT_CONFIG_VALUE_%zu", i);
        set(git, name, config[i][1]);
    }
}

static int enter(void *argument, int keep_fd, const char **step)
{
    return sandbox_enter(argument, keep_fd, step);
}

/* Runs git; `max` bytes of its output are wanted. -1 and `err` when there is no good answer. */
static int run(struct git *git, char *const *argv, size_t max, struct strbuf *out,
               struct error *err)
{
    struct error starting = ERROR_INIT;
    struct child child = CHILD_INIT;
    int result = -1;
    child.argv = argv;
    child.env = git->env;
    child.directory = "/";
    child.timeout_ms = GIT_SECONDS * 1000;
    child.max_out = max + 1;
    child.before_exec = enter;
    child.before_exec_argument = &git->sandbox;
    if (child_run(&child, &starting) != 0)
        error_set(err, child.timed_out ? FAULT_SUBMISSION : FAULT_GRADER,
                  "git cannot read '%s': %s", git->repository, starting.text);
    else if (child.status != 0)
        error_set(err, FAULT_SUBMISSION, "git cannot read '%s': %.*s", git->repository,
                  (int)strcspn(child.err.text, "\n"),
                  child.signal ? strsignal(child.signal) : child.err.text);
    else if (child.out_bytes > max)
        error_set(err, FAULT_SUBMISSION, "'%s': more than %zu bytes", git->repository, max);
    else
        result = 0;
    if (result == 0)
        strbuf_add(out, child.out.text, child.out.len);
    child_release(&child);
    return result;
}

static int resolve(struct grading *g, struct git *git, const char *commit, struct error *err)
{
    char *expression = xasprintf("%s^{commit}", commit);
    char *const argv[] = {"git", "rev-parse", "--verify", "--end-of-options", expression, NULL};
    struct error answer = ERROR_INIT;
    struct strbuf out = STRBUF_INIT;
    int result = run(git, argv, 200, &out, &answer);
    size_t len = strspn(out.text, "0123456789abcdef");
    if (answer.fault == FAULT_GRADER)
        error_set(err, FAULT_GRADER, "%s", answer.text);
    else if (result != 0 || (len != 40 && len != 64) || out.len != len + 1 || out.text[len] != '\n')
        result = error_set(err, FAULT_SUBMISSION, "the repository '%s' has no commit '%s'%s%s",
                           git->repository, commit, answer.text[0] ? ": " : "", answer.text);
    else
        g->submission.commit = xstrndup(out.text, len);
    free(expression);
    strbuf_release(&out);
    return result;
}

/* "MODE TYPE OBJECT\tNAME\0": cuts the record at *at in place. False at the end, or for no record.
 */
static bool next_entry(struct strbuf *listing, size_t *at, struct entry *e)
{
    char *p = listing->text + *at, *tab;
    if (*at >= listing->len || !(tab = strchr(p, '\t')))
        return false;
    *at += strlen(p) + 1;
    *tab = '\0';
    e->name = tab + 1;
    e->mode = p;
    char *space = strchr(p, ' ');
    if (!space)
        return false;
    *space = '\0';
    e->type = space + 1;
    if (!(space = strchr(space + 1, ' ')))
        return false;
    *space = '\0';
    e->object = space + 1;
    return true;
}

/* The names of one tree; an empty listing when the commit has no such folder. */
static int list(struct grading *g, struct git *git, bool lab, struct strbuf *listing,
                struct error *err)
{
    char *below = xasprintf("%s/", g->manifest.lab);
    char *const argv[] = {"git", "ls-tree", "-z", g->submission.commit, lab ? below : NULL, NULL};
    int result = run(git, argv, LISTING_MAX, listing, err);
    free(below);
    return result;
}

static const char *base_name(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash ? slash + 1 : name;
}

static int take(struct grading *g, struct git *git, const struct entry *e, struct error *err)
{
    char *const argv[] = {"git", "cat-file", "blob", (char *)e->object, NULL};
    struct strbuf content = STRBUF_INIT;
    int result = -1;
    if (strcmp(e->mode, "120000") == 0)
        return intake_refuse(e->name, "a link", err);
    if (strcmp(e->type, "tree") == 0)
        return intake_refuse(e->name, "a folder", err);
    if (strcmp(e->type, "blob") != 0)
        return intake_refuse(e->name, "a submodule", err);
    /* One byte more than allowed: intake_take() then says what is wrong. */
    struct error reading = ERROR_INIT;
    if (run(git, argv, intake_max_bytes(g), &content, &reading) == 0)
        result = intake_take(g, base_name(e->name), content.text, content.len, err);
    else if (strstr(reading.text, ": more than "))
        result = intake_refuse_size(g, e->name, err);
    else
        error_set(err, reading.fault, "'%s': %s", e->name, reading.text);
    strbuf_release(&content);
    return result;
}

/* Calls for each entry of the listing; `there` and `names` are of one place. */
static int take_place(struct grading *g, struct git *git, const struct strbuf *listing, bool look,
                      bool *there, struct error *err)
{
    struct strbuf copy = STRBUF_INIT; /* next_entry() cuts it */
    struct entry e;
    int result = 0, n = 0;
    size_t at = 0;
    strbuf_add(&copy, listing->text, listing->len);
    while (result == 0 && next_entry(&copy, &at, &e)) {
        int file = intake_listed(&g->manifest, base_name(e.name));
        if (++n > ENTRIES_MAX)
            result = error_set(err, FAULT_SUBMISSION, "a folder of it has more than %d entries",
                               ENTRIES_MAX);
        else if (file >= 0 && look)
            there[file] = true;
        else if (file >= 0)
            result = take(g, git, &e, err);
        else if (!look)
            intake_ignore(g, e.name, strlen(e.name));
    }
    strbuf_release(&copy);
    return result;
}

static int take_files(struct grading *g, struct git *git, struct error *err)
{
    size_t files = g->manifest.file_count;
    struct strbuf listings[PLACES] = {STRBUF_INIT, STRBUF_INIT};
    bool *there = xcalloc(PLACES * files, sizeof *there);
    int result = 0;
    for (size_t p = 0; p < PLACES && result == 0; p++) {
        result = list(g, git, p == 1, &listings[p], err);
        if (result == 0)
            result = take_place(g, git, &listings[p], true, there + p * files, err);
    }
    if (result == 0) {
        size_t place = intake_choose(&g->manifest, there, PLACES);
        result = take_place(g, git, &listings[place], false, NULL, err);
    }
    for (size_t p = 0; p < PLACES; p++)
        strbuf_release(&listings[p]);
    free(there);
    return result;
}

int intake_git(struct grading *g, const char *repository, const char *commit, struct error *err)
{
    struct git git = {.repository = repository};
    int result = -1;
    policy_init(&git.policy);
    if (find_directory(&git, err) != 0)
        goto out;
    make_environment(&git);
    policy_allow_runtime(&git.policy);
    policy_allow_commands(&git.policy);
    policy_allow(&git.policy, git.directory, PATH_READ);
    git.policy.cpu_seconds = GIT_SECONDS;
    git.policy.memory_mb = GIT_MEMORY_MB;
    git.policy.descriptors = GIT_DESCRIPTORS;
    if (sandbox_prepare(&git.sandbox, &git.policy, getenv("IPCLAB_LAYERS_OFF"), err) != 0)
        goto out;
    if (resolve(g, &git, commit, err) == 0)
        result = take_files(g, &git, err);
    sandbox_release(&git.sandbox);
out:
    policy_release(&git.policy);
    for (size_t i = 0; i < git.env_count; i++)
        free(git.env[i]);
    free(git.directory);
    return result;
}
