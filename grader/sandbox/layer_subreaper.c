/*
 * The layer "child subreaper": what a program leaves running becomes a child of the process that
 * prepared the sandbox, where the sweep finds it even without a uid of its own.
 */
#include "sandbox/layers.h"

#include <sys/prctl.h>

static bool probe(struct strbuf *detail)
{
    int value;

    if (prctl(PR_GET_CHILD_SUBREAPER, &value, 0, 0, 0) != 0) {
        strbuf_addstr(detail, "needs Linux 3.4");
        return false;
    }
    strbuf_addstr(detail, "daemons come back to the test, and are counted and killed");
    return true;
}

static int prepare(struct sandbox *s, struct error *err)
{
    (void)s;
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0)
        return error_errno(err, "cannot become a subreaper");
    return 0;
}

const struct layer layer_subreaper = {
    .name = "child subreaper",
    .gives = "daemons that a program leaves behind are found",
    .probe = probe,
    .prepare = prepare,
};
