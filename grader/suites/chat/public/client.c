/* The client, with a server of ours. */
#include "suites/chat/peer/chat.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { QUIT_MS = 4000 }; /* chat waits up to 2 s for the server's end */

TEST(client, registers, "chat connects and sends NICK and USER")
{
    struct random r = random_from_test();
    struct chat *c = chat_start(a_nick(&r));
    chat_registers(c);
    chat_welcome(c);
    chat_sends_nothing(c, "that is all that it has to say by itself");
}

TEST(client, join, "/join sends JOIN, and what is typed then goes to the channel at once")
{
    struct random r = random_from_test();
    const char *channel = a_channel(&r), *said = letters(&r, 10);
    struct chat *c = chat_on(a_nick(&r));
    type(c, "/join %s", channel);
    type(c, "%s to all", said);
    chat_sends(c, "/join was typed", "JOIN %s", channel);
    chat_sends(c, "the server has not answered yet", "PRIVMSG %s :%s to all", channel, said);
    tell(c, ":%s!u@127.0.0.1 JOIN %s", c->nick, channel);
    type(c, "%s", said);
    chat_sends(c, "the channel is current", "PRIVMSG %s :%s", channel, said);
    chat_prints_nothing(c, "one's own texts are not printed");
}

TEST(client, prints, "messages are '<nick> text' and '*nick* text'")
{
    struct random r = random_from_test();
    const char *channel = a_channel(&r), *bob = a_nick(&r), *said = letters(&r, 10);
    struct chat *c = chat_on(a_nick(&r));
    chat_joins(c, channel);
    tell(c, ":%s!u@127.0.0.1 PRIVMSG %s :%s to all", bob, channel, said);
    chat_prints(c, "a message to the channel", "<%s> %s to all", bob, said);
    tell(c, ":%s!u@127.0.0.1 PRIVMSG %s :%s for you", bob, c->nick, said);
    chat_prints(c, "a message to the client's nick", "*%s* %s for you", bob, said);
    tell(c, ":%s!u@127.0.0.1 NOTICE %s :%s", bob, channel, said);
    chat_prints(c, "a notice to the channel", "<%s> %s", bob, said);
    tell(c, ":%s!u@127.0.0.1 NOTICE %s :%s", bob, c->nick, said);
    chat_prints(c, "a notice to the client's nick", "*%s* %s", bob, said);
    tell(c, ":%s!u@127.0.0.1 PRIVMSG %s %s", bob, channel, said);
    chat_prints(c, "a text of one word without a colon", "<%s> %s", bob, said);
}

TEST(client, events, "every other event is a line that begins with '-- '")
{
    struct random r = random_from_test();
    const char *channel = a_channel(&r), *bob = a_nick(&r), *fresh = a_nick(&r);
    struct chat *c = chat_on(a_nick(&r));
    chat_joins(c, channel);
    chat_prints_nothing(c, "lines before the events");
    tell(c, ":%s!u@127.0.0.1 JOIN %s", bob, channel);
    chat_notes(c, "bob joins", bob, channel, NULL);
    chat_prints_nothing(c, "one line for each event");
    tell(c, ":%s!u@127.0.0.1 NICK :%s", bob, fresh);
    chat_notes(c, "bob has a new nick", bob, fresh, NULL);
    chat_prints_nothing(c, "one line for each event");
    tell(c, ":%s!u@127.0.0.1 PART %s :some text", fresh, channel);
    chat_notes(c, "bob leaves the channel", fresh, channel, NULL);
    chat_prints_nothing(c, "one line for each event");
    tell(c, ":%s!u@127.0.0.1 QUIT :some text", fresh);
    chat_notes(c, "bob quits", fresh, NULL);
    chat_prints_nothing(c, "one line for each event");
}

TEST(client, ping, "chat answers PING with its token")
{
    struct random r = random_from_test();
    const char *token = letters(&r, 10);
    struct chat *c = chat_start(a_nick(&r));
    chat_registers(c);
    tell(c, "PING :%s", token);
    chat_sends(c, "PING before the welcome", "PONG :%s", token);
    chat_welcome(c);
    tell(c, ":our.server PING %s", token);
    chat_sends(c, "PING with a prefix and without a colon", "PONG :%s", token);
    tell(c, "PING :%s again", token);
    chat_sends(c, "a token with a blank", "PONG :%s again", token);
    chat_prints_nothing(c, "PING is for the program, not for its user");
}

TEST(client, server_goes, "chat ends with 1 when the server goes, or when there is none")
{
    struct random r = random_from_test();
    struct chat *c = chat_on(a_nick(&r));
    tell(c, ":bob!u@127.0.0.1 PRIVMSG %s :last words", c->nick);
    endpoint_close(c->e);
    expect_status(c->p, 1, "the server has closed the connection");
    expect_error_line(c->p);
    chat_prints(c, "what came before the end", "*bob* last words");

    c = chat_start(a_nick(&r));
    chat_registers(c);
    tell(c, "ERROR :Closing link");
    endpoint_close(c->e);
    expect_status(c->p, 1, "the server has closed the connection before 001");
    expect_error_line(c->p);

    c = chat_on(a_nick(&r));
    chat_prints_nothing(c, "it is registered");
    endpoint_reset(c->e);
    expect_status(c->p, 1, "the connection was reset");
    expect_error_line(c->p);

    /* What it sends to a server that has gone must not kill it. */
    c = chat_on(a_nick(&r));
    chat_prints_nothing(c, "it is registered");
    program_stop(c->p);
    endpoint_close(c->e);
    for (int i = 0; i < 3; i++)
        type(c, "/msg bob %d", i);
    program_signal(c->p, SIGCONT);
    expect_status(c->p, 1, "the server has closed the connection while lines were typed");
    expect_error_line(c->p);

    int port = endpoint_port(c->listener);
    endpoint_close(c->listener);
    struct program *p = program_new("chat");
    program_args(p, "127.0.0.1", text("%d", port), c->nick, NULL);
    program_start(p);
    expect_status(p, 1, "nobody listens there");
    expect_error_line(p);
}

