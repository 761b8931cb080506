/*
 * grade.c - `ipclab grade`: one submission through the five stages.
 */
#include "commands/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "build/build.h"
#include "grading.h"
#include "intake/intake.h"
#include "report/progress.h"
#include "report/report.h"
#include "run/run.h"
#include "sandbox/sandbox.h"
#include "score/score.h"
#include "support/clock.h"
#include "support/files.h"
#include "support/json.h"
#include "support/memory.h"
#include "work.h"

static const char usage[] =
    "usage: ipclab grade LAB PATH [OPTION]...\n"
    "\n"
    "Grades the submission at PATH: a folder, a .tar, .tar.gz or .zip, or REPOSITORY@COMMIT.\n"
    "\n"
    "  -o, --output FILE      the result (default results.json; feedback.json lies beside it)\n"
    "      --test ID          only this test (SUITE/NAME); may be repeated\n"
    "      --format FORM      table (default), json, junit or markdown, on standard output\n"
    "      --full             print from results.json instead of what a student may see\n"
    "      --seed N           the seed of all random data (default: from lab and submission)\n"
    "      --public-only      public tests only\n"
    "  -j, --jobs N           tests at the same time, 1 to 64 (default: the processors)\n"
    "      --min-score N      exit 1 below N percent of the measured points\n"
    "  -q, --quiet            no progress on standard error\n"
    "  -h, --help             this text\n"
    "\n"
    "Exit status: 0 graded, 1 below --min-score, 2 wrong usage, 3 the grader's fault, 4 "
    "rejected.\n";

static volatile int stop; /* set by SIGINT, SIGTERM, SIGHUP: int is enough, it is only ever set */

static void on_signal(int signal)
{
    (void)signal;
    stop = 1;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: waits end */
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_DFL); /* a caller that ignores it would take our children's statuses */
}

/* ---- the command line ---- */

static int usage_error(const char *format, const char *word)
{
    fputs("ipclab grade: ", stderr);
    fprintf(stderr, format, word);
    fputs("\nsee 'ipclab grade --help'\n", stderr);
    return EXIT_USAGE;
}

static bool parse_number(const char *word, unsigned long long max, unsigned long long *number)
{
    char *end;
    if (!*word || strspn(word, "0123456789") != strlen(word))
        return false;
    errno = 0;
    *number = strtoull(word, &end, 10);
    return errno == 0 && *number <= max;
}

static int default_jobs(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set))
        return 1;
    int count = CPU_COUNT(&set);
    return count < 1 ? 1 : count > 64 ? 64 : count;
}

enum { OPT_TEST = 256, OPT_FORMAT, OPT_FULL, OPT_SEED, OPT_PUBLIC, OPT_MIN_SCORE };

