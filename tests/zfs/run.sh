#!/bin/sh
# In the machine with real ZFS: makes the calls of the table twice, each time on fresh pools, and
# leaves both lists of outcomes to be compared outside.
set -eu
pools() {
    for pool in tank dozer; do
        zpool destroy -f "$pool" 2>/dev/null || true
        rm -f "/dev/shm/$pool" && truncate -s 256M "/dev/shm/$pool"
        zpool create -O canmount=off "$pool" "/dev/shm/$pool"
    done
    zpool set cachefile=none tank
}
pools
./zfs --run cases.jsonl >/out/ours
pools
python3 pyzfs.py cases.jsonl >/out/pyzfs
pools
library=$(ldconfig -p | sed -n 's/.*libzfs_core\.so\.3 .*=> //p' | head -n 1)
mount --bind /dev/null "$library"
./zfs --run-without-library without-library.jsonl >/out/bare
umount "$library"
zpool destroy -f tank
zpool destroy -f dozer
zfs version >/out/version
