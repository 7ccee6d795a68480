#!/usr/bin/env python3
"""Requests to /dev/zfs made by hand, as an attacker in a zone would make them.

Each subcommand prints the error's name, or OK. They use nothing of ZFS' own software.
"""

import ctypes
import errno
import mmap
import os
import struct
import subprocess
import sys
import threading
import time

LIBC = ctypes.CDLL(None, use_errno=True)
SIZE = 13744
SET_PROP, INHERIT, CREATE, DESTROY, RENAME = 0x5A16, 0x5A2B, 0x5A17, 0x5A18, 0x5A1A
RECV, RECV_NEW, CLONE, WAIT_FS = 0x5A1B, 0x5A46, 0x5A42, 0x5A54
OWN_ERRORS = {1029: "ZFS_ERR_IOC_CMD_UNAVAIL", 1044: "ZFS_ERR_BADPROP", 1033: "ZFS_ERR_WRONG_PARENT"}
COUNT = 0


def name(number):
    return "OK" if number == 0 else OWN_ERRORS.get(number) or errno.errorcode.get(number, str(number))


# Lists, in both encodings.

def align(n, to):
    return (n + to - 1) // to * to


def native(pairs):
    out = struct.pack("=BBBBiI", 0, 1, 0, 0, 0, 1)
    for key, value in pairs.items():
        raw = key.encode() + b"\0"
        kind, body = (8, struct.pack("=Q", value)) if isinstance(value, int) else (9, value.encode() + b"\0")
        at = align(16 + len(raw), 8)
        size = align(at + len(body), 8)
        pair = struct.pack("=ihhii", size, len(raw), 0, 1, kind) + raw
        out += (pair.ljust(at, b"\0") + body).ljust(size, b"\0")
    return out + struct.pack("=i", 0)


class Int32(int):
    pass


def xdr(pairs, nested=False):
    def text(s):
        b = s.encode()
        return struct.pack(">I", len(b)) + b.ljust(align(len(b), 4), b"\0")

    out = b"" if nested else b"\1\1\0\0"
    out += struct.pack(">iI", 0, 1)
    for key, value in pairs.items():
        count = 1
        if value is None:
            kind, body, room, count = 1, b"", 0, 0
        elif isinstance(value, Int32):
            kind, body, room = 5, struct.pack(">i", value), 8
        elif isinstance(value, int):
            kind, body, room = 8, struct.pack(">Q", value), 8
        elif isinstance(value, str):
            kind, body, room = 9, text(value), align(len(value.encode()) + 1, 8)
        elif isinstance(value, bytes):
            kind, body, room, count = 10, value.ljust(align(len(value), 4), b"\0"), align(len(value), 8), len(value)
        else:
            kind, body, room = 19, xdr(value, nested=True), 24
        pair = text(key) + struct.pack(">ii", kind, count) + body
        out += struct.pack(">ii", 8 + len(pair), align(16 + len(key.encode()) + 1, 8) + room) + pair
    return out + struct.pack(">ii", 0, 0)


# Requests.

class Command:
    """One request in memory that the kernel can find, also by 32-bit addresses."""

    def __init__(self, dataset, packed=b"", value="", cookie=0, conf=b"", string="", begin=b"", low=True):
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | (0x40 if low else 0)
        self.memory = mmap.mmap(-1, 1 << 17, flags=flags)
        self.at = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.put(0, dataset.encode())
        self.list_at, self.conf_at, answer_at = 0x4000, 0x8000, 0x10000
        self.put(self.list_at, packed)
        self.put(self.conf_at, conf)
        if packed:
            self.put(4096, struct.pack("=QQ", self.at + self.list_at, len(packed)))
        self.put(4112, struct.pack("=QQ", self.at + answer_at, 0x10000))
        self.put(4144, value.encode())
        self.put(12336, string.encode())
        if conf:
            self.put(12600, struct.pack("=QQ", self.at + self.conf_at, len(conf)))
        self.put(12616, struct.pack("=Q", cookie))
        self.put(12992, begin)

    def put(self, at, data):
        self.memory[at:at + len(data)] = data

    def send(self, number, how="ioctl", fd=None):
        fd = device() if fd is None else fd
        if how == "int80":
            return int80(fd, number, self.at)
        if how == "x32":
            # The second number with bit 30: what a program for x32 uses.
            result = LIBC.syscall(0x40000000 | 514, fd, number, ctypes.c_void_p(self.at))
        elif how == "high":
            # The kernel takes the lower 32 bits of the number only.
            result = LIBC.syscall(16, fd, ctypes.c_ulong(0xDEAD00000000 | number), ctypes.c_void_p(self.at))
        else:
            result = LIBC.syscall(16, fd, ctypes.c_ulong(number), ctypes.c_void_p(self.at))
        return 0 if result == 0 else ctypes.get_errno()


