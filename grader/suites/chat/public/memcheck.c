/* The memory of a server and of a client, under valgrind. */
#include "suites/chat/peer/chat.h"

#include <signal.h>
#include <sys/socket.h>

TEST(memcheck, server, "chatd gives everything back: clients, channels, and its sockets")
{
    struct program *p = program_new("chatd");
    program_args(p, "-p", "0", NULL);
    program_memcheck(p);
    struct chatd *d = chatd_start_as(p);
    harness_stuck_after(4000);
    struct user *ann = member_on(d, "ann", "#one"), *bob = member_on(d, "bob", "#one");
    struct user *carl = member_on(d, "carl", "#two");
    enter(ann, "#two");
    say(ann, "PRIVMSG #one :hello");
    say(ann, "NICK anna");
    say(ann, "PART #one :bye");
    settle(ann);
    say(carl, "PRIVMSG anna :%0400d", 7);
    say(carl, "NAMES #one,#two");
    settle(carl);
    say(bob, "QUIT :bye");
    hear(bob, "what ann has said", ":ann PRIVMSG #one :hello");
    hear(bob, "what ann does", ":ann NICK anna");
    hear(bob, "what ann does", ":anna PART #one :bye");
    expect_end(bob, "it has quit");
    endpoint_close_input(carl->e);
    settle(ann);
    program_signal(p, SIGTERM);
    expect_status(p, 0, "SIGTERM ends a server cleanly");
    expect_memory_clean(p);
}

TEST(memcheck, client, "chat gives everything back: its socket, and what it has in memory")
{
    struct program *p = program_new("chat");
    program_memcheck(p);
    struct chat *c = chat_start_as(p, AF_INET, "127.0.0.1", "ann");
    harness_stuck_after(6000);
    chat_registers(c);
    chat_welcome(c);
    chat_joins(c, "#c");
    type(c, "hello");
    chat_sends(c, "a text", "PRIVMSG #c :hello");
    tell(c, ":bob!u@127.0.0.1 PRIVMSG #c :hello ann");
    chat_prints(c, "a message", "<bob> hello ann");
    tell(c, ":bob!u@127.0.0.1 QUIT :bye");
    tell(c, "PING :x");
    chat_sends(c, "PING", "PONG x");
    type(c, "/nick anna");
    chat_sends(c, "/nick was typed", "NICK anna");
    type(c, "/part");
    chat_sends(c, "/part was typed", "PART #c ...");
    type(c, "/nosuch");
    type(c, "/quit");
    chat_sends(c, "/quit was typed", "QUIT ...");
    endpoint_close(c->e);
    expect_status(p, 0, "it has quit");
    expect_memory_clean(p);
}
