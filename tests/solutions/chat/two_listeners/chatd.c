#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define ME "localhost.chat"
#define LIMIT (1024 * 1024)

struct buffer {
    char *bytes;
    size_t start, end, size;
};

struct user {
    bool used, in, over, cut; /* over: only what waits is sent; cut: not even that */
    bool told;
    char nick[10], name[11], host[NI_MAXHOST];
    char line[513];
    int len;
    struct buffer out;
    int *rooms, room_count;
};

struct room {
    char *name; /* NULL: this number is free */
    int *members, count;
};

static struct user *users; /* by descriptor */
static int user_size;
static struct room *rooms;
static int room_size;
static int bell[2];

static void fatal(const char *what)
{
    fprintf(stderr, "chatd: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *grow(void *old, size_t size)
{
    void *new = realloc(old, size);
    if (new == NULL)
        fatal("memory");
    return new;
}

static void ring(int n)
{
    int saved = errno;
    (void)n;
    if (write(bell[1], "!", 1) < 0) {
        /* it is full of others already */
    }
    errno = saved;
}

/* ---- sets of numbers, in the order of coming ---- */

static int place(const int *set, int count, int number)
{
    for (int i = 0; i < count; i++)
        if (set[i] == number)
            return i;
    return -1;
}

static void put(int **set, int *count, int number)
{
    *set = grow(*set, (size_t)(*count + 1) * sizeof(int));
    (*set)[(*count)++] = number;
}

static void take(int **set, int *count, int number)
{
    int i = place(*set, *count, number);
    if (i < 0)
        return;
    for (--*count; i < *count; i++)
        (*set)[i] = (*set)[i + 1];
    if (*count == 0) {
        free(*set);
        *set = NULL;
    }
}

/* ---- sending ---- */

static void flush(int fd)
{
    struct user *u = &users[fd];
    while (u->out.start < u->out.end && !u->cut) {
        ssize_t n = send(fd, u->out.bytes + u->out.start, u->out.end - u->out.start, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0)
            u->cut = true;
        else
            u->out.start += (size_t)n;
    }
    free(u->out.bytes);
    memset(&u->out, 0, sizeof u->out);
}

static void post(int fd, const char *line, size_t len)
{
    struct user *u = &users[fd];
    struct buffer *b = &u->out;
    if (u->cut)
        return;
    if (b->end - b->start + len > LIMIT)
        flush(fd);
    if (u->cut || b->end - b->start + len > LIMIT) {
        u->cut = true;
        return;
    }
    if (b->end + len > b->size) {
        if (b->start > 0) {
            memmove(b->bytes, b->bytes + b->start, b->end - b->start);
            b->end -= b->start;
            b->start = 0;
        }
        if (b->end + len > b->size) {
            b->size = b->size ? b->size * 2 : 2048;
            b->bytes = grow(b->bytes, b->size);
        }
    }
    memcpy(b->bytes + b->end, line, len);
    b->end += len;
}

static char text[512];
static size_t text_len;
__attribute__((format(printf, 1, 2))) static void write_text(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(text, 511, format, list);
    va_end(list);
    text_len = strlen(text);
    text[text_len++] = '\r';
    text[text_len++] = '\n';
}

static void answer(int fd, const char *number, const char *what, const char *says)
{
    write_text(":" ME " %s %s %s%s:%s", number, users[fd].nick[0] ? users[fd].nick : "*", what,
               what[0] ? " " : "", says);
    post(fd, text, text_len);
}

static void post_room(int r, int but)
{
    for (int i = 0; i < rooms[r].count; i++)
        if (rooms[r].members[i] != but)
            post(rooms[r].members[i], text, text_len);
}

static void post_friends(int fd)
{
    for (int fd2 = 0; fd2 < user_size; fd2++)
        users[fd2].told = false;
    users[fd].told = true;
    for (int i = 0; i < users[fd].room_count; i++) {
        struct room *r = &rooms[users[fd].rooms[i]];
        for (int k = 0; k < r->count; k++) {
            if (!users[r->members[k]].told)
                post(r->members[k], text, text_len);
            users[r->members[k]].told = true;
        }
    }
}

static const char *who(int fd)
{
    static char prefix[NI_MAXHOST + 30];
    snprintf(prefix, sizeof prefix, "%s!%s@%s", users[fd].nick, users[fd].name, users[fd].host);
    return prefix;
}

/* ---- who and where ---- */

static int find_user(const char *nick)
{
    for (int fd = 0; fd < user_size; fd++)
        if (users[fd].used && users[fd].nick[0] && !strcasecmp(users[fd].nick, nick))
            return fd;
    return -1;
}

static int find_room(const char *name)
{
    for (int r = 0; r < room_size; r++)
        if (rooms[r].name != NULL && !strcasecmp(rooms[r].name, name))
            return r;
    return -1;
}

static void walk_out(int fd, int r)
{
    take(&users[fd].rooms, &users[fd].room_count, r);
    take(&rooms[r].members, &rooms[r].count, fd);
    if (rooms[r].count == 0) {
        free(rooms[r].name);
        rooms[r].name = NULL;
    }
}

static void vanish(int fd, const char *last_words)
{
    if (users[fd].in) {
        write_text(":%s QUIT :%s", who(fd), last_words);
        post_friends(fd);
    }
    while (users[fd].room_count > 0)
        walk_out(fd, users[fd].rooms[0]);
    users[fd].in = false;
    users[fd].nick[0] = '\0';
    users[fd].over = true;
}

static void hang_up(int fd)
{
    char rest[4096];
    vanish(fd, "lost");
    while (!users[fd].cut && recv(fd, rest, sizeof rest, 0) == sizeof rest)
        ;
    close(fd);
    free(users[fd].out.bytes);
    memset(&users[fd], 0, sizeof users[fd]);
}

/* ---- what they say ---- */

static bool good_nick(const char *n)
{
    if (isdigit((unsigned char)n[0]) || n[0] == '-' || strlen(n) > 9)
        return false;
    for (; *n; n++)
        if (!isascii((unsigned char)*n) ||
            !(isalnum((unsigned char)*n) || strchr("-[]\\`_^{|}", *n)))
            return false;
    return true;
}

static void come_in(int fd)
{
    struct user *u = &users[fd];
    if (u->in || !u->nick[0] || !u->name[0])
        return;
    u->in = true;
    answer(fd, "001", "", "Hello");
    answer(fd, "002", "", "Here is a chat server");
    answer(fd, "003", "", "It is new");
    answer(fd, "004", ME " 0.1 x", "n");
    answer(fd, "422", "", "Nothing else to say");
}

static void nick(int fd, char *new)
{
    if (!new[0]) {
        answer(fd, "431", "", "Which nick?");
    } else if (!good_nick(new)) {
        answer(fd, "432", new, "Not a nick");
    } else if (find_user(new) >= 0 && find_user(new) != fd) {
        answer(fd, "433", new, "Somebody has it");
    } else {
        if (users[fd].in && strcmp(new, users[fd].nick)) {
            write_text(":%s NICK %s", who(fd), new);
            post(fd, text, text_len);
            post_friends(fd);
        }
        strcpy(users[fd].nick, new);
        come_in(fd);
    }
}

static void names(int fd, const char *room)
{
    int r = find_room(room);
    for (int i = 0; r >= 0 && i < rooms[r].count;) {
        char list[300] = "";
        for (; i < rooms[r].count && strlen(list) < 280; i++) {
            strcat(list, list[0] ? " " : "");
            strcat(list, users[rooms[r].members[i]].nick);
        }
        write_text(":" ME " 353 %s = %s :%s", users[fd].nick, rooms[r].name, list);
        post(fd, text, text_len);
    }
    answer(fd, "366", room, "That is all");
}

static void join(int fd, const char *room)
{
    int r = find_room(room);
    if (room[0] != '#' || strlen(room) < 2 || strlen(room) > 50 || strpbrk(room, " \x07")) {
        answer(fd, "403", room, "Not a channel");
        return;
    }
    if (r >= 0 && place(rooms[r].members, rooms[r].count, fd) >= 0)
        return;
    for (int i = 0; i < room_size && r < 0; i++)
        if (rooms[i].name == NULL)
            r = i;
    if (r < 0) {
        rooms = grow(rooms, (size_t)++room_size * sizeof *rooms);
        memset(&rooms[r = room_size - 1], 0, sizeof *rooms);
    }
    if (rooms[r].name == NULL)
        rooms[r].name = strdup(room);
    put(&rooms[r].members, &rooms[r].count, fd);
    put(&users[fd].rooms, &users[fd].room_count, r);
    write_text(":%s JOIN %s", who(fd), room);
    post_room(r, -1);
    names(fd, room);
}

static const char *reason; /* of the PART that is served */

static void part(int fd, const char *room)
{
    int r = find_room(room);
    if (r < 0) {
        answer(fd, "403", room, "There is no such channel");
    } else if (place(rooms[r].members, rooms[r].count, fd) < 0) {
        answer(fd, "442", room, "You are not there");
    } else {
        write_text(":%s PART %s :%s", who(fd), room, reason);
        post_room(r, -1);
        walk_out(fd, r);
    }
}

static void speak(int fd, const char *verb, char *to, char *what)
{
    bool loud = !strcmp(verb, "PRIVMSG");
    int r = find_room(to), other = find_user(to);
    if (!to[0]) {
        if (loud)
            answer(fd, "411", "", "To whom?");
        return;
    }
    if (!what[0]) {
        if (loud)
            answer(fd, "412", "", "And what?");
        return;
    }
    write_text(":%s %s %s :%s", who(fd), verb, to, what);
    if (r >= 0 && place(rooms[r].members, rooms[r].count, fd) >= 0)
        post_room(r, fd);
    else if (r < 0 && other >= 0 && users[other].in)
        post(other, text, text_len);
    else if (loud)
        answer(fd, r >= 0 ? "404" : "401", to, "Nobody can hear you");
}

static void each(int fd, char *list, void (*f)(int, const char *))
{
    while (list != NULL) {
        const char *one = strsep(&list, ",");
        if (one[0])
            f(fd, one);
    }
}

static void hear(int fd, char *line)
{
    static const char *verbs[] = {"NICK", "USER",    "PING",   "PONG",  "QUIT", "JOIN",
                                  "PART", "PRIVMSG", "NOTICE", "NAMES", NULL};
    static char nothing[1];
    char *p[16];
    int n = 0, verb = 0;
    for (int i = 0; i < 16; i++)
        p[i] = nothing;
    while (*line == ' ')
        line++;
    if (*line == ':') {
        while (*line && *line != ' ')
            line++;
    }
    while (*line && n < 16) {
        while (*line == ' ')
            *line++ = '\0';
        if (!*line)
            break;
        p[n++] = line;
        if ((*line == ':' && n > 1) || n == 16) {
            p[n - 1] += *line == ':';
            break;
        }
        while (*line && *line != ' ')
            line++;
    }
    if (n == 0)
        return;
    while (verbs[verb] && strcasecmp(verbs[verb], p[0]))
        verb++;
    if (verbs[verb] == NULL)
        answer(fd, "421", p[0], "What?");
    else if (verb >= 5 && !users[fd].in)
        answer(fd, "451", "", "Who are you?");
    else if ((verb == 1 && n < 5) || ((verb == 5 || verb == 6) && !p[1][0]))
        answer(fd, "461", verbs[verb], "More, please");
    else if (verb == 0)
        nick(fd, p[1]);
    else if (verb == 1 && users[fd].name[0])
        answer(fd, "462", "", "We know you");
    else if (verb == 1) {
        p[1][strcspn(p[1], "@!")] = '\0';
        snprintf(users[fd].name, sizeof users[fd].name, "%.10s", p[1][0] ? p[1] : "?");
        come_in(fd);
    } else if (verb == 2 && n == 1)
        answer(fd, "409", "", "Ping whom?");
    else if (verb == 2) {
        write_text(":" ME " PONG " ME " :%s", p[1]);
        post(fd, text, text_len);
    } else if (verb == 4)
        vanish(fd, p[1]);
    else if (verb == 5)
        each(fd, p[1], join);
    else if (verb == 6) {
        reason = p[2];
        each(fd, p[1], part);
    } else if (verb == 7 || verb == 8)
        speak(fd, verbs[verb], p[1], p[2]);
    else if (verb == 9 && p[1][0])
        each(fd, p[1], names);
    else if (verb == 9)
        answer(fd, "366", "*", "That is all");
}

static void listen_to(int fd)
{
    char bytes[2048];
    ssize_t n = recv(fd, bytes, sizeof bytes, 0);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        users[fd].cut = true;
    if (n == 0)
        vanish(fd, "end");
    for (ssize_t i = 0; i < n && !users[fd].over && !users[fd].cut; i++) {
        struct user *u = &users[fd];
        if (bytes[i] == '\n') {
            if (u->len > 0 && u->line[u->len - 1] == '\r')
                u->len--;
            if (u->len > 510)
                u->len = 510;
            u->line[u->len] = '\0';
            u->len = 0;
            hear(fd, u->line);
        } else if (u->len < 511) {
            u->line[u->len++] = bytes[i];
        }
    }
}

/* ---- the door ---- */

static bool door_open = true;

static void let_in(int listener)
{
    struct sockaddr_storage from;
    socklen_t len = sizeof from;
    int fd = accept(listener, (struct sockaddr *)&from, &len);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE)
            door_open = false;
        return;
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    if (fd >= user_size) {
        users = grow(users, (size_t)(fd + 1) * sizeof *users);
        memset(users + user_size, 0, (size_t)(fd + 1 - user_size) * sizeof *users);
        user_size = fd + 1;
    }
    users[fd].used = true;
    getnameinfo((struct sockaddr *)&from, len, users[fd].host, NI_MAXHOST, NULL, 0, NI_NUMERICHOST);
}

static int open_door(int family, int *port)
{
    struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)*port)};
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)*port)}, got;
    socklen_t len = sizeof got;
    int fd = socket(family, SOCK_STREAM, 0), yes = 1;
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes);
    if ((family == AF_INET ? bind(fd, (struct sockaddr *)&a4, sizeof a4)
                           : bind(fd, (struct sockaddr *)&a6, sizeof a6)) < 0 ||
        listen(fd, 1000) < 0) {
        int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    getsockname(fd, (struct sockaddr *)&got, &len);
    *port = ntohs(got.sin6_port);
    return fd;
}

