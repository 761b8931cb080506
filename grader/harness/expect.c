/* expect.c - a program's end, and the expectations: each makes its own sentence. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "harness/internal.h"
#include "harness/observe.h"
#include "harness/test.h"

enum { SHOWN = 160, CONTEXT_BEFORE = 24, CONTEXT = 60, LISTED_MAX = 8 };

/* ---- its life ---- */

static void must_have_started(const struct program *p, const char *call)
{
    if (!p->started)
        test_broken("%s: '%s' has not been started", call, p->name);
}

static void must_have_ended(const struct program *p, const char *call)
{
    must_have_started(p, call);
    if (!p->ended)
        test_broken("%s: '%s' has not ended, or its end was not waited for", call, p->name);
}

pid_t program_pid(const struct program *p)
{
    must_have_started(p, "program_pid");
    return p->pid;
}

bool program_has_ended(struct program *p)
{
    must_have_started(p, "program_has_ended");
    if (!p->ended)
        pump(0);
    return p->ended;
}

static bool has_ended(void *context)
{
    const struct program *p = context;
    return p->ended;
}

static void wait_for_end(struct program *p, const char *what)
{
    must_have_started(p, "waiting for an end");
    wait_until(has_ended, p, what);
    note_end(p);
}

int program_wait(struct program *p)
{
    wait_for_end(p, text("%s ends", p->name));
    return p->status;
}

void program_signal(struct program *p, int signal)
{
    must_have_started(p, "program_signal");
    const char *name = sigabbrev_np(signal);
    test_note("! sent SIG%s to %s", name != NULL ? name : "?", p->name);
    p->signals_sent |= (uint64_t)1 << (signal & 63);
    if (!p->ended) /* not reaped: the pid is still its own */
        kill(p->pid, signal);
}

double program_cpu_seconds(const struct program *p)
{
    must_have_ended(p, "program_cpu_seconds");
    const struct rusage *u = &p->usage;
    return (double)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) +
           (double)(u->ru_utime.tv_usec + u->ru_stime.tv_usec) / 1e6;
}

long program_peak_kb(const struct program *p)
{
    must_have_ended(p, "program_peak_kb");
    return p->usage.ru_maxrss;
}

long program_voluntary_switches(const struct program *p)
{
    must_have_ended(p, "program_voluntary_switches");
    return p->usage.ru_nvcsw;
}

int program_orphans(struct program *p)
{
    must_have_ended(p, "program_orphans");
    return p->orphans;
}

/* ---- expectations about the end ---- */

void expect_exit(struct program *p, int status)
{
    expect_exit_one_of(p, &status, 1);
}

void expect_exit_one_of(struct program *p, const int *statuses, size_t count)
{
    struct strbuf list = STRBUF_INIT;
    for (size_t i = 0; i < count; i++)
        strbuf_addf(&list, "%s%d", i == 0 ? "" : i + 1 < count ? ", " : " or ", statuses[i]);
    const char *expected = text("%s ends with exit status %s", p->name, list.text);
    strbuf_release(&list);
    wait_for_end(p, expected);
    for (size_t i = 0; i < count; i++)
        if (WIFEXITED(p->status) && WEXITSTATUS(p->status) == statuses[i])
            return;
    const char *death = p->peer ? NULL : death_sentence(p);
    size_t kept = 0;
    const char *errors = p->out[2].is_pipe ? program_output(p, 2, &kept) : "";
    const char *said =
        kept > 0 ? text("; it said on standard error: %s", quoted(errors, kept, SHOWN)) : "";
    test_fail(expected, text("%s%s", death != NULL ? death : status_sentence(p->status), said));
}

void expect_killed(struct program *p, int signal)
{
    const char *name = sigabbrev_np(signal);
    const char *expected =
        text("%s is killed by signal %d (SIG%s)", p->name, signal, name != NULL ? name : "?");
    wait_for_end(p, expected);
    if (WIFSIGNALED(p->status) && WTERMSIG(p->status) == signal) {
        p->end_expected = true;
        return;
    }
    test_fail(expected, status_sentence(p->status));
}

void expect_still_running(struct program *p, const char *why)
{
    if (!program_has_ended(p))
        return;
    note_end(p);
    test_fail(text("%s still runs: %s", p->name, why),
              text("it has ended: %s", status_sentence(p->status)));
}

