# Tries to talk to the host by what needs no address.
import os, select, socket, struct, sys
found = []
def attempt(what, work):
    try:
        got = work()
        if got:
            found.append('%s: %s' % (what, got))
    except OSError:
        pass
def abstract():
    s = socket.socket(socket.AF_UNIX)
    s.connect('\0' + sys.argv[1])
    return 'connected'
def links():
    return [n for _, n in socket.if_nameindex() if n != 'lo']
def audit():
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9)
    # AUDIT_GET, as a request with an answer.
    s.sendto(struct.pack('=IHHII', 16, 1000, 5, 1, 0), (0, 0))
    s.settimeout(1)
    kind, = struct.unpack_from('=H', s.recv(4096), 4)
    return 'answered' if kind == 1000 else ''
attempt('abstract', abstract)
attempt('links', links)
attempt('audit', audit)
print(found)
