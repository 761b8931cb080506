/*
 * Takes a submission from a folder. The folder's own path may be a link (it is the instructor's);
 * nothing below it is followed, and only regular files are opened.
 */
#include "intake/intake.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/files.h"
#include "support/memory.h"

enum { PLACES = 2, ENTRIES_MAX = 100000 };

static const char *kind_name(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFLNK:
        return "a link";
    case S_IFDIR:
        return "a folder";
    case S_IFIFO:
        return "a FIFO";
    case S_IFSOCK:
        return "a socket";
    default:
        return "a device";
    }
}

static int take(struct grading *g, int dir, const char *name, struct error *err)
{
    struct strbuf content = STRBUF_INIT;
    struct error reading = ERROR_INIT;
    struct stat st;
    int result = -1;

    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? 0 : error_errno(err, "cannot look at '%s'", name);
    if (!S_ISREG(st.st_mode))
        return intake_refuse(name, kind_name(st.st_mode), err);
    if (st.st_size > (off_t)intake_max_bytes(g))
        return intake_refuse_size(g, name, err);
    if (file_read_at(dir, name, intake_max_bytes(g), &content, &reading) == 0)
        result = intake_take(g, name, content.text, content.len, err);
    else /* no permission, or it changed while we looked */
        error_set(err, FAULT_SUBMISSION, "%s", reading.text);
    strbuf_release(&content);
    return result;
}

static void list_ignored(struct grading *g, int dir, const char *prefix)
{
    int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = copy < 0 ? NULL : fdopendir(copy);
    const struct dirent *entry;
    if (!listing) {
        if (copy >= 0)
            close(copy);
        return; /* a folder that can be entered and not listed: the files are what counts */
    }
    for (int n = 0; n < ENTRIES_MAX && (entry = readdir(listing)); n++) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
            intake_listed(&g->manifest, name) >= 0)
            continue;
        char *shown = xasprintf("%s%s%s", prefix, name, entry->d_type == DT_DIR ? "/" : "");
        intake_ignore(g, shown, strlen(shown));
        free(shown);
    }
    closedir(listing);
}

int intake_folder(struct grading *g, const char *path, struct error *err)
{
    const struct manifest *m = &g->manifest;
    int dirs[PLACES] = {-1, -1}, result = -1;
    bool *there = xcalloc(PLACES * m->file_count, sizeof *there);
    struct stat st;

    dirs[0] = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dirs[0] < 0) {
        error_set(err, FAULT_SUBMISSION, "cannot open the folder '%s': %s", path, strerror(errno));
        goto out;
    }
    dirs[1] = openat(dirs[0], m->lab, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    for (size_t p = 0; p < PLACES; p++) {
        for (size_t i = 0; i < m->file_count && dirs[p] >= 0; i++)
            there[p * m->file_count + i] =
                fstatat(dirs[p], m->files[i].name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    }
    size_t place = intake_choose(m, there, PLACES);
    if (place == 0 && !memchr(there, true, m->file_count) &&
        fstatat(dirs[0], m->lab, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode)) {
        error_set(err, FAULT_SUBMISSION, "'%s' is a link, not a folder", m->lab);
        goto out;
    }
    for (size_t i = 0; i < m->file_count; i++) {
        if (take(g, dirs[place], m->files[i].name, err) != 0)
            goto out;
    }
    char *prefix = place == 0 ? xstrdup("") : xasprintf("%s/", m->lab);
    list_ignored(g, dirs[place], prefix);
    free(prefix);
    result = 0;
out:
    for (size_t p = 0; p < PLACES; p++) {
        if (dirs[p] >= 0)
            close(dirs[p]);
    }
    free(there);
    return result;
}
