# Clone, uninstall of what was cloned, move, detach and attach, and what holds a dataset.
# images: bookworm
# files: lifecycle.lib
. ./lifecycle.lib

echo "-- clone in one pool"
conf lc0 /lc/lc0
adm lc0 install >/dev/null || exit 2
zfs set quota=300M compression=zstd-3 my:note=kept zones:odd=no org.openzfs.systemd:x=no canmount=noauto tank/lc/lc0
ssh_keys() { cat /lc/"$1"/root/etc/ssh/ssh_host_*_key.pub 2>/dev/null; }
mkdir -p /lc/lc0/root/etc/ssh && echo old >/lc/lc0/root/etc/ssh/ssh_host_ed25519_key && echo old >/lc/lc0/root/etc/ssh/ssh_host_ed25519_key.pub
printf '\1\2\3\4' >/lc/lc0/root/etc/hostid
conf lc1 /lc/lc1
good "the plan names snapshot and clone" eval "adm lc1 plan clone lc0 | grep -q 'clone snapshot tank/lc/lc0@SUNWzone1 as tank/lc/lc1, mounted on /lc/lc1'"
gives "clone makes a snapshot and a clone, and says so" "Cloning snapshot tank/lc/lc0@SUNWzone1
$cloned" eval "adm lc1 clone lc0 2>&1 | grep -v ssh"
gives "the clone is mounted by inheritance" "tank/lc/lc1 inherited from tank/lc" eval "echo \$(findmnt -no SOURCE /lc/lc1) \$(zfs get -Ho source mountpoint tank/lc/lc1)"
gives "its origin is the snapshot" tank/lc/lc0@SUNWzone1 value origin tank/lc/lc1
gives "sharenfs and sharesmb are off" "off local off local" eval "zfs get -Ho value,source sharenfs,sharesmb tank/lc/lc1 | xargs"
gives "local properties come along" "314572800 zstd-3 kept" eval "echo \$(value quota tank/lc/lc1) \$(value compression tank/lc/lc1) \$(value my:note tank/lc/lc1)"
gives "those of the place and of systemd do not" "on - -" eval "echo \$(value canmount tank/lc/lc1) \$(value org.openzfs.systemd:x tank/lc/lc1) \$(value zones:odd tank/lc/lc1)"
gives "mode 0700, root's" "700 0 0" stat -c '%a %u %g' /lc/lc1
gives "the host name is its own" lc1 cat /lc/lc1/root/etc/hostname
good "so are machine id and host id" eval "! cmp -s /lc/lc0/root/etc/machine-id /lc/lc1/root/etc/machine-id && ! cmp -s /lc/lc0/root/etc/hostid /lc/lc1/root/etc/hostid"
bad "and the old ssh host key is not there" grep -q old /lc/lc1/root/etc/ssh/ssh_host_ed25519_key
good "the uuids differ" eval '[ "$(zoneadm -z lc0 list -p | cut -d: -f5)" != "$(zoneadm -z lc1 list -p | cut -d: -f5)" ]'
good "the clone boots" adm lc1 boot
good "and works" zlogin lc1 'touch /root/file && [ "$(stat -c %u /root/file)" = 0 ]'
good "beside its source" adm lc0 boot
good "with ids of its own" eval '[ "$(awk "{print \$2}" /var/lib/zones/lc0/idmap)" != "$(awk "{print \$2}" /var/lib/zones/lc1/idmap)" ]'
refused "a running zone is no source" "zoneadm: zone lc0 is running; installed is required." eval "conf lc2 /lc/lc2; adm lc2 clone lc0"
adm lc0 halt; adm lc1 halt

