/* Many clients and the server of the submission, together. */
#include <stdlib.h>
#include <string.h>

#include "suites/fifo/peer/fifo.h"

TEST(together, many, "30 clients at once with the server: each NEXT once, each text its own")
{
    enum { CLIENTS = 30, LINES = 3, VALUES = CLIENTS * LINES };
    struct random r = random_from_test();
    const char *dir = dir_make(&r), *said[CLIENTS];
    struct program *p[CLIENTS];
    bool seen[VALUES + 1] = {false};
    int asked = between(&r, 3, 50);

    struct program *server = server_start(dir);
    ask_next(dir, &r, 0, asked);
    harness_stuck_after(STUCK_MS);
    for (int i = 0; i < CLIENTS; i++) {
        const char *input = "";
        said[i] = text("%s%d", word(&r), i);
        for (int j = 0; j < LINES; j++)
            input = text("%sNEXT\nECHO %s\n", input, said[i]);
        p[i] = run_with(input, "client", "-t", "60000", dir, "-", NULL);
    }
    for (int i = 0; i < CLIENTS; i++) {
        expect_status(p[i], 0, "each line was answered");
        for (int j = 0; j < LINES; j++) {
            size_t len;
            const char *line = program_read_line(p[i], 1, &len);
            long value = line != NULL ? strtol(line, NULL, 10) - asked : 0;
            EXPECT(value >= 1 && value <= VALUES && !seen[value],
                   text("a value of NEXT, from %d to %d, each once", asked + 1, asked + VALUES),
                   line != NULL ? quoted(line, len, 60) : "no line");
            seen[value] = true;
            expect_line(p[i], said[i], "its own text");
        }
    }
    ask_next(dir, &r, asked + VALUES, 1);
    expect_names(dir, "requests", "each client removes its FIFO");
    server_end(server, dir);
}
