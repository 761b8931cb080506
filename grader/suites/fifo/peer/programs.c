/* programs.c - starting the lab's programs, and what most tests expect of them. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "suites/fifo/peer/fifo.h"
#include "support/clock.h"

/* ---- starting ---- */

/* The last ones of this test, for messages. */
enum { PROGRAMS_KEPT = 4 };
static struct program *programs[PROGRAMS_KEPT];
static const char *names[PROGRAMS_KEPT];
static size_t program_count;

static void forget_programs(void)
{
    program_count = 0;
}

static struct program *command_of(const char *name, va_list args)
{
    struct program *p = program_new(name);
    for (const char *arg; (arg = va_arg(args, const char *)) != NULL;)
        program_arg(p, arg);
    test_at_end(forget_programs);
    names[program_count % PROGRAMS_KEPT] = name;
    programs[program_count++ % PROGRAMS_KEPT] = p;
    return p;
}

struct program *command(const char *name, ...)
{
    va_list args;
    va_start(args, name);
    struct program *p = command_of(name, args);
    va_end(args);
    return p;
}

struct program *run(const char *name, ...)
{
    va_list args;
    va_start(args, name);
    struct program *p = command_of(name, args);
    va_end(args);
    program_start(p);
    return p;
}

struct program *run_with(const char *input, const char *name, ...)
{
    va_list args;
    va_start(args, name);
    struct program *p = command_of(name, args);
    va_end(args);
    program_start(p);
    program_queue(p, input, strlen(input));
    program_close_input(p);
    return p;
}

const char *what_happened(void)
{
    const char *said = describe_waiting();
    for (size_t i = 0; i < program_count && i < PROGRAMS_KEPT; i++)
        if (program_has_ended(programs[i]))
            said = text("%s%s%s has ended: %s (%s)", said, *said != '\0' ? "\n" : "", names[i],
                        status_sentence(program_wait(programs[i])), errors_shown(programs[i]));
    return said;
}

/* ---- expectations ---- */

/* All that it has said on stderr. */
static const char *said_by(struct program *p)
{
    size_t len;
    program_wait_output_end(p, 2);
    const char *said = program_output(p, 2, &len);
    return text("%.*s", (int)len, said);
}

void expect_failure(struct program *p, const char *why)
{
    expect_status(p, 1, why);
    EXPECT(strchr(said_by(p), '\n') != NULL,
           text("a line on stderr that says what failed and why: %s", why), errors_shown(p));
}

void expect_usage(struct program *p, const char *why)
{
    const char *expected = text("exit status 2 and a usage line on stderr: %s", why);
    int got = wait_for_end(p, expected);
    EXPECT(WIFEXITED(got) && WEXITSTATUS(got) == 2, expected,
           text("%s (%s)", status_sentence(got), errors_shown(p)));
    EXPECT(strchr(said_by(p), '\n') != NULL, expected, errors_shown(p));
    EXPECT(program_output_total(p, 1) == 0, expected, "output on stdout");
}

void expect_timeout(struct program *p, int64_t since_ns, int ms, const char *why)
{
    expect_status(p, 3, why);
    expect_waited(since_ns, ms, why);
    harness_count_wait(ms);
}

bool expect_over(struct program *p, int64_t since_ns, int ms, const char *why)
{
    bool over = (clock_ns() - since_ns) / NS_PER_MS > ms + CLOCKS_DIFFER_MS;
    wait_quiet_or_end(p, why);
    EXPECT(!over || program_has_ended(p), why, "its time is over, and it still sleeps");
    return over;
}

void expect_printed_bytes(struct program *p, const void *bytes, size_t len, const char *what)
{
    size_t kept;
    wait_for_end(p, what);
    program_wait_output_end(p, 1);
    const char *got = program_output(p, 1, &kept);
    EXPECT(program_output_total(p, 1) == len && kept == len && memcmp(got, bytes, len) == 0,
           text("on stdout: %s: %s", what, quoted(bytes, len, 160)),
           kept == 0 ? text("nothing on stdout (%s)", errors_shown(p))
                     : text("%zu bytes: %s", kept, quoted(got, kept, 160)));
}

void expect_printed(struct program *p, const char *bytes, const char *what)
{
    expect_printed_bytes(p, bytes, strlen(bytes), what);
}

void expect_line(struct program *p, const char *line, const char *what)
{
    size_t len;
    const char *got = program_read_line(p, 1, &len);
    const char *expected = text("%s: the line %s", what, quoted(line, strlen(line), 100));
    EXPECT(got != NULL, expected, text("its output ended before that (%s)", errors_shown(p)));
    EXPECT(len == strlen(line) && memcmp(got, line, len) == 0, expected,
           text("the line %s", quoted(got, len, 100)));
}

struct printing {
    struct program *p;
    int lines;
};

static bool has_printed(void *context)
{
    const struct printing *w = context;
    size_t len;
    const char *bytes = program_output(w->p, 1, &len), *end = bytes + len;
    int lines = 0;
    while (bytes < end && (bytes = memchr(bytes, '\n', (size_t)(end - bytes))) != NULL) {
        bytes++;
        lines++;
    }
    return lines >= w->lines || program_has_ended(w->p);
}

void expect_line_at_once(struct program *p, int number, const char *line, const char *what)
{
    struct printing w = {p, number};
    const char *expected = text("%s: the line %s", what, quoted(line, strlen(line), 100));
    bool came = wait_until_or_stuck(has_printed, &w, expected);
    EXPECT(!program_has_ended(p), text("%s, and then the next one: its input goes on", expected),
           what_happened());
    EXPECT(came, expected,
           text("nothing, and the program goes on: what printf() writes to a pipe stays in its "
                "buffer until fflush(), or until the program ends\n%s",
                what_happened()));
    expect_line(p, line, what);
}

void expect_said(struct program *p, const char *said, const char *what)
{
    EXPECT(strstr(said_by(p), said) != NULL,
           text("%s on stderr: %s", quoted(said, strlen(said), 60), what), errors_shown(p));
}

void expect_line_number(struct program *p, long number, const char *what)
{
    for (const char *at = said_by(p); *at != '\0';) {
        char *end = (char *)at + 1;
        if (*at >= '0' && *at <= '9' && strtol(at, &end, 10) == number)
            return;
        at = end;
    }
    test_fail(text("the message on stderr names line %ld: %s", number, what), errors_shown(p));
}

/* ---- what tests see and need besides ---- */

size_t processes_of(struct program *p)
{
    static struct process_list list;
    process_descendants(program_pid(p), &list);
    return list.count;
}

const char *random_text(struct random *r, size_t len)
{
    char *bytes = (char *)letters(r, len);
    random_bytes(r, bytes, len);
    for (size_t i = 0; i < len; i++)
        if (bytes[i] == '\n' || bytes[i] == '\0')
            bytes[i] = '%';
    return bytes;
}