TEST(client, refused, "432 and 433 before 001 end chat with 1, afterwards they are events")
{
    struct random r = random_from_test();
    const char *nick = a_nick(&r), *other = a_nick(&r);
    struct chat *c = chat_start(nick);
    chat_registers(c);
    tell(c, ":our.server 433 * %s :Nickname is already in use", nick);
    expect_status(c->p, 1, "433 before 001: without a nick there is nothing to do");
    expect_error_line(c->p);
    c = chat_start("1one");
    chat_registers(c);
    tell(c, ":our.server NOTICE * :*** Looking up your hostname");
    tell(c, ":our.server 432 * 1one :Erroneous nickname");
    expect_status(c->p, 1,
                  "432 before 001, whatever came before it: the server does not take this nick");
    expect_error_line(c->p);

    c = chat_on(nick);
    type(c, "/nick %s", other);
    chat_sends(c, "/nick was typed", "NICK %s", other);
    tell(c, ":our.server 433 %s %s :Nickname is already in use", nick, other);
    chat_notes(c, "the nick is refused", "433", nick, other, NULL);
    tell(c, ":our.server 432 %s 1one :Erroneous nickname", nick);
    chat_notes(c, "the nick is refused", "432", nick, "1one", NULL);
    chat_prints_nothing(c, "it goes on with its old nick");
}

/* chat has been told to quit: what comes until the server closes is printed. */
static void expect_quit(struct chat *c, const char *why)
{
    chat_sends(c, why, "QUIT ...");
    tell(c, ":bob!u@127.0.0.1 PRIVMSG %s :bye", c->nick);
    chat_prints(c, "what comes before the server closes", "*bob* bye");
    tell(c, "ERROR :Closing link");
    endpoint_close(c->e);
    expect_status(c->p, 0, "the server has closed after QUIT");
}

/* SIGINT and SIGTERM keep their default action. */
static void dies_by(int signal, const char *name)
{
    struct random r = random_from_test();
    struct chat *c = chat_on(a_nick(&r));
    chat_prints_nothing(c, "it is registered");
    program_signal(c->p, signal);
    const char *expected = text("%s kills chat, as it does where nothing is said about it", name);
    int got = wait_for_end(c->p, expected);
    EXPECT(WIFSIGNALED(got) && WTERMSIG(got) == signal, expected, status_sentence(got));
}

TEST(client, quit, "/quit and the end of input send QUIT; chat reads until the server closes")
{
    struct random r = random_from_test();
    struct chat *c = chat_on(a_nick(&r));
    harness_stuck_after(QUIT_MS);
    type(c, "/quit");
    expect_quit(c, "/quit was typed");

    c = chat_on(a_nick(&r));
    chat_prints_nothing(c, "it is registered");
    harness_stuck_after(QUIT_MS);
    program_send_text(c->p, "/msg bob first\n/msg bob a line without newline");
    program_close_input(c->p);
    chat_sends(c, "a line", "PRIVMSG bob :first");
    chat_sends(c, "the last line counts without a newline, too",
               "PRIVMSG bob :a line without newline");
    expect_quit(c, "the input has ended");

    dies_by(SIGINT, "SIGINT");
    dies_by(SIGTERM, "SIGTERM");
}

TEST(together, chat, "two clients talk over chatd")
{
    struct random r = random_from_test();
    const char *channel = a_channel(&r), *said = letters(&r, 10);
    struct chatd *d = chatd_start();
    struct user *eve = member_on(d, a_nick(&r), channel);
    struct chat c[2];
    for (int i = 0; i < 2; i++) {
        c[i].nick = a_nick(&r);
        c[i].p = program_new("chat");
        program_args(c[i].p, "127.0.0.1", text("%d", d->port), c[i].nick, NULL);
        program_start(c[i].p);
        type(&c[i], "/join %s", channel);
        hear(eve, "/join was typed", ":%s JOIN %s", c[i].nick, channel);
    }
    type(&c[0], "%s to all", said);
    chat_prints(&c[1], "what the other client says", "<%s> %s to all", c[0].nick, said);
    type(&c[1], "/msg %s back", c[0].nick);
    chat_prints(&c[0], "what the other client says", "*%s* back", c[1].nick);
    hear(eve, "what a client says", ":%s PRIVMSG %s :%s to all", c[0].nick, channel, said);
    harness_stuck_after(QUIT_MS);
    program_close_input(c[1].p);
    expect_status(c[1].p, 0, "its input has ended");
    hear(eve, "a client has quit", ":%s QUIT ...", c[1].nick);
    type(&c[0], "/quit");
    expect_status(c[0].p, 0, "it has quit");
}
