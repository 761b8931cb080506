#include "sandbox/sandbox.h"

#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/files.h"
#include "support/json.h"
#include "support/memory.h"

void policy_init(struct policy *p)
{
    *p = (struct policy){0};
}

void policy_release(struct policy *p)
{
    for (size_t i = 0; i < p->path_count; i++)
        free(p->paths[i].path);
    free(p->directory);
    free(p->filter);
    *p = (struct policy){0};
}

static void add_path(struct policy *p, const char *path, unsigned rights)
{
    for (size_t i = 0; i < p->path_count; i++) {
        if (strcmp(p->paths[i].path, path) == 0) {
            p->paths[i].rights |= rights;
            return;
        }
    }
    /* A constant too small for the callers that stand in this tree: they would notice at once. */
    if (p->path_count == POLICY_PATHS_MAX)
        abort();
    p->paths[p->path_count++] = (struct policy_path){.path = xstrdup(path), .rights = rights};
}

void policy_allow(struct policy *p, const char *path, unsigned rights)
{
    if (access(path, F_OK) == 0)
        add_path(p, path, rights);
}

static void allow_all(struct policy *p, const char *const *paths, unsigned rights)
{
    for (; *paths != NULL; paths++)
        policy_allow(p, *paths, rights);
}

/* Debian's folder of libraries for this machine; elsewhere /usr/lib64 has them. */
#if defined(__x86_64__)
#define MULTIARCH "x86_64-linux-gnu"
#elif defined(__aarch64__)
#define MULTIARCH "aarch64-linux-gnu"
#else
#define MULTIARCH "none"
#endif

static const char *const library_folders[] = {
    "/lib/" MULTIARCH, "/usr/lib/" MULTIARCH, "/lib64", "/usr/lib64", NULL,
};

/* Where it is found first: the folders may be the same ones by links. */
static void allow_library(struct policy *p, const char *name)
{
    bool found = false;
    for (const char *const *folder = library_folders; *folder != NULL && !found; folder++) {
        char *path = path_join(*folder, name);
        found = access(path, F_OK) == 0;
        policy_allow(p, path, PATH_READ);
        free(path);
    }
}

/*
 * No more of /usr and /etc than programs need: where the uid can't be changed, an installed course
 * with its hidden suites lies below /usr too and is readable by us.
 *
 * Of what is there to be executed, only the dynamic loader: a submission that starts a shell, or
 * nc, has not done the lab. The loader would run any file that can be read as a program, so the
 * system's commands are not readable either. And of the libraries those of the C library alone: one
 * that brings along a lab's subject (libtirpc makes ONC RPC) could be loaded by dlopen(3).
 */
void policy_allow_runtime(struct policy *p)
{
    static const char *const loaders[] = {
        "/lib64/ld-linux-x86-64.so.2",
        "/lib/ld-linux-aarch64.so.1",
        NULL,
    };
    static const char *const data[] = {
        "/usr/lib/" MULTIARCH "/gconv",
        "/usr/lib/locale",
        "/proc",
        "/sys/devices/system/cpu",
        "/etc/ld.so.cache",
        "/etc/localtime",
        "/etc/timezone",
        "/etc/locale.alias",
        "/etc/nsswitch.conf",
        "/etc/passwd",
        "/etc/group",
        "/etc/hosts",
        "/etc/host.conf",
        "/etc/resolv.conf",
        "/etc/gai.conf",
        "/etc/services",
        "/etc/protocols",
        "/usr/share/zoneinfo",
        "/usr/share/locale",
        "/usr/share/i18n",
        "/usr/share/terminfo",
        "/usr/share/misc",
        NULL,
    };
    static const char *const devices[] = {
        "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", NULL,
    };

    /* glibc's, and what its threads end with. */
    static const char *const libraries[] = {
        "libc.so.6",          "libm.so.6",
        "libmvec.so.1",       "libpthread.so.0",
        "librt.so.1",         "libdl.so.2",
        "libutil.so.1",       "libanl.so.1",
        "libgcc_s.so.1",      "libresolv.so.2",
        "libnss_files.so.2",  "libnss_dns.so.2",
        "libnss_compat.so.2", NULL,
    };

    allow_all(p, loaders, PATH_READ | PATH_EXECUTE);
    for (size_t i = 0; libraries[i] != NULL; i++)
        allow_library(p, libraries[i]);
    allow_all(p, data, PATH_READ);
    allow_all(p, devices, PATH_DEVICE);
}

void policy_allow_libraries(struct policy *p)
{
    allow_all(p, library_folders, PATH_READ);
    policy_allow(p, "/usr/local/lib", PATH_READ);
}

void policy_allow_commands(struct policy *p)
{
    static const char *const folders[] = {
        "/bin",     "/sbin",      "/lib",         "/lib64",         "/usr/bin",       "/usr/sbin",
        "/usr/lib", "/usr/lib64", "/usr/libexec", "/usr/local/bin", "/usr/local/lib", NULL,
    };
    static const char *const data[] = {"/etc/bash.bashrc", "/etc/profile", NULL};

    allow_all(p, folders, PATH_READ | PATH_EXECUTE);
    allow_all(p, data, PATH_READ);
}

char *policy_find_command(const char *name)
{
    static const char *const folders[] = {"/usr/bin", "/bin"}; /* PATH in a test */

    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        char *path = path_join(folders[i], name);
        if (access(path, X_OK) == 0)
            return path;
        free(path);
    }
    return NULL;
}

/* How the names begin of all that one of the compiler's programs is linked with, or that a program
 * of the course is. */
