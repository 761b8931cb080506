/* client.c - calc, and what the grader's side does as its server. */
#include "harness/observe.h"
#include "suites/rpc/peer/rpc.h"

#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LINE_BYTES = 1 << 15, LOOPBACK_2 = 0x7F000002 };
/* ---- starting ---- */

static const char *words_of(const char *format, va_list args)
{
    static char line[LINE_BYTES];
    int n = vsnprintf(line, sizeof line, format, args);
    if (n < 0 || (size_t)n >= sizeof line)
        abort();
    return line;
}

struct program *command(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    struct program *p = program_from_words(words_of(format, args));
    va_end(args);
    return p;
}

struct program *run(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    struct program *p = program_from_words(words_of(format, args));
    va_end(args);
    program_start(p);
    program_close_input(p);
    return p;
}

struct program *calc(const char *options, const struct endpoint *server, const char *args)
{
    return run("calc %s%s127.0.0.1 %d %s", options, *options != '\0' ? " " : "",
               endpoint_port(server), args);
}

/* ---- its calls ---- */

struct endpoint *our_listener(void)
{
    return net_listen(AF_INET, "our server");
}

struct endpoint *accept_call(struct endpoint *listener, struct wire *call)
{
    struct endpoint *e = net_accept(listener, "calc connects to the port that it was given");
    static const char expected[] = "calc sends its call as one record";
    if (!record_read(e, call, expected))
        test_fail(expected, "the connection ended before a whole record had come");
    return e;
}

struct wire receive_call(struct endpoint *e, int *from, const char *what)
{
    const struct datagram *d = net_receive(e, what);
    *from = d->port;
    return wire_of(d);
}

/* What stands at byte `at` of a call. */
static const char *field(size_t at)
{
    static const char *const names[] = {"the xid",
                                        "the message type (CALL is 0)",
                                        "the RPC version (2)",
                                        "the program (0x20000415)",
                                        "the version (1)",
                                        "the procedure",
                                        "the credentials' flavor (AUTH_NONE is 0)",
                                        "the credentials' length (0)",
                                        "the verifier's flavor (AUTH_NONE is 0)",
                                        "the verifier's length (0)"};
    return at / 4 < sizeof names / sizeof *names ? names[at / 4] : "the arguments";
}

void expect_call(const struct wire *call, struct wire want, const char *what)
{
    size_t same = 4;
    EXPECT(call->len >= 4, text("%s: a call", what), text("%zu bytes", call->len));
    memcpy(want.bytes, call->bytes, 4);
    while (same < call->len && same < want.len && call->bytes[same] == want.bytes[same])
        same++;
    EXPECT(
        same == call->len && same == want.len,
        text("%s: the %zu bytes %s (the xid is free)", what, want.len, hex(want.bytes, want.len)),
        text("%zu bytes, different in %s: %s", call->len, field(same),
             hex(call->bytes, call->len)));
}

static bool socket_has_some(void *context)
{
    struct pollfd fd = {.fd = *(const int *)context, .events = POLLIN};
    return poll(&fd, 1, 0) == 1;
}

int elsewhere_socket(const struct endpoint *e)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)endpoint_port(e)),
                             .sin_addr.s_addr = htonl(LOOPBACK_2)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

struct wire receive_elsewhere(int fd, const char *what)
{
    struct wire w = {.len = 0};
    wait_until(socket_has_some, &fd, what);
    ssize_t len = recv(fd, w.bytes, sizeof w.bytes, MSG_DONTWAIT);
    w.len = len > 0 ? (size_t)len : 0;
    test_note("< a datagram at 127.0.0.2: %s", hex(w.bytes, w.len));
    return w;
}

void send_from(int fd, int port, const struct wire *w)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    test_note("> a datagram to port %d from 127.0.0.2: %s", port, hex(w->bytes, w->len));
    if (sendto(fd, w->bytes, w->len, 0, (struct sockaddr *)&to, sizeof to) != (ssize_t)w->len)
        suite_failed("cannot send a datagram from", "127.0.0.2");
}

/* ---- expectations ---- */

void expect_printed(struct program *p, const char *bytes, const char *why)
{
    size_t kept;
    expect_status(p, 0, why);
    program_wait_output_end(p, 1);
    const char *got = program_output(p, 1, &kept);
    EXPECT(kept == strlen(bytes) && memcmp(got, bytes, kept) == 0,
           text("on stdout: %s: %s", why, quoted(bytes, strlen(bytes), 100)),
           kept == 0 ? "nothing on stdout" : quoted(got, kept, 100));
}

void answer_with_value(struct endpoint *listener, struct program *p, int64_t value,
                       const char *shown)
{
    struct wire call, reply;
    struct endpoint *e = accept_call(listener, &call);
    reply = reply_value(get_u32(call.bytes), value);
    record_send(e, &reply);
    expect_printed(p, shown, "the value of the reply");
}

static void expect_no_print(struct program *p, const char *why)
{
    program_wait_output_end(p, 1);
    size_t kept;
    const char *got = program_output(p, 1, &kept);
    EXPECT(kept == 0, text("nothing on stdout: %s", why), quoted(got, kept, 100));
}

static void expect_a_line(struct program *p, const char *expected)
{
    size_t len;
    program_wait_output_end(p, 2);
    const char *bytes = program_output(p, 2, &len);
    EXPECT(len > 0 && bytes[len - 1] == '\n', expected, errors_shown(p));
}

static bool has_ended(void *context)
{
    return program_has_ended(context);
}

/* wait_for_end() that also shows what has come on stderr, if it goes on instead. */
static int end_of(struct program *p, const char *expected)
{
    if (!wait_until_or_stuck(has_ended, p, expected))
        test_fail(expected, text("it goes on (%s):\n%s", errors_shown(p), describe_waiting()));
    return wait_for_end(p, expected);
}

void expect_failure(struct program *p, const char *why)
{
    end_of(p, text("exit status 1: %s", why));
    expect_status(p, 1, why);
    expect_a_line(p, text("a line on stderr that says what failed and why: %s", why));
    expect_no_print(p, why);
}

void expect_unanswered(struct program *p, const char *why)
{
    expect_status(p, 3, why);
    expect_no_print(p, why);
}

void expect_over(struct program *p, int64_t since_ns, int ms, const char *why)
{
    expect_unanswered(p, why);
    expect_waited(since_ns, ms, why);
}

void expect_timeout(struct program *p, int64_t since_ns, int ms, const char *why)
{
    expect_over(p, since_ns, ms, why);
    harness_count_wait(ms);
}

void expect_usage(const char *words, const char *why)
{
    struct program *p = program_from_words(words);
    const char *shown = strlen(words) > LINE_BYTES / 100 ? text("%.40s ...", words) : words;
    const char *expected =
        text("exit status 2 and a usage line on stderr for '%s': %s", shown, why);
    program_start(p);
    program_close_input(p);
    int got = end_of(p, expected);
    EXPECT(WIFEXITED(got) && WEXITSTATUS(got) == 2, expected,
           text("%s (%s)", status_sentence(got), errors_shown(p)));
    expect_a_line(p, expected);
    expect_no_print(p, expected);
}
