# Watches a folder in each way that there is, and tells by which of them it has seen a file there being read.
import ctypes, errno, fcntl, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
top = sys.argv[1]
seen = {}

# Tells the way's descriptor, or keeps the name of the error.
def way(name, begin):
    ctypes.set_errno(0)
    fd = begin()
    if fd < 0:
        seen[name] = errno.errorcode[ctypes.get_errno()]
        return None
    os.set_blocking(fd, False)
    return fd

def inotify():
    fd = libc.inotify_init1(0)
    return fd if fd < 0 or libc.inotify_add_watch(fd, top.encode(), 0x20) >= 0 else -1

# FAN_REPORT_FID, FAN_MARK_ADD; FAN_OPEN and FAN_EVENT_ON_CHILD.
def fanotify():
    fd = libc.fanotify_init(0x200, 0)
    return fd if fd < 0 or libc.fanotify_mark(fd, 1, ctypes.c_uint64(0x8000020), -100, top.encode()) >= 0 else -1

ways = {'inotify': way('inotify', inotify), 'fanotify': way('fanotify', fanotify)}
signals = []
signal.signal(signal.SIGIO, lambda *_: signals.append(1))
try:
    fcntl.fcntl(os.open(top, os.O_RDONLY), 1026, 0x80000001)
except OSError as e:
    seen['dnotify'] = errno.errorcode[e.errno]
print('ready', flush=True)
sys.stdin.read()
for name, fd in ways.items():
    if fd is not None:
        try:
            seen[name] = 'seen' if os.read(fd, 4096) else 'nothing'
        except BlockingIOError:
            seen[name] = 'nothing'
seen.setdefault('dnotify', 'seen' if signals else 'nothing')
print(seen['inotify'], seen['fanotify'], seen['dnotify'])