int main(int argc, char **argv)
{
    int port = 6667, wanted, doors[2] = {-1, -1};
    struct pollfd *polled = NULL;
    bool running = true;
    if (argc == 3 && !strcmp(argv[1], "-p") && argv[2][0] && strlen(argv[2]) < 6 &&
        !argv[2][strspn(argv[2], "0123456789")])
        port = atoi(argv[2]);
    else if (argc > 1)
        port = -1;
    if (port < 0 || port > 65535) {
        fprintf(stderr, "usage: chatd [-p PORT]\n");
        return 2;
    }
    wanted = port;
    for (int tries = 0; doors[0] < 0; tries++) {
        port = wanted;
        doors[1] = open_door(AF_INET6, &port);
        if (doors[1] < 0 && errno == EADDRINUSE)
            fatal("port");
        doors[0] = open_door(AF_INET, &port);
        if (doors[0] < 0 && doors[1] >= 0)
            close(doors[1]);
        if (doors[0] < 0 && (wanted != 0 || tries == 50))
            fatal("port");
    }
    if (pipe2(bell, O_NONBLOCK | O_CLOEXEC) < 0)
        fatal("pipe");
    signal(SIGTERM, ring);
    signal(SIGINT, ring);
    printf("listening on %d\n", port);
    fflush(stdout);
    while (running) {
        int count = 3;
        polled = grow(polled, (size_t)(user_size + 3) * sizeof *polled);
        polled[0] = (struct pollfd){.fd = bell[0], .events = POLLIN};
        for (int i = 0; i < 2; i++)
            polled[i + 1] = (struct pollfd){.fd = door_open ? doors[i] : -1, .events = POLLIN};
        for (int fd = 0; fd < user_size; fd++) {
            const struct user *u = &users[fd];
            if (u->used)
                polled[count++] =
                    (struct pollfd){.fd = fd,
                                    .events = (short)((u->over ? 0 : POLLIN) |
                                                      (u->out.end > u->out.start ? POLLOUT : 0))};
        }
        if (poll(polled, (nfds_t)count, -1) < 0)
            continue;
        running = polled[0].revents == 0;
        for (int i = 3; i < count; i++) {
            int fd = polled[i].fd;
            if (polled[i].revents & POLLOUT)
                flush(fd);
            if (users[fd].over && polled[i].revents & (POLLERR | POLLHUP))
                users[fd].cut = true;
            else if (polled[i].revents & (POLLIN | POLLERR | POLLHUP))
                listen_to(fd);
        }
        for (int i = 1; i < 3; i++)
            if (polled[i].revents)
                let_in(polled[i].fd);
        for (int fd = 0; fd < user_size; fd++) {
            if (users[fd].used &&
                (users[fd].cut || (users[fd].over && users[fd].out.start == users[fd].out.end))) {
                hang_up(fd);
                door_open = true;
                fd = -1; /* others may have been cut by that */
            }
        }
    }
    for (int fd = 0; fd < user_size; fd++) {
        if (users[fd].used) {
            users[fd].cut = true;
            users[fd].in = false;
            hang_up(fd);
        }
    }
    free(users);
    free(rooms);
    free(polled);
    for (int i = 0; i < 2; i++) {
        close(bell[i]);
        if (doors[i] >= 0)
            close(doors[i]);
    }
    return 0;
}
