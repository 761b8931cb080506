#include "sandbox/slot_parts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "sandbox/layers.h"
#include "support/clock.h"
#include "support/files.h"
#include "support/fsids.h"
#include "support/memory.h"

/*
 * Files are removed as the slot's uid, their owner: in a container root may lack the right to act
 * as owner of others' files. What the uid may not remove, a file that a suite put into the folder,
 * is removed as ourselves.
 */
static struct fsids act_as_slot(const struct slot *s)
{
    return s->own_ids ? fsids_take(s->uid, getegid()) : (struct fsids){.taken = false};
}

/* ---- names in folders that everybody may write ---- */

/* A folder as it was when all of it had been looked at. */
struct seen {
    uid_t uid; /* for whom: another uid's names may have been passed over */
    dev_t device;
    ino_t inode;
    struct timespec changed;
    bool valid;
};

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/*
 * Whether nothing was made in the folder since: each new name changes its ctime, which nobody can
 * set. Times are as coarse as the kernel's tick, so a change of the last moments is never trusted.
 */
static bool unchanged(const struct seen *seen, const struct slot *s, const struct stat *now)
{
    return seen->valid && seen->uid == s->uid && seen->device == now->st_dev &&
           seen->inode == now->st_ino && same_time(seen->changed, now->st_ctim);
}

static void remember(struct seen *seen, const struct slot *s, const struct stat *before,
                     const struct timespec *clock)
{
    long long age = (clock->tv_sec - before->st_ctim.tv_sec) * NS_PER_S + clock->tv_nsec -
                    before->st_ctim.tv_nsec;

    *seen = (struct seen){.uid = s->uid,
                          .device = before->st_dev,
                          .inode = before->st_ino,
                          .changed = before->st_ctim,
                          .valid = age > NS_PER_S / 10};
}

static int remove_entry(const struct slot *s, int dirfd, const char *name)
{
    struct fsids ours = act_as_slot(s);
    long removed = tree_remove_at(dirfd, name);

    fsids_restore(&ours);
    if (removed < 0)
        removed = tree_remove_at(dirfd, name);
    return removed < 0 ? -1 : 0;
}

/* Without a uid of the slot's own, what Criterion tells its worker belongs to the same user. */
static bool is_criterions(const struct slot *s, const char *name)
{
    static const char start[] = "bxfi_";

    return !s->own_ids && strncmp(name, start, strlen(start)) == 0 &&
           strspn(name + strlen(start), "0123456789") == strlen(name + strlen(start));
}

/* Removes what is the slot's in the open folder, which is closed; how many entries, -1 and `err`.
 */
static int remove_owned(const struct slot *s, int fd, const char *path, struct error *err)
{
    DIR *dir = fdopendir(fd);
    const struct dirent *entry;
    struct stat st;
    int removed = 0;

    if (dir == NULL) {
        close(fd);
        return 0;
    }
    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        if ((st.st_uid != s->uid && st.st_gid != s->gid) || is_criterions(s, entry->d_name))
            continue;
        if (remove_entry(s, dirfd(dir), entry->d_name) != 0)
            error_errno(err, "cannot remove '%s' of uid %u in '%s'", entry->d_name,
                        (unsigned)s->uid, path);
        removed++;
    }
    closedir(dir);
    return err->fault != FAULT_NONE ? -1 : removed;
}

static int sweep_folder(const struct slot *s, const char *path, struct seen *seen,
                        struct error *err)
{
    struct timespec clock;
    struct stat before;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int removed;

    if (fd == -1)
        return 0;
    clock_gettime(CLOCK_REALTIME_COARSE, &clock);
    if (fstat(fd, &before) != 0 || unchanged(seen, s, &before)) {
        close(fd);
        return 0;
    }
    removed = remove_owned(s, fd, path, err);
    if (removed == 0)
        remember(seen, s, &before, &clock);
    return removed;
}

/* ---- System V ---- */

enum sysv_kind { SYSV_SHM, SYSV_SEM, SYSV_MSG };

struct sysv_list {
    enum sysv_kind kind;
    int ids[512];
    size_t count;
};

/* Runs as the slot's uid, which made them: root may have been left without the right to. */
static void remove_sysv(const void *argument)
{
    const struct sysv_list *list = argument;

    for (size_t i = 0; i < list->count; i++) {
        if (list->kind == SYSV_SHM)
            shmctl(list->ids[i], IPC_RMID, NULL);
        else if (list->kind == SYSV_SEM)
            semctl(list->ids[i], 0, IPC_RMID);
        else
            msgctl(list->ids[i], IPC_RMID, NULL);
    }
}

/* Where the column `name` stands in the heading of a /proc/sysvipc file; -1: it has none. */
static int column_of(const char *heading, const char *name)
{
    char text[512], *save, *word;
    int column = 0;

    snprintf(text, sizeof(text), "%s", heading);
    for (word = strtok_r(text, " \n", &save); word != NULL; word = strtok_r(NULL, " \n", &save)) {
        if (strcmp(word, name) == 0)
            return column;
        column++;
    }
    return -1;
}

