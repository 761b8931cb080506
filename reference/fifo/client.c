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
#ifndef STARTER
    struct timespec deadline; /* of the latest request, on CLOCK_MONOTONIC */
    size_t start, end;        /* bytes[start] to bytes[end - 1] were read and not yet looked at */
    size_t len;               /* of the line that is coming in: line[0] to line[len - 1] */
    char bytes[PROTO_LINE_MAX], line[PROTO_LINE_MAX];
#endif
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
#ifdef STARTER
    /* Your code goes here. */
    client->requests = -1;
    fail(client->dir, "not written yet");
    return PROTO_FAILED;
#else
    char path[PATH_MAX];
    struct stat opened;
    int fd;

    if (!proto_requests_path(path, client->dir)) {
        fail(client->dir, strerror(ENAMETOOLONG));
        return PROTO_FAILED;
    }
    fd = open(path, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno != ENXIO && errno != ENOENT && errno != ENOTDIR && errno != ELOOP &&
        errno != EISDIR) {
        fail(path, strerror(errno));
        return PROTO_FAILED;
    }
    if (fd >= 0 && (fstat(fd, &opened) < 0 || !S_ISFIFO(opened.st_mode))) {
        close(fd);
        fd = -1;
    }
    if (fd < 0) {
        fail(client->dir, "there is no server");
        return PROTO_NO_ANSWER;
    }
    client->requests = fd;
    return PROTO_DONE;
#endif
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
#ifdef STARTER
    /* Your code goes here. */
    client->replies = -1;
    fail(client->dir, "not written yet");
    return PROTO_FAILED;
#else
    if (unlink(client->reply_path) < 0 && errno != ENOENT) {
        fail(client->reply_path, strerror(errno));
        return PROTO_FAILED;
    }
    umask(~PROTO_MODE & 0777); /* whatever our caller's takes away, the mode is 0600 */
    if (mkfifo(client->reply_path, PROTO_MODE) < 0) {
        fail(client->reply_path, strerror(errno));
        return PROTO_FAILED;
    }
    /* For reading and writing (Linux allows it, fifo(7)): so there is always a writer. */
    client->replies = open(client->reply_path, O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (client->replies < 0) {
        fail(client->reply_path, strerror(errno));
        unlink(client->reply_path);
        return PROTO_FAILED;
    }
    return PROTO_DONE;
#endif
}

/* Closes what was opened, and removes our FIFO if we have made it. */
void client_close(struct client *client)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)client;
#else
    if (client->replies >= 0) {
        unlink(client->reply_path);
        close(client->replies);
    }
    if (client->requests >= 0)
        close(client->requests);
#endif
}
#ifndef STARTER

/* ---- time ---- */

/* The moment `ms` milliseconds from now. */
static struct timespec deadline_in(int ms)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += ms % 1000 * 1000000L;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

/* Milliseconds to that moment, rounded up, so that nobody stops too early. 0: it is over. */
static int ms_until(const struct timespec *moment)
{
    struct timespec now;
    long long ns;

    clock_gettime(CLOCK_MONOTONIC, &now);
    ns = (moment->tv_sec - now.tv_sec) * 1000000000LL + (moment->tv_nsec - now.tv_nsec);
    return ns <= 0 ? 0 : (int)((ns + 999999) / 1000000);
}

static enum answer no_answer(const struct client *client, const char *why)
{
    fail(client->dir, why);
    return ANSWER_NONE;
}
#endif

/*
 * Writes the request, `len` bytes with its newline, in one write(). While the FIFO is full it waits
 * for room, as long as the request's time allows. ANSWER_OK: it is on its way. ANSWER_NONE after a
 * message: the time is over, or the server has gone.
 */
enum answer request_send(struct client *client, const char *request, size_t len)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)client, (void)request, (void)len;
    return ANSWER_FAILED;
#else
    struct pollfd room = {.fd = client->requests, .events = POLLOUT};

    /* At most PIPE_BUF bytes go in as a whole or not at all. */
    while (write(client->requests, request, len) < 0) {
        int left = ms_until(&client->deadline);

        if (errno == EPIPE)
            return no_answer(client, "the server has gone");
        if (errno != EAGAIN && errno != EINTR) {
            fail(client->dir, strerror(errno));
            return ANSWER_FAILED;
        }
        if (left == 0)
            return no_answer(client, "the server does not take the request");
        poll(&room, 1, left); /* also ends when the last reader has gone: POLLERR */
    }
    return ANSWER_OK;
#endif
}
#ifndef STARTER

/* ---- replies ---- */

/*
 * Takes the next line out of what has been read, into client->line, without its newline. False:
 * more has to be read.
 */
static bool next_line(struct client *client)
{
    while (client->start < client->end) {
        char byte = client->bytes[client->start++];

        if (byte == '\n')
            return true;
        if (client->len < PROTO_LINE_MAX) /* as full as this, it is too long, and no reply */
            client->line[client->len++] = byte;
    }
    return false;
}

/* If `bytes` begins with the field `word`, returns where the next one begins, else NULL. */
static const char *after_word(const char *bytes, const char *end, const char *word)
{
    size_t len = strlen(word);

    if ((size_t)(end - bytes) < len || memcmp(bytes, word, len) != 0)
        return NULL;
    bytes += len;
    if (bytes == end)
        return bytes;
    return *bytes == ' ' ? bytes + 1 : NULL;
}

