/*
 * probe - the suite's own stage: does what its arguments say, one action after the other, and
 * writes down what it holds. It runs inside the sandbox under the slot's uid, started by the
 * pipeline under test, with the test's folder as its working folder.
 *
 *   say TEXT         write TEXT                    line TEXT     ... and a newline
 *   err TEXT         write TEXT and a newline on stderr
 *   emit SEED COUNT  write COUNT bytes of the pattern (shared/pattern.h); 0: without end
 *   fill SEED        ignore SIGPIPE and write the pattern until nobody takes it any more
 *   check SEED COUNT read to the end: it must be COUNT bytes of the pattern, of which `take` has
 *                    read the first, else exit 90
 *   take N           read N bytes (less at the end of input) and forget them
 *   echo N           read N bytes and write them
 *   drain            read to the end               count FILE    ... and write how much into FILE
 *   sink FILE        copy the input into FILE      copy          copy it to stdout
 *   upper            copy, a-z as A-Z              half          copy every second byte
 *   tag TEXT         copy, then write TEXT         slurp         read everything, then write it
 *   arrive FILE      make FILE: "here I am"
 *   await GATE       wait for a byte from the FIFO GATE       post GATE    write one into it
 *   report FILE      write the open descriptors into FILE     signals FILE the actions and the mask
 *   args             write the arguments behind it, each as [ARG], and end
 *   close FD         close a descriptor
 *   heir N           fork: this process ends with N at once, the child goes on with the rest
 *   exit N           end with N                    kill N        end by signal N
 *   stop GATE        be stopped (SIGSTOP) until GATE lets a child of its own continue it
 *
 * Its arguments may be sealed (support/seal.h): what it is to do is not for pipeline to know.
 * After the last action it ends with 0. It never sleeps. A mistake in its arguments, or something
 * that it cannot do, is exit 99; a write that nobody takes while SIGPIPE is ignored, exit 91.
 * FILEs appear whole: written under another name and renamed.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../shared/pattern.h"
#include "support/seal.h"

enum { WRONG_INPUT = 90, NOT_TAKEN = 91, CANNOT = 99, CHUNK = PATTERN_CHUNK, FDS = 1024 };

static char buffer[CHUNK];
static uint64_t taken; /* by `take` */

static _Noreturn void cannot(const char *what)
{
    dprintf(STDERR_FILENO, "probe: %s: %s\n", what, strerror(errno));
    _exit(CANNOT);
}

/* False when nobody takes it (only where SIGPIPE is ignored or blocked). */
static bool try_put(int fd, const void *bytes, size_t len)
{
    const char *next = bytes;
    while (len > 0) {
        ssize_t n = write(fd, next, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EPIPE)
            return false;
        if (n < 0)
            cannot("write");
        next += n;
        len -= (size_t)n;
    }
    return true;
}

static void put(const void *bytes, size_t len)
{
    if (!try_put(STDOUT_FILENO, bytes, len))
        _exit(NOT_TAKEN);
}

/* One read: 0 at the end of input. A stdin that is closed is at its end. */
static size_t get(void *bytes, size_t max)
{
    ssize_t n;
    while ((n = read(STDIN_FILENO, bytes, max)) < 0 && errno == EINTR)
        ;
    if (n < 0 && errno == EBADF)
        return 0;
    if (n < 0)
        cannot("read");
    return (size_t)n;
}

static void write_file(const char *name, const void *bytes, size_t len)
{
    char temporary[300];
    snprintf(temporary, sizeof temporary, "%.250s.%ld", name, (long)getpid());
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || !try_put(fd, bytes, len) || close(fd) != 0 || rename(temporary, name) != 0)
        cannot(name);
}

static uint64_t number(const char *word)
{
    char *end;
    errno = 0;
    uint64_t n = strtoull(word, &end, 10);
    if (*word == '\0' || *end != '\0' || errno != 0) {
        errno = EINVAL;
        cannot(word);
    }
    return n;
}

/* ---- bytes ---- */

static unsigned char *block_of(const char *seed)
{
    unsigned char *block = pattern_make(number(seed));
    if (block == NULL)
        cannot("memory");
    return block;
}

static void emit(const char *seed, uint64_t count)
{
    unsigned char *block = block_of(seed);
    for (uint64_t done = 0; count == 0 || done < count;) {
        size_t len = count == 0 || count - done > CHUNK ? CHUNK : (size_t)(count - done);
        put(pattern_at(block, done), len);
        done += len;
    }
    free(block);
}

