/* The answering side of seccomp's notifications: outside of the sandbox. */
#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/exclusion.h"
#include "support/fsids.h"
#include "support/memory.h"

int sandbox_receive_listener(int socket)
{
    char byte;
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    const struct cmsghdr *header;
    int listener = -1;
    ssize_t len;

    do {
        len = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (len == -1 && errno == EINTR);
    if (len == -1)
        return -1;
    header = CMSG_FIRSTHDR(&message);
    if (message.msg_flags & MSG_CTRUNC) /* there was one, and no room for it */
        errno = EMFILE;
    else if (len == 1 && header != NULL && header->cmsg_level == SOL_SOCKET &&
             header->cmsg_type == SCM_RIGHTS && header->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(&listener, CMSG_DATA(header), sizeof(int));
    else
        errno = EPIPE;
    return listener;
}

static const char *family_name(uint64_t family)
{
    switch ((int)family) {
    case AF_UNIX:
        return "AF_UNIX";
    case AF_INET:
        return "AF_INET";
    case AF_INET6:
        return "AF_INET6";
    case AF_NETLINK:
        return "AF_NETLINK";
    case AF_PACKET:
        return "AF_PACKET";
    default:
        return NULL;
    }
}

/*
 * What the C library tries by itself: nscd's client (for getpwnam, and so for `id` or `ls -l`), and
 * the kernel's list of addresses (for getaddrinfo). A student did not write these.
 */
static bool is_of_the_library(const struct seccomp_data *data)
{
    if (data->nr != SYS_socket)
        return false;
    return ((int)data->args[0] == AF_UNIX &&
            (int)data->args[1] == (SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK)) ||
           ((int)data->args[0] == AF_NETLINK && (int)data->args[1] == (SOCK_RAW | SOCK_CLOEXEC));
}

/* Of a call that the filter excludes by its number and arguments. */
static void describe(struct refused_call *call, const struct seccomp_data *data)
{
    *call = (struct refused_call){.error = EPERM};
    for (size_t i = 0; i < excluded_call_count; i++) {
        const struct excluded_call *e = &excluded_calls[i];
        if (e->number != data->nr)
            continue;
        const char *known = e->family ? family_name(data->args[0]) : NULL;
        call->rule = e->exclusion;
        call->error = e->error;
        if (known != NULL)
            snprintf(call->call, sizeof(call->call), "%s(%s)", e->shown, known);
        else if (e->family)
            snprintf(call->call, sizeof(call->call), "%s(%d)", e->shown, (int)data->args[0]);
        else
            snprintf(call->call, sizeof(call->call), "%s", e->shown);
    }
}

/* ---- calls whose path tells ---- */

/* The beginning of the path that a call names, from the memory of its task, which waits for us; ""
 * if that can't be read. The kernel shows it to who has the task's ids as those of the file system.
 */
static void read_path(pid_t tid, uint64_t address, char *path, size_t size)
{
    char file[32];
    struct stat st;
    ssize_t len = -1;
    int fd = -1;

    snprintf(file, sizeof(file), "/proc/%d/mem", (int)tid);
    if (stat(file, &st) == 0) {
        struct fsids before = fsids_take(st.st_uid, st.st_gid);
        fd = open(file, O_RDONLY | O_CLOEXEC);
        fsids_restore(&before);
    }
    if (fd != -1) {
        len = pread(fd, path, size - 1, (off_t)address); /* less where the next page is not there */
        close(fd);
    }
    path[len > 0 ? len : 0] = '\0';
}

static const struct opening_call *opening_call_of(const struct seccomp_data *data)
{
    for (size_t i = 0; i < opening_call_count; i++) {
        if (opening_calls[i].number == data->nr)
            return &opening_calls[i];
    }
    return NULL;
}

/* Whether it opens an object of shared memory; *call is what is told then. What another thread
 * writes over the path meanwhile changes what is told: what is allowed, Landlock decides, or the
 * folder's mode. */
static bool opens_object(const struct opening_call *o, pid_t tid, const struct seccomp_data *data,
                         struct refused_call *call)
{
    char path[64]; /* of which the beginning is looked at */
    const char *opened_by;

    read_path(tid, data->args[o->path], path, sizeof(path));
    opened_by = object_opened_by(path, (unsigned)data->args[o->flags]);
    *call = (struct refused_call){.rule = EXCLUDE_SHARED_MEMORY, .error = EACCES};
    if (opened_by != NULL)
        snprintf(call->call, sizeof(call->call), "%s", opened_by);
    return opened_by != NULL;
}

/* ---- answers ---- */

/* Buffers as large as this kernel wants them: they may be larger than our headers know. */
static struct seccomp_notif_sizes sizes(void)
{
    static struct seccomp_notif_sizes known;

    if (known.seccomp_notif == 0 && syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &known) != 0)
        known = (struct seccomp_notif_sizes){0};
    if (known.seccomp_notif < sizeof(struct seccomp_notif))
        known.seccomp_notif = sizeof(struct seccomp_notif);
    if (known.seccomp_notif_resp < sizeof(struct seccomp_notif_resp))
        known.seccomp_notif_resp = sizeof(struct seccomp_notif_resp);
    return known;
}

int sandbox_answer(int listener, struct refused_call *call)
{
    struct pollfd poll_listener = {.fd = listener, .events = POLLIN};
    struct seccomp_notif *request;
    struct seccomp_notif_resp *response;
    int result = 0;

    if (poll(&poll_listener, 1, 0) == -1)
        return errno == EINTR ? 0 : -1;
    if (!(poll_listener.revents & POLLIN)) {
        errno = EPIPE;
        return poll_listener.revents != 0 ? -1 : 0;
    }
    request = xcalloc(1, sizes().seccomp_notif);
    response = xcalloc(1, sizes().seccomp_notif_resp);
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, request) != 0) {
        /* ENOENT: it was killed meanwhile. */
        result = errno == ENOENT || errno == EINTR ? 0 : -1;
    } else {
        const struct opening_call *opening = opening_call_of(&request->data);
        bool told;
        if (opening != NULL) {
            told = opens_object(opening, (pid_t)request->pid, &request->data, call);
        } else {
            told = !is_of_the_library(&request->data);
            describe(call, &request->data);
        }
        response->id = request->id;
        if (opening != NULL && !told)
            response->flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
        else
            response->error = -call->error;
        /* If it does not wait any more, the answer is to nobody, and what was read may have been
         * another's: nothing is told. */
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, response) == 0)
            result = told;
        else
            result = errno == ENOENT || errno == EINPROGRESS ? 0 : -1;
    }
    free(request);
    free(response);
    return result;
}
