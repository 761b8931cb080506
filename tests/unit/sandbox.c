/*
 * The layers between a submission and the machine: each is proven by a child that tries what the
 * layer forbids, as root's slot and as an ordinary user; the same with the layer left out shows
 * that the test can fail.
 *
 * Three processes: the test; the starter, which it forks, which becomes user 65534 where the trial
 * is an ordinary user's, prepares the sandbox and answers notifications; and the child, which
 * enters it and makes the attempt. Only the test asserts.
 */
#include <criterion/criterion.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "course/manifest.h"
#include "sandbox/sandbox.h"
#include "sandbox/slot.h"
#include "support/clock.h"
#include "support/files.h"
#include "support/json.h"

enum {
    NOBODY = 65534,
    PROGRAM_UID = 60998, /* at the far end of the slots' range */
    TOLD_MAX = 16,
    NOT_STARTED = 250, /* exit statuses of the starter, when the trial itself is broken */
    NOT_PREPARED = 251,
};

/* What the starter tells the test. */
struct board {
    struct refused_call told[TOLD_MAX];
    int told_count;
    char step[64];
    int step_error;
    struct error error;
};

struct trial {
    int (*attempt)(void);    /* in the child: 0 when it could, else an errno, at most 200 */
    const char *off;         /* layers left out */
    bool user;               /* as an ordinary user, not as root's slot */
    bool quiet;              /* nobody answers notifications */
    bool objects;            /* may use /dev/shm */
    bool bare;               /* no commands and no compiler: as a test runs it */
    unsigned excludes;       /* of the policy */
    unsigned rights;         /* for the test's folder; 0: read, write, execute */
    struct policy limits;    /* its limits are taken */
    const char *const *exec; /* instead of attempt */
};

static char *folder; /* the child's own */
static char *secret; /* a file that everybody may read, outside the policy */
static struct board *board;
static bool is_root;

static void make_trial_folder(void)
{
    char *parent = directory_make_private(NULL);

    is_root = geteuid() == 0;
    cr_assert_not_null(parent);
    cr_assert_eq(chmod(parent, 0755), 0);
    folder = path_join(parent, "home");
    secret = path_join(parent, "secret");
    free(parent);
    cr_assert_eq(mkdir(folder, 0777), 0);
    cr_assert_eq(chmod(folder, 0777), 0);
    cr_assert_eq(file_write_whole(secret, 0644, "secret", 6, NULL), 0);
    board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(board, MAP_FAILED);
}

static void remove_trial_folder(void)
{
    folder[strlen(folder) - strlen("/home")] = '\0';
    tree_remove_at(AT_FDCWD, folder);
    free(folder);
    free(secret);
}

static void make_policy(struct policy *p, const struct trial *t)
{
    policy_init(p);
    p->cpu_seconds = t->limits.cpu_seconds;
    p->descriptors = t->limits.descriptors;
    p->processes = t->limits.processes;
    p->memory_mb = t->limits.memory_mb;
    p->file_mb = t->limits.file_mb;
    p->queue_bytes = t->limits.queue_bytes;
    p->own_ids = !t->user && is_root;
    p->uid = p->gid = PROGRAM_UID;
    p->excludes = t->excludes;
    p->directory = strdup(folder);
    policy_allow_runtime(p);
    if (!t->bare) {
        policy_allow_commands(p);
        policy_allow_compiler(p);
    }
    if (t->objects)
        policy_allow(p, "/dev/shm", PATH_READ | PATH_WRITE);
    policy_allow(p, folder, t->rights != 0 ? t->rights : PATH_READ | PATH_WRITE | PATH_EXECUTE);
}

static _Noreturn void child(const struct trial *t, struct sandbox *s)
{
    const char *step = "none";

    prctl(PR_SET_DUMPABLE, 1); /* as after exec, whatever its ids were */
    if (sandbox_enter(s, -1, &step) != 0) {
        board->step_error = errno;
        strncpy(board->step, step, sizeof(board->step) - 1);
        _exit(NOT_STARTED);
    }
    if (t->exec != NULL) {
        const char *env[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", "HOME=.", "TMPDIR=.", NULL};
        execve(t->exec[0], (char *const *)t->exec, (char *const *)env);
        _exit(errno);
    }
    _exit(t->attempt());
}

/* Answers until the child has ended. */
static int serve(pid_t pid, int socket)
{
    int listener = -1, status = 0;

    for (;;) {
        struct pollfd polled = {.fd = listener != -1 ? listener : socket, .events = POLLIN};
        if (waitpid(pid, &status, WNOHANG) == pid)
            break;
        poll(&polled, polled.fd != -1, 1);
        if (listener == -1 && socket != -1)
            listener = sandbox_receive_listener(socket);
        struct refused_call call;
        if (listener != -1 && sandbox_answer(listener, &call) == 1 && board->told_count < TOLD_MAX)
            board->told[board->told_count++] = call;
    }
    return status;
}

static _Noreturn void starter(const struct trial *t)
{
    struct policy policy;
    struct sandbox s;
    int sockets[2] = {-1, -1}, status;
    pid_t pid;

    if (t->user && is_root &&
        (syscall(SYS_setgroups, 0, NULL) != 0 || setresgid(NOBODY, NOBODY, NOBODY) != 0 ||
         setresuid(NOBODY, NOBODY, NOBODY) != 0))
        _exit(NOT_PREPARED);
    make_policy(&policy, t);
    if (sandbox_prepare(&s, &policy, t->off, &board->error) != 0)
        _exit(NOT_PREPARED);
    if (!t->quiet) {
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0)
            _exit(NOT_PREPARED);
        s.notify_socket = sockets[1];
    }
    pid = fork();
    if (pid == 0)
        child(t, &s);
    if (sockets[1] != -1)
        close(sockets[1]);
    status = serve(pid, sockets[0]);
    sandbox_release(&s);
    policy_release(&policy);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 201 + WTERMSIG(status));
}

