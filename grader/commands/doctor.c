/*
 * doctor.c - `ipclab doctor`: what this machine offers to a grading, and how to get what is
 * missing.
 */
#include "commands/commands.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "course/course.h"
#include "course/manifest.h"
#include "sandbox/namespaces.h"
#include "sandbox/sandbox.h"
#include "support/child.h"
#include "support/ipv6.h"
#include "support/json.h"
#include "support/memory.h"
#include "support/text.h"

static const char usage[] =
    "usage: ipclab doctor [--json]\n"
    "\n"
    "Names each layer of the sandbox, whether it is in force on this machine and, if not, why and\n"
    "how to get it; the tools that grading needs; what each lab asks of the machine; and whether "
    "a\n"
    "grade made here would be official.\n"
    "\n"
    "  --json   the same as JSON\n"
    "\n"
    "Exit status: 0 grading is possible, 2 wrong usage, 3 it is not possible.\n";

/* ---- tools ---- */

static const struct tool {
    const char *name;
    bool required; /* nothing can be graded without it */
    const char *needed_for;
} tools[] = {
    {"gcc", true, "compiles submissions"},
    {"valgrind", false, "memory tests; without it they are not measured"},
    {"git", false, "submissions that are commits"},
};

/* The first line of `NAME --version`, or NULL where it can't be run. */
static char *tool_version(const char *name)
{
    char *argv[] = {xstrdup(name), xstrdup("--version"), NULL};
    struct child c = CHILD_INIT;
    struct strbuf line = STRBUF_INIT;
    char *version = NULL;

    c.argv = argv;
    c.timeout_ms = 10000;
    if (child_run(&c, NULL) == 0 && c.status == 0) {
        text_clean_line(&line, c.out.text, strcspn(c.out.text, "\n"), 200);
        version = strbuf_detach(&line);
    }
    child_release(&c);
    free(argv[0]);
    free(argv[1]);
    return version;
}

static cJSON *check_tools(bool *possible)
{
    cJSON *list = cJSON_CreateArray();

    for (size_t i = 0; i < sizeof(tools) / sizeof(tools[0]); i++) {
        cJSON *item = cJSON_CreateObject();
        char *version = tool_version(tools[i].name);
        json_add_string(item, "tool", tools[i].name);
        json_add_string(item, "version", version);
        json_add_string(item, "needed_for", tools[i].needed_for);
        json_append(list, item);
        if (version == NULL && tools[i].required)
            *possible = false;
        free(version);
    }
    return list;
}

/* ---- what labs ask for, "machine" in lab.json ---- */

static long read_number(const char *path)
{
    FILE *f = fopen(path, "re");
    long value = -1;

    if (f == NULL)
        return -1;
    if (fscanf(f, "%ld", &value) != 1)
        value = -1;
    fclose(f);
    return value;
}

static bool check_kernel_number(const char *path, long wanted, struct strbuf *detail)
{
    long there = read_number(path);

    if (there < 0)
        strbuf_addf(detail, "'%s' is not there", path);
    else
        strbuf_addf(detail, "%ld of %ld in %s", there, wanted, path);
    return there >= wanted;
}

static bool check_shared_memory(long wanted_mb, struct strbuf *detail)
{
    struct statvfs fs;
    long there;

    if (statvfs("/dev/shm", &fs) != 0) {
        strbuf_addstr(detail, "/dev/shm is not there");
        return false;
    }
    there = (long)(fs.f_bavail * (fs.f_frsize / 1024) / 1024);
    strbuf_addf(detail, "%ld of %ld MiB free in /dev/shm", there, wanted_mb);
    if (there < wanted_mb)
        strbuf_addstr(detail, "; docker run takes --shm-size");
    return there >= wanted_mb;
}

/* Where a slot has a network of its own it is that one that counts. */
static bool check_ipv6(struct strbuf *detail)
{
    int fault = EADDRNOTAVAIL, status;
    bool own = sandbox_has_layer("own namespaces", getenv("IPCLAB_LAYERS_OFF"));
    pid_t pid = own ? namespaces_fork() : -1;

    if (pid == 0)
        _exit(ipv6_fault());
    if (pid < 0)
        fault = ipv6_fault();
    else if (waitpid(pid, &status, 0) == pid && WIFEXITED(status))
        fault = WEXITSTATUS(status);
    if (fault == 0)
        strbuf_addstr(detail, "IPv6 on loopback is there");
    else
        strbuf_addf(detail,
                    "no IPv6 on loopback (%s): the tests of it are not measured; docker run takes "
                    "--sysctl net.ipv6.conf.all.disable_ipv6=0",
                    strerror(fault));
    return fault == 0;
}

static bool check_need(const cJSON *need, struct strbuf *detail)
{
    long wanted = cJSON_IsNumber(need) ? (long)need->valuedouble : 0;

    if (strcmp(need->string, "queue_depth") == 0)
        return check_kernel_number("/proc/sys/fs/mqueue/msg_max", wanted, detail);
    if (strcmp(need->string, "queue_message_bytes") == 0)
        return check_kernel_number("/proc/sys/fs/mqueue/msgsize_max", wanted, detail);
    if (strcmp(need->string, "shared_memory_mb") == 0)
        return check_shared_memory(wanted, detail);
    if (strcmp(need->string, "ipv6") == 0)
        return cJSON_IsFalse(need) || check_ipv6(detail);
    strbuf_addstr(detail, "this version of ipclab can't check it");
    return false;
}

