#include "run/job.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/files.h"
#include "support/json.h"
#include "support/memory.h"

int job_write(const struct job *job, const char *path, struct error *err)
{
    cJSON *root = cJSON_CreateObject();
    cJSON_AddItemToObject(root, "slot", slot_to_json(&job->slot));
    cJSON_AddItemToObject(root, "policy", policy_to_json(&job->policy));
    json_add_string(root, "programs", job->programs);
    json_add_string(root, "tools", job->tools);
    json_add_string(root, "board", job->board);
    json_add_string(root, "seal_key", job->seal_key);
    json_add_string(root, "layers_off", job->layers_off);
    cJSON *tests = json_add_array(root, "tests");
    for (size_t i = 0; i < job->test_count; i++) {
        cJSON *test = cJSON_CreateObject();
        /* A seed has 64 bits, a JSON number 53. */
        char *seed = xasprintf("%llu", (unsigned long long)job->tests[i].seed);
        json_append(tests, test);
        json_add_string(test, "id", job->tests[i].id);
        json_add_string(test, "seed", seed);
        json_add_integer(test, "seconds", job->tests[i].seconds);
        free(seed);
    }
    int result = json_write_whole(path, 0600, root, err);
    cJSON_Delete(root);
    return result;
}

int job_read(struct job *job, struct error *err)
{
    *job = (struct job){0};
    const char *path = getenv("IPCLAB_JOB");
    if (!path)
        return error_set(err, FAULT_GRADER,
                         "a suite is started by 'ipclab grade', which tells it what to run in the "
                         "file that IPCLAB_JOB names");
    job->root = json_parse_file(path, JOB_MAX_BYTES, err);
    if (!job->root)
        return -1;
    job->programs = json_string(job->root, "programs", path, err);
    job->tools = json_string(job->root, "tools", path, err);
    job->board = json_string(job->root, "board", path, err);
    job->layers_off = json_string_or(job->root, "layers_off", NULL);
    job->seal_key = json_string_or(job->root, "seal_key", NULL);
    const cJSON *tests = cJSON_GetObjectItemCaseSensitive(job->root, "tests"), *item;
    if (!job->programs || !job->tools || !job->board ||
        slot_from_json(&job->slot, cJSON_GetObjectItemCaseSensitive(job->root, "slot"), err) ||
        policy_from_json(&job->policy, cJSON_GetObjectItemCaseSensitive(job->root, "policy"), err))
        goto fail;
    job->tests = xcalloc((size_t)cJSON_GetArraySize(tests) + 1, sizeof(*job->tests));
    cJSON_ArrayForEach (item, tests) {
        struct job_test *t = &job->tests[job->test_count++];
        const char *seed = json_string(item, "seed", path, err);
        long seconds;
        t->id = json_string(item, "id", path, err);
        if (!t->id || !seed || json_integer(item, "seconds", 1, 3600, &seconds, path, err))
            goto fail;
        t->seed = strtoull(seed, NULL, 10);
        t->seconds = (int)seconds;
    }
    return 0;
fail:
    job_release(job);
    return -1;
}

void job_release(struct job *job)
{
    slot_release(&job->slot);
    policy_release(&job->policy);
    free(job->tests);
    cJSON_Delete(job->root);
    *job = (struct job){0};
}

struct board *board_map(const char *path, bool create, struct error *err)
{
    int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | (create ? O_CREAT | O_EXCL : 0);
    int fd = open(path, flags, 0600);
    if (fd < 0) {
        error_errno(err, "cannot open the board '%s'", path);
        return NULL;
    }
    struct board *board = MAP_FAILED;
    if (create && posix_fallocate(fd, 0, sizeof(struct board)) != 0)
        error_set(err, FAULT_GRADER, "no room for the board '%s': free some of the disk", path);
    else
        board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (board == MAP_FAILED)
        error_errno(err, "cannot map the board '%s'", path);
    close(fd);
    return board == MAP_FAILED ? NULL : board;
}

void board_unmap(struct board *board)
{
    if (board)
        munmap(board, sizeof(*board));
}

void board_reset(struct board *board)
{
    /* Only the counters and the first byte of each text: the rest is read up to them. */
    atomic_store(&board->started_ns, 0);
    atomic_store(&board->verdict, BOARD_NONE);
    atomic_store(&board->waited_ms, 0);
    atomic_store(&board->refused_count, 0);
    atomic_store(&board->orphans, 0);
    atomic_store(&board->no_hint, 0);
    atomic_store(&board->transcript_len, 0);
    board->expected[0] = board->got[0] = board->see[0] = board->hint[0] = '\0';
    board->transcript[0] = board->memory[0] = '\0';
}
