/* Who has the machine: gradings that share it, and one that wants it to itself. */
#include <criterion/criterion.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "run/machine.h"
#include "support/memory.h"

static char *path;

static void set_up(void)
{
    path = xasprintf("/tmp/ipclab-unit-machine-%d", (int)getpid());
}

static void tear_down(void)
{
    char *turnstile = xasprintf("%s.turn", path);
    unlink(path);
    unlink(turnstile);
    free(turnstile);
    free(path);
}

TestSuite(machine, .init = set_up, .fini = tear_down, .timeout = 60);

/* Another grading: writes a byte once it shares the machine, and keeps it until it is killed. */
static pid_t start_sharer(int ends[2])
{
    cr_assert_eq(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct machine m;
        machine_open(&m, path);
        (void)!write(ends[1], "x", 1);
        for (;;)
            pause();
    }
    close(ends[1]);
    return pid;
}

static void end_sharer(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* Whether the process sleeps in flock(2), for as long as it takes to be sure. */
static void wait_until_it_waits(pid_t pid)
{
    char name[64], line[64] = "";
    snprintf(name, sizeof name, "/proc/%d/syscall", (int)pid);
    while (strtol(line, NULL, 10) != SYS_flock) {
        FILE *file = fopen(name, "r");
        if (file == NULL || fgets(line, sizeof line, file) == NULL)
            line[0] = '\0';
        if (file != NULL)
            fclose(file);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

Test(machine, is_shared)
{
    struct machine a, b;
    machine_open(&a, path);
    machine_open(&b, path);
    cr_expect_not(machine_take(&a), "b shares it");
    machine_close(&b);
    cr_expect(machine_take(&a));
    cr_expect(machine_take(&a), "and has it");
    cr_expect(machine_may_keep(&a));
    machine_share(&a);
    cr_expect_not(machine_may_keep(&a));
    machine_close(&a);
}

Test(machine, two_that_wait_do_not_wait_for_each_other)
{
    struct machine a, b;
    machine_open(&a, path);
    machine_open(&b, path);
    cr_expect_not(machine_take(&a));
    /* b gives up what it shares as it begins to wait, so a has it at its next try. */
    cr_expect_not(machine_take(&b));
    cr_expect(machine_take(&a));
    cr_expect_not(machine_take(&b));
    machine_close(&a);
    cr_expect(machine_take(&b));
    machine_close(&b);
}

Test(machine, who_comes_later_waits_behind_the_one_that_waits)
{
    int first[2], later[2];
    char byte;
    struct machine m;
    machine_open(&m, path);
    pid_t sharer = start_sharer(first);
    cr_assert_eq(read(first[0], &byte, 1), 1);
    cr_assert_not(machine_take(&m));
    pid_t newcomer = start_sharer(later);
    wait_until_it_waits(newcomer);
    cr_expect_not(machine_take(&m), "the first one is still there");
    end_sharer(sharer);
    cr_expect(machine_take(&m), "the newcomer has not come in between");
    machine_share(&m); /* now both share it */
    cr_assert_eq(read(later[0], &byte, 1), 1);
    end_sharer(newcomer);
    machine_close(&m);
}
