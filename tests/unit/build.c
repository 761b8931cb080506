/*
 * The build stage: programs, logs, and what an attack on the compiler gets. As root each build runs
 * under a uid of its own; all of this holds for an ordinary user too.
 */
#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "build/build.h"
#include "build/build_log.h"
#include "support/child.h"
#include "support/clock.h"
#include "support/files.h"
#include "support/memory.h"

static char *folder; /* of the test */
static struct grading g;
static struct error err;

static const char *const sources[] = {"pipeline.c", NULL};
static const char *const libraries[] = {"-pthread", NULL};
static const char *const none[] = {NULL};
static const char *const given[] = {"given.h", NULL};
static struct manifest_file files[] = {{.name = "pipeline.c", .required = true},
                                       {.name = "given.h", .required = false}};
static struct manifest_program programs[] = {
    {.name = "pipeline", .sources = sources, .libraries = libraries},
    {.name = "second", .sources = sources, .libraries = none},
};
static char *taken[] = {"pipeline.c", "given.h"};

static char *in(const char *name)
{
    return path_join(folder, name);
}

static void put(const char *name, const char *text)
{
    int result = file_write_whole(in(name), 0600, text, strlen(text), NULL);
    cr_assert_eq(result, 0);
}

static void begin(void)
{
    folder = directory_make_private(NULL);
    cr_assert_eq(chmod(folder, 0711), 0);
    g.work = in("work");
    cr_assert_eq(mkdir(g.work, 0700), 0);
    cr_assert_eq(chmod(g.work, 0711), 0);
    g.submission.directory = in("work/submission");
    cr_assert_eq(mkdir(g.submission.directory, 0700), 0);
    cr_assert_eq(directory_make(in("course/starter/pipe"), NULL), 0);
    put("course/starter/pipe/given.h", "#define GIVEN 7\n");
    g.course.root = in("course");
    g.manifest.lab = "pipe";
    g.manifest.files = files;
    g.manifest.file_count = 1;
    g.manifest.programs = programs;
    g.manifest.program_count = 1;
    g.manifest.given = given;
    g.submission.files = taken;
    g.submission.file_count = 1;
}

static void end(void)
{
    tree_remove_at(AT_FDCWD, folder);
}

static void compile(const char *text)
{
    put("work/submission/pipeline.c", text);
    int result = build(&g, &err);
    cr_assert_eq(result, 0, "%s", err.text);
    cr_assert_null(strstr(g.build.log, folder), "%s", g.build.log);
    cr_assert(!path_exists(in("work/slot-99")), "the build's slot is left");
}

static int run_program(const char *name)
{
    struct child c = CHILD_INIT;
    char *path = path_join(g.build.directory, name), *argv[] = {path, NULL};
    c.argv = argv;
    int result = child_run(&c, &err), status = c.status;
    cr_assert_eq(result, 0, "%s", err.text);
    child_release(&c);
    free(path);
    return status;
}

static void check_log(const char *text)
{
    cr_assert_not_null(strstr(g.build.log, text), "%s", g.build.log);
}

Test(build, programs_are_the_graders, .init = begin, .fini = end)
{
    struct stat st;
    g.manifest.program_count = 2;
    compile("#include \"given.h\"\nint main(void) { return GIVEN; }\n");
    cr_assert(g.build.ok, "%s", g.build.log);
    cr_assert_str_empty(g.build.log);
    cr_assert_eq(g.build.warnings, 0);
    cr_assert_eq(run_program("pipeline"), 7);
    cr_assert_eq(run_program("second"), 7);
    cr_assert_eq(stat(in("work/programs/pipeline"), &st), 0);
    cr_assert_eq(st.st_mode, S_IFREG | 0755);
    cr_assert_eq(st.st_uid, geteuid());
    cr_assert_eq(stat(in("work/programs"), &st), 0);
    cr_assert_eq(st.st_mode, S_IFDIR | 0755);
    cr_assert_eq(st.st_uid, geteuid());
}

