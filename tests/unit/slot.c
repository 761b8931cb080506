/*
 * A slot and its sweep: whatever programs leave (processes that fight back, objects, closed trees,
 * marks on the folder itself), nothing of it is there afterwards. Children never assert.
 */
#include <criterion/criterion.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "sandbox/layers.h"
#include "sandbox/slot.h"
#include "support/clock.h"
#include "support/files.h"
#include "support/memory.h"

enum { NOBODY = 65534 };

static char *work;
static struct slot slot;

static void open_slot(void)
{
    struct error err = ERROR_INIT;

    work = directory_make_private(&err);
    cr_assert_not_null(work, "%s", err.text);
    cr_assert_eq(chmod(work, 0711), 0);
    cr_assert_eq(slot_open(&slot, work, 3, &err), 0, "%s", err.text);
}

static void close_slot(void)
{
    if (slot.directory != NULL)
        slot_close(&slot);
    tree_remove_at(AT_FDCWD, work);
    free(work);
}

#define SLOT_TEST(Name, Description)                                                               \
    Test(slot, Name, .description = Description, .init = open_slot, .fini = close_slot)

#define NEEDS_ROOT()                                                                               \
    if (!slot.own_ids)                                                                             \
    cr_skip_test("needs root")

static int ready; /* in a program: where it says that it is at work */

/*
 * Starts `program` in the slot as its uid. It is at work once it has written a byte; *alive is the
 * other end of that pipe, which everything that it forks holds open too.
 */
static pid_t start(void (*program)(void), int *alive)
{
    int ends[2];
    char c;
    pid_t pid;

    cr_assert_eq(pipe(ends), 0);
    pid = fork();
    if (pid == 0) {
        struct rlimit limit = {.rlim_cur = 300, .rlim_max = 300};
        close(ends[0]);
        ready = ends[1];
        if (sandbox_become(slot.uid, slot.gid) != 0 || chdir(slot.directory) != 0)
            _exit(1);
        setrlimit(RLIMIT_NPROC, &limit);
        program();
        _exit(0);
    }
    close(ends[1]);
    cr_assert_eq(read(ends[0], &c, 1), 1, "it is at work");
    *alive = ends[0];
    return pid;
}

static void at_work(void)
{
    if (write(ready, "x", 1) != 1)
        _exit(1);
}

/* All writers have gone: nothing of what was started lives. */
static bool all_gone(int alive)
{
    char bytes[512];
    ssize_t len;

    fcntl(alive, F_SETFL, O_NONBLOCK);
    while ((len = read(alive, bytes, sizeof(bytes))) > 0)
        continue;
    close(alive);
    return len == 0;
}

static struct leftovers sweep(void)
{
    struct leftovers found = {-1, -1, -1, -1, -1};
    struct error err = ERROR_INIT;
    int result = slot_sweep(&slot, getpid(), NULL, &found, &err);

    cr_assert_eq(result, 0, "%s", err.text);
    return found;
}

static void expect_nothing_left(void)
{
    struct leftovers found = sweep();

    cr_expect(found.processes == 0 && found.shared_memory == 0 && found.queues == 0 &&
                  found.sysv == 0 && found.files == 0,
              "the second sweep finds %d processes, %d shm, %d queues, %d sysv, %d files",
              found.processes, found.shared_memory, found.queues, found.sysv, found.files);
}

/* ---- what a slot is ---- */

SLOT_TEST(folders, "home is the slot's, private is the grader's, and both are closed to others")
{
    struct stat home, private;

    cr_assert_eq(stat(slot.directory, &home), 0);
    cr_assert_eq(stat(slot.private, &private), 0);
    cr_expect_eq(home.st_uid, slot.own_ids ? slot.uid : geteuid());
    cr_expect_eq(home.st_gid, slot.own_ids ? slot.gid : getegid());
    cr_expect_eq(private.st_uid, geteuid());
    cr_expect_eq(home.st_mode & 07777, 0700);
    cr_expect_eq(private.st_mode & 07777, 0700);
    if (slot.own_ids)
        cr_expect(slot.uid >= 60000 && slot.uid <= 60999 && slot.gid == slot.uid);
}

/* Holds the lock of `uid` as another grader of the machine does; -1 when somebody has it. */
static int hold_lock(unsigned uid)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int len = snprintf(address.sun_path + 1, 100, "ipclab-uid-%u", uid);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (bind(fd, (struct sockaddr *)&address, (socklen_t)(sizeof(sa_family_t) + 1 + len)) == 0)
        return fd;
    close(fd);
    return -1;
}

