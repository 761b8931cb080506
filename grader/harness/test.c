/* test.c - the state of the test that runs: memory, verdict, transcript, paths. */
#include "harness/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/internal.h"
#include "harness/observe.h"
#include "support/files.h"
#include "support/clock.h"
#include "support/memory.h"
#include "support/text.h"

struct harness harness;

enum { NOTE_MAX = 400, SHOWN_OUTPUT = 240, START_GRACE_S = 3 };

static void (*end_hook)(void);

/* ---- memory ---- */

static void keep(void *p)
{
    if (harness.kept_count == harness.kept_capacity) {
        harness.kept_capacity = harness.kept_capacity ? 2 * harness.kept_capacity : 64;
        harness.kept = xrealloc(harness.kept, harness.kept_capacity * sizeof *harness.kept);
    }
    harness.kept[harness.kept_count++] = p;
}

void *test_alloc(size_t size)
{
    void *p = xcalloc(1, size ? size : 1);
    keep(p);
    return p;
}

const char *text(const char *format, ...)
{
    struct strbuf s = STRBUF_INIT;
    va_list args;
    va_start(args, format);
    strbuf_vaddf(&s, format, args);
    va_end(args);
    char *kept = strbuf_detach(&s);
    keep(kept);
    return kept;
}

/* The length of the UTF-8 character at `at`, 0 when there is none of more than one byte. */
static size_t wide_character(const unsigned char *at, size_t left)
{
    size_t len = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : at[0] >= 0xc2 ? 2 : 0;
    return len > 0 && len <= left && text_is_utf8(at, len) ? len : 0;
}

static void quote_part(struct strbuf *out, const unsigned char *at, size_t len)
{
    strbuf_addch(out, '"');
    while (len > 0) {
        size_t wide = wide_character(at, len);
        if (wide > 0) {
            text_clean_line(out, at, wide, 64); /* escapes what has no place in a line */
        } else if (*at == '\n') {
            strbuf_addstr(out, "\\n");
        } else if (*at == '\t') {
            strbuf_addstr(out, "\\t");
        } else if (*at == '\r') {
            strbuf_addstr(out, "\\r");
        } else if (*at == '"' || *at == '\\') {
            strbuf_addch(out, '\\');
            strbuf_addch(out, (char)*at);
        } else if (*at < 0x20 || *at >= 0x7f) {
            strbuf_addf(out, "\\x%02x", *at);
        } else {
            strbuf_addch(out, (char)*at);
        }
        at += wide > 0 ? wide : 1;
        len -= wide > 0 ? wide : 1;
    }
    strbuf_addch(out, '"');
}

const char *quoted(const void *bytes, size_t len, size_t max)
{
    const unsigned char *at = bytes;
    struct strbuf s = STRBUF_INIT;
    if (len <= max) {
        quote_part(&s, at, len);
    } else {
        size_t tail = max / 3, head = max - tail;
        quote_part(&s, at, head);
        strbuf_addf(&s, " ... %zu more bytes ... ", len - head - tail);
        quote_part(&s, at + len - tail, tail);
    }
    char *kept = strbuf_detach(&s);
    keep(kept);
    return kept;
}

/* ---- the board ---- */

/*
 * Makes room where the transcript is full: how the test began stays, and the newest lines; of what
 * lies between, a quarter of the board goes, and a line says how many lines have gone.
 */
static void drop_notes(struct board *board)
{
    enum { KEPT = sizeof board->transcript / 4, DROPPED = sizeof board->transcript / 4 };
    char *from = strchr(board->transcript + KEPT, '\n') + 1, *to = from;
    if (harness.dropped_notes > 0)
        harness.dropped_notes--; /* the line that said so goes as well */
    while (to < from + DROPPED) {
        to = strchr(to, '\n') + 1;
        harness.dropped_notes++;
    }
    char *line = xasprintf("[... %d lines are left out ...]\n", harness.dropped_notes);
    size_t len = strlen(line), rest = strlen(to);
    memcpy(from, line, len);
    memmove(from + len, to, rest + 1);
    atomic_store(&board->transcript_len, (uint32_t)(from + len + rest - board->transcript));
    free(line);
}

