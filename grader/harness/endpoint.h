/*
 * endpoint.h - the suite's own end of an IPC object, where no program's standard stream is it: an
 * end of a FIFO, of a connection, a listening socket, a socket of datagrams.
 *
 * The harness holds them as it holds the streams of programs: what is queued is written, and what
 * comes is read, in every wait of the test. Each is non-blocking, closed on exec, and closed when
 * the test ends. NAME is how messages and the transcript call it: "client 3", "our server".
 * Names and bytes that are handed out live until the test ends.
 */
#ifndef IPCLAB_HARNESS_ENDPOINT_H
#define IPCLAB_HARNESS_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct endpoint;

/* ---- streams of bytes: FIFOs and connections ---- */

/*
 * Takes `fd`, an open end of a FIFO, to read or to write. A FIFO that is open for reading and
 * writing never ends, whoever comes and goes.
 */
struct endpoint *endpoint_reader(int fd, const char *name);
struct endpoint *endpoint_writer(int fd, const char *name);

/*
 * Sends all of `bytes` and waits until the kernel has taken them. Returns how many it took: less
 * than `len` only when nobody can read them any more. At most PIPE_BUF bytes go in one write(2),
 * and more than 64 KiB in several.
 */
size_t endpoint_send(struct endpoint *e, const void *bytes, size_t len);
size_t endpoint_send_text(struct endpoint *e, const char *bytes);
/* Queues them, to be sent in every following wait; returns at once. */
void endpoint_queue(struct endpoint *e, const void *bytes, size_t len);
/* Sends what is taken at once and returns how much that was. */
size_t endpoint_send_some(struct endpoint *e, const void *bytes, size_t len);
/* The bytes that have been taken so far. */
uint64_t endpoint_taken(const struct endpoint *e);
/* Nobody reads any more: a write has failed, or the connection was reset. */
bool endpoint_is_gone(const struct endpoint *e);

/* While held, it is not read: the kernel's buffers fill up. */
void endpoint_hold(struct endpoint *e, bool hold);
/* Reads at most so many bytes of what has come by now, though it is held, and returns how many
 * there were: the other side's system has a little room then, and mostly too little to tell its
 * program (POLLOUT comes when a third is free). */
size_t endpoint_let_in(struct endpoint *e, size_t most);
/* From here on what comes is counted and thrown away. Else it is kept until it is taken, and not
 * read any more while 1 MiB waits. */
void endpoint_discard(struct endpoint *e);
/* Waits for the next line and takes it, without its newline (a CR before that is left); NULL: the
 * end came first. `what` completes "expected: ...". */
const char *endpoint_read_line(struct endpoint *e, const char *what, size_t *len);
/* Waits for `len` bytes and takes them; NULL: the end came first, what there is stays. */
const char *endpoint_read(struct endpoint *e, size_t len, const char *what);
/* What has come and was not taken. */
const char *endpoint_peek(struct endpoint *e, size_t *len);
uint64_t endpoint_total(const struct endpoint *e); /* everything that ever came */
/* The other side has ended its direction, or reset the connection (the second alone). */
bool endpoint_ended(const struct endpoint *e);
bool endpoint_was_reset(const struct endpoint *e);
void endpoint_wait_end(struct endpoint *e, const char *what);

/* Ends our direction, behind what is queued: of a connection shutdown(2), we go on reading. */
void endpoint_close_input(struct endpoint *e);
/* close(2), after what has come was read (unless it is held): so the other side is told of an end,
 * and not of a reset. What was read can still be taken. */
void endpoint_close(struct endpoint *e);
/* Closes a connection so that the other side is told of a reset (RST), whatever is under way. */
void endpoint_reset(struct endpoint *e);

/* ---- sockets: loopback only ---- */

/* `family` is AF_INET (127.0.0.1) or AF_INET6 (::1). */
bool net_has_ipv6(void);
/* A connection to `port`, each send a segment of its own (TCP_NODELAY). Refused: fails. */
struct endpoint *net_connect(int family, int port, const char *name);
/* The same with little room for what comes, in the other side's system too (SO_RCVBUF of socket(7)
 * and TCP_MAXSEG of tcp(7)): while it is held, some 100 KiB at most are under way. */
struct endpoint *net_connect_narrow(int family, int port, const char *name);
/* As net_connect(); NULL when it is refused. */
struct endpoint *net_try_connect(int family, int port, const char *name);
/* Listens at a port that the system chooses. While held, nobody is accepted. */
struct endpoint *net_listen(int family, const char *name);
/* The same; those who connect have as little room as those of net_connect_narrow(). */
struct endpoint *net_listen_narrow(int family, const char *name);
/* The same with a queue that is full: whoever connects is not answered, and waits (listen(2),
 * tcp(7): its SYN is dropped). */
struct endpoint *net_listen_full(int family, const char *name);
/* Waits for the next connection; `what` is expected of the program. */
struct endpoint *net_accept(struct endpoint *listener, const char *what);
/* Its own port, of any socket. */
int endpoint_port(const struct endpoint *e);
/* The other side's kernel has acknowledged all that we sent (ioctl SIOCOUTQ, tcp(7)). */
bool net_is_acknowledged(const struct endpoint *e);

/* One that has come. */
struct datagram {
    struct datagram *next;
    int port; /* it came from there */
    size_t len;
    unsigned char bytes[];
};
/* A socket of datagrams at a port that the system chooses. */
struct endpoint *net_datagrams(int family, const char *name);
void net_send_to(struct endpoint *e, int port, const void *bytes, size_t len);
/* Waits for the next datagram; NULL where everything sleeps and none came, if `what` is NULL. */
const struct datagram *net_receive(struct endpoint *e, const char *what);
/* The next one, if it is there by now. */
const struct datagram *net_receive_now(struct endpoint *e);

#endif
