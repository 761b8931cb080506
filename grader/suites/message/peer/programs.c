/* Starting the lab's programs, and what most tests expect of them. */
#include "harness/trace.h"
#include "suites/message/peer/message.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "support/clock.h"

enum { LINE_BYTES = 1 << 12 };

/* ---- starting ---- */

/* The last ones of this test, for messages. */
enum { PROGRAMS_KEPT = 4, PROGRAMS_MAX = 128 };
static struct started {
    struct program *p;
    const char *name;
    bool timed; /* it was given --timeout */
} programs[PROGRAMS_KEPT];
static size_t program_count; /* all of this test */
static struct program *all[PROGRAMS_MAX];

static void forget_programs(void)
{
    program_count = 0;
}

static void remember(struct program *p, const char *called, bool timed)
{
    test_at_end(forget_programs);
    if (program_count < PROGRAMS_MAX)
        all[program_count] = p;
    programs[program_count % PROGRAMS_KEPT].p = p;
    programs[program_count % PROGRAMS_KEPT].timed = timed;
    programs[program_count++ % PROGRAMS_KEPT].name = called;
}

/* NULL: it is forgotten. */
static const struct started *started(const struct program *p)
{
    for (size_t i = 0; i < program_count && i < PROGRAMS_KEPT; i++)
        if (programs[i].p == p)
            return &programs[i];
    return NULL;
}

static const char *name_of(const struct program *p)
{
    const struct started *s = started(p);
    return s != NULL ? s->name : "";
}

/* Whether it has a time-out to keep; of one that is forgotten nobody knows. */
static bool is_timed(const struct program *p)
{
    const struct started *s = started(p);
    return s == NULL || s->timed;
}

static struct program *command_of(const char *words)
{
    struct program *p = program_from_words(words);
    remember(p, text("%.*s", (int)strcspn(words, " "), words),
             strstr(words, " --timeout ") != NULL);
    return p;
}

static const char *words_of(const char *format, va_list args)
{
    char line[LINE_BYTES];
    int n = vsnprintf(line, sizeof line, format, args);
    if (n < 0 || (size_t)n >= sizeof line)
        abort();
    return text("%s", line);
}

struct program *command(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    struct program *p = command_of(words_of(format, args));
    va_end(args);
    return p;
}

struct program *run(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    struct program *p = command_of(words_of(format, args));
    va_end(args);
    program_start(p);
    return p;
}

struct program *run_with(const char *input, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    struct program *p = command_of(words_of(format, args));
    va_end(args);
    program_start(p);
    program_queue(p, input, strlen(input));
    program_close_input(p);
    return p;
}

bool programs_have_exited(void)
{
    for (size_t i = 0; i < program_count && i < PROGRAMS_MAX; i++)
        if (!program_has_ended(all[i]) || !WIFEXITED(program_wait(all[i])))
            return false;
    return program_count <= PROGRAMS_MAX;
}

bool room_is_lost(struct program *p, struct queue *q, const struct letter *filler)
{
    enum { SLEEPS_MS = 100, STOPS_MAX = 50 };
    struct trace_stop stop;
    struct letter taken;

    if (program_has_ended(p) || !trace_begin(p))
        return false;
    /* Until it sleeps again. */
    for (int i = 0; i < STOPS_MAX && trace_next(&stop, SLEEPS_MS); i++)
        ;
    long full = queue_count(q);
    bool lost = !trace_ended() && queue_take_now(q, &taken) && queue_count(q) < full &&
                trace_next(&stop, SLEEPS_MS) && queue_count(q) < full;
    if (lost)
        queue_put(q, filler);
    trace_end();
    return lost;
}

/* ---- expectations ---- */

const char *what_happened(void)
{
    const char *said = describe_waiting();
    for (size_t i = 0; i < program_count && i < PROGRAMS_KEPT; i++)
        if (program_has_ended(programs[i].p))
            said = text("%s\n%s has ended: %s (%s)", said, programs[i].name,
                        status_sentence(program_wait(programs[i].p)), errors_shown(programs[i].p));
    return said;
}

/* The number of lines on stderr, -1 when the last one has no newline. */
static long error_lines(struct program *p)
{
    size_t len, lines = 0;
    program_wait_output_end(p, 2);
    const char *bytes = program_output(p, 2, &len);
    for (size_t i = 0; i < len; i++)
        lines += bytes[i] == '\n';
    return len > 0 && bytes[len - 1] != '\n' ? -1 : (long)lines;
}