SLOT_TEST(own_uids, "each slot has a uid of its own, none that another grader holds")
{
    NEEDS_ROOT();
    struct rlimit limit = {.rlim_cur = 2000, .rlim_max = 2000};
    struct error err = ERROR_INIT;
    struct slot second, third;
    unsigned uid = slot.uid;
    unsigned free_uid = 0;
    int held[1000];

    cr_expect_eq(hold_lock(uid), -1, "the open slot holds its own");
    /* The locks' names are a network namespace's: in one of our own nobody is held up. */
    cr_assert_eq(unshare(CLONE_NEWNET), 0);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    /* All are held but one: that is the one which the next slot gets, and then there is none. */
    for (int i = 0; i < 1000; i++)
        held[i] = hold_lock(60000 + (unsigned)i);
    for (int i = 0; i < 1000 && free_uid == 0; i++) {
        if (held[i] != -1) {
            close(held[i]);
            held[i] = -1;
            free_uid = 60000 + (unsigned)i;
        }
    }
    cr_assert_neq(free_uid, 0);
    cr_assert_eq(slot_open(&second, work, 4, &err), 0, "%s", err.text);
    cr_expect_eq(second.uid, free_uid);
    cr_expect_eq(slot_open(&third, work, 5, &err), -1);
    cr_expect_eq(err.fault, FAULT_GRADER);
    slot_close(&second);
    for (int i = 0; i < 1000; i++) {
        if (held[i] != -1)
            close(held[i]);
    }
}

/* Whether somebody holds the lock of `uid`. */
static bool is_locked(unsigned uid)
{
    char command[200];

    snprintf(command, sizeof(command), "grep -q '@ipclab-uid-%u$' /proc/net/unix", uid);
    return system(command) == 0;
}

SLOT_TEST(lock_vanishes, "a uid is free again when its grader is gone, however it went")
{
    NEEDS_ROOT();
    unsigned uid = slot.uid;
    int ends[2];
    pid_t pid;
    uid_t theirs;

    cr_expect_eq(is_locked(uid), 1, "held while it is open");
    slot_close(&slot);
    cr_expect_eq(is_locked(uid), 0, "free after");
    cr_assert_eq(pipe(ends), 0);
    pid = fork();
    if (pid == 0) {
        if (slot_open(&slot, work, 7, NULL) != 0 ||
            write(ends[1], &slot.uid, sizeof(slot.uid)) != sizeof(slot.uid))
            _exit(1);
        pause();
    }
    cr_assert_eq(read(ends[0], &theirs, sizeof(theirs)), (ssize_t)sizeof(theirs));
    cr_expect_eq(is_locked(theirs), 1);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    cr_expect_eq(is_locked(theirs), 0);
}

SLOT_TEST(as_json, "a slot is reopened from its job, and releasing it leaves the slot as it is")
{
    struct slot again;
    struct error err = ERROR_INIT;
    cJSON *json = slot_to_json(&slot);

    cr_assert_eq(slot_from_json(&again, json, &err), 0, "%s", err.text);
    cr_expect(again.index == slot.index && again.own_ids == slot.own_ids && again.uid == slot.uid &&
              again.gid == slot.gid && again.lock == -1 && !again.inside);
    cr_expect_str_eq(again.directory, slot.directory);
    cr_expect_str_eq(again.private, slot.private);
    slot_release(&again);
    cr_expect(path_is_directory(slot.directory));
    cJSON_DeleteItemFromObject(json, "namespaces");
    cJSON_AddTrueToObject(json, "namespaces");
    cr_assert_eq(slot_from_json(&again, json, &err), 0, "%s", err.text);
    cr_expect(again.namespaces && again.inside, "who reads the job is inside of them");
    slot_release(&again);
    cJSON_DeleteItemFromObject(json, "private");
    cr_expect_eq(slot_from_json(&again, json, &err), -1);
    cJSON_Delete(json);
}

SLOT_TEST(close_removes_folders, "nothing is left of a closed slot")
{
    char *folder = xasprintf("%s/slot-3", work);

    cr_expect(path_exists(folder));
    slot_close(&slot);
    cr_expect_not(path_exists(folder));
    free(folder);
}

/* ---- processes ---- */

static void fork_without_end(void)
{
    at_work();
    for (;;)
        fork();
}

