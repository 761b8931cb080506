/* Stages: arguments, order of events, large streams, whose streams they have. */
#include "suites/pipe/peer/pipe.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/files.h"

TEST(stages, arguments,
     "arguments reach a stage as they are: empty, with blanks, with a bar inside, and many")
{
    enum { MANY = 200, LONG = 50000 };
    struct random r = random_from_test();
    const char *a = word(&r), *b = word(&r);

    struct program *p = pipeline("@ exit 1 | @ args");
    const char *const args[] = {
        text("%s %s", a, b), "", "||", text("%s|%s", b, a), "-o", "--", "*\n", NULL};
    program_argv(p, args);
    program_start(p);
    const char *want = "";
    for (size_t i = 0; args[i] != NULL; i++)
        want = text("%s[%s]", want, args[i]);
    expect_bytes(p, want, strlen(want), "each argument in brackets, as the last stage got it");
    expect_pipeline_status(p, 0, "the status of the last stage");

    p = pipeline("@ exit 1 | @ args");
    want = "";
    for (int i = 0; i < MANY; i++) {
        const char *arg = text("%s%d", a, i);
        program_arg(p, arg);
        want = text("%s[%s]", want, arg);
    }
    program_start(p);
    expect_bytes(p, want, strlen(want), text("all %d arguments of the last stage", (int)MANY));
    expect_pipeline_status(p, 0, "the status of the last stage");
    expect_links(p, NULL, 0);

    p = pipeline("@ exit 1 | @ args");
    const char *arg = text("%s%0*d", a, (int)LONG, 1);
    program_arg(p, arg);
    program_start(p);
    want = text("[%s]", arg);
    expect_bytes(p, want, strlen(want), "a long argument, all of it");
    expect_pipeline_status(p, 0, "the status of the last stage");
}

TEST(stages, last_acts_first, "the first stage can wait for what the last one does")
{
    struct random r = random_from_test();
    const char *sent = word(&r), *added = word(&r);

    gate_make("gate");
    for (int i = 0; i < 2; i++) {
        struct program *p = pipeline("%s @ await gate say %s | @ copy | @ post gate tag %s",
                                     i == 0 ? "" : "--meter", sent, added);
        program_start(p);
        expect_bytes(p, text("%s%s", sent, added), strlen(sent) + strlen(added),
                     "the first stage speaks once the last one has let it, so all run at once");
        expect_pipeline_status(p, 0, "the status of the last stage");
    }
}

/* About a second: a gigabyte takes that long. */
TEST(stages, gigabyte, "a gigabyte passes in constant memory")
{
    struct random r = random_from_test();
    int seed = between(&r, 1, 1 << 30);
    static const char *const sizes[] = {"65536", "1073741824"};
    struct program *p[2];

    for (int i = 0; i < 2; i++) {
        p[i] = pipeline("@ emit %d %s | @ check %d %s exit 4", seed, sizes[i], seed, sizes[i]);
        program_start(p[i]);
        expect_pipeline_status(p[i], 4, "the status of the last stage, which checked its input");
    }
    expect_same_peak(p[0], p[1]);
}

TEST(stages, callers_streams,
     "stdin of the first and stdout of the last stage are the caller's own")
{
    struct random r = random_from_test();
    const char *sent = word(&r);

    for (int i = 0; i < 2; i++) {
        int in[2], out;
        struct stat in_is, out_is;
        const char *path = text("%s/out%d", private_directory(), i);
        pipe_make(in);
        out = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (out < 0 || fstat(in[0], &in_is) != 0 || fstat(out, &out_is) != 0 ||
            file_write_all(in[1], sent, strlen(sent)) != 0)
            test_not_measured("the suite could not make a file and a pipe of its own");
        close(in[1]);

        struct program *p = pipeline("%s @ report first%d copy | @ report last%d copy exit 4",
                                     i == 0 ? "" : "--meter", i, i);
        program_give(p, 0, in[0]);
        program_give(p, 1, out);
        program_start(p);
        expect_pipeline_status(p, 4, "the status of the last stage");
        struct held first = held_read(text("first%d", i), "the first stage"),
                    last = held_read(text("last%d", i), "the last stage");
        EXPECT(first.kind[0] == HELD_PIPE && first.inode[0] == (uintmax_t)in_is.st_ino,
               "the first stage reads from the very pipe that pipeline has as its stdin",
               "its stdin is something else");
        EXPECT(last.kind[1] == HELD_FILE && last.inode[1] == (uintmax_t)out_is.st_ino,
               "the last stage writes to the very file that pipeline has as its stdout",
               "its stdout is something else");
        EXPECT(fstat(out, &out_is) == 0 && (size_t)out_is.st_size == strlen(sent),
               "all the input in the file", text("%jd bytes", (intmax_t)out_is.st_size));
        close(in[0]);
        close(out);
    }
}

TEST(eof, every_position, "a stage in any position that closes its output gives the next its end")
{
    enum { STAGES = 4 };

    gate_make("gate");
    for (int run = 0; run < 2 * (STAGES - 1); run++) {
        int at = run / 2;
        struct program *p = pipeline("%s", run % 2 == 0 ? "" : "--meter");
        for (int i = 0; i < STAGES; i++) {
            program_words(p, i == 0 ? "" : "|");
            if (i < at)
                program_words(p, run % 2 == 0 ? "@ exit 0" : "@ await gate");
            else if (i == at)
                program_words(p, "@ close 1 await gate");
            else
                program_words(p, "@ drain arrive end%d%d", run, i);
        }
        program_words(p, "exit 4");
        program_start(p);
        for (int i = at + 1; i < STAGES; i++)
            file_wait(p, text("end%d%d", run, i),
                      text("stage %d of %d sees the end of its input once stage %d has closed its "
                           "output, although that one runs on",
                           i + 1, STAGES, at + 1));
        gate_open("gate", run % 2 == 0 ? 1 : 1 + at);
        expect_pipeline_status(p, 4, "the status of the last stage");
    }
}

TEST(eof, reader_closes, "a stage in any position that closes its input ends the writer before it")
{
    enum { STAGES = 4 };

    gate_make("gate");
    for (int run = 2; run < 2 * STAGES; run++) {
        int at = run / 2;
        struct program *p = pipeline("%s", run % 2 == 0 ? "" : "--meter");
        for (int i = 0; i < STAGES; i++) {
            program_words(p, i == 0 ? "" : "|");
            if (i == at - 1)
                program_words(p, "@ fill 1 arrive gone%d", run);
            else if (i == at)
                program_words(p, "@ close 0 await gate exit 4");
            else
                program_words(p, "@ exit 4");
        }
        program_start(p);
        file_wait(p, text("gone%d", run),
                  text("stage %d of %d cannot write any more once stage %d has closed its input: "
                       "nobody else holds that end",
                       at, STAGES, at + 1));
        gate_open("gate", 1);
        expect_pipeline_status(p, 4, "the status of the last stage");
    }
}

TEST(random, pipefail, "random pipelines with -o pipefail print and return what they do in bash")
{
    struct random r = random_from_test();
    for (int i = 0; i < 3; i++)
        expect_as_shells(random_line(&r, i > 0), i > 0);
}