static void check_lab(const char *path, cJSON *lab)
{
    struct manifest m;
    struct error err = ERROR_INIT;
    cJSON *needs = json_add_array(lab, "needs");
    const cJSON *need;

    if (manifest_load(&m, path, &err) != 0) {
        json_add_string(lab, "error", err.text);
        return;
    }
    cJSON_ArrayForEach (need, cJSON_GetObjectItemCaseSensitive(m.root, "machine")) {
        struct strbuf detail = STRBUF_INIT;
        cJSON *item = cJSON_CreateObject();
        bool met = check_need(need, &detail);
        json_add_string(item, "what", need->string);
        json_add_bool(item, "met", met);
        json_add_string(item, "detail", detail.text);
        json_append(needs, item);
        strbuf_release(&detail);
    }
    manifest_release(&m);
}

static cJSON *check_labs(const struct course *c, struct error *err)
{
    cJSON *list = cJSON_CreateArray();
    char **labs = course_labs(c, err);

    for (size_t i = 0; labs != NULL && labs[i] != NULL; i++) {
        cJSON *lab = cJSON_CreateObject();
        char *path = course_manifest(c, labs[i]);
        json_add_string(lab, "lab", labs[i]);
        json_add_bool(lab, "hidden_tests", course_has_hidden(c, labs[i]));
        check_lab(path, lab);
        json_append(list, lab);
        free(path);
    }
    free(labs);
    return list;
}

/* ---- the whole ---- */

static cJSON *examine(bool *possible)
{
    const char *off = getenv("IPCLAB_LAYERS_OFF");
    cJSON *report = cJSON_CreateObject();
    cJSON *layers = sandbox_report(off);
    struct strbuf why = STRBUF_INIT;
    struct error err = ERROR_INIT;
    struct course c;
    bool official = sandbox_is_official(off, &why);

    for (int i = 0; sandbox_layers[i] != NULL; i++)
        json_add_string(cJSON_GetArrayItem(layers, i), "gives", sandbox_layers[i]->gives);
    cJSON_AddItemToObject(report, "layers", layers);
    cJSON_AddItemToObject(report, "tools", check_tools(possible));
    if (course_open(&c, &err) == 0) {
        cJSON_AddItemToObject(report, "labs", check_labs(&c, &err));
        course_release(&c);
    }
    if (err.fault != FAULT_NONE) {
        *possible = false;
        json_add_string(report, "error", err.text);
    }
    json_add_bool(report, "official", official);
    json_add_string(report, "why_not", official ? NULL : why.text);
    json_add_bool(report, "possible", *possible);
    strbuf_release(&why);
    return report;
}

static void print_line(bool good, const char *name, const char *detail)
{
    printf("  %-4s %-20s %s\n", good ? "yes" : "NO", name, detail);
}

static void print_labs(const cJSON *labs)
{
    const cJSON *lab, *need;

    cJSON_ArrayForEach (lab, labs) {
        const char *name = json_string_or(lab, "lab", "");
        const char *fault = json_string_or(lab, "error", NULL);
        const cJSON *needs = cJSON_GetObjectItemCaseSensitive(lab, "needs");
        if (fault != NULL)
            print_line(false, name, fault);
        else if (cJSON_GetArraySize(needs) == 0)
            print_line(true, name,
                       json_bool_or(lab, "hidden_tests", false)
                           ? "asks nothing more of the machine"
                           : "asks nothing more of the machine; public tests only");
        cJSON_ArrayForEach (need, needs) {
            char *what = xasprintf("%s %s", name, json_string_or(need, "what", ""));
            print_line(json_bool_or(need, "met", false), what, json_string_or(need, "detail", ""));
            free(what);
        }
    }
}

static void print_report(const cJSON *report)
{
    const cJSON *item;
    const char *fault = json_string_or(report, "error", NULL);

    puts("Layers between a submission and this machine");
    cJSON_ArrayForEach (item, cJSON_GetObjectItemCaseSensitive(report, "layers"))
        print_line(json_bool_or(item, "active", false), json_string_or(item, "layer", ""),
                   json_string_or(item, "detail", ""));
    puts("\nTools");
    cJSON_ArrayForEach (item, cJSON_GetObjectItemCaseSensitive(report, "tools")) {
        const char *version = json_string_or(item, "version", NULL);
        char *missing =
            xasprintf("not found: apt install %s (%s)", json_string_or(item, "tool", ""),
                      json_string_or(item, "needed_for", ""));
        print_line(version != NULL, json_string_or(item, "tool", ""),
                   version != NULL ? version : missing);
        free(missing);
    }
    puts("\nLabs");
    if (fault != NULL)
        print_line(false, "course", fault);
    print_labs(cJSON_GetObjectItemCaseSensitive(report, "labs"));
    putchar('\n');
    if (!json_bool_or(report, "possible", false))
        puts("Grading is not possible here.");
    else if (json_bool_or(report, "official", false))
        puts("Grading is possible, and a grade made here can be official.");
    else
        printf("Grading is possible, but a grade made here is not official: %s.\n",
               json_string_or(report, "why_not", ""));
}

int command_doctor(int argc, char **argv)
{
    bool json = argc == 2 && strcmp(argv[1], "--json") == 0;
    bool possible = true;
    cJSON *report;

    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return output_arrived() ? EXIT_DONE : EXIT_GRADER;
    }
    if (argc > 1 && !json) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    report = examine(&possible);
    if (json) {
        char *text = json_print(report, true);
        puts(text);
        free(text);
    } else {
        print_report(report);
    }
    cJSON_Delete(report);
    return output_arrived() && possible ? EXIT_DONE : EXIT_GRADER;
}
