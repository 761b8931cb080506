/*
 * misbehave.c - a program that does, one at a time, everything that the harness promises to notice.
 *
 *   misbehave WHAT [ARG]
 */
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void sleep_forever(void)
{
    for (;;)
        pause();
}

/* Waits for ever at a semaphore that stands at byte 72 of an object of shared memory, one of many
 * things that are mapped. */
static void wait_at_semaphore(const char *name)
{
    int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    char *at = MAP_FAILED;
    if (fd >= 0 && ftruncate(fd, 4096) == 0)
        at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    shm_unlink(name);
    int self = open("/proc/self/exe", O_RDONLY);
    for (int i = 0; i < 200; i++)
        mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, self, 0);
    if (at == MAP_FAILED || sem_init((sem_t *)(void *)(at + 72), 1, 0) != 0)
        printf("%s\n", strerror(errno));
    else
        sem_wait((sem_t *)(void *)(at + 72));
}

/* Waits for ever for a message. */
static void wait_at_queue(const char *name)
{
    char message[64];
    struct mq_attr attributes = {.mq_maxmsg = 1, .mq_msgsize = sizeof message};
    mqd_t queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attributes);
    mq_unlink(name);
    if (mq_receive(queue, message, sizeof message, NULL) < 0)
        printf("%s\n", strerror(errno));
}

/* Sleeps in one call for so many seconds; -1: until it is woken. */
static void sleep_in(const char *call, long seconds)
{
    struct timespec span = {.tv_sec = seconds}, moment, *end = seconds < 0 ? NULL : &moment;
    sigset_t nothing;
    sem_t semaphore;
    char message[64];
    sigemptyset(&nothing);
    clock_gettime(CLOCK_REALTIME, &moment);
    moment.tv_sec += seconds;
    if (strcmp(call, "nanosleep") == 0) {
        nanosleep(&span, NULL);
    } else if (strcmp(call, "poll") == 0) {
        poll(NULL, 0, seconds < 0 ? -1 : (int)seconds * 1000);
    } else if (strcmp(call, "ppoll") == 0) {
        ppoll(NULL, 0, seconds < 0 ? NULL : &span, NULL);
    } else if (strcmp(call, "select") == 0) {
        struct timeval time = {.tv_sec = seconds};
        select(0, NULL, NULL, NULL, seconds < 0 ? NULL : &time);
    } else if (strcmp(call, "epoll") == 0) {
        struct epoll_event event;
        epoll_wait(epoll_create1(0), &event, 1, seconds < 0 ? -1 : (int)seconds * 1000);
    } else if (strcmp(call, "semaphore") == 0) {
        sem_init(&semaphore, 0, 0);
        if (end == NULL)
            sem_wait(&semaphore);
        else
            sem_timedwait(&semaphore, end);
    } else if (strcmp(call, "signal") == 0) {
        sigtimedwait(&nothing, NULL, seconds < 0 ? NULL : &span);
    } else if (strcmp(call, "queue") == 0) {
        struct mq_attr attributes = {.mq_maxmsg = 1, .mq_msgsize = sizeof message};
        char name[32];
        snprintf(name, sizeof name, "/unit-%d", (int)getpid());
        mqd_t queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attributes);
        mq_unlink(name);
        mq_timedreceive(queue, message, sizeof message, NULL, end);
    }
    printf("%s\n", strerror(errno));
}

static void *sleep_in_thread(void *call)
{
    sleep_in(call, 30);
    return NULL;
}

static void spin(void)
{
    volatile unsigned long count = 0;
    for (;;)
        count++;
}

/* Waits by looking again and again: asleep nearly always, and yet not blocked. */
static void poll_with_sleeps(void)
{
    struct timespec t = {.tv_nsec = 3 * 1000 * 1000};
    for (;;)
        nanosleep(&t, NULL);
}

static void *thread_reads(void *unused)
{
    char byte;
    (void)unused;
    return read(0, &byte, 1) == 1 ? (void *)1 : NULL;
}

static void threads(int count)
{
    pthread_t t[8];
    for (int i = 0; i < count; i++)
        pthread_create(&t[i], NULL, thread_reads, NULL);
    for (int i = 0; i < count; i++)
        pthread_join(t[i], NULL);
}

static void *thread_spins(void *unused)
{
    spin();
    return unused;
}

static void one_thread_spins(void)
{
    pthread_t t;
    pthread_create(&t, NULL, thread_spins, NULL);
    sleep_forever();
}

