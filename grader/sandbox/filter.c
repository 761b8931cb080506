#include "sandbox/filter.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "sandbox/exclusion.h"

/* Refused to everybody: what reaches other processes, the kernel, or the machine. */
static const char *const refused[] = {
    /* other processes' memory, descriptors, state */
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp",
    /* mounts and roots */
    "mount", "umount", "umount2", "mount_setattr", "move_mount", "open_tree", "fsopen", "fsconfig",
    "fsmount", "fspick", "pivot_root", "chroot",
    /* namespaces (clone below) */
    "unshare", "setns",
    /* large, young or global parts of the kernel */
    "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter",
    "io_uring_register", "keyctl", "add_key", "request_key", "memfd_secret", "lookup_dcookie",
    "fanotify_init", "fanotify_mark", "name_to_handle_at", "open_by_handle_at",
    /* the machine */
    "init_module", "finit_module", "delete_module", "create_module", "kexec_load",
    "kexec_file_load", "reboot", "swapon", "swapoff", "quotactl", "quotactl_fd", "acct",
    "clock_settime", "clock_adjtime", "adjtimex", "settimeofday", "stime", "sethostname",
    "setdomainname", "syslog", "iopl", "ioperm", "modify_ldt", "vhangup", "nfsservctl", "uselib",
    "_sysctl", "sysfs", "ustat", NULL};

/* One refusal with a comparison of one argument's low 32 bits under `mask`. */
struct argument_rule {
    const char *call;
    unsigned argument;
    uint32_t mask, value;
};

static const struct argument_rule refused_arguments[] = {
    {"clone", 0, CLONE_NEWNS, CLONE_NEWNS},
    {"clone", 0, CLONE_NEWCGROUP, CLONE_NEWCGROUP},
    {"clone", 0, CLONE_NEWUTS, CLONE_NEWUTS},
    {"clone", 0, CLONE_NEWIPC, CLONE_NEWIPC},
    {"clone", 0, CLONE_NEWUSER, CLONE_NEWUSER},
    {"clone", 0, CLONE_NEWPID, CLONE_NEWPID},
    {"clone", 0, CLONE_NEWNET, CLONE_NEWNET},
    /* typing into a terminal that is still open somewhere */
    {"ioctl", 1, UINT32_MAX, TIOCSTI},
    {"ioctl", 1, UINT32_MAX, TIOCLINUX},
    /* kill(-1): without a uid of the slot's own it would reach the grader */
    {"kill", 0, UINT32_MAX, UINT32_MAX},
    /* device files and sockets; FIFOs by lab */
    {"mknod", 1, S_IFMT, S_IFCHR},
    {"mknod", 1, S_IFMT, S_IFBLK},
    {"mknod", 1, S_IFMT, S_IFSOCK},
    {"mknodat", 2, S_IFMT, S_IFCHR},
    {"mknodat", 2, S_IFMT, S_IFBLK},
    {"mknodat", 2, S_IFMT, S_IFSOCK},
    {NULL, 0, 0, 0},
};

/*
 * libseccomp takes no data bits for its notify action, so a notification is written as a trace
 * action (nothing else here traces) and turned into one afterwards: with the errno that is told, or
 * with none, where whoever answers decides, and without anybody it is allowed.
 */
#define TOLD(Errno) SCMP_ACT_TRACE(Errno)
#define ASKED SCMP_ACT_TRACE(0)

static int add(scmp_filter_ctx c, uint32_t action, const char *call, unsigned count,
               const struct scmp_arg_cmp *comparisons)
{
    int number = seccomp_syscall_resolve_name(call);

    /* A call that this libseccomp or this processor does not know. */
    if (number == __NR_SCMP_ERROR || number < 0)
        return 0;
    return seccomp_rule_add_array(c, action, number, count, comparisons);
}

static int add_masked(scmp_filter_ctx c, uint32_t action, const struct argument_rule *rule)
{
    struct scmp_arg_cmp compare = {.arg = rule->argument,
                                   .op = SCMP_CMP_MASKED_EQ,
                                   .datum_a = rule->mask,
                                   .datum_b = rule->value};

    return add(c, action, rule->call, 1, &compare);
}

static int add_everywhere(scmp_filter_ctx c)
{
    const struct scmp_arg_cmp not_a_query = {0, SCMP_CMP_NE, 0xffffffff, 0};
    /* A process that hides its descriptors, and where it waits, from who looks at it in /proc. Back
     * to be seen may go who was started from a file that can't be read (support/unseal.c). */
    const struct scmp_arg_cmp hides[] = {{0, SCMP_CMP_MASKED_EQ, UINT32_MAX, PR_SET_DUMPABLE},
                                         {1, SCMP_CMP_NE, 1, 0}};
    int result = 0;

    for (size_t i = 0; refused[i] != NULL && result == 0; i++)
        result = add(c, SCMP_ACT_ERRNO(EPERM), refused[i], 0, NULL);
    for (size_t i = 0; refused_arguments[i].call != NULL && result == 0; i++)
        result = add_masked(c, SCMP_ACT_ERRNO(EPERM), &refused_arguments[i]);
    if (result == 0)
        result = add(c, SCMP_ACT_ERRNO(EPERM), "personality", 1, &not_a_query);
    if (result == 0)
        result = add(c, SCMP_ACT_ERRNO(EPERM), "prctl", 2, hides);
    /* Its flags lie in memory, where a filter can't look; the C library then uses clone. */
    if (result == 0)
        result = add(c, SCMP_ACT_ERRNO(ENOSYS), "clone3", 0, NULL);
    return result;
}

