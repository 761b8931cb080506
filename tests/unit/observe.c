/* What /proc tells: counts, lists and samples of processes that we made ourselves. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/observe.h"
#include "support/clock.h"

/* A child that reads `fd` to its end, after it has forked `depth` times below itself. */
static pid_t reader(int fd, int close_fd, int depth)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    char byte;
    close(close_fd);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (depth > 0)
        reader(fd, close_fd, depth - 1);
    while (read(fd, &byte, 1) > 0)
        ;
    while (wait(NULL) > 0)
        ;
    _exit(0);
}

/* Until all below us sleep: the reader's read is then entered. */
static void settle(size_t tasks)
{
    static struct process_list list;
    for (int i = 0; i < 5000; i++) {
        process_descendants(getpid(), &list);
        if (list.count == tasks && activity_sample(0).all_asleep)
            return;
        usleep(1000);
    }
    cr_assert_fail("%zu of %zu", list.count, tasks);
}

Test(observe, finds_children_and_descendants)
{
    static struct process_list list;
    int p[2];
    cr_assert_eq(pipe(p), 0);
    pid_t pid = reader(p[0], p[1], 3);
    settle(4);
    process_children(getpid(), &list);
    cr_assert_eq(list.count, 1);
    cr_assert_eq(list.pid[0], pid);
    process_descendants(getpid(), &list);
    cr_assert_eq(list.count, 4);
    cr_assert_eq(list.pid[0], pid);
    process_descendants(pid, &list);
    cr_assert_eq(list.count, 3);
    cr_assert_eq(process_state(pid), 'S');
    cr_assert_eq(process_threads(pid), 1);
    close(p[1]);
    /* A zombie is a child until it is waited for. */
    siginfo_t info;
    waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
    cr_assert_eq(process_state(pid), 'Z');
    process_children(getpid(), &list);
    cr_assert_eq(list.count, 1);
    waitpid(pid, NULL, 0);
    cr_assert_eq(process_state(pid), 0);
    process_children(getpid(), &list);
    cr_assert_eq(list.count, 0);
    cr_assert_eq(process_threads(pid), 0);
    cr_assert_eq(process_switches(pid), 0);
    cr_assert_eq(process_peak_kb(pid), 0);
}

Test(observe, lists_descriptors_with_what_they_are)
{
    static struct descriptor_list list;
    int p[2];
    cr_assert_eq(pipe(p), 0);
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC | O_NONBLOCK);
    pid_t pid = reader(p[0], p[1], 0);
    settle(1);
    process_descriptors(pid, &list);
    const struct descriptor *pipe_end = NULL, *file = NULL;
    for (size_t i = 0; i < list.count; i++) {
        cr_assert(i == 0 || list.fd[i].number > list.fd[i - 1].number);
        cr_assert_neq(list.fd[i].number, p[1]);
        if (list.fd[i].number == p[0])
            pipe_end = &list.fd[i];
        if (list.fd[i].number == null)
            file = &list.fd[i];
    }
    cr_assert_not_null(pipe_end);
    cr_assert_not_null(file);
    cr_assert_eq(strncmp(pipe_end->target, "pipe:[", 6), 0);
    cr_assert_eq(pipe_end->flags & O_ACCMODE, O_RDONLY);
    cr_assert_not(pipe_end->close_on_exec);
    cr_assert_neq(pipe_end->inode, 0);
    cr_assert_str_eq(file->target, "/dev/null");
    cr_assert_eq(file->flags & O_ACCMODE, O_WRONLY);
    cr_assert(file->close_on_exec);
    cr_assert_neq(file->flags & O_NONBLOCK, 0);
    close(p[1]);
    waitpid(pid, NULL, 0);
    process_descriptors(pid, &list);
    cr_assert_eq(list.count, 0);
}