/* A process whose parent has ended opens `count` files, and looks again and again; the first one
 * does nothing. */
static void work_apart(int count)
{
    pid_t between = fork();
    if (between > 0) {
        waitpid(between, NULL, 0);
        sleep_forever();
    }
    if (fork() > 0)
        _exit(0);
    for (int i = 0; i < count; i++)
        open("/dev/null", O_RDONLY);
    printf("ready\n");
    fflush(stdout);
    for (;;)
        poll(NULL, 0, 1000);
}

/* Waits for the process in between, so that exactly one is left whenever somebody counts. */
static void daemonise(void)
{
    pid_t between = fork();
    if (between > 0) {
        waitpid(between, NULL, 0);
        _exit(0);
    }
    setsid();
    if (fork() > 0)
        _exit(0);
    for (int fd = 0; fd <= 2; fd++)
        close(fd);
    sleep_forever();
}

static void leave_zombies(int count)
{
    for (int i = 0; i < count; i++) {
        siginfo_t info;
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT); /* sees the end and leaves it */
    }
}

static void flood(void)
{
    static char bytes[65536];
    memset(bytes, 'x', sizeof bytes);
    while (write(1, bytes, sizeof bytes) > 0)
        ;
}

/* Its child keeps standard output open after the end. */
static void hold_output(void)
{
    if (fork() == 0)
        sleep_forever();
}

static void copy(void)
{
    static char bytes[65536];
    ssize_t n;
    while ((n = read(0, bytes, sizeof bytes)) > 0)
        if (write(1, bytes, (size_t)n) != n)
            _exit(1);
}

/* The classic: a parent that keeps the writing end, so that its child never sees the end. */
static void keep_write_end(void)
{
    int p[2];
    if (pipe(p) != 0)
        _exit(9);
    if (fork() == 0) {
        dup2(p[0], 0);
        close(p[0]);
        close(p[1]);
        execlp("cat", "cat", (char *)NULL);
        _exit(127);
    }
    close(p[0]);
    wait(NULL);
}

/*
 * Two cat(1) with a pipe between them, ours the outer ends; with "between", a process of ours
 * carries the bytes from the one to the other.
 */
static void join_cats(const char *how)
{
    bool between = strcmp(how, "between") == 0;
    int left[2], right[2];
    pipe2(left, O_CLOEXEC);
    pipe2(right, O_CLOEXEC);
    if (fork() == 0) {
        dup2(left[1], 1);
        execl("/bin/cat", "cat", (char *)NULL);
        _exit(127);
    }
    if (fork() == 0) {
        dup2(between ? right[0] : left[0], 0);
        execl("/bin/cat", "cat", (char *)NULL);
        _exit(127);
    }
    close(left[1]);
    close(right[0]);
    if (between) {
        dup2(left[0], 0);
        dup2(right[1], 1);
        close(left[0]);
        close(right[1]);
        copy();
        close(1);
    } else {
        close(left[0]);
        close(right[1]);
    }
    while (wait(NULL) > 0)
        ;
}

static void poll_own_pipe(void)
{
    int p[2];
    if (pipe(p) != 0)
        _exit(9);
    struct pollfd one = {.fd = p[0], .events = POLLIN};
    poll(&one, 1, -1);
}