Test(build, a_given_file_is_the_graders_copy, .init = begin, .fini = end)
{
    put("work/submission/given.h", "#define GIVEN 0\n");
    g.submission.file_count = 2;
    compile("#include \"given.h\"\nint main(void) { return GIVEN; }\n");
    cr_assert_eq(run_program("pipeline"), 7);
}

Test(build, warnings_are_kept_and_counted, .init = begin, .fini = end)
{
    compile("int main(void)\n{\n    int unused, other;\n    return 0;\n}\n");
    cr_assert(g.build.ok);
    cr_assert_eq(g.build.warnings, 2);
    check_log("$ gcc -std=gnu17 -O2 -g -Wall -Wextra -c pipeline.c\n");
    check_log("pipeline.c:3:9: warning: unused variable ");
    check_log("    3 |     int unused, other;\n      |         ^~~~~~\n");
}

Test(build, errors_are_the_students, .init = begin, .fini = end)
{
    compile("int main(void) { return nowhere; }\n");
    cr_assert(!g.build.ok);
    check_log("pipeline.c:1:25: error: ");
    struct stat st;
    struct strbuf why = STRBUF_INIT;
    cr_assert_eq(stat(in("work/programs/pipeline"), &st), 0);
    cr_assert_eq(st.st_mode, S_IFREG | 0644);
    cr_assert_eq(file_read(in("work/programs/pipeline"), 1000, &why, NULL), 0);
    cr_assert_str_eq(why.text, "it does not: what the compiler says of it stands in the report");
    strbuf_release(&why);
}

/* The same source has the same log, and the linker's words name the student's line. */
Test(build, the_linkers_words_are_clean, .init = begin, .fini = end)
{
    compile("extern int nowhere(void);\nint main(void)\n{\n    return nowhere();\n}\n");
    cr_assert(!g.build.ok);
    check_log("$ gcc -o pipeline pipeline.o -pthread\n");
    check_log("ld: pipeline.o: in function `main':\n");
    check_log("pipeline.c:4: undefined reference to `nowhere'\n");
    cr_assert_null(strstr(g.build.log, "/cc"), "%s", g.build.log);
}

Test(build, the_assemblers_words_are_clean, .init = begin, .fini = end)
{
    compile("int main(void)\n{\n    __asm__(\"nonsense\");\n    return 0;\n}\n");
    check_log("pipeline.c:3: Error: no such instruction: `nonsense'");
}

Test(build, a_missing_source_is_no_fault_of_ours, .init = begin, .fini = end)
{
    g.submission.file_count = 0;
    compile("");
    cr_assert(!g.build.ok);
    check_log("pipeline.c: No such file or directory");
}

/* What two programs have in common is compiled, and complained about, once. */
Test(build, a_source_of_two_programs_is_compiled_once, .init = begin, .fini = end)
{
    g.manifest.program_count = 2;
    compile("int main(void)\n{\n    int unused;\n    return 7;\n}\n");
    cr_assert(g.build.ok, "%s", g.build.log);
    cr_assert_eq(g.build.warnings, 1, "%d", g.build.warnings);
    cr_assert_eq(run_program("pipeline"), 7);
    cr_assert_eq(run_program("second"), 7);
}

/* Many at once or one after the other: each is compiled whatever became of the one before. */
Test(build, sources_are_told_in_the_manifests_order, .init = begin, .fini = end)
{
    const char *const first[] = {"missing.c", NULL};
    char *logs[2];
    programs[0].sources = first;
    g.manifest.program_count = 2;
    for (int i = 0; i < 2; i++) {
        g.options.jobs = 1 + i;
        compile("int main(void)\n{\n    int unused;\n    return 0;\n}\n");
        cr_assert(!g.build.ok);
        cr_assert_eq(g.build.warnings, 1, "%d", g.build.warnings);
        cr_assert_eq(run_program("second"), 0);
        cr_assert_eq(g.build.made, 1);
        logs[i] = xstrdup(g.build.log);
        cr_assert_geq(tree_remove_at(AT_FDCWD, g.build.directory), 0);
    }
    const char *first_told = strstr(logs[0], "-c missing.c"),
               *second_told = strstr(logs[0], "-c pipeline.c");
    cr_assert(first_told != NULL && first_told < second_told, "%s", logs[0]);
    cr_assert_str_eq(logs[0], logs[1]);
}

