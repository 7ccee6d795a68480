#!/bin/bash
# A zone's life on ZFS: file system of its own, a shared file system, a dataset that the zone administers,
# a volume, a clone; and everything as before. Run by `make demo-zfs` in a virtual machine with real ZFS,
# with the programs beside it: it makes a pool named tank, of a file.
set -u
cd "$(dirname "$0")" || exit 2
PATH=$PWD:$PATH
# Releases before 2.4 wait ten seconds for a module where there is no /dev/zfs.
export ZFS_MODULE_TIMEOUT=0

if [ "${1-}" = --colour ]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; else bold='' dim='' plain=''; fi
exec 2>&1 # what the programs complain about belongs where it happens
wrong=0

say() { printf '\n%s# %s%s\n' "$dim" "$*" "$plain"; }
show() {
    local word line=
    for word in "$@"; do
        case $word in *[!A-Za-z0-9/._=,+:@%-]*) line+=" '$word'" ;; *) line+=" $word" ;; esac
    done
    printf '%s$%s%s\n' "$bold" "$line" "$plain"
}
# run COMMAND: it succeeds. refused COMMAND: it must not.
run() { show "$@"; "$@" || { echo "demo: that should have worked"; wrong=1; }; }
refused() { show "$@"; if "$@"; then echo "demo: that should have been refused"; wrong=1; fi; }
look() {
    {
        cut -d' ' -f3- /proc/self/mountinfo
        ls /sys/class/net
        losetup -a
        find /run/zones /etc/zones.d /zones -mindepth 1 ! -name '.*' 2>/dev/null
        find /sys/fs/cgroup -path '*zion*'
        pgrep -l zone
    } | sort
}

zpool list tank >/dev/null 2>&1 && { echo "demo: there is a pool named tank already"; exit 1; }
mkdir -p /etc/zones.d
truncate -s 1G /dev/shm/disk

say "A pool, as an administrator would have set it up: room for zones, something to share, something for the" \
    "zone to administer with a limit on it, and a volume."
run zpool create -O mountpoint=none tank /dev/shm/disk
run zfs create -o mountpoint=/zones tank/zones
run zfs create -o mountpoint=legacy tank/shared
run zfs create -o mountpoint=none tank/data
run zfs create -u -o mountpoint=/data -o quota=200M tank/data/zion
run zfs create -V 64M tank/volume
udevadm settle
look >/tmp/before
zfs list -Ho name | sort >/tmp/datasets-before

say "A zone is configured as on Solaris: a file system, a dataset, a volume as a device."
cat >/tmp/zion <<EOT
create
add fs
set type=zfs
set special=tank/shared
set dir=/export/shared
end
add dataset
set name=tank/data/zion
end
add device
set match=/dev/zvol/dsk/tank/volume
end
commit
EOT
printf '%s$ zonecfg -z zion <<EOT\n%sEOT%s\n' "$bold" "$(cat /tmp/zion)"$'\n' "$plain"
zonecfg -z zion </tmp/zion || wrong=1

say "Below a ZFS file system, install makes one for the zone."
run zoneadm -z zion install
run zfs list -o name,used,quota,mountpoint -r tank
run zoneadm -z zion boot

say "The zone sees its dataset and what is above it, and of the pool nothing else."
run zlogin zion 'zfs list -o name,used,quota,mountpoint'

say "In its dataset it does as it likes."
run zlogin zion 'zfs create -o compression=lz4 tank/data/zion/home && echo precious > /data/home/file'
run zlogin zion 'zfs snapshot tank/data/zion/home@monday && rm /data/home/file && zfs rollback tank/data/zion/home@monday && cat /data/home/file'

say "What the administrator of the host has limited stays as it is, and what is not the zone's out of reach."
refused zlogin zion 'zfs set quota=1G tank/data/zion'
refused zlogin zion 'zfs set reservation=1G tank/data/zion'
refused zlogin zion 'zfs destroy -r tank/zones'
refused zlogin zion 'zpool export tank'

say "The shared file system is an ordinary directory to it; the volume a disk."
run zlogin zion 'echo hello from $(hostname) > /export/shared/greeting; ls -l /export/shared'
run zlogin zion 'mkfs.ext4 -q /dev/zvol/dsk/tank/volume && blkid -o value -s TYPE /dev/zvol/dsk/tank/volume'

say "A clone of the zone takes no time and no room, however large the zone is."
run zoneadm -z zion halt
run zonecfg -z zion2 'create; set zonepath=/zones/zion2'
run zoneadm -z zion2 clone zion
run zfs list -o name,used,refer,origin -r tank/zones
run zoneadm -z zion2 boot
run zlogin zion2 'hostname'
run zoneadm list -cv

say "And away again. What a zone held goes with it; what was only lent stays."
run zoneadm -z zion2 halt
for zone in zion2 zion; do
    run zoneadm -z $zone uninstall -F
    run zonecfg -z $zone delete -F
done
run zfs list -o name,used,quota,mountpoint -r tank

say "Is the host as it was before?"
zfs destroy -r tank/data/zion/home # made in the zone, which had the right to
same=yes
zfs list -Ho name | sort >/tmp/datasets-after
look >/tmp/after
diff /tmp/datasets-before /tmp/datasets-after && echo "datasets: as before" || same=no
diff /tmp/before /tmp/after && echo "mounts, processes, links, loop devices, control groups, files: as before" || same=no
zpool destroy tank && echo "pool: nothing holds it" || same=no
[ "$same" = yes ] && [ "$wrong" = 0 ]
