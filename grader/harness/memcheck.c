/*
 * memcheck.c - valgrind's command line, its channels, and its findings.
 *
 * XML and log come over two sockets whose writing ends stand above the soft limit of descriptors:
 * valgrind keeps everything from there on for itself and refuses it to the program under test. It
 * forgets dup2(2)'s source; but what has been written can't be taken back, and the parser refuses
 * all by which added bytes could hide what comes after them. The pump drains the sockets, and keeps
 * apart what each process has written (reports.c): a child has the rest of a document of its own.
 */
#include "harness/memcheck.h"

#include <ctype.h>
#include <expat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/internal.h"
#include "harness/test.h"
#include "support/files.h"
#include "support/json.h"
#include "support/memory.h"
#include "support/text.h"

enum {
    DEPTH_MAX = 16,
    FINDINGS_MAX = 50,
    SHOWN_FINDINGS = 5,
    TEXT_MAX = 512, /* of one element */
    ELEMENTS_MAX = 200000,
    PROGRAM_MAX = 256 << 20,
};

/* Debian's /usr/bin/valgrind is a script around the first one, and no shell is allowed in a test.
 */
static const char *valgrind_path(void)
{
    static const char *const paths[] = {"/usr/bin/valgrind.bin", "/usr/bin/valgrind"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        if (access(paths[i], X_OK) == 0)
            return paths[i];
    test_not_measured("valgrind is not installed here (package 'valgrind')");
}

void memcheck_files(void (*allow)(const char *path))
{
    allow(valgrind_path());
    allow("/usr/libexec/valgrind");
    allow("/usr/lib/valgrind");
    allow("/usr/lib/debug");
}

const char *memcheck_folder(const struct program *p)
{
    return text("%.*s", (int)(strrchr(p->path, '/') - p->path), p->path);
}

size_t memcheck_argv(const struct program *p, int xml_fd, int log_fd, const char **argv, size_t max)
{
    const char *words[] = {
        valgrind_path(),
        "--command-line-only=yes", /* no ~/.valgrindrc, no VALGRIND_OPTS */
        "--tool=memcheck",
        "-q",
        "--leak-check=full",
        "--show-leak-kinds=definite",
        "--errors-for-leak-kinds=definite",
        "--track-fds=yes",
        "--child-silent-after-fork=no",
        "--trace-children=no",
        "--vgdb=no",             /* no FIFOs in /tmp */
        "--read-inline-info=no", /* a seventh of the time of a short run */
        "--num-callers=12",
        "--xml=yes",
        text("--xml-fd=%d", xml_fd),
        text("--log-fd=%d", log_fd),
        "--",
        strrchr(p->path, '/') + 1,
    };
    size_t count = sizeof words / sizeof words[0];
    if (count > max)
        test_broken("valgrind's command line is too long");
    memcpy(argv, words, sizeof words);
    return count;
}

/* ---- the XML ---- */

struct frame {
    char function[128], file[128], line[16], object[256];
};

struct xml {
    XML_Parser parser;
    int depth;
    size_t elements;
    const char *refused; /* why we stopped reading */
    bool root_ended;
    bool in_error, in_stack, have_place;
    int stacks;    /* of this error */
    bool of_child; /* a forked process's */
    char text[TEXT_MAX];
    size_t text_len;
    char kind[64], what[TEXT_MAX], leaked[32];
    struct frame frame, place; /* the one being read; the first of the program's own */
    cJSON *findings;
};

static void xml_stop(struct xml *x, const char *why)
{
    if (x->refused == NULL)
        x->refused = why;
    XML_StopParser(x->parser, XML_FALSE);
}

static void XMLCALL xml_doctype(void *context, const XML_Char *name, const XML_Char *system,
                                const XML_Char *public, int internal)
{
    (void)name, (void)system, (void)public, (void)internal;
    xml_stop(context, "it has a document type");
}

static void XMLCALL xml_comment(void *context, const XML_Char *bytes)
{
    (void)bytes;
    xml_stop(context, "it has a comment");
}

static void XMLCALL xml_cdata(void *context)
{
    xml_stop(context, "it has a CDATA section");
}

static void XMLCALL xml_instruction(void *context, const XML_Char *target, const XML_Char *bytes)
{
    (void)target, (void)bytes;
    xml_stop(context, "it has a processing instruction");
}

static void XMLCALL xml_entity(void *context, const XML_Char *name, int parameter,
                               const XML_Char *value, int len, const XML_Char *base,
                               const XML_Char *system, const XML_Char *public,
                               const XML_Char *notation)
{
    (void)name, (void)parameter, (void)value, (void)len, (void)base, (void)system, (void)public,
        (void)notation;
    xml_stop(context, "it declares an entity");
}

static void XMLCALL xml_start(void *context, const XML_Char *name, const XML_Char **attributes)
{
    struct xml *x = context;
    (void)attributes;
    if (++x->depth > DEPTH_MAX || ++x->elements > ELEMENTS_MAX) {
        xml_stop(x, "it is too deep or too long");
        return;
    }
    bool root = strcmp(name, "valgrindoutput") == 0, error = strcmp(name, "error") == 0;
    if (root != (x->depth == 1) || (error && (x->depth != 2 || x->in_error))) {
        xml_stop(x, "it is not valgrind's");
        return;
    }
    x->text_len = 0;
    if (error) {
        x->in_error = true;
        x->have_place = false;
        x->stacks = 0;
        x->kind[0] = x->what[0] = x->leaked[0] = '\0';
        memset(&x->place, 0, sizeof x->place);
    } else if (strcmp(name, "stack") == 0 && x->in_error) {
        x->in_stack = true;
        x->stacks++;
    } else if (strcmp(name, "frame") == 0) {
        memset(&x->frame, 0, sizeof x->frame);
    }
}

static void XMLCALL xml_characters(void *context, const XML_Char *bytes, int len)
{
    struct xml *x = context;
    size_t room = sizeof x->text - 1 - x->text_len;
    size_t n = (size_t)len < room ? (size_t)len : room;
    memcpy(x->text + x->text_len, bytes, n);
    x->text_len += n;
}

static void xml_take(const struct xml *x, char *to, size_t size)
{
    size_t n = x->text_len < size - 1 ? x->text_len : size - 1;
    memcpy(to, x->text, n);
    to[n] = '\0';
}

/* Of the system: libraries, and valgrind's own replacements of malloc and its kind. */
static bool frame_is_system(const struct frame *f)
{
    return strncmp(f->object, "/usr/", 5) == 0 || strncmp(f->object, "/lib", 4) == 0;
}

static void add_clean(cJSON *item, const char *key, const char *value)
{
    if (value[0] == '\0') {
        json_add_string(item, key, NULL);
        return;
    }
    struct strbuf s = STRBUF_INIT;
    text_clean_line(&s, value, strlen(value), 300);
    json_add_string(item, key, s.text);
    strbuf_release(&s);
}

static cJSON *finding_new(const char *kind, const char *function, const char *file,
                          const char *line, long long bytes, const char *what)
{
    cJSON *item = cJSON_CreateObject();
    add_clean(item, "kind", kind);
    add_clean(item, "function", function);
    add_clean(item, "file", file);
    json_add_integer(item, "line", strtol(line, NULL, 10));
    json_add_integer(item, "bytes", bytes);
    add_clean(item, "text", what);
    return item;
}

/* Takes `item`, which goes where there are many. */
static void finding_add(cJSON *findings, cJSON *item)
{
    if (cJSON_GetArraySize(findings) < FINDINGS_MAX)
        json_append(findings, item);
    else
        cJSON_Delete(item);
}

static bool is_there(const cJSON *findings, const cJSON *item)
{
    const cJSON *f;
    cJSON_ArrayForEach (f, findings)
        if (cJSON_Compare(f, item, true))
            return true;
    return false;
}

/*
 * Of a child, what it did wrong counts, and once where several did the same. What it has lost goes
 * with its end, and is often nothing but what its parent had and it has no use for.
 */
static void xml_error_of_child(const struct xml *x)
{
    if (strncmp(x->kind, "Leak_", 5) == 0)
        return;
    cJSON *item = finding_new(x->kind, x->place.function, x->place.file, x->place.line, 0,
                              text("%s (in a process that it has forked)", x->what));
    if (is_there(x->findings, item))
        cJSON_Delete(item);
    else
        finding_add(x->findings, item);
}

static void xml_error_ends(struct xml *x)
{
    long long bytes = strtoll(x->leaked, NULL, 10);
    char *record = strstr(x->what, " in loss record "); /* a number that says nothing */
    if (record != NULL)
        *record = '\0';
    if (bytes < 0 || bytes > (1LL << 40))
        bytes = 0;
    x->in_error = false;
    if (x->of_child)
        xml_error_of_child(x);
    else
        finding_add(x->findings, finding_new(x->kind, x->place.function, x->place.file,
                                             x->place.line, bytes, x->what));
}

static void XMLCALL xml_end(void *context, const XML_Char *name)
{
    struct xml *x = context;
    x->text[x->text_len] = '\0';
    x->depth--;
    if (x->depth == 0)
        x->root_ended = true;
    if (!x->in_error)
        return;
    if (x->in_stack && strcmp(name, "fn") == 0) {
        xml_take(x, x->frame.function, sizeof x->frame.function);
    } else if (x->in_stack && strcmp(name, "obj") == 0) {
        xml_take(x, x->frame.object, sizeof x->frame.object);
    } else if (x->in_stack && strcmp(name, "file") == 0) {
        const char *base = strrchr(x->text, '/'); /* the base name: our folders are nobody's */
        memmove(x->text, base != NULL ? base + 1 : x->text,
                strlen(base != NULL ? base : x->text) + (base == NULL));
        x->text_len = strlen(x->text);
        xml_take(x, x->frame.file, sizeof x->frame.file);
    } else if (x->in_stack && strcmp(name, "line") == 0) {
        xml_take(x, x->frame.line, sizeof x->frame.line);
    } else if (strcmp(name, "frame") == 0) {
        /* The place of a finding is the first frame of its first stack that is the program's. */
        if (!x->have_place && x->stacks == 1 && !frame_is_system(&x->frame)) {
            x->place = x->frame;
            x->have_place = true;
        }
    } else if (strcmp(name, "stack") == 0) {
        x->in_stack = false;
    } else if (strcmp(name, "kind") == 0) {
        xml_take(x, x->kind, sizeof x->kind);
    } else if (strcmp(name, "what") == 0 || strcmp(name, "text") == 0) {
        xml_take(x, x->what, sizeof x->what);
    } else if (strcmp(name, "leakedbytes") == 0) {
        xml_take(x, x->leaked, sizeof x->leaked);
    } else if (strcmp(name, "error") == 0 && x->depth == 1) {
        xml_error_ends(x);
    }
    x->text_len = 0;
}

/* ---- the log: descriptors ---- */

static const char *line_end(const char *at, const char *end)
{
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    return newline != NULL ? newline : end;
}

/* The line at `at` without its "==PID== ". */
static const char *line_words(const char *at, const char *end)
{
    if (end - at < 4 || (memcmp(at, "==", 2) != 0 && memcmp(at, "**", 2) != 0))
        return at;
    for (const char *c = at + 2; c + 2 < end; c++)
        if (c[0] == at[0] && c[1] == at[0])
            return c + 2 + (c[2] == ' ');
    return at;
}

/* The first number between `at` and `end`. */
static long number_in(const char *at, const char *end)
{
    long number = 0;
    while (at < end && !isdigit((unsigned char)*at))
        at++;
    for (; at < end && isdigit((unsigned char)*at) && number < 1000000; at++)
        number = number * 10 + (*at - '0');
    return number;
}

static void parse_log(cJSON *findings, const char *log, size_t len)
{
    static const char opens[] = "Open ", inherited[] = "<inherited from parent>";
    const char *end = log + len;
    for (const char *at = log; at < end;) {
        const char *stop = line_end(at, end), *words = line_words(at, stop);
        const char *next = stop < end ? stop + 1 : end;
        /* "Open file descriptor 3: /etc/passwd", "Open AF_INET socket 3: 127.0.0.1:1 <-> unbound"
         */
        const char *number = NULL;
        if ((size_t)(stop - words) > sizeof opens && memcmp(words, opens, sizeof opens - 1) == 0) {
            number = memmem(words, (size_t)(stop - words), "descriptor ", 11);
            if (number == NULL)
                number = memmem(words, (size_t)(stop - words), "socket ", 7);
        }
        const char *after = next < end ? line_words(next, line_end(next, end)) : end;
        while (after < end && *after == ' ')
            after++;
        bool theirs = number != NULL && !((size_t)(end - after) >= sizeof inherited - 1 &&
                                          memcmp(after, inherited, sizeof inherited - 1) == 0);
        long fd = number != NULL ? number_in(number, stop) : -1;
        if (theirs && fd > 2) {
            char what[TEXT_MAX];
            const char *colon = memchr(number, ':', (size_t)(stop - number));
            const char *target = colon != NULL ? colon + 1 : stop;
            snprintf(what, sizeof what,
                     "descriptor %ld was opened and is still open at the end%s%.*s", fd,
                     target < stop ? ":" : "", (int)(stop - target < 200 ? stop - target : 200),
                     target);
            finding_add(findings, finding_new("OpenDescriptor", "", "", "0", 0, what));
        }
        at = next;
    }
}

static void xml_begin(struct xml *x, cJSON *findings)
{
    *x = (struct xml){.findings = findings, .parser = XML_ParserCreate("UTF-8")};
    if (x->parser == NULL || x->findings == NULL)
        out_of_memory();
    XML_SetUserData(x->parser, x);
    XML_SetElementHandler(x->parser, xml_start, xml_end);
    XML_SetCharacterDataHandler(x->parser, xml_characters);
    XML_SetStartDoctypeDeclHandler(x->parser, xml_doctype);
    XML_SetEntityDeclHandler(x->parser, xml_entity);
    XML_SetCommentHandler(x->parser, xml_comment);
    XML_SetStartCdataSectionHandler(x->parser, xml_cdata);
    XML_SetProcessingInstructionHandler(x->parser, xml_instruction);
}

static bool xml_parse(struct xml *x, const char *bytes, size_t len, bool is_all)
{
    return len <= INT32_MAX && XML_Parse(x->parser, bytes, (int)len, is_all) == XML_STATUS_OK;
}

static void xml_refused(const struct xml *x, const char *what, struct error *err)
{
    error_set(err, FAULT_SUBMISSION, "valgrind's report%s is not whole%s%s", what,
              x->refused != NULL ? ": " : "", x->refused != NULL ? x->refused : "");
}

cJSON *memcheck_parse(const char *xml, size_t xml_len, const char *log, size_t log_len,
                      struct error *err)
{
    struct xml x;
    xml_begin(&x, cJSON_CreateArray());
    bool whole = xml_parse(&x, xml, xml_len, true) && x.root_ended;
    XML_ParserFree(x.parser);
    if (!whole) {
        xml_refused(&x, "", err);
        cJSON_Delete(x.findings);
        return NULL;
    }
    if (log != NULL)
        parse_log(x.findings, log, log_len);
    return x.findings;
}

/* What stands where a child was killed: between two elements, or in the middle of a tag; in no
 * comment and the like, in which all that comes after it would be hidden. */
static bool ends_in_order(struct xml *x, const char *rest, size_t before)
{
    if (x->root_ended)
        return true;
    xml_parse(x, "", 0, true);
    if (XML_GetErrorCode(x->parser) != XML_ERROR_UNCLOSED_TOKEN)
        return x->refused == NULL;
    const char *token = rest + XML_GetCurrentByteIndex(x->parser) - before;
    return token[0] == '<' && token[1] != '!' && token[1] != '?';
}

int memcheck_parse_child(cJSON *findings, const char *xml, size_t xml_len, struct error *err)
{
    static const char begin[] = "<valgrindoutput>"; /* its parent has written it */
    struct xml x;
    xml_begin(&x, findings);
    x.of_child = true;
    bool ok = xml_parse(&x, begin, sizeof begin - 1, false) && xml_parse(&x, xml, xml_len, false) &&
              ends_in_order(&x, xml, sizeof begin - 1);
    XML_ParserFree(x.parser);
    if (!ok)
        xml_refused(&x, " on a process that it has forked", err);
    return ok ? 0 : -1;
}

/* ---- the expectation ---- */

static const char *kind_sentence(const char *kind)
{
    static const char *const kinds[][2] = {
        {"Leak_DefinitelyLost", "memory is lost"},
        {"InvalidRead", "reads memory that is not its own"},
        {"InvalidWrite", "writes memory that is not its own"},
        {"InvalidFree", "frees what can't be freed"},
        {"MismatchedFree", "frees with the wrong function"},
        {"InvalidJump", "jumps to a place without code"},
        {"Overlap", "copies between places that overlap"},
        {"InvalidMemPool", "uses a broken memory pool"},
        {"UninitCondition", "decides by a value that was never set"},
        {"UninitValue", "uses a value that was never set"},
        {"SyscallParam", "hands a value that was never set, or memory not its own, to the kernel"},
        {"ClientCheck", "fails a check of its own"},
        {"FishyValue", "asks for a senseless amount of memory"},
        {"OpenDescriptor", "leaves a descriptor open"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i][0], kind) == 0)
            return kinds[i][1];
    return kind;
}

