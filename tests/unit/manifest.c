/* The manifest: what is refused, with which words, and what students receive of it. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "course/manifest.h"
#include "sandbox/exclusion.h"
#include "support/files.h"
#include "support/json.h"
#include "support/memory.h"

#define TEST_ENTRY(Id, Points, Visibility)                                                         \
    "{\"id\": \"" Id "\", \"points\": " Points ", \"visibility\": \"" Visibility                   \
    "\", \"detail\": \"full\", \"concept\": \"C-" Id "\", \"hint\": \"H-" Id "\", \"see\": \"S\"}"

static const char head[] = "{\"schema_version\": 1, \"lab\": \"demo\", \"title\": \"Demo\","
                           "\"programs\": [{\"name\": \"a\", \"sources\": [\"a.c\"]}],"
                           "\"files\": [{\"name\": \"a.c\", \"required\": true}],";

/* Loads `head` with `rest` behind it; the message, or NULL when it loads. Freed by nobody. */
static const char *load(struct manifest *m, const char *rest)
{
    static struct error err;
    char path[] = "/tmp/ipclab-manifest-XXXXXX";
    int fd = mkstemp(path);
    err = (struct error)ERROR_INIT;
    cr_assert(fd >= 0);
    cr_assert(file_write_all(fd, head, strlen(head)) == 0);
    cr_assert(file_write_all(fd, rest, strlen(rest)) == 0);
    close(fd);
    int failed = manifest_load(m, path, &err);
    unlink(path);
    return failed ? err.text : NULL;
}

static void refused(const char *rest, const char *word)
{
    struct manifest m;
    const char *message = load(&m, rest);
    cr_assert(message, "loaded: %s", rest);
    cr_expect(strstr(message, word), "'%s' does not say '%s'", message, word);
}

Test(manifest, loads_with_defaults)
{
    struct manifest m;
    const char *message =
        load(&m, "\"excludes\": [\"sockets\", \"named_pipes\"], \"tests\": [" TEST_ENTRY(
                     "s/a", "60", "public") "," TEST_ENTRY("memcheck/b", "40", "hidden") "]}");
    cr_assert(!message, "%s", message);
    cr_expect(m.test_count == 2 && m.excludes == (EXCLUDE_SOCKETS | EXCLUDE_NAMED_PIPES));
    cr_expect(m.tests[0].seconds == 10 && !m.tests[0].memcheck);
    cr_expect(m.tests[1].seconds == 60 && m.tests[1].memcheck);
    cr_expect(m.tests[1].visibility == VISIBILITY_HIDDEN);
    cr_expect(m.limits.descriptors == 256 && m.limits.processes == 200);
    cr_expect(manifest_find(&m, "s/a") == &m.tests[0] && !manifest_find(&m, "s/c"));
    manifest_release(&m);
}

Test(manifest, refuses_what_is_wrong)
{
    refused("\"tests\": [" TEST_ENTRY("s/a", "99", "public") "]}", "sum to 99");
    refused(
        "\"tests\": [" TEST_ENTRY("s/a", "50", "public") "," TEST_ENTRY("s/a", "50", "public") "]}",
        "twice");
    refused("\"tests\": [" TEST_ENTRY("sa", "100", "public") "]}", "SUITE/NAME");
    refused("\"tests\": [" TEST_ENTRY("s/../a", "100", "public") "]}", "SUITE/NAME");
    refused("\"tests\": [" TEST_ENTRY("s/a", "100", "secret") "]}", "visibility");
    refused("\"tests\": [" TEST_ENTRY("s/a", "-1", "public") "]}", "points");
    refused("\"tests\": [" TEST_ENTRY("s/a", "1.5", "public") "]}", "points");
    refused("\"tests\": [{\"id\": \"s/a\"}]}", "concept");
    refused("\"excludes\": [\"telepathy\"], \"tests\": []}", "telepathy");
    refused("\"limits\": {\"descriptors\": 1}, \"tests\": []}", "descriptors");
    refused("\"colour\": 1, \"tests\": []}", "colour");
    refused("\"given\": [\"../x\"], \"tests\": []}", "given");
    refused("\"tests\": []", "not valid JSON");
    refused("\"lab\": \"again\", \"tests\": []}", "twice");
}

Test(manifest, bonus_lies_outside_the_hundred)
{
    struct manifest m;
    const char *message =
        load(&m, "\"tests\": [" TEST_ENTRY("s/a", "100",
                                           "public") ","
                                                     "{\"id\": \"s/b\", \"points\": 5, \"bonus\": "
                                                     "true, \"visibility\": \"public\","
                                                     "\"detail\": \"full\", \"concept\": \"c\", "
                                                     "\"hint\": \"h\", \"see\": \"S\"}]}");
    cr_assert(!message, "%s", message);
    cr_expect(m.tests[1].bonus);
    manifest_release(&m);
}

Test(manifest, cut_tells_nothing_of_hidden_tests_but_concept_and_sum)
{
    struct manifest m, again;
    const char *message = load(
        &m, "\"tests\": [" TEST_ENTRY("s/open", "30", "public") "," TEST_ENTRY(
                "s/canary1", "40", "hidden") "," TEST_ENTRY("s/canary2", "30", "after_due") "]}");
    cr_assert(!message, "%s", message);
    cJSON *cut = manifest_cut(&m);
    char *text = json_print(cut, true);
    cr_expect(strstr(text, "H-s/open"));
    cr_expect(!strstr(text, "H-s/canary1") && !strstr(text, "\"s/canary1\""));
    cr_expect(!strstr(text, "H-s/canary2") && !strstr(text, "\"s/canary2\""));
    cr_expect(strstr(text, "C-s/canary1"), "the concept is told");

    char path[] = "/tmp/ipclab-cut-XXXXXX";
    int fd = mkstemp(path);
    struct error err = ERROR_INIT;
    cr_assert(file_write_all(fd, text, strlen(text)) == 0);
    close(fd);
    cr_assert(manifest_load(&again, path, &err) == 0, "the cut does not load: %s", err.text);
    unlink(path);
    cr_expect(again.cut && again.test_count == 1 && again.hidden_points == 70);
    manifest_release(&again);
    manifest_release(&m);
    cJSON_Delete(cut);
    free(text);
}
