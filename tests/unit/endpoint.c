/* What the suite holds itself of a FIFO, a connection, a socket of datagrams. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "scenario.h"

static struct program *speak(const char *what, const char *arg)
{
    struct program *p = program_new("speak");
    program_args(p, what, arg, NULL);
    program_start(p);
    return p;
}

static int port_of(struct program *p)
{
    const char *line = program_read_line(p, 1, NULL);
    EXPECT(line != NULL && strncmp(line, "listening on ", 13) == 0, "a port", "none");
    return atoi(line + 13);
}

static void says(struct endpoint *e, const char *line)
{
    size_t len;
    const char *got = endpoint_read_line(e, "an answer", &len);
    EXPECT(got != NULL && len == strlen(line) && memcmp(got, line, len) == 0,
           text("the line '%s'", line), got == NULL ? "the end" : quoted(got, len, 80));
}

/* ---- connections ---- */

static void connections(void)
{
    struct program *p = speak("echo", NULL);
    struct endpoint *first = net_connect(AF_INET, port_of(p), "client 1");
    endpoint_send_text(first, "a\nb");
    says(first, "a");
    endpoint_send_text(first, "c\nrest");
    says(first, "bc");
    const char *rest = endpoint_read(first, 4, "the rest");
    EXPECT(rest != NULL && memcmp(rest, "rest", 4) == 0, "the rest", "something else");
    EXPECT(net_is_acknowledged(first), "what was answered is acknowledged", "it is not");
    endpoint_close_input(first);
    endpoint_wait_end(first, "the end");
    EXPECT(endpoint_ended(first) && !endpoint_was_reset(first), "an end", "a reset");
    EXPECT(endpoint_read_line(first, "a line", NULL) == NULL, "no line", "one");

    struct endpoint *second = net_connect(AF_INET, endpoint_port(first) == 0 ? 0 : 1, "nobody");
    EXPECT(second == NULL, "nobody listens", "somebody");
}

Test(endpoint, a_connection_is_fed_read_and_ended)
{
    const struct board *board = scenario(connections);
    assert_verdict(board, BOARD_FAILED);
    assert_says(board->expected, "nobody can connect to the port");
    assert_says(board->got, "the connection was refused");
    assert_says(board->transcript, "> client 1: \"c\\nrest\"");
    assert_says(board->transcript, "< client 1: \"bc\"");
}

static void floods(void)
{
    struct program *p = speak("echo", NULL);
    struct endpoint *e = net_connect(AF_INET, port_of(p), "client");
    static char block[1 << 16];
    uint64_t sent = 0;
    endpoint_hold(e, true);
    size_t n, misses = 0;
    while (misses < 3) { /* the echo waits for us, and we for it */
        sent += n = endpoint_send_some(e, block, sizeof block);
        misses = n == 0 ? misses + 1 : 0;
        if (n == 0)
            program_wait_blocked(p, "it waits until we read");
    }
    EXPECT(endpoint_total(e) == 0, "nothing is read while held", "something is");
    endpoint_hold(e, false);
    endpoint_discard(e);
    endpoint_close_input(e);
    endpoint_wait_end(e, "the end");
    EXPECT(endpoint_total(e) == sent && sent > sizeof block, "everything came back", "not so");
}

Test(endpoint, a_connection_that_is_held_is_not_read)
{
    assert_verdict(scenario(floods), BOARD_PASSED);
}

/* How much fits into a connection whose other end does not read. */
static size_t room(struct endpoint *listener, struct endpoint *client)
{
    static char block[1 << 16];
    struct endpoint *server = net_accept(listener, "a connection");
    size_t all = 0, n;
    endpoint_hold(client, true);
    while ((n = endpoint_send_some(server, block, sizeof block)) > 0)
        all += n;
    return all;
}

