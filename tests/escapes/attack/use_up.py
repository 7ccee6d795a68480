# Uses up one thing until the kernel has no more of it, and keeps it until its input ends.
import ctypes, errno, os, resource, select, sys
libc = ctypes.CDLL(None, use_errno=True)
what, most = sys.argv[1], int(sys.argv[2])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
def inotify(n):
    return libc.inotify_init()
def terminal(n):
    try:
        return os.open('/dev/ptmx', os.O_RDWR | os.O_NOCTTY)
    except OSError as e:
        ctypes.set_errno(e.errno)
        return -1
def key(n):
    # add_key to the process' own session keyring.
    return libc.syscall(248, b'user', b'evil%d' % n, b'x' * 32, 32, -3)
def mount(n):
    # Each time twice as many as before.
    if n == 0:
        os.makedirs('/var/tmp/m/0', exist_ok=True)
        libc.mount(b't', b'/var/tmp/m', b'tmpfs', 0, 0)
    os.makedirs('/var/tmp/m/%d' % n, exist_ok=True)
    return libc.mount(b'/var/tmp/m', b'/var/tmp/m/%d' % n, 0, 4096 | 16384, 0)
work = {'inotify': inotify, 'terminals': terminal, 'keys': key, 'mounts': mount}[what]
n, error = 0, 0
while n < most:
    ctypes.set_errno(0)
    if work(n) == -1:
        error = ctypes.get_errno()
        break
    n += 1
print('ready', flush=True)
select.select([0], [], [])
print(n, errno.errorcode.get(error, error))
