/*
 * mbox.c - the program `mbox`: makes and removes mailboxes. Given and fixed.
 *
 *     mbox create NAME CAPACITY
 *     mbox destroy NAME
 */
#include "mailbox.h"

static int usage(void)
{
    fputs("usage: mbox create NAME CAPACITY\n"
          "       mbox destroy NAME\n",
          stderr);
    return 2;
}

int main(int argc, char **argv)
{
    enum mail_status status;

    if (argc < 3 || !name_is_right(argv[2]))
        return usage();
    if (strcmp(argv[1], "create") == 0 && argc == 4) {
        long capacity = mail_number(argv[3], 1, INT32_MAX);
        if (capacity < 0)
            return usage();
        status = mailbox_create(argv[2], capacity);
    } else if (strcmp(argv[1], "destroy") == 0 && argc == 3) {
        status = mailbox_destroy(argv[2]);
    } else {
        return usage();
    }
    return status == MAIL_OK ? 0 : mail_complain("mbox", argv[2], status);
}
