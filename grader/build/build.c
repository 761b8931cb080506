/*
 * Children of ours: the guard, and gcc, for as many sources, then programs, at a time as tests run
 * later, in the build's own slot. gcc starts cc1, as and ld; all of them are of the slot's uid and
 * group, and closing the slot sweeps what is left of them. The guard does the same when we die
 * before that.
 */
#include "build/build.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "build/build_log.h"
#include "intake/intake.h"
#include "sandbox/sandbox.h"
#include "sandbox/slot.h"
#include "support/child.h"
#include "support/clock.h"
#include "support/files.h"
#include "support/memory.h"
#include "support/text.h"

enum {
    BUILD_SLOT = 99, /* no test's: a run has 64 at most */
    /* For one program, on a machine that has no time for us; processor time is the real bound. */
    BUILD_SECONDS = 60,
    BUILD_CPU_SECONDS = 20,
    BUILD_MEMORY_MB = 1024,
    BUILD_FILE_MB = 64,
    BUILD_DESCRIPTORS = 256,
    BUILD_PROCESSES = 64,
    SAID_MAX = 256 * 1024, /* kept of one compiler's words, before they are cleaned */
    LOG_MAX = 64 * 1024,
    ARGUMENTS_MAX = 256,
};

static const char compiler[] = "/usr/bin/gcc";

/* One run of gcc: a source's, or a program's, whose sources have been compiled. */
struct compilation {
    const char *name; /* of the source or program */
    char *object;     /* what is made of the source; NULL: a program is made */
    const char *argv[ARGUMENTS_MAX + 1];
    size_t argc, told; /* so many of them are shown: what a student knows, before what is ours */
    struct child child;
    bool ok;
};

struct building {
    struct grading *g;
    struct compilation *sources; /* each once, in the manifest's order */
    size_t source_count;
    struct slot slot;
    struct policy policy;
    struct sandbox sandbox;
    pid_t guard;
    int control; /* of the guard: closes when we die */
    char *env[8];
    /* The build folder has another name each time: programs shall not differ for that. */
    char *prefix_map;
    bool out_of_time;
    struct strbuf log; /* raw */
};

static bool is_given(const struct manifest *m, const char *name)
{
    for (size_t i = 0; m->given && m->given[i]; i++) {
        if (strcmp(m->given[i], name) == 0)
            return true;
    }
    return false;
}

/* The given files are the grader's copies, whatever was handed in. */
static int copy_sources(struct building *b, struct error *err)
{
    const struct manifest *m = &b->g->manifest;
    const struct submission *s = &b->g->submission;
    char *starter = course_starter(&b->g->course, m->lab);
    int result = 0;
    for (size_t i = 0; m->given && m->given[i] && result == 0; i++) {
        char *from = path_join(starter, m->given[i]),
             *to = path_join(b->slot.directory, m->given[i]);
        result = file_copy(from, to, 0644, err);
        free(from);
        free(to);
    }
    for (size_t i = 0; i < s->file_count && result == 0; i++) {
        if (is_given(m, s->files[i]))
            continue;
        char *from = path_join(s->directory, s->files[i]);
        char *to = path_join(b->slot.directory, s->files[i]);
        result = file_copy(from, to, 0644, err);
        free(from);
        free(to);
    }
    free(starter);
    return result;
}

static int make_temporary_folder(struct building *b, struct error *err)
{
    char *path = path_join(b->slot.directory, "tmp");
    int result = 0;
    if (mkdir(path, 0700) != 0 || (b->slot.own_ids && chown(path, b->slot.uid, b->slot.gid) != 0))
        result = error_errno(err, "cannot make the folder '%s'", path);
    b->env[0] = xstrdup("PATH=/usr/local/bin:/usr/bin:/bin");
    b->env[1] = xstrdup("LC_ALL=C");
    b->env[2] = xasprintf("TMPDIR=%s", path);
    b->env[3] = xasprintf("HOME=%s", b->slot.directory);
    free(path);
    return result;
}

static void make_policy(struct building *b)
{
    struct policy *p = &b->policy;
    policy_init(p);
    p->own_ids = b->slot.own_ids;
    p->uid = b->slot.uid;
    p->gid = b->slot.gid;
    p->directory = xstrdup(b->slot.directory);
    policy_allow_runtime(p);
    policy_allow_compiler(p);
    policy_allow(p, b->slot.directory, PATH_READ | PATH_WRITE);
    p->cpu_seconds = BUILD_CPU_SECONDS;
    p->memory_mb = BUILD_MEMORY_MB;
    p->file_mb = BUILD_FILE_MB;
    p->descriptors = BUILD_DESCRIPTORS;
    p->processes = BUILD_PROCESSES;
}

