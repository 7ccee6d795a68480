# Adding ZFS file systems to a zone.
# machine: plain
zfs create -o mountpoint=legacy tank/zone/zion

# The example of the guide, as it stands there.
zonecfg -z zion <<'X'
create
add fs
set type=zfs
set special=tank/zone/zion
set dir=/export/shared
end
set zonepath=/zones/zion
X
zoneadm -z zion install >/dev/null
good "the guide's example is accepted" zoneadm -z zion verify
good "the zone boots with it" zoneadm -z zion boot
gives "the file system is mounted at /export/shared" "tank/zone/zion zfs" \
    inside "findmnt -no SOURCE,FSTYPE /export/shared"

# The zone administrator can create and destroy files within the file system.
good "the zone's root creates files" inside "mkdir /export/shared/dir && echo text >/export/shared/dir/file"
gives "they belong to the zone's root" "0 0" inside "stat -c '%u %g' /export/shared/dir/file"
good "the zone's root destroys files" inside "rm /export/shared/dir/file && rmdir /export/shared/dir"
good "links, modes, owners and times work" inside "cd /export/shared && echo x >a && ln a b && ln -s a c &&
    chown 33:44 a && chmod 4711 a && touch -d 2001-02-03 a && [ \"\$(stat -c '%a %u %g %h %Y' a)\" = '4711 33 44 2 981158400' ] && rm a b c"

# Sharing space with the global zone.
inside "echo from the zone >/export/shared/note; chown 33:33 /export/shared/note"
good "halt" zoneadm -z zion halt
good "the file system is free after halt" mount -t zfs tank/zone/zion /mnt
gives "what the zone wrote is there for the host, with the zone's ids" "from the zone 33" eval 'echo "$(cat /mnt/note) $(stat -c %u /mnt/note)"'
echo from the host >/mnt/answer
mknod -m 666 /mnt/null c 1 3
cp "$(command -v id)" /mnt/suid && chmod 4755 /mnt/suid
umount /mnt
zoneadm -z zion boot
gives "what the host wrote is there for the zone" "from the host" inside "cat /export/shared/answer"
refused "device nodes on it cannot be opened" "Permission denied" inside "echo x >/export/shared/null"

# The file system cannot be remounted in a different location.
refused "it cannot be mounted a second time inside" /dev/zfs inside "mkdir -p /mnt2; mount -t zfs tank/zone/zion /mnt2"
refused "nor by the system call alone" "already mounted" inside "mount -i -t zfs tank/zone/zion /mnt2"
bad "it cannot be moved" inside "mount --move /export/shared /mnt2"
bad "it cannot be taken away" inside "umount /export/shared"
bad "it cannot be taken away lazily" inside "umount -l /export/shared"
good "it is still where it was" inside "findmnt /export/shared"
bad "nor in a mount namespace of a nested user namespace" inside "unshare -Urm umount /export/shared"
refused "nor can another dataset be mounted" "permission denied" inside "mount -i -t zfs tank/zone /mnt2"

# Nor can the zone administrator change properties.
before=$(zfs get -Hp -o property,value,source all tank/zone/zion | grep -v -E '^(used|available|referenced|written|logical|compressratio|refcompressratio|usedby)')
good "there is no /dev/zfs inside" inside "! test -e /dev/zfs"
for setting in atime=off readonly=on compression=off quota=1G mountpoint=/x sharenfs=on zoned=on user:prop=x; do
    refused "the zone cannot set $setting" /dev/zfs inside "zfs set $setting tank/zone/zion"
done
refused "nor inherit" /dev/zfs inside "zfs inherit compression tank/zone/zion"
refused "nor create below it" /dev/zfs inside "zfs create tank/zone/zion/child"
refused "nor take a snapshot" /dev/zfs inside "zfs snapshot tank/zone/zion@inside"
refused "nor destroy it" /dev/zfs inside "zfs destroy -r tank/zone/zion"
zfs_device=$(printf '%d %d' "0x$(stat -c %t /dev/zfs)" "0x$(stat -c %T /dev/zfs)")
refused "nor make the control device" "Operation not permitted" inside "mknod /tmp/zfs c $zfs_device"
refused "nor make it on the file system" "Operation not permitted" inside "mknod /export/shared/zfs c $zfs_device"
refused "nor make it in a nested user namespace" "Operation not permitted" inside "unshare -Urm sh -c 'mount -t tmpfs t /mnt2 && mknod /mnt2/zfs c $zfs_device'"
refused "nor by way of a snapshot folder" "Permission denied" inside "mkdir /export/shared/.zfs/snapshot/inside"
gives "every property is as it was" "$before" eval "zfs get -Hp -o property,value,source all tank/zone/zion | grep -v -E '^(used|available|referenced|written|logical|compressratio|refcompressratio|usedby)'"

# The global administrator is responsible for setting and controlling properties.
zfs set readonly=on tank/zone/zion
refused "the host's readonly=on holds in the running zone" "Read-only file system" inside "touch /export/shared/x"
refused "and cannot be undone inside" "permission denied" inside "mount -i -o remount,rw /export/shared"
zfs set readonly=off tank/zone/zion
good "and ends with readonly=off" inside "touch /export/shared/x"
good "the host sets quota while the zone runs" zfs set refquota=8M tank/zone/zion
refused "and the zone cannot exceed it" "quota exceeded" inside "dd if=/dev/urandom of=/export/shared/big bs=1M count=32 && sync"
inside "rm -f /export/shared/big"
zfs set refquota=none tank/zone/zion
zfs snapshot tank/zone/zion@host
inside "ls /export/shared/.zfs/snapshot/host" >/dev/null 2>&1
good "a snapshot that the zone looks into is mounted nowhere on the host" eval '! grep -q "@host" /proc/self/mountinfo'
good "verify of the running zone finds its own mount right" zoneadm -z zion verify
good "reboot" zoneadm -z zion reboot
gives "mounted again after reboot" "tank/zone/zion" inside "findmnt -no SOURCE /export/shared"
zoneadm -z zion halt
zfs set exec=off setuid=off devices=off tank/zone/zion
with "$(fs tank/zone/zion /export/shared devices)"
zoneadm -z zion boot
for word in nosuid nodev noexec; do
    good "a property of the host makes the mount $word" eval "inside 'findmnt -no OPTIONS /export/shared' | grep -qw $word"
done
refused "exec=off holds" "Permission denied" inside "/export/shared/suid"
zoneadm -z zion halt
zfs set exec=on setuid=on devices=on tank/zone/zion

# Options.
with "$(fs tank/zone/zion /export/shared ro)"
zoneadm -z zion boot
refused "option ro" "Read-only file system" inside "touch /export/shared/y"
refused "cannot be undone inside" "permission denied" inside "mount -i -o remount,rw,bind /export/shared"
zoneadm -z zion halt
with "$(fs tank/zone/zion /export/shared wild)"
refused_zone "an unknown option" "option 'wild' is not known for type zfs"

# The mountpoint property must be set to legacy.
zfs create -o mountpoint=/elsewhere tank/zone/path
with "$(fs tank/zone/path /export/shared)"
refused_zone "a mountpoint that is a path" "could not verify fs /export/shared: zfs 'tank/zone/path' mountpoint is not \"legacy\""
zfs set mountpoint=none tank/zone/path
refused_zone "mountpoint none" "could not verify fs /export/shared: zfs 'tank/zone/path' mountpoint is not \"legacy\""
zfs create tank/zone/zion/inherits
with "$(fs tank/zone/zion/inherits /export/shared)"
good "an inherited legacy is legacy" zoneadm -z zion verify
with "$(fs tank/zone/none /export/shared)"
refused_zone "a dataset that is not there" "could not verify fs /export/shared: could not access zfs dataset 'tank/zone/none'"
with "$(fs nopool/x /export/shared)"
refused_zone "a pool that is not there" "could not verify fs /export/shared: could not access zfs dataset 'nopool/x'"
zfs create -V 8M tank/zone/v
with "$(fs tank/zone/v /export/shared)"
refused_zone "a volume" "cannot verify fs /export/shared: 'tank/zone/v' is not a file system"
with "$(fs tank/zone/zion@host /export/shared)"
refused_zone "a snapshot" "cannot verify fs /export/shared: 'tank/zone/zion@host' is not a file system"
echo 'a long enough key' | zfs create -o encryption=on -o keyformat=passphrase -o mountpoint=legacy tank/zone/secret
zfs unload-key tank/zone/secret
with "$(fs tank/zone/secret /export/shared)"
refused_zone "a key that is not loaded" "the key of zfs 'tank/zone/secret' is not loaded"
with "$(fs tank/zone/zion /a; fs tank/zone/zion /b)"
refused_zone "one file system twice in a zone" "could not verify fs /b: zfs 'tank/zone/zion' is already mounted on /a of this zone"

# The file system cannot already be mounted in another location.
with "$(fs tank/zone/zion /export/shared)"
taken="could not verify fs /export/shared: zfs 'tank/zone/zion' is already mounted"
mount -t zfs tank/zone/zion /mnt
refused_zone "mounted on the host" "$taken on /mnt"
umount /mnt
unshare -m --propagation private sh -c 'mount -t zfs tank/zone/zion /srv && echo >/tmp/mounted && exec sleep 1000' &
holder=$!
while ! [ -e /tmp/mounted ]; do sleep 0.1; done
refused_zone "mounted in another mount namespace" "$taken on /srv by process $holder (sleep) in mount namespace $(stat -L -c %i /proc/$holder/ns/mnt)"
# No process is in the namespace any more; a descriptor keeps it.
exec 9</proc/$holder/ns/mnt
kill -9 $holder; wait $holder 2>/dev/null
refused_zone "mounted in a mount namespace that no process is in" "$taken in a mount namespace that no process is in"
exec 9<&-
zone other <<X
$(fs tank/zone/zion /data)
X
zoneadm -z other boot
refused_zone "mounted in another zone" "$taken on /data of zone 'other'"
zlogin other 'unshare -m sleep 100' &
login=$!
sleep 1
zoneadm -z other halt
wait $login 2>/dev/null
good "free once the other zone is halted" zoneadm -z zion boot
refused "and the other way round" "is already mounted on /export/shared of zone 'zion'" zoneadm -z other boot
zoneadm -z zion halt
both=0 none=0
for round in 1 2 3 4 5; do
    zoneadm -z zion boot >/dev/null 2>&1 &
    first=$!
    zoneadm -z other boot >/dev/null 2>&1 &
    wait $first $! 2>/dev/null
    case "$(state zion) $(state other)" in "running running") both=1 ;; "installed installed") none=$((none + 1)) ;; esac
    zoneadm -z zion halt 2>/dev/null; zoneadm -z other halt 2>/dev/null
