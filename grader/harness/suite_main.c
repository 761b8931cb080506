/*
 * suite_main.c - a suite process: Criterion's runner, and what it tells the engine.
 *
 * Processes: the engine's keeper starts us; for each test Criterion forks a worker that executes
 * this same program again, and that starts the programs under test. The hooks below run in the
 * runner, which holds the events' descriptor and can neither be reached nor be fooled by what a
 * worker's children do: a test has passed only if its worker set the board to BOARD_PASSED.
 *
 * Criterion calls PRE_SUITE when the worker before has been waited for, and only then looks at
 * which of the suite's tests are disabled. So we run a set of our own: one suite for each test of
 * the job, in the job's order. In each PRE_SUITE the engine is asked whether the test is ours to
 * run, and the board is cleared. The worker waits for our answer to each of its phases, so from
 * there to POST_FINI (slot swept, verdict told) nothing of it runs at the same time as our hooks. A
 * worker that dies outside of its test's body has neither POST_FINI nor TEST_CRASH: the next
 * PRE_SUITE tells its end.
 *
 *   SUITE --list     one JSON line a test: {"id": ..., "description": ...}; needs no job
 */
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <criterion/internal/ordered-set.h>
#include <criterion/options.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "course/manifest.h"
#include "run/job.h"
#include "support/clock.h"
#include "support/files.h"
#include "support/json.h"
#include "support/memory.h"

static struct job job;
static struct board *board;
static const struct criterion_test *granted; /* we may run it, and have not told its end */
static bool over;                            /* the engine has nothing more for us */

static void tell(cJSON *event)
{
    char *line = json_print(event, false);
    struct strbuf s = STRBUF_INIT;
    strbuf_addstr(&s, line);
    strbuf_addch(&s, '\n');
    if (file_write_all(SUITE_EVENTS_FD, s.text, s.len))
        _exit(3); /* the engine is gone: the keeper cleans up */
    strbuf_release(&s);
    free(line);
    cJSON_Delete(event);
}

static cJSON *event_new(const char *kind, const struct criterion_test *test)
{
    cJSON *event = cJSON_CreateObject();
    char *id = xasprintf("%s/%s", test->category, test->name);
    json_add_string(event, "event", kind);
    json_add_string(event, "test", id);
    json_add_integer(event, "at_us", clock_ns() / 1000);
    free(id);
    return event;
}

/*
 * Adds `len` bytes of the board as text. The paths of the suite's tools and of the programs differ
 * with each grading and tell nobody anything: their names remain.
 */
static void add_text(cJSON *event, const char *key, const char *from, size_t len, size_t max)
{
    const char *const folders[] = {job.tools, job.programs};
    struct strbuf s = STRBUF_INIT;
    for (size_t at = 0; at < len;) {
        size_t skip = 0;
        for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]) && !skip; i++) {
            size_t n = strlen(folders[i]);
            if (len - at > n && memcmp(from + at, folders[i], n) == 0 && from[at + n] == '/')
                skip = n + 1;
        }
        if (!skip)
            strbuf_addch(&s, from[at++]);
        at += skip;
    }
    json_add_text(event, key, s.text, s.len, max);
    strbuf_release(&s);
}

/* The board's texts were written by a process that may have died while it wrote. */
static void add_board_text(cJSON *event, const char *key, const char *from, size_t size)
{
    size_t len = strnlen(from, size);
    if (len > 0)
        add_text(event, key, from, len, size);
}

static const char *verdict_name(int verdict, bool worker_died)
{
    switch (verdict) {
    case BOARD_PASSED:
        return worker_died ? "broken" : "passed";
    case BOARD_FAILED:
        return "failed";
    case BOARD_CRASHED:
        return "crashed";
    case BOARD_TIMEOUT:
        return "timeout";
    case BOARD_NOT_MEASURED:
        return "not_measured";
    default:
        return "broken";
    }
}

static void add_refused(cJSON *event)
{
    int count = atomic_load(&board->refused_count);
    if (count <= 0)
        return;
    cJSON *refused = json_add_array(event, "refused");
    for (int i = 0; i < count && i < BOARD_REFUSED_MAX; i++) {
        cJSON *call = cJSON_CreateObject();
        json_append(refused, call);
        json_add_text(call, "call", board->refused[i].call,
                      strnlen(board->refused[i].call, sizeof(board->refused[i].call)), 64);
        json_add_string(call, "rule", exclusion_name(board->refused[i].rule));
        json_add_integer(call, "count", atomic_load(&board->refused_times[i]));
    }
}

/* Sweeps the slot; what was there is told, and a slot that cannot be swept ends the suite. */
static void add_leftovers(cJSON *event)
{
    struct leftovers found = {0};
    struct error err = ERROR_INIT;
    pid_t spare[] = {getpid(), 0};
    if (slot_sweep(&job.slot, getppid(), spare, &found, &err)) {
        json_add_string(event, "broken", err.text);
        return;
    }
    int processes = found.processes + atomic_load(&board->orphans);
    if (processes || found.shared_memory || found.queues || found.sysv || found.files) {
        cJSON *leftovers = json_add_object(event, "leftovers");
        json_add_integer(leftovers, "processes", processes);
        json_add_integer(leftovers, "shared_memory", found.shared_memory);
        json_add_integer(leftovers, "queues", found.queues);
        json_add_integer(leftovers, "sysv", found.sysv);
        json_add_integer(leftovers, "files", found.files);
    }
}

