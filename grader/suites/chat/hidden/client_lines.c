/* The client: what comes from the server. */
#include "suites/chat/peer/chat.h"

#include <string.h>

TEST(client, numerics, "every numeric and every other command is a line that begins with '-- '")
{
    struct random r = random_from_test();
    struct chat *c = chat_on(a_nick(&r));
    const int numbers[] = {401, 404, 442, 451, 5, 265, 372, 376, 999};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        chat_prints_nothing(c, "lines before the numeric");
        tell(c, ":our.server %03d %s what :Some text", numbers[i], c->nick);
        chat_notes(c, "a numeric", text("%03d", numbers[i]), "what", c->nick, NULL);
    }
    const char *const lines[] = {":bob!u@h MODE #c +o carl", ":bob!u@h TOPIC #c :new topic",
                                 ":bob!u@h KICK #c carl :go", ":bob!u@h INVITE carl :#c"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        chat_prints_nothing(c, "lines before the event");
        tell(c, "%s", lines[i]);
        chat_notes(c, lines[i], "bob", "#c", NULL);
    }
    chat_prints_nothing(c, "one line for each");
    type(c, "/msg bob hello");
    chat_sends(c, "it goes on", "PRIVMSG bob :hello");
}

TEST(client, half_lines, "a line is one, however it comes; LF alone ends it, too")
{
    struct random r = random_from_test();
    struct chat *c = chat_on(a_nick(&r));
    const char *said = letters(&r, 10);
    const char *line = text(":bob!u@127.0.0.1 PRIVMSG %s :%s bytewise\r\n", c->nick, said);
    for (const char *at = line; *at != '\0'; at++)
        endpoint_send(c->e, at, 1);
    chat_prints(c, "a byte in each segment", "*bob* %s bytewise", said);
    line = text(":bob!u@127.0.0.1 PRIVMSG %s :one\r\n:bob!u@127.0.0.1 PRIVMSG %s :two\r\n:bob!u@",
                c->nick, c->nick);
    endpoint_send_text(c->e, line);
    chat_prints(c, "several lines in one segment", "*bob* one");
    chat_prints(c, "several lines in one segment", "*bob* two");
    endpoint_send_text(c->e, text("127.0.0.1 PRIVMSG %s :three\n", c->nick));
    chat_prints(c, "LF alone, and its beginning came before", "*bob* three");
    tell(c, ":bob!u@127.0.0.1 PRIVMSG %s :  a  b :\xc3\xa4\xff\x01 ", c->nick);
    chat_prints(c, "a text as it came, blanks and all bytes", "*bob*   a  b :\xc3\xa4\xff\x01 ");
    tell(c, ":bob PRIVMSG %s :four", c->nick);
    chat_prints(c, "a prefix that is a nick alone", "*bob* four");
    const char *start = text(":bob!u@127.0.0.1 PRIVMSG %s :", c->nick);
    said = letters(&r, CONTENT_MAX - strlen(start));
    tell(c, "%s%s", start, said);
    chat_prints(c, "a line of 510 bytes and CRLF is whole", "*bob* %s", said);
    endpoint_send_text(c->e, "\r\n\n\r\n");
    chat_prints_nothing(c, "empty lines are none");

    endpoint_send_text(c->e, text(":bob!u@127.0.0.1 PRIVMSG %s :whole\r\n"
                                  ":bob!u@127.0.0.1 PRIVMSG %s :half",
                                  c->nick, c->nick));
    endpoint_close(c->e);
    expect_status(c->p, 1, "the server has gone");
    chat_prints(c, "the line that is whole", "*bob* whole");
}

/* It prints `want`, whatever comes before. */
static void prints_in_the_end(struct chat *c, const char *want, const char *why)
{
    const char *line, *expected = text("chat prints \"%s\", %s", want, why);
    do
        line = program_expect_line(c->p, 1, expected, NULL);
    while (line != NULL && strcmp(line, want) != 0);
    EXPECT(line != NULL, expected, chat_end(c));
}

TEST(client, hostile, "chat lives through lines that are broken, or without end")
{
    enum { PIECE = 64 << 10, PIECES = 64, MOST_KB = 4 << 10, WORDS = 200 };
    struct random r = random_from_test();
    struct chat *c = chat_on(a_nick(&r));
    chat_prints_nothing(c, "it is registered");
    const char *const broken[] = {":",
                                  ": ",
                                  ":x",
                                  ":x ",
                                  " ",
                                  "PRIVMSG",
                                  ":bob PRIVMSG",
                                  ":bob!u@h PRIVMSG #c",
                                  ":bob!u@h NOTICE",
                                  ":bob!u@h JOIN",
                                  ":bob!u@h PART",
                                  ":bob!u@h NICK",
                                  ":bob!u@h QUIT",
                                  "PING",
                                  "001",
                                  "433",
                                  ":x 001",
                                  ":x 353 a = #c",
                                  "12",
                                  "%s%n%s%n :%n",
                                  ":bob!u@h JOIN #%s%n%s%n",
                                  ":bob!u@h PART #c :%s%n%s%n",
                                  ":bob!u@h NICK %s%n%s%n",
                                  ":bob!u@h QUIT :%s%n%s%n",
                                  ":bob!u@h PRIVMSG #c :%s%n%s%n",
                                  ":our.server 372 a :%s%n%s%n",
                                  ":bob!u@h TOPIC #c :%s%n%s%n",
                                  "::::",
                                  ":!@ PRIVMSG : :",
                                  "NOTICE :",
                                  ":bob!u@h"};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++)
        tell(c, "%s", broken[i]);
    const char *words = "";
    for (int i = 0; i < WORDS; i++)
        words = text("%s x", words);
    tell(c, ":bob!u@h MODE #c%s", words);
    tell(c, ":our.server 353 a = #c%s", words);
    endpoint_send(c->e, ":bob!u@h PRIV\0MSG\0\r\n\0\r\n", 23);
    /* How a message without a text is shown is free: all that comes before this is skipped. */
    tell(c, ":bob!u@127.0.0.1 PRIVMSG %s :end of the broken ones", c->nick);
    prints_in_the_end(c, "*bob* end of the broken ones", "the message behind the broken lines");

    long before = process_family_peak_kb(program_pid(c->p));
    const char *piece = letters(&r, PIECE);
    endpoint_send_text(c->e, text(":bob!u@127.0.0.1 PRIVMSG %s :", c->nick));
    for (int i = 0; i < PIECES; i++)
        endpoint_send(c->e, piece, PIECE);
    endpoint_send_text(c->e, text("\r\n:bob!u@127.0.0.1 PRIVMSG %s :end\r\n", c->nick));
    prints_in_the_end(c, "*bob* end", "the message behind a line without end");
    long after = process_family_peak_kb(program_pid(c->p));
    EXPECT(after - before <= MOST_KB, "a line of the protocol has 512 bytes, more is not kept",
           text("its memory grew by %ld KiB", after - before));
}
