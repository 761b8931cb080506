#include "support/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/memory.h"

int file_read_at(int dirfd, const char *name, size_t max, struct strbuf *out, struct error *err)
{
    struct stat st;
    size_t before = out->len;
    int result = -1;
    /* Looked at before it is opened, since opening a device may do something; and once more after
     * it, since the name may have changed hands. */
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return error_errno(err, "cannot read '%s'", name);
    if (!S_ISREG(st.st_mode))
        return error_set(err, FAULT_GRADER, "cannot read '%s': not a regular file", name);
    int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, "cannot read '%s'", name);
    if (fstat(fd, &st) != 0) {
        error_errno(err, "cannot read '%s'", name);
        goto out;
    }
    if (!S_ISREG(st.st_mode)) {
        error_set(err, FAULT_GRADER, "cannot read '%s': not a regular file", name);
        goto out;
    }
    for (;;) {
        char buffer[16384];
        ssize_t n = read(fd, buffer, sizeof buffer);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            error_errno(err, "cannot read '%s'", name);
            goto out;
        }
        if (n == 0)
            break;
        if ((size_t)n > max - (out->len - before)) {
            error_set(err, FAULT_GRADER, "cannot read '%s': larger than %zu bytes", name, max);
            goto out;
        }
        strbuf_add(out, buffer, (size_t)n);
    }
    result = 0;
out:
    if (result != 0)
        strbuf_setlen(out, before);
    close(fd);
    return result;
}

int file_read(const char *path, size_t max, struct strbuf *out, struct error *err)
{
    return file_read_at(AT_FDCWD, path, max, out, err);
}

int file_write_all(int fd, const void *bytes, size_t len)
{
    const char *p = bytes;
    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int file_write_whole(const char *path, mode_t mode, const void *bytes, size_t len,
                     struct error *err)
{
    const char *slash = strrchr(path, '/');
    int dir_len = slash ? (int)(slash - path) + 1 : 0;
    char *temporary = NULL;
    int fd = -1;
    for (int tries = 0; fd < 0 && tries < 100; tries++) {
        uint64_t random;
        if (getrandom(&random, sizeof random, 0) != sizeof random)
            break;
        free(temporary);
        temporary = xasprintf("%.*s.ipclab-%016llx", dir_len, path, (unsigned long long)random);
        fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0 && errno != EEXIST)
            break;
    }
    if (fd < 0) {
        error_errno(err, "cannot write '%s'", path);
        free(temporary);
        return -1;
    }
    int failed = file_write_all(fd, bytes, len) != 0 || fchmod(fd, mode) != 0 || fsync(fd) != 0;
    int saved = errno;
    if (close(fd) != 0 && !failed) {
        failed = 1;
        saved = errno;
    }
    if (!failed && rename(temporary, path) != 0) {
        failed = 1;
        saved = errno;
    }
    if (failed) {
        unlink(temporary);
        errno = saved;
        error_errno(err, "cannot write '%s'", path);
    }
    free(temporary);
    return failed ? -1 : 0;
}

int file_copy(const char *from, const char *to, mode_t mode, struct error *err)
{
    struct stat st;
    int result = -1, out = -1;
    int in = open(from, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (in < 0)
        return error_errno(err, "cannot read '%s'", from);
    if (fstat(in, &st) != 0 || !S_ISREG(st.st_mode)) {
        error_set(err, FAULT_GRADER, "cannot copy '%s': not a regular file", from);
        goto out;
    }
    out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (out < 0) {
        error_errno(err, "cannot write '%s'", to);
        goto out;
    }
    for (;;) {
        char buffer[65536];
        ssize_t n = read(in, buffer, sizeof buffer);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            error_errno(err, "cannot read '%s'", from);
            goto out;
        }
        if (n == 0)
            break;
        if (file_write_all(out, buffer, (size_t)n) != 0) {
            error_errno(err, "cannot write '%s'", to);
            goto out;
        }
    }
    if (fchmod(out, mode) != 0) {
        error_errno(err, "cannot write '%s'", to);
        goto out;
    }
    result = 0;
out:
    if (out >= 0) {
        if (close(out) != 0 && result == 0)
            result = error_errno(err, "cannot write '%s'", to);
        if (result != 0)
            unlink(to);
    }
    close(in);
    return result;
}

int directory_make(const char *path, struct error *err)
{
    char *copy = xstrdup(path);
    int result = 0;
    for (char *p = copy + 1; copy[0] && result == 0; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        char end = *p;
        *p = '\0';
        if (mkdir(copy, 0755) == 0)
            result = chmod(copy, 0755); /* the umask may have taken from it */
        else if (errno != EEXIST)
            result = -1;
        *p = end;
        if (end == '\0')
            break;
    }
    if (result == 0 && !path_is_directory(path)) {
        errno = ENOTDIR;
        result = -1;
    }
    if (result != 0)
        error_errno(err, "cannot make the folder '%s'", path);
    free(copy);
    return result;
}

char *directory_make_private(struct error *err)
{
    const char *base = getenv("TMPDIR");
    char *path = path_join(base && base[0] == '/' ? base : "/tmp", "ipclab-XXXXXX");
    if (mkdtemp(path))
        return path;
    error_errno(err, "cannot make a work folder '%s'", path);
    free(path);
    return NULL;
}

char *path_join(const char *dir, const char *name)
{
    size_t len = strlen(dir);
    return xasprintf("%s%s%s", dir, len > 0 && dir[len - 1] == '/' ? "" : "/", name);
}

bool path_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

bool path_is_directory(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}
