"""Settings of the kernel: `knobs.py read` prints those of this place, `knobs.py write KIND` writes to all that it can,
`knobs.py unnamed LIST` prints what can be written and is not in a list of patterns, `knobs.py switch FILE` is one write,
`knobs.py programs` counts the programs that refuse it."""

import ctypes
import errno
import fnmatch
import os
import re
import struct
import sys

# They change by themselves.
OWN_LIFE = ("/proc/sys/fs/dentry-state", "/proc/sys/fs/file-nr", "/proc/sys/fs/inode-nr", "/proc/sys/fs/inode-state",
            "/proc/sys/fs/aio-nr", "/proc/sys/kernel/ns_last_pid", "/proc/sys/kernel/pty/nr", "/proc/sys/kernel/random/",
            "/proc/sys/net/netfilter/nf_conntrack_count", "/sys/devices/virtual/bdi/")


def files():
    for top in ("/proc/sys", "/proc/net", "/sys"):
        for folder, folders, names in os.walk(top):
            # Their files are orders to the kernel, not settings.
            folders[:] = [f for f in folders if folder + "/" + f not in ("/sys/kernel/debug", "/sys/kernel/tracing")]
            for name in names:
                path = folder + "/" + name
                if os.path.isfile(path) and not os.path.islink(path):
                    yield path


def text(path):
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return os.read(fd, 4096).decode(errors="replace")
        finally:
            os.close(fd)
    except OSError:
        return None


def writable(path):
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        return True
    except OSError:
        return False


def read():
    for path in files():
        # Of /sys only what can be set: the rest counts and measures.
        setting = path.startswith("/proc/sys/") or path.startswith("/sys/") and os.stat(path).st_mode & 0o222
        if setting and not path.startswith(OWN_LIFE) and "/cgroup/" not in path and (value := text(path)) is not None:
            print(path, repr(value))


# What settings that are words may be: congestion controls, schedulers, loggers, keys, names.
WORDS = ["reno", "default", "kernel", "NONE", "nf_log_syslog", "nfnetlink_log", "1-2-3-4", "sha256", "x"]


def other(kind, now):
    numbers = now.split()
    if not numbers or not all(n.lstrip("-").isdigit() for n in numbers):
        return {"more": ["x"], "less": [now.strip()], "one": ["1"], "zero": ["0"], "word": WORDS}[kind]
    if kind == "word":
        return []
    change = {"more": lambda n: n + 1, "less": lambda n: n - 1, "one": lambda n: 1, "zero": lambda n: 0}[kind]
    return ["\t".join(str(change(int(n))) for n in numbers)]


def write(kind):
    for path in list(files()):
        if "/cgroup/" in path or not writable(path):
            continue
        for value in other(kind, text(path) or ""):
            try:
                fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
                try:
                    os.write(fd, (value + "\n").encode())
                    print("written", path, value)
                finally:
                    os.close(fd)
            except OSError as e:
                print("refused", path, value, e.errno)


def unnamed(patterns):
    named = [line.strip() for line in open(patterns) if not line.startswith("#")]
    for path in files():
        if path.startswith("/proc/sys/") and writable(path) and not any(fnmatch.fnmatchcase(path, n) for n in named):
            print(path)


def switch(path):
    try:
        with open(path, "wb", buffering=0) as file:
            file.write(b"1\n")
        print("written")
    except OSError as e:
        print(errno.errorcode[e.errno])


BPF = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
NEXT, BY_ID, DETACH, INFO = 11, 13, 9, 15


def bpf(command, block):
    libc = ctypes.CDLL(None, use_errno=True)
    room = ctypes.create_string_buffer(block.ljust(128, b"\0"), 128)
    done = libc.syscall(BPF, command, room, 128)
    if done < 0:
        raise OSError(ctypes.get_errno(), "bpf")
    return done, room.raw


def programs():
    number, count = 0, 0
    while True:
        try:
            number = struct.unpack_from("II", bpf(NEXT, struct.pack("I", number))[1])[1]
        except FileNotFoundError:
            return print(count)
        try:
            program = bpf(BY_ID, struct.pack("I", number))[0]
        except FileNotFoundError:
            continue
        info = ctypes.create_string_buffer(256)
        bpf(INFO, struct.pack("IIQ", program, 256, ctypes.addressof(info)))
        os.close(program)
        # struct bpf_prog_info: the name is behind type, id, tag, two lengths, two addresses, a time, a user, a count
        # of maps and their address.
        count += re.fullmatch(rb"zone_[0-9a-f]{8}\0*", info.raw[64:80]) is not None


def detach(group):
    try:
        # BPF_CGROUP_SYSCTL; without a program's descriptor all of an older kind of attachment go.
        bpf(DETACH, struct.pack("IIII", os.open(group, os.O_RDONLY), 0, 18, 0))
        print("detached")
    except OSError as e:
        print(errno.errorcode[e.errno])


{"read": read, "write": write, "unnamed": unnamed, "switch": switch, "programs": programs, "detach": detach}[sys.argv[1]](*sys.argv[2:])
