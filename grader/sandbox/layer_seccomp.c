/*
 * The layer "seccomp": system calls that no lab needs are refused, and those that this lab excludes
 * (filter.c). The program is compiled once by the engine; a child only loads it, by seccomp(2)
 * itself, and sends the listener for notifications to whoever answers them (notify.c).
 */
#include "sandbox/layers.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/filter.h"
#include "support/files.h"
#include "support/memory.h"

static bool can(uint32_t action)
{
    return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

static bool probe(struct strbuf *detail)
{
    if (!can(SECCOMP_RET_ERRNO)) {
        strbuf_addstr(detail, "needs Linux 4.14 with CONFIG_SECCOMP_FILTER");
        return false;
    }
    strbuf_addstr(
        detail,
        can(SECCOMP_RET_USER_NOTIF)
            ? "system calls by lab, excluded ones are told"
            : "system calls by lab (told to the student from Linux 5.0, shm_open from 5.5)");
    return true;
}

int sandbox_compile_filter(const struct policy *p, const char *path, struct error *err)
{
    struct strbuf program = STRBUF_INIT;
    int result = filter_compile(p->excludes, &program, err);

    if (result == 0)
        result = file_write_whole(path, 0644, program.text, program.len, err);
    strbuf_release(&program);
    return result;
}

static int prepare(struct sandbox *s, struct error *err)
{
    struct strbuf program = STRBUF_INIT;
    size_t max = FILTER_MAX * sizeof(struct sock_filter);
    int result = s->policy->filter != NULL ? file_read(s->policy->filter, max, &program, err)
                                           : filter_compile(s->policy->excludes, &program, err);

    if (result == 0 && (program.len == 0 || program.len % sizeof(struct sock_filter) != 0))
        result = error_set(err, FAULT_GRADER, "the seccomp program is cut off");
    if (result == 0) {
        s->filter_count = program.len / sizeof(struct sock_filter);
        s->filter = xmalloc(2 * program.len);
        memcpy(s->filter, program.text, program.len);
        memcpy((char *)s->filter + program.len, program.text, program.len);
        filter_quiet((struct sock_filter *)s->filter + s->filter_count, s->filter_count);
    }
    strbuf_release(&program);
    return result;
}

static int load(const struct sandbox *s, size_t first, unsigned flags)
{
    struct sock_fprog program = {.len = (unsigned short)s->filter_count,
                                 .filter = (struct sock_filter *)s->filter + first};

    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

static int send_listener(int socket, int listener)
{
    char byte = 'L';
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {.bytes = {0}};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);

    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &listener, sizeof(int));
    return sendmsg(socket, &message, MSG_NOSIGNAL) == 1 ? 0 : -1;
}

static int enter(const struct sandbox *s)
{
    int listener, result;

    if (s->notify_socket == -1)
        return load(s, s->filter_count, 0);
    /* A signal does not interrupt a call that is being looked at: so an open(2) that goes on has no
     * EINTR that it had not without us. */
    listener =
        load(s, 0, SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
    if (listener == -1 && errno == EINVAL) /* before Linux 5.19 */
        listener = load(s, 0, SECCOMP_FILTER_FLAG_NEW_LISTENER);
    /* Before Linux 5.0, and where a container has a listener of its own already. */
    if (listener == -1 && (errno == EINVAL || errno == EBUSY)) {
        result = load(s, s->filter_count, 0);
    } else if (listener != -1) {
        result = send_listener(s->notify_socket, listener);
        close(listener);
    } else {
        result = -1;
    }
    close(s->notify_socket);
    return result;
}

static void release(struct sandbox *s)
{
    free(s->filter);
    s->filter = NULL;
    s->filter_count = 0;
}

const struct layer layer_seccomp = {
    .name = "seccomp",
    .gives =
        "no ptrace, mounts, namespaces, bpf, keyring, io_uring; sockets, queues, System V by lab",
    .probe = probe,
    .prepare = prepare,
    .enter = enter,
    .release = release,
};