def device():
    return os.open("/dev/zfs", os.O_RDWR | os.O_CLOEXEC)


def int80(fd, number, address):
    assert address < 1 << 32
    code = bytes.fromhex("5389fb89f1b836000000cd805bc3")
    page = mmap.mmap(-1, 4096, prot=7)
    page[:len(code)] = code
    place = ctypes.addressof(ctypes.c_char.from_buffer(page))
    call = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_uint, ctypes.c_uint)(place)
    return -call(fd, number, address)


def pairs_of(words):
    return {k: int(v) if v.isdigit() else v for k, v in (w.split("=", 1) for w in words)}


def cmd_set(how, encoding, dataset, *words):
    pack = native if encoding == "native" else xdr
    return Command(dataset, pack(pairs_of(words))).send(SET_PROP, how)


def cmd_set_received(dataset, *words):
    return Command(dataset, native(pairs_of(words)), cookie=1).send(SET_PROP)


def cmd_inherit(how, dataset, prop, received):
    return Command(dataset, value=prop, cookie=int(received)).send(INHERIT, how)


def cmd_create(dataset, *words):
    return Command(dataset, xdr({"type": Int32(2), "props": pairs_of(words)})).send(CREATE)


def cmd_clone(dataset, origin, *words):
    return Command(dataset, xdr({"origin": origin, "props": pairs_of(words)})).send(CLONE)


def cmd_destroy(dataset):
    return Command(dataset).send(DESTROY)


def cmd_rename(dataset, to):
    return Command(dataset, value=to).send(RENAME)


def cmd_wait(dataset):
    return Command(dataset, xdr({"wait_activity": Int32(0)})).send(WAIT_FS)


def cmd_number(number, *rest):
    """Any request, without arguments."""
    return Command(rest[0] if rest else "").send(int(number, 16), rest[1] if len(rest) > 1 else "ioctl")


def stream(file):
    fd = os.open(file, os.O_RDONLY)
    return fd, os.read(fd, 312)


def cmd_receive(which, dataset, snapshot, file, *words):
    """Receives a stream; the request's dataset and the snapshot's need not be the same."""
    fd, begin = stream(file)
    props = pairs_of(words)
    if which == "new":
        arguments = {"snapname": snapshot, "begin_record": begin, "input_fd": Int32(fd), "force": None}
        if words:
            arguments["props"] = props
        return Command(dataset, xdr(arguments)).send(RECV_NEW)
    command = Command(dataset, native(props) if words else b"", value=snapshot, cookie=fd, begin=begin[8:])
    command.put(12592, struct.pack("=Q", 1))
    return command.send(RECV)


# Rewriting while it is checked. Both names have eleven letters.

def cmd_race(rounds, dataset, missing):
    """Another thread changes property and dataset of the request all the time. What is checked may be the
    compression of a dataset that is not there, which costs the kernel nothing; what is wanted is the
    reservation of one that is."""
    rounds = int(rounds)
    command = Command(missing, native({"compression": 15}))
    place = command.list_at + 12 + 16
    assert command.memory[place:place + 11] == b"compression"
    fd, stop, results = device(), [], {}

    def rewrite():
        n = 0
        while not stop:
            n += 1
            wanted = n % 3 == 0
            command.memory[place:place + 11] = b"reservation" if wanted else b"compression"
            command.put(place + 16, struct.pack("=Q", 64 << 20 if wanted else 15))
            command.put(0, (dataset if wanted else missing).encode() + b"\0")

    sys.setswitchinterval(1e-5)
    thread = threading.Thread(target=rewrite)
    thread.start()
    try:
        for _ in range(rounds):
            result = name(command.send(SET_PROP, fd=fd))
            results[result] = results.get(result, 0) + 1
    finally:
        stop.append(1)
    print(f"{sum(results.values())} rounds:", *(f"{k} {v}" for k, v in sorted(results.items())))
    return None


# Filters and listeners.

class Filter(ctypes.Structure):
    _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint)]


class Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.POINTER(Filter))]


