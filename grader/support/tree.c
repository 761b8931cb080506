/*
 * The removal of trees that somebody else made (files.h: tree_remove_at, tree_empty).
 *
 * A folder is never descended into more than one level. Folders inside a folder are moved up to the
 * top and emptied there, so any depth takes three descriptors, no path grows, and no ".." is
 * trusted. Each folder is moved once.
 */
#include "support/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "support/clock.h"
#include "support/memory.h"

enum { TREE_SECONDS = 60 }; /* for one whole removal: whoever adds as fast as we remove */

/* Gives its owner the rights to a folder that its mode keeps from him. */
static void open_closed(int fd)
{
    struct stat st;
    char path[64];
    if (fstat(fd, &st) != 0 || (st.st_mode & 0700) == 0700)
        return;
    /* fchmod() refuses an O_PATH descriptor; its name in /proc cannot be exchanged. */
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (chmod(path, 0700) != 0) {
        /* whoever opens or empties it next tells */
    }
}

/* Opens the folder `name` for listing: no link, no mount crossed; a closed one is opened first. */
static int open_folder(int dirfd, const char *name)
{
    struct open_how how = {
        .flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
        .resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH,
    };
    int handle = (int)syscall(SYS_openat2, dirfd, name, &how, sizeof how);
    if (handle < 0 && (errno == ENOSYS || errno == EPERM)) { /* an old kernel, or a strict filter */
        struct stat ours, theirs;
        handle = openat(dirfd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (handle >= 0 && (fstat(dirfd, &ours) != 0 || fstat(handle, &theirs) != 0 ||
                            ours.st_dev != theirs.st_dev)) {
            close(handle);
            errno = EXDEV;
            return -1;
        }
    }
    if (handle < 0)
        return -1;
    open_closed(handle);
    int fd = openat(handle, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int saved = errno;
    close(handle);
    errno = saved;
    return fd;
}

static DIR *list(int fd)
{
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    if (!dir && copy >= 0)
        close(copy);
    return dir;
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

struct removal {
    int top;            /* the folder that is emptied */
    unsigned long next; /* for names of folders moved up */
    long removed;
    int error; /* the first failure of this pass */
    bool moved;
    int64_t deadline;
};

static void failed(struct removal *r)
{
    if (r->error == 0)
        r->error = errno;
}

static void move_up(struct removal *r, int fd, const char *name)
{
    char to[64];
    int folder = open_folder(fd, name); /* opens a closed one: moving it writes its ".." */
    if (folder < 0) {
        failed(r);
        return;
    }
    close(folder);
    for (;;) {
        snprintf(to, sizeof to, ".ipclab-removal-%lu", r->next++);
        if (renameat2(fd, name, r->top, to, RENAME_NOREPLACE) == 0 ||
            (errno == EINVAL && renameat(fd, name, r->top, to) == 0)) {
            r->moved = true;
            return;
        }
        if (errno != EEXIST) {
            failed(r);
            return;
        }
    }
}

/* Removes the folder `name` of the top, after its files went and its folders were moved up. */
static void remove_folder(struct removal *r, const char *name)
{
    int fd = open_folder(r->top, name);
    DIR *dir = fd < 0 ? NULL : list(fd);
    if (!dir) {
        failed(r);
        if (fd >= 0)
            close(fd);
        return;
    }
    /* Files first, so that a full disk has room for the names of folders. */
    for (int folders = 0; folders < 2; folders++) {
        struct dirent *entry;
        rewinddir(dir);
        while ((entry = readdir(dir)) && clock_ns() < r->deadline) {
            if (is_dots(entry->d_name))
                continue;
            if (unlinkat(fd, entry->d_name, 0) == 0)
                r->removed++;
            else if (errno != EISDIR && errno != EPERM && errno != ENOENT)
                failed(r);
            else if (folders && errno != ENOENT)
                move_up(r, fd, entry->d_name);
        }
    }
    closedir(dir);
    close(fd);
    if (unlinkat(r->top, name, AT_REMOVEDIR) == 0)
        r->removed++;
    else if (errno != ENOTEMPTY && errno != ENOENT)
        failed(r);
}

long tree_empty(int dirfd)
{
    struct removal r = {.top = dirfd, .deadline = clock_ns() + TREE_SECONDS * NS_PER_S};
    open_closed(dirfd);
    for (;;) {
        long before = r.removed;
        bool found = false;
        r.error = 0;
        r.moved = false;
        DIR *dir = list(dirfd);
        if (!dir)
            return -1;
        struct dirent *entry;
        while ((entry = readdir(dir)) && clock_ns() < r.deadline) {
            if (is_dots(entry->d_name))
                continue;
            found = true;
            if (unlinkat(dirfd, entry->d_name, 0) == 0)
                r.removed++;
            else if (errno == EISDIR || errno == EPERM)
                remove_folder(&r, entry->d_name);
            else if (errno != ENOENT)
                failed(&r);
        }
        closedir(dir);
        if (!found)
            return r.removed;
        if (clock_ns() >= r.deadline) {
            errno = ETIMEDOUT;
            return -1;
        }
        if (r.removed == before && !r.moved) {
            errno = r.error ? r.error : ENOTEMPTY;
            return -1;
        }
    }
}

/* `name` is one component here. */
static long remove_one(int dirfd, const char *name)
{
    if (unlinkat(dirfd, name, 0) == 0)
        return 1;
    if (errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -1;
    int fd = open_folder(dirfd, name);
    if (fd < 0)
        return -1;
    long removed = tree_empty(fd);
    int saved = errno;
    close(fd);
    errno = saved;
    if (removed < 0 || unlinkat(dirfd, name, AT_REMOVEDIR) != 0)
        return -1;
    return removed + 1;
}

long tree_remove_at(int dirfd, const char *name)
{
    char *path = xstrdup(name);
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/')
        path[--len] = '\0';
    char *slash = strrchr(path, '/');
    long removed = -1;
    if (!slash) {
        removed = remove_one(dirfd, path);
    } else {
        /* The way to it is the caller's, who may cross links and mounts; what is in it is not. */
        char *dir = slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
        int parent = openat(dirfd, dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (parent >= 0) {
            removed = remove_one(parent, slash + 1);
            int saved = errno;
            close(parent);
            errno = saved;
        } else if (errno == ENOENT) {
            removed = 0;
        }
        free(dir);
    }
    free(path);
    return removed;
}

long tree_remove(const char *path)
{
    char *folder = xstrdup(path), *slash = strrchr(folder, '/');
    const char *name = path, *parent = ".";
    if (slash) {
        name = path + (slash - folder) + 1;
        parent = slash == folder ? "/" : folder;
        *slash = '\0';
    }
    int fd = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
    long removed = fd < 0 ? -1 : tree_remove_at(fd, name);
    int saved = errno;
    if (fd >= 0)
        close(fd);
    free(folder);
    errno = saved;
    return removed;
}
