#include "intake/intake.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/clock.h"
#include "support/files.h"
#include "support/memory.h"
#include "support/text.h"

enum { IGNORED_MAX = 100, NAME_SHOWN_MAX = 256 };

int intake_listed(const struct manifest *m, const char *name)
{
    for (size_t i = 0; i < m->file_count; i++) {
        if (strcmp(m->files[i].name, name) == 0)
            return (int)i;
    }
    return -1;
}

size_t intake_choose(const struct manifest *m, const bool *there, size_t places)
{
    for (int required = 1; required >= 0; required--) {
        for (size_t p = 0; p < places; p++) {
            for (size_t i = 0; i < m->file_count; i++) {
                if (there[p * m->file_count + i] && (m->files[i].required || !required))
                    return p;
            }
        }
    }
    return 0;
}

int intake_refuse(const char *name, const char *what, struct error *err)
{
    return error_set(err, FAULT_SUBMISSION, "'%s' is %s, not a regular file", name, what);
}

size_t intake_max_bytes(const struct grading *g)
{
    return (size_t)g->manifest.limits.submission_kb * 1024;
}

int intake_refuse_size(const struct grading *g, const char *name, struct error *err)
{
    return error_set(err, FAULT_SUBMISSION, "'%s' is larger than the %d KiB that a file may have",
                     name, g->manifest.limits.submission_kb);
}

static bool taken(const struct submission *s, const char *name)
{
    for (size_t i = 0; i < s->file_count; i++) {
        if (strcmp(s->files[i], name) == 0)
            return true;
    }
    return false;
}

