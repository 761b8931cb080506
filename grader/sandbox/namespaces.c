/*
 * namespaces.c - by clone(2) with all flags at once: the caller -> init, process 1 of the new pid
 * namespace, which mounts, reaps and waits -> the child.
 */
#include "sandbox/namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/layers.h"
#include "support/files.h"

/* What failed, for a sentence; errno says why. */
static const char *step;

static int write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    int result = fd == -1 ? -1 : file_write_all(fd, text, strlen(text));

    if (fd != -1)
        close(fd);
    return result;
}

/* Inside, an ordinary user stays who he is (user_namespaces(7): one line, without setgroups). */
static int map_user(uid_t uid, gid_t gid)
{
    char users[64], groups[64];

    step = "user namespace";
    snprintf(users, sizeof(users), "%u %u 1", (unsigned)uid, (unsigned)uid);
    snprintf(groups, sizeof(groups), "%u %u 1", (unsigned)gid, (unsigned)gid);
    if (write_text("/proc/self/setgroups", "deny") != 0 && errno != ENOENT)
        return -1;
    if (write_text("/proc/self/uid_map", users) != 0)
        return -1;
    return write_text("/proc/self/gid_map", groups);
}

static int mount_all(void)
{
    const unsigned long quiet = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    char size[64];

    step = "mount namespace";
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return -1;
    step = "/proc of the pid namespace";
    if (mount("proc", "/proc", "proc", quiet, NULL) != 0)
        return -1;
    step = "/dev/shm of its own";
    snprintf(size, sizeof(size), "size=%dm,mode=1777", SHARED_MEMORY_MB);
    if (mount("tmpfs", "/dev/shm", "tmpfs", quiet, size) != 0)
        return -1;
    /* mq_open(3) needs no folder for it, but Landlock needs one to allow queues, and the sweep one
     * to find them in; an ordinary user can mount only here and now. */
    step = "/dev/mqueue of its own";
    if (mount("mqueue", "/dev/mqueue", "mqueue", quiet, NULL) != 0 &&
        (errno != ENOENT || mount("mqueue", QUEUES_ELSEWHERE, "mqueue", quiet, NULL) != 0))
        return -1;
    return 0;
}

static int loopback_up(void)
{
    struct ifreq request = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), result = -1;

    step = "loopback interface";
    if (fd == -1)
        return -1;
    if (ioctl(fd, SIOCGIFFLAGS, &request) == 0) {
        request.ifr_flags = (short)(request.ifr_flags | IFF_UP);
        result = ioctl(fd, SIOCSIFFLAGS, &request);
    }
    close(fd);
    return result;
}

/* Our number in the namespace that /proc was mounted in. */
static pid_t number_outside(void)
{
    char text[32];
    ssize_t len = readlink("/proc/self", text, sizeof(text) - 1);

    text[len > 0 ? len : 0] = '\0';
    return (pid_t)strtol(text, NULL, 10);
}

/* fork() with a number for the child (clone3(2), Linux 5.5). */
static pid_t fork_as(pid_t number)
{
    struct clone_args args = {
        .exit_signal = SIGCHLD, .set_tid = (uint64_t)(uintptr_t)&number, .set_tid_size = 1};

    return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

/* Waits for the child and for whatever is left behind; ends as the child does. */
static _Noreturn void be_init(pid_t child)
{
    int status;
    pid_t pid;

    close_range(3, ~0u, 0);
    do {
        pid = waitpid(-1, &status, 0);
    } while ((pid == -1 && errno == EINTR) || (pid != -1 && pid != child));
    if (pid == -1)
        _exit(NAMESPACES_FAILED);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

/* In process 1: 0 in its child, never back in itself but with -1. */
static pid_t become_init(bool user, uid_t uid, gid_t gid)
{
    pid_t number, child;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (user && map_user(uid, gid) != 0)
        return -1;
    number = number_outside();
    if (mount_all() != 0 || loopback_up() != 0)
        return -1;
    step = "process of a given number";
    child = fork_as(number);
    if (child > 0)
        be_init(child);
    return child;
}

pid_t namespaces_fork(void)
{
    bool user = geteuid() != 0;
    uid_t uid = geteuid();
    gid_t gid = getegid();
    unsigned long flags = CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWNS;
    pid_t pid = (pid_t)syscall(SYS_clone, flags | (user ? CLONE_NEWUSER : 0UL) | SIGCHLD, NULL,
                               NULL, NULL, NULL);

    if (pid != 0)
        return pid;
    if (become_init(user, uid, gid) == 0)
        return 0;
    dprintf(2, "no namespaces of its own: %s: %s\n", step, strerror(errno));
    _exit(NAMESPACES_FAILED);
}

/* ---- the probe ---- */

/* Tries it with a child that ends at once; what went wrong is in `why`. */
static bool try(struct strbuf *why)
{
    char said[256];
    int ends[2], status;
    ssize_t len;
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    /* Forked first: the line on stderr is for us. */
    pid = fork();
    if (pid == 0) {
        dup2(ends[1], 2);
        pid = namespaces_fork();
        if (pid == 0)
            _exit(0);
        if (pid == -1)
            dprintf(2, "%s", strerror(errno));
        else if (waitpid(pid, &status, 0) == pid && WIFEXITED(status))
            _exit(WEXITSTATUS(status));
        _exit(NAMESPACES_FAILED);
    }
    close(ends[1]);
    len = pid == -1 ? 0 : read(ends[0], said, sizeof(said) - 1);
    close(ends[0]);
    if (pid == -1 || waitpid(pid, &status, 0) != pid)
        return false;
    said[len > 0 ? len : 0] = '\0';
    said[strcspn(said, "\n")] = '\0';
    strbuf_addstr(why, said);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool namespaces_probe(struct strbuf *detail)
{
    static enum { UNKNOWN, CAN, CANNOT } known;
    static char why[256];

    if (known == UNKNOWN) {
        struct strbuf said = STRBUF_INIT;
        known = try(&said) ? CAN : CANNOT;
        snprintf(why, sizeof(why), "%s", said.len > 0 ? said.text : "not to be had");
        strbuf_release(&said);
    }
    if (detail != NULL && known == CAN)
        strbuf_addf(detail, "ipc, net, pid, mount%s; %d MiB of /dev/shm a slot",
                    geteuid() != 0 ? ", user" : "", SHARED_MEMORY_MB);
    else if (detail != NULL)
        strbuf_addf(detail,
                    "%s: a container refuses them (its /dev/shm is used, one test at a time), or "
                    "the kernel lets no ordinary user (sysctl kernel.unprivileged_userns_clone=1, "
                    "kernel.apparmor_restrict_unprivileged_userns=0)",
                    why);
    return known == CAN;
}

const struct layer layer_namespaces = {
    .name = "own namespaces",
    .gives = "objects, queues, ports, processes and /dev/shm of the slot's own",
    .probe = namespaces_probe,
};
