#include "support/clock.h"

#include <limits.h>
#include <string.h>
#include <time.h>

int64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * NS_PER_S + t.tv_nsec;
}

int clock_poll_ms(int64_t deadline_ns)
{
    int64_t left = deadline_ns - clock_ns();
    if (left <= 0)
        return 0;
    int64_t ms = left / NS_PER_MS + (left % NS_PER_MS != 0);
    return ms > INT_MAX ? INT_MAX : (int)ms;
}

void clock_date(char text[static 21])
{
    time_t now = time(NULL);
    struct tm utc;
    if (!gmtime_r(&now, &utc) || strftime(text, 21, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
        strcpy(text, "1970-01-01T00:00:00Z"); /* a clock beyond the year 9999 */
}