/* The child's exit status: 0, an errno, or 201 and the signal that killed it. */
static int attempt(struct trial t)
{
    int status = 0;
    pid_t pid;

    memset(board, 0, sizeof(*board));
    pid = fork();
    if (pid == 0)
        starter(&t);
    while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
        continue;
    cr_assert(WIFEXITED(status), "the starter died");
    cr_assert_neq(WEXITSTATUS(status), NOT_PREPARED, "%s", board->error.text);
    cr_assert_neq(WEXITSTATUS(status), NOT_STARTED, "%s: %s", board->step,
                  strerror(board->step_error));
    return WEXITSTATUS(status);
}

/* The trial with and without the layer; both as root's slot and as an ordinary user. */
static void proves(const char *layer, struct trial t, int forbidden, int otherwise)
{
    for (int user = !is_root; user < 2; user++) {
        t.user = user;
        int got = attempt(t);
        cr_expect_eq(got, forbidden, "%s: with %s: %s", user ? "user" : "root", layer,
                     got > 200 ? "killed" : strerror(got));
        struct trial without = t;
        char *off = NULL;
        cr_assert_neq(asprintf(&off, "%s%s%s", layer, t.off ? "," : "", t.off ? t.off : ""), -1);
        without.off = off;
        got = attempt(without);
        cr_expect_eq(got, otherwise, "%s: without %s: %s", user ? "user" : "root", layer,
                     got > 200 ? "killed" : strerror(got));
        free(off);
    }
}

#define SANDBOX_TEST(Name, Description)                                                            \
    Test(sandbox, Name, .description = Description, .init = make_trial_folder,                     \
         .fini = remove_trial_folder)

static int result_of(long value)
{
    return value < 0 ? errno : 0;
}

/* ---- own uid ---- */

static int open_private(void)
{
    return result_of(open(secret, O_RDONLY));
}

SANDBOX_TEST(own_uid_closes_files, "a file of root's with mode 0600 is closed to a slot's program")
{
    if (!is_root)
        cr_skip_test("needs root");
    cr_assert_eq(chmod(secret, 0600), 0);
    cr_expect_eq(attempt((struct trial){.attempt = open_private, .off = "landlock"}), EACCES);
    cr_expect_eq(attempt((struct trial){.attempt = open_private, .off = "landlock,own uid"}), 0);
}

static int has_only_own_ids(void)
{
    uid_t real, effective, saved;
    gid_t groups[64];

    if (getresuid(&real, &effective, &saved) != 0 || getgroups(64, groups) != 0)
        return EPERM;
    return real == PROGRAM_UID && effective == PROGRAM_UID && saved == PROGRAM_UID &&
                   getgid() == PROGRAM_UID
               ? 0
               : EPERM;
}

static int signal_parent(void)
{
    return result_of(kill(getppid(), 0));
}

SANDBOX_TEST(own_uid_is_whole, "no id or group of the grader stays, and no signal reaches it")
{
    if (!is_root)
        cr_skip_test("needs root");
    cr_expect_eq(attempt((struct trial){.attempt = has_only_own_ids}), 0);
    cr_expect_eq(attempt((struct trial){.attempt = has_only_own_ids, .off = "own uid"}), EPERM);
    cr_expect_eq(attempt((struct trial){.attempt = signal_parent, .off = "landlock"}), EPERM);
    cr_expect_eq(attempt((struct trial){.attempt = signal_parent, .off = "landlock,own uid"}), 0);
}

/* ---- own session ---- */

static int has_session(void)
{
    return getsid(0) == getpid() ? 0 : EPERM;
}

SANDBOX_TEST(session_is_own, "a program leads a session of its own")
{
    proves("own session", (struct trial){.attempt = has_session}, 0, EPERM);
}

/* Echoes bytes until its input ends. */
static int echo_in, echo_out;

static int echo(void)
{
    char c;

    while (read(echo_in, &c, 1) == 1) {
        if (write(echo_out, &c, 1) != 1)
            return EPIPE;
    }
    return 0;
}

/* Kills the starter while its child runs; whether the child lives on. */
static bool outlives_its_parent(const char *off)
{
    int to[2], from[2];
    char c = 'x';
    struct pollfd end;
    pid_t pid;
    bool alive;

    cr_assert_eq(pipe(to), 0);
    cr_assert_eq(pipe(from), 0);
    echo_in = to[0];
    echo_out = from[1];
    pid = fork();
    if (pid == 0) {
        close(to[1]);
        close(from[0]);
        starter(&(struct trial){.attempt = echo, .off = off});
    }
    close(to[0]);
    close(from[1]);
    cr_assert_eq(write(to[1], &c, 1), 1);
    cr_assert_eq(read(from[0], &c, 1), 1, "it runs");
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    /* Alive, it echoes; dead, the pipe has ended: one of the two comes. */
    signal(SIGPIPE, SIG_IGN);
    end = (struct pollfd){.fd = from[0], .events = POLLIN};
    alive = write(to[1], &c, 1) == 1 && poll(&end, 1, 10000) == 1 && read(from[0], &c, 1) == 1;
    close(to[1]);
    close(from[0]);
    return alive;
}