echo "-- names, -s, -m copy, clone of a clone"
says "the next snapshot has the next number" "Cloning snapshot tank/lc/lc0@SUNWzone2" adm lc2 clone lc0
conf lc3 /lc/lc3
says "a clone of a clone" "Cloning snapshot tank/lc/lc1@SUNWzone1" adm lc3 clone lc1
zfs snapshot tank/lc/lc0@mine
touch /lc/lc0/root/later
conf lc4 /lc/lc4
refused "-s of nothing" "cannot use snapshot nothing" adm lc4 clone -s nothing lc0
zfs snapshot tank/lc@above
refused "-s of another dataset" "it is not one of tank/lc/lc0" adm lc4 clone -s tank/lc@above lc0
mv /lc/lc0/root /lc/lc0/away; zfs snapshot tank/lc/lc0@bare; mv /lc/lc0/away /lc/lc0/root
refused "-s of one without a root" "tank/lc/lc0@bare does not hold the root of a zone" adm lc4 clone -s bare lc0
zfs destroy tank/lc/lc0@bare
gives "such a zone stays configured" configured state lc4
says "-s takes a snapshot that is there" "Cloning snapshot tank/lc/lc0@mine" adm lc4 clone -s @mine lc0
bad "what came later is not in it" test -e /lc/lc4/root/later
says "uninstall leaves a snapshot that it has not taken" "$destroyed" adm lc4 uninstall -F
good "(it is there)" zfs list tank/lc/lc0@mine
says "its whole name does as well" "Cloning snapshot tank/lc/lc0@mine" adm lc4 clone -s tank/lc/lc0@mine lc0
adm lc4 uninstall -F >/dev/null
says "-m copy copies" "Copying /lc/lc0..." adm lc4 clone -m copy lc0
gives "into a file system of its own" "tank/lc/lc4 -" eval "echo \$(findmnt -no SOURCE /lc/lc4) \$(value origin tank/lc/lc4)"
good "everything" test -e /lc/lc4/root/later
adm lc4 uninstall -F >/dev/null
says "-m copy -s copies that snapshot" "Copying tank/lc/lc0@mine..." adm lc4 clone -m copy -s mine lc0
bad "and nothing later" test -e /lc/lc4/root/later
adm lc4 uninstall -F >/dev/null
mkdir -m 700 /lc/lc4; mount --bind /lc/lc4 /lc/lc4
says "a mounted file system prevents a clone" "A file system is already mounted on /lc/lc4," adm lc4 clone lc0
adm lc4 uninstall -F >/dev/null; umount /lc/lc4; rmdir /lc/lc4
conf lcx /other/lcx
says "another pool: a copy" "Copying /lc/lc0..." adm lcx clone lc0
gives "in a file system there" other/lcx findmnt -no SOURCE /other/lcx
gives "without a new snapshot" "tank/lc/lc0@SUNWzone1 tank/lc/lc0@SUNWzone2 tank/lc/lc0@mine" eval "snaps tank/lc/lc0"
adm lcx uninstall -F >/dev/null
refused "-s from another pool says what to do" "with -m copy its files are copied" adm lcx clone -s mine lc0
mount -t tmpfs tmpfs /lc/lc0/root/mnt
refused "a mount below the source is refused" "These file systems are mounted on subdirectories of /lc/lc0/root." adm lc4 clone lc0
umount /lc/lc0/root/mnt
# There is no room for what both want to be sure of.
zfs set reservation=$(($(value available tank) * 6 / 10)) tank/lc/lc0
says "where no clone can be made the files are copied" "its files are copied instead" adm lc4 clone lc0
gives "into a file system of its own" "tank/lc/lc4 -" eval "echo \$(findmnt -no SOURCE /lc/lc4) \$(value origin tank/lc/lc4)"
gives "and its snapshot is gone" "tank/lc/lc0@SUNWzone1 tank/lc/lc0@SUNWzone2 tank/lc/lc0@mine" eval "snaps tank/lc/lc0"
zfs set reservation=none tank/lc/lc0
adm lc4 uninstall -F >/dev/null

# Two clones of one snapshot: it goes with the second, and can be cloned until then.
adm lc4 clone -s SUNWzone2 lc0 >/dev/null || fail "clone -s SUNWzone2"
says "a snapshot stays while a clone of it is there" "$destroyed" adm lc2 uninstall -F
good "(it is there)" zfs list tank/lc/lc0@SUNWzone2
says "and can be cloned again" "$cloned" adm lc2 clone -s SUNWzone2 lc0
adm lc4 uninstall -F >/dev/null
good "(and is there)" zfs list tank/lc/lc0@SUNWzone2

