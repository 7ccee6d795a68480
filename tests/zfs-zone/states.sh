# File systems and pools in states that a zone feels: verify and doctor say so.
# machine: storage
doctor_says() { zoneadm doctor | tells "$1" cat; }
warns() { tells "$1" zoneadm -z odd verify; }
truncate -s 256M /dev/shm/odd
zpool create -o cachefile=none -O mountpoint=/odd odd /dev/shm/odd || exit 2
zfs create odd/zones
zonecfg -z odd 'create; set zonepath=/odd/zones/odd' || exit 2
zoneadm -z odd install >/dev/null
quiet=$(zoneadm -z odd verify 2>&1)
gives "verify has nothing to say of a usual one" "" eval 'grep odd/zones <<<"$quiet"; true'
zfs set readonly=on odd/zones/odd
good "readonly=on: verify says it, with the command" warns "is on a file system that is read-only: the zone can write nothing; use zfs set readonly=off odd/zones/odd"
good "boot says it" tells "use zfs set readonly=off odd/zones/odd" zoneadm -z odd boot
zoneadm -z odd halt
good "doctor says it" doctor_says "use zfs set readonly=off odd/zones/odd"
zfs inherit readonly odd/zones/odd; zfs set exec=off odd/zones/odd
good "exec=off: verify says it, with the command" warns "no program on it can be run in the zone; use zfs set exec=on odd/zones/odd"
good "doctor says it" doctor_says "use zfs set exec=on odd/zones/odd"
zfs inherit exec odd/zones/odd; zfs set setuid=off odd/zones/odd
refused "setuid=off: verify refuses it, with the command" "use zfs set setuid=on odd/zones/odd" zoneadm -z odd verify
zfs inherit setuid odd/zones/odd

# Access lists. Linux 6.2 stores them itself.
zfs set acltype=posixacl odd/zones/odd
case $(uname -r) in
[0-5].* | 6.[01].*)
    good "access lists before Linux 6.2: verify says it" warns "entries of access lists (setfacl) for single users and groups are stored with numbers of the host"
    good "doctor says it" doctor_says "the kernel does not map access lists on the ZFS file system of /odd/zones/odd"
    ;;
*)
    gives "access lists since Linux 6.2 are nothing to say" "" eval 'zoneadm -z odd verify 2>&1 | grep "access lists"; true'
    ;;
esac
zfs inherit acltype odd/zones/odd
gives "without access lists there is nothing to say of them" "" eval 'zoneadm -z odd verify 2>&1 | grep "access lists"; true'

# A pool that is imported read-only.
zfs create -o mountpoint=/gives odd/given; zfs create -o mountpoint=/never odd/never
zonecfg -z odd 'add dataset; set name=odd/given; end'
zoneadm -z odd boot >/dev/null 2>&1; zlogin odd "touch /gives/file"; zoneadm -z odd halt
# imported OPTION...: exports the pool and imports it; for a moment something of the system may look at it still
imported() { soon zpool export odd; zpool import -d /dev/shm -o cachefile=none "$@" odd; }
imported -o readonly=on
good "a pool that is read-only: verify says it of the zonepath" warns "its pool is imported read-only: use zpool export odd && zpool import odd"
good "a zone whose dataset is as it was left boots" zoneadm -z odd boot
gives "and reads it" /gives/file zlogin odd "ls /gives/file"
refused "and cannot write" "Read-only file system" zlogin odd "touch /gives/other"
zoneadm -z odd halt
zonecfg -z odd 'add dataset; set name=odd/never; end'
refused "a dataset that would have to be changed is refused by verify" "its pool odd is imported read-only, and what makes it a zone's cannot be set; use zpool export odd && zpool import odd" zoneadm -z odd verify
refused "and by boot" "its pool odd is imported read-only" zoneadm -z odd boot
zonecfg -z odd 'remove dataset name=odd/never'
imported