static bool belongs_to_compiler(const char *name)
{
    static const char *const starts[] = {
        /* the parts of gcc, as and ld */
        "libbfd-", "libopcodes-", "libctf.", "libctf-nobfd.", "libsframe.", "libjansson.", "libz.",
        "libzstd.", "libgmp.", "libisl.", "libmpc.", "libmpfr.", "libstdc++.",
        /* the C library, to be linked with */
        "crt1.o", "Scrt1.o", "crti.o", "crtn.o", "libc.", "libc_nonshared.a", "libm.", "libm-",
        "libmvec.", "libpthread.", "librt.", "libdl."};

    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        if (strncmp(name, starts[i], strlen(starts[i])) == 0)
            return true;
    }
    return false;
}

static void allow_libraries_of_compiler(struct policy *p, const char *folder)
{
    DIR *dir = opendir(folder);
    const struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (!belongs_to_compiler(entry->d_name))
            continue;
        char *path = path_join(folder, entry->d_name);
        policy_allow(p, path, PATH_READ);
        free(path);
    }
    if (dir != NULL)
        closedir(dir);
}

/*
 * Only what it needs itself: what can be read can be put into a program (.incbin), which could
 * write it into its folder and load it from there: libtirpc, or the whole of an interpreter.
 */
void policy_allow_compiler(struct policy *p)
{
    static const char *const commands[] = {"gcc", "as", "ld"};
    static const char *const programs[] = {
        "/usr/lib/gcc", "/usr/libexec/gcc", "/usr/local/lib/gcc", "/usr/local/libexec/gcc", NULL,
    };
    static const char *const headers[] = {"/usr/include", "/usr/local/include", NULL};
    char seen[PATH_MAX] = "", real[PATH_MAX];

    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        char *path = policy_find_command(commands[i]);
        if (path != NULL)
            policy_allow(p, path, PATH_READ | PATH_EXECUTE);
        free(path);
    }
    allow_all(p, programs, PATH_READ | PATH_EXECUTE);
    allow_all(p, headers, PATH_READ);
    /* /lib is /usr/lib on most machines: one list of it is enough. */
    for (const char *const *folder = library_folders; *folder != NULL; folder++) {
        if (realpath(*folder, real) == NULL || strcmp(real, seen) == 0)
            continue;
        allow_libraries_of_compiler(p, real);
        memcpy(seen, real, sizeof(seen));
    }
}

/* The limits by name, so that writing and reading cannot differ. */
#define POLICY_LIMITS(LIMIT)                                                                       \
    LIMIT(cpu_seconds)                                                                             \
    LIMIT(descriptors)                                                                             \
    LIMIT(processes) LIMIT(memory_mb) LIMIT(file_mb) LIMIT(stack_mb) LIMIT(queue_bytes)

cJSON *policy_to_json(const struct policy *p)
{
    cJSON *json = cJSON_CreateObject();
    cJSON *paths, *limits;

    json_add_bool(json, "own_ids", p->own_ids);
    json_add_integer(json, "uid", p->uid);
    json_add_integer(json, "gid", p->gid);
    json_add_string(json, "directory", p->directory);
    json_add_integer(json, "excludes", p->excludes);
    json_add_string(json, "filter", p->filter);
    paths = json_add_array(json, "paths");
    for (size_t i = 0; i < p->path_count; i++) {
        cJSON *path = cJSON_CreateObject();
        json_add_string(path, "path", p->paths[i].path);
        json_add_integer(path, "rights", p->paths[i].rights);
        json_append(paths, path);
    }
    limits = json_add_object(json, "limits");
#define WRITE_LIMIT(Name) json_add_integer(limits, #Name, p->Name);
    POLICY_LIMITS(WRITE_LIMIT)
#undef WRITE_LIMIT
    return json;
}

int policy_from_json(struct policy *p, const cJSON *json, struct error *err)
{
    static const char where[] = "the policy in the job";
    const cJSON *paths = cJSON_GetObjectItemCaseSensitive(json, "paths");
    const cJSON *limits = cJSON_GetObjectItemCaseSensitive(json, "limits");
    const char *directory = json_string_or(json, "directory", NULL);
    const char *filter = json_string_or(json, "filter", NULL);
    const cJSON *item;
    long uid, gid, excludes;

    policy_init(p);
    if (json_integer(json, "uid", 0, UINT32_MAX, &uid, where, err) != 0 ||
        json_integer(json, "gid", 0, UINT32_MAX, &gid, where, err) != 0 ||
        json_integer(json, "excludes", 0, UINT32_MAX, &excludes, where, err) != 0)
        return -1;
    p->own_ids = json_bool_or(json, "own_ids", false);
    p->uid = (uid_t)uid;
    p->gid = (gid_t)gid;
    p->excludes = (unsigned)excludes;
    if (directory != NULL)
        p->directory = xstrdup(directory);
    if (filter != NULL)
        p->filter = xstrdup(filter);
    cJSON_ArrayForEach (item, paths) {
        const char *path = json_string(item, "path", where, err);
        long rights;
        if (path == NULL || json_integer(item, "rights", 0, UINT32_MAX, &rights, where, err) != 0)
            goto fail;
        if (p->path_count == POLICY_PATHS_MAX) {
            error_set(err, FAULT_GRADER, "%s: more than %d paths", where, POLICY_PATHS_MAX);
            goto fail;
        }
        add_path(p, path, (unsigned)rights);
    }
#define READ_LIMIT(Name)                                                                           \
    if (json_integer(limits, #Name, -1, 1L << 40, &p->Name, where, err) != 0)                      \
        goto fail;
    POLICY_LIMITS(READ_LIMIT)
#undef READ_LIMIT
    return 0;

fail:
    policy_release(p);
    return -1;
}
