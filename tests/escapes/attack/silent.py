# A file system that is mounted over /etc, takes requests and never answers: whoever asks it waits in the
# kernel, and no signal ends that.
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
fd = os.open("/dev/fuse", os.O_RDWR)
options = b"fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other" % fd
if libc.mount(b"silent", b"/etc", b"fuse", 0, options):
    print("no mount", ctypes.get_errno(), flush=True)
    sys.exit()
request = os.read(fd, 1 << 20)
unique = struct.unpack_from("<IIQ", request)[2]
answer = struct.pack("<IIIIHHIIHHI7I", 7, 31, 1 << 16, 0, 12, 10, 1 << 16, 1, 32, 0, 0, *[0] * 7)
os.write(fd, struct.pack("<IiQ", 16 + len(answer), 0, unique) + answer)
print("mounted", flush=True)
while True:
    os.read(fd, 1 << 20)