static void list_descriptors(void)
{
    for (int fd = 0; fd < sysconf(_SC_OPEN_MAX); fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            printf("%d ", fd);
    printf("\n");
}

static void write_everywhere(const char *how)
{
    int reached = 0;
    for (int fd = 3; fd <= 2000; fd++) {
        if (strcmp(how, "dup2") == 0) {
            if (dup2(fd, 100) == 100)
                (void)!write(100, "<!--", 4);
            continue;
        }
        if (write(fd, "</valgrindoutput>", 17) > 0)
            reached++;
        (void)!pwrite(fd, "x", 1, 0); /* reaches files of valgrind's, but no pipe */
        close(fd);
    }
    printf("reached %d\n", reached);
}

static void show_start(void)
{
    sigset_t mask;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    printf("ignored:");
    for (int i = 1; i < 65; i++) {
        struct sigaction a;
        if (sigaction(i, NULL, &a) == 0 && a.sa_handler == SIG_IGN)
            printf(" %d", i);
    }
    printf("\nblocked:");
    for (int i = 1; i < 65; i++)
        if (sigismember(&mask, i) == 1)
            printf(" %d", i);
    printf("\nsession: %s\n", getsid(0) == getpid() ? "own" : "other");
}

static int memory(const char *what)
{
    char *volatile block = malloc(40);
    if (strcmp(what, "leak") == 0)
        block = NULL;
    else if (strcmp(what, "write") == 0)
        ((volatile char *)block)[40] = 1;
    else if (strcmp(what, "uninitialised") == 0 && ((volatile char *)block)[3] == 'x')
        write(2, "x", 1);
    else if (strcmp(what, "descriptor") == 0)
        (void)!open("/dev/null", O_RDONLY);
    else if (strcmp(what, "exec") == 0)
        execlp("true", "true", (char *)NULL);
    else if (strcmp(what, "kill") == 0) { /* valgrind carries a signal to itself out in order */
        if (fork() == 0)
            _exit(kill(getppid(), SIGKILL));
        wait(NULL);
        pause();
    } else if (strcmp(what, "crash") == 0)
        raise(SIGSEGV);
    else if (strcmp(what, "children") == 0) { /* all wrong in the same way; the last is killed */
        for (int i = 0; i < 5; i++)
            if (fork() == 0) {
                ((volatile char *)block)[40] = 1;
                _exit(i < 4 ? 0 : kill(getpid(), SIGKILL));
            }
        while (wait(NULL) > 0)
            continue;
    } else if (strcmp(what, "child") == 0) {
        if (fork() == 0) {
            block = malloc(77);
            block = NULL;
            _exit(0);
        }
        wait(NULL);
    }
    free(block);
    return 7;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    const char *arg = argc > 2 ? argv[2] : "";
    if (strcmp(what, "sleep") == 0)
        sleep_forever();
    else if (strcmp(what, "spin") == 0)
        spin();
    else if (strcmp(what, "wait-at-semaphore") == 0)
        wait_at_semaphore(arg);
    else if (strcmp(what, "wait-at-queue") == 0)
        wait_at_queue(arg);
    else if (strcmp(what, "sleep-in") == 0)
        sleep_in(arg, argc > 3 ? atol(argv[3]) : -1);
    else if (strcmp(what, "thread-sleeps-in") == 0) {
        pthread_t thread;
        pthread_create(&thread, NULL, sleep_in_thread, argv[2]);
        sleep_forever();
    } else if (strcmp(what, "nap") == 0)
        poll_with_sleeps();
    else if (strcmp(what, "stop") == 0)
        raise(SIGSTOP);
    else if (strcmp(what, "crash") == 0)
        raise(SIGSEGV);
    else if (strcmp(what, "abort") == 0)
        abort();
    else if (strcmp(what, "killed") == 0)
        raise(SIGKILL);
    else if (strcmp(what, "threads") == 0)
        threads(atoi(arg));
    else if (strcmp(what, "thread-spins") == 0)
        one_thread_spins();
    else if (strcmp(what, "daemonise") == 0)
        daemonise();
    else if (strcmp(what, "work-apart") == 0)
        work_apart(atoi(arg));
    else if (strcmp(what, "zombies") == 0)
        leave_zombies(atoi(arg));
    else if (strcmp(what, "flood") == 0)
        flood();
    else if (strcmp(what, "hold-output") == 0)
        hold_output();
    else if (strcmp(what, "copy") == 0)
        copy();
    else if (strcmp(what, "keep-write-end") == 0)
        keep_write_end();
    else if (strcmp(what, "poll-pipe") == 0)
        poll_own_pipe();
    else if (strcmp(what, "descriptors") == 0)
        list_descriptors();
    else if (strcmp(what, "write-everywhere") == 0)
        write_everywhere(arg);
    else if (strcmp(what, "show-start") == 0)
        show_start();
    else if (strcmp(what, "memory") == 0)
        return memory(arg);
    else if (strcmp(what, "argv0") == 0)
        printf("%s\n", argv[0]);
    else if (strcmp(what, "become") == 0) {
        execl(arg, arg, argc > 3 ? argv[3] : (char *)NULL, (char *)NULL);
        printf("%s\n", strerror(errno));
    } else if (strcmp(what, "joined") == 0) {
        join_cats(arg);
    } else if (strcmp(what, "close-input") == 0) {
        close(0);
        sleep_forever();
    } else if (strcmp(what, "ignore-term") == 0) {
        signal(SIGTERM, SIG_IGN);
        printf("ready\n");
        fflush(stdout);
        sleep_forever();
    } else if (strcmp(what, "socket") == 0) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        printf("%s\n", fd < 0 ? strerror(errno) : "made");
    } else if (strcmp(what, "exit") == 0)
        return atoi(arg);
    return 0;
}
