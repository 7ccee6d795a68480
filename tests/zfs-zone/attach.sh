# What a zone sees of a pool, who may have a dataset, and what is left of it at any moment.
gone zion
zone zion </dev/null

# The transcript of the change that brought delegation to Linux.
truncate -s 256M /dev/shm/containers
zpool create -O canmount=off -o cachefile=none containers /dev/shm/containers
for d in host host/child host/child/gchild; do zfs create -o canmount=noauto -o mountpoint=/containers/$d containers/$d; done
for d in unpriv unpriv/child unpriv/child/gchild; do zfs create containers/$d; done
zfs set mountpoint=/unpriv containers/unpriv
zone other </dev/null
zoneadm -z other boot
seen() { nsenter -t "$(init_of "$1")" -U zfs list "${@:2}"; }
gives "in a zone before delegation: zfs list" "no datasets available" seen other
refused "and no pool either" "no pools available" eval 'nsenter -t "$(init_of other)" -U zpool list 2>&1; false'
bad "a zone without datasets has no /dev/zfs" zlogin other 'test -e /dev/zfs'
delegates "$(dataset containers/unpriv)"
good "the zone boots" zoneadm -z zion boot
gives "afterwards: zfs list" "containers /containers containers/unpriv /unpriv containers/unpriv/child /unpriv/child containers/unpriv/child/gchild /unpriv/child/gchild" \
    eval 'inside "zfs list -Ho name,mountpoint" | xargs'
gives "and the other zone still sees nothing" "no datasets available" seen other
gives "a process of the host sees all" 7 eval 'zfs list -Ho name -r containers | wc -l'
gives "a nested user namespace sees nothing" "no datasets available" inside "unshare -Ur zfs list"
refused "and cannot mount" "" inside "unshare -Urm mount -i -t zfs containers/unpriv /mnt"
zoneadm -z zion halt
gives "after the end the namespace has nothing" "no datasets available" seen other
zfs create containers/unpriv2

# What the OpenZFS test suite asserts of user namespaces.
delegates "$(dataset containers/unpriv)"
zoneadm -z zion boot
gives "user_namespace_002: the pool, the dataset and its children only" "containers containers/unpriv containers/unpriv/child containers/unpriv/child/gchild" visible
bad "user_namespace_002: creating in a sibling with a name that begins alike is denied" inside "zfs create containers/unpriv2/x"
good "user_namespace_002: creating inside works" inside "zfs create containers/unpriv/new && touch /unpriv/new/file"
gives "user_namespace_002: a file in it belongs to 0:0" "0:0" inside "stat -c %u:%g /unpriv/new/file"
good "user_namespace_002: destroying inside works" inside "zfs destroy containers/unpriv/new"
bad "user_namespace_002: destroying outside is denied" inside "zfs destroy containers/unpriv2"
zoneadm -z zion halt
zfs create -o mountpoint=/more containers/more
delegates "$(dataset containers/unpriv; dataset containers/more)"
zoneadm -z zion boot
gives "user_namespace_003: two datasets, and the name that begins alike stays hidden" "containers containers/more containers/unpriv containers/unpriv/child containers/unpriv/child/gchild" visible
zoneadm -z zion halt
case $(cat /sys/module/zfs/version) in
2.4.* | 2.3.9*)
    zoneadm -z zion boot
    bad "user_namespace_secpolicy_sys_config: zpool events fails" inside "zpool events -c"
    bad "user_namespace_secpolicy_zinject: zinject fails" inside "zinject -c all"
    zoneadm -z zion halt ;;
esac
# idmap_mount_005: ids are those of the map outside, 0 and up inside.
delegates "$(dataset containers/more)"
zoneadm -z zion boot
inside "echo x >/more/file; chown 1:2 /more/file"
first=$(awk '{print $2}' /var/lib/zones/zion/idmap)
gives "idmap_mount_005: inside" "1:2" inside "stat -c %u:%g /more/file"
good "idmap_mount_005: an id-mapped mount works inside" inside 'mkdir -p /mapped && { ! mount --help | grep -q X-mount.idmap || mount --bind /more /mapped; }'
zoneadm -z zion halt
zfs inherit zoned containers/more && zfs mount containers/more
gives "idmap_mount_005: on the host afterwards, map + id" "$((first + 1)):$((first + 2))" stat -c %u:%g /more/file
zfs destroy -r containers/more; zfs destroy containers/unpriv2

