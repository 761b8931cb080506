/* What: does nothing, and says that all is well.
 * Passes: */
int main(void)
{
    return 0;
}
