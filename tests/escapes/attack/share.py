# Holds what a zone can hold of files that it sees read-only, for as long as it runs.
import ctypes, fcntl, mmap, os, platform, socket, struct, subprocess, sys
top = sys.argv[1]
fcntl.flock(os.open(top + '/flock', os.O_RDONLY), fcntl.LOCK_EX)
fcntl.lockf(os.open(top + '/record', os.O_RDONLY), fcntl.LOCK_SH)
running = subprocess.Popen([top + '/program', '1000'])
# The program is executed when the child has closed its end.
said = []
socket.socket(socket.AF_UNIX).connect(top + '/socket')
said.append('connected')
os.write(os.open(top + '/fifo', os.O_WRONLY | os.O_NONBLOCK), b'x')
said.append('written')
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
word = libc.mmap(None, ctypes.c_size_t(4096), 1, 1, os.open(top + '/futex', os.O_RDONLY), ctypes.c_long(0))
number = 202 if platform.machine() == 'x86_64' else 98
woken = 0
while not woken:
    woken = libc.syscall(number, ctypes.c_void_p(word), 1, 1, None, None, 0)
said.append('woken')
print('ready', flush=True)
sys.stdin.read()
running.kill()
print(*said)
