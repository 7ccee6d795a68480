# Exchanges two names of a folder, as fast as it can, until its input ends; says when it was 5000 times, and
# in the end how often.
import ctypes, os, select, sys
libc = ctypes.CDLL(None, use_errno=True)
folder, one, other = (word.encode() for word in sys.argv[1:4])
fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
RENAME_EXCHANGE = 2
flips = 0
print('ready', flush=True)
while not select.select([0], [], [], 0)[0]:
    for _ in range(50):
        if libc.renameat2(fd, one, fd, other, RENAME_EXCHANGE) == 0:
            flips += 1
            if flips == 5000:
                print('enough', flush=True)
        else:
            # Something was mounted there.
            for name in (one, other):
                libc.umount2(folder + b'/' + name, 2)
if flips % 2:
    libc.renameat2(fd, one, fd, other, RENAME_EXCHANGE)
print(flips)