done
gives "two zones that boot at once never both get it" 0 echo $both
echo "      (neither got it in $none of 5)"
zoneadm -z other uninstall -F >/dev/null && zonecfg -z other delete -F

# kill -9 during boot leaves no mount.
zfs create -o mountpoint=legacy tank/zone/second
with "$(fs tank/zone/zion /export/shared; fs tank/zone/second /export/second)"
steps=$(zoneadm -z zion plan boot | grep -c '^ *[0-9]')
killed=0
for ((step = 0; step < steps; step++)); do
    ZONES_TEST_KILL_AT=started-$step zoneadm -z zion boot >/dev/null 2>&1 || killed=$((killed + 1))
    [ "$(state)" = running ] && zoneadm -z zion halt
    for dataset in zion second; do
        mount -t zfs "tank/zone/$dataset" /mnt && umount /mnt || fail "step $step leaves $dataset in use"
    done
    zfs destroy tank/zone/second || fail "after a kill at step $step the dataset cannot be destroyed"
    zfs create -o mountpoint=legacy tank/zone/second
done
good "kill -9 at each of $killed steps leaves no mount, and every dataset can be destroyed" test "$killed" -ge 10
good "and the zone boots afterwards" zoneadm -z zion boot
kill -9 "$(sed 's/.*supervisor=\([0-9]*\).*/\1/' /run/zones/zion/running)"
good "with the supervisor killed the zone halts" zoneadm -z zion halt
good "and its file systems can be destroyed" zfs destroy tank/zone/second
with "$(fs tank/zone/zion /export/shared)"