/* Returns -1 when the command shall go on, else its exit status. */
static int parse_options(int argc, char **argv, struct grading_options *o, bool *quiet)
{
    static const struct option options[] = {{"output", required_argument, NULL, 'o'},
                                            {"test", required_argument, NULL, OPT_TEST},
                                            {"format", required_argument, NULL, OPT_FORMAT},
                                            {"full", no_argument, NULL, OPT_FULL},
                                            {"seed", required_argument, NULL, OPT_SEED},
                                            {"public-only", no_argument, NULL, OPT_PUBLIC},
                                            {"jobs", required_argument, NULL, 'j'},
                                            {"min-score", required_argument, NULL, OPT_MIN_SCORE},
                                            {"quiet", no_argument, NULL, 'q'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char **tests = xcalloc((size_t)argc + 1, sizeof(*tests));
    size_t count = 0;
    unsigned long long number;
    *o = (struct grading_options){.output = "results.json",
                                  .format = "table",
                                  .tests = tests,
                                  .jobs = default_jobs(),
                                  .min_score = -1};
    for (int c; (c = getopt_long(argc, argv, "o:j:qh", options, NULL)) != -1;) {
        switch (c) {
        case 'o':
            o->output = optarg;
            break;
        case OPT_TEST:
            tests[count++] = optarg;
            break;
        case OPT_FORMAT:
            if (!report_find(optarg))
                return usage_error("there is no format '%s': table, json, junit or markdown",
                                   optarg);
            o->format = optarg;
            break;
        case OPT_FULL:
            o->full = true;
            break;
        case OPT_SEED:
            if (!parse_number(optarg, ~0ULL, &number))
                return usage_error("--seed takes a number from 0 to 2^64-1, not '%s'", optarg);
            o->have_seed = true;
            o->seed = number;
            break;
        case OPT_PUBLIC:
            o->public_only = true;
            break;
        case 'j':
            if (!parse_number(optarg, 64, &number) || number == 0)
                return usage_error("-j takes a number from 1 to 64, not '%s'", optarg);
            o->jobs = (int)number;
            break;
        case OPT_MIN_SCORE:
            if (!parse_number(optarg, 100, &number))
                return usage_error("--min-score takes a percentage from 0 to 100, not '%s'",
                                   optarg);
            o->min_score = (int)number;
            break;
        case 'q':
            *quiet = true;
            break;
        case 'h':
            fputs(usage, stdout);
            return EXIT_DONE;
        default: /* getopt has said what is wrong */
            fputs("see 'ipclab grade --help'\n", stderr);
            return EXIT_USAGE;
        }
    }
    if (argc - optind != 2)
        return usage_error("%s", argc - optind < 2 ? "a lab and a submission are needed"
                                                   : "one lab and one submission, no more");
    o->lab = argv[optind];
    o->path = argv[optind + 1];
    return -1;
}

/* ---- a result in every case ---- */

static char *emergency_path, *emergency; /* the result for when there is no memory to make one */

/* There is no memory: a fixed text, by system calls alone. */
static void on_out_of_memory(void)
{
    static const char said[] = "ipclab: out of memory: the result says so\n";
    ssize_t ignored = write(2, said, sizeof(said) - 1);
    (void)ignored;
    if (!emergency)
        return;
    int fd = open(emergency_path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0)
        return;
    file_write_all(fd, emergency, strlen(emergency));
    close(fd);
}

static int check_output(const char *output)
{
    struct stat st;
    const char *name = strrchr(output, '/');
    if (!*output)
        return usage_error("%s", "-o wants the name of a file");
    if (strcmp(name ? name + 1 : output, "feedback.json") == 0)
        return usage_error("-o names '%s', which is what a student may see of the result: take "
                           "another name",
                           output);
    if (stat(output, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            return usage_error("-o names the folder '%s': a file is wanted", output);
        return -1;
    }
    char *folder = xstrdup(output), *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder ? 1 : 0] = '\0';
    int missing = access(slash ? folder : ".", W_OK | X_OK);
    if (missing)
        usage_error("no result can be written at '%s': its folder is missing or closed to you",
                    output);
    free(folder);
    return missing ? EXIT_USAGE : -1;
}

/* Made while there is memory, from the same code as every other result. */
static void prepare_emergency(struct grading *g)
{
    g->status = STATUS_GRADER_ERROR;
    error_set(&g->reason, FAULT_GRADER, "the grader ran out of memory: free some and grade again");
    cJSON *results = results_make(g);
    emergency = json_print(results, true);
    cJSON_Delete(results);
    g->status = STATUS_GRADED;
    g->reason = (struct error)ERROR_INIT;
    out_of_memory_set(on_out_of_memory);
}

/* ---- the stages ---- */

static int hash_suites(struct grading *g, struct error *err)
{
    struct hash *h = hash_new();
    int result = 0;
    /* Students may not be allowed to read the other one. */
    int count = g->options.public_only ? 1 : 2;
    for (int hidden = 0; hidden < count; hidden++) {
        char *path = course_suite(&g->course, g->manifest.lab, hidden != 0);
        if (path_exists(path))
            result = result ? result : hash_add_file(h, path, err);
        else if (!hidden)
            result = error_set(err, FAULT_GRADER, "lab '%s' has no suite at '%s': run 'make'",
                               g->manifest.lab, path);
        free(path);
    }
    hash_finish(h, g->suite_hash);
    h = hash_new();
    if (hash_add_file(h, g->course.engine, err))
        result = -1;
    hash_finish(h, g->engine_hash);
    return result;
}

struct stage_clock {
    struct grading *g;
    struct progress *progress;
    int index;
    int64_t since;
};

static void stage_begin(struct stage_clock *c, const char *name)
{
    c->since = clock_ns();
    c->g->timings[c->index].stage = name;
    progress_stage(c->progress, name);
}

static void stage_end(struct stage_clock *c, const char *word)
{
    struct timing *t = &c->g->timings[c->index++];
    t->seconds = (double)(clock_ns() - c->since) / (double)NS_PER_S;
    progress_stage_end(c->progress, t->stage, t->seconds, word);
}

/* As root without a way to become somebody else, the submission would run as root too. */
static int check_root(struct error *err)
{
    const char *off = getenv("IPCLAB_LAYERS_OFF");
    struct strbuf why = STRBUF_INIT;
    int result = 0;
    if (geteuid() == 0 && !(off && *off) && !sandbox_is_official(NULL, &why))
        result = error_set(err, FAULT_GRADER,
                           "nothing is graded as root when the submission would run as root too: "
                           "%s",
                           why.text);
    strbuf_release(&why);
    return result;
}

static int interrupted(struct error *err)
{
    return stop ? error_set(err, FAULT_GRADER, "interrupted before it was done") : 0;
}

static int run_stages(struct grading *g, struct stage_clock *c, struct error *err)
{
    stage_begin(c, "intake");
    int failed = intake(g, err);
    stage_end(c, failed ? "refused" : "taken");
    if (failed || run_plan(g, err) || interrupted(err))
        return -1;

    stage_begin(c, "build");
    failed = build(g, err);
    stage_end(c, failed              ? "failed"
                 : g->build.ok       ? "compiled"
                 : g->build.made > 0 ? "does not compile altogether"
                                     : "does not compile");
    if (failed || interrupted(err))
        return -1;
    /* What is there of it is graded: a broken half costs the other one nothing. */
    if (g->build.made == 0) {
        g->status = STATUS_BUILD_FAILED;
        error_set(&g->reason, FAULT_SUBMISSION, "the submission does not compile");
        return 0;
    }

    stage_begin(c, "run");
    struct run_listener listener = progress_listener(c->progress);
    failed = run(g, &listener, &stop, err);
    stage_end(c, failed ? "failed" : "done");
    return failed;
}

static void not_official(struct grading *g, const char *why)
{
    g->official = false;
    json_append(g->not_official, cJSON_CreateString(why));
}

static void judge_official(struct grading *g)
{
    struct strbuf why = STRBUF_INIT;
    size_t unmeasured = 0;
    const char *off = getenv("IPCLAB_LAYERS_OFF");
    g->official = true;
    if (!sandbox_is_official(off, &why))
        not_official(g, why.text);
    if (g->manifest.cut)
        not_official(g, "only the public tests are installed here");
    else if (g->options.public_only)
        not_official(g, "only the public tests were asked for (--public-only)");
    if (g->options.tests && g->options.tests[0])
        not_official(g, "only some tests were asked for (--test)");
    for (size_t i = 0; i < g->run_count; i++)
        unmeasured += g->runs[i].status == RUN_NOT_MEASURED;
    if (unmeasured) {
        strbuf_reset(&why);
        strbuf_addf(&why, "%zu of %zu tests could not be measured on this machine", unmeasured,
                    g->run_count);
        not_official(g, why.text);
    }
    if (g->status == STATUS_GRADER_ERROR)
        not_official(g, "the grading did not come to its end");
    strbuf_release(&why);
}

static void set_status(struct grading *g, const struct error *err)
{
    if (err->fault == FAULT_NONE)
        return;
    g->status = err->fault == FAULT_SUBMISSION ? STATUS_REJECTED : STATUS_GRADER_ERROR;
    g->reason = *err;
}

static void print(const struct grading *g, const cJSON *results, const cJSON *feedback)
{
    const cJSON *document = g->options.full ? results : feedback;
    if (strcmp(g->options.format, "table") != 0) {
        report_find(g->options.format)(stdout, document);
    } else {
        struct winsize size;
        bool terminal = isatty(1);
        const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
        bool color = terminal && !(no_color && *no_color) && term && strcmp(term, "dumb") != 0;
        int columns =
            terminal && ioctl(1, TIOCGWINSZ, &size) == 0 && size.ws_col >= 40 ? size.ws_col : 100;
        report_table(stdout, document, color ? COLOR_ALWAYS : COLOR_NEVER, columns);
    }
}

static int exit_status(const struct grading *g)
{
    if (g->status == STATUS_GRADER_ERROR)
        return EXIT_GRADER;
    if (g->status == STATUS_REJECTED)
        return EXIT_REJECTED;
    if (g->options.min_score > 0 && (g->max == 0 || g->score * 100 < g->options.min_score * g->max))
        return EXIT_BELOW;
    return EXIT_DONE;
}

static void release(struct grading *g)
{
    for (size_t i = 0; i < g->run_count; i++) {
        struct run *r = &g->runs[i];
        free(r->expected);
        free(r->got);
        free(r->see);
        free(r->hint);
        free(r->transcript);
        free(r->repeat);
        cJSON_Delete(r->memory);
        cJSON_Delete(r->refused);
        cJSON_Delete(r->leftovers);
    }
    free(g->runs);
    for (size_t i = 0; i < g->submission.file_count; i++)
        free(g->submission.files[i]);
    for (size_t i = 0; i < g->submission.ignored_count && i < 100; i++)
        free(g->submission.ignored[i]);
    free(g->submission.files);
    free(g->submission.ignored);
    free(g->submission.id);
    free(g->submission.commit);
    free(g->submission.directory);
    free(g->build.directory);
    free(g->build.log);
    cJSON_Delete(g->not_official);
    cJSON_Delete(g->isolation);
    manifest_release(&g->manifest);
    course_release(&g->course);
    free((void *)g->options.tests);
}

int command_grade(int argc, char **argv)
{
    struct grading g = {0};
    struct error err = ERROR_INIT;
    struct work work = WORK_INIT;
    bool quiet = false;
    int status = parse_options(argc, argv, &g.options, &quiet);
    if (status >= 0)
        return status;
    status = check_output(g.options.output);
    if (status >= 0)
        return status;
    if (course_open(&g.course, &err)) {
        fprintf(stderr, "ipclab grade: %s\n", err.text);
        return EXIT_GRADER;
    }
    if (!course_has_lab(&g.course, g.options.lab))
        return usage_error("there is no lab '%s': see 'ipclab labs'", g.options.lab);

    emergency_path = xstrdup(g.options.output);
    catch_signals();
    g.stop = &stop;
    g.not_official = cJSON_CreateArray();
    struct progress *progress = progress_new(2, g.options.full, quiet);
    struct stage_clock clock = {.g = &g, .progress = progress};

    char *manifest = course_manifest(&g.course, g.options.lab);
    int ready = manifest_load(&g.manifest, manifest, &err);
    prepare_emergency(&g);
    if (ready == 0 && hash_suites(&g, &err) == 0 && check_root(&err) == 0 &&
        work_open(&work, &err) == 0) {
        g.work = work.path;
        run_stages(&g, &clock, &err);
    }
    if (work_close(&work))
        fprintf(stderr, "ipclab: the work folder cannot be removed: %s\n", strerror(errno));
    free(manifest);
    if (err.fault == FAULT_USAGE) {
        progress_finish(progress);
        fprintf(stderr, "ipclab grade: %s\n", err.text);
        release(&g);
        return EXIT_USAGE;
    }
    set_status(&g, &err);
    g.isolation = sandbox_report(getenv("IPCLAB_LAYERS_OFF"));
    judge_official(&g);

    clock.index = 3;
    stage_begin(&clock, "score");
    score(&g);
    stage_end(&clock, NULL);
    stage_begin(&clock, "report");
    cJSON *results = results_make(&g), *feedback = feedback_make(results);
    struct error lost = ERROR_INIT;
    if (report_write(g.options.output, results, feedback, &lost))
        fprintf(stderr, "ipclab grade: the result is lost: %s\n", lost.text);
    stage_end(&clock, NULL);
    progress_finish(progress);
    print(&g, results, feedback);
    status = exit_status(&g);
    if (lost.fault != FAULT_NONE || !output_arrived())
        status = EXIT_GRADER;
    if (g.status == STATUS_GRADER_ERROR && g.options.full) /* it may name a hidden test */
        fprintf(stderr, "ipclab grade: %s\n", g.reason.text);
    cJSON_Delete(results);
    cJSON_Delete(feedback);
    release(&g);
    free(emergency_path);
    free(emergency);
    return status;
}
