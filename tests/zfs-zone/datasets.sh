# Delegating datasets to a zone.
# The example of the guide, as it stands there.
# machine: plain
zfs create tank/zone/global
zfs destroy -r tank/zone/zion 2>/dev/null
zfs create -o mountpoint=/tank/zone/zion tank/zone/zion
gone zion
zonecfg -z zion <<'X'
create
add dataset
set name=tank/zone/zion
end
set zonepath=/zones/zion
X
[ "$(state)" = configured ] && zoneadm -z zion install >/dev/null
good "the guide's example is accepted" zoneadm -z zion verify
plan=$(zoneadm -z zion plan boot)
good "the plan takes it from the host first" grep -q "dataset tank/zone/zion: unmount /tank/zone/zion on the host, set zoned=on, snapdir=disabled" <<<"$plan"
good "and shows what is locked" grep -q "quota, reservation, refquota, refreservation, filesystem_limit, snapshot_limit, sharenfs, sharesmb, snapdir, volmode, zoned locked, and sharenfs, sharesmb, snapdir, volmode, zoned below it" <<<"$plan"
good "a plan changes nothing" eval 'findmnt /tank/zone/zion && [ "$(value zoned tank/zone/zion)" = off ]'
good "the zone boots with it" zoneadm -z zion boot
gives "it becomes visible within the zone, its ancestors with it" "tank tank/zone tank/zone/zion" visible
gives "it is mounted inside at its mountpoint" "tank/zone/zion zfs" inside "findmnt -no SOURCE,FSTYPE /tank/zone/zion"
gives "zoned is turned on automatically, on the dataset itself" "on local" eval 'zfs get -Ho value,source zoned tank/zone/zion | xargs'
gives "the zone's root owns its root directory" "0 0" inside "stat -c '%u %g' /tank/zone/zion"
gives "with the ids of the zone's range on the host" "$(awk '{print $2, $2}' /var/lib/zones/zion/idmap)" eval 'stat -c "%u %g" /proc/$(init_of zion)/root/tank/zone/zion'
good "the control device is there" inside "test -c /dev/zfs"
gives "with the number of the host's" "$(stat -c '%t:%T' /dev/zfs) 666" inside "stat -c '%t:%T %a' /dev/zfs"
good "mount -a inside finds everything mounted" inside "zfs mount -a"

# The zone administrator can set file system properties, as well as create children, take snapshots,
# create clones, and otherwise control the entire file system hierarchy.
for setting in compression=gzip atime=off recordsize=16K readonly=on readonly=off exec=off exec=on setuid=off devices=off user:prop=x mountpoint=/export mountpoint=/tank/zone/zion; do
    good "the zone sets $setting" inside "zfs set $setting tank/zone/zion"
done
good "and inherits" inside "zfs inherit compression tank/zone/zion"
good "creates children" inside "zfs create tank/zone/zion/a && zfs create -p tank/zone/zion/b/c && echo x >/tank/zone/zion/b/c/file"
gives "whose root directories are its own" "0 0" inside "stat -c '%u %g' /tank/zone/zion/b/c"
good "volumes" inside "zfs create -V 8M tank/zone/zion/vol"
good "snapshots" inside "zfs snapshot tank/zone/zion/b/c@one && zfs list tank/zone/zion/b/c@one"
good "clones" inside "zfs clone tank/zone/zion/b/c@one tank/zone/zion/clone && [ \$(cat /tank/zone/zion/clone/file) = x ]"
good "promotes" inside "zfs promote tank/zone/zion/clone"
good "renames" inside "zfs rename tank/zone/zion/clone tank/zone/zion/renamed"
good "sends and receives" inside "zfs send tank/zone/zion/renamed@one | zfs receive tank/zone/zion/copy && [ \$(cat /tank/zone/zion/copy/file) = x ]"
good "rolls back" inside "zfs snapshot tank/zone/zion/a@s && touch /tank/zone/zion/a/x && zfs rollback tank/zone/zion/a@s && test ! -e /tank/zone/zion/a/x"
good "mounts and unmounts" inside "zfs unmount tank/zone/zion/a && zfs mount tank/zone/zion/a"
good "destroys" inside "zfs destroy -r tank/zone/zion/copy && zfs destroy -R tank/zone/zion/renamed; ! zfs list tank/zone/zion/copy"