void expect_no_orphans(struct program *p)
{
    must_have_ended(p, "expect_no_orphans");
    if (p->orphans == 0)
        return;
    pump(0); /* which of them have ended by now */
    struct strbuf names = STRBUF_INIT;
    int listed = 0;
    for (const struct orphan *o = harness.orphans; o != NULL; o = o->next) {
        if (o->owner != p || listed == LISTED_MAX)
            continue;
        strbuf_addf(&names, "%s%s%s", listed++ > 0 ? ", " : "", o->name,
                    o->zombie || o->reaped ? " (had ended, was not waited for)"
                                           : " (still running)");
    }
    const char *got = text("%d left over: %s", p->orphans, names.text);
    strbuf_release(&names);
    test_fail(
        text("%s waits for all its children before it ends: none runs on, none stays a zombie",
             p->name),
        got);
}

/* ---- expectations about output ---- */

static void wait_for_output(struct program *p, int fd, const char *what)
{
    wait_for_end(p, what);
    if (p->out[fd].is_pipe && p->out[fd].fd >= 0)
        program_wait_output_end(p, fd);
}

static const char *position(const char *bytes, size_t at)
{
    size_t line = 1;
    for (size_t i = 0; i < at; i++)
        line += bytes[i] == '\n';
    return line > 1 ? text("byte %zu (in line %zu)", at + 1, line) : text("byte %zu", at + 1);
}

/* Where they differ first, with what stands around it on both sides. */
static const char *difference(const char *want, size_t want_len, const char *got, size_t got_len)
{
    if (got_len == 0)
        return "nothing at all";
    size_t at = 0;
    while (at < want_len && at < got_len && want[at] == got[at])
        at++;
    size_t from = at > CONTEXT_BEFORE ? at - CONTEXT_BEFORE : 0;
    size_t want_n = want_len - from < CONTEXT ? want_len - from : (size_t)CONTEXT;
    size_t got_n = got_len - from < CONTEXT ? got_len - from : (size_t)CONTEXT;
    if (want_len <= SHOWN / 2 && got_len <= SHOWN / 2)
        return text("%zu bytes: %s", got_len, quoted(got, got_len, SHOWN));
    if (at == got_len)
        return text("%zu bytes: right as far as they go, but the end is missing, from %s", got_len,
                    quoted(want + at, want_len - at, CONTEXT));
    if (at == want_len)
        return text("%zu bytes: the %zu expected ones and then more: %s", got_len, want_len,
                    quoted(got + at, got_len - at, CONTEXT));
    return text("%zu bytes; the first difference is at %s: %s where %s should be", got_len,
                position(want, at), quoted(got + from, got_n, CONTEXT),
                quoted(want + from, want_n, CONTEXT));
}

void expect_output(struct program *p, const void *bytes, size_t len)
{
    const char *expected = text("%s writes %zu bytes to its standard output: %s", p->name, len,
                                quoted(bytes, len, SHOWN));
    wait_for_output(p, 1, expected);
    size_t kept;
    const char *got = program_output(p, 1, &kept);
    if (p->out[1].total == len && kept == len && memcmp(got, bytes, len) == 0)
        return;
    if (p->out[1].total > kept)
        test_fail(expected, text("%llu bytes: %s", (unsigned long long)p->out[1].total,
                                 quoted(got, kept, SHOWN)));
    test_fail(expected, difference(bytes, len, got, kept));
}

void expect_output_text(struct program *p, const char *bytes)
{
    expect_output(p, bytes, strlen(bytes));
}

static void expect_nothing(struct program *p, int fd)
{
    const char *expected = text("%s writes nothing to its %s", p->name, stream_name(fd));
    wait_for_output(p, fd, expected);
    size_t kept;
    const char *got = program_output(p, fd, &kept);
    if (p->out[fd].total > 0)
        test_fail(expected, text("%llu bytes: %s", (unsigned long long)p->out[fd].total,
                                 quoted(got, kept, SHOWN)));
}

void expect_no_output(struct program *p)
{
    expect_nothing(p, 1);
}

void expect_errors_empty(struct program *p)
{
    expect_nothing(p, 2);
}

void expect_error_line(struct program *p)
{
    const char *expected =
        text("%s says on its standard error what went wrong, in a line", p->name);
    wait_for_output(p, 2, expected);
    size_t kept;
    const char *got = program_output(p, 2, &kept);
    if (kept == 0)
        test_fail(expected, "nothing on its standard error");
    if (memchr(got, '\n', kept) == NULL)
        test_fail(expected,
                  text("no complete line: %s has no newline at its end", quoted(got, kept, SHOWN)));
}
