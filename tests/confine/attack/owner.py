# In the zone, as its root: tries one by one what the owner of a file may do to it without write access.
# TOP is a folder of the host that the zone sees read-only, with the files data and program.
import array, errno, fcntl, signal, socket, threading, time
libc.mmap.restype = ctypes.c_void_p
DATA, PROGRAM, FOLDER = TOP + "/data", TOP + "/program", TOP + "/folder"
fd = os.open(DATA, os.O_RDONLY)
folder = os.open(TOP, os.O_RDONLY | os.O_DIRECTORY)
path_fd = os.open(DATA, os.O_PATH)
mine = os.open("/root/mine", os.O_RDWR | os.O_CREAT, 0o644)
os.ftruncate(mine, 0)
os.write(mine, os.pread(fd, 1 << 16, 0))
EMPTY, NOW = 0x1000, None

def attempt(name, work):
    try:
        got = work()
        say(name, got if isinstance(got, int) and not isinstance(got, bool) else 0)
    except OSError as e:
        say(name, e.errno)

# Calls a function of the C library that tells its error in errno.
def c(name, *args):
    ctypes.set_errno(0)
    got = getattr(libc, name)(*[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    return ctypes.get_errno() if got == -1 else 0

def ioctl(number, size=8, of=None, head=b""):
    return fcntl.ioctl(fd if of is None else of, number, bytearray(head.ljust(size, b"\0"))) and 0

def opened(flags, path=DATA):
    os.close(os.open(path, flags))

# What changes the file or what is said of it.
attempt("O_WRONLY", lambda: opened(os.O_WRONLY))
attempt("O_TRUNC", lambda: opened(os.O_RDONLY | os.O_TRUNC))
attempt("O_WRONLY by /proc/self/fd", lambda: opened(os.O_WRONLY, f"/proc/self/fd/{fd}"))
attempt("O_RDWR by an O_PATH descriptor", lambda: opened(os.O_RDWR, f"/proc/self/fd/{path_fd}"))
attempt("O_TMPFILE", lambda: opened(os.O_RDWR | os.O_TMPFILE, TOP))
attempt("O_CREAT", lambda: opened(os.O_RDWR | os.O_CREAT, TOP + "/new"))
attempt("O_NOATIME", lambda: os.pread(os.open(DATA, os.O_RDONLY | os.O_NOATIME), 1, 0) and 0)
attempt("F_SETFL O_NOATIME", lambda: fcntl.fcntl(os.open(DATA, os.O_RDONLY), fcntl.F_SETFL, os.O_NOATIME))
attempt("write", lambda: os.write(fd, b"x") and 0)
attempt("ftruncate", lambda: os.ftruncate(fd, 0))
attempt("truncate", lambda: os.truncate(DATA, 0))
attempt("fallocate", lambda: c("fallocate", fd, 0, 0, 1 << 20))
attempt("fallocate, punch a hole", lambda: c("fallocate", fd, 3, 0, 4096))
attempt("copy_file_range into it", lambda: os.copy_file_range(mine, fd, 4096) and 0)
attempt("mmap shared, to write", lambda: mmap.mmap(fd, 4096, mmap.MAP_SHARED, mmap.PROT_WRITE) and 0)
reading = mmap.mmap(fd, 0, mmap.MAP_SHARED, mmap.PROT_READ)
length = len(reading)
address = libc.mmap(None, ctypes.c_size_t(length), 1, 1, fd, ctypes.c_long(0))
at = ctypes.c_void_p(address)
attempt("mprotect, to write", lambda: c("mprotect", at, length, 3))
attempt("utimensat", lambda: os.utime(DATA, NOW))
attempt("utimensat, a time", lambda: os.utime(DATA, (1, 1)))
attempt("futimens", lambda: os.utime(fd, (1, 1)))
attempt("utimensat by an O_PATH descriptor", lambda: c("utimensat", path_fd, b"", None, EMPTY))
attempt("utimensat by /proc/self/fd", lambda: os.utime(f"/proc/self/fd/{path_fd}", (1, 1)))
attempt("chmod", lambda: os.chmod(DATA, 0o777))
attempt("fchmod", lambda: os.fchmod(fd, 0o4755))
attempt("fchmodat2 by an O_PATH descriptor", lambda: call((452, 452), path_fd, b"", 0o777, EMPTY))
attempt("chown", lambda: os.chown(DATA, 1000, 1000))
attempt("fchownat by an O_PATH descriptor", lambda: c("fchownat", path_fd, b"", 1000, 1000, EMPTY))
for space in ("user.zion", "trusted.zion", "security.zion", "security.capability", "system.posix_acl_access"):
    value = struct.pack("<IIIII", 0x2000000, 0, 0, 0, 0) if space.endswith("bility") else b"x"
    attempt("setxattr " + space, lambda: os.setxattr(fd, space, value))
    attempt("removexattr " + space, lambda: os.removexattr(DATA, space))
attempt("link into the zone", lambda: os.link(DATA, "/root/linked"))
attempt("link by a descriptor", lambda: c("linkat", path_fd, b"", -100, b"/root/linked", EMPTY))
attempt("link beside it", lambda: os.link(DATA, TOP + "/linked"))
attempt("rename", lambda: os.rename(DATA, TOP + "/renamed"))
attempt("rename into the zone", lambda: os.rename(DATA, "/root/renamed"))
attempt("unlink", lambda: os.unlink(DATA))
attempt("mkdir", lambda: os.mkdir(TOP + "/new"))
attempt("rmdir", lambda: os.rmdir(FOLDER))

# Attributes of inodes, and requests of file systems.
attempt("FS_IOC_GETFLAGS", lambda: ioctl(0x80086601))
attempt("FS_IOC_SETFLAGS", lambda: ioctl(0x40086602, head=struct.pack("<Q", 0x80)))
attempt("FS_IOC_SETFLAGS, immutable", lambda: ioctl(0x40086602, head=struct.pack("<Q", 0x10)))
attempt("FS_IOC_FSGETXATTR", lambda: ioctl(0x801c581f, 28))
attempt("FS_IOC_FSSETXATTR, project", lambda: ioctl(0x401c5820, 28, head=struct.pack("<IIIII", 0, 0, 0, 7, 0)))
attempt("FS_IOC_SETVERSION", lambda: ioctl(0x40087602, head=struct.pack("<Q", 7)))
attempt("file_setattr", lambda: call((469, 469), -100, DATA.encode(), ctypes.create_string_buffer(24), 24, 0))
attempt("FS_IOC_ENABLE_VERITY", lambda: ioctl(0x40806685, 128, head=struct.pack("<III", 1, 1, 4096)))
attempt("FS_IOC_MEASURE_VERITY", lambda: ioctl(0xc0046686, 68, head=struct.pack("<HH", 0, 64)))
attempt("FS_IOC_SET_ENCRYPTION_POLICY", lambda: ioctl(0x800c6613, 24, of=folder, head=b"\2\1\4\3"))
attempt("FS_IOC_FIEMAP", lambda: ioctl(0xc020660b, 32, head=struct.pack("<QQII", 0, 1 << 60, 1, 0)))
attempt("FIBMAP", lambda: ioctl(1, 4))
attempt("FIFREEZE", lambda: ioctl(0xc0045877, 4))
attempt("FITHAW", lambda: ioctl(0xc0045878, 4))
attempt("FITRIM", lambda: ioctl(0xc0185879, 24, head=struct.pack("<QQQ", 0, 1 << 20, 1 << 19)))
attempt("FS_IOC_SETFSLABEL", lambda: ioctl(0x41009432, 256, head=b"zion"))
attempt("EXT4_IOC_RESIZE_FS", lambda: ioctl(0x40086610))
attempt("EXT4_IOC_MOVE_EXT", lambda: ioctl(0xc028660f, 40, head=struct.pack("<IIQQQ", 0, mine, 0, 0, 1)))
attempt("EXT4_IOC_MIGRATE", lambda: ioctl(0x6609))
attempt("EXT4_IOC_ALLOC_DA_BLKS", lambda: ioctl(0x660c))
attempt("EXT4_IOC_SWAP_BOOT", lambda: ioctl(0x6611))
attempt("EXT4_IOC_SHUTDOWN", lambda: ioctl(0x8004587d, 4))
attempt("BTRFS_IOC_SNAP_CREATE_V2", lambda: ioctl(0x50009417, 4096, of=mine, head=struct.pack("<q", folder)))
attempt("BTRFS_IOC_DEFRAG", lambda: ioctl(0x50009402, 4096))
attempt("BTRFS_IOC_SUBVOL_SETFLAGS", lambda: ioctl(0x4008941a, of=folder, head=struct.pack("<Q", 2)))
attempt("FICLONE into it", lambda: fcntl.ioctl(fd, 0x40049409, mine))
# What is done to the one destination, or why not, stands in the answer.
def dedupe(source, target):
    words = bytearray(struct.pack("<QQHHIqQQiI", 0, 4096, 1, 0, 0, target, 0, 0, 0, 0))
    fcntl.ioctl(source, 0xc0189436, words)
    status = struct.unpack_from("<i", words, 24 + 24)[0]
    return -status if status < 0 else 0
attempt("FIDEDUPERANGE into it", lambda: dedupe(mine, fd))
attempt("quotactl", lambda: call((179, 60), 0x800007, 0, 0, 0))
attempt("quotactl_fd", lambda: call((443, 443), fd, 0x800007, 0, 0))

# Requests of fcntl.
def lease(kind):
    fcntl.fcntl(os.open(DATA, os.O_RDONLY), 1024, kind)
attempt("F_SETLEASE, write", lambda: lease(fcntl.F_WRLCK))
attempt("F_SETLEASE, read", lambda: lease(fcntl.F_RDLCK))
attempt("F_SETDELEG", lambda: fcntl.fcntl(folder, 1040, struct.pack("<IHHI", 0, 0, 0, 0)) and 0)
attempt("F_GETLEASE", lambda: int(fcntl.fcntl(fd, 1025) != fcntl.F_UNLCK))
signal.signal(signal.SIGIO, signal.SIG_IGN)
attempt("F_NOTIFY", lambda: fcntl.fcntl(folder, 1026, 0x80000001))
attempt("F_SETSIG", lambda: fcntl.fcntl(fd, 10, signal.SIGIO))
attempt("F_SETOWN", lambda: fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid()))
attempt("F_SETOWN, nobody of the zone", lambda: fcntl.fcntl(fd, fcntl.F_SETOWN, 4000000))
attempt("F_ADD_SEALS", lambda: fcntl.fcntl(fd, 1033, 8))
attempt("F_SET_RW_HINT", lambda: fcntl.fcntl(fd, 1036, struct.pack("<Q", 5)) and 0)
attempt("F_SET_FILE_RW_HINT", lambda: fcntl.fcntl(fd, 1038, struct.pack("<Q", 5)) and 0)
attempt("F_SETLK, write", lambda: fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB))
WHOLE = lambda kind: struct.pack("<hhxxxxqqi4x", kind, 0, 0, 0, 0)
attempt("F_OFD_SETLK, write", lambda: fcntl.fcntl(fd, 37, WHOLE(fcntl.F_WRLCK)) and 0)
attempt("F_SETLK, read", lambda: fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB))
attempt("F_OFD_SETLK, read", lambda: fcntl.fcntl(fd, 37, WHOLE(fcntl.F_RDLCK)) and 0)
attempt("flock", lambda: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB))
attempt("LOCK_MAND", lambda: fcntl.flock(fd, 32 | 64))
fcntl.flock(fd, fcntl.LOCK_UN)