/*
 * The guard's whole life. It is in no group that ^C reaches, and holds nothing but the control pipe
 * and the lock of the uid, so that nobody else is given the uid before it has swept.
 */
static _Noreturn void guard(const struct slot *slot, int control)
{
    char byte;
    ssize_t n;
    int low = fcntl(control, F_DUPFD, 3), lock = fcntl(slot->lock, F_DUPFD, 3);

    setsid();
    dup2(low, 0);
    dup2(lock, 1);
    close_range(2, ~0u, 0);
    do {
        n = read(0, &byte, 1);
    } while (n < 0 && errno == EINTR);
    if (n == 0) /* no word: the engine is dead */
        slot_sweep(slot, 0, NULL, NULL, NULL);
    _exit(0);
}

/* Without a uid of its own the slot's processes can only be told by descent, and by no guard. */
static int guard_start(struct building *b, struct error *err)
{
    int ends[2];

    if (!b->slot.own_ids)
        return 0;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return error_errno(err, "cannot make a pipe to the build's guard");
    b->guard = fork();
    if (b->guard == 0) {
        close(ends[1]);
        guard(&b->slot, ends[0]);
    }
    close(ends[0]);
    b->control = ends[1];
    return b->guard < 0 ? error_errno(err, "cannot start the build's guard") : 0;
}

