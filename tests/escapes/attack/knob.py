import errno
import os

fd = os.open("/proc/sys/net/netfilter/nf_hooks_lwtunnel", os.O_WRONLY)
try:
    os.write(fd, b"x")
    print("written")
except OSError as e:
    print(errno.errorcode[e.errno])
