#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <sys/select.h>

/* globals */
int pipefail, meter, coproc;
char ***cmds;
int ncmds;
int *fds; /* all the pipe ends */
int nfds;
int *kids;
struct sigaction oldpipe, oldchld;

void err(const char *a)
{
    char *why = strerror(errno);
    int i;
    const char *parts[5] = {"pipeline: ", a, ": ", why, "\n"};
    for (i = 0; i < 5; i++)
        if (write(2, parts[i], strlen(parts[i])) < 0)
            return;
}

int usage()
{
    fprintf(stderr, "Usage: pipeline [-o pipefail] [--meter] cmd [arg...] '|' cmd [arg...] ...\n");
    fprintf(stderr, "Usage: pipeline --coprocess cmd [arg...]\n");
    return 2;
}

void closeall()
{
    int i;
    for (i = 0; i < nfds; i++)
        close(fds[i]);
    nfds = 0;
}

/* my own pipe(): never returns 0 1 or 2 */
int mkpipe(int *r, int *w)
{
    int p[2], i, j;
    if (pipe(p) == -1) {
        err("pipe");
        return -1;
    }
    for (i = 0; i < 2; i++) {
        int junk[3], n = 0;
        while (p[i] < 3) {
            junk[n++] = p[i];
            p[i] = dup(p[i]);
            if (p[i] == -1) {
                err("dup");
                for (j = 0; j < n; j++)
                    close(junk[j]);
                close(p[1 - i]);
                return -1;
            }
        }
        for (j = 0; j < n; j++)
            close(junk[j]);
    }
    fds[nfds++] = *r = p[0];
    fds[nfds++] = *w = p[1];
    return 0;
}

int child(char **cmd, int in, int out)
{
    int pid = fork(), e;
    if (pid == -1)
        err("fork");
    if (pid != 0)
        return pid;
    if (in != 0)
        dup2(in, 0);
    if (out != 1)
        dup2(out, 1);
    closeall();
    sigaction(SIGPIPE, &oldpipe, 0);
    sigaction(SIGCHLD, &oldchld, 0);
    execvp(cmd[0], cmd);
    e = errno;
    signal(SIGPIPE, SIG_IGN);
    errno = e;
    err(cmd[0]);
    if (e == ENOENT)
        _exit(127);
    _exit(126);
}

int waitfor(int pid)
{
    int st;
again:
    if (waitpid(pid, &st, 0) == -1) {
        if (errno == EINTR)
            goto again;
        return 1;
    }
    if (WIFEXITED(st))
        return WEXITSTATUS(st);
    return 128 + WTERMSIG(st);
}

/* copy until one of them is finished. poll tells when nobody reads w any more, select does not */
#include <poll.h>
long long copy(int r, int w)
{
    char buf[5000];
    long long total = 0;
    int n, k, off;
    struct pollfd pf[2];
    while (1) {
        pf[0].fd = r;
        pf[0].events = POLLIN;
        pf[1].fd = w;
        pf[1].events = 0;
        if (poll(pf, 2, -1) == -1)
            continue;
        if (pf[1].revents)
            return total;
        n = read(r, buf, sizeof(buf));
        if (n == -1 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0)
            return total;
        off = 0;
        while (off < n) {
            k = write(w, buf + off, n - off);
            if (k == -1 && errno == EINTR)
                continue;
            if (k == -1 && errno == EAGAIN) {
                fd_set s;
                FD_ZERO(&s);
                FD_SET(w, &s);
                select(w + 1, 0, &s, 0, 0);
                continue;
            }
            if (k == -1)
                return total;
            off += k;
            total += k;
        }
    }
}

/* the meter, with select: only needs to see a broken pipe when there is something to write */
struct lnk {
    int r, w, n, off;
    long long total;
    char buf[3000];
} * links;

int domake_meter(int nlinks)
{
    fd_set rs, ws;
    int i, k, max, open;
    for (i = 0; i < nlinks; i++)
        fcntl(links[i].w, F_SETFL, O_NONBLOCK);
    for (;;) {
        FD_ZERO(&rs);
        FD_ZERO(&ws);
        max = -1;
        open = 0;
        for (i = 0; i < nlinks; i++) {
            struct lnk *l = &links[i];
            if (l->r == -1)
                continue;
            open++;
            if (l->off < l->n) {
                FD_SET(l->w, &ws);
                if (l->w > max)
                    max = l->w;
            } else {
                FD_SET(l->r, &rs);
                if (l->r > max)
                    max = l->r;
            }
        }
        if (!open)
            return 0;
        if (select(max + 1, &rs, &ws, 0, 0) == -1)
            continue;
        for (i = 0; i < nlinks; i++) {
            struct lnk *l = &links[i];
            int dead = 0;
            if (l->r == -1)
                continue;
            if (FD_ISSET(l->r, &rs)) {
                k = read(l->r, l->buf, sizeof(l->buf));
                l->off = 0;
                l->n = k;
                if (k <= 0) {
                    l->n = 0;
                    dead = 1;
                }
            } else if (FD_ISSET(l->w, &ws)) {
                k = write(l->w, l->buf + l->off, l->n - l->off);
                if (k == -1 && errno != EAGAIN && errno != EINTR)
                    dead = 1;
                if (k > 0) {
                    l->off += k;
                    l->total += k;
                }
            }
            if (dead) {
                close(l->r);
                close(l->w);
                l->r = l->w = -1;
            }
        }
    }
}

