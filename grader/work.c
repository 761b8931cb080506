#include "work.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/files.h"
#include "support/memory.h"

static const char prefix[] = "ipclab-";

/* The folder's lock, taken; -1 when it has none or somebody holds it. */
static int take_lock(int folder, int flags)
{
    int lock = openat(folder, "lock", O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | flags, 0600);
    if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB)) {
        close(lock);
        lock = -1;
    }
    return lock;
}

/* Whether its engine is gone; then *lock is held, so that two cleaners don't meet. */
static bool is_abandoned(int parent, const char *name, int *lock)
{
    struct stat st;
    int folder = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    *lock = -1;
    /* Only what we made: another user could put a folder of this name there. */
    if (folder >= 0 && fstat(folder, &st) == 0 && st.st_uid == geteuid())
        *lock = take_lock(folder, 0);
    if (folder >= 0)
        close(folder);
    return *lock >= 0;
}

static void remove_abandoned(const char *parent)
{
    DIR *d = opendir(parent);
    for (const struct dirent *e; d && (e = readdir(d));) {
        int lock;
        if (strncmp(e->d_name, prefix, strlen(prefix)) != 0 ||
            !is_abandoned(dirfd(d), e->d_name, &lock))
            continue;
        tree_remove_at(dirfd(d), e->d_name); /* what resists stays for the next one */
        close(lock);
    }
    if (d)
        closedir(d);
}

int work_open(struct work *w, struct error *err)
{
    *w = (struct work)WORK_INIT;
    const char *tmpdir = getenv("TMPDIR");
    remove_abandoned(tmpdir && *tmpdir ? tmpdir : "/tmp");
    for (int attempt = 0; attempt < 10; attempt++) {
        struct stat st;
        w->path = directory_make_private(err);
        if (!w->path)
            return -1;
        int folder = open(w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        w->lock = folder < 0 ? -1 : take_lock(folder, O_CREAT | O_EXCL);
        if (folder >= 0)
            close(folder);
        /* A cleaner may have come between the file and its lock: then it is removed. */
        if (w->lock >= 0 && fstat(w->lock, &st) == 0 && st.st_nlink == 1) {
            if (chmod(w->path, 0711) == 0)
                return 0;
            error_errno(err, "cannot open '%s' to the tests' users", w->path);
            work_close(w);
            return -1;
        }
        work_close(w);
    }
    return error_set(err, FAULT_GRADER, "cannot lock a work folder below '%s'",
                     tmpdir && *tmpdir ? tmpdir : "/tmp");
}

int work_close(struct work *w)
{
    int result = w->path && tree_remove(w->path) < 0 ? -1 : 0;
    int saved = errno;
    if (w->lock >= 0)
        close(w->lock);
    free(w->path);
    *w = (struct work)WORK_INIT;
    errno = saved;
    return result;
}
