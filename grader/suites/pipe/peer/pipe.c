/* Starting pipelines, events, and the expectations that most tests share. */
#include "suites/pipe/peer/pipe.h"
#include "suites/pipe/shared/pattern.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/files.h"

enum { LINE_MAX_BYTES = 1 << 16 };
enum { COMMAND_SHOWN = 80 };

/* ---- starting ---- */

/* The newest pipeline and its words, as a message shows them. */
static struct {
    const struct program *p;
    const char *line;
    bool command_next; /* the next word that is no option is a command */
    bool options;      /* the next word may be an option of pipeline's own */
} newest;

/* ", of: pipeline ..." for the newest pipeline when that is short enough for a message, else "". */
static const char *command_of(const struct program *p)
{
    if (newest.p != p || strlen(newest.line) > COMMAND_SHOWN || strstr(newest.line, "-c") != NULL)
        return "";
    return text(", of: pipeline%s%s", newest.line,
                strchr(newest.line, '@') ? " (@ is the suite's probe)" : "");
}

/* The sandbox runs those of the system's commands that stand in the line, and no others. */
static void allow_command(struct program *p, const char *w)
{
    if (strcmp(w, "|") == 0) {
        newest.command_next = true;
    } else if (newest.command_next && *w != '-' && strcmp(w, "pipefail") != 0) {
        newest.command_next = false;
        if (strchr(w, '/') == NULL && strcmp(w, "@") != 0)
            program_may_run(p, w);
    }
}

/* Of an option: what pipeline promises with it. Behind them all words are the stages'. */
static void expect_of_option(struct program *p, const char *w)
{
    if (strcmp(w, "--coprocess") == 0)
        program_carries(p, true,
                        "two pipes of pipeline's own lead to the child and back: pipeline stands "
                        "between");
    else if (strcmp(w, "--meter") == 0)
        program_carries(p, false,
                        "each link is one pipe into pipeline and one out of it: pipeline carries "
                        "the bytes itself");
    else if (strcmp(w, "-o") != 0 && strcmp(w, "pipefail") != 0)
        newest.options = false;
}

static void add_words(struct program *p, const char *format, va_list args)
{
    static char line[LINE_MAX_BYTES];
    int n = vsnprintf(line, sizeof line, format, args);
    if (n < 0 || (size_t)n >= sizeof line)
        suite_failed("line too long", format);
    if (newest.p == p && line[0] != '\0')
        newest.line = text("%s %s", newest.line, line);
    char *rest = line;
    for (char *w; (w = strsep(&rest, " ")) != NULL;) {
        if (*w == '\0')
            continue;
        if (newest.options)
            expect_of_option(p, w);
        allow_command(p, w);
        program_arg(p, strcmp(w, "@") == 0 ? tool_path("probe") : text("%s", w));
    }
}

void program_words(struct program *p, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_words(p, format, args);
    va_end(args);
}

struct program *pipeline(const char *format, ...)
{
    struct program *p = program_new("pipeline");
    newest.p = p;
    newest.line = "";
    newest.command_next = newest.options = true;
    program_stays_itself(p, "pipeline starts each stage in a child of its own and waits for it");
    va_list args;
    va_start(args, format);
    add_words(p, format, args);
    va_end(args);
    return p;
}

const char *upper_case(const char *lower)
{
    char *upper = (char *)text("%s", lower);
    for (char *c = upper; *c != '\0'; c++)
        if (*c >= 'a' && *c <= 'z')
            *c = (char)(*c - 'a' + 'A');
    return upper;
}

int random_status(struct random *r)
{
    return between(r, 3, 80);
}

const void *pattern_bytes(uint64_t seed, size_t len)
{
    unsigned char *block = pattern_make(seed), *bytes = malloc(len + 1);
    if (block == NULL || bytes == NULL)
        suite_failed("no memory", "pattern");
    for (size_t done = 0, n; done < len; done += n) {
        n = len - done < PATTERN_CHUNK ? len - done : PATTERN_CHUNK;
        memcpy(bytes + done, pattern_at(block, done), n);
    }
    free(block);
    return bytes; /* until the worker ends */
}

/* ---- expectations ---- */