static void list_sysv(const struct slot *s, const char *path, struct sysv_list *list)
{
    char line[512], *save;
    FILE *f = fopen(path, "re");
    int uid_column, maker_column;

    list->count = 0;
    if (f == NULL || fgets(line, sizeof(line), f) == NULL)
        goto done;
    uid_column = column_of(line, "uid");
    maker_column = column_of(line, "cuid");
    while (fgets(line, sizeof(line), f) != NULL &&
           list->count < sizeof(list->ids) / sizeof(list->ids[0])) {
        int column = 0, id = -1;
        bool owned = false;
        for (char *word = strtok_r(line, " \n", &save); word != NULL;
             word = strtok_r(NULL, " \n", &save), column++) {
            if (column == 1)
                id = (int)strtol(word, NULL, 10);
            if (column == uid_column || column == maker_column)
                owned = owned || strtoul(word, NULL, 10) == s->uid;
        }
        if (owned)
            list->ids[list->count++] = id;
    }
done:
    if (f != NULL)
        fclose(f);
}

static int sweep_sysv(const struct slot *s, struct error *err)
{
    static const char *const paths[] = {"/proc/sysvipc/shm", "/proc/sysvipc/sem",
                                        "/proc/sysvipc/msg"};
    int removed = 0;

    for (int kind = SYSV_SHM; kind <= SYSV_MSG; kind++) {
        struct sysv_list list = {.kind = (enum sysv_kind)kind};
        size_t before = 0;
        list_sysv(s, paths[kind], &list);
        /* As long as it helps: there may be more than the list holds. */
        for (int turn = 0; list.count != 0 && turn < 1000; turn++) {
            before = list.count;
            if (!slot_run_as(s, remove_sysv, &list))
                break;
            removed += (int)before;
            list_sysv(s, paths[kind], &list);
        }
        if (list.count != 0)
            return error_set(err, FAULT_GRADER, "%zu System V objects of uid %u can't be removed",
                             list.count, (unsigned)s->uid);
    }
    return removed;
}

/* ---- the slot's own folder ---- */

/* Attributes and access lists of the folder itself: what is written there would reach the next
 * test. */
static void remove_attributes(int fd)
{
    static char names[65536]; /* the longest list that the kernel gives */
    ssize_t len = flistxattr(fd, names, sizeof(names));

    for (ssize_t at = 0; at < len; at += (ssize_t)strlen(names + at) + 1) {
        if (strncmp(names + at, "security.", strlen("security.")) != 0)
            fremovexattr(fd, names + at);
    }
}

/* Opens the folder, with the mode and owner that it had when it was new. */
static int open_home(const struct slot *s)
{
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int fd = open(s->directory, flags);
    struct stat st;

    if (fd == -1 && errno == EACCES && chmod(s->directory, 0700) == 0)
        fd = open(s->directory, flags);
    if (fd == -1)
        return -1;
    if (fstat(fd, &st) != 0 || ((st.st_mode & 07777) != 0700 && fchmod(fd, 0700) != 0) ||
        (s->own_ids && st.st_gid != s->gid && fchown(fd, s->uid, s->gid) != 0)) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

static int sweep_home(const struct slot *s, struct error *err)
{
    struct fsids ours = act_as_slot(s);
    long removed = -1;
    int fd = open_home(s);

    if (fd != -1) {
        remove_attributes(fd);
        removed = tree_empty(fd);
    }
    fsids_restore(&ours);
    if (fd == -1)
        return error_errno(err, "cannot open the test's folder '%s'", s->directory);
    if (removed == -1)
        removed = tree_empty(fd);
    if (removed == -1)
        error_errno(err, "cannot empty the test's folder '%s'", s->directory);
    close(fd);
    return (int)removed;
}

/* Adds `count` to *sum; false when it stands for an error. */
static bool counted(int *sum, int count)
{
    if (count > 0)
        *sum += count;
    return count >= 0;
}

int slot_remove_objects(const struct slot *s, struct leftovers *found, struct error *err)
{
    static struct seen seen_shm, seen_tmp, seen_var_tmp;
    struct error mine[6] = {{0}}; /* one that fails does not keep the others from their work */
    bool ok = true;
    int queues;

    if (s->own_ids) {
        ok &= counted(&found->files, sweep_folder(s, "/tmp", &seen_tmp, &mine[1]));
        ok &= counted(&found->files, sweep_folder(s, "/var/tmp", &seen_var_tmp, &mine[2]));
    }
    if (s->own_ids || s->inside) {
        queues = sandbox_open_queues();
        ok &= counted(&found->shared_memory, sweep_folder(s, "/dev/shm", &seen_shm, &mine[0]));
        if (queues != -1)
            ok &= counted(&found->queues, remove_owned(s, queues, "/dev/mqueue", &mine[3]));
        ok &= counted(&found->sysv, sweep_sysv(s, &mine[4]));
    }
    /* Its own folder is a program's to fill: emptied, and not told as left behind. */
    ok &= sweep_home(s, &mine[5]) >= 0;
    for (int i = 0; i < 6; i++) {
        if (mine[i].fault != FAULT_NONE)
            error_set(err, mine[i].fault, "%s", mine[i].text);
    }
    return ok ? 0 : -1;
}
