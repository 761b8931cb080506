/*
 * run.c - the run stage: runs are given, one by one, to whichever slot is free.
 *
 * Runs wait in two pools, one for each of the lab's suites, memory tests, which take longest, at
 * the front. A slot takes up a pool: it starts the suite once, for all that waits there, and the
 * suite asks before each test; several slots that work on one pool share it so, and all end at
 * about the same time. A start costs as much as several tests: a slot changes to the other pool
 * only when its own is empty, and joins one that others work on only when they would leave it
 * something. Runs that must be alone, and those that were out of time once, come last, one by one,
 * with every other slot empty. Which slot runs what has no influence on a verdict: each test finds
 * an empty folder and a swept slot.
 */
#include "run/run.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "run/machine.h"
#include "run/suite_process.h"
#include "run/tools.h"
#include "sandbox/sandbox.h"
#include "support/clock.h"
#include "support/files.h"
#include "support/json.h"
#include "support/memory.h"
#include "support/text.h"

enum {
    TICK_MS = 100,
    LOG_TAIL = 2000,
    SLOTS_MAX = 64,
    ROOM_BYTES = 1 << 20, /* what a test needs at least of the work folder's disk */
};

struct schedule {
    struct grading *g;
    const struct run_listener *listener;
    struct error *err;
    char *filter, *tools, *suites[2];
    const char *layers_off;
    bool namespaces; /* each slot has its own */
    struct suite_process slots[SLOTS_MAX];
    int slot_count;
    struct machine machine;

    struct pool pools[2]; /* of the public suite, of the hidden one */
    struct run **alone;   /* runs that wait for a machine of their own */
    size_t alone_count;
    struct pool lone; /* the one of them that has it */
    size_t done;
    bool failed; /* err is set: end what runs, start nothing */
};

/* ---- verdicts ---- */

static void set_text(char **field, const cJSON *event, const char *key)
{
    free(*field);
    const char *value = json_string_or(event, key, NULL);
    *field = value ? xstrdup(value) : NULL;
}

static void set_node(cJSON **field, cJSON *event, const char *key)
{
    cJSON_Delete(*field);
    *field = cJSON_DetachItemFromObjectCaseSensitive(event, key);
}

static void finish_run(struct schedule *s, struct run *run, enum run_status status)
{
    run->status = status;
    s->done++;
    s->listener->ended(s->listener->context, run, s->done, s->g->run_count);
}

static void out_of_time(struct schedule *s, struct run *run)
{
    if (++run->timeouts >= 2) {
        finish_run(s, run, RUN_TIMEOUT);
        return;
    }
    s->g->reruns++;
    s->alone[s->alone_count++] = run;
    s->listener->rerun(s->listener->context, run);
}

static void broken(struct schedule *s, struct run *run, const char *why)
{
    if (++run->faults < 2) {
        s->alone[s->alone_count++] = run;
        s->listener->rerun(s->listener->context, run);
        return;
    }
    error_set(s->err, FAULT_GRADER, "the suite failed twice in test '%s': %s", run->test->id, why);
    s->failed = true;
}

/*
 * A test fails on a full disk, too, whoever filled it: that is no verdict. Its slot is swept by
 * now, so that a submission which fills the disk finds room again, alone, and gets its own verdict
 * then.
 */
static bool disk_is_full(const struct schedule *s)
{
    struct statvfs fs;
    return statvfs(s->g->work, &fs) == 0 &&
           (fs.f_bavail * fs.f_frsize < ROOM_BYTES || (fs.f_files > 0 && fs.f_favail == 0));
}

static void handle_event(void *context, struct suite_process *p, struct run *run,
                         const char *status, cJSON *event)
{
    struct schedule *s = context;
    if (!status) {
        run->attempts++;
        s->listener->started(s->listener->context, run);
        return;
    }
    run->seconds = (double)(p->ended_ns - p->since_ns) / (double)NS_PER_S;
    set_text(&run->expected, event, "expected");
    set_text(&run->got, event, "got");
    set_text(&run->see, event, "see");
    set_text(&run->hint, event, "hint");
    set_text(&run->transcript, event, "transcript");
    set_node(&run->memory, event, "memory");
    set_node(&run->refused, event, "refused");
    set_node(&run->leftovers, event, "leftovers");
    const char *fault = json_string_or(event, "broken", NULL);
    if (fault)
        broken(s, run, fault);
    else if (strcmp(status, "passed") == 0)
        finish_run(s, run, RUN_PASSED);
    else if (disk_is_full(s))
        broken(s, run, "the disk of the work folder (TMPDIR) is full");
    else if (strcmp(status, "failed") == 0)
        finish_run(s, run, RUN_FAILED);
    else if (strcmp(status, "crashed") == 0)
        finish_run(s, run, RUN_CRASHED);
    else if (strcmp(status, "not_measured") == 0)
        finish_run(s, run, RUN_NOT_MEASURED);
    else if (strcmp(status, "timeout") == 0)
        out_of_time(s, run);
    else
        broken(s, run, run->got ? run->got : "the test's own process died");
}