# The zone administrator cannot affect datasets that have not been added to the zone.
refused "no dataset beside it can be listed" "does not exist" inside "zfs list tank/zone/global"
for command in "zfs set atime=off tank/zone" "zfs create tank/zone/other" "zfs create tank/other" "zfs snapshot tank/zone@x" "zfs destroy tank/zone/global" "zfs rename tank/zone/zion/a tank/zone/a" "zfs set atime=off tank" "zfs destroy tank" "zfs inherit atime tank/zone"; do
    bad "refused: $command" inside "$command"
done
good "the dataset beside it is still there" zfs list tank/zone/global
bad "nor can it be mounted by the system call" inside "mkdir -p /mnt2; mount -i -t zfs tank/zone/global /mnt2"
refused "nor an ancestor" "permission denied" inside "mount -i -t zfs tank/zone /mnt2"

# And cannot exceed any top-level quotas set on the exported dataset.
zfs set quota=24M tank/zone/zion
refused "the quota of the host holds inside" "quota exceeded" inside "dd if=/dev/urandom of=/tank/zone/zion/big bs=1M count=64 && sync"
refused "the zone cannot change it" "permission denied" inside "zfs set quota=none tank/zone/zion"
bad "nor take it away" inside "zfs inherit -S quota tank/zone/zion"
inside "rm -f /tank/zone/zion/big"; zfs set quota=none tank/zone/zion
for setting in zoned=off sharenfs=on sharesmb=on; do
    bad "the zone cannot set $setting" inside "zfs set $setting tank/zone/zion"
    bad "nor on a child" inside "zfs set $setting tank/zone/zion/a"
done

# The mountpoint property reflects the property as stored on disk, not where it is mounted.
gives "the host sees zoned and the mountpoint as stored" "off /tank/zone/global on /tank/zone/zion" eval 'zfs list -Ho zoned,mountpoint tank/zone/global tank/zone/zion | xargs'
bad "it is mounted nowhere on the host" findmnt -S tank/zone/zion

# The dataset cannot be mounted or shared in the global zone, and is ignored by share -a and mount -a.
refused "the host cannot mount it" "exported to a local zone" zfs mount tank/zone/zion
bad "nor share it" zfs share tank/zone/zion
zfs mount -a; zfs share -a >/dev/null 2>&1
bad "mount -a and share -a pass it over" findmnt -S tank/zone/zion
refused "the host cannot change its mountpoint" "zone" zfs set mountpoint=/elsewhere tank/zone/zion
refused "nor its sharenfs" "zone" zfs set sharenfs=on tank/zone/zion

good "halt" zoneadm -z zion halt
good "nothing is kept of the zone" nothing_left
good "no mount is left" unmounted tank/zone/zion
good "zoned stays on" local_on tank/zone/zion
zfs mount -a
bad "and mount -a still passes it over" findmnt -S tank/zone/zion
zpool export tank && zpool import -d /dev/shm -o cachefile=none tank || fail "export and import"
bad "import does not mount it" findmnt -S tank/zone/zion
bad "nor its children" findmnt -S tank/zone/zion/a
good "import mounts the others" findmnt -S tank/zone/global
good "reboot from outside" eval "zoneadm -z zion boot && zoneadm -z zion reboot"
gives "it is there again" "tank tank/zone tank/zone/zion tank/zone/zion/a tank/zone/zion/b tank/zone/zion/vol" visible
gives "with its children mounted" "3" inside "findmnt -nt zfs -o SOURCE | wc -l"
before=$(init_of zion)
inside "kill -39 1"
good "reboot from inside" soon eval '[ "$(init_of zion 2>/dev/null)" != "$before" ] && [ "$(state)" = running ]'
gives "it is there again" "on" inside "zfs get -Ho value zoned tank/zone/zion"
inside "kill -38 1"
soon eval '[ "$(state)" = installed ]'
good "after a halt from inside nothing is kept" soon nothing_left
good "and it can be destroyed at once" zfs destroy -r tank/zone/zion
zfs destroy tank/zone/global