static void tell_end(bool worker_died)
{
    if (!granted)
        return;
    cJSON *event = event_new("end", granted);
    granted = NULL;
    json_add_string(event, "status", verdict_name(atomic_load(&board->verdict), worker_died));
    add_board_text(event, "expected", board->expected, sizeof(board->expected));
    add_board_text(event, "got", board->got, sizeof(board->got));
    add_board_text(event, "see", board->see, sizeof(board->see));
    if (atomic_load(&board->no_hint) != 0)
        json_add_string(event, "hint", "");
    else
        add_board_text(event, "hint", board->hint, sizeof(board->hint));
    size_t len = atomic_load(&board->transcript_len);
    add_text(event, "transcript", board->transcript,
             len < sizeof(board->transcript) ? len : sizeof(board->transcript),
             2 * sizeof(board->transcript));
    if (board->memory[0]) {
        struct error ignored = ERROR_INIT;
        cJSON *memory = json_parse(board->memory, strnlen(board->memory, sizeof(board->memory)),
                                   "findings", &ignored);
        if (memory)
            cJSON_AddItemToObject(event, "memory", memory);
    }
    add_refused(event);
    json_add_integer(event, "waited_ms", atomic_load(&board->waited_ms));
    add_leftovers(event);
    tell(event);
}

static enum suite_answer ask(const struct criterion_test *test)
{
    char answer;
    ssize_t n;
    tell(event_new("ask", test));
    do {
        n = read(SUITE_EVENTS_FD, &answer, 1);
    } while (n < 0 && errno == EINTR);
    if (n != 1)
        _exit(3); /* the engine is gone: the keeper cleans up */
    return (enum suite_answer)answer;
}

ReportHook(PRE_SUITE)(struct criterion_suite_set *suite)
{
    struct criterion_test *test = (void *)(suite->tests->first + 1);
    enum suite_answer answer = ANSWER_END;
    tell_end(true);
    if (!over)
        answer = ask(test);
    over = answer == ANSWER_END;
    test->data->disabled = answer != ANSWER_RUN;
    if (answer == ANSWER_RUN) {
        board_reset(board);
        granted = test;
    }
}

ReportHook(PRE_INIT)(struct criterion_test *test)
{
    tell(event_new("start", test));
}

ReportHook(POST_FINI)(struct criterion_test_stats *stats)
{
    (void)stats;
    tell_end(false);
}

ReportHook(TEST_CRASH)(struct criterion_test_stats *stats)
{
    (void)stats;
    tell_end(true);
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
    (void)stats;
    tell_end(true);
}

static void list(struct criterion_test_set *set)
{
    FOREACH_SET(struct criterion_suite_set * s, set->suites)
    {
        if (!s->tests)
            continue;
        FOREACH_SET(struct criterion_test * t, s->tests)
        {
            cJSON *line = cJSON_CreateObject();
            char *id = xasprintf("%s/%s", t->category, t->name);
            json_add_string(line, "id", id);
            json_add_string(line, "description", t->data->description ? t->data->description : "");
            char *text = json_print(line, false);
            puts(text);
            free(text);
            free(id);
            cJSON_Delete(line);
        }
    }
}

static bool has_id(const struct criterion_test *test, const char *id)
{
    size_t len = strlen(test->category);
    return strncmp(id, test->category, len) == 0 && id[len] == '/' &&
           strcmp(id + len + 1, test->name) == 0;
}

/* For an ordered set in the order of insertion. */
static int behind(void *added, void *present)
{
    (void)added;
    (void)present;
    return 1;
}

/* Adds the test `id` of `all` to `set`, as a suite of its own; false when there is none. */
static bool add_test(struct criterion_test_set *set, struct criterion_test_set *all, const char *id)
{
    FOREACH_SET(struct criterion_suite_set * s, all->suites)
    {
        if (!s->tests)
            continue;
        FOREACH_SET(struct criterion_test * t, s->tests)
        {
            if (!has_id(t, id))
                continue;
            struct criterion_suite_set alone = {.suite = s->suite,
                                                .tests = new_ordered_set(behind, NULL)};
            insert_ordered_set(alone.tests, t, sizeof(*t));
            insert_ordered_set(set->suites, &alone, sizeof(alone));
            set->tests++;
            return true;
        }
    }
    return false;
}

int main(int argc, char **argv)
{
    struct criterion_test_set *set = criterion_initialize();
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        list(set);
        return 0;
    }
    struct error err = ERROR_INIT;
    umask(077); /* Criterion's socket in /tmp is ours alone */
    if (job_read(&job, &err) || !(board = board_map(job.board, false, &err))) {
        fprintf(stderr, "%s: %s\n", argv[0], err.text);
        return 3;
    }
    fcntl(SUITE_EVENTS_FD, F_SETFD, FD_CLOEXEC);
    static struct criterion_test_set ours;
    ours.suites = new_ordered_set(behind, NULL);
    for (size_t i = 0; i < job.test_count; i++)
        add_test(&ours, set, job.tests[i].id);
    if (ours.tests != job.test_count) {
        fprintf(stderr, "%s: the job names %zu tests, %zu of them are here\n", argv[0],
                job.test_count, ours.tests);
        return 3;
    }
    criterion_options.jobs = 1;
    criterion_options.logging_threshold = CRITERION_IMPORTANT;
    criterion_run_all_tests(&ours);
    criterion_finalize(set);
    return 0;
}