void test_note(const char *format, ...)
{
    struct board *board = harness.board;
    if (board == NULL)
        return;
    struct strbuf raw = STRBUF_INIT, line = STRBUF_INIT;
    va_list args;
    va_start(args, format);
    strbuf_vaddf(&raw, format, args);
    va_end(args);
    text_clean_line(&line, raw.text, raw.len, NOTE_MAX);
    strbuf_addch(&line, '\n');
    if (atomic_load(&board->transcript_len) + line.len >= sizeof board->transcript)
        drop_notes(board);
    size_t used = atomic_load(&board->transcript_len);
    memcpy(board->transcript + used, line.text, line.len + 1);
    atomic_store(&board->transcript_len, (uint32_t)(used + line.len));
    strbuf_release(&line);
    strbuf_release(&raw);
}

static void board_text(char *to, size_t size, const char *from)
{
    struct strbuf s = STRBUF_INIT;
    if (from != NULL)
        text_clean(&s, from, strlen(from), size - 1);
    snprintf(to, size, "%s", s.text);
    strbuf_release(&s);
}

void board_add_memory(const char *json)
{
    if (strlen(json) < sizeof harness.board->memory)
        strcpy(harness.board->memory, json);
}

void harness_count_wait(int ms)
{
    atomic_fetch_add(&harness.board->waited_ms, ms);
}

/* ---- the end of a test ---- */

static _Noreturn void end_test(void)
{
    if (end_hook != NULL)
        end_hook();
#ifndef IPCLAB_FLOOR
    criterion_abort_test();
#endif
    abort();
}

static void note_outputs(void)
{
    for (struct program *p = harness.programs; p != NULL; p = p->next) {
        if (!p->started)
            continue;
        note_end(p);
        for (int fd = 1; fd <= 2; fd++) {
            size_t kept;
            const char *bytes = program_output(p, fd, &kept);
            if (program_output_total(p, fd) == 0)
                continue;
            const char *shown = quoted(bytes, kept, SHOWN_OUTPUT);
            if (p->out[fd].ended)
                test_note("%s wrote %llu bytes to its %s: %s", p->name,
                          (unsigned long long)p->out[fd].total, stream_name(fd), shown);
            else
                test_note("%s wrote to its %s: %s", p->name, stream_name(fd),
                          quoted(bytes, kept < SHOWN_OUTPUT ? kept : SHOWN_OUTPUT, SHOWN_OUTPUT));
        }
    }
}

static const struct about *about;

const struct about *test_about(const struct about *now)
{
    const struct about *before = about;
    about = now;
    return before;
}

_Noreturn void test_verdict(enum board_verdict verdict, const char *expected, const char *got)
{
    struct board *board = harness.board;
    if (board == NULL || !harness.active) {
        fprintf(stderr, "harness: outside a test: %s; %s\n", expected, got);
        end_test();
    }
    if (atomic_load(&board->verdict) == BOARD_NONE) {
        /* A program that died so explains what the test missed better than the test can. */
        for (struct program *p = harness.programs;
             p != NULL && (verdict == BOARD_FAILED || verdict == BOARD_TIMEOUT); p = p->next) {
            const char *death = p->peer ? NULL : death_sentence(p);
            if (death == NULL)
                continue;
            if (status_is_crash(p->status))
                verdict = BOARD_CRASHED;
            atomic_store(&board->no_hint, 1);
            if (strstr(got, death) == NULL)
                got = text("%s; besides: %s", death, got);
            break;
        }
        board_text(board->expected, sizeof board->expected, expected);
        board_text(board->got, sizeof board->got, got);
        board_text(board->see, sizeof board->see, about != NULL ? about->see : NULL);
        board_text(board->hint, sizeof board->hint, about != NULL ? about->hint : NULL);
        note_outputs();
        atomic_store(&board->verdict, verdict);
    }
    end_test();
}

_Noreturn void test_fail(const char *expected, const char *got)
{
    test_verdict(BOARD_FAILED, expected, got);
}

_Noreturn void test_not_measured(const char *why)
{
    test_verdict(BOARD_NOT_MEASURED, "a machine that has what this test needs", why);
}

_Noreturn void test_broken(const char *format, ...)
{
    struct strbuf s = STRBUF_INIT;
    va_list args;
    va_start(args, format);
    strbuf_vaddf(&s, format, args);
    va_end(args);
    test_verdict(BOARD_BROKEN, "the harness to be used as its headers say", s.text);
}

int64_t test_deadline(void)
{
    int seconds = harness.test->seconds > 0 ? harness.test->seconds : 10;
    int64_t started = atomic_load(&harness.board->started_ns);
    if (started == 0)
        return harness.begun_ns + (seconds + START_GRACE_S) * NS_PER_S;
    return started + seconds * NS_PER_S;
}