# /proc/spl shows names of everybody's datasets.
delegates "$(dataset containers/unpriv)"
zoneadm -z zion boot
zfs create tank/secret
gives "/proc/spl is empty" "" inside "ls -A /proc/spl"
for z in zion other; do
    for attempt in "umount /proc/spl" "umount -l /proc/spl" "mkdir -p /p && mount -t proc p /p" "mount --bind /proc /p && ls /p/spl/kstat" "unshare -Urm umount /proc/spl" "unshare -fp mount -t proc p /p" "touch /proc/spl/x"; do
        bad "$z cannot: $attempt" zlogin $z "$attempt"
    done
    bad "$z finds no name of a dataset in /proc" zlogin $z "cat /proc/spl/kstat/zfs/tank/objset-* /p/spl/kstat/zfs/*/*"
    good "$z has its own /proc" zlogin $z 'test "$(cat /proc/1/comm)" = init && test -e /proc/self/ns/user'
done
zfs destroy tank/secret
zoneadm -z zion halt

# Who may have a dataset.
refused_dataset() {
    refused "$1 (verify)" "could not verify zfs dataset $2: $3" zoneadm -z zion verify
    refused "$1 (boot)" "$3" zoneadm -z zion boot
    refused "$1 (plan)" "cannot open ZFS dataset '$2': $3" zoneadm -z zion plan boot
}
zfs create -o mountpoint=/tree containers/tree; zfs create containers/tree/child; zfs create -V 8M containers/vol
delegates "$(dataset containers/nothing)"
refused_dataset "missing" containers/nothing "dataset does not exist"
delegates "$(dataset nopool/x)"
refused_dataset "a pool that is not there" nopool/x "dataset does not exist"
delegates "$(dataset containers/vol)"
refused_dataset "a volume" containers/vol "it is a volume"
refused "a snapshot cannot be named" "name invalid" zonecfg -z zion 'add dataset; set name=containers/tree@x; end'
zfs set mountpoint=/elsewhere containers
delegates "$(dataset containers/tree/child)"
refused_dataset "inherited mountpoint" containers/tree/child "mountpoint cannot be inherited"
zfs inherit mountpoint containers
delegates "$(dataset containers)"
refused_dataset "a pool's root" containers "it is the whole pool containers"
command=$(zoneadm -z zion verify 2>&1 | grep "^zonecfg -z zion")
good "the command that the refusal shows" eval "$command"
good "lets the zone have it" eval "zoneadm -z other halt; zoneadm -z zion verify"
# zonecfg refuses the same name twice itself.
zfs set mountpoint=/tree/child containers/tree/child
delegates "$(dataset containers/tree; dataset containers/tree/child)"
refused_dataset "a dataset below another one" containers/tree/child "the zone has containers/tree already"
delegates "$(dataset containers/tree/child; fs containers/tree /t)"
refused_dataset "one below an fs of the zone" containers/tree/child "it overlaps with containers/tree, an fs of zone 'zion'"
delegates "$(dataset containers/tree)"
printf '%s\nexit\n' "$(dataset containers/tree/child)" | zonecfg -z other
refused_dataset "one above another zone's" containers/tree "it overlaps with dataset containers/tree/child of zone 'other'"
zfs set mountpoint=legacy containers/tree/child
printf 'remove -F dataset\n%s\nexit\n' "$(fs containers/tree/child /data)" | zonecfg -z other
refused_dataset "one above another zone's fs" containers/tree "it overlaps with containers/tree/child, an fs of zone 'other'"
refused "and the other way round" "could not verify fs /data: zfs 'containers/tree/child' overlaps with dataset containers/tree of zone 'zion'" zoneadm -z other verify
zonecfg -z other 'remove -F fs'
zfs create -o mountpoint=/pool containers/zones
zonecfg -z below 'create; set zonepath=/pool/below'; zoneadm -z below install >/dev/null
delegates "$(dataset containers/zones)"
refused_dataset "one that holds a zonepath" containers/zones "it overlaps with containers/zones/below, which holds the zonepath of zone 'below'"
zfs unmount containers/zones/below; zfs unmount containers/zones
refused_dataset "also when that is not mounted" containers/zones "it overlaps with containers/zones/below, which holds the zonepath of zone 'below'"
zfs mount containers/zones; zfs mount containers/zones/below
zfs create -o mountpoint=/elsewhere containers/zones/below/data
delegates "$(dataset containers/zones/below/data)"
good "one below a zonepath is a zone's like any other" zoneadm -z zion boot
zoneadm -z zion halt; zfs destroy containers/zones/below/data
zoneadm -z below uninstall -F >/dev/null; zonecfg -z below delete -F; zfs destroy -r containers/zones
delegates "$(dataset containers/unpriv 'alias=data')"
good "an alias is kept" eval 'zonecfg -z zion info dataset | grep -q "alias: data"'
refused "and verify says that it has no effect" "a Linux zone sees the dataset under its full name" eval 'zoneadm -z zion verify; false'
delegates "$(dataset containers/unpriv 'lock=compression,recordsize')"
good "further locks are shown" eval 'zoneadm -z zion plan boot | grep -q "zoned, compression, recordsize locked"'