ASK, ALLOW, TRACE = 0x7FC00000, 0x7FFF0000, 0x7FF00000


def seccomp(verdict, flags):
    """A filter of the attacker's own for SET_PROP; returns the result of seccomp(2)."""
    lines = [(0x20, 0, 0, 0), (0x15, 0, 3, 16), (0x20, 0, 0, 24), (0x15, 0, 1, SET_PROP),
             (0x06, 0, 0, verdict), (0x06, 0, 0, ALLOW)]
    table = (Filter * len(lines))(*(Filter(*line) for line in lines))
    program = Program(len(lines), table)
    LIBC.prctl(38, 1, 0, 0, 0)
    result = LIBC.syscall(317, 1, flags, ctypes.byref(program))
    return result, 0 if result >= 0 else ctypes.get_errno()


def cmd_listener():
    """A second listener in the chain of filters."""
    return seccomp(ASK, 8)[1]


def cmd_inner_ask(dataset, *words):
    """A filter that asks a listener that is not there."""
    result, error = seccomp(ASK, 0)
    assert result == 0, name(error)
    return cmd_set("ioctl", "native", dataset, *words)


def cmd_inner_trace(dataset, *words):
    """A filter that asks a tracer that is not there: must not be preferred."""
    result, error = seccomp(TRACE, 0)
    assert result == 0, name(error)
    return cmd_set("ioctl", "native", dataset, *words)


def cmd_answer_myself(dataset, *words):
    """A listener of the attacker's own that tells the kernel to go on."""
    fd, error = seccomp(ASK, 8)
    if fd < 0:
        return error

    def answer():
        request = ctypes.create_string_buffer(80)
        if LIBC.ioctl(fd, ctypes.c_ulong(0xC0502100), request) == 0:
            LIBC.ioctl(fd, ctypes.c_ulong(0xC0182101), request.raw[:8] + struct.pack("=qiI", 0, 0, 1))

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    return cmd_set("ioctl", "native", dataset, *words)


# Memory that does not come: pages of a file whose server does not answer.

