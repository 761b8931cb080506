/*
 * The layer "process limit": how many processes and threads the programs of a slot may have at once
 * (RLIMIT_NPROC). The kernel counts for a uid: in a slot of its own that is just what the slot has;
 * as an ordinary user it is what the user has now, and the limit on top.
 */
#include "sandbox/layers.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static bool probe(struct strbuf *detail)
{
    struct strbuf unused = STRBUF_INIT;
    bool own = layer_ids.probe(&unused);

    strbuf_release(&unused);
    if (geteuid() == 0 && !own) {
        strbuf_addstr(detail, "the kernel does not count root's processes: see 'own uid'");
        return false;
    }
    strbuf_addstr(detail, own ? "counted for each slot"
                              : "counted for the whole user: what it has now and the lab's limit");
    return true;
}

/* How many threads process `pid` has; 1 when it is gone. */
static long count_threads(int proc, const char *pid)
{
    char path[32], text[2048];
    const char *at;
    ssize_t len;
    int fd;

    strcat(strcpy(path, pid), "/status");
    fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
    if (fd == -1)
        return 1;
    len = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[len > 0 ? len : 0] = '\0';
    at = strstr(text, "\nThreads:");
    return at == NULL ? 1 : strtol(at + strlen("\nThreads:"), NULL, 10);
}

static long count_tasks_of(uid_t uid)
{
    DIR *proc = opendir("/proc");
    const struct dirent *entry;
    struct stat st;
    long count = 0;

    while (proc != NULL && (entry = readdir(proc)) != NULL) {
        if (isdigit((unsigned char)entry->d_name[0]) && strlen(entry->d_name) < 20 &&
            fstatat(dirfd(proc), entry->d_name, &st, 0) == 0 && st.st_uid == uid)
            count += count_threads(dirfd(proc), entry->d_name);
    }
    if (proc != NULL)
        closedir(proc);
    return count;
}

static int prepare(struct sandbox *s, struct error *err)
{
    (void)err;
    s->processes = s->policy->processes;
    if (s->processes > 0 && !s->policy->own_ids)
        s->processes += count_tasks_of(getuid());
    return 0;
}

static int enter(const struct sandbox *s)
{
    struct rlimit limit;

    if (s->processes <= 0)
        return 0;
    if (getrlimit(RLIMIT_NPROC, &limit) != 0)
        return -1;
    if (limit.rlim_max > (rlim_t)s->processes)
        limit.rlim_max = (rlim_t)s->processes;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NPROC, &limit);
}

const struct layer layer_processes = {
    .name = "process limit",
    .gives = "an end to fork bombs",
    .probe = probe,
    .prepare = prepare,
    .enter = enter,
};
