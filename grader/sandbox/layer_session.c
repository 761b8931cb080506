/*
 * The layer "own session": no terminal, a process group of its own, and death with the process that
 * started it.
 */
#include "sandbox/layers.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

static bool probe(struct strbuf *detail)
{
    strbuf_addstr(detail, "a new session, killed when its parent dies");
    return true;
}

static int enter(const struct sandbox *s)
{
    /* It fails in a group's leader: a caller may have made a session already. */
    if (setsid() == -1 && getsid(0) != getpid())
        return -1;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
        return -1;
    /* A parent that died before that call sends no signal. */
    if (getppid() != s->parent) {
        errno = ESRCH;
        return -1;
    }
    return 0;
}

const struct layer layer_session = {
    .name = "own session",
    .gives = "no terminal of the grader, and no program that outlives its test",
    .probe = probe,
    .enter = enter,
};