SLOT_TEST(fork_bomb, "is ended, whole")
{
    NEEDS_ROOT();
    int alive;
    start(fork_without_end, &alive);
    struct leftovers found = sweep();
    cr_expect_gt(found.processes, 0);
    cr_expect(all_gone(alive));
    expect_nothing_left();
}

/* A child takes over at once and the parent ends, on and on: no list of processes is ever right. */
static void hop(void)
{
    at_work();
    for (;;) {
        if (fork() > 0)
            _exit(0);
    }
}

SLOT_TEST(hopping_process, "one that changes its pid all the time is ended")
{
    NEEDS_ROOT();
    for (int i = 0; i < 10; i++) {
        int alive;
        start(hop, &alive);
        sweep();
        cr_assert(all_gone(alive), "round %d", i);
    }
}

static void stop_everybody(void)
{
    if (fork() == 0) {
        setsid();
        at_work();
        for (;;) {
            kill(-1, SIGSTOP);
            kill(-1, SIGCONT);
        }
    }
    for (;;)
        pause();
}

SLOT_TEST(fights_back, "one that stops everybody of its uid is ended all the same")
{
    NEEDS_ROOT();
    int alive;
    start(stop_everybody, &alive);
    cr_expect_geq(sweep().processes, 1);
    cr_expect(all_gone(alive));
    expect_nothing_left();
}

static void kill_in_a_loop(void)
{
    at_work();
    for (;;)
        kill(-1, SIGKILL);
}

SLOT_TEST(kills_the_helper, "kill(-1, SIGKILL) in a loop does not save it, and harms nobody else")
{
    NEEDS_ROOT();
    int alive;
    start(kill_in_a_loop, &alive);
    cr_expect_eq(sweep().processes, 1);
    cr_expect(all_gone(alive));
    expect_nothing_left();
}

static void leave_daemon(void)
{
    if (fork() == 0) {
        setsid();
        if (fork() == 0) {
            signal(SIGTERM, SIG_IGN);
            signal(SIGHUP, SIG_IGN);
            prctl(PR_SET_NAME, ") R 1 (", 0, 0, 0); /* a name that looks like a line of stat */
            prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
            at_work();
            for (;;)
                pause();
        }
    }
    _exit(0);
}

SLOT_TEST(daemon_is_found, "double fork, a session of its own, a strange name, not dumpable")
{
    NEEDS_ROOT();
    int alive;
    pid_t pid = start(leave_daemon, &alive);
    waitpid(pid, NULL, 0);
    cr_expect_geq(sweep().processes, 1);
    cr_expect(all_gone(alive));
    expect_nothing_left();
}

SLOT_TEST(no_zombie_stays, "children of the sweeper are reaped")
{
    NEEDS_ROOT();
    int alive;
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    start(leave_daemon, &alive);
    sweep();
    cr_expect(all_gone(alive));
    cr_expect_eq(waitpid(-1, NULL, WNOHANG), -1);
    cr_expect_eq(errno, ECHILD);
}

/* ---- without a uid of its own ---- */

struct tree_result {
    int swept, found, daemon_dead, spared_alive;
};

