/* Prints without end, on stderr, lines that no terminal should see. */
#include <string.h>
#include <unistd.h>

int main(void)
{
    static const char line[] = "\033[2J\033]0;title\007 \377\376 no text \r\n";
    while (write(2, line, sizeof line) > 0)
        continue;
    return 0;
}
