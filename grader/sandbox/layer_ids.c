/*
 * The layer "own uid": each slot's programs run as a user and group of their own, without
 * supplementary groups. It is what makes a grade official: files of the grader and of other slots
 * are closed to them by mode, and no signal of theirs reaches anybody but themselves.
 */
#include "sandbox/layers.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool have_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    const uint32_t needed = 1u << CAP_SETUID | 1u << CAP_SETGID;

    return syscall(SYS_capget, &header, data) == 0 && (data[0].effective & needed) == needed;
}

/* In a user namespace an id exists only when the map has it. */
static bool map_covers_slots(const char *path)
{
    FILE *f = fopen(path, "re");
    unsigned long inside, outside, count;
    bool covers = f == NULL; /* a kernel without user namespaces */

    while (f != NULL && fscanf(f, "%lu %lu %lu", &inside, &outside, &count) == 3) {
        if (inside <= SLOT_UID_FIRST && SLOT_UID_FIRST + SLOT_UID_COUNT - inside <= count)
            covers = true;
    }
    if (f != NULL)
        fclose(f);
    return covers;
}

static bool groups_denied(void)
{
    char word[8] = "";
    FILE *f = fopen("/proc/self/setgroups", "re");

    if (f == NULL)
        return false;
    if (fgets(word, sizeof(word), f) == NULL)
        word[0] = '\0';
    fclose(f);
    return strncmp(word, "deny", 4) == 0;
}

static bool probe(struct strbuf *detail)
{
    if (!have_capabilities()) {
        strbuf_addstr(detail, geteuid() == 0
                                  ? "root without CAP_SETUID and CAP_SETGID: give the container "
                                    "'--cap-add SETUID --cap-add SETGID'"
                                  : "needs root: run as root, or in the Docker image");
        return false;
    }
    if (!map_covers_slots("/proc/self/uid_map") || !map_covers_slots("/proc/self/gid_map") ||
        groups_denied()) {
        strbuf_addf(detail,
                    "this user namespace does not map the ids %d to %d: run outside of it, or give "
                    "it a range in /etc/subuid and /etc/subgid",
                    SLOT_UID_FIRST, SLOT_UID_FIRST + SLOT_UID_COUNT - 1);
        return false;
    }
    strbuf_addf(detail, "uids and gids %d to %d", SLOT_UID_FIRST,
                SLOT_UID_FIRST + SLOT_UID_COUNT - 1);
    return true;
}

int sandbox_become(uid_t uid, gid_t gid)
{
    /* The system calls themselves: glibc's functions take locks to reach other threads. */
    if (syscall(SYS_setgroups, 0, NULL) != 0 || syscall(SYS_setresgid, gid, gid, gid) != 0 ||
        syscall(SYS_setresuid, uid, uid, uid) != 0)
        return -1;
    return 0;
}

static int prepare(struct sandbox *s, struct error *err)
{
    if (s->policy->own_ids && (s->policy->uid == 0 || s->policy->gid == 0))
        return error_set(err, FAULT_GRADER, "the policy says uid or gid 0");
    return 0;
}

static int enter(const struct sandbox *s)
{
    if (!s->policy->own_ids)
        return 0;
    return sandbox_become(s->policy->uid, s->policy->gid);
}

const struct layer layer_ids = {
    .name = "own uid",
    .gives = "no reading of the grader's files, no signals to the grader or to other slots",
    .probe = probe,
    .prepare = prepare,
    .enter = enter,
};
