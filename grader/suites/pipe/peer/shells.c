/* The same stages in dash and bash. */
#include "suites/pipe/peer/pipe.h"

#include <string.h>

/* The line as a shell reads it: each stage that is a probe with its words sealed. */
static const char *shell_command(const char *line, bool pipefail)
{
    const char *command = pipefail ? "set -o pipefail; " : "";
    char *rest = (char *)text("%s", line);
    for (char *stage; (stage = strsep(&rest, "|")) != NULL;) {
        stage += strspn(stage, " ");
        command =
            text("%s%s%s", command, stage[0] == '@' ? tool_command("probe", stage + 1) : stage,
                 rest != NULL ? " | " : "");
    }
    /* `exit $?`, so that the shell forks a command that stands alone too. */
    return text("%s; exit $?", command);
}

void expect_as_shells(const char *line, bool pipefail)
{
    static const char *const shells[] = {"/bin/bash", "/bin/dash"};
    size_t count = pipefail ? 1 : 2;
    struct program *p = pipeline("%s%s", pipefail ? "-o pipefail " : "", line), *peer[2];
    size_t len, peer_len[2];

    program_start(p);
    program_close_input(p);
    for (size_t i = 0; i < count; i++) {
        peer[i] = program_new_peer(shells[i]);
        program_args(peer[i], "-c", shell_command(line, pipefail), NULL);
        program_start(peer[i]);
        program_close_input(peer[i]);
    }
    int status = program_wait(p);
    program_wait_output_end(p, 1);
    const char *bytes = program_output(p, 1, &len), *peer_bytes[2];
    const char *shown = text("pipeline %s%s", pipefail ? "-o pipefail " : "", line);
    bool same_bytes = false, same = false;
    for (size_t i = 0; i < count; i++) {
        int peer_status = program_wait(peer[i]);
        program_wait_output_end(peer[i], 1);
        peer_bytes[i] = program_output(peer[i], 1, &peer_len[i]);
        bool equal = len == peer_len[i] && memcmp(bytes, peer_bytes[i], len) == 0;
        same_bytes = same_bytes || equal;
        same = same || (equal && status == peer_status);
    }
    EXPECT(same_bytes,
           text("what bash prints for: %s (@ is the suite's probe): %s", shown,
                quoted(peer_bytes[0], peer_len[0], 120)),
           quoted(bytes, len, 120));
    EXPECT(same,
           text("the end that bash has for: %s (@ is the suite's probe): %s", shown,
                status_sentence(program_wait(peer[0]))),
           status_sentence(status));
}

/* ---- random pipelines ---- */

/*
 * What may stand first, and behind. With pipefail each status counts, so nobody may be hit by
 * SIGPIPE or not as the machine is fast or slow: there every stage reads to the end of its input.
 */
static const char *first_stage(struct random *r, bool pipefail)
{
    switch (random_below(r, pipefail ? 6 : 7)) {
    case 0:
        return text("@ emit %d %d", between(r, 1, 1 << 30), between(r, 1, 100000));
    case 1:
        return text("no-such-%s", word(r));
    case 2:
        return text("@ exit %d", between(r, 0, 120));
    case 3:
        return text("@ line %s kill 15", word(r));
    case 4:
        return text("printf %s", word(r));
    case 5:
        return text("@ line %s line %s exit %d", word(r), word(r), between(r, 0, 120));
    default:
        return text("@ emit %d 0", between(r, 1, 1 << 30));
    }
}

static const char *next_stage(struct random *r, bool pipefail)
{
    switch (random_below(r, pipefail ? 8 : 13)) {
    case 0:
        return "@ copy";
    case 1:
        return "@ upper";
    case 2:
        return text("@ tag %s", word(r));
    case 3:
        return text("@ copy exit %d", between(r, 0, 120));
    case 4:
        return text("@ drain exit %d", between(r, 0, 3));
    case 5:
        return "@ copy kill 1";
    case 6:
        return "tr a-m n-z";
    case 7:
        return text("@ slurp exit %d", between(r, 0, 1));
    case 8:
        return text("head -c %d", between(r, 1, 30));
    case 9:
        return text("@ say %s exit %d", word(r), between(r, 0, 120));
    case 10:
        return text("@ take 3 echo %d exit %d", between(r, 1, 20), between(r, 0, 120));
    case 11:
        return text("no-such-%s", word(r));
    default:
        return "@ kill 9";
    }
}

const char *random_line(struct random *r, bool pipefail)
{
    const char *line = first_stage(r, pipefail);
    /* Who would read an endless stage to its end never ends: so its neighbour takes a little. */
    if (strstr(line, " 0") == line + strlen(line) - 2 && strncmp(line, "@ emit", 6) == 0)
        line = text("%s | head -c %d", line, between(r, 1, 20000));
    for (int n = between(r, 1, 4); n > 0; n--)
        line = text("%s | %s", line, next_stage(r, pipefail));
    return line;
}
