/*
 * client.c - asks the server of a directory, through named pipes.
 *
 *     client [-t MS] DIR OP [TEXT]      one request
 *     client [-t MS] DIR -              one for each line of stdin, "OP [TEXT]"
 *
 * What it teaches: the other side of the service. A client has to find the server by a name, must
 * be ready for the answer before it asks, and must know its own answer when it sees it. And it must
 * never wait for ever: there may be no server, or a busy one, or one that dies in between.
 */
#define _GNU_SOURCE
#include "proto.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* What the client remembers. Add what you need. */
struct client {
    const char *dir;
    int timeout_ms;
    char pid[16];              /* our process id, in digits */
    char reply_path[PATH_MAX]; /* DIR/reply.PID */
    int requests;              /* the server's FIFO, -1: not open */
    int replies;               /* ours, -1: not open, and not there */
    unsigned long long id;     /* of the latest request; the first one's is 1 */
};

/* What became of a request. */
enum answer {
    ANSWER_OK,     /* its text has been printed */
    ANSWER_ERR,    /* the server's reason has been printed on stderr */
    ANSWER_NONE,   /* there is no server any more, or no answer in time */
    ANSWER_FAILED, /* it could not be asked, or the text could not be printed */
};

/* The functions of this file, as they stand below, each under its contract. */
int requests_open(struct client *client);
int replies_open(struct client *client);
void client_close(struct client *client);
enum answer request_send(struct client *client, const char *request, size_t len);
enum answer reply_wait(struct client *client);
enum answer ask(struct client *client, const char *what, const char *words, size_t len);
int ask_lines(struct client *client);
void fail(const char *what, const char *why);

/* ---- Step 3: the client, and step 7: never for ever ---- */

/*
 * Opens DIR/requests for writing, without waiting, as client->requests. Returns PROTO_DONE, or
 * after a message PROTO_NO_ANSWER when there is no server: nothing at that path, or something that
 * is no FIFO (a symbolic link is none), or a FIFO that nobody reads; PROTO_FAILED for anything
 * else.
 */
int requests_open(struct client *client)
{
    /* Your code goes here. */
    client->requests = -1;
    fail(client->dir, "not written yet");
    return PROTO_FAILED;
}

/*
 * Makes our own FIFO, client->reply_path, mode 0600, in place of an old one that a process of our
 * number may have left, and opens it for reading as client->replies, so that
 *   - opening it does not wait for the server;
 *   - it does not end each time that the server has closed it.
 * Returns PROTO_DONE, or PROTO_FAILED after a message; then no new name is left.
 */
int replies_open(struct client *client)
{
    /* Your code goes here. */
    client->replies = -1;
    fail(client->dir, "not written yet");
    return PROTO_FAILED;
}

/* Closes what was opened, and removes our FIFO if we have made it. */
void client_close(struct client *client)
{
    /* Your code goes here. */
    (void)client;
}

/*
 * Writes the request, `len` bytes with its newline, in one write(). While the FIFO is full it waits
 * for room, as long as the request's time allows. ANSWER_OK: it is on its way. ANSWER_NONE after a
 * message: the time is over, or the server has gone.
 */
enum answer request_send(struct client *client, const char *request, size_t len)
{
    /* Your code goes here. */
    (void)client, (void)request, (void)len;
    return ANSWER_FAILED;
}

/*
 * Waits until the reply to the latest request has come, and prints it: of "ID OK [TEXT]" the text
 * and a newline on stdout, flushed; of "ID ERR why" the reason on stderr. Replies with another ID
 * are ignored, and make the time no longer. ANSWER_NONE after a message: the time is over, or the
 * server has gone (which may be noticed at once, or when the time is over).
 */
enum answer reply_wait(struct client *client)
{
    /* Your code goes here. */
    (void)client;
    return ANSWER_FAILED;
}

/*
 * One request from beginning to end: `words` are its `len` bytes behind the ID, "OP" or "OP TEXT",
 * without the newline. Gives it the next ID, sends it, waits for the reply and prints that. The
 * time, client->timeout_ms for both together, begins here. ANSWER_FAILED after a message about
 * `what`: there is a newline in `words`, which would begin another request, or the request would
 * have more than PROTO_LINE_MAX bytes. Nothing was sent then.
 */
enum answer ask(struct client *client, const char *what, const char *words, size_t len)
{
    /* Your code goes here: make the line, then request_send(), then reply_wait(). */
    (void)client, (void)words, (void)len;
    fail(what, "not written yet");
    return ANSWER_FAILED;
}

/* ---- Step 8: requests from a stream ---- */

/*
 * Asks each line of stdin, one after the other: any bytes but newline, the last one may lack its
 * newline, an empty one counts. A line with a NUL in it, or too long for a request, is an error
 * that says "line N". Returns PROTO_DONE, or PROTO_FAILED if a reply was ERR; at the first line
 * that gets no answer PROTO_NO_ANSWER, and at the first that could not be asked or printed
 * PROTO_FAILED: no more is asked then.
 */
int ask_lines(struct client *client)
{
    /* Your code goes here. */
    (void)client;
    fail("stdin", "not written yet");
    return PROTO_FAILED;
}

/* ---- Given: messages and the command line ---- */

/* Says on stderr what failed, and why. */
void fail(const char *what, const char *why)
{
    fprintf(stderr, "client: %s: %s\n", what, why);
}

static int usage(void)
{
    fputs("usage: client [-t MS] DIR OP [TEXT]\n"
          "       client [-t MS] DIR -\n",
          stderr);
    return PROTO_USAGE;
}

/* One request, from the words of the command line. */
static int ask_once(struct client *client, const char *op, const char *text)
{
    size_t len = strlen(op) + 1 + strlen(text);
    char *words = malloc(len + 1);
    enum answer answer;

    if (words == NULL) {
        fail("memory", strerror(errno));
        return PROTO_FAILED;
    }
    snprintf(words, len + 1, "%s %s", op, text);
    answer = ask(client, "the request", words, *text == '\0' ? len - 1 : len);
    free(words);
    if (answer == ANSWER_OK)
        return PROTO_DONE;
    return answer == ANSWER_NONE ? PROTO_NO_ANSWER : PROTO_FAILED;
}

int main(int argc, char **argv)
{
    static struct client client = {.timeout_ms = PROTO_TIMEOUT_MS, .requests = -1, .replies = -1};
    int option, status;
    const char *op, *text;

    while ((option = getopt(argc, argv, "+t:")) != -1) {
        client.timeout_ms = option == 't' ? proto_number(optarg) : -1;
        if (client.timeout_ms < 0)
            return usage();
    }
    if (argc - optind < 2 || argc - optind > 3 || argv[optind][0] == '\0')
        return usage();
    client.dir = argv[optind];
    op = argv[optind + 1];
    text = argc - optind == 3 ? argv[optind + 2] : "";
    if (strcmp(op, "-") == 0 && argc - optind == 3)
        return usage();
    snprintf(client.pid, sizeof client.pid, "%ld", (long)getpid());
    if (!proto_reply_path(client.reply_path, client.dir, client.pid)) {
        fail(client.dir, strerror(ENAMETOOLONG));
        return PROTO_FAILED;
    }
    signal(SIGPIPE, SIG_IGN); /* a write() to a server that has gone fails, and does not kill us */
    status = requests_open(&client);
    if (status == PROTO_DONE)
        status = replies_open(&client);
    if (status == PROTO_DONE)
        status = strcmp(op, "-") == 0 ? ask_lines(&client) : ask_once(&client, op, text);
    client_close(&client);
    return status;
}
