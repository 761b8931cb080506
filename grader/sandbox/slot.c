#include "sandbox/slot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "sandbox/layers.h"
#include "sandbox/slot_parts.h"
#include "support/files.h"
#include "support/json.h"
#include "support/memory.h"

/* ---- the uid ---- */

/* Which of the ids are somebody's: a name has it, or a process runs with it. */
static void mark_used(bool used[static SLOT_UID_COUNT])
{
    FILE *passwd = fopen("/etc/passwd", "re"), *group = fopen("/etc/group", "re");
    DIR *proc = opendir("/proc");
    const struct dirent *entry;
    const struct passwd *user;
    const struct group *members;
    struct stat st;

    while (passwd != NULL && (user = fgetpwent(passwd)) != NULL) {
        if (user->pw_uid - SLOT_UID_FIRST < SLOT_UID_COUNT)
            used[user->pw_uid - SLOT_UID_FIRST] = true;
    }
    while (group != NULL && (members = fgetgrent(group)) != NULL) {
        if (members->gr_gid - SLOT_UID_FIRST < SLOT_UID_COUNT)
            used[members->gr_gid - SLOT_UID_FIRST] = true;
    }
    while (proc != NULL && (entry = readdir(proc)) != NULL) {
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
            fstatat(dirfd(proc), entry->d_name, &st, 0) == 0 &&
            st.st_uid - SLOT_UID_FIRST < SLOT_UID_COUNT)
            used[st.st_uid - SLOT_UID_FIRST] = true;
    }
    if (passwd != NULL)
        fclose(passwd);
    if (group != NULL)
        fclose(group);
    if (proc != NULL)
        closedir(proc);
}

/*
 * A lock that needs no folder and vanishes with its holder: the abstract socket name of the uid. -1
 * with EADDRINUSE when another grader has it.
 */
static int lock_uid(unsigned uid)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int len = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "ipclab-uid-%u", uid);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int saved;

    if (fd == -1 ||
        bind(fd, (const struct sockaddr *)&address,
             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len)) == 0)
        return fd;
    saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/*
 * Begins at a random uid: containers do not see each other's locks, but the kernel counts their
 * processes together.
 */
static int claim_uid(struct slot *s, struct error *err)
{
    bool used[SLOT_UID_COUNT] = {false};
    unsigned start;

    mark_used(used);
    used[SLOT_UID_SWEEPER - SLOT_UID_FIRST] = true;
    if (getrandom(&start, sizeof(start), 0) != (ssize_t)sizeof(start))
        start = (unsigned)getpid();
    for (unsigned i = 0; i < SLOT_UID_COUNT; i++) {
        unsigned offset = (start + i) % SLOT_UID_COUNT;
        if (used[offset])
            continue;
        s->lock = lock_uid(SLOT_UID_FIRST + offset);
        if (s->lock != -1) {
            s->uid = s->gid = SLOT_UID_FIRST + offset;
            return 0;
        }
        if (errno != EADDRINUSE)
            return error_errno(err, "cannot lock a uid");
    }
    return error_set(err, FAULT_GRADER, "all uids from %d to %d are in use", SLOT_UID_FIRST,
                     SLOT_UID_FIRST + SLOT_UID_COUNT - 1);
}

/* ---- the folders ---- */

static char *slot_folder(const char *work, int index)
{
    return xasprintf("%s/slot-%d", work, index);
}

static int make_folder(const char *path, mode_t mode, uid_t uid, gid_t gid, struct error *err)
{
    if (mkdir(path, mode) != 0 || chmod(path, mode) != 0)
        return error_errno(err, "cannot make the folder '%s'", path);
    if (uid != geteuid() && chown(path, uid, gid) != 0)
        return error_errno(err, "cannot give the folder '%s' to uid %u", path, (unsigned)uid);
    return 0;
}

int slot_open(struct slot *s, const char *work, int index, struct error *err)
{
    char *folder = slot_folder(work, index);
    struct strbuf detail = STRBUF_INIT;
    int result = -1;

    *s = (struct slot){.index = index, .lock = -1, .uid = geteuid(), .gid = getegid()};
    s->own_ids = layer_ids.probe(&detail);
    strbuf_release(&detail);
    if (s->own_ids && claim_uid(s, err) != 0)
        goto done;
    s->directory = path_join(folder, "home");
    s->private = path_join(folder, "private");
    if (make_folder(folder, 0711, geteuid(), getegid(), err) == 0 &&
        make_folder(s->directory, 0700, s->uid, s->gid, err) == 0 &&
        make_folder(s->private, 0700, geteuid(), getegid(), err) == 0 &&
        slot_sweep(s, 0, NULL, NULL, err) == 0) /* what a killed grader left under this uid */
        result = 0;
done:
    free(folder);
    if (result != 0)
        slot_close(s);
    return result;
}

void slot_close(struct slot *s)
{
    if (s->directory != NULL) {
        char *folder = xstrndup(s->directory, strlen(s->directory) - strlen("/home"));
        slot_sweep(s, 0, NULL, NULL, NULL);
        tree_remove(folder);
        free(folder);
    }
    slot_release(s);
}

void slot_release(struct slot *s)
{
    if (s->lock != -1)
        close(s->lock);
    free(s->directory);
    free(s->private);
    *s = (struct slot){.lock = -1};
}

/* ---- in a job ---- */

cJSON *slot_to_json(const struct slot *s)
{
    cJSON *json = cJSON_CreateObject();

    json_add_integer(json, "index", s->index);
    json_add_bool(json, "own_ids", s->own_ids);
    json_add_bool(json, "namespaces", s->namespaces);
    json_add_integer(json, "uid", s->uid);
    json_add_integer(json, "gid", s->gid);
    json_add_string(json, "directory", s->directory);
    json_add_string(json, "private", s->private);
    return json;
}

int slot_from_json(struct slot *s, const cJSON *json, struct error *err)
{
    static const char where[] = "the slot in the job";
    const char *directory, *private;
    long index, uid, gid;

    *s = (struct slot){.lock = -1};
    if (json_integer(json, "index", 0, 1 << 20, &index, where, err) != 0 ||
        json_integer(json, "uid", 0, UINT32_MAX, &uid, where, err) != 0 ||
        json_integer(json, "gid", 0, UINT32_MAX, &gid, where, err) != 0 ||
        (directory = json_string(json, "directory", where, err)) == NULL ||
        (private = json_string(json, "private", where, err)) == NULL)
        return -1;
    *s = (struct slot){.index = (int)index,
                       .own_ids = json_bool_or(json, "own_ids", false),
                       .namespaces = json_bool_or(json, "namespaces", false),
                       .inside = json_bool_or(json, "namespaces", false),
                       .uid = (uid_t)uid,
                       .gid = (gid_t)gid,
                       .directory = xstrdup(directory),
                       .private = xstrdup(private),
                       .lock = -1};
    return 0;
}

/* ---- the sweep ---- */

int slot_sweep(const struct slot *s, pid_t keeper, const pid_t *spare, struct leftovers *found,
               struct error *err)
{
    struct leftovers counted = {0};
    struct error own = ERROR_INIT;
    int processes = 0, result;

    if (s->own_ids)
        processes = slot_kill_uid(s, &own);
    else if (keeper > 0)
        processes = slot_kill_tree(keeper, spare, &own);
    if (processes > 0)
        counted.processes = processes;
    /* Objects go even when a process would not: the error says so in any case. */
    result = slot_remove_objects(s, &counted, &own);
    if (found != NULL)
        *found = counted;
    if (processes < 0 || result != 0)
        return error_set(err, own.fault, "%s", own.text);
    return 0;
}