/* Other people's lines: each of these makes a compiler quote a file. */
static void check_kept_back(const char *text)
{
    char *secret = in("secret");
    put("secret", "SECRETWORD one two three\n");
    cr_assert_eq(chmod(secret, 0644), 0); /* the worst case: only the layers are in the way */
    char *source = xasprintf(text, secret, secret);
    put("work/submission/pipeline.c", source);
    int result = build(&g, &err);
    cr_assert_eq(result, 0, "%s", err.text);
    cr_assert(!g.build.ok);
    cr_assert_null(strstr(g.build.log, "SECRETWORD"), "%s", g.build.log);
    cr_assert_null(strstr(g.build.log, "root:"), "%s", g.build.log);
    free(source);
}

#define KEPT_BACK(Name, Text)                                                                      \
    Test(build_keeps_back, Name, .init = begin, .fini = end)                                       \
    {                                                                                              \
        check_kept_back(Text);                                                                     \
    }
KEPT_BACK(an_included_file, "#include \"%s\"\n")
KEPT_BACK(a_line_directive, "#line 1 \"%s\"\nint main(void) { return nowhere; }\n")
KEPT_BACK(incbin, "__asm__(\".incbin \\\"%s\\\"\");\nint main(void) { return nowhere; }\n")
KEPT_BACK(include_of_the_assembler, "__asm__(\".include \\\"%s\\\"\");\nint main(void) {}\n")
KEPT_BACK(system_files, "#include \"/etc/passwd\"\n")
KEPT_BACK(system_files_by_line, "#line 1 \"/etc/passwd\"\nint main(void) { return nowhere; }\n")
KEPT_BACK(system_files_by_the_assembler, "__asm__(\".include \\\"/etc/passwd\\\"\");\nint x = y;\n")
KEPT_BACK(system_files_by_the_assembler_alone, "__asm__(\".include \\\"/etc/passwd\\\"\");\n")
KEPT_BACK(ways_around, "#line 1 \"/usr/include/../../etc/passwd\"\nint main(void) { return no; }\n")

/* What is put into a program could be written into its folder, and loaded or run from there. */
Test(build_keeps_back, commands_and_other_libraries, .init = begin, .fini = end)
{
    static const char *const kept[] = {"/bin/sh", "/usr/lib/*/libtirpc.so.3",
                                       "/usr/lib/*/libcriterion.so.3"};
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        glob_t found;
        if (glob(kept[i], 0, NULL, &found) != 0)
            continue;
        char *source =
            xasprintf("__asm__(\".incbin \\\"%s\\\"\");\nint main(void) {}\n", found.gl_pathv[0]);
        compile(source);
        free(source);
        cr_assert(!g.build.ok, "%s", found.gl_pathv[0]);
        globfree(&found);
    }
}

Test(build, a_file_that_does_not_end_is_no_grader_error, .init = begin, .fini = end)
{
    compile("#include \"/dev/zero\"\n");
    cr_assert(!g.build.ok);
    cr_assert_str_not_empty(g.build.log);
}

Test(build, a_program_too_large_is_no_grader_error, .init = begin, .fini = end)
{
    compile("char huge[100 << 20] = {1};\nint main(void) { return huge[5]; }\n");
    cr_assert(!g.build.ok);
    check_log("the compiler was stopped: it may use ");
}