# A release that cannot hide snapshots, by what it says of itself.
echo 2.2.2-0 >/tmp/version; mount --bind /tmp/version /sys/module/zfs/version
delegates "$(dataset containers/unpriv)"
refused_dataset "before 2.3" containers/unpriv "the ZFS of this host (2.2.2-0) lets the root of a zone have a snapshot mounted over any directory of the host; install OpenZFS 2.3 or newer"
command=$(zoneadm -z zion verify 2>&1 | grep "^zonecfg -z zion")
good "the command that the refusal shows" eval "$command"
zfs inherit snapdir containers/unpriv
good "lets the zone have it" zoneadm -z zion boot
gives "nothing is said of its snapshots" hidden value snapdir containers/unpriv
zoneadm -z zion halt
umount /sys/module/zfs/version
zonecfg -z zion 'remove attr name=accept-snapshot-mounts'

# What the host has mounted.
zfs set mountpoint=/tree/child containers/tree/child
delegates "$(dataset containers/tree)"
sh -c 'cd /tree/child && exec sleep 1000' & holder=$!
soon eval '[ "$(readlink /proc/$holder/cwd)" = /tree/child ]'
refused "busy on the host" "containers/tree/child is mounted on /tree/child and cannot be unmounted: process $holder (sleep) uses /tree/child" zoneadm -z zion boot
good "what was unmounted is mounted again" eval 'findmnt -S containers/tree && findmnt -S containers/tree/child'
gives "and zoned is still off" off value zoned containers/tree
kill $holder; wait $holder 2>/dev/null
mkdir /tree/m; mount -t tmpfs t /tree/m
refused "something mounted below it" "t is mounted on /tree/m" zoneadm -z zion boot
umount /tree/m; rmdir /tree/m
unshare -m --propagation private sh -c 'echo >/tmp/ready; exec sleep 1000' & holder=$!
soon test -e /tmp/ready
refused "mounted in another mount namespace" "'containers/tree' is mounted on /tree by process $holder (sleep) in mount namespace" zoneadm -z zion boot
good "the host has its mounts back" eval 'findmnt -S containers/tree && findmnt -S containers/tree/child'
kill $holder; wait $holder 2>/dev/null
good "free again" zoneadm -z zion boot
good "the zone has them" inside "test -w /tree && test -w /tree/child"
bad "the host has not" findmnt -S containers/tree
good "halt" zoneadm -z zion halt

