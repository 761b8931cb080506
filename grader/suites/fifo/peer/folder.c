/* folder.c - folders, FIFOs and other things in them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "suites/fifo/peer/fifo.h"

enum { OPEN_MAX_FDS = 1024, BYTES_KEPT = 4096, FILLER = 1 }; /* FILLER: no text has this byte */

/* ---- names ---- */

const char *dir_make(struct random *r)
{
    static unsigned made; /* no two are called the same */
    const char *dir = text("%s%u", word(r), ++made);
    folder_make(dir);
    return dir;
}

const char *dir_make_deep(struct random *r)
{
    enum { DEEP = 25, NAME_BYTES = 40 };
    const char *dir = dir_make(r);
    for (int i = 0; i < DEEP; i++) {
        dir = text("%s/%s", dir, letters(r, NAME_BYTES));
        folder_make(dir);
    }
    return dir;
}

const char *inside(const char *dir, const char *name)
{
    return text("%s/%s/%s", test_directory(), dir, name);
}

const char *requests_of(const char *dir)
{
    return inside(dir, "requests");
}

const char *reply_of(const char *dir, const char *pid)
{
    return inside(dir, text("reply.%s", pid));
}

/* ---- FIFOs ---- */

static int opened[OPEN_MAX_FDS];
static size_t opened_count;

static void close_opened(void)
{
    for (size_t i = 0; i < opened_count; i++)
        if (opened[i] >= 0)
            close(opened[i]);
    opened_count = 0;
}

void fifo_make(const char *path, unsigned mode)
{
    if (mkfifo(path, 0600) != 0)
        suite_failed("cannot make the FIFO", path);
    if (chmod(path, mode) != 0)
        suite_failed("cannot change the mode of", path);
    give_away(path);
}

void link_make(const char *path, const char *target)
{
    if (symlink(target, path) != 0)
        suite_failed("cannot make the link", path);
}