static void guard_end(struct building *b)
{
    if (b->guard > 0) {
        file_write_all(b->control, "", 1);
        while (waitpid(b->guard, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    if (b->control >= 0)
        close(b->control);
}

static int enter(void *argument, int keep_fd, const char **step)
{
    return sandbox_enter(argument, keep_fd, step);
}

/* ---- what is compiled ---- */

static void add_argument(struct compilation *c, const char *argument)
{
    if (c->argc < ARGUMENTS_MAX)
        c->argv[c->argc] = argument;
    c->argc++;
}

static void add_arguments(struct compilation *c, const char *const *arguments)
{
    for (size_t i = 0; arguments && arguments[i]; i++)
        add_argument(c, arguments[i]);
}

/* The flags are those of the lab's Makefile. */
static void make_source(struct compilation *c, const char *source)
{
    static const char *const flags[] = {"-std=gnu17", "-O2", "-g", "-Wall", "-Wextra", "-c", NULL};
    const char *dot = strrchr(source, '.');
    size_t stem = dot ? (size_t)(dot - source) : strlen(source);
    c->name = source;
    c->object = xasprintf("%.*s.o", (int)stem, source);
    add_argument(c, compiler);
    add_arguments(c, flags);
    add_argument(c, source);
}

static struct compilation *source_of(const struct building *b, const char *name)
{
    for (size_t i = 0; i < b->source_count; i++) {
        if (strcmp(b->sources[i].name, name) == 0)
            return &b->sources[i];
    }
    return NULL;
}

/* A source that several programs have is compiled, and complained about, once. */
static void make_sources(struct building *b)
{
    const struct manifest *m = &b->g->manifest;
    for (size_t i = 0; i < m->program_count; i++) {
        for (const char *const *name = m->programs[i].sources; *name; name++) {
            if (source_of(b, *name))
                continue;
            b->sources = xrealloc(b->sources, (b->source_count + 1) * sizeof *b->sources);
            b->sources[b->source_count] = (struct compilation){0};
            make_source(&b->sources[b->source_count++], *name);
        }
    }
}

/* False: not all of its sources could be compiled. */
static bool make_program(struct compilation *c, const struct building *b,
                         const struct manifest_program *program)
{
    *c = (struct compilation){.name = program->name};
    add_argument(c, compiler);
    add_argument(c, "-o");
    add_argument(c, program->name);
    for (size_t i = 0; program->sources[i]; i++) {
        const struct compilation *source = source_of(b, program->sources[i]);
        if (!source->ok)
            return false;
        add_argument(c, source->object);
    }
    add_arguments(c, program->libraries);
    return true;
}

static void add_ours(struct compilation *c, const char *prefix_map)
{
    static const char *const ours[] = {"-pipe", "-fdiagnostics-color=never", "-fmessage-length=0",
                                       NULL};
    c->told = c->argc;
    add_arguments(c, ours);
    add_argument(c, prefix_map);
    add_argument(c, NULL);
}

/* Whether the compiler was stopped by one of the limits: gcc itself lives on and says so. */
static bool hit_limit(const struct child *child)
{
    static const char *const words[] = {"signal terminated program",
                                        "out of memory",
                                        "memory exhausted",
                                        "File too large",
                                        "file too large",
                                        "Cannot allocate memory",
                                        NULL};
    for (int i = 0; words[i]; i++) {
        if (memmem(child->err.text, child->err.len, words[i], strlen(words[i])))
            return true;
    }
    return child->signal != 0;
}

/*
 * Whether the compiler failed because our disk is full. Its words alone do not say so: "#error No
 * space left on device" is no fault of ours, as long as there was room for all it may write.
 */
static bool no_room(const struct building *b, const struct child *child)
{
    static const char words[] = "No space left on device";
    struct statvfs fs;
    if (!memmem(child->err.text, child->err.len, words, sizeof words - 1) ||
        statvfs(b->slot.directory, &fs) != 0)
        return false;
    return fs.f_bavail * fs.f_frsize < (unsigned long)BUILD_FILE_MB << 20 ||
           (fs.f_files > 0 && fs.f_favail == 0);
}

/* -1 and `err` when the compiler could not be started. */
static int compile_start(struct building *b, struct compilation *c, struct error *err)
{
    c->child = (struct child)CHILD_INIT;
    add_ours(c, b->prefix_map);
    if (c->argc > ARGUMENTS_MAX)
        return error_set(err, FAULT_GRADER, "'%s' has too many sources", c->name);
    c->child.argv = (char *const *)c->argv;
    c->child.env = b->env;
    c->child.timeout_ms = BUILD_SECONDS * MS_PER_S;
    c->child.max_out = SAID_MAX;
    c->child.stop = b->g->stop;
    c->child.before_exec = enter;
    c->child.before_exec_argument = &b->sandbox;
    return child_start(&c->child, err);
}

/* Adds to the log what the compiler said, below its command. */
static void log_compilation(struct building *b, const struct compilation *c)
{
    const struct child *child = &c->child;
    struct strbuf said = STRBUF_INIT;
    b->g->build.warnings +=
        build_log_add(&said, b->g, b->slot.directory, child->out.text, child->out.len);
    b->g->build.warnings +=
        build_log_add(&said, b->g, b->slot.directory, child->err.text, child->err.len);
    if (child->timed_out)
        strbuf_addf(&said, "'%s' was not compiled within %d s\n", c->name, BUILD_SECONDS);
    else if (!c->ok && hit_limit(child))
        strbuf_addf(&said,
                    "the compiler was stopped: it may use %d s of processor time, %d MiB of "
                    "memory and %d MiB for a file\n",
                    BUILD_CPU_SECONDS, BUILD_MEMORY_MB, BUILD_FILE_MB);
    else if (!c->ok && said.len == 0)
        strbuf_addf(&said, "the compiler failed with status %d and no word\n", child->status);
    if (said.len > 0) {
        strbuf_addstr(&b->log, "$ gcc");
        for (size_t i = 1; i < c->told; i++)
            strbuf_addf(&b->log, " %s", c->argv[i]);
        strbuf_addch(&b->log, '\n');
        strbuf_add(&b->log, said.text, said.len);
    }
    strbuf_release(&said);
}

/* 0 with c->ok: whether it compiled; -1 and `err`: that is not known. */
static int compile_finish(struct building *b, struct compilation *c, struct error *err)
{
    struct error running = ERROR_INIT;
    struct child *child = &c->child;
    int result = -1;

    int ran = child_finish(child, &running);
    c->ok = ran == 0 && child->status == 0;
    if (ran != 0 && !child->timed_out) {
        error_set(err, FAULT_GRADER, "%s",
                  child->stopped ? "interrupted before it was compiled" : running.text);
    } else if (child->status != 0 && no_room(b, child)) {
        error_set(err, FAULT_GRADER,
                  "no room to compile in '%s': free some of the disk, or set "
                  "TMPDIR to a folder that has more",
                  b->g->work);
    } else {
        b->out_of_time = b->out_of_time || child->timed_out;
        log_compilation(b, c);
        result = 0;
    }
    child_release(child);
    return result;
}

/*
 * Copies what the compiler left under the program's name: a copy, since a process of the slot may
 * still hold the file open for writing. *ok becomes false when it is no program.
 */
static int take_program(struct building *b, int folder, const char *name, bool *ok,
                        struct error *err)
{
    struct stat st;
    char from[64];
    int result = 0;
    int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) ||
        st.st_size > (off_t)BUILD_FILE_MB << 20) {
        strbuf_addf(&b->log, "the compiler left no program '%s'\n", name);
        *ok = false;
    } else {
        char *to = path_join(b->g->build.directory, name);
        snprintf(from, sizeof from, "/proc/self/fd/%d", fd);
        result = file_copy(from, to, 0755, err);
        free(to);
    }
    if (fd >= 0)
        close(fd);
    return result;
}

/* So many at a time as tests run later, and all of them, whatever becomes of one. */
static int compile_all(struct building *b, struct compilation *each, size_t count, int folder,
                       struct error *err)
{
    const size_t at_once = b->g->options.jobs < 1 ? 1 : (size_t)b->g->options.jobs;
    size_t started = 0;
    int result = 0;
    for (size_t i = 0; i < count; i++) {
        while (started < count && started - i < at_once && result == 0 && !b->out_of_time) {
            result = compile_start(b, &each[started], err);
            started += result == 0;
        }
        if (i == started)
            break;
        /* The first failure is told; what has been started is finished all the same. */
        int finished = compile_finish(b, &each[i], result == 0 ? err : NULL);
        if (finished == 0 && each[i].ok && result == 0 && !each[i].object)
            finished = take_program(b, folder, each[i].name, &each[i].ok, err);
        result = result == 0 ? finished : result;
    }
    return result;
}

static bool was_handed_in(const struct grading *g, const char *source)
{
    for (size_t i = 0; i < g->submission.file_count; i++) {
        if (strcmp(g->submission.files[i], source) == 0)
            return true;
    }
    return is_given(&g->manifest, source);
}

/* Why there is no such program, for its tests to tell. */
static char *why_missing(const struct grading *g, const struct manifest_program *program)
{
    for (const char *const *source = program->sources; *source; source++) {
        if (!was_handed_in(g, *source))
            return xasprintf("there is no %s in what was handed in", *source);
    }
    return xstrdup("it does not: what the compiler says of it stands in the report");
}

/* The suite is to know what the submission lacks from what is misspelt in a test. */
static int mark_missing(const struct building *b, struct error *err)
{
    const struct manifest *m = &b->g->manifest;
    int result = 0;
    for (size_t i = 0; i < m->program_count && result == 0; i++) {
        char *path = path_join(b->g->build.directory, m->programs[i].name);
        if (!path_exists(path)) {
            char *why = why_missing(b->g, &m->programs[i]);
            result = file_write_whole(path, 0644, why, strlen(why), err);
            free(why);
        }
        free(path);
    }
    return result;
}

static int build_all(struct building *b, struct error *err)
{
    const struct manifest *m = &b->g->manifest;
    struct build_result *built = &b->g->build;
    size_t count = 0;
    int folder = open(b->slot.directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder < 0)
        return error_errno(err, "cannot open '%s'", b->slot.directory);
    make_sources(b);
    int result = compile_all(b, b->sources, b->source_count, folder, err);
    struct compilation *programs = xcalloc(m->program_count, sizeof *programs);
    for (size_t i = 0; i < m->program_count && result == 0; i++)
        count += make_program(&programs[count], b, &m->programs[i]);
    if (result == 0)
        result = compile_all(b, programs, count, folder, err);
    for (size_t i = 0; i < count; i++)
        built->made += programs[i].ok;
    free(programs);
    close(folder);
    if (result == 0 && built->made < m->program_count)
        result = mark_missing(b, err);
    built->ok = result == 0 && built->made == m->program_count;
    return result;
}

int build(struct grading *g, struct error *err)
{
    struct building b = {.g = g, .control = -1, .log = STRBUF_INIT, .slot = {.lock = -1}};
    struct strbuf clean = STRBUF_INIT;
    int result = -1;

    g->build.ok = false;
    g->build.made = 0;
    g->build.warnings = 0;
    g->build.directory = path_join(g->work, "programs");
    if (directory_make(g->build.directory, err) != 0)
        goto log;
    if (slot_open(&b.slot, g->work, BUILD_SLOT, err) != 0)
        goto log;
    make_policy(&b);
    if (guard_start(&b, err) == 0 && copy_sources(&b, err) == 0 &&
        make_temporary_folder(&b, err) == 0 &&
        sandbox_prepare(&b.sandbox, &b.policy, getenv("IPCLAB_LAYERS_OFF"), err) == 0) {
        b.prefix_map = xasprintf("-ffile-prefix-map=%s=.", b.slot.directory);
        result = build_all(&b, err);
        sandbox_release(&b.sandbox);
    }
    policy_release(&b.policy);
    slot_close(&b.slot);
    guard_end(&b); /* behind the sweep that it would do in our place */
log:
    for (size_t i = 0; b.env[i]; i++)
        free(b.env[i]);
    for (size_t i = 0; i < b.source_count; i++)
        free(b.sources[i].object);
    free(b.sources);
    free(b.prefix_map);
    text_clean(&clean, b.log.text, b.log.len, LOG_MAX);
    strbuf_release(&b.log);
    free(g->build.log);
    g->build.log = strbuf_detach(&clean);
    return result;
}