Test(build, a_flood_of_errors_is_cut, .init = begin, .fini = end)
{
    struct strbuf text = STRBUF_INIT;
    for (int i = 0; i < 1000; i++)
        strbuf_addf(&text, "int f%d(void) { return nowhere%d; }\n", i, i);
    compile(text.text);
    cr_assert(!g.build.ok);
    cr_assert_leq(strlen(g.build.log), 64 * 1024);
    check_log("nowhere0");
    check_log("bytes left out");
    check_log("nowhere999");
    strbuf_release(&text);
}

Test(build, the_environment_of_the_caller_does_not_reach_the_compiler, .init = begin, .fini = end)
{
    put("trap.h", "#error trapped\n");
    setenv("CPATH", folder, 1);
    setenv("GCC_EXEC_PREFIX", "/nonexistent/", 1);
    setenv("DEPENDENCIES_OUTPUT", in("deps"), 1);
    compile("#if __has_include(<trap.h>)\n#error trapped\n#endif\nint main(void) { return 3; }\n");
    cr_assert(g.build.ok, "%s", g.build.log);
    cr_assert(!path_exists(in("deps")));
}

Test(build, bytes_that_are_no_text_come_out_clean, .init = begin, .fini = end)
{
    compile("int main(void) { return \"\x1b[2J\xff\xe2\x80\xae\" + nowhere; }\n");
    cr_assert(!g.build.ok);
    cr_assert_null(strchr(g.build.log, '\x1b'));
    cr_assert_null(strchr(g.build.log, '\xff'));
    check_log("\\x1b[2J\\xff\\u{202e}");
}

/* Two folders, one program: what lies in it must not depend on where it was made. */
Test(build, programs_do_not_differ_by_folder, .init = begin, .fini = end)
{
    struct strbuf first = STRBUF_INIT, second = STRBUF_INIT;
    compile("int main(void) { return 0; }\n");
    file_read(in("work/programs/pipeline"), 1 << 20, &first, NULL);
    cr_assert_null(memmem(first.text, first.len, "ipclab-", 7));
    g.work = in("other");
    cr_assert_eq(mkdir(g.work, 0711), 0);
    compile("int main(void) { return 0; }\n");
    file_read(in("other/programs/pipeline"), 1 << 20, &second, NULL);
    cr_assert_gt(first.len, 0);
    cr_assert_eq(first.len, second.len);
    cr_assert_eq(memcmp(first.text, second.text, first.len), 0);
    strbuf_release(&first);
    strbuf_release(&second);
}

Test(build_log, one_line_for_what_is_left_out)
{
    static const char said[] = "In file included from pipeline.c:1:\n"
                               "/etc/passwd:1:5: error: expected 'x' before ':' token\n"
                               "    1 | root:x:0:0\n"
                               "      |     ^\n"
                               "/etc/passwd:2:5: error: daemon\n"
                               "/usr/include/stdio.h:3:4: note: declared here\n"
                               "    3 | int puts();\n"
                               "/b/tmp/ccAbC123.o: x\n"
                               "/b/pipeline.c:9: y: warning: z\n"
                               "/b/tmp/ccAbC.o: no temporary\n";
    struct strbuf log = STRBUF_INIT;
    struct grading none_yet = {.manifest = {.files = files, .file_count = 1}};
    int warnings = build_log_add(&log, &none_yet, "/b", said, strlen(said));
    cr_assert_eq(warnings, 1);
    cr_assert_str_eq(log.text, "In file included from pipeline.c:1:\n"
                               "/etc/passwd: (left out: not a file of the lab)\n"
                               "/usr/include/stdio.h:3:4: note: declared here\n"
                               "    3 | int puts();\n"
                               "(object): x\n"
                               "pipeline.c:9: y: warning: z\n"
                               "tmp/ccAbC.o: (left out: not a file of the lab)\n");
    strbuf_release(&log);
}