# The page cache.
resident = ctypes.create_string_buffer(length // 4096 + 1)
attempt("mincore", lambda: c("mincore", at, length, resident))
attempt("cachestat", lambda: call((451, 451), fd, struct.pack("<QQ", 0, 0), ctypes.create_string_buffer(40), 0))
attempt("preadv2 RWF_NOWAIT", lambda: os.preadv(fd, [bytearray(1)], 0, os.RWF_NOWAIT) and 0)
attempt("posix_fadvise, drop", lambda: os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED))
attempt("readahead", lambda: c("readahead", fd, 0, length))
attempt("sync_file_range", lambda: c("sync_file_range", fd, 0, length, 7))
attempt("syncfs", lambda: c("syncfs", fd))
for name, advice in (("COLD", 20), ("PAGEOUT", 21), ("POPULATE_READ", 22), ("DONTNEED", 4)):
    attempt("MADV_" + name, lambda: c("madvise", at, length, advice))
for name, advice in (("REMOVE", 9), ("POPULATE_WRITE", 23), ("HWPOISON", 100), ("SOFT_OFFLINE", 101)):
    attempt("MADV_" + name, lambda: c("madvise", at, length, advice))
attempt("mlock", lambda: c("mlock", at, 4096))
attempt("remap_file_pages", lambda: c("remap_file_pages", at, 4096, 0, 0, 0))