/* What an earlier attempt left in it. */
static void forget(struct run *run)
{
    char **texts[] = {&run->expected, &run->got, &run->see, &run->hint, &run->transcript};
    cJSON **nodes[] = {&run->memory, &run->refused, &run->leftovers};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        free(*texts[i]);
        *texts[i] = NULL;
    }
    for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
        cJSON_Delete(*nodes[i]);
        *nodes[i] = NULL;
    }
}

/* The harness did not end the test at its limit: we do, with what the board knows. */
static void end_hung_test(struct schedule *s, struct suite_process *p)
{
    struct run *run = suite_process_take_run(p);
    forget(run);
    run->seconds = (double)(clock_ns() - p->since_ns) / (double)NS_PER_S;
    run->expected = xasprintf("the test ends within %d seconds", run->test->seconds);
    run->got = xasprintf("it had not ended after %d seconds", run->test->seconds);
    struct strbuf transcript = STRBUF_INIT;
    size_t len = atomic_load(&p->board->transcript_len);
    if (len > sizeof(p->board->transcript))
        len = sizeof(p->board->transcript);
    text_clean(&transcript, p->board->transcript, len, sizeof(p->board->transcript));
    run->transcript = strbuf_detach(&transcript);
    suite_process_kill(p);
    out_of_time(s, run);
}

/* ---- the pools ---- */

static struct pool *pool_of(struct schedule *s, const struct run *run)
{
    return &s->pools[run->test->visibility != VISIBILITY_PUBLIC];
}

static void put_back(struct pool *pool, struct run *run)
{
    memmove(pool->waiting + 1, pool->waiting, pool->count * sizeof(*pool->waiting));
    pool->waiting[0] = run;
    pool->count++;
}

static void fill_pools(struct schedule *s)
{
    for (int memcheck = 1; memcheck >= 0; memcheck--) {
        for (size_t i = 0; i < s->g->run_count; i++) {
            struct run *run = &s->g->runs[i];
            if (run->test->memcheck != (memcheck != 0))
                continue;
            struct pool *pool = pool_of(s, run);
            if (run->test->alone && !s->namespaces)
                s->alone[s->alone_count++] = run;
            else
                pool->waiting[pool->count++] = run;
        }
    }
}

static size_t slots_at(const struct schedule *s, const struct pool *pool)
{
    size_t count = 0;
    for (int i = 0; i < s->slot_count; i++)
        count += s->slots[i].keeper && s->slots[i].pool == pool;
    return count;
}

/*
 * What a free slot takes up: a pool where nobody works, else the one where most wait for each slot
 * that is there. NULL when there is nothing for it: the slots at a pool take one run each before it
 * could have started.
 */
static struct pool *choose(struct schedule *s)
{
    struct pool *best = NULL;
    size_t best_slots = 0;
    for (int i = 0; i < 2; i++) {
        struct pool *pool = &s->pools[i];
        size_t slots = slots_at(s, pool);
        if (pool->count <= slots)
            continue;
        if (!best || pool->count * best_slots > best->count * slots) {
            best = pool;
            best_slots = slots;
        }
    }
    return best;
}

static bool anything_runs(const struct schedule *s)
{
    for (int i = 0; i < s->slot_count; i++) {
        if (s->slots[i].keeper)
            return true;
    }
    return false;
}

static void start(struct schedule *s, struct suite_process *p, struct pool *pool)
{
    if (suite_process_start(p, s->g, s->suites[pool->hidden], s->tools, s->layers_off, pool,
                            s->err))
        s->failed = true;
}

static void start_what_can(struct schedule *s)
{
    for (int i = 0; i < s->slot_count && !s->failed; i++) {
        struct suite_process *p = &s->slots[i];
        if (p->keeper)
            continue;
        struct pool *pool = choose(s);
        if (pool) {
            start(s, p, pool);
        } else if (s->alone_count && !anything_runs(s)) {
            if (!machine_take(&s->machine))
                return;
            struct run *run = s->alone[--s->alone_count];
            s->lone.hidden = pool_of(s, run)->hidden;
            put_back(&s->lone, run);
            start(s, p, &s->lone);
            return;
        }
    }
}

static void could_not_start(struct schedule *s, const struct suite_process *p)
{
    struct strbuf log = STRBUF_INIT, line = STRBUF_INIT;
    file_read(p->log_path, 1 << 20, &log, NULL);
    size_t tail = log.len > LOG_TAIL ? log.len - LOG_TAIL : 0;
    text_clean_line(&line, log.text + tail, log.len - tail, 600);
    error_set(s->err, FAULT_GRADER, "the suite could not start: %s",
              line.len ? line.text : "it said nothing");
    strbuf_release(&log);
    strbuf_release(&line);
    s->failed = true;
}

