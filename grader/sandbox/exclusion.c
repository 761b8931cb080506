#include "sandbox/exclusion.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>

static const struct {
    enum exclusion bit;
    const char *name;
    const char *sentence;
} exclusions[] = {
    {EXCLUDE_SOCKETS, "sockets", "sockets are not part of this lab"},
    {EXCLUDE_SYSV_IPC, "sysv_ipc",
     "System V shared memory, semaphores and queues are not part of this lab"},
    {EXCLUDE_POSIX_QUEUES, "posix_queues", "POSIX message queues are not part of this lab"},
    {EXCLUDE_SHARED_MEMORY, "shared_memory", "shared memory objects are not part of this lab"},
    {EXCLUDE_NAMED_PIPES, "named_pipes", "named pipes (FIFOs) are not part of this lab"},
};

enum { EXCLUSION_COUNT = sizeof(exclusions) / sizeof(exclusions[0]) };

#ifdef SYS_mknod
#define NUMBER_OF_MKNOD SYS_mknod
#else
#define NUMBER_OF_MKNOD (-1)
#endif

/*
 * EPERM, where a kernel without the mechanism would say ENOSYS: the student reads the errno by
 * perror(), and "Operation not permitted" is what happened. For socket() it is EAFNOSUPPORT, which
 * the C library's own callers (getaddrinfo, nscd's client) live with.
 */
const struct excluded_call excluded_calls[] = {
    {EXCLUDE_SOCKETS, "socket", SYS_socket, EAFNOSUPPORT, "socket", true, 0},
    {EXCLUDE_SOCKETS, "socketpair", SYS_socketpair, EPERM, "socketpair", true, 0},
    {EXCLUDE_SYSV_IPC, "shmget", SYS_shmget, EPERM, "shmget", false, 0},
    {EXCLUDE_SYSV_IPC, "semget", SYS_semget, EPERM, "semget", false, 0},
    {EXCLUDE_SYSV_IPC, "msgget", SYS_msgget, EPERM, "msgget", false, 0},
    {EXCLUDE_POSIX_QUEUES, "mq_open", SYS_mq_open, EPERM, "mq_open", false, 0},
    {EXCLUDE_SHARED_MEMORY, "memfd_create", SYS_memfd_create, EPERM, "memfd_create", false, 0},
    {EXCLUDE_NAMED_PIPES, "mknod", NUMBER_OF_MKNOD, EPERM, "mknod(FIFO)", false, 1 + 1},
    {EXCLUDE_NAMED_PIPES, "mknodat", SYS_mknodat, EPERM, "mknod(FIFO)", false, 1 + 2},
};
const size_t excluded_call_count = sizeof(excluded_calls) / sizeof(excluded_calls[0]);

#ifdef SYS_open
#define NUMBER_OF_OPEN SYS_open
#else
#define NUMBER_OF_OPEN (-1)
#endif

const struct opening_call opening_calls[] = {
    {"openat", SYS_openat, 1, 2},
    {"open", NUMBER_OF_OPEN, 0, 1},
};
const size_t opening_call_count = sizeof(opening_calls) / sizeof(opening_calls[0]);

/* For reading (and writing), and waiting: either no link is followed, as by shm_open(3) and
 * sem_open(3), or the file is made, as by sem_open(3) with O_EXCL. */
const struct opening_flags object_flags[] = {
    {O_WRONLY | O_NONBLOCK | O_NOFOLLOW, O_NOFOLLOW},
    {O_WRONLY | O_NONBLOCK | O_CREAT, O_CREAT},
};
const size_t object_flags_count = sizeof(object_flags) / sizeof(object_flags[0]);

const char *object_opened_by(const char *path, unsigned flags)
{
    static const char folder[] = "/dev/shm/", semaphore[] = "sem.";

    if (strncmp(path, folder, sizeof(folder) - 1) != 0)
        return NULL;
    if (strncmp(path + sizeof(folder) - 1, semaphore, sizeof(semaphore) - 1) == 0)
        return "sem_open";
    return flags & O_NOFOLLOW ? "shm_open" : "open(/dev/shm)";
}

const char *exclusion_name(enum exclusion e)
{
    for (size_t i = 0; i < EXCLUSION_COUNT; i++) {
        if (exclusions[i].bit == e)
            return exclusions[i].name;
    }
    return "unknown";
}

const char *exclusion_sentence(enum exclusion e)
{
    for (size_t i = 0; i < EXCLUSION_COUNT; i++) {
        if (exclusions[i].bit == e)
            return exclusions[i].sentence;
    }
    return "this call is not allowed here";
}

unsigned exclusion_of_name(const char *name)
{
    for (size_t i = 0; i < EXCLUSION_COUNT; i++) {
        if (strcmp(exclusions[i].name, name) == 0)
            return exclusions[i].bit;
    }
    return 0;
}
