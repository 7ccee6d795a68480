# Gives a descriptor of the zone's root to whoever asks for it.
import array, os, select, socket, sys
os.umask(0)
secret = os.open('/var/tmp/secret', os.O_WRONLY | os.O_CREAT, 0o600)
server = socket.socket(socket.AF_UNIX)
server.bind('/shared/socket')
server.listen()
print('ready', flush=True)
ready = select.select([0, server], [], [])[0]
if server in ready:
    peer, _ = server.accept()
    top = os.open('/', os.O_RDONLY)
    peer.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [top]))])
    select.select([0], [], [])
