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
    long long deadline;
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

static long long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- Step 3: the client, and step 7: never for ever ---- */

/*
 * Opens DIR/requests for writing, without waiting, as client->requests. Returns PROTO_DONE, or
 * after a message PROTO_NO_ANSWER when there is no server: nothing at that path, or something that
 * is no FIFO (a symbolic link is none), or a FIFO that nobody reads; PROTO_FAILED for anything
 * else.
 */
int requests_open(struct client *client)
{
    char path[PATH_MAX];
    struct stat st;

    if (!proto_requests_path(path, client->dir) || lstat(path, &st) == -1 ||
        !S_ISFIFO(st.st_mode)) {
        fail(client->dir, "no server");
        return PROTO_NO_ANSWER;
    }
    client->requests = open(path, O_WRONLY | O_NONBLOCK);
    if (client->requests == -1) {
        fail(path, strerror(errno));
        return errno == ENXIO ? PROTO_NO_ANSWER : PROTO_FAILED;
    }
    return PROTO_DONE;
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
    unlink(client->reply_path);
    if (mkfifo(client->reply_path, PROTO_MODE) == -1) {
        fail(client->reply_path, strerror(errno));
        return PROTO_FAILED;
    }
    chmod(client->reply_path, PROTO_MODE);
    client->replies = open(client->reply_path, O_RDWR | O_NONBLOCK);
    if (client->replies == -1) {
        fail(client->reply_path, strerror(errno));
        unlink(client->reply_path);
        return PROTO_FAILED;
    }
    return PROTO_DONE;
}

/* Closes what was opened, and removes our FIFO if we have made it. */
void client_close(struct client *client)
{
    if (client->requests != -1)
        close(client->requests);
    if (client->replies != -1) {
        close(client->replies);
        unlink(client->reply_path);
    }
}

/*
 * Writes the request, `len` bytes with its newline, in one write(). While the FIFO is full it waits
 * for room, as long as the request's time allows. ANSWER_OK: it is on its way. ANSWER_NONE after a
 * message: the time is over, or the server has gone.
 */
enum answer request_send(struct client *client, const char *request, size_t len)
{
    while (write(client->requests, request, len) == -1) {
        struct pollfd p = {.fd = client->requests, .events = POLLOUT};
        long long left = client->deadline - now_ms();

        if (errno != EAGAIN) {
            fail(client->dir, strerror(errno));
            return ANSWER_NONE;
        }
        if (left <= 0) {
            fail(client->dir, "timeout");
            return ANSWER_NONE;
        }
        poll(&p, 1, (int)left);
    }
    return ANSWER_OK;
}

/*
 * Waits until the reply to the latest request has come, and prints it: of "ID OK [TEXT]" the text
 * and a newline on stdout, flushed; of "ID ERR why" the reason on stderr. Replies with another ID
 * are ignored, and make the time no longer. ANSWER_NONE after a message: the time is over, or the
 * server has gone (which may be noticed at once, or when the time is over).
 */
enum answer reply_wait(struct client *client)
{
    char line[PROTO_LINE_MAX], prefix[32];
    size_t n = 0, prefix_len;
    char c;

    sprintf(prefix, "%llu ", client->id);
    prefix_len = strlen(prefix);
    for (;;) {
        struct pollfd p = {.fd = client->replies, .events = POLLIN};
        long long left = client->deadline - now_ms();

        if (left < 0)
            left = 0;
        if (read(client->replies, &c, 1) != 1) {
            if (left == 0) {
                fail(client->dir, "timeout");
                return ANSWER_NONE;
            }
            poll(&p, 1, (int)left);
            continue;
        }
        if (c != '\n') {
            if (n < sizeof line)
                line[n++] = c;
            continue;
        }
        if (n >= prefix_len + 2 && memcmp(line, prefix, prefix_len) == 0) {
            if (memcmp(line + prefix_len, "OK", 2) == 0) {
                if (n > prefix_len + 3)
                    fwrite(line + prefix_len + 3, 1, n - prefix_len - 3, stdout);
                printf("\n");
                if (fflush(stdout) != 0) {
                    fail("stdout", strerror(errno));
                    return ANSWER_FAILED;
                }
                return ANSWER_OK;
            }
            fprintf(stderr, "client: %.*s\n", (int)(n - prefix_len), line + prefix_len);
            return ANSWER_ERR;
        }
        n = 0;
        if (left == 0) {
            fail(client->dir, "timeout");
            return ANSWER_NONE;
        }
    }
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
    char line[PROTO_LINE_MAX];
    size_t n;
    enum answer a;

    client->id++;
    n = (size_t)sprintf(line, "%s %llu ", client->pid, client->id);
    for (size_t i = 0; i < len; i++) {
        if (words[i] == '\n' || n == PROTO_LINE_MAX - 1) {
            fail(what, words[i] == '\n' ? "newline" : "too long");
            return ANSWER_FAILED;
        }
        line[n++] = words[i];
    }
    line[n++] = '\n';
    client->deadline = now_ms() + client->timeout_ms + (client->timeout_ms > 0);
    a = request_send(client, line, n);
    if (a == ANSWER_OK)
        a = reply_wait(client);
    return a;
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
    char *line = NULL, what[50];
    size_t size = 0;
    ssize_t n;
    int number = 0, status = PROTO_DONE;

    while ((n = getline(&line, &size, stdin)) != -1) {
        enum answer a;

        number++;
        sprintf(what, "line %d", number);
        if (line[n - 1] == '\n')
            n--;
        if (memchr(line, '\0', (size_t)n) != NULL) {
            fail(what, "NUL");
            a = ANSWER_FAILED;
        } else {
            a = ask(client, what, line, (size_t)n);
        }
        if (a == ANSWER_ERR || a == ANSWER_FAILED)
            status = PROTO_FAILED;
        if (a == ANSWER_NONE)
            status = PROTO_NO_ANSWER;
        if (a == ANSWER_NONE || a == ANSWER_FAILED)
            break;
    }
    free(line);
    return status;
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
