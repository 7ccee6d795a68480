# What a process that has entered has of its caller's.
import ctypes, errno, fcntl, os, sys, termios
libc = ctypes.CDLL(None, use_errno=True)
found = []
if 'SECRET' in os.environ:
    found.append('environment')
if os.getgroups():
    found.append('groups %s' % os.getgroups())
if [n for n in os.listdir('/proc/self/fd') if int(n) > 3]:
    found.append('descriptors')
# KEYCTL_SEARCH of the session keyring.
key = libc.syscall(250, 10, -3, b'user', b'of-the-host', 0)
if key != -1:
    found.append('keyring')
try:
    fd = os.open('/dev/tty', os.O_RDWR)
    found.append('terminal')
    fcntl.ioctl(fd, termios.TIOCSTI, b'x')
    found.append('TIOCSTI')
except OSError:
    pass
for n in (0, 1, 2):
    try:
        fcntl.ioctl(n, termios.TIOCSTI, b'x')
        found.append('TIOCSTI on %d' % n)
    except OSError as e:
        if os.isatty(n):
            found.append('terminal on %d' % n)
print('found', found)
