/*
 * namespaces.h - a slot's own System V and POSIX objects, ports, processes and mounts.
 *
 * A slot's suite process is started into namespaces of its own (namespaces(7)): ipc, net, pid and
 * mount, by an ordinary user inside a user namespace. In them /dev/shm is empty and holds
 * SHARED_MEMORY_MB, there are no queues, the loopback interface is up and nothing listens, and only
 * the suite's own processes can be seen and signalled. When the suite ends the kernel ends and
 * removes all of it. The suite's runner, its workers and the programs share them: the harness sees
 * what the programs make.
 */
#ifndef IPCLAB_SANDBOX_NAMESPACES_H
#define IPCLAB_SANDBOX_NAMESPACES_H

#include <stdbool.h>
#include <sys/types.h>

#include "support/strbuf.h"

enum { SHARED_MEMORY_MB = 64 };

/*
 * Whether this machine lets us have them; found out by trying, once in a process. `detail` (may be
 * NULL): what is in force, or why not and how to get it.
 */
bool namespaces_probe(struct strbuf *detail);

/*
 * fork(2) into new namespaces: returns in the child 0, there as process getpid() with parent 1, the
 * init of the new pid namespace, which reaps orphans and ends with the child; in the caller the pid
 * of that init, whose end is the end of everything inside, and whose exit status is the child's
 * (128+N for a signal; NAMESPACES_FAILED when they could not be made: a line on stderr says why).
 * -1 with errno as fork(2). The caller has one thread. The child's number is its init's number
 * outside, so that names made of it (/tmp/NAME.PID) are as unique as without namespaces. Of the
 * caller's descriptors only the child keeps those above 2.
 */
pid_t namespaces_fork(void);
enum { NAMESPACES_FAILED = 120 };

#endif
