/*
 * memory.h - allocation that does not return without memory.
 *
 * When there is none, the handler set with out_of_memory_set() is called (the grade command's one
 * writes a result that says so with plain system calls), then the process ends with status 3, the
 * grader's own fault.
 */
#ifndef IPCLAB_SUPPORT_MEMORY_H
#define IPCLAB_SUPPORT_MEMORY_H

#include <stddef.h>

void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *p, size_t size);
char *xstrdup(const char *text);
char *xstrndup(const char *text, size_t max);
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* `handler` may make system calls only: there is no memory. It may return. */
void out_of_memory_set(void (*handler)(void));
_Noreturn void out_of_memory(void);

#endif