Test(observe, lists_descriptors_of_another_uid)
{
    if (geteuid() != 0)
        cr_skip("needs root");
    static struct descriptor_list list;
    int p[2];
    cr_assert_eq(pipe2(p, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(p[0], 0);
        if (setgid(60999) != 0 || setuid(60999) != 0)
            _exit(1);
        execl("/bin/cat", "cat", (char *)NULL);
        _exit(1);
    }
    char name[32];
    for (int i = 0; i < 5000; i++) {
        process_command(pid, name);
        if (strcmp(name, "cat") == 0)
            break;
        usleep(1000);
    }
    cr_assert_eq(prctl(PR_SET_PDEATHSIG, SIGKILL), 0);
    process_descriptors(pid, &list);
    int ends_with_parent = 0; /* which the change of ids undoes */
    cr_assert_eq(prctl(PR_GET_PDEATHSIG, &ends_with_parent), 0);
    cr_assert_eq(ends_with_parent, SIGKILL);
    cr_assert_geq(list.count, 3);
    cr_assert_eq(list.fd[0].number, 0);
    cr_assert_eq(strncmp(list.fd[0].target, "pipe:[", 6), 0);
    cr_assert_eq(geteuid(), 0);
    int probe = open("/proc/self/environ", O_RDONLY); /* our rights are our own again */
    cr_assert_geq(probe, 0);
    close(probe);
    close(p[1]);
    waitpid(pid, NULL, 0);
}

Test(observe, samples_tell_sleep_from_work)
{
    int p[2];
    char byte = 'x';
    cr_assert_eq(pipe(p), 0);
    pid_t pid = reader(p[0], p[1], 1);
    settle(2);
    struct activity before = activity_sample(0), after = activity_sample(0);
    cr_assert(before.all_asleep);
    cr_assert(activity_same(&before, &after));
    cr_assert_gt(before.switches, 0);
    /* One byte wakes one of them for a moment: that must show, although both sleep again. */
    cr_assert_eq(write(p[1], &byte, 1), 1);
    settle(2);
    after = activity_sample(0);
    cr_assert_not(activity_same(&before, &after));
    close(p[1]);
    waitpid(pid, NULL, 0);
}

Test(observe, measures_processor_time)
{
    pid_t pid = fork();
    if (pid == 0) {
        volatile long count = 0;
        for (;;)
            count++;
    }
    int64_t limit = clock_ns() + 20 * NS_PER_S;
    while (process_cpu_seconds(pid) < 0.1 && clock_ns() < limit)
        usleep(10000);
    cr_assert_geq(process_cpu_seconds(pid), 0.1);
    cr_assert_not(activity_sample(0).all_asleep);
    cr_assert_gt(process_peak_kb(pid), 100);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

Test(observe, cleans_the_name_of_a_command)
{
    char name[32];
    prctl(PR_SET_NAME, "a) R \n\x1b[31m");
    process_command(getpid(), name);
    cr_assert_null(strpbrk(name, "\n\x1b"), "%s", name);
    cr_assert_neq(process_state(getpid()), 0);
    cr_assert_eq(process_state(getpid()), 'R');
}

static void *reads_on(void *end)
{
    char byte;
    while (read(*(const int *)end, &byte, 1) > 0)
        ;
    _exit(0);
}

static bool comes_to_be_stopped(pid_t pid, bool stopped)
{
    int64_t limit = clock_ns() + 20 * NS_PER_S;
    while (process_stopped(pid) != stopped && clock_ns() < limit)
        usleep(1000);
    return process_stopped(pid) == stopped;
}

Test(observe, sees_that_a_process_is_stopped)
{
    for (int first_ends = 0; first_ends < 2; first_ends++) {
        static int p[2];
        cr_assert_eq(pipe(p), 0);
        pid_t pid = fork();
        if (pid == 0) {
            pthread_t thread;
            close(p[1]);
            if (first_ends && pthread_create(&thread, NULL, reads_on, &p[0]) == 0)
                pthread_exit(NULL);
            reads_on(&p[0]);
        }
        settle(1);
        cr_assert_not(process_stopped(pid));
        kill(pid, SIGSTOP);
        cr_assert(comes_to_be_stopped(pid, true));
        kill(pid, SIGCONT);
        cr_assert(comes_to_be_stopped(pid, false));
        close(p[1]);
        cr_assert_eq(waitpid(pid, NULL, 0), pid);
        cr_assert_not(process_stopped(pid));
    }
}