# An inherited mountpoint.
zfs create -o mountpoint=none odd/none; zfs create odd/none/d
zonecfg -z odd 'remove dataset name=odd/given; add dataset; set name=odd/none/d; end'
refused "an inherited mountpoint: from whom, and the command" "mountpoint cannot be inherited: it comes from odd/none; use zfs set mountpoint=PATH odd/none/d" zoneadm -z odd verify
zonecfg -z odd 'remove dataset name=odd/none/d'

# A pool that is not there.
zonecfg -z odd 'add dataset; set name=nopool/x; end'
refused "a dataset of a pool that is not imported: what to type" "its pool nopool is not imported; use zpool import nopool" zoneadm -z odd verify
zonecfg -z odd 'remove dataset name=nopool/x; add fs; set type=zfs; set special=nopool/x; set dir=/x; end'
refused "a file system of such a pool: what to type" "could not access zfs dataset 'nopool/x': its pool nopool is not imported; use zpool import nopool" zoneadm -z odd verify
zonecfg -z odd 'remove fs dir=/x'

# Other ids for a whole tree, as after an attach on another host or from another zone.
zonecfg -z odd 'add dataset; set name=odd/given; end'
zfs create odd/given/sub 2>/dev/null || zfs create -u odd/given/sub
zoneadm -z odd boot >/dev/null 2>&1
zlogin odd "mkdir /gives/dir; touch /gives/dir/file; chown 33:44 /gives/dir/file; chmod 4711 /gives/dir/file; touch /gives/sub/file; chown 7:7 /gives/sub/file"
refused "shift-ids of a running zone" "running" zoneadm -z odd shift-ids odd/given
zoneadm -z odd halt
first=$(cut -d' ' -f2 /var/lib/zones/odd/idmap)
echo "0 $((first + 655360)) 65536" >/var/lib/zones/odd/idmap
good "a boot with other ids tells what is to be typed" tells "use zoneadm -z odd shift-ids odd/given" zoneadm -z odd boot
zoneadm -z odd halt
refused "one that the zone does not have" "odd/never is no dataset of the zone" zoneadm -z odd shift-ids odd/never
mkdir -p /mnt; mount -i -t zfs odd/given/sub /mnt
refused "one that is mounted" "'odd/given/sub' is mounted on /mnt" zoneadm -z odd shift-ids odd/given
umount /mnt
good "shift-ids gives the whole tree the zone's ids" tells "odd/given/sub" zoneadm -z odd shift-ids odd/given
good "a second time nothing is left to do" tells "odd/given: 0 owners and groups" zoneadm -z odd shift-ids
zoneadm -z odd boot >/dev/null 2>&1
gives "owners, groups and modes are what they were" "33:44 4711 7:7" eval 'zlogin odd "stat -c \"%u:%g %a\" /gives/dir/file; stat -c %u:%g /gives/sub/file" | xargs'
zoneadm -z odd halt
mount -i -t zfs odd/given /mnt; chown 5:6 /mnt/dir/file; umount /mnt
good "with -f the ids of the host as well" zoneadm -z odd shift-ids -f 0 odd/given
mount -i -t zfs odd/given /mnt
gives "they are the zone's same numbers" "$((first + 655360 + 5)):$((first + 655360 + 6))" stat -c %u:%g /mnt/dir/file
umount /mnt
refused "-f must not meet the zone's own ids" "are the zone's own" zoneadm -z odd shift-ids -f $((first + 655361)) odd/given

# A rename while zoned is on.
refused "zfs rename stays refused" "" zfs rename odd/given odd/renamed
zonecfg -z odd 'remove dataset name=odd/given'
good "doctor says why" doctor_says "and refuses zfs rename of them and of what is above them"
good "and names the way" doctor_says "zoneadm reclaim odd/given"
good "which is there" eval "zoneadm reclaim -F odd/given >/dev/null 2>&1; zfs set mountpoint=none odd/given; zfs rename odd/given odd/renamed"
gone odd
zpool destroy odd; rm -rf /odd /dev/shm/odd
