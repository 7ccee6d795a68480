# The guard, asked by ZFS' own commands and by streams: what is locked cannot be changed from inside.
# files: attack.py guard-common.lib
# machine: guard
. ./guard-common.lib

good "the plan tells of the guard" eval 'zoneadm -z zion plan boot | grep -q "guard /dev/zfs"'
good "boot" zoneadm -z zion boot
bad "destroy, while there is nothing in it" inside "umount /data && zfs destroy -r $root"
good "the delegated dataset is there after that" zfs list $root
inside "zfs mount -a"
serve
inside "zfs create $home && zfs create $root/other"
good "a zone with datasets has one guard" eval '[ "$(guard_pid | wc -w)" = 1 ]'
before=$(limits)

echo "-- zfs"
for setting in quota=300M quota=none reservation=16M reservation=none refquota=100M refreservation=1M \
    filesystem_limit=5 snapshot_limit=5 sharenfs=on sharesmb=on snapdir=visible zoned=off; do
    locked "zfs set $setting" inside "zfs set $setting $root"
    locked "zfs inherit ${setting%=*}" inside "zfs inherit ${setting%=*} $root"
    locked "zfs inherit -S ${setting%=*}" inside "zfs inherit -S ${setting%=*} $root"
done
locked "to the value that it has" inside "zfs set reservation=8M $root"
locked "among others" inside "zfs set atime=off reservation=16M $root"
gives "of which none is set" "on" zfs get -Ho value atime $root
locked "under its short name" inside "zfs set reserv=16M $root"
kept "inherit -r" inside "zfs inherit -r reservation $root; zfs inherit -rS reservation $root"
for setting in sharenfs=on sharesmb=on snapdir=visible zoned=off; do
    locked "zfs set $setting on a child" inside "zfs set $setting $home"
    locked "zfs create -o $setting" inside "zfs create -o $setting $root/born"
    kept "zfs create -V -o $setting" inside "zfs create -s -V 1M -o $setting $root/born"
done
inside "zfs snapshot $home@s"
for setting in sharenfs=on sharesmb=on snapdir=visible zoned=off; do
    locked "zfs clone -o $setting" inside "zfs clone -o $setting $home@s $root/born"
done
bad "nothing was born" zfs list $root/born
locked "destroy of the delegated dataset" inside "zfs destroy -r $root/other; zfs destroy $root"
inside "zfs create $root/other"
locked "destroy -f" attack destroy $root
locked "rename" inside "zfs rename $root tank/guard/moved"
locked "rename below itself" attack rename $root $home/moved
locked "a channel program" inside "echo 'zfs.sync.destroy(\"tank/guard/sibling\", true)' >/tmp/p; zfs program tank /tmp/p"
locked "a channel program that only reads" inside "echo 'return zfs.list.children(\"tank/guard\")' >/tmp/p; zfs program -n tank /tmp/p"
good "the sibling lives" zfs list tank/guard/sibling

# Pools cannot be made or modified in a zone, also not by one that has datasets.
pool=/zones/zion/root/root/pool
truncate -s 128M $pool && zpool create -O canmount=off -o cachefile=none inner $pool && zpool export inner
chmod 666 $pool
inside "truncate -s 128M /root/file"
for command in "create -f other /root/file" "add -f tank /root/file" "attach tank /dev/shm/tank /root/file" \
    "remove tank /dev/shm/tank" "export tank" "import -d /root inner" "scrub tank" "destroy -f tank" "set comment=x tank"; do
    locked "zpool ${command%% *}" inside "zpool $command"
done
gives "the host has the one pool that it had" "tank ONLINE -" eval "zpool list -H -o name,health,comment | tr '\t' ' '"
inside "rm -f /root/file /root/pool"

echo "-- streams"
zfs create -o sharenfs=on -o reservation=1M -o compression=gzip -o user:prop=x tank/guard/source
zfs snapshot tank/guard/source@1
zfs send -p tank/guard/source@1 >/zones/zion/root/root/stream
zfs send tank/guard/source@1 >/zones/zion/root/root/plain
zfs snapshot tank/guard/source@2
zfs send -p -i @1 tank/guard/source@2 >/zones/zion/root/root/more
for setting in sharenfs=on sharesmb=on snapdir=visible zoned=off; do
    locked "zfs receive -o $setting" inside "zfs receive -u -o $setting $root/got </root/plain"