SANDBOX_TEST(session_dies_with_its_parent, "a program dies when the process that started it dies")
{
    cr_expect_not(outlives_its_parent(NULL));
    cr_expect(outlives_its_parent("own session"));
}

/* ---- child subreaper ---- */

SANDBOX_TEST(subreaper_is_set, "what a program leaves running becomes the starter's child")
{
    struct policy policy;
    struct sandbox s;
    int value = -1;

    make_policy(&policy, &(struct trial){0});
    cr_assert_eq(sandbox_prepare(&s, &policy, "child subreaper", NULL), 0);
    cr_assert_eq(prctl(PR_GET_CHILD_SUBREAPER, &value), 0);
    cr_expect_eq(value, 0);
    sandbox_release(&s);
    cr_assert_eq(sandbox_prepare(&s, &policy, NULL, NULL), 0);
    cr_assert_eq(prctl(PR_GET_CHILD_SUBREAPER, &value), 0);
    cr_expect_eq(value, 1);
    sandbox_release(&s);
    policy_release(&policy);
}

/* ---- closed descriptors ---- */

SANDBOX_TEST(descriptors_are_closed, "after exec nothing above 2 is open")
{
    static const char *const list[] = {"/bin/sh", "-c", "! test -e /proc/self/fd/77", NULL};

    cr_assert_eq(dup2(STDERR_FILENO, 77), 77);
    proves("closed descriptors", (struct trial){.exec = list}, 0, 1);
    close(77);
}

SANDBOX_TEST(descriptors_given_stay, "what lies below the kept descriptor is the program's")
{
    struct policy policy;
    struct sandbox s;
    int status;
    pid_t pid;

    make_policy(&policy, &(struct trial){0});
    cr_assert_eq(sandbox_prepare(&s, &policy, NULL, NULL), 0);
    cr_assert_geq(s.ruleset, 200, "out of the caller's way");
    pid = fork();
    if (pid == 0) {
        const char *step;
        char *argv[] = {"sh", "-c", "test -e /proc/self/fd/5 && ! test -e /proc/self/fd/6", NULL};
        dup2(2, 5);
        dup2(2, 6);
        if (sandbox_enter(&s, 6, &step) != 0)
            _exit(99);
        execv("/bin/sh", argv);
        _exit(98);
    }
    waitpid(pid, &status, 0);
    cr_expect_eq(status, 0);
    sandbox_release(&s);
    policy_release(&policy);
}

/* ---- limits ---- */

static int limit_is(int resource, rlim_t soft)
{
    struct rlimit limit;

    getrlimit((__rlimit_resource_t)resource, &limit);
    return limit.rlim_cur == soft ? 0 : ERANGE;
}

static int no_core(void)
{
    return limit_is(RLIMIT_CORE, 0);
}

static int open_many(void)
{
    for (int i = 0; i < 30; i++) {
        if (open("/dev/null", O_RDONLY) == -1)
            return errno;
    }
    return 0;
}

static int allocate(void)
{
    return mmap(NULL, 256 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
               ? errno
               : 0;
}

static int write_much(void)
{
    static char block[1 << 20];
    int fd = open("much", O_CREAT | O_WRONLY, 0600);

    unlink("much");
    return write(fd, block, sizeof(block)) == (ssize_t)sizeof(block) && write(fd, block, 1) == 1
               ? 0
               : errno;
}

static int spin(void)
{
    struct rlimit limit;

    /* A minute of processor time without the layer is too long for a test: look at the limit. */
    getrlimit(RLIMIT_CPU, &limit);
    while (limit.rlim_cur == 1)
        continue;
    return 0;
}

SANDBOX_TEST(limits_hold, "each limit ends what goes over it")
{
    struct rlimit core = {.rlim_cur = 4096, .rlim_max = RLIM_INFINITY};

    setrlimit(RLIMIT_CORE, &core);
    proves("limits", (struct trial){.attempt = no_core}, 0, ERANGE);
    proves("limits", (struct trial){.attempt = open_many, .limits.descriptors = 20}, EMFILE, 0);
    proves("limits", (struct trial){.attempt = allocate, .limits.memory_mb = 128}, ENOMEM, 0);
    proves("limits",
           (struct trial){.attempt = write_much, .limits.file_mb = 1, .off = "process limit"},
           201 + SIGXFSZ, 0);
    proves("limits", (struct trial){.attempt = spin, .limits.cpu_seconds = 1}, 201 + SIGXCPU, 0);
}

static int queue_limit(void)
{
    return limit_is(RLIMIT_MSGQUEUE, 819200);
}

SANDBOX_TEST(limits_leave_one_queue, "the bytes of queues are never below the kernel's default")
{
    cr_expect_eq(attempt((struct trial){.attempt = queue_limit, .limits.queue_bytes = 1000}), 0);
}

/* ---- process limit ---- */

static int fork_many(void)
{
    int ends[2], result = 0;
    char c;

    if (pipe(ends) != 0)
        return errno;
    for (int i = 0; i < 40 && result == 0; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            close(ends[1]);
            _exit((int)read(ends[0], &c, 1));
        }
        if (pid == -1)
            result = errno;
    }
    close(ends[1]);
    while (wait(NULL) > 0)
        continue;
    return result;
}

SANDBOX_TEST(process_limit_holds, "processes over the limit can't be made")
{
    proves("process limit", (struct trial){.attempt = fork_many, .limits.processes = 30}, EAGAIN,
           0);
    proves("process limit", (struct trial){.attempt = fork_many, .limits.processes = 200}, 0, 0);
}

