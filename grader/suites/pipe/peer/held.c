/* What stages hold: the reports of probe. */
#include "suites/pipe/peer/pipe.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what a stage holds ---- */

struct held held_read(const char *file, const char *stage)
{
    struct held h = {.text =
                         file_text(file, NULL, text("%s runs and reports what it holds", stage))};
    const char *line = h.text;
    while (*line != '\0') {
        int fd;
        char kind[16], access[4];
        uintmax_t inode;
        if (sscanf(line, "%d %15s %3s %ju", &fd, kind, access, &inode) == 4) {
            if (fd > 2) {
                h.others++;
            } else if (fd >= 0) {
                h.inode[fd] = inode;
                h.kind[fd] = strcmp(kind, "pipe") == 0   ? HELD_PIPE
                             : strcmp(kind, "null") == 0 ? HELD_NULL
                             : strcmp(kind, "file") == 0 ? HELD_FILE
                                                         : HELD_OTHER;
            }
        }
        line = strchr(line, '\n');
        if (line == NULL)
            break;
        line++;
    }
    return h;
}

/* The report without inodes, as a student reads it. */
static const char *held_sentence(const struct held *h)
{
    char list[1024] = "";
    size_t len = 0;
    for (const char *line = h->text; *line != '\0' && len < sizeof list - 64;) {
        int fd;
        char kind[16], access[4];
        if (sscanf(line, "%d %15s %3s", &fd, kind, access) == 3)
            len += (size_t)snprintf(list + len, sizeof list - len, "%s%d (%s, %s)",
                                    len > 0 ? ", " : "", fd, kind,
                                    access[1] != '\0'  ? "read and write"
                                    : access[0] == 'r' ? "read"
                                                       : "write");
        line = strchr(line, '\n');
        if (line == NULL)
            break;
        line++;
    }
    return text("%s", len > 0 ? list : "none");
}

void expect_no_more(const struct held *h, const char *stage)
{
    EXPECT(h->others == 0,
           text("%s has descriptors 0, 1 and 2 and no other: an end that a stage inherits by "
                "accident keeps a reader from its end of input and a writer from SIGPIPE",
                stage),
           text("it holds %s", held_sentence(h)));
}

void expect_closed_or_null(const struct held *h, int fd, const char *stage)
{
    EXPECT(h->kind[fd] == HELD_CLOSED || h->kind[fd] == HELD_NULL,
           text("descriptor %d was closed when pipeline was started, so in %s it is closed or "
                "/dev/null, never the end of a pipe",
                fd, stage),
           text("it holds %s", held_sentence(h)));
}

struct signal_sets signals_read(const char *file, const char *stage)
{
    const char *line = file_text(file, NULL, text("%s runs and reports its signals", stage));
    struct signal_sets sets = {0, 0, 0};
    uint32_t *set[] = {&sets.ignored, &sets.caught, &sets.blocked};
    for (int i = 0; i < 3 && line != NULL; i++) {
        const char *end = strchr(line, '\n');
        const char *number = strchr(line, ' ');
        while (number != NULL && end != NULL && number < end) {
            char *next;
            long n = strtol(number, &next, 10);
            if (next == number)
                break;
            if (n >= 1 && n <= 31)
                *set[i] |= UINT32_C(1) << n;
            number = *next == ' ' ? next : NULL;
        }
        line = end == NULL ? NULL : end + 1;
    }
    return sets;
}

static const char *set_sentence(uint32_t set)
{
    char list[512] = "";
    size_t len = 0;
    for (int s = 1; s <= 31; s++)
        if (set & (UINT32_C(1) << s))
            len += (size_t)snprintf(list + len, sizeof list - len, "%sSIG%s", len > 0 ? ", " : "",
                                    sigabbrev_np(s));
    return text("%s", len > 0 ? list : "none");
}

void expect_signals(const char *file, const char *stage, uint32_t ignored, uint32_t blocked)
{
    struct signal_sets got = signals_read(file, stage);
    EXPECT(got.ignored == ignored,
           text("%s starts with the actions that pipeline was started with: ignored: %s", stage,
                set_sentence(ignored)),
           text("ignored: %s", set_sentence(got.ignored)));
    EXPECT(got.blocked == blocked,
           text("%s starts with the mask that pipeline was started with: blocked: %s", stage,
                set_sentence(blocked)),
           text("blocked: %s", set_sentence(got.blocked)));
}

uint32_t signals_random(struct random *r, int count)
{
    int from[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGUSR1,   SIGUSR2, SIGALRM,  SIGTERM,
                  SIGTSTP, SIGTTIN, SIGTTOU, SIGVTALRM, SIGPROF, SIGWINCH, SIGIO};
    uint32_t set = 0;
    random_shuffle(r, from, sizeof from / sizeof *from, sizeof *from);
    for (int i = 0; i < count; i++)
        set |= UINT32_C(1) << from[i];
    return set;
}
