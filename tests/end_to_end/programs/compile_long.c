/* Takes the compiler more time than it gets. */
#define A                                                                                          \
    n = n * 3 + n / 7;                                                                             \
    n ^= n << 3;                                                                                   \
    n += n % 5;
#define B A A A A A A A A A A
#define C B B B B B B B B B B
#define D C C C C C C C C C C
#define E D D D D D D D D D D

volatile int n;

int main(void)
{
    E E E E E E E E E E return n;
}