static void fill(const char *seed)
{
    unsigned char *block = block_of(seed);
    signal(SIGPIPE, SIG_IGN);
    for (uint64_t done = 0; try_put(STDOUT_FILENO, pattern_at(block, done), CHUNK); done += CHUNK)
        ;
    free(block);
}

static void check(const char *seed, uint64_t count)
{
    unsigned char *block = block_of(seed);
    uint64_t done = taken;
    for (size_t n; (n = get(buffer, CHUNK)) > 0; done += n) {
        const unsigned char *want = pattern_at(block, done);
        if (memcmp(buffer, want, n) == 0)
            continue;
        size_t i = 0;
        while ((unsigned char)buffer[i] == want[i])
            i++;
        dprintf(STDERR_FILENO, "probe: byte %" PRIu64 " of the input is wrong\n", done + i);
        _exit(WRONG_INPUT);
    }
    free(block);
    if (done != count) {
        dprintf(STDERR_FILENO, "probe: the input has %" PRIu64 " bytes instead of %" PRIu64 "\n",
                done, count);
        _exit(WRONG_INPUT);
    }
}

/* Reads at most `count` bytes; writes them when `also_write`. */
static void take(uint64_t count, bool also_write)
{
    while (count > 0) {
        size_t n = get(buffer, count < CHUNK ? (size_t)count : CHUNK);
        if (n == 0)
            return;
        if (also_write)
            put(buffer, n);
        else
            taken += n;
        count -= n;
    }
}

static uint64_t copy(bool upper, bool half, bool quiet)
{
    uint64_t done = 0;
    for (size_t n; (n = get(buffer, CHUNK)) > 0; done += n) {
        size_t kept = 0;
        for (size_t i = 0; (upper || half) && i < n; i++) {
            char c = buffer[i];
            if (!half || (done + i) % 2 == 0)
                buffer[kept++] = upper && c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
        }
        if (!quiet)
            put(buffer, upper || half ? kept : n);
    }
    return done;
}

/* The whole input in memory; *len is its length. */
static char *slurp(size_t *len)
{
    char *all = NULL;
    size_t room = 0;
    *len = 0;
    for (size_t n; (n = get(buffer, CHUNK)) > 0; *len += n) {
        if (*len + n > room) {
            room = 2 * room + CHUNK;
            all = realloc(all, room);
            if (all == NULL)
                cannot("memory");
        }
        memcpy(all + *len, buffer, n);
    }
    return all;
}

/* ---- what it holds ---- */

struct text {
    char bytes[32768];
    size_t len;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(t->bytes + t->len, sizeof t->bytes - t->len, format, args);
    va_end(args);
    if (n > 0 && (size_t)n < sizeof t->bytes - t->len)
        t->len += (size_t)n;
}

/* One line each: NUMBER KIND ACCESS INODE. Everything is looked at before the file is opened. */
static void report(const char *name)
{
    static struct text t;
    t.len = 0;
    for (int fd = 0; fd < FDS; fd++) {
        struct stat s;
        int flags = fcntl(fd, F_GETFL);
        if (flags < 0 || fstat(fd, &s) != 0)
            continue;
        int access = flags & O_ACCMODE;
        const char *kind = S_ISFIFO(s.st_mode)                                ? "pipe"
                           : S_ISREG(s.st_mode)                               ? "file"
                           : S_ISCHR(s.st_mode) && s.st_rdev == makedev(1, 3) ? "null"
                           : S_ISSOCK(s.st_mode)                              ? "socket"
                                                                              : "other";
        add(&t, "%d %s %s %ju\n", fd, kind,
            access == O_RDONLY   ? "r"
            : access == O_WRONLY ? "w"
                                 : "rw",
            (uintmax_t)s.st_ino);
    }
    write_file(name, t.bytes, t.len);
}

/* Three lines: the ignored, the caught (never any), the blocked signals of 1 to 31. */
static void signals(const char *name)
{
    static struct text t;
    sigset_t mask;
    t.len = 0;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    for (int line = 0; line < 3; line++) {
        static const char *const names[] = {"ignored", "caught", "blocked"};
        add(&t, "%s", names[line]);
        for (int s = 1; s <= 31; s++) {
            struct sigaction a;
            if (sigaction(s, NULL, &a) != 0)
                cannot("sigaction");
            bool yes = line == 0   ? a.sa_handler == SIG_IGN
                       : line == 1 ? a.sa_handler != SIG_IGN && a.sa_handler != SIG_DFL
                                   : sigismember(&mask, s) == 1;
            if (yes)
                add(&t, " %d", s);
        }
        add(&t, "\n");
    }
    write_file(name, t.bytes, t.len);
}

