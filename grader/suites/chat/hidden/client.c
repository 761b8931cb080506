/* The client: what is typed. */
#include "suites/chat/peer/chat.h"

#include <netdb.h>
#include <string.h>
#include <sys/socket.h>

TEST(client, message, "/msg sends a private message with its text as it was typed")
{
    struct random r = random_from_test();
    const char *bob = a_nick(&r), *said = letters(&r, 10), *channel = a_channel(&r);
    struct chat *c = chat_on(a_nick(&r));
    type(c, "/msg %s %s  with  blanks", bob, said);
    chat_sends(c, "/msg was typed", "PRIVMSG %s :%s  with  blanks", bob, said);
    type(c, "/msg %s :) %%s%%n", bob);
    chat_sends(c, "a text that begins with a colon", "PRIVMSG %s ::) %%s%%n", bob);
    chat_joins(c, channel);
    type(c, "/msg %s \xc3\xa4\xff\x01", bob);
    chat_sends(c, "bytes of any value", "PRIVMSG %s :\xc3\xa4\xff\x01", bob);
    type(c, "%s", said);
    chat_sends(c, "/msg does not change the current channel", "PRIVMSG %s :%s", channel, said);
    type(c, ": %s  /quit ", said);
    chat_sends(c, "a text is sent as it is", "PRIVMSG %s :: %s  /quit ", channel, said);
    type(c, "  %s", said);
    chat_sends(c, "blanks in a text are kept, also in front", "PRIVMSG %s :  %s", channel, said);
    /* A message is private by its target, whatever nick chat has had. */
    const char *fresh = a_nick(&r);
    type(c, "/nick %s", fresh);
    chat_sends(c, "/nick was typed", "NICK %s", fresh);
    tell(c, ":%s!u@127.0.0.1 NICK :%s", c->nick, fresh);
    c->nick = fresh;
    tell(c, ":%s!u@127.0.0.1 PRIVMSG %s :%s", bob, fresh, said);
    chat_prints(c, "a message to the new nick", "*%s* %s", bob, said);
    chat_prints_nothing(c, "one's own texts are not printed");
}

TEST(client, unknown, "a command that there is not, or that lacks something, is told and not sent")
{
    struct random r = random_from_test();
    struct chat *c = chat_on(a_nick(&r));
    chat_joins(c, a_channel(&r));
    const char *const typed[] = {"/nosuch", "/nosuch with words", "/JOINED #c", "/join",
                                 "/msg",    "/msg bob",           "/nick",      "/part-of"};
    for (size_t i = 0; i < sizeof typed / sizeof typed[0]; i++) {
        chat_prints_nothing(c, "lines before that");
        type(c, "%s", typed[i]);
        chat_notes(c, text("'%s' was typed", typed[i]), NULL);
        chat_sends_nothing(c, text("'%s' was typed", typed[i]));
    }
}

TEST(client, two_channels, "the channel of the last /join is current; after /part there is none")
{
    struct random r = random_from_test();
    const char *one = a_channel(&r), *two = a_channel(&r);
    struct chat *c = chat_on(a_nick(&r));
    chat_joins(c, one);
    chat_joins(c, two);
    type(c, "to two");
    chat_sends(c, "the last /join", "PRIVMSG %s :to two", two);
    tell(c, ":bob!u@127.0.0.1 PRIVMSG %s :on one", one);
    chat_prints(c, "a message to the other channel", "<bob> on one");
    tell(c, ":bob!u@127.0.0.1 JOIN %s", one);
    tell(c, ":bob!u@127.0.0.1 PART %s", two);
    tell(c, ":bob!u@127.0.0.1 QUIT :bye");
    chat_prints_nothing(c, "others come and go");
    type(c, "still to two");
    chat_sends(c, "what comes changes nothing", "PRIVMSG %s :still to two", two);
    type(c, "/part");
    chat_sends(c, "/part leaves the current channel", "PART %s ...", two);
    tell(c, ":%s!u@127.0.0.1 PART %s :", c->nick, two);
    chat_prints_nothing(c, "lines before the text");
    type(c, "to nobody");
    chat_notes(c, "there is no current channel", NULL);
    chat_sends_nothing(c, "there is no current channel");
    type(c, "/join %s", one);
    chat_sends(c, "/join was typed", "JOIN %s", one);
    type(c, "to one");
    chat_sends(c, "the last /join", "PRIVMSG %s :to one", one);
}

enum { QUIT_MS = 4000, NEVER_MS = 500, NEVER_ROUNDS = 8 };

static bool has_ended(void *context)
{
    return program_has_ended(context);
}

