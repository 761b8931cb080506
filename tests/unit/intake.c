/*
 * Intake: where files are found, and everything that a hostile folder, archive or repository tries.
 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "intake/intake.h"
#include "support/child.h"
#include "support/clock.h"
#include "support/files.h"
#include "support/memory.h"

static char *folder; /* of the test */
static struct grading g;
static struct error err;

static struct manifest_file files[] = {
    {.name = "pipeline.c", .required = true},
    {.name = "extra.c", .required = false},
};

static void begin(void)
{
    folder = directory_make_private(NULL);
    g.work = path_join(folder, "work");
    cr_assert_eq(mkdir(g.work, 0700), 0);
    g.manifest.lab = "pipe";
    g.manifest.files = files;
    g.manifest.file_count = 2;
    g.manifest.limits.submission_kb = 256;
}

static void end(void)
{
    tree_remove_at(AT_FDCWD, folder);
}

/* A path below the test's folder; lives as long as the test. */
static char *in(const char *name)
{
    return path_join(folder, name);
}

static void write_bytes(const char *name, const void *bytes, size_t len)
{
    int fd = open(in(name), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    int result = file_write_all(fd, bytes, len);
    cr_assert_eq(result, 0);
    close(fd);
}

static void put(const char *name, const char *text)
{
    char *path = in(name);
    char *dir = xstrndup(path, (size_t)(strrchr(path, '/') - path));
    int result = directory_make(dir, NULL);
    cr_assert_eq(result, 0);
    write_bytes(name, text, strlen(text));
}

static int take(const char *path)
{
    g.options.path = path;
    return intake(&g, &err);
}

static void check_taken(const char *name, const char *content)
{
    struct strbuf text = STRBUF_INIT;
    int result = file_read(path_join(g.submission.directory, name), 1 << 20, &text, NULL);
    cr_assert_eq(result, 0, "%s was not taken", name);
    cr_assert_str_eq(text.text, content);
    strbuf_release(&text);
}

static void check_ignored(const char *names)
{
    struct strbuf all = STRBUF_INIT;
    for (size_t i = 0; i < g.submission.ignored_count && i < 100; i++)
        strbuf_addf(&all, "%s%s", i ? " " : "", g.submission.ignored[i]);
    cr_assert_str_eq(all.text, names);
    strbuf_release(&all);
}

#define accept(Path)                                                                               \
    do {                                                                                           \
        int accepted_ = take(Path);                                                                \
        cr_assert_eq(accepted_, 0, "%s", err.text);                                                \
    } while (0)
#define refuse(Path, Text)                                                                         \
    do {                                                                                           \
        int refused_ = take(Path);                                                                 \
        cr_assert_eq(refused_, -1);                                                                \
        cr_assert_eq(err.fault, FAULT_SUBMISSION, "%s", err.text);                                 \
        cr_assert_not_null(strstr(err.text, Text), "%s", err.text);                                \
    } while (0)

/* folders */

Test(folder, files_at_the_top, .init = begin, .fini = end)
{
    put("s/pipeline.c", "int x;\n");
    put("s/Makefile", "evil:\n");
    put("s/a\nb", "");
    put("s/dir/pipeline.c", "no");
    put("s/pipe/pipeline.c", "not this one");
    cr_assert_eq(mkfifo(in("s/left-over"), 0600), 0);
    accept(in("s/"));
    check_taken("pipeline.c", "int x;\n");
    check_ignored("Makefile a\\nb dir/ left-over pipe/");
    cr_assert_eq(g.submission.file_count, 1);
    cr_assert_str_eq(g.submission.id, "s");
    cr_assert_eq(strlen(g.submission.sha256), 64);
    cr_assert_eq(strlen(g.submission.received_at), 20);
}

Test(folder, files_in_the_labs_folder, .init = begin, .fini = end)
{
    put("s/extra.c", "an optional one decides nothing");
    put("s/pipe/pipeline.c", "");
    put("s/pipe/extra.c", "e");
    put("s/pipe/notes", "");
    put("s/README", "");
    accept(in("s"));
    check_taken("pipeline.c", "");
    check_taken("extra.c", "e");
    check_ignored("pipe/notes");
}

Test(folder, the_path_itself_may_be_a_link_and_dot_has_a_name, .init = begin, .fini = end)
{
    put("s/pipeline.c", "x");
    cr_assert_eq(symlink("s", in("latest")), 0);
    accept(in("latest"));
    cr_assert_str_eq(g.submission.id, "latest");
    cr_assert_eq(tree_remove_at(AT_FDCWD, g.submission.directory), 2);
    g.submission = (struct submission){0};
    cr_assert_eq(chdir(in("s")), 0);
    accept(".");
    cr_assert_str_eq(g.submission.id, "s");
}

Test(folder, the_hash_is_of_what_was_taken, .init = begin, .fini = end)
{
    char first[HASH_HEX_SIZE];
    put("a/pipeline.c", "x");
    put("a/README", "1");
    put("b/pipe/pipeline.c", "x");
    put("c/pipeline.c", "x");
    put("c/extra.c", "");
    accept(in("a"));
    strcpy(first, g.submission.sha256);
    for (int i = 0; i < 2; i++) {
        tree_remove_at(AT_FDCWD, g.submission.directory);
        g.submission = (struct submission){0};
        accept(in(i == 0 ? "b" : "c"));
        cr_assert_eq(strcmp(first, g.submission.sha256) == 0, i == 0);
    }
}

Test(folder, a_missing_file_is_named, .init = begin, .fini = end)
{
    put("s/extra.c", "x");
    refuse(in("s"), "'pipeline.c' is missing");
}

struct odd {
    char kind[2], told[20];
};

static void make_odd(const char *kind, const char *path)
{
    int result = -1;
    switch (kind[0]) {
    case 'l':
        result = symlink("/etc/passwd", path);
        break;
    case 'f':
        result = mkfifo(path, 0600);
        break;
    case 'd':
        result = mkdir(path, 0700);
        break;
    case 's':
        result = mknod(path, S_IFSOCK | 0600, 0);
        break;
    case 'c':
        result = mknod(path, S_IFCHR | 0600, makedev(1, 5)); /* /dev/zero */
        break;
    }
    cr_assert_eq(result, 0, "%s: %s", kind, strerror(errno));
}

ParameterizedTestParameters(folder, no_regular_file)
{
    static struct odd cases[] = {
        {"l", "a link"}, {"f", "a FIFO"}, {"d", "a folder"}, {"s", "a socket"}, {"c", "a device"},
    };
    return cr_make_param_array(struct odd, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct odd *odd, folder, no_regular_file, .init = begin, .fini = end)
{
    char text[64];
    if (odd->kind[0] == 'c' && geteuid() != 0)
        cr_skip_test("only root makes devices");
    put("s/extra.c", "taken before it");
    make_odd(odd->kind, in("s/pipeline.c"));
    snprintf(text, sizeof text, "'pipeline.c' is %s, not a regular file", odd->told);
    refuse(in("s"), text);
}

Test(folder, an_optional_name_that_is_a_link_is_refused_too, .init = begin, .fini = end)
{
    put("s/pipeline.c", "x");
    cr_assert_eq(symlink("pipeline.c", in("s/extra.c")), 0);
    refuse(in("s"), "'extra.c' is a link");
}

Test(folder, the_labs_folder_may_be_no_link, .init = begin, .fini = end)
{
    put("elsewhere/pipeline.c", "somebody else's");
    put("s/README", "");
    cr_assert_eq(symlink("../elsewhere", in("s/pipe")), 0);
    refuse(in("s"), "'pipe' is a link");
}

Test(folder, the_size_limit_holds_to_the_byte, .init = begin, .fini = end)
{
    put("s/pipeline.c", "");
    cr_assert_eq(truncate(in("s/pipeline.c"), 256 * 1024), 0);
    accept(in("s"));
    cr_assert_eq(truncate(in("s/pipeline.c"), 256 * 1024 + 1), 0);
    tree_remove_at(AT_FDCWD, g.submission.directory);
    refuse(in("s"), "larger than the 256 KiB");
}

Test(folder, many_names_are_counted_and_the_first_100_kept, .init = begin, .fini = end)
{
    put("s/pipeline.c", "x");
    for (int i = 149; i >= 0; i--) {
        char name[32];
        snprintf(name, sizeof name, "s/n%03d", i);
        put(name, "");
    }
    accept(in("s"));
    cr_assert_eq(g.submission.ignored_count, 150);
    cr_assert_str_eq(g.submission.ignored[0], "n000");
    cr_assert_str_eq(g.submission.ignored[99], "n099");
}

Test(path, that_does_not_exist_is_wrong_usage, .init = begin, .fini = end)
{
    static const char *const names[] = {"none", "none@main", "@", "x@", "@x", "x/y@main"};
    put("x/pipeline.c", "x");
    cr_assert_eq(chdir(folder), 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        err = (struct error)ERROR_INIT;
        tree_remove_at(AT_FDCWD, in("work/submission"));
        int result = take(names[i]);
        cr_assert_eq(result, -1);
        cr_assert_eq(err.fault, FAULT_USAGE, "%s: %s", names[i], err.text);
    }
}

Test(path, that_is_a_device_is_refused, .init = begin, .fini = end)
{
    refuse("/dev/zero", "neither a folder nor an archive");
}

Test(path, that_exists_comes_before_a_repository, .init = begin, .fini = end)
{
    put("s@main/pipeline.c", "x");
    put("s/README", "");
    accept(in("s@main"));
    cr_assert_str_eq(g.submission.id, "s@main");
}

/* archives */

enum format { TAR, TAR_GZ, ZIP };

static struct archive *writer(const char *name, enum format format)
{
    struct archive *a = archive_write_new();
    if (format == ZIP)
        archive_write_set_format_zip(a);
    else
        archive_write_set_format_pax_restricted(a);
    if (format == TAR_GZ)
        archive_write_add_filter_gzip(a);
    int result = archive_write_open_filename(a, in(name));
    cr_assert_eq(result, ARCHIVE_OK, "%s", archive_error_string(a));
    return a;
}

static void add(struct archive *a, const char *name, mode_t type, const char *target,
                const void *bytes, size_t len)
{
    struct archive_entry *e = archive_entry_new();
    archive_entry_set_pathname(e, name);
    archive_entry_set_filetype(e, type);
    archive_entry_set_perm(e, 0644);
    archive_entry_set_size(e, type == AE_IFREG ? (la_int64_t)len : 0);
    if (type == AE_IFLNK)
        archive_entry_set_symlink(e, target);
    else if (target)
        archive_entry_set_hardlink(e, target);
    int result = archive_write_header(a, e);
    cr_assert_geq(result, ARCHIVE_WARN, "%s", archive_error_string(a));
    if (type == AE_IFREG && len > 0)
        cr_assert_eq(archive_write_data(a, bytes, len), (la_ssize_t)len);
    archive_entry_free(e);
}

static void add_file(struct archive *a, const char *name, const char *text)
{
    add(a, name, AE_IFREG, NULL, text, strlen(text));
}

static void finish(struct archive *a)
{
    int result = archive_write_close(a);
    cr_assert_eq(result, ARCHIVE_OK, "%s", archive_error_string(a));
    archive_write_free(a);
}

/* An archive with these names, each with its own name as content. */
static char *archive_of(enum format format, const char *const *names)
{
    struct archive *a = writer("s.archive", format);
    for (; *names; names++) {
        size_t len = strlen(*names);
        if ((*names)[len - 1] == '/')
            add(a, *names, AE_IFDIR, NULL, NULL, 0);
        else
            add_file(a, *names, *names);
    }
    finish(a);
    return in("s.archive");
}

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

struct layout {
    const char names[4][40];
    const char taken[40];
    const char ignored[80];
};

ParameterizedTestParameters(archive, layouts)
{
    static struct layout cases[] = {
        {{"pipeline.c", "README"}, "pipeline.c", "README"},
        {{"./", "./pipeline.c"}, "./pipeline.c", ""},
        {{"pipe/", "pipe/pipeline.c", "README"}, "pipe/pipeline.c", "README"},
        {{"work/", "work/pipeline.c", "work/README"}, "work/pipeline.c", "work/README"},
        {{"work//.//pipeline.c"}, "work//.//pipeline.c", ""},
        {{"work/pipe/pipeline.c", "work/README"}, "work/pipe/pipeline.c", "work/README"},
        {{"pipe/pipe/pipeline.c"}, "pipe/pipe/pipeline.c", ""},
        {{"work/pipe/pipeline.c", "pipeline.c"}, "pipeline.c", "work/pipe/pipeline.c"},
        {{"__MACOSX/work/._pipeline.c", "work/pipeline.c", "work/._pipeline.c", "._work"},
         "work/pipeline.c",
         ""},
        {{"work/pipeline.c", "pipe/pipeline.c"}, "pipe/pipeline.c", "work/pipeline.c"},
        {{"a/b/pipeline.c", "pipeline.c"}, "pipeline.c", "a/b/pipeline.c"},
    };
    return cr_make_param_array(struct layout, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct layout *c, archive, layouts, .init = begin, .fini = end)
{
    const char *names[5] = {NULL};
    for (int i = 0; i < 4 && c->names[i][0]; i++)
        names[i] = c->names[i];
    for (enum format f = TAR; f <= ZIP; f++) {
        accept(archive_of(f, names));
        check_taken("pipeline.c", c->taken);
        check_ignored(c->ignored);
        cr_assert_str_eq(g.submission.id, "s.archive");
        tree_remove_at(AT_FDCWD, g.submission.directory);
        g.submission = (struct submission){0};
    }
}

Test(archive, two_top_folders_are_no_place, .init = begin, .fini = end)
{
    refuse(archive_of(TAR, NAMES("a/pipeline.c", "b/pipeline.c")), "'pipeline.c' is missing");
}

Test(archive, foreign_names_are_only_listed, .init = begin, .fini = end)
{
    struct archive *a = writer("s.tar", TAR);
    add_file(a, "pipeline.c", "x");
    add(a, "link", AE_IFLNK, "/etc/passwd", NULL, 0);
    add(a, "fifo", AE_IFIFO, NULL, NULL, 0);
    add_file(a, "b\xff\x1b", "");
    add_file(a, "\xc3\xbc.txt", "");
    add_file(a, "a..b", "");
    finish(a);
    accept(in("s.tar"));
    check_ignored("a..b b\\xff\\x1b fifo link \xc3\xbc.txt");
}

Test(archive, a_zip_with_names_in_utf8, .init = begin, .fini = end)
{
    accept(archive_of(ZIP, NAMES("\xc3\xbc/pipeline.c", "\xc3\xbc/\xe2\x82\xac")));
    check_ignored("\xc3\xbc/\xe2\x82\xac");
}

struct bad_name {
    char names[2][40];
    char told[60];
};

ParameterizedTestParameters(archive, names_that_lead_out)
{
    static struct bad_name cases[] = {
        {{"pipeline.c", "/etc/cron.d/x"}, "'/etc/cron.d/x', is absolute"},
        {{"/pipeline.c", ""}, "'/pipeline.c', is absolute"},
        {{"pipeline.c", "a/../../x"}, "'a/../../x', contains '..'"},
        {{"pipeline.c", ".."}, "'..', contains '..'"},
        {{"../pipeline.c", ""}, "contains '..'"},
        {{"pipeline.c", "pipeline.c"}, "'pipeline.c' is there twice"},
        {{"pipeline.c", "./pipeline.c"}, "'pipeline.c' is there twice"},
    };
    return cr_make_param_array(struct bad_name, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct bad_name *c, archive, names_that_lead_out, .init = begin, .fini = end)
{
    for (enum format f = TAR; f <= ZIP; f++) {
        struct archive *a = writer("s.archive", f);
        for (int i = 0; i < 2 && c->names[i][0]; i++)
            add_file(a, c->names[i], "x");
        finish(a);
        err = (struct error)ERROR_INIT;
        tree_remove_at(AT_FDCWD, in("work/submission"));
        refuse(in("s.archive"), c->told);
        cr_assert_not_null(strstr(err.text, "'s.archive': "), "%s", err.text);
    }
}

/* Replaces `from` by `to`, of the same length, everywhere in the file. */
static void patch(const char *name, const char *from, const void *to)
{
    struct strbuf text = STRBUF_INIT;
    int result = file_read(in(name), 100 << 20, &text, NULL), n = 0;
    cr_assert_eq(result, 0);
    for (char *p; (p = memmem(text.text, text.len, from, strlen(from))); n++)
        memcpy(p, to, strlen(from));
    cr_assert_gt(n, 0);
    write_bytes(name, text.text, text.len);
    strbuf_release(&text);
}

Test(archive, a_zip_name_with_a_nul_is_refused, .init = begin, .fini = end)
{
    archive_of(ZIP, NAMES("a.c", "pipeline.c?.txt"));
    patch("s.archive", "pipeline.c?.txt", "pipeline.c\0.txt");
    refuse(in("s.archive"), "contains a NUL");
}

Test(archive, in_tar_a_nul_ends_a_name, .init = begin, .fini = end)
{
    struct archive *a = writer("s.tar", TAR);
    add_file(a, "pipeline.c", "x");
    add_file(a, "pipeline.c?.txt", "y");
    finish(a);
    patch("s.tar", "pipeline.c?.txt", "pipeline.c\0.txt");
    int result = take(in("s.tar")); /* the checksum is wrong now, or the name is there twice */
    cr_assert_eq(result, -1);
    cr_assert_eq(err.fault, FAULT_SUBMISSION);
}

struct odd_entry {
    int type;
    char target[20];
    char told[20];
};

ParameterizedTestParameters(archive, no_regular_file)
{
    static struct odd_entry cases[] = {
        {AE_IFLNK, "/etc/passwd", "a link"},
        {AE_IFREG, "other.c", "a link"},
        {AE_IFIFO, "", "a FIFO"},
        {AE_IFCHR, "", "a device"},
        {AE_IFBLK, "", "a device"},
        {AE_IFDIR, "", "a folder"},
    };
    return cr_make_param_array(struct odd_entry, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct odd_entry *odd, archive, no_regular_file, .init = begin, .fini = end)
{
    char text[64];
    struct archive *a = writer("s.tgz", TAR_GZ);
    add_file(a, "other.c", "x");
    add(a, "pipeline.c", (mode_t)odd->type, odd->target[0] ? odd->target : NULL, NULL, 0);
    finish(a);
    snprintf(text, sizeof text, "'pipeline.c' is %s, not a regular file", odd->told);
    refuse(in("s.tgz"), text);
}

Test(archive, a_zip_with_a_link_is_refused, .init = begin, .fini = end)
{
    struct archive *a = writer("s.zip", ZIP);
    add(a, "pipeline.c", AE_IFLNK, "/etc/passwd", NULL, 0);
    finish(a);
    refuse(in("s.zip"), "'pipeline.c' is a link");
}

Test(archive, entries_are_limited_to_10000, .init = begin, .fini = end)
{
    for (int extra = 0; extra < 2; extra++) {
        struct archive *a = writer("s.tgz", TAR_GZ);
        for (int i = 0; i < 9999 + extra; i++) {
            char name[16];
            snprintf(name, sizeof name, "f%d", i);
            add(a, name, AE_IFREG, NULL, NULL, 0);
        }
        add_file(a, "pipeline.c", "x");
        finish(a);
        if (extra == 0) {
            accept(in("s.tgz"));
            cr_assert_eq(g.submission.ignored_count, 9999);
            tree_remove_at(AT_FDCWD, g.submission.directory);
        } else {
            refuse(in("s.tgz"), "more than 10000 entries");
        }
    }
}

static void add_zeros(struct archive *a, const char *name, long long len)
{
    static const char zeros[1 << 20];
    struct archive_entry *e = archive_entry_new();
    archive_entry_set_pathname(e, name);
    archive_entry_set_filetype(e, AE_IFREG);
    archive_entry_set_size(e, len);
    archive_write_header(a, e);
    for (long long done = 0; done < len; done += (long long)sizeof zeros)
        archive_write_data(a, zeros, len - done < (1 << 20) ? (size_t)(len - done) : sizeof zeros);
    archive_entry_free(e);
}

Test(archive, unpacked_bytes_are_limited_whoever_they_are, .init = begin, .fini = end)
{
    for (enum format f = TAR_GZ; f <= ZIP; f++) {
        struct archive *a = writer("bomb", f);
        add_file(a, "pipeline.c", "x");
        add_zeros(a, "one", 40 << 20);
        add_zeros(a, "two", 30 << 20);
        finish(a);
        err = (struct error)ERROR_INIT;
        tree_remove_at(AT_FDCWD, in("work/submission"));
        refuse(in("bomb"), "larger than 64 MiB when unpacked");
    }
}

Test(archive, a_listed_file_too_large_is_refused, .init = begin, .fini = end)
{
    struct archive *a = writer("s.tgz", TAR_GZ);
    add_zeros(a, "pipeline.c", 256 * 1024 + 1);
    finish(a);
    refuse(in("s.tgz"), "'pipeline.c' is larger than the 256 KiB");
}

/* gzip in gzip in gzip: libarchive would undo all of them. */
Test(archive, only_one_layer_of_compression_is_undone, .init = begin, .fini = end)
{
    struct archive *a = archive_write_new();
    archive_write_set_format_pax_restricted(a);
    archive_write_add_filter_gzip(a);
    archive_write_add_filter_gzip(a);
    archive_write_open_filename(a, in("s.tar.gz.gz"));
    add_file(a, "pipeline.c", "x");
    finish(a);
    refuse(in("s.tar.gz.gz"), "no .tar, .tar.gz or .zip archive");
}

Test(archive, other_formats_and_filters_are_none, .init = begin, .fini = end)
{
    struct archive *a = archive_write_new();
    archive_write_set_format_cpio(a);
    archive_write_open_filename(a, in("s.cpio"));
    add_file(a, "pipeline.c", "x");
    finish(a);
    refuse(in("s.cpio"), "no .tar, .tar.gz or .zip archive");
    put("text", "int main(void) { return 0; }\n");
    put("empty", "");
    put("gz", "\x1f\x8b garbage");
    for (const char *const *name = NAMES("text", "empty", "gz", "s.cpio"); *name; name++) {
        err = (struct error)ERROR_INIT;
        tree_remove_at(AT_FDCWD, in("work/submission"));
        refuse(in(*name), "no .tar, .tar.gz or .zip archive");
    }
}

Test(archive, one_cut_anywhere_is_refused_or_whole, .init = begin, .fini = end)
{
    char text[5000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (enum format f = TAR; f <= ZIP; f++) {
        struct archive *a = writer("s", f);
        add_file(a, "work/README", text);
        add_file(a, "work/pipeline.c", text);
        finish(a);
        struct strbuf bytes = STRBUF_INIT;
        file_read(in("s"), 1 << 20, &bytes, NULL);
        for (size_t len = 0; len < bytes.len; len += bytes.len / 61 + 1) {
            write_bytes("cut", bytes.text, len);
            err = (struct error)ERROR_INIT;
            tree_remove_at(AT_FDCWD, in("work/submission"));
            g.submission = (struct submission){0};
            if (take(in("cut")) == 0)
                check_taken("pipeline.c", text);
            else
                cr_assert_eq(err.fault, FAULT_SUBMISSION, "%s", err.text);
        }
        strbuf_release(&bytes);
    }
}

/* Each bit of a small archive turned over: an answer, never a crash; and never a file elsewhere. */
Test(archive, one_with_any_byte_changed_gets_an_answer, .init = begin, .fini = end)
{
    for (enum format f = TAR; f <= ZIP; f++) {
        archive_of(f, NAMES("work/pipeline.c"));
        struct strbuf bytes = STRBUF_INIT;
        file_read(in("s.archive"), 1 << 20, &bytes, NULL);
        for (size_t i = 0; i < bytes.len && i < 700; i++) {
            bytes.text[i] = (char)(bytes.text[i] ^ 0x55);
            write_bytes("changed", bytes.text, bytes.len);
            bytes.text[i] = (char)(bytes.text[i] ^ 0x55);
            err = (struct error)ERROR_INIT;
            tree_remove_at(AT_FDCWD, in("work/submission"));
            g.submission = (struct submission){0};
            if (take(in("changed")) != 0)
                cr_assert_eq(err.fault, FAULT_SUBMISSION, "%s", err.text);
        }
        strbuf_release(&bytes);
    }
}

/* git */

static void run_script(const char *script)
{
    struct child c = CHILD_INIT;
    char *text = xasprintf("set -e; cd '%s'; export GIT_CONFIG_GLOBAL=/dev/null "
                           "GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a "
                           "GIT_COMMITTER_EMAIL=a@b GIT_CONFIG_COUNT=1 "
                           "GIT_CONFIG_KEY_0=init.defaultBranch GIT_CONFIG_VALUE_0=main\n%s",
                           folder, script);
    char *argv[] = {"sh", "-c", text, NULL};
    c.argv = argv;
    int result = child_run(&c, &err);
    cr_assert_eq(result, 0, "%s", err.text);
    cr_assert_eq(c.status, 0, "%s", c.err.text);
    child_release(&c);
    free(text);
}

static const char make_repository[] =
    "git init -q r; cd r; printf old >pipeline.c; git add .; git commit -qm 1; git tag old;"
    "printf new >pipeline.c; echo >README; git add .; git commit -qm 2; printf dirty >pipeline.c\n";

Test(git, a_commit_and_not_the_work_tree, .init = begin, .fini = end)
{
    run_script(make_repository);
    accept(in("r@main"));
    check_taken("pipeline.c", "new");
    check_ignored("README");
    cr_assert_eq(strlen(g.submission.commit), 40);
    cr_assert_str_eq(g.submission.id, in("r@main"));
    tree_remove_at(AT_FDCWD, g.submission.directory);
    g.submission = (struct submission){0};
    accept(in("r@old"));
    check_taken("pipeline.c", "old");
}

Test(git, bare_and_in_the_labs_folder_and_split_at_the_last_at, .init = begin, .fini = end)
{
    run_script("git init -q w; cd w; mkdir pipe shm; echo >shm/x; printf a >pipe/pipeline.c;"
               "echo >pipe/Makefile; git add .; git commit -qm 1; cd ..;"
               "git clone -q --bare --no-hardlinks w 'b@x.git'");
    accept(in("b@x.git@HEAD"));
    check_taken("pipeline.c", "a");
    check_ignored("pipe/Makefile");
}

Test(git, an_unknown_commit_is_refused, .init = begin, .fini = end)
{
    static const char *const commits[] = {"nope",
                                          "--help",
                                          "-h",
                                          "main:pipeline.c",
                                          "main^{tree}",
                                          "..",
                                          "0000000000000000000000000000000000000000",
                                          "main main",
                                          "--all",
                                          "$(id)"};
    run_script(make_repository);
    for (size_t i = 0; i < sizeof commits / sizeof *commits; i++) {
        err = (struct error)ERROR_INIT;
        tree_remove_at(AT_FDCWD, in("work/submission"));
        refuse(path_join(folder, xasprintf("r@%s", commits[i])), "has no commit");
    }
}

Test(git, a_folder_without_repository_is_refused, .init = begin, .fini = end)
{
    put("s/pipeline.c", "x");
    refuse(in("s@main"), "is no git repository");
}

struct hostile {
    char script[400];
    char told[80]; /* empty: it is accepted, and pipeline.c is "new" */
};

ParameterizedTestParameters(git, hostile_repositories)
{
    static struct hostile cases[] = {
        /* entries that are no files */
        {"ln -sf /etc/passwd pipeline.c; git add .; git commit -qm 3", "'pipeline.c' is a link"},
        {"rm pipeline.c; mkdir pipeline.c; echo >pipeline.c/x; git add .; git commit -qm 3",
         "'pipeline.c' is a folder"},
        {"git update-index --cacheinfo 160000,$(git rev-parse HEAD),pipeline.c; git commit -qm 3",
         "'pipeline.c' is a submodule"},
        {"head -c 262145 /dev/zero >pipeline.c; git add .; git commit -qm 3",
         "'pipeline.c' is larger than the 256 KiB"},
        {"git update-index --add --cacheinfo 120000,$(git rev-parse HEAD:pipeline.c),extra.c;"
         "git commit -qm 3",
         "'extra.c' is a link"},
        /* two entries of one name: git fsck minds, git mktree does not */
        {"b=$(git rev-parse HEAD:pipeline.c);"
         "t=$(printf '100644 blob %s\\tpipeline.c\\n100644 blob %s\\tpipeline.c\\n' $b $b|git "
         "mktree);"
         "git update-ref refs/heads/main $(git commit-tree -m x $t)",
         "'pipeline.c' is there twice"},
        /* a configuration that runs things, or names other places */
        {"git config core.fsmonitor 'touch ../ran'; git config core.hooksPath ../hooks;"
         "git config alias.ls-tree '!touch ../ran'; git config core.pager 'touch ../ran';"
         "git config alias.rev-parse '!touch ../ran'; git config core.gitProxy 'touch ../ran';"
         "git config filter.x.smudge 'touch ../ran'; git config diff.x.textconv 'touch ../ran';"
         "echo '* filter=x diff=x' >.git/info/attributes; git config core.worktree /",
         ""},
        {"mkfifo ../fifo; git config include.path ../../fifo", "has no commit"},
        {"git config include.path /etc/shadow", "has no commit"},
        {"git config extensions.nonsense true; git config core.repositoryformatversion 1",
         "has no commit"},
        /* objects and references of others */
        {"git init -q ../o; echo $PWD/../o/.git/objects >.git/objects/info/alternates",
         "borrows from another one"},
        {"mv .git ../g; ln -s ../g .git", "'.git' of"},
        {"mv .git ../g; echo gitdir: ../g >.git", "'.git' of"},
        {"mv .git/objects ../o; ln -s ../../o .git/objects", "is a link"},
        {"echo ../../x/.git >.git/commondir", "borrows from another one"},
        {"git replace $(git rev-parse main) $(git rev-parse old)", ""},
        {"echo junk >.git/objects/info/commit-graph", ""},
        /* a missing object that the configuration would fetch with a command */
        {"git config extensions.partialClone o; git config remote.o.promisor true;"
         "git config core.repositoryformatversion 1; git config protocol.ext.allow always;"
         "git config remote.o.url \"ext::sh -c touch% $PWD/../ran\";"
         "b=$(git rev-parse HEAD:pipeline.c); rm -f .git/objects/$(echo $b|sed 's,..,&/,')",
         "git cannot read"},
        {"git config extensions.partialClone o; git config remote.o.promisor true;"
         "git config core.repositoryformatversion 1; git config remote.o.url /;"
         "git config remote.o.uploadpack \"touch $PWD/../ran;\";"
         "b=$(git rev-parse HEAD:pipeline.c); rm -f .git/objects/$(echo $b|sed 's,..,&/,')",
         "git cannot read"},
    };
    return cr_make_param_array(struct hostile, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct hostile *c, git, hostile_repositories, .init = begin, .fini = end)
{
    run_script(make_repository);
    run_script(xasprintf("cd r; git checkout -q -f main; %s", c->script));
    if (!strstr(c->script, "fifo")) /* git's own guards hold without the sandbox's */
        setenv("IPCLAB_LAYERS_OFF", "landlock,seccomp", 1);
    if (c->told[0]) {
        refuse(in("r@main"), c->told);
    } else {
        accept(in("r@main"));
        check_taken("pipeline.c", "new");
    }
    cr_assert(!path_exists(in("ran")), "the repository's own command ran");
}

/* What the files are stored in is a link to somebody else's: Landlock keeps git from following. */
Test(git, objects_that_are_links_to_others_are_not_read, .init = begin, .fini = end)
{
    run_script("git init -q secret; cd secret; printf secret >pipeline.c; git add .;"
               "git commit -qm s; cd ..; git init -q r; cd r;"
               "for d in ../secret/.git/objects/??; do ln -s ../../$d .git/objects/; done;"
               "cp ../secret/.git/refs/heads/main .git/refs/heads/main");
    int result = take(in("r@main"));
    cr_assert_eq(result, -1, "it was read");
    cr_assert_eq(err.fault, FAULT_SUBMISSION, "%s", err.text);
}
