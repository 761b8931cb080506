/* What valgrind writes, and what somebody else might write in its place. */
#include <criterion/criterion.h>
#include <string.h>

#include "harness/memcheck.h"
#include "support/json.h"
#include "support/strbuf.h"

#define HEAD                                                                                       \
    "<?xml version=\"1.0\"?>\n\n<valgrindoutput>\n\n<protocolversion>4</protocolversion>\n"        \
    "<protocoltool>memcheck</protocoltool>\n"
#define TAIL "<errorcounts>\n</errorcounts>\n\n</valgrindoutput>\n\n"
#define LEAK                                                                                       \
    "<error>\n  <unique>0x1</unique>\n  <tid>1</tid>\n  <kind>Leak_DefinitelyLost</kind>\n"        \
    "  <xwhat>\n    <text>7 bytes in 1 blocks are definitely lost in loss record 1 of 2</text>\n"  \
    "    <leakedbytes>7</leakedbytes>\n    <leakedblocks>1</leakedblocks>\n  </xwhat>\n"           \
    "  <stack>\n    <frame>\n      <ip>0x48417B4</ip>\n"                                           \
    "      <obj>/usr/libexec/valgrind/vgpreload_memcheck-amd64-linux.so</obj>\n"                   \
    "      <fn>malloc</fn>\n    </frame>\n    <frame>\n      <ip>0x1094DD</ip>\n"                  \
    "      <obj>/grader/programs/pipeline</obj>\n      <fn>split</fn>\n"                           \
    "      <dir>/grader/work</dir>\n      <file>/grader/work/pipeline.c</file>\n"                  \
    "      <line>17</line>\n    </frame>\n    <frame>\n      <obj>/grader/programs/pipeline</obj>" \
    "\n      <fn>main</fn>\n      <file>pipeline.c</file>\n      <line>99</line>\n    </frame>\n"  \
    "  </stack>\n</error>\n"

static cJSON *parse(const char *xml, const char *log)
{
    struct error err = ERROR_INIT;
    cJSON *findings = memcheck_parse(xml, strlen(xml), log, log ? strlen(log) : 0, &err);
    cr_assert_eq(findings == NULL, err.fault != FAULT_NONE);
    return findings;
}

Test(memcheck, finds_nothing_in_a_clean_report)
{
    cJSON *findings = parse(HEAD TAIL, "");
    cr_assert_eq(cJSON_GetArraySize(findings), 0);
    cJSON_Delete(findings);
}

Test(memcheck, names_the_place_in_the_submission)
{
    cJSON *findings = parse(HEAD LEAK TAIL, NULL);
    cr_assert_eq(cJSON_GetArraySize(findings), 1);
    const cJSON *f = cJSON_GetArrayItem(findings, 0);
    cr_assert_str_eq(json_string_or(f, "kind", ""), "Leak_DefinitelyLost");
    cr_assert_str_eq(json_string_or(f, "function", ""), "split");
    cr_assert_str_eq(json_string_or(f, "file", ""), "pipeline.c");
    cr_assert_eq(json_integer_or(f, "line", 0), 17);
    cr_assert_eq(json_integer_or(f, "bytes", 0), 7);
    cr_assert_str_eq(json_string_or(f, "text", ""), "7 bytes in 1 blocks are definitely lost");
    cJSON_Delete(findings);
}

Test(memcheck, takes_no_report_that_is_cut_off)
{
    const char *whole = HEAD LEAK TAIL;
    size_t end = (size_t)(strstr(whole, "</valgrindoutput>") - whole) + 17;
    for (size_t len = 0; len < end; len++) {
        struct error err = ERROR_INIT;
        cr_assert_null(memcheck_parse(whole, len, NULL, 0, &err), "%zu", len);
        cr_assert_eq(err.fault, FAULT_SUBMISSION);
    }
}

#define WRITE                                                                                      \
    "<error>\n  <kind>InvalidWrite</kind>\n  <what>Invalid write of size 1</what>\n"               \
    "  <stack>\n    <frame>\n      <obj>/grader/programs/calcd</obj>\n      <fn>serve</fn>\n"      \
    "      <file>calcd.c</file>\n      <line>17</line>\n    </frame>\n  </stack>\n</error>\n"