TEST(client, never_closes, "after QUIT a server that never closes is waited for, but not for ever")
{
    struct random r = random_from_test();
    struct chat *c = chat_on(a_nick(&r));
    chat_prints_nothing(c, "it is registered");
    type(c, "/quit");
    chat_sends(c, "/quit was typed", "QUIT ...");
    /* Asleep for so long in each round: its 2 s are over before the last one. */
    harness_stuck_after(NEVER_MS);
    int round = 0;
    while (!wait_until_or_stuck(has_ended, c->p, "chat ends") && round++ < NEVER_ROUNDS)
        tell(c, ":bob!u@127.0.0.1 PRIVMSG %s :still here", c->nick);
    EXPECT(program_has_ended(c->p),
           "chat ends at most 2 s after its QUIT, whatever comes meanwhile",
           text("it goes on to wait\n%s", describe_waiting()));
    expect_status(c->p, 0, "it has quit");
}

/* `more` bytes are too many in one of the lines that are typed, a text or a /msg. */
static void too_long(struct random *r, size_t more, bool is_msg)
{
    const char *channel = a_channel(r), *bob = a_nick(r);
    const char *start = text("PRIVMSG %s :", is_msg ? bob : channel);
    const char *said = letters(r, CONTENT_MAX - strlen(start));
    const char *typed = is_msg ? text("/msg %s %s", bob, said) : said;
    struct chat *c = chat_on(a_nick(r));
    type(c, "%s", ""); /* on no channel yet: nothing to be sent, and a line */
    chat_joins(c, channel);
    type(c, "%s", typed);
    chat_sends(c, "510 bytes are a line", "%s%s", start, said);
    int number = between(r, 23, 89);
    type(c, "/nosuch");
    for (int i = 5; i < number; i++)
        type(c, "/msg bob %d", i);
    const char *line = text("%s%s\n/msg bob behind\n", typed, letters(r, more));
    program_queue(c->p, line, strlen(line)); /* it need not read all of that */
    for (int i = 5; i < number; i++)
        chat_sends(c, "a line before the one that is too long", "PRIVMSG bob :%d", i);
    /* Whether it says QUIT then, and waits for our end, is its own matter. */
    size_t len;
    const char *at = endpoint_read_line(c->e, "QUIT, or the end of the connection", &len);
    if (at != NULL) {
        struct line l = line_parse(at, len);
        EXPECT(line_matches(&l, "QUIT ..."), "nothing but QUIT behind a line that is too long",
               quoted(at, len, 100));
    }
    endpoint_close(c->e);
    expect_status(c->p, 1, text("line %d is too long", number));
    const char *errors = program_output(c->p, 2, &len), *digits = text("%d", number);
    EXPECT(memmem(errors, len, digits, strlen(digits)) != NULL,
           text("a line on stderr that names line %d, counted from the first one that was typed",
                number),
           errors_shown(c->p));
}

TEST(client, long_line, "a line that is too long ends chat with 1; those before it have been sent")
{
    struct random r = random_from_test();
    too_long(&r, 1, false);
    too_long(&r, 1, true);
    too_long(&r, 100000, false);
}

TEST(client, both, "chat waits for its input and for the server at once")
{
    struct random r = random_from_test();
    struct chat *c = chat_on(a_nick(&r));
    chat_prints_nothing(c, "it is registered");
    expect_rest(c->p, "nobody types and the server is silent");
    program_stop_and_continue(c->p);
    for (int i = 0; i < 3; i++) {
        tell(c, ":bob!u@127.0.0.1 PRIVMSG %s :%d", c->nick, i);
        chat_prints(c, "nobody types", "*bob* %d", i);
    }
    for (int i = 0; i < 3; i++) {
        type(c, "/msg bob %d", i);
        chat_sends(c, "the server is silent", "PRIVMSG bob :%d", i);
    }
    program_send_text(c->p, "/msg bob ha");
    endpoint_send_text(c->e, ":bob!u@127.0.0.1 PRIV");
    expect_rest(c->p, "half a line on either side");
    endpoint_send_text(c->e, text("MSG %s :whole\r\n", c->nick));
    chat_prints(c, "half a line is typed", "*bob* whole");
    program_send_text(c->p, "lf\n");
    chat_sends(c, "its other half was typed", "PRIVMSG bob :half");
}

