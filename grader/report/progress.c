#include "report/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "support/clock.h"
#include "support/files.h"
#include "support/memory.h"
#include "support/strbuf.h"

enum { RUNNING_MAX = 64, STAGE_MAX = 32 };

struct progress {
    int fd;
    bool full, quiet, live;
    bool drawn; /* a live line stands on the terminal */
    char stage[STAGE_MAX];
    int64_t stage_started;
    size_t done, total;
    const struct run *running[RUNNING_MAX]; /* in the order of their starts */
    size_t running_count;
};

/* Progress is a courtesy: a terminal that is gone stops no grading. */
static void say(struct progress *p, const struct strbuf *line)
{
    if (!p->quiet)
        (void)file_write_all(p->fd, line->text, line->len);
}

static double stage_seconds(const struct progress *p)
{
    return (double)(clock_ns() - p->stage_started) / (double)NS_PER_S;
}

static const char *shown_name(const struct progress *p, const struct run *run)
{
    return p->full || run->test->visibility == VISIBILITY_PUBLIC ? run->test->id : "hidden test";
}

struct progress *progress_new(int fd, bool full, bool quiet)
{
    struct progress *p = xcalloc(1, sizeof *p);
    const char *term = getenv("TERM");

    p->fd = fd;
    p->full = full;
    p->quiet = quiet;
    p->live = isatty(fd) && term != NULL && strcmp(term, "dumb") != 0;
    p->stage_started = clock_ns();
    return p;
}

static void clear_line(struct progress *p, struct strbuf *out)
{
    if (p->drawn)
        strbuf_addstr(out, "\r\033[K");
    p->drawn = false;
}

/* No colour here, so there is nothing for NO_COLOR to take away. */
static void draw(struct progress *p)
{
    struct winsize size;
    size_t columns = 80;
    struct strbuf line = STRBUF_INIT, out = STRBUF_INIT;

    if (!p->live || p->quiet || p->stage[0] == '\0')
        return;
    if (ioctl(p->fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        columns = size.ws_col;
    strbuf_addf(&line, "%s %.1f s", p->stage, stage_seconds(p));
    if (p->total > 0)
        strbuf_addf(&line, "  %zu/%zu", p->done, p->total);
    if (p->running_count > 0)
        strbuf_addf(&line, "  %s", shown_name(p, p->running[p->running_count - 1]));
    if (p->running_count > 1)
        strbuf_addf(&line, " and %zu more", p->running_count - 1);
    if (line.len >= columns) /* a line that wraps cannot be rewritten; it is ASCII */
        strbuf_setlen(&line, columns - 1);
    clear_line(p, &out);
    strbuf_add(&out, line.text, line.len);
    say(p, &out);
    p->drawn = true;
    strbuf_release(&line);
    strbuf_release(&out);
}

void progress_stage(struct progress *p, const char *stage)
{
    snprintf(p->stage, sizeof p->stage, "%s", stage);
    p->stage_started = clock_ns();
    p->done = p->total = p->running_count = 0;
    draw(p);
}

void progress_stage_end(struct progress *p, const char *stage, double seconds, const char *word)
{
    struct strbuf out = STRBUF_INIT;

    clear_line(p, &out);
    strbuf_addf(&out, "%-7s %5.1f s%s%s\n", stage, seconds, word ? "  " : "", word ? word : "");
    say(p, &out);
    p->stage[0] = '\0';
    strbuf_release(&out);
}

static void forget(struct progress *p, const struct run *run)
{
    for (size_t i = 0; i < p->running_count; i++) {
        if (p->running[i] == run) {
            p->running_count--;
            memmove(p->running + i, p->running + i + 1,
                    (p->running_count - i) * sizeof *p->running);
            return;
        }
    }
}

static void on_started(void *context, const struct run *run)
{
    struct progress *p = context;

    forget(p, run);
    if (p->running_count < RUNNING_MAX)
        p->running[p->running_count++] = run;
    draw(p);
}

/*
 * Of a hidden test a line tells neither its time nor how it failed: who reads this may be the
 * student (feedback.c has the same rule).
 */
static void on_ended(void *context, const struct run *run, size_t done, size_t total)
{
    struct progress *p = context;
    bool open = p->full || run->test->visibility == VISIBILITY_PUBLIC;
    struct strbuf out = STRBUF_INIT;

    forget(p, run);
    p->done = done;
    p->total = total;
    if (p->live) {
        draw(p);
        return;
    }
    strbuf_addf(&out, "%zu/%zu %s: ", done, total, shown_name(p, run));
    if (open)
        strbuf_addf(&out, "%s, %.1f s\n", run_status_name(run->status), run->seconds);
    else if (run->status == RUN_PASSED || run->status == RUN_NOT_MEASURED)
        strbuf_addf(&out, "%s\n", run_status_name(run->status));
    else
        strbuf_addf(&out, "%s\n", run_status_name(RUN_FAILED));
    say(p, &out);
    strbuf_release(&out);
}

static void on_rerun(void *context, const struct run *run)
{
    struct progress *p = context;
    struct strbuf out = STRBUF_INIT;

    forget(p, run);
    if (!p->full && run->test->visibility != VISIBILITY_PUBLIC)
        return;
    clear_line(p, &out);
    strbuf_addf(&out, "%s: out of time, once more alone\n", run->test->id);
    say(p, &out);
    strbuf_release(&out);
    draw(p);
}

struct run_listener progress_listener(struct progress *p)
{
    return (struct run_listener){
        .started = on_started, .ended = on_ended, .rerun = on_rerun, .context = p};
}

void progress_tick(struct progress *p)
{
    draw(p);
}

void progress_finish(struct progress *p)
{
    struct strbuf out = STRBUF_INIT;

    clear_line(p, &out);
    say(p, &out);
    strbuf_release(&out);
    free(p);
}