void expect_pipeline_status(struct program *p, int status, const char *expected)
{
    const char *full = text("exit status %d: %s%s", status, expected, command_of(p));
    int got = wait_for_end(p, full);
    if (WIFEXITED(got) && WEXITSTATUS(got) == status)
        return;
    const char *hint = "";
    if (WIFEXITED(got) && WEXITSTATUS(got) == 1 && (status == 126 || status == 127))
        hint = ": after a failed exec the child is a second pipeline, until it ends with _exit()";
    else if (WIFEXITED(got) && WEXITSTATUS(got) == 90)
        hint = ": a stage says that its input is not what was sent to it";
    else if (WIFEXITED(got) && WEXITSTATUS(got) == 91)
        hint = ": a stage got EPIPE instead of SIGPIPE, so it started with SIGPIPE ignored";
    else if (WIFEXITED(got) && WEXITSTATUS(got) == 128 + SIGPIPE)
        hint = ": a stage was ended by SIGPIPE, so nobody took what it wrote any more";
    else if (WIFSIGNALED(got) && WTERMSIG(got) == SIGPIPE)
        hint = ": pipeline itself must not die of a reader that is gone";
    else if (WIFSIGNALED(got))
        hint = ": the signal of a stage is 128+N as pipeline's exit status, not its own death";
    test_fail(full, text("%s%s (%s)", status_sentence(got), hint, errors_shown(p)));
}

struct left {
    struct program *p;
    int count;
};

static bool few_are_left(void *context)
{
    const struct left *left = context;
    static struct process_list list;
    char name[32];
    int running = 0;
    process_descendants(program_pid(left->p), &list);
    for (size_t i = 0; i < list.count; i++) {
        char state = process_state(list.pid[i]);
        process_command(list.pid[i], name);
        running += state != 0 && state != 'Z' && state != 'X' && strcmp(name, "probe") == 0;
    }
    return running <= left->count;
}

void wait_stages_left(struct program *p, int count, const char *what)
{
    struct left left = {p, count};
    wait_until(few_are_left, &left, what);
}

void expect_bytes(struct program *p, const void *bytes, size_t len, const char *expected)
{
    wait_for_end(p, expected);
    program_wait_output_end(p, 1);
    size_t kept;
    const char *got = program_output(p, 1, &kept);
    uint64_t total = program_output_total(p, 1);
    if (total == len && kept == len && memcmp(got, bytes, len) == 0)
        return;
    size_t same = 0;
    while (same < kept && same < len && got[same] == ((const char *)bytes)[same])
        same++;
    test_fail(text("%s: %s", expected, quoted(bytes, len, 120)),
              total == 0 ? text("no output at all (%s)", errors_shown(p))
                         : text("%" PRIu64 " bytes instead of %zu, different from byte %zu on: %s",
                                total, len, same, quoted(got, kept, 120)));
}

void expect_links(struct program *p, const uint64_t *counts, size_t count)
{
    char want[LINE_MAX_BYTES];
    size_t len = 0, kept;
    for (size_t i = 0; i < count; i++)
        len += (size_t)snprintf(want + len, sizeof want - len, "link %zu: %" PRIu64 " bytes\n",
                                i + 1, counts[i]);
    program_wait(p);
    program_wait_output_end(p, 2);
    const char *got = program_output(p, 2, &kept);
    if (kept == len && memcmp(got, want, len) == 0)
        return;
    test_fail(count == 0 ? "no line on stderr: there is no link"
                         : text("on stderr one line a link, in order, each with what went through "
                                "it: %s",
                                quoted(want, len, 400)),
              kept == 0 ? "nothing on stderr" : quoted(got, kept, 400));
}

void expect_link_lines(struct program *p, size_t count)
{
    const char *expected = text("on stderr %zu line%s of the form 'link I: BYTES bytes', in order",
                                count, count == 1 ? "" : "s");
    size_t kept, lines = 0;
    program_wait(p);
    program_wait_output_end(p, 2);
    const char *got = program_output(p, 2, &kept);
    const char *all = text("%.*s", (int)kept, got), *rest = all;
    for (size_t number; lines < count; lines++) {
        int used = -1;
        if (sscanf(rest, "link %zu: %*[0-9] bytes%n", &number, &used) != 1 || used < 0 ||
            number != lines + 1 || rest[used] != '\n')
            break;
        rest += used + 1;
    }
    EXPECT(lines == count && *rest == '\0' && strlen(all) == kept, expected,
           kept == 0 ? "nothing on stderr" : quoted(got, kept, 400));
}

void expect_refused(const char *words, const char *why)
{
    struct program *p = pipeline("%s", words);
    const char *expected = text("exit status 2, a usage line on stderr, and nothing started for "
                                "'pipeline %s' (@ is the suite's probe): %s",
                                words, why);
    program_start(p);
    program_close_input(p);
    int got = program_wait(p);
    program_wait_output_end(p, 2);
    EXPECT(WIFEXITED(got) && WEXITSTATUS(got) == 2, expected,
           text("%s%s", status_sentence(got), file_there("started") ? ", and a stage ran" : ""));
    EXPECT(program_output_total(p, 2) > 0, expected, "nothing on stderr");
    EXPECT(program_output_total(p, 1) == 0, expected, "output on stdout");
}
