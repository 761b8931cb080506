/*
 * filter.h - which system calls are refused, as a seccomp program.
 *
 * A call that a lab excludes ends in SECCOMP_RET_USER_NOTIF with the errno for it in the data bits,
 * which the kernel ignores: filter_quiet() makes of it a program that refuses without telling.
 * Where only its path tells whether a call is excluded (opening_calls), the errno is 0, and such a
 * program allows it.
 */
#ifndef IPCLAB_SANDBOX_FILTER_H
#define IPCLAB_SANDBOX_FILTER_H

#include <stddef.h>

#include <linux/filter.h>

#include "support/error.h"
#include "support/strbuf.h"

enum { FILTER_MAX = 4096 }; /* BPF_MAXINSNS */

/* Appends the program for a lab that excludes `excludes`: an array of struct sock_filter. */
int filter_compile(unsigned excludes, struct strbuf *program, struct error *err);

/* In place: excluded calls get their errno at once, or are allowed; no listener is asked. */
void filter_quiet(struct sock_filter *program, size_t count);

#endif
