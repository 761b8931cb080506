/*
 * Where a result goes. A file is replaced whole (files.h). What is no file is written to, and must
 * not hold the grader for ever: a FIFO that nobody reads is an error, at once or after a while.
 */
#include "report/report.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/clock.h"
#include "support/files.h"
#include "support/json.h"
#include "support/memory.h"

enum { RESULTS_MODE = 0600, FEEDBACK_MODE = 0644, READER_SECONDS = 30 };

static const char FEEDBACK[] = "feedback.json";

/*
 * The descriptor that a path like /dev/stdout stands for, or -1. It is written to as it is: opening
 * the path anew would lose the place in a file that is appended to, and fails on a socket; renaming
 * a file over /dev/stdout, as root, would be worse.
 */
static int descriptor_of(const char *path)
{
    static const char *const prefixes[] = {"/dev/fd/", "/proc/self/fd/"};

    if (strcmp(path, "/dev/stdout") == 0)
        return STDOUT_FILENO;
    if (strcmp(path, "/dev/stderr") == 0)
        return STDERR_FILENO;
    for (size_t i = 0; i < 2; i++) {
        size_t len = strlen(prefixes[i]);
        char *end;
        long fd;

        if (strncmp(path, prefixes[i], len) != 0 || path[len] < '0' || path[len] > '9')
            continue;
        errno = 0;
        fd = strtol(path + len, &end, 10);
        if (errno == 0 && *end == '\0' && fd <= INT_MAX)
            return (int)fd;
    }
    return -1;
}

static int write_bounded(int fd, const char *bytes, size_t len)
{
    int64_t deadline = clock_ns() + READER_SECONDS * NS_PER_S;

    while (len > 0) {
        ssize_t written = write(fd, bytes, len);

        if (written >= 0) {
            bytes += written;
            len -= (size_t)written;
        } else if (errno == EAGAIN) {
            struct pollfd ready = {.fd = fd, .events = POLLOUT};

            if (clock_ns() >= deadline) {
                errno = ETIMEDOUT;
                return -1;
            }
            (void)poll(&ready, 1, clock_poll_ms(deadline));
        } else if (errno != EINTR) {
            return -1;
        }
    }
    return 0;
}

/* Writes into what exists at `path` and is no regular file. */
static int write_into(const char *path, const char *bytes, size_t len, struct error *err)
{
    struct stat st;
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    int result;

    if (fd < 0) {
        if (errno == ENXIO)
            return error_set(err, FAULT_GRADER, "cannot write to '%s': nobody reads it", path);
        return error_errno(err, "cannot write to '%s'", path);
    }
    if (fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))) {
        close(fd); /* swapped under our hands, or a disk: neither is what was asked for */
        return error_set(err, FAULT_GRADER, "cannot write to '%s': it is no pipe or terminal",
                         path);
    }
    result = write_bounded(fd, bytes, len);
    if (result < 0)
        error_errno(err, "cannot write to '%s'", path);
    close(fd);
    return result;
}

/*
 * Writes results to `output`; *is_file tells whether a feedback.json belongs beside it. A symbolic
 * link to a file, or to nothing, is replaced and its target left alone: it may not be ours.
 */
static int write_results(const char *output, const char *text, size_t len, bool *is_file,
                         struct error *err)
{
    struct stat st;
    int fd = descriptor_of(output);

    *is_file = false;
    if (fd >= 0) {
        if (file_write_all(fd, text, len) < 0)
            return error_errno(err, "cannot write to '%s'", output);
        return 0;
    }
    if (stat(output, &st) == 0 && !S_ISREG(st.st_mode))
        return write_into(output, text, len, err);
    *is_file = true;
    return file_write_whole(output, RESULTS_MODE, text, len, err);
}

int report_write(const char *output, const cJSON *results, const cJSON *feedback, struct error *err)
{
    const char *slash = strrchr(output, '/');
    const char *name = slash ? slash + 1 : output;
    char *printed, *text, *path;
    bool is_file;
    int result;

    if (strcmp(name, FEEDBACK) == 0)
        return error_set(err, FAULT_USAGE,
                         "'%s' is the name of the student's file: give the result another", output);

    printed = json_print(results, true);
    text = xasprintf("%s\n", printed);
    free(printed);
    result = write_results(output, text, strlen(text), &is_file, err);
    free(text);
    if (result < 0 || !is_file)
        return result;

    path = xasprintf("%.*s%s", slash ? (int)(name - output) : 0, output, FEEDBACK);
    result = json_write_whole(path, FEEDBACK_MODE, feedback, err);
    if (result < 0)
        unlink(path); /* an older grading's words must not stand beside this result */
    free(path);
    return result;
}
