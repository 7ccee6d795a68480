# Adding ZFS volumes to a zone.
# machine: storage
zone zion </dev/null
zfs create -V 32M tank/vol
zfs create -V 16M tank/other
zfs create -V 16M "tank/a b"
udevadm settle
number() { printf '%d:%d' "0x$(stat -L -c %t "$1")" "0x$(stat -L -c %T "$1")"; }
# By ZFS' own helper, not by a link.
by_name() { for d in /dev/zd*; do [ "$(/lib/udev/zvol_id "$d")" = "$1" ] && number "$d" && return; done; }
inside_number() { inside "printf '%d:%d' 0x\$(stat -c %t $1) 0x\$(stat -c %T $1)"; }

with "$(device /dev/zvol/dsk/tank/vol)"
good "the guide's example boots" zoneadm -z zion boot
vol=$(number /dev/zvol/tank/vol) other=$(number /dev/zvol/tank/other)
gives "the volume is there under the name used" "$vol" inside_number /dev/zvol/dsk/tank/vol
gives "and under Linux' name" "$vol" inside_number /dev/zvol/tank/vol
gives "the zone's root owns it" "0 block special file" inside "stat -c '%u %F' /dev/zvol/dsk/tank/vol"
gives "no other volume is there" "1" inside "ls -R /dev/zvol | grep -cxv -e '' -e '.*:' -e dsk -e tank | sort -u | sed 's/2/1/'"
refused "nor can its node be made" "Operation not permitted" inside "mknod /tmp/other b ${other%:*} ${other#*:}"
good "dd writes and reads it" inside "echo from the zone | dd of=/dev/zvol/dsk/tank/vol conv=notrunc,fsync status=none &&
    [ \"\$(dd if=/dev/zvol/tank/vol bs=13 count=1 status=none)\" = 'from the zone' ]"
gives "and the host sees the same bytes" "from the zone" dd if=/dev/zvol/tank/vol bs=13 count=1 status=none
good "the zone makes a file system on it" inside "mkfs.ext4 -q -F /dev/zvol/dsk/tank/vol && e2fsck -fn /dev/zvol/tank/vol"
good "which the host finds sound" e2fsck -fn /dev/zvol/tank/vol
refused "the zone cannot mount it: a malformed one could harm the kernel" "permission denied" inside "mkdir -p /mnt2; mount -t ext4 /dev/zvol/tank/vol /mnt2"

# Pools cannot be created or modified within a zone, whatever devices or files it has.
good "files for a pool" inside "truncate -s 128M /root/file"
refused "zpool create on the volume" /dev/zfs inside "zpool create -f inner /dev/zvol/tank/vol"
refused "zpool create on a file" /dev/zfs inside "zpool create -f inner /root/file"
refused "zpool add" /dev/zfs inside "zpool add -f tank /root/file"
refused "zpool attach" /dev/zfs inside "zpool attach tank /dev/shm/tank /root/file"
refused "zpool remove" /dev/zfs inside "zpool remove tank /dev/shm/tank"
refused "zpool export" /dev/zfs inside "zpool export tank"
refused "zpool import" /dev/zfs inside "zpool import -d /root -a"
refused "zpool scrub" /dev/zfs inside "zpool scrub tank"
refused "zpool destroy" /dev/zfs inside "zpool destroy -f tank"
refused "zpool set" /dev/zfs inside "zpool set comment=x tank"
refused "a channel program" /dev/zfs inside "echo 'zfs.sync.destroy(\"tank/other\")' >/tmp/p; zfs program tank /tmp/p"
gives "the host has the one pool that it had" "tank ONLINE -" eval "zpool list -H -o name,health,comment | tr '\t' ' '"
zoneadm -z zion halt

# Nor by the control device, if a device resource names it: it comes with a dataset, and its guard.
number=$(printf '%d:%d' "0x$(stat -c %t /dev/zfs)" "0x$(stat -c %T /dev/zfs)")
mkdir -p /dev/other && mknod -m 666 /dev/other/name c ${number%:*} ${number#*:}
with "$(device /dev/zfs; device '/dev/other/*')"
good "verify says that it is left out" eval 'zoneadm -z zion verify 2>&1 | grep -q "device /dev/zfs: /dev/zfs is left out"'
good "a zone boots whose devices name it" zoneadm -z zion boot
bad "it has no control device" inside "test -e /dev/zfs"
bad "nor under another name" inside "test -e /dev/other/name"
zoneadm -z zion halt
rm -r /dev/other
# A file system of the host's may have it.
zfs create -o mountpoint=legacy tank/nodes
mount -t zfs tank/nodes /mnt && mknod -m 666 /mnt/zfs c ${number%:*} ${number#*:} && umount /mnt
with "$(fs tank/nodes /hosts devices)"
good "a zone boots that shares a file system with the device on it" zoneadm -z zion boot
good "it can open the control device" inside "exec 3<>/hosts/zfs"
guid=$(zpool get -H -o value guid tank)
# By hand: ZFS' own programs do not ask for a pool that the zone cannot see.
refused "a new guid for the pool" "PermissionError" inside "python3 -c 'import fcntl
name = bytearray(b\"tank\".ljust(13744, b\"\\0\"))
fcntl.ioctl(open(\"/hosts/zfs\", \"r+b\", 0), 0x5a3c, name)'"
gives "the host's pool is as it was" "$guid" zpool get -H -o value guid tank
zoneadm -z zion halt
with ""
zfs destroy tank/nodes

# Found afresh at each boot, whatever the links say.
for name in rdsk/tank/vol tank/vol; do
    with "$(device /dev/zvol/$name)"
    zoneadm -z zion boot
    gives "match=/dev/zvol/$name" "$vol" inside_number /dev/zvol/$name
    zoneadm -z zion halt
done
with "$(device /dev/zvol/dsk/tank/vol)"
rm /dev/zvol/tank/vol
zoneadm -z zion boot
gives "without udev's link" "$vol" inside_number /dev/zvol/dsk/tank/vol
zoneadm -z zion halt
ln -s "../../$(basename "$(readlink -f /dev/zvol/tank/other)")" /dev/zvol/tank/vol
zoneadm -z zion boot
gives "with a link that points to another volume" "$vol" inside_number /dev/zvol/dsk/tank/vol
zoneadm -z zion halt
ln -sfn /dev/null /dev/zvol/tank/vol
zoneadm -z zion boot
gives "with a link that points to no volume" "$vol" inside_number /dev/zvol/dsk/tank/vol
zoneadm -z zion halt
rm /dev/zvol/tank/vol
zfs destroy tank/vol
zfs rename tank/other tank/vol
udevadm settle
zoneadm -z zion boot
gives "after the name went to another volume" "$(by_name tank/vol)" inside_number /dev/zvol/dsk/tank/vol
zoneadm -z zion halt
# Two partitions of 4 MB.
{
    printf '\0\0\0\0\203\0\0\0\0\010\0\0\0\040\0\0'
    printf '\0\0\0\0\203\0\0\0\0\050\0\0\0\040\0\0'
    head -c 32 /dev/zero
    printf '\125\252'
} | dd of=/dev/zvol/tank/vol bs=1 seek=446 conv=notrunc,fsync status=none
blockdev --rereadpt /dev/zvol/tank/vol
udevadm settle
with "$(device '/dev/zvol/dsk/tank/v*')"
zoneadm -z zion boot
gives "a pattern finds volumes and their partitions" "vol vol-part1 vol-part2" inside "ls /dev/zvol/dsk/tank | xargs"
zoneadm -z zion halt
with "$(device /dev/zvol/dsk/tank/vol-part2)"
zoneadm -z zion boot
gives "a partition alone" "vol-part2" inside "ls /dev/zvol/tank"
zoneadm -z zion halt
with "$(device /dev/zvol/tank/a+b)"
zoneadm -z zion boot
gives "a name with a blank, as udev writes it" "a+b" inside "ls /dev/zvol/tank"
zoneadm -z zion halt
with "$(device /dev/zvol/dsk/tank/nothing)"
good "a volume that is not there is no error" zoneadm -z zion boot
zoneadm -z zion halt
zfs create -V 8M tank/fresh
with "$(device /dev/zvol/dsk/tank/fresh)"
zoneadm -z zion boot
good "a volume made a moment ago" inside "test -b /dev/zvol/tank/fresh"
zoneadm -z zion halt
good "every volume can be destroyed" eval 'udevadm settle; for v in vol fresh "a b"; do zfs destroy "tank/$v" || exit; done'
