/*
 * The layer "no_new_privs": exec never gives more rights (setuid programs, file capabilities). The
 * two filters need it where we are not root.
 */
#include "sandbox/layers.h"

#include <sys/prctl.h>

static bool probe(struct strbuf *detail)
{
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) < 0) {
        strbuf_addstr(detail, "needs Linux 3.5");
        return false;
    }
    strbuf_addstr(detail, "setuid programs run without their rights");
    return true;
}

static int enter(const struct sandbox *s)
{
    (void)s;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

const struct layer layer_no_new_privs = {
    .name = "no_new_privs",
    .gives = "no rights gained by setuid programs",
    .probe = probe,
    .enter = enter,
};
