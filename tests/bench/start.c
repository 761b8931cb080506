/*
 * start.c - what a sandboxed start costs over fork and exec: medians of starts of /bin/true, with
 * no layer, with all of them, and with each one left out. Microseconds on stdout, a line each.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/sandbox.h"
#include "sandbox/slot.h"
#include "support/clock.h"
#include "support/files.h"
#include "support/memory.h"

enum { STARTS = 200 };

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static int64_t start_once(const struct sandbox *s)
{
    char *argv[] = {(char *)"true", NULL}, *env[] = {NULL};
    int64_t begun = clock_ns();
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        const char *step;
        if (s && sandbox_enter(s, -1, &step))
            _exit(2);
        execve("/bin/true", argv, env);
        _exit(3);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0) {
        fprintf(stderr, "start: a start failed with wait status %d\n", status);
        exit(1);
    }
    return clock_ns() - begun;
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    struct slot slot;
    struct policy policy;
    char *work = directory_make_private(&err);
    if (!work || chmod(work, 0711) || slot_open(&slot, work, 0, &err)) {
        fprintf(stderr, "start: %s\n", err.text);
        return 1;
    }
    policy_init(&policy);
    policy.own_ids = slot.own_ids;
    policy.uid = slot.uid;
    policy.gid = slot.gid;
    policy.directory = xstrdup(slot.directory);
    policy.cpu_seconds = 5;
    policy.descriptors = 256;
    policy.processes = 200;
    policy.memory_mb = 1024;
    policy.file_mb = 64;
    policy_allow_runtime(&policy);
    policy_allow(&policy, "/bin/true", PATH_READ | PATH_EXECUTE);

    /* In turn, so that a change of the machine's speed meets all of them alike. */
    int64_t plain[STARTS], boxed[STARTS];
    for (int layer = -1; layer < argc - 1; layer++) {
        struct sandbox s;
        const char *off = layer < 0 ? NULL : argv[layer + 1];
        if (sandbox_prepare(&s, &policy, off, &err)) {
            fprintf(stderr, "start: %s\n", err.text);
            return 1;
        }
        for (int i = 0; i < STARTS; i++) {
            plain[i] = start_once(NULL);
            boxed[i] = start_once(&s);
        }
        sandbox_release(&s);
        qsort(plain, STARTS, sizeof(*plain), compare);
        qsort(boxed, STARTS, sizeof(*boxed), compare);
        printf("%s\t%lld\t%lld\n", off ? off : "none left out", (long long)plain[STARTS / 2] / 1000,
               (long long)boxed[STARTS / 2] / 1000);
    }
    policy_release(&policy);
    slot_close(&slot);
    tree_remove(work);
    free(work);
    return 0;
}
