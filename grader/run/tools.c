#include "run/tools.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/files.h"
#include "support/memory.h"

enum { TOOL_MAX_BYTES = 64 << 20 };

/* Before anything of the submission runs, so nobody has the copy open. */
static int write_key(const char *path, size_t place, const char *key, struct error *err)
{
    int fd = open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    int result = 0;
    if (fd < 0 || pwrite(fd, key, SEAL_KEY_BYTES, (off_t)place) != SEAL_KEY_BYTES)
        result = error_errno(err, "cannot write '%s'", path);
    if (fd >= 0)
        close(fd);
    return result;
}

static int copy_tool(const struct grading *g, const char *from, const char *sealed,
                     const char *plain, struct error *err)
{
    struct strbuf bytes = STRBUF_INIT;
    int result = file_read(from, TOOL_MAX_BYTES, &bytes, err);
    size_t place = result == 0 ? seal_place(bytes.text, bytes.len) : 0;
    strbuf_release(&bytes);
    if (result == 0)
        result = file_copy(from, sealed, place > 0 ? 0711 : 0755, err);
    if (result == 0 && place > 0)
        result = write_key(sealed, place, g->seal_key, err);
    if (result == 0 && place > 0)
        result = file_copy(from, plain, 0755, err);
    return result;
}

static int make_folder(const char *path, struct error *err)
{
    /* Whatever our umask is. */
    if (mkdir(path, 0755) != 0 || chmod(path, 0755) != 0)
        return error_errno(err, "cannot make '%s'", path);
    return 0;
}

int tools_copy(struct grading *g, const char *folder, struct error *err)
{
    char *from = course_tools(&g->course, g->manifest.lab), *plain = path_join(folder, "plain");
    int result = make_folder(folder, err);
    DIR *d = opendir(from);
    seal_new_key(g->seal_key);
    if (result == 0)
        result = make_folder(plain, err);
    for (const struct dirent *e; d && result == 0 && (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        char *source = path_join(from, e->d_name), *sealed = path_join(folder, e->d_name),
             *readable = path_join(plain, e->d_name);
        result = copy_tool(g, source, sealed, readable, err);
        free(source);
        free(sealed);
        free(readable);
    }
    if (d)
        closedir(d);
    free(plain);
    free(from);
    return result;
}
