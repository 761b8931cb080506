/* A server that listens: its port again, another's port, both families, wrong usage. */
#include "suites/chat/peer/chat.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <signal.h>
#include <sys/socket.h>

TEST(listen, ipv6, "clients of IPv4 and of IPv6 meet on one port")
{
    if (!net_has_ipv6())
        test_not_measured("IPv6 on loopback: docker run --sysctl net.ipv6.conf.all.disable_ipv6=0");
    struct chatd *d = chatd_start();
    struct user *ann = member_on(d, "ann", "#c");
    struct user *bob = guest_over(d, AF_INET6, "bob");
    register_as(bob, "bob");
    enter(bob, "#c");
    hear(ann, "who joins over IPv6 is on the same channel", ":bob JOIN #c");
    say(bob, "PRIVMSG #c :over six");
    struct line l = hear_line(ann, "what is said over IPv6", ":bob PRIVMSG #c :over six");
    expect_full_prefix(&l, "a client of IPv6 has one, too");
    say(ann, "PRIVMSG bob :over four");
    hear(bob, "what is said over IPv4", ":ann PRIVMSG bob :over four");
}

/* The suite has a network of its own, as graded submissions have: nothing in it but loopback. */
static bool nobody_else_is_here(void)
{
    struct ifaddrs *all;
    bool found = false;
    if (getifaddrs(&all) != 0)
        return false;
    for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next)
        found |= i->ifa_addr != NULL && (i->ifa_flags & IFF_LOOPBACK) == 0 &&
                 (i->ifa_addr->sa_family == AF_INET || i->ifa_addr->sa_family == AF_INET6);
    freeifaddrs(all);
    return !found;
}

TEST(listen, usage, "wrong usage is 2 with a usage line, beside a right one")
{
    expect_usage("chatd -p", "-p lacks its number");
    expect_usage("chatd -p x", "no number");
    expect_usage("chatd -p 12x", "no number");
    expect_usage("chatd -p -1", "no port");
    expect_usage("chatd -p 65536", "no port");
    expect_usage("chatd -p ''", "no number");
    expect_usage("chatd -p 0x0", "a number is decimal digits");
    expect_usage("chatd -x", "there is no such option");
    expect_usage("chatd 6667", "there are no operands");
    expect_usage("chatd -p 0 more", "there are no operands");
    /* Without -p, where no other program can have taken that port. */
    struct program *p = program_new("chatd");
    bool is_ours = nobody_else_is_here();
    if (!is_ours)
        program_args(p, "-p", "0", NULL);
    struct chatd *d = chatd_start_as(p);
    EXPECT(!is_ours || d->port == 6667, "'listening on 6667' of chatd without -p",
           text("listening on %d", d->port));
    silent(guest(d, "a client"), "it serves");
}

TEST(listen, taken, "a living server's port is refused; its own is free again at once")
{
    struct chatd *d = chatd_start();
    struct user *ann = member(d, "ann");
    struct program *p = program_new("chatd");
    program_args(p, "-p", text("%d", d->port), NULL);
    program_start(p);
    expect_status(p, 1, text("port %d belongs to another server", d->port));
    expect_error_line(p);
    expect_no_output(p);
    silent(ann, "the first server serves on");

    program_signal(d->p, SIGTERM);
    expect_status(d->p, 0, "SIGTERM ends a server cleanly");
    /* The server's side went first: the kernel keeps that pair of addresses for a while. */
    endpoint_wait_end(ann->e, "the connection of a client ends with the server");
    endpoint_close(ann->e);
    p = program_new("chatd");
    program_args(p, "-p", text("%d", d->port), NULL);
    d = chatd_start_for(p, "'listening on PORT' of a chatd that is started again, at once, on the "
                           "port that it had, where a client was connected when it ended");
    silent(member(d, "ann"), "the next server at this port serves");
}