void expect_silent(struct program *p, int status)
{
    const char *called = name_of(p);
    expect_status(p, status, text("%s has done what was asked for", called));
    program_wait_output_end(p, 1);
    EXPECT(program_output_total(p, 1) == 0, text("%s prints nothing on stdout", called),
           text("%llu bytes", (unsigned long long)program_output_total(p, 1)));
    EXPECT(error_lines(p) == (status == 0 ? 0 : 1),
           text("%s on stderr of %s with exit status %d: the functions of mailbox.c print nothing",
                status == 0 ? "nothing" : "one line", called, status),
           errors_shown(p));
}

void expect_error_lines(struct program *p, size_t count, const char *why)
{
    wait_for_end(p, why);
    EXPECT(error_lines(p) == (long)count,
           count == 0 ? text("nothing on stderr: %s", why)
                      : text("%zu line%s on stderr: %s", count, count == 1 ? "" : "s", why),
           errors_shown(p));
}

void expect_failure(struct program *p, const char *why)
{
    expect_status(p, 1, why);
    EXPECT(error_lines(p) > 0, text("a line on stderr that says what failed and why: %s", why),
           errors_shown(p));
}

void expect_usage(const char *words, const char *why)
{
    struct program *p = command_of(words);
    const char *expected =
        text("exit status 2 and a usage line on stderr for '%s': %s", words, why);
    program_start(p);
    program_close_input(p);
    int got = wait_for_end(p, expected);
    EXPECT(WIFEXITED(got) && WEXITSTATUS(got) == 2, expected,
           text("%s (%s)", status_sentence(got), errors_shown(p)));
    EXPECT(error_lines(p) > 0, expected, errors_shown(p));
    EXPECT(program_output_total(p, 1) == 0, expected, "output on stdout");
}

void expect_printed_bytes(struct program *p, const void *bytes, size_t len, const char *what)
{
    wait_for_end(p, what);
    program_wait_output_end(p, 1);
    size_t kept;
    const char *got = program_output(p, 1, &kept);
    if (program_output_total(p, 1) == len && kept == len && memcmp(got, bytes, len) == 0)
        return;
    size_t same = 0;
    while (same < kept && same < len && got[same] == ((const char *)bytes)[same])
        same++;
    test_fail(text("%zu bytes on stdout: %s: %s", len, what, quoted(bytes, len, 160)),
              kept == 0 ? text("nothing on stdout (%s)", errors_shown(p))
                        : text("%zu bytes, different from byte %zu on: %s", kept, same,
                               quoted(got, kept, 160)));
}

void expect_printed(struct program *p, const char *bytes, const char *what)
{
    expect_printed_bytes(p, bytes, strlen(bytes), what);
}

void expect_line(struct program *p, const char *line, const char *what)
{
    size_t len;
    const char *got = program_read_line(p, 1, &len);
    EXPECT(got != NULL, text("%s: the line %s", what, quoted(line, strlen(line), 100)),
           text("its output ended before that (%s)", errors_shown(p)));
    EXPECT(len == strlen(line) && memcmp(got, line, len) == 0,
           text("%s: the line %s", what, quoted(line, strlen(line), 100)),
           text("the line %s", quoted(got, len, 100)));
}

void expect_blocked(struct program *p, const char *why)
{
    if (is_timed(p))
        wait_quiet(p, why);
    else
        wait_asleep(p, why);
}

void expect_timeout(struct program *p, int64_t since_ns, int ms, const char *why)
{
    expect_status(p, 3, why);
    expect_waited(since_ns, ms, why);
    harness_count_wait(ms);
}

int printed_times(struct program *p, const char *line)
{
    size_t kept, len = strlen(line);
    int times = 0;
    const char *at = program_output(p, 1, &kept), *end = at + kept;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *stop = newline != NULL ? newline : end;
        times += (size_t)(stop - at) == len && memcmp(at, line, len) == 0;
        at = stop + 1;
    }
    return times;
}

void random_line_bytes(struct random *r, unsigned char *bytes, size_t len)
{
    random_bytes(r, bytes, len);
    for (size_t i = 0; i < len; i++)
        if (bytes[i] == '\n')
            bytes[i] = '\0';
}
