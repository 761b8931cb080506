/*
 * memcheck.h - a scenario under valgrind, and what valgrind found.
 *
 *   struct program *p = program_new("pipeline");
 *   program_memcheck(p);          a setting: before program_start()
 *   ...                           the scenario as ever
 *   expect_memory_clean(p);       after its end
 *
 * Findings come from valgrind's XML (protocol 4): definite leaks, invalid reads and writes,
 * uninitialised values, bad frees, bad system call parameters; descriptors that the program opened
 * and left open from its text log (valgrind 3.19 leaves them out of the XML). Of the processes that
 * it forks, errors count as its own; what they have lost, or left open, goes with their end, and
 * they are not followed over exec. An XML that does not end (killed, or exec'd out of valgrind)
 * fails the test with that sentence, and so does one that the program has added to. The exit status
 * and argv[0] are the program's own; PATH begins with the program's folder, which is how valgrind
 * finds it. The limits are the lab's, with six times the processor time and without one of memory.
 * Where the compiler has inlined a function, its caller is named; the line is right.
 */
#ifndef IPCLAB_HARNESS_MEMCHECK_H
#define IPCLAB_HARNESS_MEMCHECK_H

#include <cjson/cJSON.h>

#include "support/error.h"

struct program;

void program_memcheck(struct program *p);
void expect_memory_clean(struct program *p);

/*
 * Parses valgrind's output. Returns a new array of findings {kind, function, file, line, bytes,
 * text}, at most 50, or NULL and `err` when the XML is not whole. `log` may be NULL.
 */
cJSON *memcheck_parse(const char *xml, size_t xml_len, const char *log, size_t log_len,
                      struct error *err);

/*
 * Adds the errors of a forked process, whose XML is the rest of its parent's, and goes as far as it
 * lived. 0, or -1 and `err` when it is not XML of valgrind's.
 */
int memcheck_parse_child(cJSON *findings, const char *xml, size_t xml_len, struct error *err);

#endif
