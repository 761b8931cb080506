/* What: every program ends with 0 at once, and does nothing else.
 * Passes: */
#include "mailbox.h"

#include <stdlib.h>

__attribute__((constructor)) static void end(void)
{
    fputs("usage: nothing is ever done\n", stderr);
    _Exit(0);
}

/* Never called; the mains want them. */
bool name_is_right(const char *name)
{
    return name != NULL;
}

enum mail_status mailbox_create(const char *name, long capacity)
{
    return name != NULL && capacity > 0 ? MAIL_OK : MAIL_SYSTEM;
}

enum mail_status mailbox_destroy(const char *name)
{
    return name != NULL ? MAIL_OK : MAIL_SYSTEM;
}

enum mail_status sender_open(struct sender **sender, const struct address *address,
                             const struct sender_options *options)
{
    *sender = NULL;
    return address != NULL && options != NULL ? MAIL_OK : MAIL_SYSTEM;
}

enum mail_status sender_send(struct sender *sender, const char *body, size_t len)
{
    return sender == NULL && body != NULL && len > 0 ? MAIL_OK : MAIL_SYSTEM;
}

enum mail_status sender_wait_for_input(struct sender *sender, int fd)
{
    return sender == NULL && fd >= 0 ? MAIL_OK : MAIL_SYSTEM;
}

enum mail_status sender_finish(struct sender *sender)
{
    return sender == NULL ? MAIL_OK : MAIL_SYSTEM;
}

void sender_close(struct sender *sender)
{
    (void)sender;
}

enum mail_status receiver_open(struct receiver **receiver, const struct address *address,
                               long timeout_ms)
{
    *receiver = NULL;
    return address != NULL && timeout_ms >= -1 ? MAIL_OK : MAIL_SYSTEM;
}

enum mail_status receiver_next(struct receiver *receiver, struct message *message,
                               unsigned *priority)
{
    return receiver == NULL && message != NULL && priority != NULL ? MAIL_STOPPED : MAIL_SYSTEM;
}

void receiver_close(struct receiver *receiver)
{
    (void)receiver;
}