# Names, handles and watches.
handle = ctypes.create_string_buffer(struct.pack("<Ii", 128, 0) + bytes(128))
number = ctypes.create_string_buffer(8)
attempt("name_to_handle_at", lambda: c("name_to_handle_at", -100, DATA.encode(), handle, number, 0))
attempt("open_by_handle_at", lambda: c("open_by_handle_at", folder, handle, os.O_RDONLY))
notify = libc.inotify_init1(0o4000)
attempt("inotify", lambda: c("inotify_add_watch", notify, DATA.encode(), 0x20))
def mark(group, flags, mask, path):
    return c("fanotify_mark", group, flags, ctypes.c_uint64(mask), -100, path.encode())
def fanotify(flags):
    group = libc.fanotify_init(flags, 0)
    if group < 0:
        raise OSError(ctypes.get_errno(), "fanotify_init")
    return group
attempt("fanotify, permission events", lambda: fanotify(4) and 0)
attempt("fanotify, descriptors", lambda: fanotify(0) and 0)
group = libc.fanotify_init(0x200, 0)
attempt("fanotify, file ids", lambda: mark(group, 1, 0x20, DATA))
attempt("fanotify, the mount", lambda: mark(group, 0x11, 0x20, TOP))
attempt("fanotify, the file system", lambda: mark(group, 0x101, 0x20, TOP))
attempt("kcmp", lambda: call((312, 272), os.getpid(), 1, 0, fd, fd))