SANDBOX_TEST(process_limit_of_a_user, "without a uid of its own it is on top of what the user has")
{
    struct policy policy;
    struct sandbox s;

    make_policy(&policy, &(struct trial){.user = true, .limits.processes = 30});
    cr_assert_eq(sandbox_prepare(&s, &policy, NULL, NULL), 0);
    cr_expect_geq(s.processes, 32, "this process and its runner are there at least");
    sandbox_release(&s);
    policy_release(&policy);
}

SANDBOX_TEST(process_limit_and_exec, "a program starts where another has used the limit up")
{
    static const char *const yes[] = {"/bin/true", NULL};

    cr_expect_eq(attempt((struct trial){.exec = yes, .limits.processes = 1}), 0);
}

/* ---- no_new_privs ---- */

static int is_without_new_privs(void)
{
    return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : EPERM;
}

SANDBOX_TEST(no_new_privs_is_set, "and a setuid program gains nothing")
{
    if (!is_root)
        cr_skip_test("needs root");
    const char *probe[] = {"./id", "-u", NULL};
    char *id = path_join(folder, "id"), *out = path_join(folder, "out");
    int saved = dup(STDOUT_FILENO);

    /* The filters need the layer where we are not root. */
    proves("no_new_privs",
           (struct trial){.attempt = is_without_new_privs, .off = "landlock,seccomp"}, 0, EPERM);
    cr_assert_eq(file_copy("/usr/bin/id", id, 0755, NULL), 0);
    cr_assert_eq(chmod(id, 04755), 0);
    for (int without = 0; without < 2; without++) {
        struct strbuf text = STRBUF_INIT;
        int fd = open(out, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
        dup2(fd, STDOUT_FILENO);
        int status = attempt((struct trial){
            .exec = probe, .off = without ? "landlock,seccomp,no_new_privs" : "landlock,seccomp"});
        dup2(saved, STDOUT_FILENO);
        close(fd);
        cr_expect_eq(status, 0);
        cr_assert_eq(file_read(out, 100, &text, NULL), 0);
        cr_expect_str_eq(text.text, without ? "0\n" : "60998\n");
        strbuf_release(&text);
    }
    close(saved);
    free(id);
    free(out);
}

/* ---- landlock ---- */

/* zlib, which every Debian has. */
static int read_library(void)
{
    static const char *const folders[] = {"/usr/lib/x86_64-linux-gnu",
                                          "/usr/lib/aarch64-linux-gnu"};
    char path[64];

    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        snprintf(path, sizeof(path), "%s/libz.so.1", folders[i]);
        if (open(path, O_RDONLY) != -1)
            return 0;
        if (errno != ENOENT)
            return errno;
    }
    return ENOENT;
}

SANDBOX_TEST(landlock_closes_libraries, "dlopen(3) brings in no library that does a lab")
{
    proves("landlock", (struct trial){.attempt = read_library, .bare = true}, EACCES, 0);
    /* With the commands come the libraries that they need. */
    cr_expect_eq(attempt((struct trial){.attempt = read_library}), 0);
}

static int read_secret(void)
{
    return result_of(open(secret, O_RDONLY));
}

static int write_tmp(void)
{
    char name[] = "/tmp/ipclab-test-XXXXXX";
    int fd = mkstemp(name);

    if (fd != -1)
        unlink(name);
    return result_of(fd);
}

static int truncate_secret(void)
{
    return result_of(truncate(secret, 0));
}

static int use_own_folder(void)
{
    return mkdir("d", 0700) == 0 && open("d/f", O_CREAT | O_RDWR, 0600) != -1 &&
                   rename("d/f", "f") == 0 && symlink("f", "l") == 0 && truncate("f", 3) == 0 &&
                   unlink("f") == 0 && rmdir("d") == 0 && unlink("l") == 0
               ? 0
               : errno;
}

static int make_fifo(void)
{
    int result = result_of(mkfifo("fifo", 0600));

    unlink("fifo");
    return result;
}

SANDBOX_TEST(landlock_closes_files, "files outside of the policy are closed, the folder is open")
{
    const unsigned all = PATH_READ | PATH_WRITE | PATH_EXECUTE;

    cr_assert_eq(chmod(secret, 0666), 0);
    proves("landlock", (struct trial){.attempt = read_secret}, EACCES, 0);
    proves("landlock", (struct trial){.attempt = truncate_secret}, EACCES, 0);
    proves("landlock", (struct trial){.attempt = write_tmp}, EACCES, 0);
    proves("landlock", (struct trial){.attempt = use_own_folder}, 0, 0);
    proves("landlock", (struct trial){.attempt = make_fifo, .rights = all}, EACCES, 0);
    proves("landlock", (struct trial){.attempt = make_fifo, .rights = all | PATH_FIFO}, 0, 0);
    proves("landlock", (struct trial){.attempt = use_own_folder, .rights = PATH_READ}, EACCES, 0);
}

static char abstract_name[32];

static int connect_abstract(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    memcpy(address.sun_path + 1, abstract_name, sizeof(abstract_name));
    return result_of(
        connect(fd, (struct sockaddr *)&address, sizeof(sa_family_t) + 1 + sizeof(abstract_name)));
}