echo "-- uninstall of the origin"
# lc0@SUNWzone1 -> lc1, lc0@SUNWzone2 -> lc2, lc1@SUNWzone1 -> lc3: promoting lc2 takes all of lc0's names along.
says "clones are promoted" "tank/lc/lc2 has been promoted" adm lc0 uninstall -F
good "the origin is gone" gone tank/lc/lc0
good "its clones are not" eval "zfs list tank/lc/lc1 tank/lc/lc2 tank/lc/lc3 && test -e /lc/lc1/root/etc/hostname && test -e /lc/lc2/root/etc/hostname"
good "they boot" eval "adm lc1 boot && adm lc2 boot && adm lc3 boot"
for z in lc1 lc2 lc3; do adm $z halt; done
# lc1@SUNWzone1 has to go to lc3; lc1 itself hangs on lc2@SUNWzone1.
zfs snapshot tank/lc/lc3@daily; zfs snapshot tank/lc/lc1@late
says "one in the middle" "tank/lc/lc3 has been promoted" adm lc1 uninstall -F
good "is gone" gone tank/lc/lc1
good "the others work" eval "adm lc2 boot && adm lc3 boot && adm lc2 halt && adm lc3 halt"
says "the last but one" "$destroyed" adm lc3 uninstall -F
says "and the last" "$destroyed" adm lc2 uninstall -F
gives "leave no snapshot behind" "tank/lc@above" eval "snaps tank/lc"
zfs destroy tank/lc@above
gives "nor a dataset" tank/lc eval "zfs list -Hro name tank/lc"

echo "-- colliding names"
adm lc0 install >/dev/null
adm lc1 clone lc0 >/dev/null
zfs snapshot tank/lc/lc1@SUNWzone1; zfs snapshot tank/lc/lc1@SUNWzone7
says "uninstall with a taken snapshot name" "tank/lc/lc1 has been promoted" adm lc0 uninstall -F
gives "renames upwards" "tank/lc/lc1@SUNWzone1 tank/lc/lc1@SUNWzone7" eval "snaps tank/lc/lc1"
adm lc1 uninstall -F >/dev/null
adm lc0 install >/dev/null
zfs snapshot tank/lc/lc0@daily; zfs clone tank/lc/lc0@daily tank/lc/byhand
zfs snapshot tank/lc/byhand@daily
says "also one of the administrator's" "tank/lc/byhand has been promoted" adm lc0 uninstall -F
gives "which keeps its snapshot" "tank/lc/byhand@daily tank/lc/byhand@daily-lc0" eval "snaps tank/lc/byhand"
zfs destroy -r tank/lc/byhand

echo "-- what holds it"
adm lc0 install >/dev/null
zfs snapshot tank/lc/lc0@h; zfs hold keep tank/lc/lc0@h
says "a hold is named, with the command" "tank/lc/lc0@h is held as 'keep'; use zfs release keep tank/lc/lc0@h" adm lc0 uninstall -F
zfs release keep tank/lc/lc0@h; zfs destroy -r tank/lc/lc0; rmdir /lc/lc0 2>/dev/null
adm lc0 install >/dev/null; zfs create -o mountpoint=none tank/lc/lc0/sub
says "a child is named" "tank/lc/lc0/sub lies below it; use zfs destroy -r tank/lc/lc0/sub" adm lc0 uninstall -F
zfs destroy -r tank/lc/lc0; rm -rf /lc/lc0
adm lc0 install >/dev/null
sh -c 'cd /lc/lc0/root && exec sleep 60' & holder=$!
sleep 0.3
says "a process is named" "process $holder (sleep) has the working directory /lc/lc0/root; use kill $holder" adm lc0 uninstall -F
kill $holder; wait $holder 2>/dev/null
zfs destroy -r tank/lc/lc0; rm -rf /lc/lc0
adm lc0 install >/dev/null
unshare -m --propagation private sh -c 'exec sleep 60' & holder=$!
sleep 0.3
refused "a mount in another namespace is named" "by process $holder (sleep) in mount namespace" adm lc0 uninstall -F
out=$(adm lc0 uninstall -F 2>&1)
case $out in *"use nsenter -t $holder -m umount /lc/lc0"*) pass "with the command" ;; *) fail "with the command" "$out" ;; esac
kill $holder; wait $holder 2>/dev/null
good "and uninstall goes through when it is gone" adm lc0 uninstall -F
good "(really)" gone tank/lc/lc0

