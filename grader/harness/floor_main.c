/*
 * floor_main.c - the bench's floor: a suite's scenarios through the same harness calls, with no
 * sandbox, no Criterion, no engine, one after the other in this process.
 *
 * A suite and the harness are compiled with -DIPCLAB_FLOOR and linked with this. IPCLAB_JOB names
 * the job as ever; the board is made here when it is not there. For each test of the job one line:
 *   suite/name passed|failed SECONDS WAITED_MS
 * and on stderr what failed. Exit status 1 when one did.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/internal.h"
#include "harness/test.h"
#include "support/clock.h"
#include "support/files.h"

extern const struct floor_test *const __start_floor_tests[];
extern const struct floor_test *const __stop_floor_tests[];

static jmp_buf test_over;

static void jump_out(void)
{
    longjmp(test_over, 1);
}

static const struct floor_test *find(const char *id)
{
    const struct floor_test *const *t;
    for (t = __start_floor_tests; t < __stop_floor_tests; t++) {
        size_t n = strlen((*t)->suite);
        if (strncmp(id, (*t)->suite, n) == 0 && id[n] == '/' && strcmp(id + n + 1, (*t)->name) == 0)
            return *t;
    }
    return NULL;
}

static void empty_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    tree_empty(fd);
    close(fd);
}

/* One test; 1 when it failed. */
static int run_one(const struct floor_test *test, const char *id, struct board *board)
{
    int64_t begun = clock_ns();
    board_reset(board);
    if (setjmp(test_over) == 0) {
        harness_begin_as(id, jump_out);
        test->body();
        harness_passed();
    }
    harness_end();
    double seconds = (double)(clock_ns() - begun) / (double)NS_PER_S;
    int verdict = atomic_load(&board->verdict);
    printf("%s %s %.4f %d\n", id, verdict == BOARD_PASSED ? "passed" : "failed", seconds,
           atomic_load(&board->waited_ms));
    if (verdict != BOARD_PASSED)
        fprintf(stderr, "%s: expected: %s\n  got: %s\n", id, board->expected, board->got);
    return verdict != BOARD_PASSED;
}

int main(void)
{
    struct job job;
    struct error err = ERROR_INIT;
    struct board *board;
    int failed = 0;
    if (job_read(&job, &err) != 0) {
        fprintf(stderr, "floor: %s\n", err.text);
        return 2;
    }
    board = board_map(job.board, access(job.board, F_OK) != 0, &err);
    if (board == NULL) {
        fprintf(stderr, "floor: %s\n", err.text);
        return 2;
    }
    for (size_t i = 0; i < job.test_count; i++) {
        const struct floor_test *test = find(job.tests[i].id);
        if (test == NULL)
            continue; /* of the lab's other suite */
        failed |= run_one(test, job.tests[i].id, board);
        empty_folder(job.slot.directory);
        fflush(stdout);
    }
    board_unmap(board);
    job_release(&job);
    return failed;
}
