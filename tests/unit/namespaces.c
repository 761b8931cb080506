/* A slot's own namespaces: what is seen from inside, what of it from outside, and every end. */
#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/layers.h"
#include "sandbox/namespaces.h"

enum { NOBODY = 65534, DEAD = 200 };

static pid_t inside; /* as seen from outside */

/* Runs `body` in new namespaces, as root or as nobody; its exit status, DEAD: killed. */
static int run(int (*body)(void), bool as_nobody)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        if (as_nobody &&
            (syscall(SYS_setgroups, 0, NULL) != 0 || setresgid(NOBODY, NOBODY, NOBODY) != 0 ||
             setresuid(NOBODY, NOBODY, NOBODY) != 0 ||
             prctl(PR_SET_DUMPABLE, 1) != 0)) /* as after an exec */
            _exit(DEAD);
        inside = namespaces_fork();
        if (inside == 0)
            _exit(body());
        if (inside < 0 || waitpid(inside, &status, 0) != inside)
            _exit(DEAD);
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : DEAD);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : DEAD;
}

#define NAMESPACE_TEST(Name, Description)                                                          \
    static int body_##Name(void);                                                                  \
    Test(namespaces, Name, .description = (Description))                                           \
    {                                                                                              \
        if (!namespaces_probe(NULL))                                                               \
            cr_skip_test("this machine gives no namespaces");                                      \
        for (int nobody = geteuid() != 0; nobody < 2; nobody++)                                    \
            cr_expect_eq(run(body_##Name, nobody != 0 && geteuid() == 0), 0, "%s",                 \
                         nobody ? "user" : "root");                                                \
    }                                                                                              \
    static int body_##Name(void)

NAMESPACE_TEST(own_shared_memory, "/dev/shm is empty, of 64 MiB, and nobody else's")
{
    struct statvfs fs;
    DIR *folder = opendir("/dev/shm");
    const struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL)
        if (entry->d_name[0] != '.')
            return 1;
    if (folder == NULL || statvfs("/dev/shm", &fs) != 0 ||
        fs.f_blocks * fs.f_frsize != (unsigned long)SHARED_MEMORY_MB << 20)
        return 2;
    return shm_open("/ipclab-unit", O_RDWR | O_CREAT | O_EXCL, 0600) >= 0 ? 0 : 3;
}

Test(namespaces, leave_nothing, .description = "what is made inside is not there outside")
{
    if (!namespaces_probe(NULL))
        cr_skip_test("this machine gives no namespaces");
    cr_assert_eq(run(body_own_shared_memory, false), 0);
    cr_assert_eq(shm_open("/ipclab-unit", O_RDWR, 0), -1);
    cr_assert_eq(run(body_own_shared_memory, false), 0, "nor in the next ones");
}

NAMESPACE_TEST(own_queues, "no POSIX queue is there, and one can be made")
{
    struct mq_attr attr = {.mq_maxmsg = 10, .mq_msgsize = 8192};
    return mq_open("/ipclab-unit", O_RDWR | O_CREAT | O_EXCL, 0600, &attr) >= 0 ? 0 : errno;
}

NAMESPACE_TEST(queues_are_seen, "the folder of the queues is to be had after an exec too")
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    if (body_own_queues() != 0)
        return 1;
    if (getuid() != 0 && syscall(SYS_capset, &header, none) != 0) /* as an exec does */
        return 2;
    int folder = sandbox_open_queues();
    return folder >= 0 && faccessat(folder, "ipclab-unit", F_OK, 0) == 0 ? 0 : 3;
}

NAMESPACE_TEST(loopback, "the loopback interface is up, and any port is free")
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(22), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (geteuid() != 0)
        address.sin_port = htons(6667);
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, 1) != 0)
        return 1;
    return connect(client, (struct sockaddr *)&address, sizeof address) == 0 ? 0 : 2;
}

NAMESPACE_TEST(own_processes, "/proc shows init and us, and our parent is init")
{
    DIR *folder = opendir("/proc");
    const struct dirent *entry;
    int count = 0;
    while (folder != NULL && (entry = readdir(folder)) != NULL)
        count += isdigit((unsigned char)entry->d_name[0]) != 0;
    return count == 2 && getppid() == 1 ? 0 : 1;
}

Test(namespaces, number, .description = "our number is our init's outside")
{
    int ends[2];
    pid_t number = 0;
    if (!namespaces_probe(NULL))
        cr_skip_test("this machine gives no namespaces");
    cr_assert_eq(pipe(ends), 0);
    pid_t pid = namespaces_fork();
    if (pid == 0) {
        number = getpid();
        _exit(write(ends[1], &number, sizeof number) != sizeof number);
    }
    cr_assert_eq(read(ends[0], &number, sizeof number), (ssize_t)sizeof number);
    cr_expect_eq(number, pid);
    waitpid(pid, NULL, 0);
}

static int exits(void)
{
    return 7;
}

static int is_killed(void)
{
    return kill(getpid(), SIGUSR1);
}

Test(namespaces, ends, .description = "init ends as its child does")
{
    if (!namespaces_probe(NULL))
        cr_skip_test("this machine gives no namespaces");
    cr_expect_eq(run(exits, false), 7);
    cr_expect_eq(run(is_killed, false), 128 + SIGUSR1);
}

/* A child that leaves a daemon with the write end of a pipe. */
static pid_t start_with_daemon(int ends[2], bool stays)
{
    pid_t pid = namespaces_fork();
    if (pid == 0) {
        close(ends[0]);
        if (fork() == 0) {
            setsid();
            (void)!write(ends[1], "x", 1);
            for (;;)
                pause();
        }
        while (stays)
            pause();
        _exit(0);
    }
    close(ends[1]);
    return pid;
}

Test(namespaces, daemons_end,
     .description = "what is left inside ends with the child, or with init")
{
    if (!namespaces_probe(NULL))
        cr_skip_test("this machine gives no namespaces");
    for (int stays = 0; stays < 2; stays++) {
        int ends[2];
        char byte;
        cr_assert_eq(pipe(ends), 0);
        pid_t pid = start_with_daemon(ends, stays != 0);
        if (stays) {
            cr_assert_eq(read(ends[0], &byte, 1), 1);
            kill(pid, SIGKILL);
        }
        while (read(ends[0], &byte, 1) == 1) /* ends when the last holder has */
            continue;
        cr_expect_eq(waitpid(pid, NULL, 0), pid);
        close(ends[0]);
    }
}
