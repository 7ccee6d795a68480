# Looks at every process that comes, as fast as it can, for whatever it shows of the host.
import ctypes, os, select, sys
libc = ctypes.CDLL(None, use_errno=True)
PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17
me = os.getpid()
own_mounts = open('/proc/self/mountinfo').read()
own_links = open('/proc/self/net/dev').read().split('\n')[2:]
own_links = sorted(l.split(':')[0].strip() for l in own_links if l)
seen, early, found = set(), 0, {}

def executed():
    """Says whether the process has the memory of a program of the zone. Its name changes a moment later, after
    the descriptors are closed."""
    try:
        return os.path.exists(os.readlink(p + 'exe'))
    except OSError:
        return False

def attempt(what, work):
    try:
        got = work()
        # What has executed a program of the zone meanwhile is the zone's to see.
        if got and open(p + 'comm').read().strip() == 'zlogin' and not executed():
            found.setdefault(what, str(got)[:200])
    except (OSError, ValueError):
        pass

kept = []

# Keeps whatever descriptors it can get of a process.
def take(pid):
    process = libc.syscall(434, pid, 0)
    for n in range(3, 12):
        fd = libc.syscall(438, process, n, 0)
        if fd >= 0:
            kept.append(fd)
    if process >= 0:
        os.close(process)

print('ready', flush=True)
while not select.select([0], [], [], 0)[0]:
    for pid in os.listdir('/proc'):
        if not pid.isdigit() or int(pid) in (1, me):
            continue
        p = '/proc/' + pid + '/'
        try:
            comm = open(p + 'comm').read().strip()
            mounts = open(p + 'mountinfo').read()
            links = [l.split(':')[0].strip() for l in open(p + 'net/dev').read().split('\n')[2:] if l]
        except OSError:
            continue
        seen.add(pid)
        if mounts and mounts != own_mounts:
            found.setdefault('mounts', mounts[:200])
        if links and sorted(links) != own_links:
            found.setdefault('links', links)
        # What runs no program of the zone yet.
        if comm != 'zlogin':
            continue
        early += 1
        for name in ('exe', 'cwd', 'root'):
            attempt(name, lambda: os.readlink(p + name))
        for name in ('environ', 'maps'):
            attempt(name, lambda: open(p + name, 'rb').read(100))
        # While a program is being executed the kernel lets root of the zone look at the process already. By then
        # the standard streams are open, and the channel by which it would say that it cannot.
        attempt('fd', lambda: os.listdir(p + 'fd') if len(os.listdir(p + 'fd')) > 4 else None)
        take(int(pid))
        attempt('mem', lambda: os.open(p + 'mem', os.O_RDONLY) + 1)
        def seize():
            if libc.ptrace(PTRACE_SEIZE, int(pid), 0, 0) != 0:
                return None
            still = open(p + 'comm').read().strip() == 'zlogin'
            libc.ptrace(PTRACE_INTERRUPT, int(pid), 0, 0)
            os.waitpid(int(pid), 0x40000000)
            libc.ptrace(PTRACE_DETACH, int(pid), 0, 0)
            return still
        attempt('ptrace', seize)
print(len(seen), early, found)
