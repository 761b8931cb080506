#include "course/course.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/files.h"
#include "support/memory.h"

static const char *const teaching_order[] = {"shm", "message", "pipe", "fifo", "chat", "rpc"};

enum { TAUGHT = sizeof(teaching_order) / sizeof(teaching_order[0]), MAX_LABS = 100 };

static char *parent(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash && slash != path)
        *slash = '\0';
    return path;
}

static bool holds_course(const char *root)
{
    char *assignments = path_join(root, "assignments");
    bool is = path_is_directory(assignments);
    free(assignments);
    return is;
}

int course_open(struct course *c, struct error *err)
{
    *c = (struct course){0};
    char binary[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", binary, sizeof(binary) - 1);
    if (len < 0)
        return error_errno(err, "cannot find our own binary through /proc/self/exe");
    binary[len] = '\0';
    c->engine = xstrdup(binary);

    char *folder = parent(xstrdup(binary)), *top = parent(xstrdup(folder));
    char *installed = path_join(top, "share/ipclab");
    const char *home = getenv("IPCLAB_HOME");
    if (holds_course(top)) { /* the build tree: build/ipclab, build/suites beside assignments/ */
        c->root = xstrdup(top);
        c->suites = path_join(folder, "suites");
    } else if (holds_course(installed)) {
        c->root = xstrdup(installed);
        c->suites = path_join(installed, "suites");
    } else if (home && holds_course(home)) {
        c->root = xstrdup(home);
        c->suites = path_join(home, "suites");
    } else {
        error_set(err, FAULT_GRADER,
                  "the course's data is neither beside '%s' nor in IPCLAB_HOME: install it with "
                  "'make install', or set IPCLAB_HOME to the folder that holds assignments/",
                  binary);
    }
    free(installed);
    free(folder);
    free(top);
    return c->root ? 0 : -1;
}

void course_release(struct course *c)
{
    free(c->root);
    free(c->suites);
    free(c->engine);
    *c = (struct course){0};
}

static char *below(const char *root, const char *kind, const char *lab, const char *file)
{
    return file ? xasprintf("%s/%s/%s/%s", root, kind, lab, file)
                : xasprintf("%s/%s/%s", root, kind, lab);
}

char *course_manifest(const struct course *c, const char *lab)
{
    return below(c->root, "assignments", lab, "lab.json");
}

char *course_handout(const struct course *c, const char *lab)
{
    return below(c->root, "assignments", lab, "README.md");
}

char *course_starter(const struct course *c, const char *lab)
{
    return below(c->root, "starter", lab, NULL);
}

char *course_suite(const struct course *c, const char *lab, bool hidden)
{
    return xasprintf("%s/%s-%s", c->suites, lab, hidden ? "hidden" : "public");
}

char *course_tools(const struct course *c, const char *lab)
{
    return xasprintf("%s/tools/%s", c->suites, lab);
}

bool course_has_hidden(const struct course *c, const char *lab)
{
    char *path = course_suite(c, lab, true);
    bool has = access(path, X_OK) == 0;
    free(path);
    return has;
}

bool course_has_lab(const struct course *c, const char *lab)
{
    if (!*lab || strchr(lab, '/') || *lab == '.')
        return false;
    char *path = course_manifest(c, lab);
    bool has = path_exists(path);
    free(path);
    return has;
}

static int rank(const char *lab)
{
    for (int i = 0; i < TAUGHT; i++) {
        if (strcmp(lab, teaching_order[i]) == 0)
            return i;
    }
    return TAUGHT;
}

static int compare(const void *a, const void *b)
{
    const char *x = *(const char *const *)a, *y = *(const char *const *)b;
    int order = rank(x) - rank(y);
    return order ? order : strcmp(x, y);
}

char **course_labs(const struct course *c, struct error *err)
{
    char *folder = path_join(c->root, "assignments");
    DIR *d = opendir(folder);
    if (!d) {
        error_errno(err, "cannot list '%s'", folder);
        free(folder);
        return NULL;
    }
    free(folder);
    /* One block: the vector, then room for each name. */
    char **labs = xcalloc(1, (MAX_LABS + 1) * sizeof(char *) + MAX_LABS * (NAME_MAX + 1));
    char *names = (char *)(labs + MAX_LABS + 1);
    size_t count = 0;
    for (const struct dirent *e; (e = readdir(d)) && count < MAX_LABS;) {
        if (!course_has_lab(c, e->d_name))
            continue;
        labs[count] = names + count * (NAME_MAX + 1);
        strcpy(labs[count++], e->d_name);
    }
    closedir(d);
    qsort(labs, count, sizeof(char *), compare);
    return labs;
}