int intake_take(struct grading *g, const char *name, const void *bytes, size_t len,
                struct error *err)
{
    struct submission *s = &g->submission;
    if (intake_listed(&g->manifest, name) < 0)
        return error_set(err, FAULT_GRADER, "'%s' is no file of the lab", name);
    if (taken(s, name))
        return error_set(err, FAULT_SUBMISSION, "'%s' is there twice", name);
    if (len > intake_max_bytes(g))
        return intake_refuse_size(g, name, err);
    /* Not file_write_whole(): the work folder is private, and nothing needs to reach the disk. */
    char *path = path_join(s->directory, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    int failed = fd < 0 || file_write_all(fd, bytes, len) != 0;
    if (failed)
        error_errno(err, "cannot write '%s'", path);
    if (fd >= 0)
        close(fd);
    free(path);
    if (failed)
        return -1;
    s->files = xrealloc(s->files, (s->file_count + 1) * sizeof *s->files);
    s->files[s->file_count++] = xstrdup(name);
    return 0;
}

void intake_ignore(struct grading *g, const char *name, size_t len)
{
    struct submission *s = &g->submission;
    struct strbuf clean = STRBUF_INIT;
    size_t kept = s->ignored_count < IGNORED_MAX ? s->ignored_count : IGNORED_MAX, at = kept;

    text_clean_line(&clean, name, len, NAME_SHOWN_MAX);
    s->ignored_count++;
    if (!s->ignored)
        s->ignored = xcalloc(IGNORED_MAX, sizeof *s->ignored);
    /* Sorted as they come: a folder is listed in no order, and may have a million names. */
    while (at > 0 && strcmp(s->ignored[at - 1], clean.text) > 0)
        at--;
    if (at < IGNORED_MAX) {
        if (kept == IGNORED_MAX)
            free(s->ignored[--kept]);
        memmove(s->ignored + at + 1, s->ignored + at, (kept - at) * sizeof *s->ignored);
        s->ignored[at] = strbuf_detach(&clean);
    }
    strbuf_release(&clean);
}

/* The last part of the path, as a name for people. */
static void name_folder(struct submission *s, const char *path)
{
    struct strbuf clean = STRBUF_INIT;
    char resolved[PATH_MAX];
    char *copy = xstrdup(path);
    for (int tries = 0;; tries++) {
        size_t len = strlen(copy);
        while (len > 1 && copy[len - 1] == '/')
            copy[--len] = '\0';
        const char *slash = strrchr(copy, '/');
        const char *base = slash && slash[1] ? slash + 1 : copy;
        bool vague = strcmp(base, ".") == 0 || strcmp(base, "..") == 0;
        if (!vague || tries > 0 || !realpath(path, resolved)) {
            text_clean_line(&clean, base, strlen(base), NAME_SHOWN_MAX);
            break;
        }
        free(copy);
        copy = xstrdup(resolved);
    }
    free(copy);
    s->id = strbuf_detach(&clean);
}

/* What stands at options.path decides the source; a path that exists comes before
 * REPOSITORY@COMMIT. */
static int take_from_source(struct grading *g, struct error *err)
{
    const char *path = g->options.path;
    struct submission *s = &g->submission;
    struct stat st;

    if (stat(path, &st) == 0) {
        name_folder(s, path);
        if (S_ISDIR(st.st_mode))
            return intake_folder(g, path, err);
        if (S_ISREG(st.st_mode))
            return intake_archive(g, path, err);
        return error_set(err, FAULT_SUBMISSION, "'%s' is neither a folder nor an archive", path);
    }
    int why = errno;
    const char *at = strrchr(path, '@');
    if (at && at != path && at[1]) {
        char *repository = xstrndup(path, (size_t)(at - path));
        bool is = path_is_directory(repository);
        int result = -1;
        if (is) {
            struct strbuf clean = STRBUF_INIT;
            text_clean_line(&clean, path, strlen(path), NAME_SHOWN_MAX);
            s->id = strbuf_detach(&clean);
            result = intake_git(g, repository, at + 1, err);
        }
        free(repository);
        if (is)
            return result;
    }
    if (why == ENOENT || why == ENOTDIR)
        return error_set(err, FAULT_USAGE, "there is no folder, archive or REPOSITORY@COMMIT '%s'",
                         path);
    return error_set(err, FAULT_USAGE, "cannot look at '%s': %s", path, strerror(why));
}

static int check_required(const struct grading *g, struct error *err)
{
    struct strbuf missing = STRBUF_INIT;
    int count = 0;
    for (size_t i = 0; i < g->manifest.file_count; i++) {
        const struct manifest_file *file = &g->manifest.files[i];
        if (file->required && !taken(&g->submission, file->name))
            strbuf_addf(&missing, "%s'%s'", count++ ? ", " : "", file->name);
    }
    if (count > 0)
        error_set(err, FAULT_SUBMISSION,
                  "%s %s missing: the lab '%s' needs %s at the top of what is "
                  "handed in, or in a folder '%s'",
                  missing.text, count == 1 ? "is" : "are", g->manifest.lab,
                  count == 1 ? "it" : "them", g->manifest.lab);
    strbuf_release(&missing);
    return count > 0 ? -1 : 0;
}

/* In the manifest's order, so that the same files have the same hash however they came. */
static int hash_files(struct grading *g, struct error *err)
{
    struct submission *s = &g->submission;
    struct hash *h = hash_new();
    struct strbuf content = STRBUF_INIT;
    int result = 0;
    for (size_t i = 0; i < g->manifest.file_count && result == 0; i++) {
        const char *name = g->manifest.files[i].name;
        if (!taken(s, name))
            continue;
        char *path = path_join(s->directory, name), size[24];
        strbuf_reset(&content);
        result = file_read(path, intake_max_bytes(g), &content, err);
        snprintf(size, sizeof size, "%zu", content.len);
        hash_add_string(h, name);
        hash_add_string(h, size);
        hash_add(h, content.text, content.len);
        free(path);
    }
    strbuf_release(&content);
    hash_finish(h, s->sha256);
    return result;
}

int intake(struct grading *g, struct error *err)
{
    struct submission *s = &g->submission;
    clock_date(s->received_at);
    s->directory = path_join(g->work, "submission");
    if (mkdir(s->directory, 0700) != 0)
        return error_errno(err, "cannot make the folder '%s'", s->directory);
    int result = take_from_source(g, err);
    if (result == 0)
        result = check_required(g, err);
    /* A refused one has a hash too, over what was taken before it was refused. */
    if (hash_files(g, err) != 0)
        result = -1;
    return result;
}