# Owners, mount points, changes between boots.
zfs create -o mountpoint=/owned containers/owned
mkdir /owned/dir; echo x >/owned/dir/file
zfs create containers/owned/child
delegates "$(dataset containers/owned)"
refused "files of the host's ids are told once" "/dir and perhaps other files belong to ids of the host (0:0)" eval 'zoneadm -z zion boot; false'
gives "and left alone" "65534" inside "stat -c %u /owned/dir"
gives "only the root directory is given" "0" inside "stat -c %u /owned"
zoneadm -z zion halt
gives "not told again" "" zoneadm -z zion boot
inside "zfs destroy containers/owned/child; zfs set mountpoint=/proc/x containers/owned; zfs create -o mountpoint=/etc/passwd containers/owned/file; zfs create -o mountpoint=/deep/er/place containers/owned/deep"
zoneadm -z zion halt
zoneadm -z zion boot 2>/tmp/out
good "a mount point in /proc is refused with a notice" grep -q "cannot mount containers/owned on /proc/x: the zone's own files are there" /tmp/out
good "one that is a file as well" grep -q "cannot mount containers/owned/file on /etc/passwd" /tmp/out
good "and the zone runs, with the others mounted" inside "findmnt /deep/er/place"
zoneadm -z zion halt
zfs set mountpoint=none containers/owned 2>/dev/null
good "verify tells a mountpoint that was changed past the zone" eval 'zoneadm -z zion verify 2>&1 | grep -q "mountpoint was /proc/x when the zone ended and is none now"'
zfs set quota=20M containers/owned
refused "verify tells a changed quota with both values" "quota was none at the zone's last boot and is 20M now" eval 'zoneadm -z zion verify; false'
refused "boot tells it" "quota was none at the zone's last boot and is 20M now" eval 'zoneadm -z zion boot; false'
zoneadm -z zion halt
good "once" eval '! zoneadm -z zion boot 2>&1 | grep quota'
zoneadm -z zion halt
zfs inherit zoned containers/owned 2>/dev/null
refused "verify tells that zoned is off" "zoned is not on" eval 'zoneadm -z zion verify; false'
zoneadm -z zion boot 2>/dev/null
good "and boot sets it" local_on containers/owned
zoneadm -z zion halt
echo 'a long enough key' >/tmp/key
zfs create -o encryption=on -o keyformat=passphrase -o keylocation=file:///tmp/key -o mountpoint=/secret containers/secret
zfs unmount containers/secret; zfs unload-key containers/secret
delegates "$(dataset containers/secret)"
good "one whose key is not loaded" zoneadm -z zion boot
good "is visible and not mounted" inside "zfs list containers/secret && ! findmnt /secret"
zoneadm -z zion halt

# zoned stays after removal from the configuration and after deletion of the zone.
delegates "$(dataset containers/tree)"
zoneadm -z zion boot; zoneadm -z zion halt
delegates ""
good "zoned stays on when the dataset is removed from the zone" local_on containers/tree
good "the zone boots without it" zoneadm -z zion boot
bad "and has no /dev/zfs" inside "test -e /dev/zfs"
zoneadm -z zion halt
delegates "$(dataset containers/tree)"
gone other
gone zion
good "and when the zone is deleted" local_on containers/tree
zfs mount -a
bad "the host still does not mount it" findmnt -S containers/tree
zpool export containers && zpool import -d /dev/shm -o cachefile=none containers
bad "nor after export and import" findmnt -S containers/tree