static pid_t descend(bool daemon, int pipe_end)
{
    pid_t pid = fork();

    if (pid == 0) {
        if (daemon) {
            setsid();
            if (fork() > 0)
                _exit(0);
            signal(SIGTERM, SIG_IGN);
            fork();
        }
        if (write(pipe_end, "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    return pid;
}

static _Noreturn void sweep_tree(struct tree_result *result)
{
    struct slot plain = {.own_ids = false, .lock = -1};
    char name[] = "/tmp/ipclab-tree-XXXXXX", bytes[3];
    int daemons[2], spared[2];
    siginfo_t ended;
    struct leftovers found = {0};

    if (getuid() == 0 &&
        (setresgid(NOBODY, NOBODY, NOBODY) != 0 || setresuid(NOBODY, NOBODY, NOBODY) != 0))
        _exit(1);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    if (mkdtemp(name) == NULL || pipe(spared) != 0)
        _exit(2);
    plain.directory = name;
    pid_t keep = descend(false, spared[1]);
    if (pipe(daemons) != 0)
        _exit(2);
    waitid(P_PID, (id_t)descend(true, daemons[1]), &ended, WEXITED | WNOWAIT); /* the middle one */
    close(daemons[1]);
    if (read(spared[0], bytes, 1) != 1 || read(daemons[0], bytes, 1) != 1 ||
        read(daemons[0], bytes, 1) != 1)
        _exit(3);
    pid_t spare[] = {keep, 0};
    result->swept = slot_sweep(&plain, getpid(), spare, &found, NULL);
    result->found = found.processes;
    result->daemon_dead = all_gone(daemons[0]);
    result->spared_alive = kill(keep, 0) == 0 && waitpid(keep, NULL, WNOHANG) == 0;
    kill(keep, SIGKILL);
    waitpid(keep, NULL, 0);
    rmdir(name);
    _exit(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD ? 0 : 4);
}

Test(slot_of_a_user, tree, .description = "descendants are ended, the spared one lives")
{
    struct tree_result *result =
        mmap(NULL, sizeof(*result), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status;
    pid_t pid = fork();

    if (pid == 0)
        sweep_tree(result);
    waitpid(pid, &status, 0);
    cr_assert_eq(status, 0, "status %x", (unsigned)status);
    cr_expect_eq(result->swept, 0);
    cr_expect_eq(result->found, 2);
    cr_expect(result->daemon_dead);
    cr_expect(result->spared_alive);
}

static _Noreturn void sweep_running(void (*program)(void))
{
    struct slot plain = {.own_ids = false, .lock = -1};
    struct rlimit limit = {.rlim_cur = 100, .rlim_max = 100};
    char name[] = "/tmp/ipclab-tree-XXXXXX";
    int ends[2], result;
    char c;

    if (getuid() == 0 &&
        (setresgid(NOBODY, NOBODY, NOBODY) != 0 || setresuid(NOBODY, NOBODY, NOBODY) != 0))
        _exit(1);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    if (mkdtemp(name) == NULL || pipe(ends) != 0)
        _exit(2);
    plain.directory = name;
    if (fork() == 0) {
        setrlimit(RLIMIT_NPROC, &limit);
        ready = ends[1];
        setsid(); /* as every program in the sandbox */
        program();
    }
    close(ends[1]);
    if (read(ends[0], &c, 1) != 1)
        _exit(3);
    result = slot_sweep(&plain, getpid(), NULL, NULL, NULL);
    rmdir(name);
    _exit(result != 0 ? 4 : all_gone(ends[0]) ? 0 : 5);
}

static int swept_status(void (*program)(void))
{
    int status;
    pid_t pid = fork();

    if (pid == 0)
        sweep_running(program);
    waitpid(pid, &status, 0);
    return status;
}

Test(slot_of_a_user, fork_bomb, .description = "is ended without root too")
{
    cr_expect_eq(swept_status(fork_without_end), 0);
}

Test(slot_of_a_user, hopping_process, .description = "is ended without root too")
{
    for (int i = 0; i < 10; i++)
        cr_assert_eq(swept_status(hop), 0, "round %d", i);
}

/* ---- objects ---- */

/* Names of this run. */
static char name_shm[40], name_shm_folder[60], name_shm_file[70], name_tmp[60], name_var_tmp[60];

static void make_names(void)
{
    int n = getpid();

    snprintf(name_shm, sizeof(name_shm), "/ipclab-left-%d", n);
    snprintf(name_shm_folder, sizeof(name_shm_folder), "/dev/shm/ipclab-left-folder-%d", n);
    snprintf(name_shm_file, sizeof(name_shm_file), "%s/x", name_shm_folder);
    snprintf(name_tmp, sizeof(name_tmp), "/tmp/ipclab-left-%d", n);
    snprintf(name_var_tmp, sizeof(name_var_tmp), "/var/tmp/ipclab-left-%d", n);
}

static void make_objects(void)
{
    int fd = shm_open(name_shm, O_CREAT | O_RDWR, 0600);
    struct mq_attr attributes = {.mq_maxmsg = 1, .mq_msgsize = 1};

    if (fd == -1 || ftruncate(fd, 100) != 0 ||
        mq_open(name_shm, O_CREAT | O_RDWR, 0600, &attributes) == -1)
        _exit(1);
    for (int i = 0; i < 3; i++) {
        if (shmget(IPC_PRIVATE, 100, 0600) == -1 || semget(IPC_PRIVATE, 1, 0) == -1 ||
            msgget(IPC_PRIVATE, 0600) == -1)
            _exit(1);
    }
    mkdir(name_tmp, 0);
    mkdir(name_shm_folder, 0700);
    close(open(name_shm_file, O_CREAT | O_RDWR, 0));
    close(open(name_var_tmp, O_CREAT | O_RDWR, 0));
    at_work();
}

SLOT_TEST(objects, "shared memory, queues, System V objects and files outside are removed, counted")
{
    NEEDS_ROOT();
    int alive;
    make_names();
    sweep(); /* so that folders are remembered as clean */
    pid_t pid = start(make_objects, &alive);
    waitpid(pid, NULL, 0);
    struct leftovers found = sweep();
    cr_expect(all_gone(alive));
    cr_expect_eq(found.shared_memory, 2);
    /* Without a mount of them, and without the right to make one, queues can't be listed. */
    bool listed = sandbox_open_queues() != -1;
    cr_expect_eq(found.queues, listed ? 1 : 0);
    cr_expect_eq(mq_unlink(name_shm), listed ? -1 : 0);
    cr_expect_eq(found.sysv, 9);
    cr_expect_eq(found.files, 2);
    cr_expect_eq(shm_open(name_shm, O_RDWR, 0), -1);
    cr_expect_not(path_exists(name_shm_folder));
    cr_expect_not(path_exists(name_tmp));
    cr_expect_not(path_exists(name_var_tmp));
    expect_nothing_left();
}

static void make_many_sysv(void)
{
    for (int i = 0; i < 700; i++)
        semget(IPC_PRIVATE, 1, 0600);
    at_work();
}

SLOT_TEST(many_objects, "more than fit one look are removed")
{
    NEEDS_ROOT();
    int alive;
    pid_t pid = start(make_many_sysv, &alive);
    waitpid(pid, NULL, 0);
    cr_expect_eq(sweep().sysv, 700);
    cr_expect(all_gone(alive));
}

SLOT_TEST(others_keep_theirs, "objects and files of other users stay")
{
    NEEDS_ROOT();
    int fd = shm_open("/ipclab-ours", O_CREAT | O_RDWR, 0600);
    int id = semget(IPC_PRIVATE, 1, 0600);

    cr_assert_neq(fd, -1);
    sweep();
    cr_expect(path_exists("/dev/shm/ipclab-ours"));
    cr_expect_eq(semctl(id, 0, IPC_RMID), 0);
    cr_expect_eq(shm_unlink("/ipclab-ours"), 0);
}

/* ---- the folder ---- */

static void make_tree(void)
{
    for (int i = 0; i < 600; i++) { /* deeper than any path */
        if (mkdir("deep-folder", 0700) != 0 || chdir("deep-folder") != 0)
            break;
    }
    if (chdir("/") != 0 || chdir(slot.directory) != 0)
        _exit(1);
    mkdir("closed", 0700);
    close(open("closed/file", O_CREAT | O_RDWR, 0));
    mkfifo("fifo", 0);
    if (symlink("/etc", "link") != 0 || chmod("closed", 0) != 0)
        _exit(1);
    setxattr(".", "user.note", "for the next test", 17, 0);
    if (chmod(".", 0) != 0)
        _exit(1);
    at_work();
}

static bool folder_is_empty(void)
{
    DIR *dir = opendir(slot.directory);
    int entries = 0;

    while (dir != NULL && readdir(dir) != NULL)
        entries++;
    if (dir != NULL)
        closedir(dir);
    return entries == 2; /* . and .. */
}

SLOT_TEST(folder_is_as_new, "whatever a program made in it or of it")
{
    NEEDS_ROOT();
    struct stat st;
    int alive;
    pid_t pid = start(make_tree, &alive);

    waitpid(pid, NULL, 0);
    cr_expect_eq(sweep().files, 0, "what lies in the folder is no leftover");
    cr_expect(all_gone(alive));
    cr_expect(folder_is_empty());
    cr_assert_eq(stat(slot.directory, &st), 0);
    cr_expect_eq(st.st_mode & 07777, 0700);
    cr_expect_eq(st.st_uid, slot.uid);
    cr_expect_eq(getxattr(slot.directory, "user.note", NULL, 0), -1);
    cr_expect_eq(errno, ENODATA);
    cr_expect(path_exists("/etc/passwd"));
    expect_nothing_left();
}

SLOT_TEST(folder_with_ours, "what the suite itself put there goes too")
{
    char *ours = path_join(slot.directory, "ours"), *file = path_join(ours, "file");

    cr_assert_eq(mkdir(ours, 0700), 0);
    cr_assert_eq(file_write_whole(file, 0600, "x", 1, NULL), 0);
    sweep();
    cr_expect_not(path_exists(ours));
    cr_expect(folder_is_empty());
    expect_nothing_left();
    free(ours);
    free(file);
}
