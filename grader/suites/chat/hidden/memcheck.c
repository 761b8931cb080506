/* The memory of a server and of a client, under valgrind: the rest. */
#include "suites/chat/peer/chat.h"

#include <signal.h>
#include <string.h>
#include <sys/socket.h>

static struct chatd *watched(void)
{
    struct program *p = program_new("chatd");
    program_args(p, "-p", "0", NULL);
    program_memcheck(p);
    struct chatd *d = chatd_start_as(p);
    harness_stuck_after(4000);
    return d;
}

TEST(memcheck, churn, "chatd gives back what belonged to clients that went in any way")
{
    struct chatd *d = watched();
    struct user *ann = member_on(d, "ann", "#c");
    for (int i = 0; i < 24; i++) {
        struct user *u = guest(d, "one of many");
        if (i % 2 == 0) {
            register_as(u, text("u%d", i));
            say(u, "JOIN #c,#of%d,#last%d", i, i % 5);
            settle(u);
            hear(ann, "it joins", ":u%d JOIN #c", i);
        }
        if (i % 8 == 0) {
            say_bytes(u, "QUIT :bye\r\nPING :x\r\nQUIT\r\n", 25);
            hear(ann, "it quits", ":u%d QUIT :bye", i);
            expect_end(u, "it has quit");
            continue;
        }
        say_bytes(u, "PRIVMSG #c :half a line", 23);
        if (i % 3 == 0)
            endpoint_reset(u->e);
        else if (i % 3 == 1)
            endpoint_close(u->e);
        else
            endpoint_close_input(u->e);
        if (i % 2 == 0)
            hear(ann, "it goes", ":u%d QUIT ...", i);
    }
    silent(ann, "it is served");
    struct user *half = guest(d, "a client with half a line");
    say_bytes(half, "NICK ", 5);
    member_on(d, "bob", "#c");
    settle(ann);
    program_signal(d->p, SIGINT);
    expect_status(d->p, 0, "SIGINT ends a server cleanly");
    expect_memory_clean(d->p);
}

TEST(memcheck, hostile, "no line, however broken or long, makes chatd touch what is not its own")
{
    enum { WORDS = 200 };
    struct random r = random_from_test();
    struct chatd *d = watched();
    struct user *ann = member_on(d, "ann", "#c"), *bob = member_on(d, "bob", "#c");
    settle(ann);
    const char *const lines[] = {":",
                                 " ",
                                 ":x",
                                 ": NICK",
                                 "NICK",
                                 "NICK :",
                                 "NICK x y z",
                                 "USER",
                                 "JOIN ,",
                                 "JOIN ,,,,",
                                 "PART ,",
                                 "NAMES ,",
                                 "NAMES :",
                                 "JOIN :",
                                 "PRIVMSG , :x",
                                 "PRIVMSG : :x",
                                 "PRIVMSG #",
                                 "QUITS",
                                 "PING",
                                 "PRIVMSG #c ::",
                                 "NOTICE",
                                 "a b c d e f g h i j k l m n o p q r"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        say(ann, "%s", lines[i]);
    const char *const manys[] = {"PRIVMSG #c", "NICK ann", "JOIN #c", "NAMES #c", "USER u 0"};
    const char *const starts[] = {"PRIVMSG #c :", "NICK ", "JOIN ", "JOIN #", "PING ",
                                  "NAMES #",      "USER ", ":",     "",       "PART #c :"};
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++)
        for (size_t len = 500; len < 516; len += 5)
            say(ann, "%s%s", starts[i], letters(&r, len - strlen(starts[i])));
    say_bytes(ann, "PRIVMSG #c :a\0b\r\n\0\r\n\0NICK x\r\n", 29);
    const char *words = "";
    for (int i = 0; i < WORDS; i++)
        words = text("%s x", words);
    for (size_t i = 0; i < sizeof manys / sizeof manys[0]; i++)
        say(ann, "%s%s", manys[i], words);
    const char *commas =
        text("JOIN %s", "#a,#b,#c,#d,#e,#f,#g,#h,#i,#j,#k,#l,#m,#n,#o,#p,#q,#r,#s");
    for (int i = 0; i < 20; i++)
        say(ann, "%s%s%0*d", commas, ",#", i, 0);
    settle(ann);
    settle(bob);
    say(bob, "NAMES #c");
    settle(bob);
    program_signal(d->p, SIGTERM);
    expect_status(d->p, 0, "SIGTERM ends a server cleanly");
    expect_memory_clean(d->p);
}

TEST(memcheck, client_garbage, "no line of a server makes chat touch what is not its own")
{
    struct random r = random_from_test();
    struct program *p = program_new("chat");
    program_memcheck(p);
    struct chat *c = chat_start_as(p, AF_INET, "127.0.0.1", "ann");
    harness_stuck_after(6000);
    chat_registers(c);
    chat_welcome(c);
    const char *const lines[] = {":",
                                 ": ",
                                 ":x",
                                 " ",
                                 "PRIVMSG",
                                 ":bob PRIVMSG",
                                 ":bob NICK",
                                 ":bob!u@h PRIVMSG #c",
                                 ":bob!u@h JOIN",
                                 ":bob QUIT",
                                 "PING",
                                 "001",
                                 ":x 433",
                                 ":!@ PRIVMSG : :",
                                 ":bob!u@h",
                                 "1 2 3 4 5 6 7 8"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        tell(c, "%s", lines[i]);
    endpoint_send(c->e, ":bob!u@h PRIV\0MSG\0\r\n\0\r\n", 23);
    for (size_t len = 470; len < 530; len += 7)
        tell(c, ":bob!u@h PRIVMSG ann :%s", letters(&r, len));
    type(c, "/msg bob %s", letters(&r, 400));
    tell(c, "PING :x");
    size_t len;
    for (bool typed = false, asked = false; !typed || !asked;) {
        /* A PING without a token may have an answer, too. */
        const char *what = "chat sends what was typed, and PONG x";
        const char *at = endpoint_read_line(c->e, what, &len);
        EXPECT(at != NULL, what, "the connection has ended");
        struct line l = line_parse(at, len);
        typed |= line_matches(&l, "PRIVMSG bob ?");
        asked |= line_matches(&l, "PONG x");
    }
    type(c, "/quit");
    chat_sends(c, "/quit was typed", "QUIT ...");
    endpoint_close(c->e);
    expect_status(p, 0, "it has quit");
    expect_memory_clean(p);
}