/*
 * If client->line is the reply to the latest request, prints it: the text on stdout, the reason of
 * an ERR on stderr. False: it is somebody else's, or of another request, or no reply at all.
 */
static bool print_reply(const struct client *client, enum answer *answer)
{
    const char *end = client->line + client->len, *status, *text, *why;
    char id[32];

    snprintf(id, sizeof id, "%llu", client->id);
    status = after_word(client->line, end, id);
    if (status == NULL)
        return false;
    text = after_word(status, end, "OK");
    why = after_word(status, end, "ERR");
    if (text != NULL) {
        *answer = ANSWER_OK;
        fwrite(text, 1, (size_t)(end - text), stdout);
        putchar('\n');
        if (fflush(stdout) != 0 || ferror(stdout)) {
            fail("stdout", strerror(errno));
            *answer = ANSWER_FAILED;
        }
    } else if (why != NULL) {
        *answer = ANSWER_ERR;
        fprintf(stderr, "client: %.*s\n", (int)(end - why), why);
    }
    return text != NULL || why != NULL;
}

/*
 * Looks at the lines that are complete, those that were left from the last time before those that
 * one more read() gives. True: ours was among them.
 */
static bool read_replies(struct client *client, enum answer *answer)
{
    if (client->start == client->end) {
        ssize_t count = read(client->replies, client->bytes, sizeof client->bytes);

        client->start = 0;
        client->end = count > 0 ? (size_t)count : 0;
    }
    while (next_line(client)) {
        bool ours = client->len < PROTO_LINE_MAX && print_reply(client, answer);

        client->len = 0;
        if (ours)
            return true;
    }
    return false;
}
#endif

/*
 * Waits until the reply to the latest request has come, and prints it: of "ID OK [TEXT]" the text
 * and a newline on stdout, flushed; of "ID ERR why" the reason on stderr. Replies with another ID
 * are ignored, and make the time no longer. ANSWER_NONE after a message: the time is over, or the
 * server has gone (which may be noticed at once, or when the time is over).
 */
enum answer reply_wait(struct client *client)
{
#ifdef STARTER
    /* Your code goes here. */
    (void)client;
    return ANSWER_FAILED;
#else
    /* No event is asked of the server's FIFO, but POLLERR always comes: nobody reads it. */
    struct pollfd either[] = {{.fd = client->replies, .events = POLLIN},
                              {.fd = client->requests, .events = 0}};
    enum answer answer;

    for (;;) {
        int left = ms_until(&client->deadline);

        either[0].revents = either[1].revents = 0; /* poll() may fail: EINTR */
        poll(either, 2, left);
        /* Reading comes first: a server may answer and then go. */
        if (read_replies(client, &answer))
            return answer;
        if (either[0].revents == 0 && either[1].revents != 0)
            return no_answer(client, "the server has gone");
        if (left == 0)
            return no_answer(client, "no answer in time");
    }
#endif
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
#ifdef STARTER
    /* Your code goes here: make the line, then request_send(), then reply_wait(). */
    (void)client, (void)words, (void)len;
    fail(what, "not written yet");
    return ANSWER_FAILED;
#else
    char request[PROTO_LINE_MAX];
    enum answer answer;
    size_t head;

    if (memchr(words, '\n', len) != NULL) {
        fail(what, "has a newline in it");
        return ANSWER_FAILED;
    }
    client->id++;
    head = (size_t)snprintf(request, sizeof request, "%s %llu ", client->pid, client->id);
    if (len > sizeof request - head - 1) {
        fail(what, "the request would be longer than a pipe takes at once");
        return ANSWER_FAILED;
    }
    memcpy(request + head, words, len);
    request[head + len] = '\n';
    client->deadline = deadline_in(client->timeout_ms);
    answer = request_send(client, request, head + len + 1);
    return answer == ANSWER_OK ? reply_wait(client) : answer;
#endif
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
#ifdef STARTER
    /* Your code goes here. */
    (void)client;
    fail("stdin", "not written yet");
    return PROTO_FAILED;
#else
    int status = PROTO_DONE;
    bool go_on = true;
    char *line = NULL, what[32];
    size_t room = 0;
    ssize_t len;

    for (int number = 1; go_on && (len = getline(&line, &room, stdin)) >= 0; number++) {
        enum answer answer = ANSWER_FAILED;

        if (len > 0 && line[len - 1] == '\n')
            len--;
        snprintf(what, sizeof what, "line %d", number);
        if (memchr(line, '\0', (size_t)len) != NULL)
            fail(what, "has a NUL in it");
        else
            answer = ask(client, what, line, (size_t)len);
        if (answer != ANSWER_OK)
            status = answer == ANSWER_NONE ? PROTO_NO_ANSWER : PROTO_FAILED;
        go_on = answer == ANSWER_OK || answer == ANSWER_ERR;
    }
    if (go_on && ferror(stdin)) {
        fail("stdin", strerror(errno));
        status = PROTO_FAILED;
    }
    free(line);
    return status;
#endif
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