static const char *findings_text(const cJSON *findings)
{
    struct strbuf out = STRBUF_INIT;
    const cJSON *f;
    int shown = 0;
    cJSON_ArrayForEach (f, findings) {
        if (shown == SHOWN_FINDINGS)
            break;
        const char *file = json_string_or(f, "file", NULL);
        const char *function = json_string_or(f, "function", NULL);
        strbuf_addf(&out, "%s%s: %s", shown++ > 0 ? "\n" : "",
                    kind_sentence(json_string_or(f, "kind", "")), json_string_or(f, "text", ""));
        if (function != NULL)
            strbuf_addf(&out, ", in %s", function);
        if (file != NULL)
            strbuf_addf(&out, " (%s:%ld)", file, json_integer_or(f, "line", 0));
    }
    int all = cJSON_GetArraySize(findings);
    if (all > shown)
        strbuf_addf(&out, "\nand %d more", all - shown);
    const char *kept = text("%s", out.text);
    strbuf_release(&out);
    return kept;
}

/*
 * A program under valgrind can ask it to forget errors, or to take a block for freed, by moves that
 * do nothing elsewhere (valgrind.h: they turn a register once round, in four steps). Nothing
 * switches that off, so a program that has them in its file is not believed.
 */
static bool speaks_to_valgrind(const struct program *p)
{
#if defined(__aarch64__)
    static const unsigned char moves[] = {0x8c, 0x0d, 0xcc, 0x93, 0x8c, 0x35, 0xcc, 0x93,
                                          0x8c, 0xcd, 0xcc, 0x93, 0x8c, 0xf5, 0xcc, 0x93};
#else
    static const unsigned char moves[] = {0x48, 0xc1, 0xc7, 0x03, 0x48, 0xc1, 0xc7, 0x0d,
                                          0x48, 0xc1, 0xc7, 0x3d, 0x48, 0xc1, 0xc7, 0x33};
#endif
    struct strbuf file = STRBUF_INIT;
    struct error err = ERROR_INIT;
    if (file_read(p->path, PROGRAM_MAX, &file, &err) != 0)
        test_broken("%s", err.text);
    bool found = memmem(file.text, file.len, moves, sizeof moves) != NULL;
    strbuf_release(&file);
    return found;
}