TEST(client, server_slow, "while the server does not read, what comes from it is printed")
{
    enum { LINES = 12000, SHOWN = 470, TIMES = 100, STEPS = 16, A_LITTLE = 1 << 10 };
    struct random r = random_from_test();
    struct chat *c = chat_on_narrow(a_nick(&r));
    const char *filler = letters(&r, SHOWN);
    chat_prints_nothing(c, "it is registered");
    endpoint_hold(c->e, true);
    for (int i = 0; i < LINES; i++) {
        const char *line = text("/msg bob %d %s\n", i, filler);
        program_queue(c->p, line, strlen(line));
    }
    wait_rest(c->p, "chat sleeps while the server does not read");
    /* Not once: when the kernel moves what it has together, a send() that waits gets on. */
    for (int i = 0; i < TIMES; i++) {
        tell(c, ":bob!u@127.0.0.1 PRIVMSG %s :slow down %d", c->nick, i);
        chat_prints(c, "the server has sent it, and does not read", "*bob* slow down %d", i);
    }
    /* It reads a little, again and again: there is room for the next line, though others wait
     * before it. */
    for (int i = 0; i < STEPS; i++) {
        endpoint_let_in(c->e, A_LITTLE);
        const char *line = text("/msg bob %d %s\n", LINES + i, filler);
        program_queue(c->p, line, strlen(line));
        wait_rest(c->p, "chat sleeps while the server has read a little, and does not read on");
    }
    endpoint_hold(c->e, false);
    for (int i = 0; i < LINES + STEPS; i++) {
        size_t len;
        const char *want = text("PRIVMSG bob :%d %s\r", i, filler);
        const char *at =
            endpoint_read_line(c->e, "the server reads again, and gets all in its order", &len);
        EXPECT(at != NULL && len == strlen(want) && memcmp(at, want, len) == 0, want,
               at != NULL ? quoted(at, len, 100) : "the connection has ended");
    }
}

/* Whether the system knows an address of IPv4 by this name. */
static bool name_is_known(const char *name)
{
    const struct addrinfo wanted = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    if (getaddrinfo(name, "6667", &wanted, &found) != 0)
        return false;
    freeaddrinfo(found);
    return true;
}

TEST(client, usage, "wrong usage is 2 with a usage line, beside a right one")
{
    struct random r = random_from_test();
    expect_usage("chat", "no operands");
    expect_usage("chat 127.0.0.1", "no port and no nick");
    expect_usage("chat 127.0.0.1 6667", "no nick");
    expect_usage("chat 127.0.0.1 6667 ann more", "one operand too many");
    expect_usage("chat 127.0.0.1 x ann", "no port");
    expect_usage("chat 127.0.0.1 6667x ann", "no port");
    expect_usage("chat 127.0.0.1 65536 ann", "no port");
    expect_usage("chat 127.0.0.1 -1 ann", "no port");
    expect_usage("chat 127.0.0.1 '' ann", "no number");

    struct program *p = program_new("chat");
    program_args(p, "no..host", "6667", "ann", NULL);
    program_start(p);
    expect_status(p, 1, "there is no host of this name");
    expect_error_line(p);
    struct chat *c =
        chat_start_as(program_new("chat"), AF_INET,
                      name_is_known("localhost") ? "localhost" : "127.0.0.1", a_nick(&r));
    chat_registers(c);
    chat_welcome(c);
    chat_sends_nothing(c, "three operands, a host by its name");
}

TEST(client, ipv6, "HOST may be an address of IPv6")
{
    struct random r = random_from_test();
    if (!net_has_ipv6())
        test_not_measured("IPv6 on loopback: docker run --sysctl net.ipv6.conf.all.disable_ipv6=0");
    struct chat *c = chat_start_as(program_new("chat"), AF_INET6, "::1", a_nick(&r));
    chat_registers(c);
    chat_welcome(c);
    chat_joins(c, a_channel(&r));
}

TEST(client, no_channel, "without a current channel a text is not sent, and that is told")
{
    struct random r = random_from_test();
    const char *channel = a_channel(&r), *said = letters(&r, 10);
    struct chat *c = chat_on(a_nick(&r));
    chat_prints_nothing(c, "lines before the text");
    type(c, "%s to nobody", said);
    chat_notes(c, "there is no channel to send to", NULL);
    chat_sends_nothing(c, "there is no channel to send to");
    chat_joins(c, channel);
    type(c, "%s", said);
    chat_sends(c, "there is a channel now", "PRIVMSG %s :%s", channel, said);
    type(c, "/part");
    chat_sends(c, "/part leaves the current channel", "PART %s ...", channel);
    chat_prints_nothing(c, "lines before the text");
    type(c, "%s to nobody", said);
    chat_notes(c, "there is no channel any more", NULL);
    type(c, "/part");
    chat_sends_nothing(c, "there is no channel any more");
}
