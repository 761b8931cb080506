/* A line of the protocol in its parts, and how two of them are compared. */
#include "suites/chat/peer/chat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *kept(size_t size)
{
    char *memory = (char *)text("%*s", (int)size, "");
    memset(memory, 0, size);
    return memory;
}

const char *formatted(const char *format, va_list args)
{
    char *line = NULL;
    if (vasprintf(&line, format, args) < 0)
        abort();
    const char *copy = text("%s", line);
    free(line);
    return copy;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool same_name(const char *a, const char *b)
{
    while (*a != '\0' && lower(*a) == lower(*b))
        a++, b++;
    return *a == '\0' && *b == '\0';
}

/* A copy of the line is taken apart where it stands: each part ends in a NUL. */
struct cursor {
    char *at, *end;
};

/* Blanks are skipped, then the word up to the next one is taken. */
static struct bytes word_of(struct cursor *c)
{
    while (c->at < c->end && *c->at == ' ')
        c->at++;
    char *from = c->at;
    while (c->at < c->end && *c->at != ' ')
        c->at++;
    struct bytes word = {from, (size_t)(c->at - from)};
    if (c->at < c->end)
        *c->at++ = '\0';
    return word;
}

static void parse_prefix(struct line *l, const char *prefix)
{
    char *nick = (char *)text("%s", prefix), *host = strrchr(nick, '@'), *user;
    l->prefix = prefix;
    l->nick = nick;
    if (host != NULL) {
        *host = '\0';
        l->host = host + 1;
    }
    user = strchr(nick, '!');
    if (user != NULL) {
        *user = '\0';
        l->user = user + 1;
    }
}

struct line line_parse(const char *bytes, size_t len)
{
    struct line l = {0};
    if (len > 0 && bytes[len - 1] == '\r') {
        l.crlf = true;
        len--;
    }
    char *copies = kept(2 * (len + 1));
    if (len > 0) {
        memcpy(copies, bytes, len);
        memcpy(copies + len + 1, bytes, len);
    }
    l.raw = (struct bytes){copies, len};
    struct cursor c = {copies + len + 1, copies + len + 1 + len};
    if (c.at < c.end && *c.at == ':') {
        c.at++;
        parse_prefix(&l, word_of(&c).at);
    }
    l.command = word_of(&c).at;
    while (l.count < PARAMETERS_MAX) {
        while (c.at < c.end && *c.at == ' ')
            c.at++;
        if (c.at == c.end)
            break;
        if (*c.at == ':') {
            l.parameter[l.count++] = (struct bytes){c.at + 1, (size_t)(c.end - c.at - 1)};
            break;
        }
        l.parameter[l.count++] = word_of(&c);
    }
    return l;
}

bool is_numeric(const struct line *l, int number)
{
    return strcmp(l->command, text("%03d", number)) == 0;
}

/* Which parameter of a command is a text, and not a name; PARAMETERS_MAX: none. */
static size_t text_place(const char *command)
{
    static const struct {
        const char *command;
        size_t place;
    } texts[] = {{"PRIVMSG", 1}, {"NOTICE", 1}, {"PART", 1}, {"QUIT", 0}, {"PONG", 1}, {"PING", 0}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (same_name(command, texts[i].command))
            return texts[i].place;
    return PARAMETERS_MAX;
}

static bool same_parameter(const struct bytes *got, const struct bytes *want, bool exact)
{
    if (strcmp(want->at, "?") == 0)
        return true;
    if (exact)
        return got->len == want->len && memcmp(got->at, want->at, got->len) == 0;
    return strlen(got->at) == got->len && same_name(got->at, want->at);
}

bool line_matches(const struct line *l, const char *pattern)
{
    struct line want = line_parse(pattern, strlen(pattern));
    size_t count = want.count, text_at = text_place(want.command);
    bool more = count > 0 && strcmp(want.parameter[count - 1].at, "...") == 0;
    bool numeric = strspn(want.command, "0123456789") == 3;

    if (!same_name(l->command, want.command))
        return false;
    if (want.nick != NULL && strcmp(want.nick, "?") != 0 &&
        (l->nick == NULL || !same_name(l->nick, want.nick)))
        return false;
    if (more)
        count--;
    /* The parameters of 004 are no names and have no text behind them. */
    size_t most = numeric && strcmp(want.command, "004") == 0 ? PARAMETERS_MAX
                  : numeric || more                           ? count + 1
                                                              : count;
    if (l->count < count || l->count > most)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!same_parameter(&l->parameter[i], &want.parameter[i], i >= text_at))
            return false;
    return true;
}

/* ---- from the seed ---- */

static int names_made;

static void forget_names(void)
{
    names_made = 0;
}

/* A letter of their number ends them, so that no two are the same. */
const char *a_nick(struct random *r)
{
    test_at_end(forget_names);
    int n = names_made++;
    const char *end = n < 26 ? text("%c", 'a' + n) : text("%c%c", 'a' + n / 26 - 1, 'a' + n % 26);
    return text("%s%s", letters(r, (size_t)between(r, 3, 6)), end);
}

const char *a_channel(struct random *r)
{
    test_at_end(forget_names);
    return text("#%s%d", letters(r, (size_t)between(r, 3, 9)), names_made++);
}