static int bind_tcp(void)
{
    struct sockaddr address = {.sa_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    return result_of(bind(fd, &address, 16));
}

static int landlock_version(void)
{
    return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

SANDBOX_TEST(landlock_closes_the_net, "TCP where sockets are excluded, even without seccomp")
{
    if (landlock_version() < 4)
        cr_skip_test("needs Landlock ABI 4");
    proves("landlock",
           (struct trial){.attempt = bind_tcp, .off = "seccomp", .excludes = EXCLUDE_SOCKETS},
           EACCES, 0);
    proves("landlock", (struct trial){.attempt = bind_tcp, .off = "seccomp"}, 0, 0);
}

SANDBOX_TEST(landlock_scopes, "no signal and no abstract socket leads out")
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (landlock_version() < 6)
        cr_skip_test("needs Landlock ABI 6");
    snprintf(abstract_name, sizeof(abstract_name), "ipclab-test-%d", getpid());
    memcpy(address.sun_path + 1, abstract_name, sizeof(abstract_name));
    cr_assert_eq(
        bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t) + 1 + sizeof(abstract_name)), 0);
    cr_assert_eq(listen(fd, 50), 0);
    proves("landlock", (struct trial){.attempt = connect_abstract, .off = "seccomp"}, EPERM, 0);
    proves("landlock", (struct trial){.attempt = signal_parent, .off = "own uid"}, EPERM, 0);
    close(fd);
}

/* ---- seccomp ---- */

static int call_ptrace(void)
{
    return result_of(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}

static int call_unshare(void)
{
    return result_of(unshare(CLONE_NEWUTS | CLONE_NEWUSER));
}

static int call_clone_namespace(void)
{
    long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);

    if (pid == 0)
        _exit(0);
    return result_of(pid);
}

static int call_clone3(void)
{
    return result_of(syscall(SYS_clone3, NULL, 0)); /* EINVAL from the kernel itself */
}

static int call_io_uring(void)
{
    char params[120] = {0};

    return result_of(syscall(SYS_io_uring_setup, 4, params));
}

static int call_keyctl(void)
{
    return result_of(syscall(SYS_keyctl, 0, -3, 0, 0, 0)); /* the session's keyring */
}

static int call_personality(void)
{
    int query = personality(0xffffffff);

    return query == -1 ? EIO : result_of(personality(ADDR_NO_RANDOMIZE));
}

static int call_hide(void)
{
    /* With garbage in the upper half, which the kernel does not look at. */
    return result_of((int)syscall(SYS_prctl, 0x100000000UL | PR_SET_DUMPABLE, 0UL, 0UL, 0UL, 0UL));
}

static int call_be_seen(void)
{
    return result_of(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
}

static int call_kill_all(void)
{
    return result_of(kill(-1, 0));
}

static int call_kill_self(void)
{
    return result_of(kill(0, 0) == 0 ? kill(getpid(), 0) : -1);
}

static int terminal;

static int call_tiocsti(void)
{
    char c = 'x';

    /* With garbage in the upper half, which the kernel does not look at. */
    return result_of(syscall(SYS_ioctl, terminal, 0x100000000UL | TIOCSTI, &c));
}

static int call_tioclinux(void)
{
    char c = 3;

    return result_of(ioctl(terminal, TIOCLINUX, &c)); /* ENOTTY from a pseudo terminal */
}

static int call_mknod_socket(void)
{
    int result = result_of(mknod("socket", S_IFSOCK | 0600, 0));

    unlink("socket");
    return result;
}

static int call_mknod_regular(void)
{
    int result = result_of(mknod("regular", S_IFREG | 0600, 0));

    unlink("regular");
    return result;
}

SANDBOX_TEST(seccomp_refuses, "what no lab needs is refused with an errno and kills nobody")
{
    proves("seccomp", (struct trial){.attempt = call_ptrace}, EPERM, 0);
    proves("seccomp", (struct trial){.attempt = call_unshare}, EPERM, 0);
    proves("seccomp", (struct trial){.attempt = call_clone_namespace}, EPERM, 0);
    proves("seccomp", (struct trial){.attempt = call_clone3}, ENOSYS, EINVAL);
    proves("seccomp", (struct trial){.attempt = call_io_uring}, EPERM, 0);
    proves("seccomp", (struct trial){.attempt = call_keyctl}, EPERM, 0);
    proves("seccomp", (struct trial){.attempt = call_personality}, EPERM, 0);
    proves("seccomp", (struct trial){.attempt = call_hide}, EPERM, 0);
    proves("seccomp", (struct trial){.attempt = call_be_seen}, 0, 0);
    proves("seccomp", (struct trial){.attempt = call_kill_all, .off = "landlock"}, EPERM, 0);
    proves("seccomp", (struct trial){.attempt = call_kill_self}, 0, 0);
    proves("seccomp", (struct trial){.attempt = call_mknod_socket, .off = "landlock"}, EPERM, 0);
    proves("seccomp", (struct trial){.attempt = call_mknod_regular}, 0, 0);
}

SANDBOX_TEST(seccomp_keeps_terminals, "nothing is typed into a terminal that is open")
{
    int primary = posix_openpt(O_RDWR | O_NOCTTY);

    cr_assert_neq(primary, -1);
    cr_assert_eq(grantpt(primary), 0);
    cr_assert_eq(unlockpt(primary), 0);
    terminal = open(ptsname(primary), O_RDWR | O_NOCTTY);
    cr_assert_neq(terminal, -1);
    struct trial t = {.attempt = call_tiocsti};
    cr_expect_eq(attempt(t), EPERM);
    if (is_root) { /* others may type only into their own terminal, and a session has none */
        t.off = "seccomp,own uid,landlock";
        int got = attempt(t);
        cr_expect(got == 0 || got == EIO, "dev.tty.legacy_tiocsti decides: %s", strerror(got));
    }
    proves("seccomp", (struct trial){.attempt = call_tioclinux, .off = "landlock"}, EPERM, ENOTTY);
    close(terminal);
    close(primary);
}

#ifdef __x86_64__
static int call_32_bit(void)
{
    long result;

    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20) : "memory"); /* i386's getpid */
    return result < 0 ? (int)-result : 0;
}