done
bad "nothing was received" zfs list $root/got
good "a stream with properties is received" inside "zfs receive -u $root/got </root/stream"
gives "the locked one left out, the others taken" "sharenfs off default reservation 1048576 received compression gzip received user:prop x received" \
    eval "zfs get -Hp -o property,value,source sharenfs,reservation,compression,user:prop $root/got | xargs"
good "receive -x of a locked property" inside "zfs receive -u -x sharenfs $root/gotx </root/stream"
good "and of another" inside "zfs receive -u -x compression $root/gotc </root/stream"
gives "which is left out" "off default" eval "zfs get -Hp -o value,source compression $root/gotc | xargs | sed s/on/off/"
good "an incremental stream with properties" inside "zfs receive -u $root/got </root/more"
kept "a stream with properties into the delegated dataset" inside "zfs receive -u -F $root </root/stream"
gives "keeps what is set there" "8388608 local" eval "zfs get -Hp -o value,source reservation $root | xargs"
kept "and one more" inside "zfs receive -u -F $root </root/more"
locked "receive -o into the delegated dataset" inside "zfs receive -u -F -o reservation=1M $root </root/stream"
zfs get -Hp -o name,property,value all $root | grep -q recvd || true
inside "for d in got gotx gotc; do zfs destroy -r $root/\$d; done"
for which in old new; do
    locked "the $which request into an invisible sibling" attack receive $which $root tank/guard/sibling/in@s /root/plain
    locked "the $which request over an invisible sibling" attack receive $which $root tank/guard/sibling@t /root/plain
    locked "the $which request beside it" attack receive $which $root tank/guard/new@s /root/plain
    good "the $which request, by hand" attack receive $which $root $root/hand@s /root/plain compression=15
    kept "with a locked property" attack receive $which $root $root/hand2@s /root/plain sharenfs=on zoned=0
    kept "over the delegated dataset" attack receive $which $root $root@s /root/plain compression=15
    inside "zfs destroy -r $root/hand; zfs destroy -r $root/hand2"
done
gives "the sibling is as it was" "tank/guard/sibling tank/guard/sibling@s" eval 'zfs list -t all -r -Ho name tank/guard/sibling | xargs'
kept "rollback" inside "zfs snapshot $home@r && zfs rollback $home@r && zfs destroy $home@r"
kept "promote" inside "zfs clone $home@s $root/clone && zfs promote $root/clone && zfs promote $home && zfs destroy $root/clone"

echo "-- the log"
log=/var/lib/zones/zion/guard.log
good "tells of a refusal who, what, why" grep -Eq "^2[0-9-]+T[0-9:]+Z refused SET_PROP: set on $root: property reservation is locked; pid [0-9]+ \([0-9]+ in the zone\), uid 1000000000, zfs$" $log
good "and what was left out of a stream" grep -Eq "left out of receive on $root/got: sharenfs;" $log
good "and only root of the host reads it" eval '[ "$(stat -c %a $log)" = 600 ]'
inside "for i in \$(seq 3); do python3 /root/attack.py race 60 $root $root/none; done" >/dev/null
good "a flood is bounded" eval '[ $(stat -c %s $log) -lt 300000 ]'

echo "-- more locks"
unserve
zoneadm -z zion halt
delegates "$(dataset $root lock=compression,user:prop)"
zoneadm -z zion boot
serve
locked "a property of the lock list" inside "zfs set compression=zle $root"
locked "and below" inside "zfs create -o compression=zle $root/born"
locked "a user property" inside "zfs set user:prop=other $home"
good "and no other" inside "zfs set user:other=x recordsize=16K $home"

unserve
zoneadm -z zion halt
gives "the guard ends with the zone" "" guard_pid
zfs destroy -r tank/guard
