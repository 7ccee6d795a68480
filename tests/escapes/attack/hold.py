# Traces every process that comes and never lets go: nobody else learns of its end.
import ctypes, os, select, sys
libc = ctypes.CDLL(None)
me, held = os.getpid(), set()
print('ready', flush=True)
while not select.select([0], [], [], 0)[0]:
    for pid in os.listdir('/proc'):
        if pid.isdigit() and int(pid) not in (1, me) and pid not in held:
            if libc.ptrace(0x4206, int(pid), 0, 0) == 0:
                held.add(pid)
print(len(held))
