/*
 * run.c - the run stage: batches of tests are given to whichever slot is free.
 *
 * Runs wait in a queue of batches. Memory tests, which take longest, come first and one by one; the
 * others follow in small batches, so that all slots end at about the same time; tests that must be
 * alone, and those that were out of time once, come last, with every other slot empty. Which slot
 * runs what has no influence on a verdict: each test finds an empty folder and a swept slot.
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
#include <dirent.h>

#include "run/machine.h"
#include "run/suite_process.h"
#include "sandbox/sandbox.h"
#include "support/clock.h"
#include "support/files.h"
#include "support/json.h"
#include "support/memory.h"
#include "support/text.h"

enum {
    BATCH_MAX = 10,
    TICK_MS = 100,
    LOG_TAIL = 2000,
    SLOTS_MAX = 64,
    ROOM_BYTES = 1 << 20, /* what a test needs at least of the work folder's disk */
};

struct batch {
    struct run **runs;
    size_t count;
    bool hidden;
};

struct schedule {
    struct grading *g;
    const struct run_listener *listener;
    struct error *err;
    char *filter, *tools, *suites[2];
    const char *layers_off;
    struct suite_process slots[SLOTS_MAX];
    int slot_count;
    struct machine machine;

    struct batch *batches; /* the queue; batches[next..batch_count) wait */
    size_t next, batch_count;
    struct run **alone; /* runs that wait for a machine of their own */
    size_t alone_count;
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
    char **texts[] = {&run->expected, &run->got, &run->see, &run->transcript};
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

/* Moves `run` to those that have ended, so that what is left can be given to the next suite. */
static void take_off(struct suite_process *p, struct run *run)
{
    for (size_t i = p->ended; i < p->run_count; i++) {
        if (p->runs[i] == run) {
            p->runs[i] = p->runs[p->ended];
            p->runs[p->ended++] = run;
            break;
        }
    }
    p->current = NULL;
}

/* The harness did not end the test at its limit: we do, with what the board knows. */
static void end_hung_test(struct schedule *s, struct suite_process *p)
{
    struct run *run = p->current;
    take_off(p, run);
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

/* ---- the queue ---- */

static void add_batch(struct schedule *s, struct run **runs, size_t count, bool hidden)
{
    s->batches = xrealloc(s->batches, (s->batch_count + 1) * sizeof(*s->batches));
    struct batch *b = &s->batches[s->batch_count++];
    b->runs = xcalloc(count, sizeof(*b->runs));
    memcpy(b->runs, runs, count * sizeof(*runs));
    b->count = count;
    b->hidden = hidden;
}

static void fill_queue(struct schedule *s)
{
    struct grading *g = s->g;
    struct run **group = xcalloc(g->run_count + 1, sizeof(*group));
    size_t size = g->run_count / ((size_t)s->slot_count * 3) + 1;
    if (size > BATCH_MAX)
        size = BATCH_MAX;
    for (size_t i = 0; i < g->run_count; i++) {
        struct run *run = &g->runs[i];
        if (run->test->alone)
            s->alone[s->alone_count++] = run;
        else if (run->test->memcheck)
            add_batch(s, &run, 1, run->test->visibility != VISIBILITY_PUBLIC);
    }
    for (int hidden = 0; hidden < 2; hidden++) {
        size_t count = 0;
        for (size_t i = 0; i < g->run_count; i++) {
            struct run *run = &g->runs[i];
            if (run->test->alone || run->test->memcheck ||
                (run->test->visibility != VISIBILITY_PUBLIC) != (hidden != 0))
                continue;
            group[count++] = run;
            if (count == size) {
                add_batch(s, group, count, hidden != 0);
                count = 0;
            }
        }
        if (count)
            add_batch(s, group, count, hidden != 0);
    }
    free(group);
}

static bool anything_runs(const struct schedule *s)
{
    for (int i = 0; i < s->slot_count; i++) {
        if (s->slots[i].keeper)
            return true;
    }
    return false;
}

static void start(struct schedule *s, struct suite_process *p, struct run **runs, size_t count,
                  bool hidden)
{
    if (suite_process_start(p, s->g, s->suites[hidden], s->tools, s->layers_off, runs, count,
                            s->err))
        s->failed = true;
}

static void start_what_can(struct schedule *s)
{
    for (int i = 0; i < s->slot_count && !s->failed; i++) {
        struct suite_process *p = &s->slots[i];
        if (p->keeper)
            continue;
        if (s->next < s->batch_count) {
            struct batch *b = &s->batches[s->next++];
            start(s, p, b->runs, b->count, b->hidden);
        } else if (s->alone_count && !anything_runs(s)) {
            if (!machine_take(&s->machine))
                return;
            struct run *run = s->alone[--s->alone_count];
            add_batch(s, &run, 1, run->test->visibility != VISIBILITY_PUBLIC);
            struct batch *b = &s->batches[s->next++];
            start(s, p, b->runs, 1, b->hidden);
            return;
        }
    }
}

/* The suite of `p` has ended: what it had not done goes to the next one. */
static void suite_ended(struct schedule *s, struct suite_process *p)
{
    struct error swept = ERROR_INIT;
    if (suite_process_reap(p, &swept)) {
        error_set(s->err, FAULT_GRADER, "%s", swept.text);
        s->failed = true;
        return;
    }
    if (s->next == s->batch_count) /* it may have been a lone one: others' turn now */
        machine_share(&s->machine);
    struct run *current = p->current;
    if (current) { /* it died in this test */
        take_off(p, current);
        if (!s->failed)
            broken(s, current, "the suite died");
    } else if (p->ended == 0 && !s->failed) {
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
    size_t left = p->run_count - p->ended;
    if (left && !s->failed)
        start(s, p, p->runs + p->ended, left,
              p->runs[p->ended]->test->visibility != VISIBILITY_PUBLIC);
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

static int copy_tools(struct schedule *s)
{
    char *from = course_tools(&s->g->course, s->g->manifest.lab);
    DIR *d = opendir(from);
    int result = 0;
    s->tools = path_join(s->g->work, "tools");
    if (mkdir(s->tools, 0755) || chmod(s->tools, 0755))
        result = error_errno(s->err, "cannot make '%s'", s->tools);
    for (const struct dirent *e; d && !result && (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        char *source = path_join(from, e->d_name), *target = path_join(s->tools, e->d_name);
        result = file_copy(source, target, 0755, s->err);
        free(source);
        free(target);
    }
    if (d)
        closedir(d);
    free(from);
    return result;
}

static int schedule_open(struct schedule *s)
{
    struct grading *g = s->g;
    s->alone = xcalloc(g->run_count * 4 + 1, sizeof(*s->alone));
    s->layers_off = getenv("IPCLAB_LAYERS_OFF");
    s->suites[0] = course_suite(&g->course, g->manifest.lab, false);
    s->suites[1] = course_suite(&g->course, g->manifest.lab, true);
    s->filter = path_join(g->work, "filter.bpf");
    machine_open(&s->machine);
    if (copy_tools(s))
        return -1;
    int wanted = g->options.jobs < 1 ? 1 : g->options.jobs;
    if (wanted > SLOTS_MAX)
        wanted = SLOTS_MAX;
    if ((size_t)wanted > g->run_count)
        wanted = g->run_count ? (int)g->run_count : 1;
    for (int i = 0; i < wanted; i++) {
        s->slot_count = i + 1;
        if (suite_process_open(&s->slots[i], g, i, s->filter, s->tools, s->err))
            return -1;
    }
    return sandbox_compile_filter(&s->slots[0].policy, s->filter, s->err);
}

static void schedule_close(struct schedule *s)
{
    for (int i = 0; i < s->slot_count; i++)
        suite_process_close(&s->slots[i]);
    machine_close(&s->machine);
    for (size_t i = 0; i < s->batch_count; i++)
        free(s->batches[i].runs);
    free(s->batches);
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
        fill_queue(s);
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