static void narrow(void)
{
    struct endpoint *listener = net_listen(AF_INET, "our server");
    int port = endpoint_port(listener);
    size_t usual = room(listener, net_connect(AF_INET, port, "usual"));
    size_t little = room(listener, net_connect_narrow(AF_INET, port, "narrow"));
    EXPECT(little < usual / 4 && little < 256 << 10, "little room",
           text("room for %zu bytes, and usually for %zu", little, usual));

    /* The same for who sends to us: of a MiB as much was taken as the connection holds. */
    static char mib[1 << 20];
    struct endpoint *narrow_listener = net_listen_narrow(AF_INET, "our narrow server");
    struct endpoint *client = net_connect(AF_INET, endpoint_port(narrow_listener), "usual");
    struct endpoint *server = net_accept(narrow_listener, "a connection");
    endpoint_hold(server, true);
    size_t taken = endpoint_send_some(client, mib, sizeof mib);
    EXPECT(taken > 0 && taken < 256 << 10, "little room behind a narrow listener",
           text("%zu bytes of 1 MiB were taken", taken));
}

Test(endpoint, a_narrow_connection_has_little_room)
{
    assert_verdict(scenario(narrow), BOARD_PASSED);
}

static void listens(void)
{
    struct endpoint *listener = net_listen(AF_INET, "our server");
    const char *port = text("%d", endpoint_port(listener));
    struct program *one = speak("connect", port), *two;
    program_send_text(one, "hello\n");
    struct endpoint *e = net_accept(listener, "a connection");
    says(e, "hello");
    endpoint_send_text(e, "x");
    endpoint_close(e);
    expect_exit(one, 0);
    expect_output_text(one, "xend\n");

    two = speak("connect", port);
    program_send_text(two, "again\n");
    e = net_accept(listener, "a connection");
    says(e, "again");
    endpoint_reset(e);
    expect_exit(two, 0);
    expect_output_text(two, "reset\n");
}

Test(endpoint, a_listener_gets_connections_that_end_or_are_reset)
{
    assert_verdict(scenario(listens), BOARD_PASSED);
}

static void refused(void)
{
    struct program *p = speak("nothing", NULL);
    int port = port_of(p);
    EXPECT(net_try_connect(AF_INET, port, "client") != NULL, "the kernel takes it", "refused");
    program_signal(p, SIGKILL);
    expect_killed(p, SIGKILL);
    EXPECT(net_try_connect(AF_INET, port, "late") == NULL, "refused", "a connection");
}

Test(endpoint, a_refusal_is_told)
{
    assert_verdict(scenario(refused), BOARD_PASSED);
}

static void silent(void)
{
    struct endpoint *e = net_connect(AF_INET, port_of(speak("nothing", NULL)), "client 7");
    endpoint_read_line(e, "client 7 is greeted", NULL);
}

Test(endpoint, silence_is_seen_without_a_clock)
{
    const struct board *board = scenario(silent);
    assert_verdict(board, BOARD_FAILED);
    assert_says(board->expected, "client 7 is greeted");
    assert_says(board->got, "speak");
}

static void lets_in(void)
{
    struct program *p = speak("echo", NULL);
    struct endpoint *e = net_connect(AF_INET, port_of(p), "client");
    endpoint_hold(e, true);
    endpoint_send_text(e, "one\ntwo\nthree\n");
    wait_quiet(p, "it has sent all back");
    EXPECT(endpoint_let_in(e, 5) == 5 && endpoint_total(e) == 5, "five bytes", "others");
    says(e, "one");
    EXPECT(endpoint_let_in(e, 100) == 9, "the rest", "more or less");
    says(e, "two");
    says(e, "three");
    EXPECT(endpoint_let_in(e, 100) == 0, "nothing", "something");
    endpoint_close_input(e);
    endpoint_hold(e, false);
    endpoint_wait_end(e, "the end");
}

Test(endpoint, a_connection_that_is_held_lets_a_little_in)
{
    assert_verdict(scenario(lets_in), BOARD_PASSED);
}

static void under_way(void)
{
    struct endpoint *e = net_connect(AF_INET, port_of(speak("later", NULL)), "client");
    harness_stuck_after(20);
    says(e, "later");
}

