/* What: fails at once.
 * Passes: */
int main(void)
{
    return 1;
}