/* ---- begin and end ---- */

/* Descriptors 0, 1, 2 must be somebody's, else a pipe of ours becomes one of them. */
static void open_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            (void)!open("/dev/null", O_RDWR); /* gets the lowest number: this one */
}

static _Noreturn void begin_fails(const char *why)
{
    fprintf(stderr, "harness: %s\n", why);
    if (harness.board != NULL) {
        board_text(harness.board->got, sizeof harness.board->got, why);
        atomic_store(&harness.board->verdict, BOARD_BROKEN);
    }
    end_test();
}

void harness_begin_as(const char *id, void (*end)(void))
{
    end_hook = end;
    void **kept = harness.kept;
    size_t capacity = harness.kept_capacity;
    memset(&harness, 0, sizeof harness);
    harness.kept = kept;
    harness.kept_capacity = capacity;
    harness.last_program = &harness.programs;
    harness.begun_ns = clock_ns();
    harness.stuck_ms = STUCK_MS;
    if (getenv("IPCLAB_JOB") == NULL)
        begin_fails("this program is a part of ipclab and not run by hand; "
                    "'ipclab grade LAB PATH --test ID' runs one test");
    struct error err = ERROR_INIT;
    if (job_read(&harness.job, &err) != 0)
        begin_fails(err.text);
    harness.board = board_map(harness.job.board, false, &err);
    if (harness.board == NULL)
        begin_fails(err.text);
    for (size_t i = 0; i < harness.job.test_count && harness.test == NULL; i++)
        if (strcmp(harness.job.tests[i].id, id) == 0)
            harness.test = &harness.job.tests[i];
    if (harness.test == NULL)
        begin_fails(text("the job has no test '%s'", id));
    harness.id = harness.test->id;
    open_standard_descriptors();
    umask(077);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_DFL); /* ignored, it would reap our children */
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
        begin_fails(text("can't become a subreaper: %s", strerror(errno)));
    harness.active = true;
}

#ifndef IPCLAB_FLOOR
void harness_begin(void)
{
    const struct criterion_test *test = criterion_current_test;
    struct strbuf id = STRBUF_INIT;
    strbuf_addf(&id, "%s/%s", test->category, test->name);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* no test outlives its runner; Debian's boxfort sets none */
    harness_begin_as(id.text, NULL);
    strbuf_release(&id);
}
#endif

void harness_passed(void)
{
    if (atomic_load(&harness.board->verdict) != BOARD_NONE)
        return;
    note_outputs();
    atomic_store(&harness.board->verdict, BOARD_PASSED);
}

void test_at_end(void (*undo)(void))
{
    for (size_t i = 0; i < AT_END_MAX; i++) {
        if (harness.at_end[i] == undo)
            return;
        if (harness.at_end[i] == NULL) {
            harness.at_end[i] = undo;
            return;
        }
    }
    test_broken("test_at_end: more than %d functions", AT_END_MAX);
}

void harness_end(void)
{
    if (!harness.active)
        return;
    reap_kill_all();
    for (size_t i = 0; i < AT_END_MAX && harness.at_end[i] != NULL; i++)
        harness.at_end[i]();
    for (struct program *p = harness.programs; p != NULL; p = p->next)
        streams_close(p);
    endpoints_close();
    refused_stop();
#ifndef IPCLAB_FLOOR
    for (int i = 0; i < 2; i++)
        if (harness.sandbox_ready[i])
            sandbox_release(&harness.sandbox[i]);
#endif
    harness.active = false;
    harness.programs = NULL;
    harness.sealed = NULL;
    for (size_t i = 0; i < harness.kept_count; i++)
        free(harness.kept[i]);
    harness.kept_count = 0;
    board_unmap(harness.board);
    harness.board = NULL;
    job_release(&harness.job);
}

void harness_stuck_after(int ms)
{
    harness.stuck_ms = ms;
}

/* ---- where things are ---- */

const char *test_directory(void)
{
    return harness.job.slot.directory;
}

const char *private_directory(void)
{
    if (harness.private ==
        NULL) { /* made by the first who asks: what an earlier test left is gone */
        harness.private = text("%s/test", harness.job.slot.private);
        tree_remove(harness.private);
        if (mkdir(harness.private, 0700) != 0)
            test_broken("can't make the folder '%s': %s", harness.private, strerror(errno));
    }
    return harness.private;
}

uint64_t test_seed(void)
{
    return harness.test->seed;
}
