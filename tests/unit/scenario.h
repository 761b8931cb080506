/* scenario.h - how unit tests run a scenario of the harness, one that fails too. */
#ifndef TESTS_UNIT_SCENARIO_H
#define TESTS_UNIT_SCENARIO_H

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/harness.h"
#include "harness/internal.h"
#include "support/files.h"
#include "support/memory.h"

/*
 * What fails in a harness ends the test, so a test of the harness can't be the process that fails.
 * scenario() forks; the child is what a worker is in a real run: it reads a job, starts programs
 * (tests/unit/programs) in the sandbox, and ends by _exit. The parent asserts on the board.
 */
struct options {
    int seconds;
    unsigned excludes;
};

static void over(void)
{
    harness_end();
    _exit(0);
}

static const char *programs_folder(void)
{
    static char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 32);
    cr_assert(n > 0);
    path[n] = '\0';
    strcpy(strrchr(path, '/'), "/programs");
    return path;
}

static const struct board *scenario_with(void (*body)(void), struct options options)
{
    struct error err = ERROR_INIT;
    struct job_test test = {"unit/scenario", 4711, options.seconds > 0 ? options.seconds : 20};
    struct job job = {.programs = programs_folder(), .tests = &test, .test_count = 1};
    char *work = directory_make_private(&err);
    cr_assert_not_null(work, "%s", err.text);
    cr_assert_eq(chmod(work, 0711), 0);
    cr_assert_eq(slot_open(&job.slot, work, 0, &err), 0, "%s", err.text);
    char *board_path = path_join(job.slot.private, "board");
    char *job_path = path_join(job.slot.private, "job");
    job.board = board_path;
    job.tools = job.programs;
    policy_init(&job.policy);
    job.policy.own_ids = job.slot.own_ids;
    job.policy.uid = job.slot.uid;
    job.policy.gid = job.slot.gid;
    job.policy.directory = xstrdup(job.slot.directory);
    job.policy.cpu_seconds = 2;
    job.policy.descriptors = 256;
    job.policy.excludes = options.excludes;
    policy_allow_runtime(&job.policy);
    policy_allow(&job.policy, job.programs, PATH_READ | PATH_EXECUTE);
    policy_allow(&job.policy, job.slot.directory, PATH_READ | PATH_WRITE);
    policy_allow(&job.policy, "/dev/shm", PATH_READ | PATH_WRITE);
    struct board *board = board_map(board_path, true, &err);
    cr_assert_not_null(board, "%s", err.text);
    cr_assert_eq(job_write(&job, job_path, &err), 0, "%s", err.text);
    setenv("IPCLAB_JOB", job_path, 1);
    pid_t pid = fork();
    if (pid == 0) {
        harness_begin_as("unit/scenario", over);
        body();
        harness_passed();
        over();
    }
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    slot_close(&job.slot);
    policy_release(&job.policy);
    tree_remove_at(AT_FDCWD, work);
    free(work);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the scenario's process ended with %x",
              (unsigned)status);
    return board;
}

static const struct board *scenario(void (*body)(void))
{
    return scenario_with(body, (struct options){0});
}

#define assert_verdict(board, wanted)                                                              \
    cr_assert_eq(atomic_load(&(board)->verdict), wanted, "verdict %d: expected: %s; got: %s",      \
                 atomic_load(&(board)->verdict), (board)->expected, (board)->got)
#define assert_says(text, part)                                                                    \
    cr_assert_not_null(strstr(text, part), "'%s' does not hold '%s'", text, part)

#endif
