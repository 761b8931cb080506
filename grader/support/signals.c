#include "support/signals.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { KERNEL_SIGNALS = 64 };

struct kernel_sigaction {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};

void signals_set(const sigset_t *ignored, const sigset_t *blocked)
{
    uint64_t mask = 0;
    for (int i = 1; i <= KERNEL_SIGNALS; i++) {
        struct kernel_sigaction action = {.handler = SIG_DFL};
        if (sigismember(ignored, i) == 1)
            action.handler = SIG_IGN;
        if (sigismember(blocked, i) == 1)
            mask |= (uint64_t)1 << (i - 1);
        syscall(SYS_rt_sigaction, i, &action, NULL, sizeof(mask));
    }
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof(mask));
}

void signals_reset(void)
{
    sigset_t none;
    sigemptyset(&none);
    signals_set(&none, &none);
}
