/*
 * Takes a submission from a .tar, .tar.gz or .zip, told apart by content. One pass: names are
 * checked as they come, the content of listed names is kept in memory, nothing is unpacked. The
 * limits hold for what an archive says of itself and for what it turns out to be; a time limit
 * holds for archives whose reading is all work and no bytes.
 */
#include "intake/intake.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/clock.h"
#include "support/files.h"
#include "support/memory.h"

#define MIB (1024LL * 1024)
#define UNPACKED_MAX (64 * MIB)
#define PACKED_MAX (80 * MIB) /* 64 MiB and the headers of 10,000 entries */

enum { ENTRIES_MAX = 10000, NAME_BYTES_MAX = 4096, READ_SECONDS = 20 };

/* Where files may stand. TOP_LAB: in the one top folder, in a folder named after the lab. */
enum place { TOP, LAB, ONE_TOP, ONE_TOP_LAB, PLACES, ELSEWHERE = PLACES };

struct found {
    bool there, twice, too_large;
    const char *kind; /* when it is no regular file */
    struct strbuf content;
};

struct reading {
    struct grading *g;
    int fd;
    int64_t deadline;
    char buffer[65536];
    struct found *found; /* [place * file_count + file] */
    char *top;           /* the first folder at the top */
    bool one_top;        /* nothing stands beside it */
    char **others;       /* all names that are no folder's and not kept in `found` */
    size_t other_count, entries;
    long long unpacked;
};

/* libarchive's view of the file. */

