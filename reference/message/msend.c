/*
 * msend.c - the program `msend`: sends each line of its input as a message. Given and fixed.
 *
 *     msend (--box NAME | --from P --to Q) [--as ME] [--priority N] [--sync] [--unbounded]
 *           [--timeout MS]
 */
#include "mailbox.h"

#include <unistd.h>

enum line { LINE, LINE_TOO_LONG, LINE_END, LINE_FAILED, LINE_SENDER_FAILED };

/* What has been read from stdin and not yet been sent. */
struct input {
    size_t start, end; /* bytes[start] to bytes[end - 1] */
    bool ended;
    char bytes[1 << 16];
};

/*
 * The next line of stdin, without its newline: any bytes, NUL too, and the last one may lack its
 * newline. *line points into `input` and is good until the next call. Before each read the sender
 * is asked, so that messages that wait in its memory don't have to wait for input.
 */
static enum line next_line(struct input *input, struct sender *sender, const char **line,
                           size_t *len, enum mail_status *status)
{
    for (;;) {
        char *start = input->bytes + input->start;
        size_t there = input->end - input->start;
        char *newline = memchr(start, '\n', there);
        ssize_t count;

        *line = start;
        *len = newline != NULL ? (size_t)(newline - start) : there;
        if (*len > MAIL_BODY_MAX)
            return LINE_TOO_LONG;
        if (newline != NULL || (input->ended && there > 0)) {
            input->start += *len + (newline != NULL);
            return LINE;
        }
        if (input->ended)
            return LINE_END;
        memmove(input->bytes, start, there);
        input->start = 0;
        input->end = there;
        *status = sender_wait_for_input(sender, STDIN_FILENO);
        if (*status != MAIL_OK)
            return LINE_SENDER_FAILED;
        count = read(STDIN_FILENO, input->bytes + there, sizeof input->bytes - there);
        if (count < 0 && errno != EINTR)
            return LINE_FAILED;
        if (count > 0)
            input->end += (size_t)count;
        input->ended = count == 0;
    }
}

/* Sends all lines. Returns the exit status. */
static int send_lines(struct sender *sender, const char *what)
{
    static struct input input;
    const char *line;
    size_t len;
    enum mail_status status = MAIL_OK;
    int result = 0;

    for (unsigned long number = 1;; number++) {
        enum line got = next_line(&input, sender, &line, &len, &status);

        if (got == LINE_SENDER_FAILED)
            return mail_complain("msend", what, status);
        if (got == LINE_END)
            break;
        if (got == LINE_TOO_LONG || got == LINE_FAILED) {
            if (got == LINE_TOO_LONG)
                fprintf(stderr, "msend: line %lu: longer than %d bytes\n", number, MAIL_BODY_MAX);
            else
                fprintf(stderr, "msend: stdin: %s\n", strerror(errno));
            result = 1;
            break;
        }
        status = sender_send(sender, line, len);
        if (status != MAIL_OK)
            return mail_complain("msend", what, status);
    }
    /* The lines before a bad one are sent too. */
    status = sender_finish(sender);
    return status == MAIL_OK ? result : mail_complain("msend", what, status);
}

/* ---- The command line ---- */

static int usage(void)
{
    fputs("usage: msend (--box NAME | --from P --to Q) [--as ME] [--priority N] [--sync] "
          "[--unbounded] [--timeout MS]\n",
          stderr);
    return 2;
}

/* Fills `address` and `options`; false for what is no right usage. */
static bool parse(char **argv, struct address *address, struct sender_options *options)
{
    for (int i = 1; argv[i] != NULL; i++) {
        const char *word = argv[i], *value = argv[i + 1];

        if (strcmp(word, "--sync") == 0) {
            options->sync = true;
            continue;
        }
        if (strcmp(word, "--unbounded") == 0) {
            options->unbounded = true;
            continue;
        }
        if (value == NULL)
            return false;
        i++;
        if (strcmp(word, "--priority") == 0 || strcmp(word, "--timeout") == 0) {
            bool priority = word[2] == 'p';
            long number = mail_number(value, 0, priority ? MAIL_PRIORITY_MAX : INT32_MAX);
            if (number < 0)
                return false;
            if (priority)
                options->priority = (unsigned)number;
            else
                options->timeout_ms = number;
            continue;
        }
        if (!name_is_right(value))
            return false;
        if (strcmp(word, "--box") == 0)
            address->box = value;
        else if (strcmp(word, "--from") == 0)
            address->from = value;
        else if (strcmp(word, "--to") == 0)
            address->to = value;
        else if (strcmp(word, "--as") == 0)
            options->me = value;
        else
            return false;
    }
    if (options->unbounded && (options->sync || options->timeout_ms != MAIL_FOR_EVER))
        return false;
    if (address->box != NULL)
        return address->from == NULL && address->to == NULL;
    return address->from != NULL && address->to != NULL && options->me == NULL &&
           strcmp(address->to, "reply") != 0;
}

int main(int argc, char **argv)
{
    struct address address = {NULL, NULL, NULL};
    struct sender_options options = {.timeout_ms = MAIL_FOR_EVER};
    struct sender *sender;
    char pid[MAIL_NAME_MAX + 1], what[MAIL_QUEUE_NAME];
    enum mail_status status;
    int result;

    if (argc < 2 || !parse(argv, &address, &options))
        return usage();
    snprintf(pid, sizeof pid, "%ld", (long)getpid());
    if (address.box == NULL)
        options.me = address.from;
    else if (options.me == NULL)
        options.me = pid;
    if (address.box != NULL)
        snprintf(what, sizeof what, "%s", address.box);
    else
        snprintf(what, sizeof what, "%s to %s", address.from, address.to);

    status = sender_open(&sender, &address, &options);
    if (status != MAIL_OK)
        return mail_complain("msend", what, status);
    result = send_lines(sender, what);
    sender_close(sender);
    return result;
}