static int call_x32(void)
{
    return result_of(syscall(0x40000000 | SYS_unshare, CLONE_NEWUSER));
}

SANDBOX_TEST(seccomp_other_architectures, "their calls are missing, and nobody is killed")
{
    struct trial t = {.attempt = call_32_bit, .off = "seccomp"};

    if (attempt(t) == 0) { /* a kernel that has them */
        t.off = NULL;
        cr_expect_eq(attempt(t), ENOSYS);
    }
    cr_expect_eq(attempt((struct trial){.attempt = call_x32}), ENOSYS);
}
#endif

static void *nothing(void *argument)
{
    return argument;
}

static int use_threads_and_spawn(void)
{
    char *argv[] = {"true", NULL};
    pthread_t thread;
    pid_t pid;
    int status, error = pthread_create(&thread, NULL, nothing, NULL);

    if (error != 0)
        return error;
    pthread_join(thread, NULL);
    error = posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ);
    if (error != 0)
        return error;
    waitpid(pid, &status, 0);
    return status == 0 && system("true | cat") == 0 ? 0 : ECHILD;
}

SANDBOX_TEST(seccomp_lets_right_programs,
             "threads, posix_spawn and shells work in the whole sandbox")
{
    const unsigned all = EXCLUDE_SOCKETS | EXCLUDE_SYSV_IPC | EXCLUDE_POSIX_QUEUES |
                         EXCLUDE_SHARED_MEMORY | EXCLUDE_NAMED_PIPES;
    struct trial t = {.attempt = use_threads_and_spawn, .excludes = all};

    for (int user = !is_root; user < 2; user++) {
        t.user = user;
        cr_expect_eq(attempt(t), 0);
        cr_expect_eq(board->told_count, 0, "told: %s", board->told[0].call);
    }
}

/* ---- what a lab excludes ---- */

static int call_socket(void)
{
    return result_of(socket(AF_INET, SOCK_STREAM, 0));
}

static int call_socketpair(void)
{
    int ends[2];

    return result_of(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
}

static int call_odd_family(void)
{
    return result_of(socket(AF_BLUETOOTH, SOCK_RAW, 0));
}

static int call_shmget(void)
{
    int id = shmget(IPC_PRIVATE, 100, 0600);

    if (id != -1)
        shmctl(id, IPC_RMID, NULL);
    return result_of(id);
}

static int call_semget(void)
{
    int id = semget(IPC_PRIVATE, 1, 0600);

    if (id != -1)
        semctl(id, 0, IPC_RMID);
    return result_of(id);
}

static int call_msgget(void)
{
    int id = msgget(IPC_PRIVATE, 0600);

    if (id != -1)
        msgctl(id, IPC_RMID, NULL);
    return result_of(id);
}

static int call_mq_open(void)
{
    int result = result_of(mq_open("/ipclab-test-queue", O_CREAT | O_RDWR, 0600, NULL));

    mq_unlink("/ipclab-test-queue");
    return result;
}

static int call_memfd(void)
{
    return result_of(memfd_create("x", 0));
}

static int call_shm_open(void)
{
    int result = result_of(shm_open("/ipclab-test-object", O_RDWR | O_CREAT, 0600));

    shm_unlink("/ipclab-test-object");
    return result;
}

static int call_shm_open_to_read(void)
{
    int result = result_of(shm_open("/ipclab-test-none", O_RDONLY, 0));

    return result == ENOENT ? 0 : result;
}

static int semaphore(int flags)
{
    int result =
        result_of(sem_open("/ipclab-test-semaphore", flags, 0600, 1) == SEM_FAILED ? -1 : 0);

    sem_unlink("/ipclab-test-semaphore");
    return result;
}

static int call_sem_open(void)
{
    return semaphore(O_CREAT);
}

static int call_sem_open_exclusively(void)
{
    return semaphore(O_CREAT | O_EXCL);
}

/* A path whose end is the end of what can be read. */
static const char *at_the_end_of_memory(const char *path)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), len = strlen(path) + 1;
    char *at = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (at == MAP_FAILED || munmap(at + page, page) != 0)
        return NULL;
    return memcpy(at + page - len, path, len);
}

static int open_object(void)
{
    const char *path = at_the_end_of_memory("/dev/shm/ipclab-test-file");
    int result = result_of(open(path, O_RDWR | O_CREAT, 0600));

    unlink(path);
    return result;
}

static void *open_in_thread(void *result)
{
    *(int *)result = open_object();
    return NULL;
}

static int open_object_in_a_thread(void)
{
    pthread_t thread;
    int result = ECHILD;

    if (pthread_create(&thread, NULL, open_in_thread, &result) == 0)
        pthread_join(thread, NULL);
    return result;
}