static la_ssize_t read_some(struct archive *a, void *data, const void **buffer)
{
    struct reading *r = data;
    ssize_t n;
    if (clock_ns() > r->deadline) {
        archive_set_error(a, ETIMEDOUT, "reading it takes too long");
        return -1;
    }
    do {
        n = read(r->fd, r->buffer, sizeof r->buffer);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        archive_set_error(a, errno, "%s", strerror(errno));
    *buffer = r->buffer;
    return n;
}

static la_int64_t seek_to(struct archive *a, void *data, la_int64_t offset, int whence)
{
    struct reading *r = data;
    off_t at = lseek(r->fd, offset, whence);
    if (at < 0)
        archive_set_error(a, errno, "%s", strerror(errno));
    return at < 0 ? ARCHIVE_FATAL : at;
}

static int refuse_no_archive(struct error *err)
{
    return error_set(err, FAULT_SUBMISSION,
                     "it is no .tar, .tar.gz or .zip archive, or an empty or broken one");
}

/*
 * One filter at most, chosen here: libarchive by itself would undo up to 25 in a row, and a bomb of
 * several has no bounds.
 */
static int open_reader(struct archive *a, struct reading *r, struct error *err)
{
    unsigned char magic[2] = {0};
    bool gzip = pread(r->fd, magic, 2, 0) == 2 && magic[0] == 0x1F && magic[1] == 0x8B;
    if (archive_read_support_format_tar(a) != ARCHIVE_OK ||
        archive_read_support_format_zip(a) != ARCHIVE_OK ||
        (gzip && archive_read_append_filter(a, ARCHIVE_FILTER_GZIP) != ARCHIVE_OK) ||
        archive_read_set_read_callback(a, read_some) != ARCHIVE_OK ||
        archive_read_set_seek_callback(a, seek_to) != ARCHIVE_OK ||
        archive_read_set_callback_data(a, r) != ARCHIVE_OK)
        return error_set(err, FAULT_GRADER, "libarchive: %s", archive_error_string(a));
    if (archive_read_open1(a) != ARCHIVE_OK)
        return refuse_no_archive(err);
    return 0;
}

/*
 * A zip's names carry their length, so a NUL in one hides the rest of it from C, libarchive
 * included. Looks into the archive's own list of its entries. (In tar a NUL ends a name.)
 */
static int check_zip_names(int fd, off_t size, struct error *err)
{
    enum { END = 22, COMMENT_MAX = 65535, HEAD = 46 };
    size_t len = size < END + COMMENT_MAX ? (size_t)size : END + COMMENT_MAX;
    unsigned char *tail = xmalloc(len), head[HEAD];
    off_t at = -1;
    int result = 0;
    if (pread(fd, tail, len, size - (off_t)len) != (ssize_t)len)
        len = 0;
    for (size_t i = len; i >= END && at < 0; i--) {
        const unsigned char *p = tail + i - END;
        if (memcmp(p, "PK\5\6", 4) == 0)
            at = (off_t)(p[16] | p[17] << 8 | p[18] << 16 | (unsigned)p[19] << 24);
    }
    free(tail);
    for (int n = 0; at >= 0 && n <= ENTRIES_MAX && result == 0; n++) {
        if (pread(fd, head, HEAD, at) != HEAD || memcmp(head, "PK\1\2", 4) != 0)
            break;
        size_t name_len = head[28] | (size_t)head[29] << 8;
        size_t more = (head[30] | (size_t)head[31] << 8) + (head[32] | (size_t)head[33] << 8);
        char *name = xmalloc(name_len + 1);
        if (pread(fd, name, name_len, at + HEAD) == (ssize_t)name_len &&
            memchr(name, '\0', name_len)) {
            name[name_len] = '\0';
            result = error_set(err, FAULT_SUBMISSION, "a name in it, '%s', contains a NUL", name);
        }
        free(name);
        at += (off_t)(HEAD + name_len + more);
    }
    return result;
}

/*
 * `path` with "./", "//" and a last "/" taken out, to be freed; NULL and `err` for one that leads
 * out of the archive.
 */
static char *normal_name(const char *path, struct error *err)
{
    struct strbuf out = STRBUF_INIT;
    if (path[0] == '/') {
        error_set(err, FAULT_SUBMISSION, "a name in it, '%s', is absolute", path);
        return NULL;
    }
    for (const char *p = path; *p;) {
        size_t len = strcspn(p, "/");
        if (len == 2 && memcmp(p, "..", 2) == 0) {
            error_set(err, FAULT_SUBMISSION, "a name in it, '%s', contains '..'", path);
            strbuf_release(&out);
            return NULL;
        }
        if (len > 0 && !(len == 1 && *p == '.')) {
            if (out.len > 0)
                strbuf_addch(&out, '/');
            strbuf_add(&out, p, len);
        }
        p += len + strspn(p + len, "/");
    }
    return strbuf_detach(&out);
}

/* What macOS puts beside files: not ours, and not worth a line. */
static bool is_apple(const char *name)
{
    const char *slash = strrchr(name, '/');
    const char *base = slash ? slash + 1 : name;
    return strncmp(base, "._", 2) == 0 || strcmp(name, "__MACOSX") == 0 ||
           strncmp(name, "__MACOSX/", 9) == 0;
}

/* Which place the name stands in, and at *base what it is called there. */
static enum place place_of(const struct reading *r, const char *name, const char **base)
{
    const char *lab = r->g->manifest.lab, *slash = strrchr(name, '/');
    size_t len = slash ? (size_t)(slash - name) : 0, lab_len = strlen(lab);
    size_t top_len = r->top ? strlen(r->top) : 0;
    *base = slash ? slash + 1 : name;
    if (!slash)
        return TOP;
    if (len == lab_len && memcmp(name, lab, len) == 0)
        return LAB;
    if (!r->top || len < top_len || memcmp(name, r->top, top_len) != 0)
        return ELSEWHERE;
    if (len == top_len)
        return ONE_TOP;
    if (name[top_len] == '/' && len == top_len + 1 + lab_len &&
        memcmp(name + top_len + 1, lab, lab_len) == 0)
        return ONE_TOP_LAB;
    return ELSEWHERE;
}

static const char *kind_of(struct archive_entry *entry)
{
    if (archive_entry_hardlink(entry) || archive_entry_symlink(entry))
        return "a link";
    switch (archive_entry_filetype(entry)) {
    case AE_IFREG:
        return NULL;
    case AE_IFDIR:
        return "a folder";
    case AE_IFLNK:
        return "a link";
    case AE_IFIFO:
        return "a FIFO";
    case AE_IFSOCK:
        return "a socket";
    default:
        return "a device";
    }
}

static int refuse_broken(struct archive *a, struct error *err)
{
    const char *why = archive_error_string(a);
    return error_set(err, FAULT_SUBMISSION, "it is a broken archive: %s",
                     why ? why : "it cannot be read");
}

static int refuse_unpacked(struct error *err)
{
    return error_set(err, FAULT_SUBMISSION, "it is larger than %lld MiB when unpacked",
                     UNPACKED_MAX / MIB);
}

/* Reads an entry's data through, and keeps it in `found` (may be NULL) while it is small enough. */
static int read_entry(struct archive *a, struct reading *r, struct archive_entry *entry,
                      struct found *found, struct error *err)
{
    size_t max = intake_max_bytes(r->g);
    long long end = 0; /* of the data so far, holes included */
    if (archive_entry_size_is_set(entry) && archive_entry_size(entry) > UNPACKED_MAX - r->unpacked)
        return refuse_unpacked(err);
    for (;;) {
        const void *block;
        size_t len;
        la_int64_t offset;
        int status = archive_read_data_block(a, &block, &len, &offset);
        if (status == ARCHIVE_EOF)
            break;
        if (status != ARCHIVE_OK)
            return refuse_broken(a, err);
        if (offset < end)
            return refuse_broken(a, err);
        if (offset > UNPACKED_MAX || offset + (long long)len > UNPACKED_MAX - r->unpacked)
            return refuse_unpacked(err);
        if (found && offset + (long long)len > (long long)max) {
            found->too_large = true;
            strbuf_release(&found->content);
            found = NULL;
        }
        for (; found && end < offset; end++)
            strbuf_addch(&found->content, '\0');
        if (found)
            strbuf_add(&found->content, block, len);
        end = offset + (long long)len;
    }
    /* A sparse file may end in a hole. */
    long long size = archive_entry_size_is_set(entry) ? archive_entry_size(entry) : end;
    for (; found && end < size && (size_t)end < max + 1; end++)
        strbuf_addch(&found->content, '\0');
    r->unpacked += size > end ? size : end;
    return 0;
}

static void note_top(struct reading *r, const char *name, bool folder)
{
    size_t len = strcspn(name, "/");
    if (!name[len] && !folder)
        r->one_top = false;
    else if (!r->top)
        r->top = xstrndup(name, len);
    else if (strlen(r->top) != len || memcmp(r->top, name, len) != 0)
        r->one_top = false;
}

static int handle_entry(struct archive *a, struct reading *r, struct archive_entry *entry,
                        struct error *err)
{
    const struct manifest *m = &r->g->manifest;
    const char *raw = archive_entry_pathname(entry), *base;
    struct found *found = NULL;
    if (!raw)
        raw = archive_entry_pathname_utf8(entry);
    if (!raw || !*raw)
        return error_set(err, FAULT_SUBMISSION, "a name in it is empty or cannot be read");
    if (strlen(raw) > NAME_BYTES_MAX)
        return error_set(err, FAULT_SUBMISSION, "a name in it is longer than %d bytes",
                         NAME_BYTES_MAX);
    char *name = normal_name(raw, err);
    if (!name)
        return -1;
    const char *kind = kind_of(entry);
    bool folder = archive_entry_filetype(entry) == AE_IFDIR && kind;
    bool keep_name = name[0] && !is_apple(name) && !folder;
    if (name[0] && !is_apple(name)) {
        note_top(r, name, folder);
        enum place place = place_of(r, name, &base);
        int file = place == ELSEWHERE ? -1 : intake_listed(m, base);
        if (file >= 0) {
            found = &r->found[(size_t)place * m->file_count + (size_t)file];
            found->twice = found->there;
            found->there = true;
            found->kind = kind;
            keep_name = false;
            if (found->twice || kind)
                found = NULL;
        }
    }
    int result = read_entry(a, r, entry, found, err);
    if (keep_name && result == 0) {
        r->others = xrealloc(r->others, (r->other_count + 1) * sizeof *r->others);
        r->others[r->other_count++] = name;
    } else {
        free(name);
    }
    return result;
}

static int read_all(struct archive *a, struct reading *r, struct error *err)
{
    for (;;) {
        struct archive_entry *entry;
        int status = archive_read_next_header(a, &entry);
        if (status == ARCHIVE_EOF)
            break;
        if (status != ARCHIVE_OK && status != ARCHIVE_WARN)
            return r->entries == 0 ? refuse_no_archive(err) : refuse_broken(a, err);
        if (++r->entries > ENTRIES_MAX)
            return error_set(err, FAULT_SUBMISSION, "it has more than %d entries", ENTRIES_MAX);
        if (handle_entry(a, r, entry, err) != 0)
            return -1;
    }
    return r->entries == 0 ? refuse_no_archive(err) : 0;
}

static char *name_in_place(const struct reading *r, size_t place, const char *file)
{
    switch (place) {
    case LAB:
        return xasprintf("%s/%s", r->g->manifest.lab, file);
    case ONE_TOP:
        return xasprintf("%s/%s", r->top, file);
    case ONE_TOP_LAB:
        return xasprintf("%s/%s/%s", r->top, r->g->manifest.lab, file);
    default:
        return xstrdup(file);
    }
}

/* Takes what stands in the chosen place, and lists the rest. */
static int take_found(struct reading *r, struct error *err)
{
    const struct manifest *m = &r->g->manifest;
    size_t places = r->top && r->one_top ? PLACES : ONE_TOP;
    bool *there = xcalloc(PLACES * m->file_count, sizeof *there);
    int result = 0;
    for (size_t i = 0; i < PLACES * m->file_count; i++)
        there[i] = r->found[i].there;
    size_t chosen = intake_choose(m, there, places);
    for (size_t i = 0; i < PLACES * m->file_count && result == 0; i++) {
        const struct found *f = &r->found[i];
        char *name = name_in_place(r, i / m->file_count, m->files[i % m->file_count].name);
        if (!f->there)
            ;
        else if (i / m->file_count != chosen)
            intake_ignore(r->g, name, strlen(name));
        else if (f->twice)
            result = error_set(err, FAULT_SUBMISSION, "'%s' is there twice", name);
        else if (f->kind)
            result = intake_refuse(name, f->kind, err);
        else if (f->too_large)
            result = intake_refuse_size(r->g, name, err);
        else
            result = intake_take(r->g, m->files[i % m->file_count].name, f->content.text,
                                 f->content.len, err);
        free(name);
    }
    for (size_t i = 0; i < r->other_count && result == 0; i++)
        intake_ignore(r->g, r->others[i], strlen(r->others[i]));
    free(there);
    return result;
}

int intake_archive(struct grading *g, const char *path, struct error *err)
{
    size_t slots = PLACES * g->manifest.file_count;
    struct archive *a = NULL;
    struct stat st;
    int result = -1;
    struct reading *r = xcalloc(1, sizeof *r);
    *r = (struct reading){.g = g,
                          .deadline = clock_ns() + READ_SECONDS * NS_PER_S,
                          .one_top = true,
                          .found = xcalloc(slots, sizeof *r->found)};
    for (size_t i = 0; i < slots; i++)
        r->found[i].content = (struct strbuf)STRBUF_INIT;

    r->fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (r->fd < 0 || fstat(r->fd, &st) != 0) {
        error_set(err, FAULT_SUBMISSION, "cannot read '%s': %s", path, strerror(errno));
        goto out;
    }
    if (!S_ISREG(st.st_mode) || st.st_size > PACKED_MAX) {
        error_set(err, FAULT_SUBMISSION, "'%s' is %s", path,
                  S_ISREG(st.st_mode) ? "larger than 80 MiB" : "no regular file");
        goto out;
    }
    a = archive_read_new();
    if (!a)
        out_of_memory();
    if (open_reader(a, r, err) == 0 && read_all(a, r, err) == 0 &&
        (archive_format(a) != ARCHIVE_FORMAT_ZIP || check_zip_names(r->fd, st.st_size, err) == 0))
        result = take_found(r, err);
    if (result != 0)
        error_prefix(err, "'%s'", g->submission.id);
out:
    if (a)
        archive_read_free(a);
    if (r->fd >= 0)
        close(r->fd);
    for (size_t i = 0; i < slots; i++)
        strbuf_release(&r->found[i].content);
    for (size_t i = 0; i < r->other_count; i++)
        free(r->others[i]);
    free(r->others);
    free(r->found);
    free(r->top);
    free(r);
    return result;
}
