# What a boot does with the file systems of a dataset: whose their root directories are, and what they may cover.
# machine: storage
boots() { booted=$(zoneadm -z "${1:-zion}" boot 2>&1) || echo "$booted"; }
told() { case $booted in *"$1"*) ;; *) echo "$booted"; false ;; esac; }
owner() { inside "stat -c %u:%g $1 && touch $1/mine && rm $1/mine"; }
gone zion
zone zion </dev/null

# A dataset is usable at every boot.
zfs create -o mountpoint=/data tank/d
zfs create -o canmount=noauto tank/d/manual
zfs create -o mountpoint=legacy tank/d/legacy
zfs snapshot -r tank/d@clean
delegates "$(dataset tank/d)"
boots; zoneadm -z zion halt
for one in tank/d tank/d/manual tank/d/legacy; do zfs rollback "$one@clean"; done
boots
gives "after a rollback to before its first boot its root directory is the zone's" 0:0 owner /data
gives "that of a child with canmount=noauto as well" 0:0 eval 'inside "zfs mount tank/d/manual" && owner /data/manual'
gives "and that of a legacy one" 0:0 eval 'inside "mkdir -p /legacy && mount -i -t zfs tank/d/legacy /legacy" && owner /legacy'
inside "umount /legacy; chown 65534:65534 /data"
zoneadm -z zion halt; boots
gives "the zone's own nobody stays the owner" 65534:65534 inside "stat -c %u:%g /data"
inside "chown 0:0 /data"; zoneadm -z zion halt
zone other </dev/null
delegates ""
printf '%s\nexit\n' "$(dataset tank/d)" | zonecfg -z other
zoneadm -z other boot >/dev/null 2>&1; zlogin other "touch /data/others"; zoneadm -z other halt
zonecfg -z other 'remove dataset'; gone other
delegates "$(dataset tank/d)"
boots
gives "when it comes back from another zone its root directory is the zone's" 0:0 owner /data
good "and files that stayed the other's are told of" told "belong to ids of the host"
inside "rm -f /data/others"

# What it covers at its boot.
mkdir -p /mnt
sneak() { inside "zfs create -o canmount=noauto -o mountpoint=$2 tank/d/$1 && zfs set canmount=on tank/d/$1"; }
zfs create -o mountpoint=legacy tank/plain
for dir in usr etc run bin; do sneak $dir /$dir; done
sneak above /export; sneak fine /srv/fine; sneak full /srv/full; sneak empty /srv/empty; sneak over /srv/over
inside "mkdir -p /srv/full /srv/empty /srv/over; touch /srv/full/file /srv/over/file; zfs set overlay=off tank/d/full; zfs set overlay=off tank/d/empty"
zoneadm -z zion halt
printf '%s\nexit\n' "$(fs tank/plain /export/shared)" | zonecfg -z zion
boots
for dir in usr etc run; do
    good "the boot does not cover /$dir, and says so" told "cannot mount tank/d/$dir on /$dir: it would cover /$dir"
done
good "nor what a link leads to" told "cannot mount tank/d/bin on /bin: it would cover"
good "nor what it has mounted itself" told "cannot mount tank/d/above on /export: it would cover /export/shared, which the boot has mounted"
good "zlogin gets in" inside true
good "zlogin -S gets in" zlogin -S zion true
gives "overlay=off is respected" "file" inside "ls /srv/full"
good "and said" told "cannot mount tank/d/full on /srv/full: the directory is not empty and its overlay is off"
gives "as the zone's own zfs mount has it" no eval 'inside "zfs mount tank/d/full" >/dev/null 2>&1 && echo yes || echo no'
gives "an empty directory is no hindrance" "tank/d/empty" inside "findmnt -no SOURCE /srv/empty"
gives "with overlay=on files are covered" "tank/d/over" inside "findmnt -no SOURCE /srv/over"
gives "and places beside all that are taken" "tank/d/fine" inside "findmnt -no SOURCE /srv/fine"
zfs snapshot tank/d/usr@used; zoneadm -z zion halt
mount -i -t zfs tank/d/usr /mnt && chown 0:0 /mnt && umount /mnt
boots
gives "what is not mounted is the zone's all the same" 0:0 eval 'inside "zfs set mountpoint=/srv/usr tank/d/usr" && owner /srv/usr'
zoneadm -z zion halt
delegates ""
zfs destroy -r tank/d; zfs destroy tank/plain

# A pool with an alternate root.
truncate -s 256M /dev/shm/alt
zpool create -o cachefile=none -R /mnt/alt alt /dev/shm/alt || exit 2
zfs create -o mountpoint=/data alt/d; zfs create alt/d/c
delegates "$(dataset alt/d)"
good "the plan shows the place below the alternate root" eval "zoneadm -z zion plan boot | grep -q 'dataset alt/d/c: mount it on /mnt/alt/data/c inside'"
boots
gives "the boot mounts below the alternate root" "/mnt/alt/data /mnt/alt/data/c" inside "findmnt -lnt zfs -o TARGET | grep data | xargs"
gives "where the zone's own zfs mount does" "/mnt/alt/data/c" inside "zfs unmount alt/d/c && zfs mount alt/d/c && findmnt -no TARGET -S alt/d/c"
gives "and a new child lies beside it" "/mnt/alt/data/n" inside "zfs create alt/d/n && findmnt -no TARGET -S alt/d/n"
zoneadm -z zion halt; delegates ""
zfs set mountpoint=none alt/d 2>/dev/null; zoneadm reclaim -F alt/d >/dev/null 2>&1
zfs create -o mountpoint=/homes alt/homes
zonecfg -z alt 'create; set zonepath=/mnt/alt/homes/alt'
good "a zonepath on it is a file system of its own" tells "A ZFS file system has been created" zoneadm -z alt install
gives "mounted by inheritance at the zonepath" "/mnt/alt/homes/alt inherited from alt/homes" eval 'echo $(findmnt -no TARGET -S alt/homes/alt) $(zfs get -Ho source mountpoint alt/homes/alt)'
zfs create -o mountpoint=/other alt/other
good "move renames it" zoneadm -z alt move /mnt/alt/other/alt
gives "and it is mounted there" "/mnt/alt/other/alt" findmnt -no TARGET -S alt/other/alt
mkdir /mnt/alt/plain
good "move to a directory sets the mountpoint as the pool has it" zoneadm -z alt move /mnt/alt/plain/alt
gives "without the alternate root" "/plain/alt" eval 'findmnt -no TARGET -S alt/other/alt | sed "s,^/mnt/alt,,"'
zfs unmount alt/other/alt; zfs mount alt/other/alt
gives "and zfs mount finds the same place" "/mnt/alt/plain/alt" findmnt -no TARGET -S alt/other/alt
refused "a place that is not below the alternate root is refused" "is not below the alternate root /mnt/alt of the pool" zoneadm -z alt move /zones/alt
zfs unmount alt/other/alt
refused "what is missing on it is said with what is to be typed" "use zfs mount alt/other/alt" zoneadm -z alt boot
zfs mount alt/other/alt
good "uninstall destroys it" tells "has been destroyed" zoneadm -z alt uninstall -F
zonecfg -z alt delete -F
zpool destroy alt; rm -rf /mnt/alt /dev/shm/alt
