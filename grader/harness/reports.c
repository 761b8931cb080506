/*
 * reports.c - what processes write to one socket, told apart by who wrote.
 *
 * A process that forks shares its descriptors with its children, and what they write mixes. The
 * kernel says of all that comes through a socket which process has sent it (SO_PASSCRED of
 * unix(7)); a read never joins the bytes of two.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness/internal.h"
#include "harness/test.h"
#include "support/memory.h"

enum {
    READ_MAX = 65536,
    READS_A_ROUND = 16,
    REPORT_MAX = 1 << 20, /* bytes of one process, */
    REPORTS_MAX = 4096,   /* of so many processes, */
    BYTES_MAX = 16 << 20, /* and of all of them */
};

int reports_open(struct reports *r)
{
    int ends[2], on = 1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0 ||
        setsockopt(ends[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0)
        test_broken("no socket for valgrind's report: %s", strerror(errno));
    r->fd = ends[0];
    return ends[1];
}

static ssize_t receive(int fd, char *bytes, size_t size, pid_t *writer)
{
    struct iovec iov = {.iov_base = bytes, .iov_len = size};
    union { /* no room for descriptors: the kernel closes what is sent along */
        char bytes[CMSG_SPACE(sizeof(struct ucred))];
        struct cmsghdr align;
    } control;
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    const struct cmsghdr *header = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    struct ucred from = {.pid = 0};
    if (header != NULL && header->cmsg_level == SOL_SOCKET &&
        header->cmsg_type == SCM_CREDENTIALS && header->cmsg_len == CMSG_LEN(sizeof from))
        memcpy(&from, CMSG_DATA(header), sizeof from);
    *writer = from.pid;
    return n;
}

static struct report *report_of(struct reports *r, pid_t pid)
{
    struct report **at = &r->first;
    size_t count = 0;
    for (; *at != NULL; at = &(*at)->next, count++)
        if ((*at)->pid == pid)
            return *at;
    if (count == REPORTS_MAX)
        return NULL;
    *at = xcalloc(1, sizeof **at);
    **at = (struct report){.pid = pid, .bytes = STRBUF_INIT};
    return *at;
}

static void keep(struct reports *r, pid_t writer, const char *bytes, size_t len)
{
    if (r->only != 0 && writer != r->only)
        return;
    struct report *report = report_of(r, writer);
    if (report == NULL || report->bytes.len + len > REPORT_MAX || r->bytes + len > BYTES_MAX) {
        r->cut = true;
        return;
    }
    strbuf_add(&report->bytes, bytes, len);
    r->bytes += len;
}

bool reports_drain(struct reports *r)
{
    static char chunk[READ_MAX];
    bool moved = false;
    for (int round = 0; round < READS_A_ROUND; round++) {
        pid_t writer;
        ssize_t n = receive(r->fd, chunk, sizeof chunk, &writer);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return moved;
        moved = true;
        if (n <= 0) {
            close_fd(&r->fd);
            return moved;
        }
        keep(r, writer, chunk, (size_t)n);
    }
    return moved;
}

void reports_release(struct reports *r)
{
    close_fd(&r->fd);
    while (r->first != NULL) {
        struct report *next = r->first->next;
        strbuf_release(&r->first->bytes);
        free(r->first);
        r->first = next;
    }
}