static int call_nscd_socket(void)
{
    return result_of(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

static const struct {
    int (*attempt)(void);
    unsigned rule;
    int error;
    const char *told;
} excluded[] = {
    {call_socket, EXCLUDE_SOCKETS, EAFNOSUPPORT, "socket(AF_INET)"},
    {call_odd_family, EXCLUDE_SOCKETS, EAFNOSUPPORT, "socket(31)"},
    {call_socketpair, EXCLUDE_SOCKETS, EPERM, "socketpair(AF_UNIX)"},
    {call_shmget, EXCLUDE_SYSV_IPC, EPERM, "shmget"},
    {call_semget, EXCLUDE_SYSV_IPC, EPERM, "semget"},
    {call_msgget, EXCLUDE_SYSV_IPC, EPERM, "msgget"},
    {call_mq_open, EXCLUDE_POSIX_QUEUES, EPERM, "mq_open"},
    {call_memfd, EXCLUDE_SHARED_MEMORY, EPERM, "memfd_create"},
    {call_shm_open, EXCLUDE_SHARED_MEMORY, EACCES, "shm_open"},
    {call_shm_open_to_read, EXCLUDE_SHARED_MEMORY, EACCES, "shm_open"},
    {call_sem_open, EXCLUDE_SHARED_MEMORY, EACCES, "sem_open"},
    {call_sem_open_exclusively, EXCLUDE_SHARED_MEMORY, EACCES, "sem_open"},
    {open_object_in_a_thread, EXCLUDE_SHARED_MEMORY, EACCES, "open(/dev/shm)"},
    {open_object, EXCLUDE_SHARED_MEMORY, EACCES, "open(/dev/shm)"},
    {make_fifo, EXCLUDE_NAMED_PIPES, EPERM, "mknod(FIFO)"},
};

enum { EXCLUDED_COUNT = sizeof(excluded) / sizeof(excluded[0]) };

SANDBOX_TEST(excluded_calls_are_told,
             "each is refused, named with its rule, and only where excluded")
{
    for (int i = 0; i < EXCLUDED_COUNT; i++) {
        struct trial t = {.attempt = excluded[i].attempt,
                          .excludes = excluded[i].rule,
                          .rights = PATH_READ | PATH_WRITE | PATH_FIFO};
        for (int user = !is_root; user < 2; user++) {
            t.user = user;
            t.excludes = excluded[i].rule;
            t.objects = false;
            int got = attempt(t);
            cr_expect_eq(got, excluded[i].error, "%s: %s", excluded[i].told, strerror(got));
            cr_assert_eq(board->told_count, 1, "%s is told once", excluded[i].told);
            cr_expect_str_eq(board->told[0].call, excluded[i].told);
            cr_expect_eq(board->told[0].rule, excluded[i].rule);
            cr_expect_eq(board->told[0].error, excluded[i].error);
            t.excludes = 0x1f & ~excluded[i].rule;
            t.objects = !(t.excludes & EXCLUDE_SHARED_MEMORY);
            /* Without a mount of them an ordinary user's Landlock can't allow queues. */
            if (excluded[i].attempt == call_mq_open && user && access("/dev/mqueue", F_OK) != 0)
                t.off = "landlock";
            got = attempt(t);
            if (excluded[i].attempt != call_odd_family)
                cr_expect_eq(got, 0, "%s where allowed: %s", excluded[i].told, strerror(got));
            cr_expect_eq(board->told_count, 0, "%s", board->told[0].call);
        }
    }
}

SANDBOX_TEST(excluded_calls_without_listener, "the errno is the same when nobody answers")
{
    for (int i = 0; i < EXCLUDED_COUNT; i++) {
        struct trial t = {.attempt = excluded[i].attempt,
                          .excludes = excluded[i].rule,
                          .rights = PATH_READ | PATH_WRITE | PATH_FIFO,
                          .quiet = true};
        int got = attempt(t);
        /* Of an object that is not there Landlock is not asked. */
        int want = excluded[i].attempt == call_shm_open_to_read ? 0 : excluded[i].error;
        cr_expect_eq(got, want, "%s: %s", excluded[i].told, strerror(got));
    }
}

/* As shm_open(3) and sem_open(3) open their files, and yet none of theirs. */
static int open_files_of_its_own(void)
{
    char name[] = "XXXXXX";
    FILE *file;

    if (open("lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600) == -1 ||
        open(at_the_end_of_memory("lock"), O_RDONLY | O_NOFOLLOW | O_CLOEXEC) == -1 ||
        mkstemp(name) == -1)
        return errno;
    file = fopen("journal", "w+");
    if (file == NULL || fputs("x", file) == EOF || fclose(file) != 0)
        return errno;
    if (open("no/folder", O_RDWR | O_CREAT, 0600) != -1 || errno != ENOENT)
        return ENOTRECOVERABLE;
    if (open((const char *)16, O_RDWR | O_CREAT, 0600) != -1 || errno != EFAULT)
        return ENOTRECOVERABLE;
    unlink("lock");
    unlink("journal");
    unlink(name);
    return 0;
}

SANDBOX_TEST(files_are_no_objects, "what is opened as an object is, and is none, goes on untold")
{
    struct trial t = {.attempt = open_files_of_its_own,
                      .excludes = EXCLUDE_SHARED_MEMORY,
                      .rights = PATH_READ | PATH_WRITE};

    for (int run = 0; run < 4; run++) {
        t.user = run % 2 != 0 || !is_root;
        t.quiet = run >= 2;
        int got = attempt(t);
        cr_expect_eq(got, 0, "run %d: %s", run, strerror(got));
        cr_expect_eq(board->told_count, 0, "%s", board->told[0].call);
    }
}

SANDBOX_TEST(library_calls_are_not_told, "nscd's client is refused, and no student's fault")
{
    struct trial t = {.attempt = call_nscd_socket, .excludes = EXCLUDE_SOCKETS};

    cr_expect_eq(attempt(t), EAFNOSUPPORT);
    cr_expect_eq(board->told_count, 0);
    t.excludes = 0; /* a lab about sockets: internet families alone, and no word */
    cr_expect_eq(attempt(t), EAFNOSUPPORT);
    t.attempt = call_odd_family;
    cr_expect_eq(attempt(t), EAFNOSUPPORT);
    cr_expect_eq(board->told_count, 0);
}

SANDBOX_TEST(compiled_filter_is_used, "a program compiled once serves every start")
{
    struct policy policy;
    struct sandbox s;
    struct error err = ERROR_INIT;
    char *path = path_join(folder, "filter");

    make_policy(&policy, &(struct trial){.excludes = EXCLUDE_SOCKETS});
    cr_assert_eq(sandbox_compile_filter(&policy, path, &err), 0, "%s", err.text);
    cr_assert_eq(sandbox_prepare(&s, &policy, NULL, &err), 0);
    size_t count = s.filter_count;
    void *own = malloc(count * 8);
    memcpy(own, s.filter, count * 8);
    sandbox_release(&s);
    policy.filter = path;
    cr_assert_eq(sandbox_prepare(&s, &policy, NULL, &err), 0, "%s", err.text);
    cr_assert_eq(s.filter_count, count);
    cr_expect_eq(memcmp(own, s.filter, count * 8), 0);
    sandbox_release(&s);
    cr_assert_eq(truncate(path, 5), 0);
    cr_expect_eq(sandbox_prepare(&s, &policy, NULL, &err), -1);
    cr_expect_eq(err.fault, FAULT_GRADER);
    policy_release(&policy);
    free(own);
}

/* ---- whole programs inside ---- */

SANDBOX_TEST(valgrind_runs_inside, "in the whole sandbox, and finds what it should")
{
    static const char *const clean[] = {
        "/usr/bin/valgrind", "--vgdb=no", "-q", "--error-exitcode=9", "/bin/echo", "hello", NULL};
    struct trial t = {
        .exec = clean, .excludes = 0x1f, .limits.descriptors = 256, .limits.processes = 200};

    if (access(clean[0], X_OK) != 0)
        cr_skip_test("needs valgrind");
    for (int user = !is_root; user < 2; user++) {
        t.user = user;
        cr_expect_eq(attempt(t), 0);
    }
}

SANDBOX_TEST(compiler_runs_inside, "with its headers and linker")
{
    static const char *const compile[] = {"/usr/bin/gcc", "-o", "hello", "hello.c", NULL};
    static const char *const run[] = {"./hello", NULL};
    static const char source[] = "#include <stdio.h>\nint main(void) { return puts(\"\") < 0; }\n";
    char *path = path_join(folder, "hello.c");

    cr_assert_eq(file_write_whole(path, 0644, source, strlen(source), NULL), 0);
    cr_expect_eq(attempt((struct trial){.exec = compile, .excludes = 0x1f}), 0);
    cr_expect_eq(attempt((struct trial){.exec = run, .excludes = 0x1f}), 0);
    free(path);
}

/* ---- data ---- */

SANDBOX_TEST(policy_as_json, "what is written is read back")
{
    struct policy p, q;
    struct error err = ERROR_INIT;
    struct trial t = {.excludes = 5,
                      .limits = {.cpu_seconds = 1, .descriptors = -1, .memory_mb = 1 << 30}};

    make_policy(&p, &t);
    p.filter = strdup("/x/filter");
    cJSON *json = policy_to_json(&p);
    cr_assert_eq(policy_from_json(&q, json, &err), 0, "%s", err.text);
    cr_expect_eq(q.path_count, p.path_count);
    for (size_t i = 0; i < p.path_count; i++) {
        cr_expect_str_eq(q.paths[i].path, p.paths[i].path);
        cr_expect_eq(q.paths[i].rights, p.paths[i].rights);
    }
    cr_expect_str_eq(q.filter, p.filter);
    cr_expect_str_eq(q.directory, p.directory);
    cr_expect(q.own_ids == p.own_ids && q.uid == p.uid && q.gid == p.gid && q.excludes == 5);
    cr_expect(q.cpu_seconds == 1 && q.descriptors == -1 && q.memory_mb == 1 << 30);
    policy_release(&q);
    cJSON_DeleteItemFromObject(json, "uid");
    cr_expect_eq(policy_from_json(&q, json, &err), -1);
    cJSON_Delete(json);
    policy_release(&p);
}

SANDBOX_TEST(report_names_layers, "one left out is named, and makes a grade unofficial")
{
    struct strbuf why = STRBUF_INIT;
    cJSON *report = sandbox_report("landlock");
    const cJSON *item;
    int count = 0;

    cJSON_ArrayForEach (item, report) {
        if (strcmp(json_string_or(item, "layer", ""), "landlock") == 0)
            cr_expect_not(json_bool_or(item, "active", true));
        cr_expect_neq(json_string_or(item, "detail", "")[0], '\0');
        count++;
    }
    cr_expect_eq(count, 10);
    cr_expect_not(sandbox_is_official("landlock", &why));
    cr_expect_neq(why.len, 0);
    strbuf_reset(&why);
    cr_expect_eq(sandbox_is_official(NULL, &why), is_root, "%s", why.text);
    strbuf_release(&why);
    cJSON_Delete(report);
}