Test(endpoint, what_the_system_has_still_to_bring_is_waited_for)
{
    assert_verdict(scenario(under_way), BOARD_PASSED);
}

static void many(void)
{
    enum { CLIENTS = 400 };
    struct endpoint *listener = net_listen(AF_INET, "our server"), *clients[CLIENTS];
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = net_connect(AF_INET, endpoint_port(listener), text("client %d", i));
    for (int i = 0; i < CLIENTS; i++)
        endpoint_send_text(net_accept(listener, "a connection"), text("%d\n", i));
    for (int i = 0; i < CLIENTS; i++)
        says(clients[i], text("%d", i));
}

Test(endpoint, hundreds_at_once)
{
    assert_verdict(scenario(many), BOARD_PASSED);
}

/* ---- datagrams ---- */

static void sends_datagrams(void)
{
    struct program *p = speak("datagrams", NULL);
    int port = port_of(p);
    struct endpoint *e = net_datagrams(AF_INET, "client");
    EXPECT(net_receive_now(e) == NULL, "nothing yet", "a datagram");
    net_send_to(e, port, "abc", 3);
    net_send_to(e, port, "", 0);
    for (int i = 0; i < 4; i++) {
        const struct datagram *d = net_receive(e, "the datagram comes back twice");
        EXPECT(d->port == port && d->len == (i < 2 ? 3 : 0) && memcmp(d->bytes, "abc", d->len) == 0,
               "the same bytes", quoted(d->bytes, d->len, 80));
    }
    EXPECT(net_receive(e, NULL) == NULL, "no more", "a datagram");
}

Test(endpoint, datagrams_come_and_go)
{
    assert_verdict(scenario(sends_datagrams), BOARD_PASSED);
}

/* ---- FIFOs ---- */

static int fifo(const char *name, int flags)
{
    const char *path = text("%s/%s", test_directory(), name);
    if (mkfifo(path, 0600) != 0)
        suite_failed("mkfifo", name);
    give_away(path);
    return open(path, flags | O_NONBLOCK);
}

static void fifos(void)
{
    static char most[PIPE_BUF];
    struct endpoint *in = endpoint_writer(fifo("in", O_RDWR), "our end of in");
    struct endpoint *out = endpoint_reader(fifo("out", O_RDWR), "our end of out");
    struct program *p = program_new("speak");
    program_args(p, "fifo", "in", "out", NULL);
    program_start(p);
    endpoint_send_text(in, "line\n");
    says(out, "line");
    EXPECT(endpoint_send(in, most, sizeof most) == sizeof most, "all of it is taken", "not all");
    EXPECT(endpoint_read(out, sizeof most, "the bytes come through") != NULL, "all", "the end");
    endpoint_close_input(in);
    expect_exit(p, 0);
    size_t len;
    endpoint_peek(out, &len);
    EXPECT(len == 0 && !endpoint_ended(out), "a FIFO of ours goes on", "it has ended");
}

Test(endpoint, ends_of_fifos)
{
    assert_verdict(scenario(fifos), BOARD_PASSED);
}

static void gone(void)
{
    int fd = fifo("in", O_RDWR);
    struct program *p = program_new("speak");
    int out = fifo("out", O_RDWR);
    program_args(p, "fifo", "in", "out", NULL);
    program_start(p);
    program_wait_blocked(p, "it waits for bytes");
    struct endpoint *in =
        endpoint_writer(open(text("%s/in", test_directory()), O_WRONLY), "writer");
    close(fd);
    program_signal(p, SIGKILL);
    expect_killed(p, SIGKILL);
    EXPECT(endpoint_send_text(in, "x") == 0 && endpoint_is_gone(in), "nobody reads", "taken");
    close(out);
}

Test(endpoint, a_fifo_without_a_reader_takes_nothing)
{
    assert_verdict(scenario(gone), BOARD_PASSED);
}