echo "-- move"
adm lc0 install >/dev/null
printf '# mine\n%s\n' "$(cat /etc/zones.d/lc0.toml)" >/etc/zones.d/lc0.toml
gives "move renames the file system" "" adm lc0 move /lc/moved
gives "(its name)" "tank/lc/moved inherited from tank/lc" eval "echo \$(findmnt -no SOURCE /lc/moved) \$(zfs get -Ho source mountpoint tank/lc/moved)"
good "nothing is at the old place" eval "gone tank/lc/lc0 && ! test -e /lc/lc0"
good "the configuration has the new path and its comment" eval "grep -q '^# mine' /etc/zones.d/lc0.toml && grep -q 'zonepath = \"/lc/moved\"' /etc/zones.d/lc0.toml"
good "it boots" eval "adm lc0 boot && adm lc0 halt"
gives "to a place without ZFS: the mountpoint" "" adm lc0 move /plain/zone
gives "(as its own property)" "tank/lc/moved /plain/zone local" eval "echo \$(findmnt -no SOURCE /plain/zone) \$(zfs get -Ho value,source mountpoint tank/lc/moved)"
good "it boots there" eval "adm lc0 boot && adm lc0 halt"
gives "and back" "" adm lc0 move /lc/lc0
gives "(inherited again)" "tank/lc/lc0 inherited from tank/lc" eval "echo \$(findmnt -no SOURCE /lc/lc0) \$(zfs get -Ho source mountpoint tank/lc/lc0)"
bad "the folder is gone" test -e /plain/zone
zfs create tank/lc/taken; zfs unmount tank/lc/taken; rmdir /lc/taken
refused "a name that is taken is refused" "the ZFS file system tank/lc/taken exists and is not mounted" adm lc0 move /lc/taken
zfs destroy tank/lc/taken
mkdir -p -m 700 /lc/full/x
refused "a full directory is refused" "could not move zone to /lc/full: directory not empty" adm lc0 move /lc/full
rm -r /lc/full
conf other /lc/other
sh -c 'cd /lc/lc0/root && exec sleep 60' & holder=$!
sleep 0.3
refused "a busy one stays, its holder is named" "process $holder (sleep) has the working directory /lc/lc0/root; use kill $holder" adm lc0 move /lc/elsewhere
kill $holder; wait $holder 2>/dev/null
gives "(it is where it was)" tank/lc/lc0 findmnt -no SOURCE /lc/lc0
mkdir /etc/zones.d/.lc0.toml.new
bad "a configuration that cannot be saved" adm lc0 move /lc/elsewhere
rmdir /etc/zones.d/.lc0.toml.new
gives "brings everything back" "tank/lc/lc0 installed" eval "echo \$(findmnt -no SOURCE /lc/lc0) \$(state lc0)"
good "and leaves nothing there" eval "gone tank/lc/elsewhere && ! test -e /lc/elsewhere"
zonecfg -z other 'add fs; set dir=/x; set special=tank/lc/lc0/sub; set type=zfs; end'
gives "one that a configuration names keeps its name" "" adm lc0 move /lc/elsewhere
gives "(it does)" "tank/lc/lc0 /lc/elsewhere" eval "echo \$(findmnt -no SOURCE /lc/elsewhere) \$(value mountpoint tank/lc/lc0)"
zonecfg -z other delete -F
adm lc0 move /lc/lc0
conf dir /plain/dir; adm dir install >/dev/null
says "a directory to a ZFS place: a copy in a file system of its own" "Moving across file systems; copying zonepath /plain/dir..." adm dir move /lc/dir
gives "(there)" tank/lc/dir findmnt -no SOURCE /lc/dir
bad "(no more here)" test -e /plain/dir
adm dir uninstall -F >/dev/null; zonecfg -z dir delete -F

echo "-- detach and attach"
gives "detach" "" adm lc0 detach
gives "leaves a configured zone and its file system" "configured tank/lc/lc0" eval "echo \$(state lc0) \$(findmnt -no SOURCE /lc/lc0)"
zonecfg -z lc0 delete -F
zonecfg -z again 'create -a /lc/lc0' || fail "create -a"
gives "attach under another name" "" adm again attach
gives "marks the file system" again value zones:zone tank/lc/lc0
says "so that uninstall destroys it" "$destroyed" adm again uninstall -F
zonecfg -z again delete -F; conf lc0 /lc/lc0
adm lc0 install >/dev/null; adm lc0 detach
refused "install does not take a detached zone" "Cannot install detached zone." adm lc0 install
zfs snapshot tank/lc/lc0@send; zfs send -p tank/lc/lc0@send | zfs receive -o mountpoint=/other/got other/got
zonecfg -z got 'create -a /other/got' && adm got attach
says "one that came by send is destroyed too" "$destroyed" adm got uninstall -F
zonecfg -z got delete -F
adm lc0 attach; adm lc0 uninstall -F >/dev/null
for z in lc0 lc1 lc2 lc3 lc4 lcx; do zonecfg -z $z delete -F 2>/dev/null; done
good "the pool is free" zpool destroy other
good "and the folder" zfs destroy tank/lc
