/* A name service that says whose program has loaded it. */
#include <fcntl.h>
#include <unistd.h>

__attribute__((constructor)) static void loaded(void)
{
    char name[64];
    int from = open("/proc/self/comm", O_RDONLY);
    int to = open("/var/tmp/loaded", O_WRONLY | O_APPEND | O_CREAT, 0666);
    int n = from < 0 ? 0 : read(from, name, sizeof name);
    if (to >= 0 && n > 0 && write(to, name, n) < 0)
        _exit(1);
    close(from);
    close(to);
}
