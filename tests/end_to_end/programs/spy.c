/*
 * Looks for what is not its own: environments, descriptors and memory of other users' processes,
 * the grader's folders, what the suite's own programs are to do. Says "LEAK" for each one that it gets, and "LOOKED" at the end.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void try_file(const char *path, int flags)
{
    char bytes[16];
    int fd = open(path, flags | O_NONBLOCK);
    if (fd >= 0 && (flags == O_WRONLY || read(fd, bytes, sizeof bytes) > 0))
        fprintf(stderr, "LEAK %s\n", path);
    if (fd >= 0)
        close(fd);
}

static void try_list(const char *path)
{
    DIR *dir = opendir(path);
    if (dir != NULL) {
        fprintf(stderr, "LEAK list %s\n", path);
        closedir(dir);
    }
}

static void look_at(const char *pid)
{
    char path[600];
    snprintf(path, sizeof path, "/proc/%s/environ", pid);
    try_file(path, O_RDONLY);
    snprintf(path, sizeof path, "/proc/%s/mem", pid);
    try_file(path, O_WRONLY);
    snprintf(path, sizeof path, "/proc/%s/fd", pid);
    try_list(path);
    for (int fd = 0; fd < 64; fd++) {
        snprintf(path, sizeof path, "/proc/%s/fd/%d", pid, fd);
        try_file(path, O_RDONLY);
        try_file(path, O_WRONLY);
    }
}

int main(int argc, char **argv)
{
    struct stat st;
    char path[600], own[512] = "";
    DIR *proc = opendir("/proc");
    int others = 0;

    for (struct dirent *entry; proc != NULL && (entry = readdir(proc)) != NULL;) {
        snprintf(path, sizeof path, "/proc/%s", entry->d_name);
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9' || stat(path, &st) != 0 ||
            st.st_uid == getuid())
            continue;
        others++;
        look_at(entry->d_name);
    }
    if (getcwd(own, sizeof own) == NULL)
        return 1;
    try_list("..");
    try_list("../private");
    try_list("../..");
    try_file("../private/board", O_WRONLY);
    try_file("../private/job.json", O_RDONLY);
    for (int i = 0; i < 64; i++) {
        snprintf(path, sizeof path, "../../slot-%d", i);
        try_list(path);
        snprintf(path, sizeof path, "../../slot-%d/home", i);
        if (strstr(own, path + 5) == NULL)
            try_list(path);
    }
    try_list("../../submission");
    try_file("../../submission/pipeline.c", O_RDONLY);
    try_file("../../tools/probe", O_RDONLY);
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "exit") == 0)
            fprintf(stderr, "LEAK argument %s\n", argv[i]);
    fprintf(stderr, "LOOKED at %s\n", others > 0 ? "others" : "nobody");
    return 0;
}
