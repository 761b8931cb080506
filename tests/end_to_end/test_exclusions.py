"""What each lab excludes is refused and told; what right solutions of it may need never is."""

import json
import shutil
import unittest

from ipclab import GRADED, LABS, ROOT, folder, grade

# A call of each mechanism, which is true where it was allowed; what it makes is removed at once.
CALLS = {
    "sockets": {"socket": "close(socket(AF_INET, SOCK_STREAM, 0)) == 0",
                "socketpair": "socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0"},
    "sysv_ipc": {"shmget": "shmctl(shmget(IPC_PRIVATE, 4096, 0600), IPC_RMID, NULL) == 0",
                 "semget": "semctl(semget(IPC_PRIVATE, 1, 0600), 0, IPC_RMID) == 0",
                 "msgget": "msgctl(msgget(IPC_PRIVATE, 0600), IPC_RMID, NULL) == 0"},
    "posix_queues": {"mq_open": "mq_open(\"/excluded\", O_CREAT | O_RDWR, 0600, NULL) >= 0 && "
                                "mq_unlink(\"/excluded\") == 0"},
    "shared_memory": {"memfd_create": "close(memfd_create(\"excluded\", 0)) == 0",
                      "shm_open": "shm_open(\"/excluded\", O_CREAT | O_RDWR, 0600) >= 0 && "
                                  "shm_unlink(\"/excluded\") == 0",
                      "sem_open": "sem_open(\"/excluded\", O_CREAT, 0600, 1) != SEM_FAILED && "
                                  "sem_unlink(\"/excluded\") == 0",
                      "open": "open(\"/dev/shm/excluded\", O_CREAT | O_RDWR, 0600) >= 0 && "
                              "unlink(\"/dev/shm/excluded\") == 0"},
    "named_pipes": {"mknod": "mkfifo(\"excluded\", 0600) == 0 && unlink(\"excluded\") == 0"},
}
# How the handouts call them.
HANDOUT = {"sockets": "sockets", "sysv_ipc": "SysV IPC", "posix_queues": "POSIX message queues",
           "shared_memory": "shared memory objects", "named_pipes": "named pipes"}
# What belongs to no lab.
HELPERS = ("pipe(ends) == 0", "close(eventfd(0, 0)) == 0", "close(signalfd(-1, &none, 0)) == 0",
           "close(timerfd_create(CLOCK_MONOTONIC, 0)) == 0", "close(epoll_create1(0)) == 0",
           "close(inotify_init()) == 0",
           "mmap(NULL, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0) != MAP_FAILED",
           "close(open(\"lock\", O_RDWR | O_CREAT | O_NOFOLLOW, 0600)) == 0 && unlink(\"lock\") == 0",
           "pthread_create(&thread, NULL, nothing, NULL) == 0 && pthread_join(thread, NULL) == 0")
# Runs in front of the reference's own main(), in each process that executes it.
SOURCE = """
#include <arpa/inet.h>
#include <fcntl.h>
#include <mqueue.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

static void *nothing(void *argument) { return argument; }

__attribute__((constructor)) static void try_everything(void)
{
    pthread_t thread;
    sigset_t none;
    int ends[2];
    sigemptyset(&none);
%s
    close_range(3, ~0U, 0);
}
"""


class Exclusions(unittest.TestCase):
    def test_every_lab(self):
        for lab in LABS:
            with self.subTest(lab):
                self.check(lab)

    def check(self, lab):
        manifest = json.loads((ROOT / "assignments" / lab / "lab.json").read_text())
        excluded = {name for name in CALLS if name in manifest["excludes"]}
        checks = [(call, name not in excluded) for name in CALLS for call in CALLS[name].values()]
        checks += [(call, True) for call in HELPERS]
        lines = "\n".join(f"    if (({call}) != {int(allowed)})\n        abort();"
                          for call, allowed in checks)
        test = next(each["id"] for each in manifest["tests"] if each["visibility"] == "public")
        with folder() as into:
            work = shutil.copytree(ROOT / "reference" / lab, into / lab)
            for file in work.glob("*.c"):
                # The macro first, for all headers.
                file.write_text("#define _GNU_SOURCE\n" + file.read_text() + SOURCE % lines)
            done = grade(self, work, lab=lab, tests=[test])
        # A refused call has returned, and the program went on.
        self.assertEqual((done.status, done.results["score"]), (GRADED, done.results["max"]), done)
        told = {each["call"].split("(")[0]: each["rule"] for each in done.feedback["refused_calls"]}
        expected = {call for name in excluded for call in CALLS[name]}
        self.assertEqual({"mknod" if call == "mknodat" else call for call in told}, expected)
        for call, rule in told.items():
            self.assertIn("not part of this lab", rule, call)
            self.assertIn(call.encode(), done.out)
        handout = (ROOT / "assignments" / lab / "README.md").read_text()
        rule = next(line for line in handout.splitlines() if "are refused" in line)
        self.assertEqual({name for name, words in HANDOUT.items() if words in rule}, excluded)


if __name__ == "__main__":
    unittest.main()
