# Snapshots below .zfs. Whoever looks at one has the kernel start mount(8) as root of the host, in the host's mount
# namespace, on the path that the file system was mounted with; that is the zone's to say, and so may be what lies there.
# machine: storage
victim=/victim/etc
mkdir -p $victim
zone zion </dev/null
zfs create -o mountpoint=/data tank/z
zfs create -o snapdir=visible tank/z/seen
zfs snapshot -r tank/z@before
delegates "$(dataset tank/z)"
good "the plan hides snapshots" eval 'zoneadm -z zion plan boot | grep -q "dataset tank/z: unmount .* set zoned=on, snapdir=disabled, also on 1 below it"'
good "boot" zoneadm -z zion boot
gives "they are hidden" "disabled disabled" eval 'echo $(value snapdir tank/z) $(value snapdir tank/z/seen)'
for place in /data /data/seen; do
    refused "nothing is found below $place/.zfs" "No such file" inside "ls $place/.zfs/snapshot/before"
done
for change in "zfs set snapdir=visible tank/z" "zfs set snapdir=hidden tank/z/seen" "zfs inherit snapdir tank/z" \
    "zfs inherit -S snapdir tank/z/seen" "zfs create -o snapdir=visible tank/z/new"; do
    bad "refused: $change" inside "$change"
done

# untouched NAME: nothing is mounted where the zone has led to
untouched() { good "$1: nothing is mounted on the host" eval '! grep -q "$victim\|tank/z[^ ]*@" /proc/self/mountinfo'; umount $victim 2>/dev/null; }
# A mount point that is a path of the host, and there a link.
inside "zfs create -o mountpoint=/zones/zion/root/x tank/z/d && echo evil >/zones/zion/root/x/evil && zfs snapshot tank/z/d@s &&
    mkdir -p /x/.zfs/snapshot && ln -s $victim /x/.zfs/snapshot/s" || fail "the attack is made ready"
bad "a mount point of the host's" inside "ls /zones/zion/root/x/.zfs/snapshot/s/"
untouched "a mount point of the host's"
# Such a path as an option of the zone's own mount.
inside "mkdir -p /mm /y/.zfs/snapshot && ln -s $victim /y/.zfs/snapshot/s && zfs unmount tank/z/d &&
    mount -i -t zfs -o mntpoint=/zones/zion/root/y tank/z/d /mm" || fail "the zone mounts by itself"
bad "a mount option" inside "ls /mm/.zfs/snapshot/s/"
untouched "a mount option"
bad "a remount" inside "mount -i -o remount,mntpoint=/zones/zion/root/x /mm && ls /mm/.zfs/snapshot/s/"
untouched "a remount"
# One that comes with the property.
zfs create -o snapdir=visible tank/source; zfs snapshot tank/source@s
zfs send -p tank/source@s >/zones/zion/root/root/stream
inside "zfs receive -u tank/z/got </root/stream && mount -i -t zfs -o mntpoint=/zones/zion/root/y tank/z/got /mm" || fail "it is received"
gives "the property of a stream is left out" disabled value snapdir tank/z/got
bad "a received one" inside "ls /mm/.zfs/snapshot/s/"
untouched "a received one"
good "halt" zoneadm -z zion halt
good "the zone's snapshots are seen by the host" zfs list -t snapshot tank/z/d@s

# A file system of the host's that is shared.
zfs create -o mountpoint=legacy tank/shared; zfs snapshot tank/shared@s
delegates ""
with "$(fs tank/shared /shared)"
zoneadm -z zion boot
inside "mkdir -p /shared/.zfs/snapshot/s; mkdir -p /x/.zfs/snapshot; ls /shared/.zfs/snapshot/s/" >/dev/null 2>&1
good "a snapshot of a shared one is mounted nowhere on the host" eval '! grep -q "tank/shared@" /proc/self/mountinfo'
zoneadm -z zion halt
with ""

# Given back, they are found again.
zfs destroy -r tank/z/d; zfs destroy -r tank/z/got
good "reclaim" zoneadm reclaim tank/z
gives "nothing is hidden any more" "hidden hidden" eval 'echo $(value snapdir tank/z) $(value snapdir tank/z/seen)'
zfs destroy -r tank/z; zfs destroy -r tank/source; zfs destroy -r tank/shared