/* ---- events ---- */

static void await(const char *gate)
{
    char c;
    ssize_t n;
    int fd = open(gate, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        cannot(gate);
    while ((n = read(fd, &c, 1)) < 0 && errno == EINTR)
        ;
    if (n != 1)
        cannot(gate);
    close(fd);
}

static void post(const char *gate)
{
    int fd = open(gate, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || !try_put(fd, "", 1))
        cannot(gate);
    close(fd);
}

static void heir(int status)
{
    pid_t pid = fork();
    if (pid < 0)
        cannot("fork");
    if (pid > 0)
        _exit(status);
}

static void stop(const char *gate)
{
    pid_t self = getpid(), pid = fork();
    if (pid < 0)
        cannot("fork");
    if (pid == 0) {
        await(gate);
        kill(self, SIGCONT);
        _exit(0);
    }
    raise(SIGSTOP);
    waitpid(pid, NULL, 0); /* nothing of ours is left over when we end */
}

/* Ends by `sig` whatever pipeline's caller has done to it. */
static _Noreturn void end_by(int sig)
{
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, sig);
    signal(sig, SIG_DFL);
    sigprocmask(SIG_UNBLOCK, &one, NULL);
    raise(sig);
    cannot("raise");
}

int main(int argc, char **argv)
{
    int i = 1;
    unseal_arguments(&argc, &argv);
    while (i < argc) {
        const char *action = argv[i++];
        const char *a = i < argc ? argv[i] : "", *b = i + 1 < argc ? argv[i + 1] : "";
#define IS(name, operands) (strcmp(action, name) == 0 && (i += (operands)) <= argc)
        if (IS("args", 0)) {
            for (; i < argc; i++)
                dprintf(STDOUT_FILENO, "[%s]", argv[i]);
        } else if (IS("say", 1)) {
            put(a, strlen(a));
        } else if (IS("line", 1)) {
            put(a, strlen(a));
            put("\n", 1);
        } else if (IS("err", 1)) {
            dprintf(STDERR_FILENO, "%s\n", a);
        } else if (IS("emit", 2)) {
            emit(a, number(b));
        } else if (IS("fill", 1)) {
            fill(a);
        } else if (IS("check", 2)) {
            check(a, number(b));
        } else if (IS("take", 1)) {
            take(number(a), false);
        } else if (IS("echo", 1)) {
            take(number(a), true);
        } else if (IS("drain", 0)) {
            copy(false, false, true);
        } else if (IS("count", 1)) {
            char text[32];
            int n = snprintf(text, sizeof text, "%" PRIu64, copy(false, false, true));
            write_file(a, text, (size_t)n);
        } else if (IS("copy", 0)) {
            copy(false, false, false);
        } else if (IS("upper", 0)) {
            copy(true, false, false);
        } else if (IS("half", 0)) {
            copy(false, true, false);
        } else if (IS("tag", 1)) {
            copy(false, false, false);
            put(a, strlen(a));
        } else if (IS("slurp", 0) || IS("sink", 1)) {
            size_t len;
            char *all = slurp(&len);
            if (strcmp(action, "sink") == 0)
                write_file(a, all == NULL ? "" : all, len);
            else
                put(all, len);
            free(all);
        } else if (IS("arrive", 1)) {
            write_file(a, "", 0);
        } else if (IS("await", 1)) {
            await(a);
        } else if (IS("post", 1)) {
            post(a);
        } else if (IS("report", 1)) {
            report(a);
        } else if (IS("signals", 1)) {
            signals(a);
        } else if (IS("close", 1)) {
            close((int)number(a));
        } else if (IS("heir", 1)) {
            heir((int)number(a));
        } else if (IS("exit", 1)) {
            _exit((int)number(a));
        } else if (IS("stop", 1)) {
            stop(a);
        } else if (IS("kill", 1)) {
            end_by((int)number(a));
        } else {
            errno = EINVAL;
            cannot(action);
        }
    }
    return 0;
}