int do_coproc()
{
    int r1, w1, r2, w2, c, h, st;
    fds = malloc(4 * sizeof(int));
    if (mkpipe(&r1, &w1) == -1 || mkpipe(&r2, &w2) == -1) {
        closeall();
        free(fds);
        return 1;
    }
    c = child(cmds[0], r1, w2);
    if (c == -1) {
        closeall();
        free(fds);
        return 1;
    }
    close(r1);
    close(w2);
    h = fork();
    if (h == 0) {
        /* helper: output of the child to my stdout */
        close(w1);
        close(0);
        copy(r2, 1);
        close(r2);
        free(fds);
        free(cmds);
        _exit(0);
    }
    close(r2);
    if (h == -1) {
        err("fork");
    } else {
        copy(0, w1);
        close(0);
    }
    close(w1);
    free(fds);
    if (h != -1)
        waitfor(h);
    st = waitfor(c);
    if (h == -1)
        return 1;
    return st;
}

int main(int argc, char **argv)
{
    int i = 1, j, st = 0, fst = 0, bad = 0, started = 0;
    int *in, *out;

    while (i < argc) {
        if (strcmp(argv[i], "-o") == 0) {
            if (i + 1 == argc || strcmp(argv[i + 1], "pipefail") != 0)
                return usage();
            pipefail = 1;
            i += 2;
        } else if (strcmp(argv[i], "--meter") == 0) {
            meter = 1;
            i++;
        } else if (strcmp(argv[i], "--coprocess") == 0) {
            coproc = 1;
            i++;
        } else if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        } else if (argv[i][0] == '-' && argv[i][1] != '\0') {
            return usage();
        } else {
            break;
        }
    }
    if (i >= argc)
        return usage();
    if (coproc && (meter || pipefail))
        return usage();
    cmds = malloc((argc + 1) * sizeof(char **));
    cmds[ncmds++] = &argv[i];
    for (j = i; j < argc; j++) {
        if (strcmp(argv[j], "|") == 0) {
            argv[j] = NULL;
            cmds[ncmds++] = &argv[j + 1];
        }
    }
    for (j = 0; j < ncmds; j++)
        if (cmds[j][0] == NULL)
            bad = 1;
    if (bad || (coproc && ncmds > 1)) {
        free(cmds);
        return usage();
    }

    struct sigaction sa;
    memset(&sa, 0, sizeof(sa));
    sa.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &sa, &oldpipe);
    sa.sa_handler = SIG_DFL;
    sigaction(SIGCHLD, &sa, &oldchld);

    if (coproc) {
        st = do_coproc();
        free(cmds);
        return st;
    }

    /* all the pipes at once */
    fds = malloc(sizeof(int) * 4 * ncmds);
    in = malloc(sizeof(int) * ncmds);
    out = malloc(sizeof(int) * ncmds);
    kids = malloc(sizeof(int) * ncmds);
    links = calloc(ncmds, sizeof(struct lnk));
    in[0] = 0;
    out[ncmds - 1] = 1;
    for (j = 0; j < ncmds - 1 && !bad; j++) {
        int r, w, r2, w2;
        if (mkpipe(&r, &w) == -1) {
            bad = 1;
            break;
        }
        out[j] = w;
        in[j + 1] = r;
        if (meter) {
            if (mkpipe(&r2, &w2) == -1) {
                bad = 1;
                break;
            }
            links[j].r = r;
            links[j].w = w2;
            in[j + 1] = r2;
        }
    }
    if (!bad) {
        for (j = 0; j < ncmds; j++) {
            kids[j] = child(cmds[j], in[j], out[j]);
            if (kids[j] == -1) {
                bad = 1;
                break;
            }
            started++;
        }
    }
    /* close everything that is not mine */
    if (bad || !meter) {
        closeall();
    } else {
        for (j = 0; j < ncmds; j++) {
            if (in[j] != 0)
                close(in[j]);
            if (out[j] != 1)
                close(out[j]);
        }
        domake_meter(ncmds - 1);
    }
    for (j = 0; j < started; j++) {
        st = waitfor(kids[j]);
        if (st)
            fst = st;
    }
    if (meter && !bad)
        for (j = 0; j < ncmds - 1; j++)
            fprintf(stderr, "link %d: %lld bytes\n", j + 1, links[j].total);
    free(fds);
    free(in);
    free(out);
    free(kids);
    free(links);
    free(cmds);
    if (bad)
        return 1;
    return pipefail ? fst : st;
}
