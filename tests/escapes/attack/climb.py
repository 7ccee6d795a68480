# Leaves a changed root the old way, and says what is at the top.
import os, sys
folder = '/var/tmp/cell'
os.makedirs(folder, exist_ok=True)
outside = os.open('/', os.O_RDONLY)
os.chroot(folder)
os.fchdir(outside)
for _ in range(50):
    os.chdir('..')
os.chroot('.')
top = os.stat('/')
print(top.st_dev, top.st_ino, os.path.exists(sys.argv[1]))
