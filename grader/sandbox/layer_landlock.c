/*
 * The layer "landlock": files are reached only below the policy's paths, whatever the uid. Newer
 * kernels cover more (https://docs.kernel.org/userspace-api/landlock.html), by ABI:
 *
 *   1  read, write, execute, make, remove     4  TCP bind and connect
 *   2  links and renames between folders      5  ioctl on devices
 *   3  truncate                               6  signals and abstract sockets to the outside
 *
 * The ruleset is built once, in the parent; the child restricts itself with it.
 */
#include "sandbox/layers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/landlock.h>

#include "sandbox/exclusion.h"

/* What Debian 12's header lacks. The values are the kernel's ABI. */
enum {
    FS_ALL_ABI_1 = (1 << 13) - 1,
    FS_REFER = 1 << 13,     /* ABI 2 */
    FS_TRUNCATE = 1 << 14,  /* ABI 3 */
    FS_IOCTL_DEV = 1 << 15, /* ABI 5 */
    NET_BIND_TCP = 1 << 0,  /* ABI 4 */
    NET_CONNECT_TCP = 1 << 1,
    SCOPE_ABSTRACT_UNIX_SOCKET = 1 << 0, /* ABI 6 */
    SCOPE_SIGNAL = 1 << 1,
};

struct ruleset_attributes {
    uint64_t handled_access_fs;
    uint64_t handled_access_net; /* ABI 4 */
    uint64_t scoped;             /* ABI 6 */
};

/* The version, or -1 with errno. */
static int landlock_abi(void)
{
    return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

static bool probe(struct strbuf *detail)
{
    int abi = landlock_abi();

    if (abi < 1) {
        if (errno == EOPNOTSUPP)
            strbuf_addstr(detail, "this kernel has it switched off: boot with 'lsm=landlock,...'");
        else if (errno == ENOSYS)
            strbuf_addstr(detail, "needs Linux 5.13 with CONFIG_SECURITY_LANDLOCK");
        else
            strbuf_addstr(detail, "refused by the container's seccomp profile: allow the three "
                                  "landlock_ system calls");
        return false;
    }
    strbuf_addf(detail, "ABI %d: files", abi);
    strbuf_addstr(detail, abi >= 3 ? ", truncate" : " (truncate from ABI 3, Linux 6.2)");
    strbuf_addstr(detail, abi >= 4 ? ", TCP" : " (TCP from ABI 4, Linux 6.7)");
    strbuf_addstr(detail, abi >= 5 ? ", devices" : " (devices from ABI 5, Linux 6.10)");
    strbuf_addstr(detail, abi >= 6 ? ", signals and abstract sockets"
                                   : " (signals and abstract sockets from ABI 6, Linux 6.12)");
    return true;
}

static uint64_t handled_by(int abi)
{
    uint64_t handled = FS_ALL_ABI_1;

    if (abi >= 2)
        handled |= FS_REFER;
    if (abi >= 3)
        handled |= FS_TRUNCATE;
    if (abi >= 5)
        handled |= FS_IOCTL_DEV;
    return handled;
}

static uint64_t access_of(unsigned rights)
{
    uint64_t access = 0;

    if (rights & PATH_READ)
        access |= LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
    if (rights & PATH_EXECUTE)
        access |= LANDLOCK_ACCESS_FS_EXECUTE;
    if (rights & PATH_WRITE)
        access |= LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE | FS_REFER |
                  LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR |
                  LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REMOVE_FILE |
                  LANDLOCK_ACCESS_FS_REMOVE_DIR;
    if (rights & PATH_FIFO)
        access |= LANDLOCK_ACCESS_FS_MAKE_FIFO;
    if (rights & PATH_DEVICE)
        access |= LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE |
                  FS_IOCTL_DEV;
    return access;
}

/* Allows `access` at and below what is open as `fd`; what only folders can have, only there. */
static int allow(int ruleset, int fd, uint64_t access)
{
    const uint64_t on_files = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE |
                              LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE | FS_IOCTL_DEV;
    struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};
    struct stat st;

    if (fstat(fd, &st) != 0)
        return -1;
    if (!S_ISDIR(st.st_mode))
        rule.allowed_access &= on_files;
    if (rule.allowed_access == 0)
        return 0;
    return (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
}

static int allow_path(struct sandbox *s, const char *path, unsigned rights, struct error *err)
{
    int fd = open(path, O_PATH | O_CLOEXEC), result;

    if (fd == -1) /* gone since it was allowed, or not ours to see: nothing to allow */
        return 0;
    result = allow(s->ruleset, fd, access_of(rights) & handled_by(landlock_abi()));
    if (result != 0)
        error_errno(err, "cannot allow '%s'", path);
    close(fd);
    return result;
}

/* A queue is a file of a file system that need not be mounted: mq_open(3) reaches it all the same.
 */
static int allow_queues(int ruleset, struct error *err)
{
    int fd = sandbox_open_queues(), result;

    if (fd == -1)
        return 0;
    result = allow(ruleset, fd, LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE);
    if (result != 0)
        error_errno(err, "cannot allow the POSIX queues");
    close(fd);
    return result;
}

static int prepare(struct sandbox *s, struct error *err)
{
    int abi = landlock_abi();
    struct ruleset_attributes attributes = {.handled_access_fs = handled_by(abi)};
    size_t size = abi >= 6   ? sizeof(attributes)
                  : abi >= 4 ? 2 * sizeof(uint64_t)
                             : sizeof(uint64_t);

    if (abi >= 4 && s->policy->excludes & EXCLUDE_SOCKETS)
        attributes.handled_access_net = NET_BIND_TCP | NET_CONNECT_TCP; /* and no rule allows any */
    if (abi >= 6)
        attributes.scoped = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL;
    s->ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, size, 0);
    if (s->ruleset == -1)
        return error_errno(err, "cannot make a ruleset");
    s->ruleset = sandbox_high_fd(s->ruleset, s->policy);
    for (size_t i = 0; i < s->policy->path_count; i++) {
        const struct policy_path *path = &s->policy->paths[i];
        if (allow_path(s, path->path, path->rights, err) != 0)
            return -1;
    }
    return s->policy->excludes & EXCLUDE_POSIX_QUEUES ? 0 : allow_queues(s->ruleset, err);
}

static int enter(const struct sandbox *s)
{
    if (syscall(SYS_landlock_restrict_self, s->ruleset, 0) != 0)
        return -1;
    return close(s->ruleset);
}

static void release(struct sandbox *s)
{
    if (s->ruleset != -1)
        close(s->ruleset);
    s->ruleset = -1;
}

const struct layer layer_landlock = {
    .name = "landlock",
    .gives = "files only below the test's folder, of the system's commands those that a test names",
    .probe = probe,
    .prepare = prepare,
    .allow = allow_path,
    .enter = enter,
    .release = release,
};