def fuse_server(place):
    """Mounts a file system with one file, `f`; a process of its own answers all but the reading of it."""
    fd = os.open("/dev/fuse", os.O_RDWR)
    os.makedirs(place, exist_ok=True)
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    assert LIBC.mount(b"hole", place.encode(), b"fuse", 6, options) == 0, name(ctypes.get_errno())

    def attributes(node):
        mode = 0o40755 if node == 1 else 0o100644
        return struct.pack("=6Q10I", node, 1 << 20, 2048, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

    def serve():
        while True:
            request = os.read(fd, 1 << 20)
            _, opcode, unique, node = struct.unpack_from("=IIQQ", request)
            answer = b""
            if opcode == 26:
                answer = struct.pack("=IIIIHHIIHH8I", 7, 31, 0, 0, 12, 10, 1 << 17, 1, 32, 0, *[0] * 8)[:64]
            elif opcode == 1:
                answer = struct.pack("=QQQQII", 2, 0, 1000, 1000, 0, 0) + attributes(2)
            elif opcode == 3:
                answer = struct.pack("=QII", 1000, 0, 0) + attributes(node)
            elif opcode == 14:
                answer = struct.pack("=QII", 1, 0, 0)
            elif opcode in (2, 15, 36, 42):
                continue
            os.write(fd, struct.pack("=IiQ", 16 + len(answer), 0, unique) + answer)

    if os.fork() == 0:
        serve()
    os.close(fd)


def cmd_blocked(which, count, dataset):
    """Requests whose list, or place for the answer, lies in memory that never comes; prints how they end."""
    place = f"/tmp/hole{os.getpid()}"
    fuse_server(place)
    LIBC.mmap.restype = ctypes.c_void_p
    results = []

    def call(number):
        command = Command(dataset, native({"compression": 15}))
        file = os.open(f"{place}/f", os.O_RDONLY)
        at = LIBC.mmap(None, ctypes.c_size_t(1 << 20), 3, 2, file, ctypes.c_long(0)) + number * 8192
        if which == "list":
            command.put(4096, struct.pack("=QQ", at, 64))
        else:
            command.put(4112, struct.pack("=QQ", at, 4096))
        fd = device()
        ready.wait()
        results.append(name(command.send(SET_PROP, fd=fd)))

    # A worker that waits keeps this process from making memory: all of it is there before.
    ready = threading.Barrier(int(count) + 1)
    threads = [threading.Thread(target=call, args=(n,)) for n in range(int(count))]
    for thread in threads:
        thread.start()
    print("waiting", flush=True)
    ready.wait()
    for thread in threads:
        thread.join()
    print(*sorted(results), sep="\n")
    return None


def cmd_thread(dataset, *words):
    """From a thread that is not the process' first."""
    out = []
    thread = threading.Thread(target=lambda: out.append(cmd_set("ioctl", "native", dataset, *words)))
    thread.start()
    thread.join()
    return out[0]


def cmd_wrong_descriptor(dataset, *words):
    """The right request on a wrong descriptor."""
    command = Command(dataset, native(pairs_of(words)))
    null = os.open("/dev/null", os.O_RDWR)
    print(name(command.send(SET_PROP, fd=null)), name(command.send(SET_PROP, fd=999)), end=" ")
    return 0


def cmd_wrong_memory(dataset):
    """Addresses that lead nowhere, and lists that are none."""
    fd = device()
    out = [0 if LIBC.syscall(16, fd, SET_PROP, ctypes.c_void_p(at)) == 0 else ctypes.get_errno()
           for at in (0, 8, 1 << 46, 1 << 63, (1 << 64) - 8)]
    for at, size in ((8, 64), (1 << 63, 64), (0, 1 << 40), (0, 1 << 62)):
        command = Command(dataset)
        command.put(4096, struct.pack("=QQ", at, size))
        out.append(command.send(SET_PROP))
    for junk in (b"x" * 64, b"\0\1\0\0", native({"compression": 15})[:-9], os.urandom(4096)):
        out.append(Command(dataset, junk).send(SET_PROP))
    print(*map(name, out), end=" ")
    return 0


def cmd_killed(dataset):
    """Callers that are killed while they wait."""
    for delay in [0, 0.0002, 0.001, 0.003, 0.01] * 20:
        child = subprocess.Popen([sys.executable, sys.argv[0], "set", "ioctl", "native", dataset, "compression=15"],
                                 stdout=subprocess.DEVNULL)
        time.sleep(0.03 + delay)
        child.kill()
        child.wait()
    return 0


def cmd_time(dataset, sibling, rounds):
    """Milliseconds for a request that is carried out, one that is refused, and one that is not checked."""
    fd, out = device(), []
    for number, one in ((SET_PROP, dataset), (SET_PROP, sibling), (0x5A12, dataset)):
        command = Command(one, native({"compression": 15}) if number == SET_PROP else b"")
        begin = time.monotonic()
        for _ in range(int(rounds)):
            command.send(number, fd=fd)
        out.append((time.monotonic() - begin) / int(rounds) * 1000)
    print("set %.2f ms, refused %.2f ms, read %.3f ms" % tuple(out))
    return None


def cmd_signals(dataset):
    """A caller that is interrupted all the time: no request is lost or carried out twice."""
    import signal
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.siginterrupt(signal.SIGALRM, False)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    results = {}
    for n in range(100):
        one = name(cmd_create(f"{dataset}/s{n}", "compression=15"))
        results[one] = results.get(one, 0) + 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    print(*(f"{k} {v}" for k, v in sorted(results.items())))
    return None


def serve():
    """Carries out what comes on standard input, each in a process of its own: `attack WORDS` or `sh TEXT`, with
    a zero byte at its end; the answer is what it printed and its status, with a zero byte behind each."""
    import traceback
    asked, environ = b"", dict(os.environ, ZFS_MODULE_TIMEOUT="0")
    while data := os.read(0, 1 << 16):
        *whole, asked = (asked + data).split(b"\0")
        for request in whole:
            how, _, rest = request.decode().partition(" ")
            child = os.fork()
            if child == 0:
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.dup2(1, 2)
                if how == "sh":
                    os.execve("/bin/sh", ["sh", "-c", rest], environ)
                try:
                    main(rest.split())
                except SystemExit as end:
                    status = end.code or 0
                except BaseException:
                    traceback.print_exc()
                    status = 1
                else:
                    status = 0
                sys.stdout.flush()
                os._exit(status)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            os.write(1, b"\0%d\0" % (status if status >= 0 else 128 - status))


def main(words):
    command, *rest = words
    if command == "serve":
        return serve()
    result = globals()[f"cmd_{command.replace('-', '_')}"](*rest)
    if result is not None:
        print(name(result))
        sys.exit(0 if result == 0 else 1)


main(sys.argv[1:])
