/*
 * The ground that everything stands on: strings, errors, text, files, trees, JSON, children.
 */
#include <criterion/criterion.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/child.h"
#include "support/clock.h"
#include "support/error.h"
#include "support/files.h"
#include "support/hash.h"
#include "support/json.h"
#include "support/memory.h"
#include "support/strbuf.h"
#include "support/text.h"

static char *folder;

static void make_folder(void)
{
    folder = directory_make_private(NULL);
    cr_assert_not_null(folder);
}

static void remove_folder(void)
{
    long removed = tree_remove_at(AT_FDCWD, folder);
    cr_assert_geq(removed, 1, "%s: %s", folder, strerror(errno));
    free(folder);
}

static char *in_folder(const char *name)
{
    return path_join(folder, name);
}

static void put(const char *name, const char *text)
{
    char *path = in_folder(name);
    struct error err = ERROR_INIT;
    int result = file_write_whole(path, 0644, text, strlen(text), &err);
    cr_assert_eq(result, 0, "%s", err.text);
    free(path);
}

/* So that the test of memory that is not there works under AddressSanitizer too. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

/* strbuf, memory */

Test(strbuf, grows_and_keeps_its_nul)
{
    struct strbuf s = STRBUF_INIT;
    cr_assert_str_empty(s.text);
    for (int i = 0; i < 1000; i++)
        strbuf_addf(&s, "%d,", i);
    cr_assert_eq(s.len, 3890);
    cr_assert_eq(s.text[s.len], '\0');
    strbuf_setlen(&s, 4);
    cr_assert_str_eq(s.text, "0,1,");
    strbuf_add(&s, "a\0b", 3);
    cr_assert_eq(s.len, 7);
    strbuf_setlen(&s, 100);
    cr_assert_eq(s.len, 7);
    strbuf_release(&s);
    cr_assert_eq(s.len, 0);
    strbuf_addch(&s, 'x');
    char *text = strbuf_detach(&s);
    cr_assert_str_eq(text, "x");
    free(text);
    text = strbuf_detach(&s);
    cr_assert_str_empty(text);
    free(text);
    cr_assert_eq(strbuf_empty[0], '\0');
}

static void tell(void)
{
    if (write(STDERR_FILENO, "told\n", 5) != 5)
        _exit(9);
}

Test(memory, without_memory_the_handler_is_called_and_the_status_is_3, .exit_code = 3)
{
    out_of_memory_set(tell);
    xmalloc((size_t)1 << 62);
}

/* error */

Test(error, keeps_the_first_and_cleans_it)
{
    struct error err = ERROR_INIT;
    error_prefix(&err, "nothing");
    cr_assert_str_empty(err.text);
    int result = error_set(&err, FAULT_SUBMISSION, "'%s' is refused", "a\nb\x1b[2J\xff");
    cr_assert_eq(result, -1);
    cr_assert_str_eq(err.text, "'a\\nb\\x1b[2J\\xff' is refused");
    error_set(&err, FAULT_GRADER, "later");
    cr_assert_eq(err.fault, FAULT_SUBMISSION);
    error_prefix(&err, "lab '%s'", "pipe");
    cr_assert_str_eq(err.text, "lab 'pipe': 'a\\nb\\x1b[2J\\xff' is refused");
    cr_assert_eq(error_set(NULL, FAULT_GRADER, "nobody"), -1);
}

Test(error, errno_is_told_and_kept)
{
    struct error err = ERROR_INIT;
    errno = ENOENT;
    error_errno(&err, "cannot open '%s'", "x");
    cr_assert_str_eq(err.text, "cannot open 'x': No such file or directory");
    cr_assert_eq(err.fault, FAULT_GRADER);
    cr_assert_eq(errno, ENOENT);
}

Test(error, a_long_text_is_cut_within_bounds)
{
    struct error err = ERROR_INIT;
    struct strbuf s = STRBUF_INIT;
    for (int i = 0; i < 5000; i++)
        strbuf_addstr(&s, "\xff");
    error_set(&err, FAULT_GRADER, "'%s'", s.text);
    cr_assert_lt(strlen(err.text), sizeof err.text);
    cr_assert_not_null(strstr(err.text, "bytes left out"));
    strbuf_release(&s);
}