Test(memcheck, counts_what_a_child_does_wrong_as_far_as_it_lived)
{
    static const char *const rests[] = {WRITE TAIL, WRITE LEAK TAIL, WRITE, WRITE WRITE "<error>",
                                        LEAK WRITE WRITE "<err"};
    cJSON *findings = parse(HEAD TAIL, NULL);
    for (size_t i = 0; i < sizeof rests / sizeof rests[0]; i++) {
        struct error err = ERROR_INIT;
        cr_assert_eq(memcheck_parse_child(findings, rests[i], strlen(rests[i]), &err), 0, "%zu", i);
        cr_assert_eq(cJSON_GetArraySize(findings), 1, "%zu", i);
    }
    const cJSON *f = cJSON_GetArrayItem(findings, 0);
    cr_assert_str_eq(json_string_or(f, "function", ""), "serve");
    cr_assert_str_eq(json_string_or(f, "text", ""),
                     "Invalid write of size 1 (in a process that it has forked)");
    cJSON_Delete(findings);
}

Test(memcheck, takes_no_child_in_which_something_could_hide)
{
    static const char *const hostile[] = {"<!-- " WRITE, "<![CDATA[" WRITE, TAIL WRITE,
                                          "<?x?>",       "</error>" WRITE,  "<error>" WRITE};
    cJSON *findings = parse(HEAD TAIL, NULL);
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        struct error err = ERROR_INIT;
        cr_assert_eq(memcheck_parse_child(findings, hostile[i], strlen(hostile[i]), &err), -1,
                     "%zu", i);
        cr_assert_eq(err.fault, FAULT_SUBMISSION);
    }
    cJSON_Delete(findings);
}

Test(memcheck, takes_no_report_in_which_something_could_hide)
{
    static const char *const hostile[] = {
        "",
        "<other/>",
        "<!DOCTYPE valgrindoutput [<!ENTITY a \"b\">]><valgrindoutput></valgrindoutput>",
        HEAD "<!--" LEAK "-->" TAIL,
        HEAD "<![CDATA[" LEAK "]]>" TAIL,
        HEAD "<?x " LEAK "?>" TAIL,
        HEAD "<valgrindoutput>" LEAK TAIL "</valgrindoutput>",
        HEAD "<status>" LEAK "</status>" TAIL,
        HEAD "</valgrindoutput>" LEAK TAIL,
        HEAD "\xff\xfe" TAIL,
    };
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++)
        cr_assert_null(parse(hostile[i], NULL), "%zu", i);
    struct strbuf deep = STRBUF_INIT;
    strbuf_addstr(&deep, HEAD);
    for (int i = 0; i < 1000; i++)
        strbuf_addstr(&deep, "<a>");
    for (int i = 0; i < 1000; i++)
        strbuf_addstr(&deep, "</a>");
    strbuf_addstr(&deep, TAIL);
    cr_assert_null(parse(deep.text, NULL));
    strbuf_release(&deep);
}

Test(memcheck, bounds_what_it_keeps)
{
    struct strbuf many = STRBUF_INIT;
    strbuf_addstr(&many, HEAD);
    for (int i = 0; i < 300; i++)
        strbuf_addstr(&many, LEAK);
    strbuf_addstr(&many, "<error><kind>");
    for (int i = 0; i < 5000; i++)
        strbuf_addstr(&many, "long ");
    strbuf_addstr(&many, "</kind></error>" TAIL);
    cJSON *findings = parse(many.text, NULL);
    cr_assert_eq(cJSON_GetArraySize(findings), 50);
    cJSON_Delete(findings);
    strbuf_release(&many);
}

Test(memcheck, reads_open_descriptors_from_the_log)
{
    cJSON *findings = parse(HEAD TAIL, "==83== FILE DESCRIPTORS: 6 open (3 std) at exit.\n"
                                       "==83== Open file descriptor 5:\n==83== \n"
                                       "==83== Open AF_INET socket 6: 127.0.0.1:1 <-> unbound\n"
                                       "==83== Open file descriptor 3: /etc/passwd\n==83== \n"
                                       "==83== Open file descriptor 4: /given\n"
                                       "==83==    <inherited from parent>\n==83== \n==83== \n"
                                       "==83== Open file descriptor 9: /cut");
    cr_assert_eq(cJSON_GetArraySize(findings), 4);
    const char *want[] = {
        "descriptor 5 was opened and is still open at the end",
        "descriptor 6 was opened and is still open at the end: 127.0.0.1:1 <-> unbound",
        "descriptor 3 was opened and is still open at the end: /etc/passwd",
        "descriptor 9 was opened and is still open at the end: /cut",
    };
    for (int i = 0; i < 4; i++) {
        const cJSON *f = cJSON_GetArrayItem(findings, i);
        cr_assert_str_eq(json_string_or(f, "kind", ""), "OpenDescriptor");
        cr_assert_str_eq(json_string_or(f, "text", ""), want[i]);
    }
    cJSON_Delete(findings);
}
