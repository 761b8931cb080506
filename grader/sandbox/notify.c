/* The answering side of seccomp's notifications: outside of the sandbox. */
#include "sandbox/sandbox.h"

#include <errno.h>
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
    if (len == 1 && header != NULL && header->cmsg_level == SOL_SOCKET &&
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
        describe(call, &request->data);
        response->id = request->id;
        response->error = -call->error;
        /* Nothing of the process is read, so it matters to nobody whether it is still there. */
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, response) == 0)
            result = is_of_the_library(&request->data) ? 0 : 1;
        else
            result = errno == ENOENT || errno == EINPROGRESS ? 0 : -1;
    }
    free(request);
    free(response);
    return result;
}