/* text */

static void check_clean(const char *bytes, size_t len, const char *expected)
{
    struct strbuf out = STRBUF_INIT;
    text_clean(&out, bytes, len, 1000);
    cr_expect_str_eq(out.text, expected);
    cr_expect(text_is_utf8(out.text, out.len));
    strbuf_release(&out);
}

Test(text, clean_shows_what_could_deceive)
{
    check_clean("a\tb\nc\\d", 7, "a\tb\nc\\d");
    check_clean("\0\r\x1b\x7f", 4, "\\x00\\x0d\\x1b\\x7f");
    check_clean("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    check_clean("\xc2\x85", 2, "\\u{85}");
    check_clean("\xe2\x80\xae\xe2\x80\xa8\xef\xbb\xbf", 9, "\\u{202e}\\u{2028}\\u{feff}");
    check_clean("\xf3\xa0\x81\x81", 4, "\\u{e0041}");
    check_clean("\xef\xbf\xbf\xef\xb7\x90", 6, "\\u{ffff}\\u{fdd0}");
    check_clean("\xc0\xaf", 2, "\\xc0\\xaf");                   /* overlong */
    check_clean("\xe0\x80\xaf", 3, "\\xe0\\x80\\xaf");          /* overlong */
    check_clean("\xed\xa0\x80", 3, "\\xed\\xa0\\x80");          /* surrogate */
    check_clean("\xf4\x90\x80\x80", 4, "\\xf4\\x90\\x80\\x80"); /* over U+10FFFF */
    check_clean("\xe2\x82", 2, "\\xe2\\x82");                   /* cut */
    check_clean("\xe2\x82"
                "a",
                3,
                "\\xe2\\x82"
                "a");
}

Test(text, clean_keeps_head_and_tail_within_its_bound)
{
    struct strbuf in = STRBUF_INIT, out = STRBUF_INIT;
    for (int i = 0; i < 1000; i++)
        strbuf_addf(&in, "%04d\n\xff", i);
    text_clean(&out, in.text, in.len, 500);
    cr_assert_leq(out.len, 500);
    cr_assert_geq(out.len, 440);
    cr_assert_eq(strncmp(out.text, "0000\n\\xff", 9), 0);
    cr_assert_str_eq(out.text + out.len - 9, "0999\n\\xff");
    const char *mark = strstr(out.text, "\n[... ");
    cr_assert_not_null(mark);
    /* Every byte is either shown or counted. */
    size_t shown = 0, left_out = strtoul(mark + 6, NULL, 10);
    const char *end = strstr(mark + 1, "]\n") + 2;
    for (const char *p = out.text; *p; p = p == mark ? end : p + 1) {
        if (p == mark || *p == 'x' || (*p == 'f' && p[-1] == 'f') || *p == 'f')
            continue;
        shown++; /* "\xff" counts once, by its backslash */
    }
    cr_assert_eq(shown + left_out, in.len, "%zu + %zu, not %zu", shown, left_out, in.len);
    for (size_t max = 0; max < 300; max++) {
        strbuf_reset(&out);
        text_clean_line(&out, in.text, in.len, max);
        cr_assert_leq(out.len, max);
        cr_assert_null(memchr(out.text, '\n', out.len));
    }
    strbuf_release(&in);
    strbuf_release(&out);
}

Test(text, what_just_fits_is_whole)
{
    struct strbuf out = STRBUF_INIT;
    text_clean(&out, "12345", 5, 5);
    cr_assert_str_eq(out.text, "12345");
    strbuf_release(&out);
}

Test(text, xml_and_markdown_are_plain)
{
    struct strbuf out = STRBUF_INIT;
    text_escape_xml(&out, "<a b=\"c\">&'\n");
    cr_assert_str_eq(out.text, "&lt;a b=&quot;c&quot;&gt;&amp;&#39;&#10;");
    strbuf_reset(&out);
    text_escape_markdown(&out, "    a|b [x](y) @me #1\n<b> &lt; http://a.b");
    cr_assert_str_eq(out.text, "a\\|b \\[x\\]\\(y\\) \\@<!-- -->me \\#<!-- -->1 \\<b\\> \\&lt\\; "
                               "http\\:\\/\\/a\\.b");
    strbuf_release(&out);
}

Test(text, a_fence_cannot_be_closed_nor_a_command_given)
{
    struct strbuf out = STRBUF_INIT;
    text_fence_markdown(&out, "a\n````\n::error::x\n  ::stop-commands::y\nb ##[group]\n"
                              "##vso[x]\n## title\nstd::move");
    cr_assert_str_eq(out.text, "`````\na\n````\n: :error::x\n  : :stop-commands::y\nb # #[group]\n"
                               "# #vso[x]\n## title\nstd::move\n`````\n");
    strbuf_release(&out);
}

/* clock, hash */

Test(clock, rounds_up_and_is_bounded)
{
    cr_assert_eq(clock_poll_ms(clock_ns() - 5), 0);
    cr_assert_eq(clock_poll_ms(INT64_MAX), INT32_MAX);
    cr_assert_eq(clock_poll_ms(clock_ns() + NS_PER_S * 3600), 3600000);
    char date[21];
    clock_date(date);
    cr_assert_eq(strlen(date), 20);
    cr_assert_eq(date[10], 'T');
    cr_assert_eq(date[19], 'Z');
}

Test(hash, known_answers)
{
    char hex[HASH_HEX_SIZE], other[HASH_HEX_SIZE];
    hash_bytes("abc", 3, hex);
    cr_assert_str_eq(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    struct hash *h = hash_new();
    hash_add_string(h, "ab");
    hash_add_string(h, "c");
    hash_finish(h, hex);
    h = hash_new();
    hash_add_string(h, "a");
    hash_add_string(h, "bc");
    hash_finish(h, other);
    cr_assert_str_neq(hex, other);
    /* RFC 4231, test case 2 */
    cr_assert_eq(hash_seed("Jefe", 4, "what do ya want for nothing?"), 0x5bdcc146bf60754eULL);
    cr_assert_neq(hash_seed("", 0, "a"), hash_seed("", 0, "b"));
}

Test(hash, files, .init = make_folder, .fini = remove_folder)
{
    struct error err = ERROR_INIT;
    char hex[HASH_HEX_SIZE];
    put("f", "abc");
    struct hash *h = hash_new();
    char *path = in_folder("f");
    int added = hash_add_file(h, path, &err);
    cr_assert_eq(added, 0);
    added = hash_add_file(h, folder, &err);
    cr_assert_eq(added, -1);
    hash_finish(h, hex);
    cr_assert_eq(strncmp(hex, "ba7816bf", 8), 0);
    free(path);
}

/* files */

Test(files, reads_regular_files_only, .init = make_folder, .fini = remove_folder)
{
    static const char *const odd[] = {"link", "fifo", "folder", "socket", "missing"};
    struct strbuf out = STRBUF_INIT;
    put("file", "hello");
    int fd = open(folder, O_DIRECTORY | O_RDONLY);
    cr_assert_eq(symlinkat("file", fd, "link"), 0);
    cr_assert_eq(mkfifoat(fd, "fifo", 0600), 0);
    cr_assert_eq(mkdirat(fd, "folder", 0700), 0);
    cr_assert_eq(mknodat(fd, "socket", S_IFSOCK | 0600, 0), 0);
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        struct error err = ERROR_INIT;
        int result = file_read_at(fd, odd[i], 100, &out, &err);
        cr_assert_eq(result, -1, "%s", odd[i]);
        cr_assert_eq(err.fault, FAULT_GRADER);
        cr_assert_not_null(strstr(err.text, odd[i]));
    }
    struct error err = ERROR_INIT;
    int result = file_read("/dev/zero", 100, &out, &err);
    cr_assert_eq(result, -1);
    strbuf_addstr(&out, "> ");
    result = file_read_at(fd, "file", 4, &out, NULL);
    cr_assert_eq(result, -1);
    cr_assert_str_eq(out.text, "> ");
    result = file_read_at(fd, "file", 5, &out, NULL);
    cr_assert_eq(result, 0);
    cr_assert_str_eq(out.text, "> hello");
    strbuf_release(&out);
    close(fd);
}

static int count_entries(const char *path)
{
    int n = 0;
    DIR *dir = opendir(path);
    cr_assert_not_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n - 2;
}

Test(files, a_whole_write_replaces_or_leaves_nothing, .init = make_folder, .fini = remove_folder)
{
    struct error err = ERROR_INIT;
    struct stat st;
    char *path = in_folder("r.json"), *target = in_folder("target");
    put("target", "old");
    cr_assert_eq(symlink("target", path), 0);
    int result = file_write_whole(path, 0640, "new", 3, &err);
    cr_assert_eq(result, 0, "%s", err.text);
    cr_assert_eq(lstat(path, &st), 0);
    cr_assert(S_ISREG(st.st_mode)); /* the link is replaced, not followed */
    cr_assert_eq(st.st_mode & 07777, 0640);
    struct strbuf out = STRBUF_INIT;
    file_read(target, 10, &out, NULL);
    cr_assert_str_eq(out.text, "old");
    strbuf_release(&out);
    char *sub = in_folder("sub");
    cr_assert_eq(mkdir(sub, 0700), 0);
    result = file_write_whole(sub, 0600, "x", 1, &err);
    cr_assert_eq(result, -1);
    cr_assert_eq(count_entries(folder), 3);
    free(path);
    free(target);
    free(sub);
}

Test(files, copies_and_makes_folders, .init = make_folder, .fini = remove_folder)
{
    struct error err = ERROR_INIT;
    struct stat st;
    umask(077);
    put("a", "text");
    char *from = in_folder("a"), *to = in_folder("b"), *deep = in_folder("x/y//z");
    int result = file_copy(from, to, 0755, &err);
    cr_assert_eq(result, 0, "%s", err.text);
    cr_assert_eq(stat(to, &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0755);
    cr_assert_eq(st.st_size, 4);
    result = file_copy(from, to, 0755, &err);
    cr_assert_eq(result, -1); /* it exists */
    result = directory_make(deep, NULL);
    cr_assert_eq(result, 0);
    cr_assert_eq(stat(deep, &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0755);
    result = directory_make(deep, NULL);
    cr_assert_eq(result, 0);
    result = directory_make(from, NULL);
    cr_assert_eq(result, -1);
    free(from);
    free(to);
    free(deep);
}

/* trees */

Test(tree, removes_whatever_it_is_and_follows_nothing, .init = make_folder, .fini = remove_folder)
{
    put("outside", "stays");
    int top = open(folder, O_DIRECTORY | O_RDONLY);
    cr_assert_eq(mkdirat(top, "t", 0700), 0);
    int t = openat(top, "t", O_DIRECTORY | O_RDONLY);
    cr_assert_eq(symlinkat("../outside", t, "link"), 0);
    cr_assert_eq(symlinkat("..", t, "up"), 0);
    cr_assert_eq(mkfifoat(t, "fifo", 0), 0);
    cr_assert_eq(mkdirat(t, "a", 0700), 0);
    cr_assert_eq(mkdirat(t, "a/b", 0700), 0);
    cr_assert_eq(symlinkat("../../..", t, "a/b/up"), 0);
    cr_assert_eq(mkdirat(t, "a/b/c", 0), 0);
    cr_assert_eq(fchmodat(t, "a/b", 0, 0), 0);
    long removed = tree_remove_at(top, "t");
    cr_assert_eq(removed, 8, "%ld, %s", removed, strerror(errno));
    cr_assert_eq(count_entries(folder), 1);
    removed = tree_remove_at(top, "not there");
    cr_assert_eq(removed, 0);
    close(t);
    close(top);
}

/* As an ordinary user, for whom a closed folder is really closed. */
Test(tree, opens_closed_folders, .init = make_folder, .fini = remove_folder)
{
    if (geteuid() == 0) {
        cr_assert_eq(chown(folder, 65534, 65534), 0);
        cr_assert_eq(seteuid(65534), 0);
    }
    int top = open(folder, O_DIRECTORY | O_RDONLY);
    cr_assert_eq(mkdirat(top, "a", 0700), 0);
    cr_assert_eq(mkdirat(top, "a/b", 0700), 0);
    cr_assert_eq(mkdirat(top, "a/b/c", 0700), 0);
    cr_assert_eq(mkdirat(top, "a/b/c/d", 0700), 0);
    cr_assert_eq(fchmodat(top, "a/b/c", 0, 0), 0);
    cr_assert_eq(fchmodat(top, "a/b", 0, 0), 0);
    cr_assert_eq(fchmodat(top, "a", 0, 0), 0);
    cr_assert_eq(fchmod(top, 0500), 0);
    long removed = tree_empty(top);
    int saved = errno;
    if (getuid() == 0)
        cr_assert_eq(seteuid(0), 0);
    cr_assert_eq(removed, 4, "%ld, %s", removed, strerror(saved));
    close(top);
}

Test(tree, any_depth_with_few_descriptors, .init = make_folder, .fini = remove_folder)
{
    enum { DEPTH = 3000 };
    char name[201];
    memset(name, 'd', 200);
    name[200] = '\0';
    int top = open(folder, O_DIRECTORY | O_RDONLY), at = dup(top);
    for (int i = 0; i < DEPTH; i++) {
        cr_assert_eq(mkdirat(at, name, 0700), 0);
        cr_assert_eq(mkdirat(at, "side", 0700), 0);
        int next = openat(at, name, O_DIRECTORY | O_RDONLY);
        close(at);
        at = next;
    }
    close(at);
    /* A name that the removal would choose itself is no obstacle. */
    cr_assert_eq(mkdirat(top, ".ipclab-removal-0", 0700), 0);
    long removed = tree_empty(top);
    cr_assert_eq(removed, 2 * DEPTH + 1, "%ld", removed);
    cr_assert_eq(count_entries(folder), 0);
    close(top);
}

/* json */

Test(json, faults_have_a_place)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"{\n \"a\": 1,\n \"b\" 2}", "x.json:3: not valid JSON"},
        {"", "x.json:1: not valid JSON"},
        {"{} {}", "x.json:1: not valid JSON"},
        {"{}\n]", "x.json:2: not valid JSON"},
        {"\"\xff\"", "x.json: not UTF-8 text"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = ERROR_INIT;
        cJSON *root = json_parse(cases[i].text, strlen(cases[i].text), "x.json", &err);
        cr_assert_null(root, "%s", cases[i].text);
        cr_assert_str_eq(err.text, cases[i].error);
    }
    /* Only the given length is read. */
    cJSON *root = json_parse("{\"a\": 1} no more", 8, "x", NULL);
    cr_assert_not_null(root);
    cJSON_Delete(root);
}

Test(json, members_are_checked)
{
    struct error err = ERROR_INIT;
    const char text[] = "{\"n\": 7, \"f\": 1.5, \"s\": \"x\", \"t\": true, \"big\": 1e999}\n";
    cJSON *root = json_parse(text, strlen(text), "x", &err);
    cr_assert_not_null(root, "%s", err.text);
    long n = 0;
    cr_assert_eq(json_integer(root, "n", 0, 10, &n, "x", &err), 0);
    cr_assert_eq(n, 7);
    cr_assert_eq(json_integer(root, "n", 8, 10, &n, "x", &err), -1);
    cr_assert_str_eq(err.text, "x: 'n' is 7, not within 8 to 10");
    cr_assert_eq(json_integer(root, "f", 0, 10, &n, "x", NULL), -1);
    cr_assert_eq(json_integer(root, "big", 0, 10, &n, "x", NULL), -1);
    cr_assert_eq(json_integer(root, "s", 0, 10, &n, "x", NULL), -1);
    cr_assert_str_eq(json_string(root, "s", "x", NULL), "x");
    cr_assert_null(json_string(root, "n", "x", NULL));
    cr_assert_null(json_string(root, "missing", "x", NULL));
    cr_assert_str_eq(json_string_or(root, "missing", "d"), "d");
    cr_assert_eq(json_integer_or(root, "f", 9), 9);
    cr_assert(json_bool_or(root, "t", false));
    cr_assert(json_bool_or(root, "s", true));
    cJSON_Delete(root);
}

Test(json, what_is_written_is_clean_and_whole, .init = make_folder, .fini = remove_folder)
{
    struct error err = ERROR_INIT;
    cJSON *root = cJSON_CreateObject();
    json_add_text(root, "text", "tab\there\xff", 9, 100);
    json_add_integer(root, "big", 999999999999999);
    json_add_seconds(root, "nan", NAN);
    json_add_seconds(root, "s", 0.12349);
    json_add_seconds(root, "tiny", -0.0001);
    json_add_string(root, "none", NULL);
    json_add_bool(json_add_object(root, "o"), "b", true);
    json_append(json_add_array(root, "a"), cJSON_CreateNumber(1));
    char *text = json_print(root, true);
    cr_assert_str_eq(text, "{\n  \"text\": \"tab\\there\\\\xff\",\n  \"big\": 999999999999999,\n"
                           "  \"nan\": 0,\n  \"s\": 0.123,\n  \"tiny\": 0,\n  \"none\": null,\n"
                           "  \"o\": {\n    \"b\": true\n  },\n  \"a\": [1]\n}");
    free(text);
    char *path = in_folder("r.json");
    int result = json_write_whole(path, 0600, root, &err);
    cr_assert_eq(result, 0, "%s", err.text);
    cJSON *again = json_parse_file(path, 10000, &err);
    cr_assert_not_null(again, "%s", err.text);
    cr_assert(cJSON_Compare(root, again, true));
    cJSON_Delete(again);
    cJSON_Delete(root);
    free(path);
}

/* child */

static int run_shell(struct child *c, const char *script, struct error *err)
{
    char *argv[] = {"sh", "-c", (char *)script, NULL};
    c->argv = argv;
    return child_run(c, err);
}

Test(child, keeps_both_streams_and_the_status)
{
    struct error err = ERROR_INIT;
    struct child c = CHILD_INIT;
    c.directory = "/";
    int result = run_shell(&c, "pwd; cat; echo bad >&2; exit 7", &err);
    cr_assert_eq(result, 0, "%s", err.text);
    cr_assert_str_eq(c.out.text, "/\n");
    cr_assert_str_eq(c.err.text, "bad\n");
    cr_assert_eq(c.status, 7);
    cr_assert_eq(c.out_bytes, 2);
    child_release(&c);
}

/* The first ends only when the second one is there. */
Test(child, several_run_at_the_same_time)
{
    struct error err = ERROR_INIT;
    struct child first = CHILD_INIT, second = CHILD_INIT;
    char *place = directory_make_private(NULL), *fifo = path_join(place, "fifo");
    char *reader[] = {"cat", fifo, NULL}, *writer[] = {"sh", "-c", "echo here > $0", fifo, NULL};
    cr_assert_eq(mkfifo(fifo, 0600), 0);
    first.argv = reader;
    second.argv = writer;
    int result = child_start(&first, &err) == 0 ? child_start(&second, &err) : -1;
    cr_assert_eq(result, 0, "%s", err.text);
    result = child_finish(&first, &err) == 0 ? child_finish(&second, &err) : -1;
    cr_assert_eq(result, 0, "%s", err.text);
    cr_assert_str_eq(first.out.text, "here\n");
    cr_assert_eq(second.status, 0);
    child_release(&first);
    child_release(&second);
    tree_remove_at(AT_FDCWD, place);
}

Test(child, could_not_start_is_never_failed)
{
    struct error err = ERROR_INIT;
    struct child c = CHILD_INIT;
    char *argv[] = {"no-such-program-here", NULL};
    setenv("PATH", "/usr/bin:/bin", 1); /* a folder closed to us would be another error */
    c.argv = argv;
    int result = child_run(&c, &err);
    cr_assert_eq(result, -1);
    cr_assert_str_eq(err.text, "cannot start 'no-such-program-here': No such file or directory");
    struct error second = ERROR_INIT;
    c.directory = "/no-such-folder";
    result = child_run(&c, &second);
    cr_assert_eq(result, -1);
    cr_assert_not_null(strstr(second.text, "its working folder: No such file"));
    child_release(&c);
}

static int refuse(void *argument, int keep_fd, const char **step)
{
    (void)keep_fd;
    *step = argument;
    errno = EPERM;
    return -1;
}

static int own_session(void *argument, int keep_fd, const char **step)
{
    (void)argument;
    *step = "session";
    close_range(3, (unsigned)keep_fd - 1, 0);
    close_range((unsigned)keep_fd + 1, ~0u, 0);
    return setsid() < 0 ? -1 : 0;
}

Test(child, before_exec_may_refuse_make_a_session_and_close_descriptors)
{
    struct error err = ERROR_INIT;
    struct child c = CHILD_INIT;
    c.before_exec = refuse;
    c.before_exec_argument = "landlock";
    int result = run_shell(&c, "exit 0", &err);
    cr_assert_eq(result, -1);
    cr_assert_str_eq(err.text, "cannot start 'sh': landlock: Operation not permitted");
    c.before_exec = own_session;
    result = run_shell(&c, "ls /proc/self/fd | wc -l", NULL);
    cr_assert_eq(result, 0);
    cr_assert_str_eq(c.out.text, "4\n"); /* 0, 1, 2 and ls's own */
    child_release(&c);
}

Test(child, a_flood_keeps_head_and_tail)
{
    struct error err = ERROR_INIT;
    struct child c = CHILD_INIT;
    c.max_out = 1001;
    int result = run_shell(&c, "echo first; yes 0123456 | head -n 500000; echo last", &err);
    cr_assert_eq(result, 0, "%s", err.text);
    cr_assert_eq(c.out_bytes, 500000u * 8 + 11);
    cr_assert_lt(c.out.len, 1001 + 60);
    cr_assert_eq(strncmp(c.out.text, "first\n0123456\n", 14), 0);
    cr_assert_str_eq(c.out.text + c.out.len - 13, "0123456\nlast\n");
    char *mark;
    cr_assert_not_null(mark = strstr(c.out.text, "\n[... "));
    cr_assert_eq(strtoul(mark + 6, NULL, 10), 500000u * 8 + 11 - 1001);
    child_release(&c);
}

Test(child, what_fits_is_whole)
{
    struct child c = CHILD_INIT;
    c.max_out = 11;
    int result = run_shell(&c, "printf 0123456; sleep 0.01; printf 789a", NULL);
    cr_assert_eq(result, 0);
    cr_assert_str_eq(c.out.text, "0123456789a");
    child_release(&c);
}

Test(child, the_deadline_ends_the_group_and_keeps_what_was_said)
{
    struct error err = ERROR_INIT;
    struct child c = CHILD_INIT;
    c.timeout_ms = 300;
    int result = run_shell(&c, "trap '' TERM; sleep 600 & echo $!; wait", &err);
    cr_assert_eq(result, -1);
    cr_assert(c.timed_out);
    cr_assert_str_eq(err.text, "'sh' was out of time after 0.300 s");
    pid_t sleeper = (pid_t)atol(c.out.text);
    cr_assert_gt(sleeper, 0);
    /* SIGKILL is on its way to it; whoever inherits it reaps it. */
    char *stat = xasprintf("/proc/%d/stat", sleeper);
    for (int i = 0; i < 500; i++) {
        struct strbuf text = STRBUF_INIT;
        bool gone = file_read(stat, 4096, &text, NULL) != 0 || strstr(text.text, ") Z");
        strbuf_release(&text);
        if (gone)
            break;
        cr_assert_lt(i, 499, "the group lives");
        usleep(10000);
    }
    free(stat);
    child_release(&c);
}

Test(child, whoever_holds_our_pipes_after_the_end_holds_nobody)
{
    struct child c = CHILD_INIT;
    int64_t start = clock_ns();
    int result =
        run_shell(&c, "setsid sh -c 'echo $$; exec sleep 30' & sleep 0.2; echo done", NULL);
    cr_assert_eq(result, 0);
    cr_assert_lt(clock_ns() - start, 20 * NS_PER_S);
    cr_assert_not_null(strstr(c.out.text, "done\n"));
    kill((pid_t)atol(c.out.text), SIGKILL);
    child_release(&c);
}

Test(child, signals_are_as_at_a_login)
{
    struct child c = CHILD_INIT;
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    signal(SIGPIPE, SIG_IGN);
    int result = run_shell(&c, "grep -E '^Sig(Blk|Ign)' /proc/self/status; kill -9 $$", NULL);
    cr_assert_eq(result, 0);
    cr_assert_str_eq(c.out.text, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    cr_assert_eq(c.status, 137);
    cr_assert_eq(c.signal, SIGKILL);
    child_release(&c);
}