static bool all_is_told(void *context)
{
    const struct program *p = context;
    return p->xml.fd < 0 && p->log.fd < 0;
}

static const struct strbuf *report_by(const struct reports *all, pid_t pid)
{
    static const struct strbuf nothing = STRBUF_INIT;
    const struct report *r = all->first;
    while (r != NULL && r->pid != pid)
        r = r->next;
    return r != NULL ? &r->bytes : &nothing;
}

/* NULL and `err`: what it and its children did is not all known. */
static cJSON *findings_of(const struct program *p, struct error *err)
{
    const struct strbuf *xml = report_by(&p->xml, p->pid), *log = report_by(&p->log, p->pid);
    if (p->xml.cut || p->log.cut) {
        error_set(err, FAULT_SUBMISSION, "valgrind's report is too long");
        return NULL;
    }
    cJSON *findings = memcheck_parse(xml->text, xml->len, log->text, log->len, err);
    for (const struct report *r = p->xml.first; r != NULL && findings != NULL; r = r->next) {
        if (r->pid == p->pid ||
            memcheck_parse_child(findings, r->bytes.text, r->bytes.len, err) == 0)
            continue;
        cJSON_Delete(findings);
        findings = NULL;
    }
    return findings;
}

void expect_memory_clean(struct program *p)
{
    const char *expected = text("%s uses memory and descriptors without an error, and gives back "
                                "what it took",
                                p->name);
    if (!p->memcheck || !p->ended)
        test_broken("expect_memory_clean: '%s' has not ended under valgrind", p->name);
    if (speaks_to_valgrind(p))
        test_fail(expected,
                  text("%s has requests to valgrind in it (valgrind.h), by which it could "
                       "hide what valgrind finds: take them out of what you submit",
                       p->name));
    /* The last of the reports, its children's too, as far as they end. */
    wait_until_or_stuck(all_is_told, p, "valgrind's report is whole");
    struct error err = ERROR_INIT;
    cJSON *findings = findings_of(p, &err);
    if (findings == NULL)
        test_fail(expected,
                  text("%s: %s (%s)", err.text,
                       "it must end by itself, and not by exec or a signal, to be checked",
                       status_sentence(p->status)));
    int count = cJSON_GetArraySize(findings);
    const char *got = count > 0 ? findings_text(findings) : "";
    if (count > 0) {
        char *json = json_print(findings, false);
        board_add_memory(json);
        free(json);
    }
    cJSON_Delete(findings);
    if (count > 0)
        test_fail(expected, got);
    test_note("valgrind found nothing in %s", p->name);
}