/* The suite of `p` has ended: what is left of its pool is for the next that is started. */
static void suite_ended(struct schedule *s, struct suite_process *p)
{
    struct error swept = ERROR_INIT;
    if (suite_process_reap(p, &swept)) {
        error_set(s->err, FAULT_GRADER, "%s", swept.text);
        s->failed = true;
        return;
    }
    if (p->pool == &s->lone && !(s->alone_count && machine_may_keep(&s->machine)))
        machine_share(&s->machine); /* others' turn now */
    /* Others may have had all that it could ask for: then it has ended none, and could start. */
    if (p->current)
        broken(s, suite_process_take_run(p), "the suite died");
    else if (p->ended == 0 && (p->granted || !p->asked))
        could_not_start(s, p);
    else if (p->granted)
        put_back(p->pool, suite_process_take_run(p));
}

/* ---- the loop ---- */

static void serve(struct schedule *s)
{
    struct pollfd fds[SLOTS_MAX];
    int64_t deadline = clock_ns() + (int64_t)TICK_MS * NS_PER_MS;
    for (int i = 0; i < s->slot_count; i++) {
        struct suite_process *p = &s->slots[i];
        fds[i] = (struct pollfd){.fd = suite_process_descriptor(p), .events = POLLIN};
        int64_t mine = suite_process_deadline(p);
        if (mine < deadline)
            deadline = mine;
    }
    if (poll(fds, (nfds_t)s->slot_count, clock_poll_ms(deadline)) < 0 && errno != EINTR) {
        error_errno(s->err, "cannot wait for the suites");
        s->failed = true;
    }
    for (int i = 0; i < s->slot_count && !s->failed; i++) {
        struct suite_process *p = &s->slots[i];
        if (!p->keeper)
            continue;
        int alive = suite_process_read(p, handle_event, s, s->err);
        if (alive < 0)
            s->failed = true;
        else if (alive == 0)
            suite_ended(s, p);
        else if (clock_ns() <= suite_process_deadline(p))
            continue;
        else if (p->current)
            end_hung_test(s, p);
        else
            suite_process_kill(p); /* it hangs outside of any test: suite_ended() tells */
    }
}

static int schedule_open(struct schedule *s)
{
    struct grading *g = s->g;
    s->alone = xcalloc(g->run_count * 4 + 1, sizeof(*s->alone));
    for (int i = 0; i < 2; i++) {
        s->pools[i].waiting = xcalloc(g->run_count + 1, sizeof(*s->pools[i].waiting));
        s->pools[i].hidden = i != 0;
    }
    s->lone.waiting = xcalloc(1, sizeof(*s->lone.waiting));
    s->layers_off = getenv("IPCLAB_LAYERS_OFF");
    s->namespaces = sandbox_has_layer("own namespaces", s->layers_off);
    s->suites[0] = course_suite(&g->course, g->manifest.lab, false);
    s->suites[1] = course_suite(&g->course, g->manifest.lab, true);
    s->filter = path_join(g->work, "filter.bpf");
    machine_open(&s->machine, NULL);
    s->tools = path_join(g->work, "tools");
    if (tools_copy(g, s->tools, s->err))
        return -1;
    int wanted = g->options.jobs < 1 ? 1 : g->options.jobs;
    if (wanted > SLOTS_MAX)
        wanted = SLOTS_MAX;
    if ((size_t)wanted > g->run_count)
        wanted = g->run_count ? (int)g->run_count : 1;
    for (int i = 0; i < wanted; i++) {
        s->slot_count = i + 1;
        if (suite_process_open(&s->slots[i], g, i, s->namespaces, s->filter, s->tools, s->err))
            return -1;
    }
    return sandbox_compile_filter(&s->slots[0].policy, s->filter, s->err);
}

static void schedule_close(struct schedule *s)
{
    for (int i = 0; i < s->slot_count; i++)
        suite_process_close(&s->slots[i]);
    machine_close(&s->machine);
    free(s->pools[0].waiting);
    free(s->pools[1].waiting);
    free(s->lone.waiting);
    free(s->alone);
    free(s->suites[0]);
    free(s->suites[1]);
    free(s->filter);
    free(s->tools);
}

int run(struct grading *g, const struct run_listener *listener, const volatile int *stop,
        struct error *err)
{
    struct schedule *s = xcalloc(1, sizeof(*s));
    s->g = g;
    s->listener = listener;
    s->err = err;
    if (schedule_open(s))
        s->failed = true;
    else
        fill_pools(s);
    while (!s->failed) {
        if (*stop) {
            error_set(err, FAULT_GRADER, "interrupted before all tests had run");
            break;
        }
        start_what_can(s);
        if (s->failed || (!anything_runs(s) && !s->alone_count))
            break;
        serve(s);
    }
    schedule_close(s); /* ends what still runs */
    int result = err->fault == FAULT_NONE ? 0 : -1;
    free(s);
    return result;
}