void socket_make(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int folder = open(test_directory(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* By a short name, for a socket's has 107 bytes at most. */
    int n = snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d%s", folder,
                     path + strlen(test_directory()));
    if (folder < 0 || fd < 0 || n < 0 || (size_t)n >= sizeof address.sun_path ||
        bind(fd, (const struct sockaddr *)&address, sizeof address) != 0)
        suite_failed("cannot make the socket", path);
    close(fd);
    close(folder);
    give_away(path);
}

bool is_fifo(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISFIFO(st.st_mode);
}

int fifo_open(const char *path, int flags)
{
    int fd = open(path, flags | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && (errno == ENXIO || errno == ENOENT || errno == ELOOP))
        return -1;
    if (fd < 0 || opened_count == OPEN_MAX_FDS)
        suite_failed("cannot open the FIFO", path);
    test_at_end(close_opened);
    opened[opened_count++] = fd;
    return fd;
}

void fifo_close(int fd)
{
    for (size_t i = opened_count; i-- > 0;) {
        if (opened[i] != fd)
            continue;
        opened[i] = opened[--opened_count];
        close(fd);
        return;
    }
}

size_t fifo_waiting(int fd)
{
    int waiting = 0;
    if (ioctl(fd, FIONREAD, &waiting) != 0)
        suite_failed("cannot look into", "a FIFO");
    return (size_t)waiting;
}

void fifo_fill(int fd, size_t room)
{
    char page[LINE_MAX_BYTES];
    memset(page, FILLER, sizeof page);
    if (fcntl(fd, F_SETPIPE_SZ, LINE_MAX_BYTES) < 0 ||
        write(fd, page, sizeof page - room) != (ssize_t)(sizeof page - room))
        suite_failed("cannot fill", "a FIFO");
}

const char *fifo_drain(int fd, size_t *len)
{
    char page[LINE_MAX_BYTES];
    const char *all = "";
    size_t count = 0, waiting = fifo_waiting(fd);
    /* What comes while we read is not ours to take: somebody waited for the room. */
    while (waiting > 0) {
        ssize_t n = read(fd, page, waiting < sizeof page ? waiting : sizeof page);
        if (n <= 0)
            break;
        waiting -= (size_t)n;
        const char *from = page, *end = page + n;
        while (from < end && *from == FILLER)
            from++;
        all = text("%.*s%.*s", (int)count, all, (int)(end - from), from);
        count += (size_t)(end - from);
    }
    *len = count;
    return all;
}

/* ---- what is left as it was ---- */

struct left look_at(const char *path)
{
    struct left l = {.path = path, .bytes = ""};
    char bytes[BYTES_KEPT];
    ssize_t n = 0;
    if (lstat(path, &l.st) != 0)
        suite_failed("cannot look at", path);
    if (S_ISLNK(l.st.st_mode)) {
        n = readlink(path, bytes, sizeof bytes);
    } else if (S_ISREG(l.st.st_mode)) {
        int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        n = fd < 0 ? 0 : read(fd, bytes, sizeof bytes);
        if (fd >= 0)
            close(fd);
    }
    l.bytes = text("%.*s", n > 0 ? (int)n : 0, bytes);
    return l;
}

static const char *kind_of(mode_t mode)
{
    return S_ISFIFO(mode)   ? "a FIFO"
           : S_ISREG(mode)  ? "a file"
           : S_ISDIR(mode)  ? "a directory"
           : S_ISLNK(mode)  ? "a symbolic link"
           : S_ISSOCK(mode) ? "a socket"
                            : "something else";
}

/* Where it lies, from the test's folder on. */
static const char *shown(const char *path)
{
    return path + strlen(test_directory()) + 1;
}

void expect_left(const struct left *before, const char *why)
{
    struct stat st;
    const char *expected =
        text("%s '%s' is left as it is: %s", kind_of(before->st.st_mode), shown(before->path), why);
    EXPECT(lstat(before->path, &st) == 0, expected, "it is gone");
    EXPECT((st.st_mode & S_IFMT) == (before->st.st_mode & S_IFMT), expected,
           text("%s lies there now", kind_of(st.st_mode)));
    EXPECT(st.st_ino == before->st.st_ino && st.st_dev == before->st.st_dev, expected,
           text("another one lies there now"));
    EXPECT(st.st_mode == before->st.st_mode, expected,
           text("its mode is %03o now, and was %03o", st.st_mode & 07777u,
                before->st.st_mode & 07777u));
    struct left now = look_at(before->path);
    EXPECT(strcmp(now.bytes, before->bytes) == 0 &&
               (!S_ISREG(st.st_mode) || st.st_size == before->st.st_size),
           expected, text("its contents are %s now", quoted(now.bytes, strlen(now.bytes), 100)));
}

/* Whether `name` is one of the words of `names`. */
static bool is_one_of(const char *name, const char *names)
{
    size_t len = strlen(name);
    for (const char *at = names; *at != '\0'; at += strspn(at, " ")) {
        size_t n = strcspn(at, " ");
        if (n == len && memcmp(at, name, len) == 0)
            return true;
        at += n;
    }
    return false;
}

void expect_names(const char *dir, const char *names, const char *why)
{
    const char *others = "";
    DIR *folder = opendir(text("%s/%s", test_directory(), dir));
    if (folder == NULL)
        suite_failed("cannot look into", dir);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            !is_one_of(entry->d_name, names))
            others = text("%s %s", others, quoted(entry->d_name, strlen(entry->d_name), 60));
    closedir(folder);
    EXPECT(*others == '\0',
           *names == '\0' ? text("nothing is left in DIR: %s", why)
                          : text("nothing but %s lies in DIR: %s", names, why),
           text("there is%s", others));
}

void expect_mode(const char *path, unsigned mode, const char *what)
{
    struct stat st;
    EXPECT(lstat(path, &st) == 0, what, text("'%s' is not there", shown(path)));
    EXPECT(S_ISFIFO(st.st_mode), what, text("'%s' is %s", shown(path), kind_of(st.st_mode)));
    EXPECT((st.st_mode & 07777u) == mode, text("%s, with mode %04o", what, mode),
           text("its mode is %04o", st.st_mode & 07777u));
}