# Mounts.
BIND, REC, REMOUNT, RDONLY, PRIVATE = 4096, 16384, 32, 1, 1 << 18
def mount(source, target, flags):
    return c("mount", source and source.encode(), target.encode(), None, flags, None)
attempt("remount, to write", lambda: mount(None, TOP, REMOUNT | BIND))
attempt("remount of the file system", lambda: mount(None, TOP, REMOUNT))
attempt("mount_setattr, to write", lambda: call((442, 442), -100, TOP.encode(), 0, struct.pack("<QQQQ", 0, RDONLY, 0, 0), 32))
user = os.open("/proc/self/ns/user", os.O_RDONLY)
def tree():
    got = libc.syscall(ctypes.c_long(428), ctypes.c_long(-100), TOP.encode(), ctypes.c_long(1))
    if got < 0:
        raise OSError(ctypes.get_errno(), "open_tree")
    return got
IDMAP = struct.pack("<QQQQ", 1 << 20, 0, 0, user)
attempt("mount_setattr, other ids", lambda: call((442, 442), tree(), b"", EMPTY, IDMAP, 32))
attempt("mount_setattr of a copy, to write", lambda: call((442, 442), tree(), b"", EMPTY, struct.pack("<QQQQ", 0, RDONLY, 0, 0), 32))
attempt("open_tree_attr, other ids", lambda: call((467, 467), -100, TOP.encode(), 1, IDMAP, 32))
attempt("umount", lambda: c("umount2", TOP.encode(), 2))
os.makedirs("/root/other", exist_ok=True)
# With what is mounted below it: the kernel copies no folder without the mounts that are locked to it.
attempt("bind elsewhere", lambda: mount(TOP, "/root/other", BIND | REC))
attempt("write there", lambda: opened(os.O_WRONLY, "/root/other/data"))
attempt("bind over it", lambda: mount("/root/mine", DATA, BIND))