/*
 * Where sockets are the lab's subject: IPv4 and IPv6. Every other family is one that this machine
 * seems not to have; socketpair, which is private as a pipe is, stays.
 */
static int add_socket_families(scmp_filter_ctx c)
{
    const struct scmp_arg_cmp above = {0, SCMP_CMP_GT, AF_INET6, 0};
    int result = add(c, SCMP_ACT_ERRNO(EAFNOSUPPORT), "socket", 1, &above);

    for (unsigned family = 0; family < AF_INET6 && result == 0; family++) {
        struct argument_rule rule = {"socket", 0, UINT32_MAX, family};
        if (family != AF_INET)
            result = add_masked(c, SCMP_ACT_ERRNO(EAFNOSUPPORT), &rule);
    }
    return result;
}

/* Whether a call that was notified can go on as if it had not been (seccomp_unotify(2)). */
static bool can_be_continued(void)
{
    struct utsname system;
    int major, minor;

    return uname(&system) == 0 && sscanf(system.release, "%d.%d", &major, &minor) == 2 &&
           (major > 5 || (major == 5 && minor >= 5));
}

/* What may open an object of shared memory. */
static int add_opening(scmp_filter_ctx c)
{
    int result = 0;

    for (size_t i = 0; i < opening_call_count; i++) {
        for (size_t k = 0; k < object_flags_count && result == 0; k++)
            result =
                add_masked(c, ASKED,
                           &(struct argument_rule){opening_calls[i].call, opening_calls[i].flags,
                                                   object_flags[k].mask, object_flags[k].value});
    }
    return result;
}

static int add_excluded(scmp_filter_ctx c, unsigned excludes)
{
    int result = 0;

    for (size_t i = 0; i < excluded_call_count && result == 0; i++) {
        const struct excluded_call *e = &excluded_calls[i];
        if (!(excludes & e->exclusion))
            continue;
        if (e->fifo_mode != 0)
            result = add_masked(
                c, TOLD(e->error),
                &(struct argument_rule){e->call, (unsigned)e->fifo_mode - 1, S_IFMT, S_IFIFO});
        else
            result = add(c, TOLD(e->error), e->call, 0, NULL);
    }
    if (result == 0 && !(excludes & EXCLUDE_SOCKETS))
        result = add_socket_families(c);
    if (result == 0 && (excludes & EXCLUDE_SHARED_MEMORY) && can_be_continued())
        result = add_opening(c);
    return result;
}

/* What libseccomp wrote, with each trace action turned into a notification. */
static int append_program(int fd, struct strbuf *program, struct error *err)
{
    struct sock_filter one;
    ssize_t len;

    if (lseek(fd, 0, SEEK_SET) == -1)
        return error_errno(err, "cannot read the seccomp program back");
    while ((len = read(fd, &one, sizeof(one))) == (ssize_t)sizeof(one)) {
        if (BPF_CLASS(one.code) == BPF_RET &&
            (one.k & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_TRACE)
            one.k = SECCOMP_RET_USER_NOTIF | (one.k & SECCOMP_RET_DATA);
        strbuf_add(program, &one, sizeof(one));
    }
    if (len != 0)
        return error_errno(err, "cannot read the seccomp program back");
    return 0;
}

int filter_compile(unsigned excludes, struct strbuf *program, struct error *err)
{
    scmp_filter_ctx c = seccomp_init(SCMP_ACT_ALLOW);
    int fd = -1, code, result = -1;

    if (c == NULL)
        return error_set(err, FAULT_GRADER, "cannot start libseccomp");
    /* Other architectures' calls (32-bit ones, x32) are not there. */
    code = seccomp_attr_set(c, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
    /* A binary tree: the kernel runs the program once for each call number when it is loaded. */
    if (code == 0)
        code = seccomp_attr_set(c, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (code == 0)
        code = add_everywhere(c);
    if (code == 0)
        code = add_excluded(c, excludes);
    if (code != 0) {
        error_set(err, FAULT_GRADER, "libseccomp takes no such rule: %s", strerror(-code));
        goto done;
    }
    fd = memfd_create("ipclab-filter", MFD_CLOEXEC);
    if (fd == -1) {
        error_errno(err, "cannot make a file in memory");
        goto done;
    }
    code = seccomp_export_bpf(c, fd);
    if (code != 0) {
        error_set(err, FAULT_GRADER, "libseccomp cannot write the program: %s", strerror(-code));
        goto done;
    }
    result = append_program(fd, program, err);

done:
    if (fd != -1)
        close(fd);
    seccomp_release(c);
    return result;
}

void filter_quiet(struct sock_filter *program, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (BPF_CLASS(program[i].code) == BPF_RET &&
            (program[i].k & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_USER_NOTIF) {
            uint32_t error = program[i].k & SECCOMP_RET_DATA;
            program[i].k = error != 0 ? SECCOMP_RET_ERRNO | error : SECCOMP_RET_ALLOW;
        }
    }
}
