/*
 * mrecv.c - the program `mrecv`: receives messages and prints them. Given and fixed.
 *
 *     mrecv (--box NAME | --from P --to Q) [--count N] [--timeout MS] [-v]
 */
#include "mailbox.h"

struct options {
    struct address address;
    long count; /* of messages to print; -1: no end */
    long timeout_ms;
    bool verbose;
};

/* One line, out at once. Returns false when stdout does not take it. */
static bool print(const struct message *message, unsigned priority, bool verbose)
{
    if (verbose)
        printf("%s %lu %u ", message->from, (unsigned long)message->id, priority);
    fwrite(message->body, 1, message->len, stdout);
    putchar('\n');
    return fflush(stdout) == 0;
}

/* Receives until the count is reached, or one of the ends comes. Returns the exit status. */
static int receive(struct receiver *receiver, const struct options *options, const char *what)
{
    struct message message;
    unsigned priority;

    for (long printed = 0; options->count < 0 || printed < options->count;) {
        enum mail_status status = receiver_next(receiver, &message, &priority);

        if (status == MAIL_STOPPED)
            return 0;
        if (status == MAIL_MALFORMED) {
            fprintf(stderr, "mrecv: %s: a malformed message, dropped\n", what);
            continue;
        }
        if (status != MAIL_OK)
            return mail_complain("mrecv", what, status);
        if (!print(&message, priority, options->verbose)) {
            fprintf(stderr, "mrecv: stdout: %s\n", strerror(errno));
            return 1;
        }
        printed++;
    }
    return 0;
}

/* ---- The command line ---- */

static int usage(void)
{
    fputs("usage: mrecv (--box NAME | --from P --to Q) [--count N] [--timeout MS] [-v]\n", stderr);
    return 2;
}

/* Fills `options`; false for what is no right usage. */
static bool parse(char **argv, struct options *options)
{
    struct address *address = &options->address;

    for (int i = 1; argv[i] != NULL; i++) {
        const char *word = argv[i], *value = argv[i + 1];

        if (strcmp(word, "-v") == 0) {
            options->verbose = true;
            continue;
        }
        if (value == NULL)
            return false;
        i++;
        if (strcmp(word, "--count") == 0 || strcmp(word, "--timeout") == 0) {
            long number = mail_number(value, 0, INT32_MAX);
            if (number < 0)
                return false;
            if (word[2] == 'c')
                options->count = number;
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
        else
            return false;
    }
    if (address->box != NULL)
        return address->from == NULL && address->to == NULL;
    return address->from != NULL && address->to != NULL && strcmp(address->to, "reply") != 0;
}

int main(int argc, char **argv)
{
    struct options options = {.count = -1, .timeout_ms = MAIL_FOR_EVER};
    struct receiver *receiver;
    char what[MAIL_QUEUE_NAME];
    enum mail_status status;
    int result;

    if (argc < 2 || !parse(argv, &options))
        return usage();
    if (options.address.box != NULL)
        snprintf(what, sizeof what, "%s", options.address.box);
    else
        snprintf(what, sizeof what, "%s to %s", options.address.from, options.address.to);

    status = receiver_open(&receiver, &options.address, options.timeout_ms);
    if (status != MAIL_OK)
        return mail_complain("mrecv", what, status);
    result = receive(receiver, &options, what);
    receiver_close(receiver);
    return result;
}