# kill -9 at every step and within steps.
zone zion </dev/null
delegates "$(dataset containers/tree; dataset containers/unpriv)"
free_again() {
    mount -i -t zfs containers/tree/child /mnt && umount /mnt && mount -i -t zfs containers/tree /mnt && umount /mnt
}
# Links are made while the zone mounts its datasets: one that fails finds them mounted.
ip link add eth7 type veth peer name out7; ip link set eth7 up
ip netns add out; ip link set out7 netns out; ip -n out addr add 192.0.2.7/24 dev out7; ip -n out link set out7 up
soon eval '[ "$(cat /sys/class/net/eth7/carrier)" = 1 ]'
printf 'add net\nset physical=eth7\nset address=192.0.2.7/24\nend\nexit\n' | zonecfg -z zion
refused "a link that fails late" "address in use by the machine with the link-layer address" zoneadm -z zion boot
good "nothing is left of it" eval 'nothing_left && unmounted containers/unpriv && unmounted containers/tree && free_again'
zonecfg -z zion 'remove -F net'
ip netns del out
# A kept descriptor of the namespace tells whether anything is still attached to it.
exec 9</dev/null
still_attached() { [ "$(nsenter --user=/proc/$$/fd/9 zfs list 2>&1)" != "no datasets available" ]; }
steps=$(zoneadm -z zion plan boot | grep -c '^ *[0-9]')
killed=0
for step in $(seq -f started-%g 0 $((steps - 1))) unmounted zoned pin pinned noted attached; do
    zfs inherit zoned containers/tree 2>/dev/null; zfs mount containers/tree 2>/dev/null; zfs mount containers/tree/child 2>/dev/null
    ZONES_TEST_KILL_AT=$step zoneadm -z zion boot >/dev/null 2>&1 || killed=$((killed + 1))
    [ "$(state)" = running ] && zoneadm -z zion halt
    nothing_left && unmounted containers/unpriv && free_again || fail "boot killed at $step leaves something" "$(cat /proc/mounts; ls -la /run/zones/zion; zfs list -r containers)"
done
good "kill -9 at each of $killed moments of boot leaves nothing" test "$killed" -ge 18
killed=0
for place in killed detached unpinned; do
    for who in halt reboot; do
        [ "$(state)" = running ] || zoneadm -z zion boot
        exec 9</proc/$(init_of zion)/ns/user
        still_attached || fail "the test sees what is attached"
        ZONES_TEST_KILL_AT=$place zoneadm -z zion $who >/dev/null 2>&1 || killed=$((killed + 1))
        zoneadm -z zion halt >/dev/null 2>&1
        nothing_left && unmounted containers/unpriv && free_again && ! still_attached || fail "$who killed at $place leaves something" "$(cat /proc/mounts; ls -la /run/zones/zion)"
    done
done
good "kill -9 at $killed moments of halt and reboot leaves nothing" test "$killed" = 6
supervisor_of() { sed 's/.*supervisor=\([0-9]*\).*/\1/' "/run/zones/$1/running"; }
zoneadm -z zion boot
kill -9 "$(supervisor_of zion)"
good "with the supervisor killed the zone keeps its datasets" inside "touch /tree/x"
good "halt" zoneadm -z zion halt
good "leaves nothing" nothing_left
zoneadm -z zion boot
init=$(init_of zion); kill -9 "$(supervisor_of zion)" "$init"
soon eval '! [ -e /proc/$init ]'
good "with supervisor and process 1 killed the pin tells what to take back" pinned
good "the next command does" zoneadm -z zion boot
zoneadm -z zion halt
good "and nothing is left" nothing_left
zoneadm -z zion boot
exec 9<&-
kill -9 "$(supervisor_of zion)" "$(init_of zion)"
soon eval '[ "$(state)" = installed ]'
zoneadm -z zion uninstall -F >/dev/null
good "uninstall takes it back as well" nothing_left
for i in 1 2 3 4 5; do
    zoneadm -z zion install >/dev/null 2>&1
    zoneadm -z zion boot && inside 'sleep 100 </dev/null >/tree/child/log & cd /tree; sleep 100 & true' && zoneadm -z zion halt
    zfs destroy -r containers/tree || fail "not free right after halt, round $i"
    zfs create -o mountpoint=/tree containers/tree; zfs create containers/tree/child; chmod 777 /tree/child
done
good "everything can be destroyed right after a halt" true
zonecfg -z zion 'remove -F dataset'
rm -f /tmp/ready /tmp/out
good "the pool can be exported" zpool export containers
