# The guard: what is locked cannot be changed from inside, by any means; all else goes on.
# images: bookworm
# files: attack.py guard-common.lib
. ./guard-common.lib
LOCKED=quota,reservation,refquota,refreservation,filesystem_limit,snapshot_limit,sharenfs,sharesmb,zoned
limits() { zfs get -Hp -o name,property,value,source $LOCKED $root; zfs get -Hp -o name,property,value,source sharenfs,sharesmb,zoned $home; }
# locked NAME COMMAND...: it fails, and no limit has changed
locked() {
    local name=$1 out after
    shift
    if out=$("$@" 2>&1); then fail "$name" "$* succeeds" "$out"; return; fi
    after=$(limits)
    if [ "$after" = "$before" ]; then pass "$name"; else
        fail "$name" "$out" "changed: $(echo "$after" | grep -vxF "$before")"
        restore
    fi
    [ -z "$SHOW" ] || echo "      $out"
}
# kept NAME COMMAND...: whatever it says, no limit has changed
kept() {
    local name=$1 out after
    shift
    out=$("$@" 2>&1)
    after=$(limits)
    if [ "$after" = "$before" ]; then pass "$name"; else
        fail "$name" "$out" "changed: $(echo "$after" | grep -vxF "$before")"
        restore
    fi
    [ -z "$SHOW" ] || echo "      $out"
}
restore() { zfs set quota=256M reservation=8M refquota=none refreservation=none filesystem_limit=none snapshot_limit=none zoned=on $root; }
good "the plan tells of the guard" eval 'zoneadm -z zion plan boot | grep -q "guard /dev/zfs"'
good "boot" zoneadm -z zion boot
inside "zfs create $home && zfs create $root/other"
good "a zone with datasets has one guard" eval '[ "$(guard_pid | wc -w)" = 1 ]'
before=$(limits)

echo "-- zfs"
for setting in quota=300M quota=none reservation=16M reservation=none refquota=100M refreservation=1M \
    filesystem_limit=5 snapshot_limit=5 sharenfs=on sharesmb=on zoned=off; do
    locked "zfs set $setting" inside "zfs set $setting $root"
    locked "zfs inherit ${setting%=*}" inside "zfs inherit ${setting%=*} $root"
    locked "zfs inherit -S ${setting%=*}" inside "zfs inherit -S ${setting%=*} $root"
done
locked "to the value that it has" inside "zfs set reservation=8M $root"
locked "among others" inside "zfs set atime=off reservation=16M $root"
gives "of which none is set" "on" zfs get -Ho value atime $root
locked "under its short name" inside "zfs set reserv=16M $root"
kept "inherit -r" inside "zfs inherit -r reservation $root; zfs inherit -rS reservation $root"
for setting in sharenfs=on sharesmb=on zoned=off; do
    locked "zfs set $setting on a child" inside "zfs set $setting $home"
    locked "zfs create -o $setting" inside "zfs create -o $setting $root/born"
    kept "zfs create -V -o $setting" inside "zfs create -s -V 1M -o $setting $root/born"
done
inside "zfs snapshot $home@s"
for setting in sharenfs=on sharesmb=on zoned=off; do
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

echo "-- streams"
zfs create -o sharenfs=on -o reservation=1M -o compression=gzip -o user:prop=x tank/guard/source
zfs snapshot tank/guard/source@1
zfs send -p tank/guard/source@1 >/zones/zion/root/root/stream
zfs send tank/guard/source@1 >/zones/zion/root/root/plain
zfs snapshot tank/guard/source@2
zfs send -p -i @1 tank/guard/source@2 >/zones/zion/root/root/more
for setting in sharenfs=on sharesmb=on zoned=off; do
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

echo "-- by hand"
for how in ioctl high int80 x32; do
    for encoding in native xdr; do
        locked "SET_PROP by $how in $encoding form" attack set $how $encoding $root reservation=16777216
        locked "two at once" attack set $how $encoding $root compression=15 reservation=16777216
        locked "sharenfs of a child" attack set $how $encoding $home sharenfs=on
    done
    locked "INHERIT_PROP by $how" attack inherit $how $root reservation 0
    locked "INHERIT_PROP by $how, received" attack inherit $how $root reservation 1
done
for how in ioctl high int80; do
    good "what is not locked can be set by $how" attack set $how native $root compression=15
done
locked "as received" attack set-received $root compression=15
locked "in capital letters" attack set ioctl native $root RESERVATION=16777216
locked "CREATE" attack create $root/born sharenfs=on
locked "CLONE" attack clone $root/born $home@s sharenfs=on
refused "a clone of what is not the zone's" ENOENT attack clone $root/born tank/guard/sibling@s
refused "an ancestor" EPERM attack set ioctl native tank/guard compression=15
refused "a sibling" ENOENT attack set ioctl native tank/guard/sibling compression=15
refused "what is not there, beside" ENOENT attack set ioctl native tank/guard/none compression=15
refused "waiting for a sibling tells nothing" ENOENT attack wait tank/guard/sibling
refused "as for what is not there" ENOENT attack wait tank/guard/none
good "waiting for the zone's own" inside "zfs wait $home"
for number in 5a00 5a01 5a02 5a03 5a06 5a0a 5a0b 5a1d 5a20 5a24 5a26 5a2a 5a2c 5a3c 5a3f 5a47 5a48 5a51 5a53 5a55 5a56 5a57 5a60 5a81 5a82 5a85 5a86 5a87 5a88 5aff; do
    refused "request $number" EPERM attack number $number tank
done
refused "a channel program by int80" EPERM attack number 5a48 tank int80
good "addresses and lists that are none" attack wrong-memory $root
gives "other descriptors" "ENOTTY EBADF OK" attack wrong-descriptor $root reservation=16777216
locked "from another thread" attack thread $root reservation=16777216
good "which may set others" attack thread $root compression=15
good "callers that are killed" attack killed $root
gives "callers that are interrupted" "OK 100" attack signals $root/other
inside "zfs destroy -r $root/other; zfs create $root/other"

echo "-- filters, namespaces, terminals"
refused "a second listener" EBUSY attack listener
refused "an inner filter that asks" ENOSYS attack inner-ask $root reservation=16777216
locked "a listener that answers itself" attack answer-myself $root reservation=16777216
locked "an inner filter that traces" attack inner-trace $root reservation=16777216
locked "a nested user namespace" inside "unshare -Ur python3 /root/attack.py set ioctl native $root reservation=16777216"
locked "a nested one, as another user" inside "unshare -U python3 /root/attack.py set ioctl native $root compression=15"
locked "a program in a nested user namespace" inside "echo 'zfs.sync.destroy(\"tank/guard/sibling\", true)' >/tmp/p; unshare -Urmpf --mount-proc zfs program tank /tmp/p"
locked "zlogin -S" zlogin -S zion "ZFS_MODULE_TIMEOUT=0 zfs set reservation=16M $root"
refused "nothing that was refused left a process waiting" "not found" eval '[ -z "$(ps -eo stat,args | grep "[a]ttack.py")" ] && echo not found && false'
cat >/zones/zion/root/etc/rc.local <<X
#!/bin/sh
export ZFS_MODULE_TIMEOUT=0
python3 /root/attack.py set ioctl native $root reservation=16777216 >/root/rc
python3 /root/attack.py set ioctl native $root compression=9 >>/root/rc
X
chmod 755 /zones/zion/root/etc/rc.local
zfs inherit compression $root
zoneadm -z zion reboot
for ((i = 0; i < 300; i++)); do [ "$(wc -l </zones/zion/root/root/rc)" = 2 ] && break; sleep 0.1; done
gives "what init starts is refused the one and not the other" "EPERM OK" eval 'xargs </zones/zion/root/root/rc'
rm /zones/zion/root/etc/rc.local /zones/zion/root/root/rc
(sleep 1; echo "python3 /root/attack.py set ioctl native $root reservation=16777216 >/root/console"; sleep 3; echo '~.') | zlogin -C zion >/dev/null 2>&1
gives "a shell on the console" EPERM cat /zones/zion/root/root/console
gives "no limit has changed" "$before" limits

echo "-- what the guide allows"
# The streams have brought the root directory of a dataset of the host, which belongs to nobody here: what
# needs to write there is only tried, not counted.
zfs inherit -S compression $root
for setting in compression=lz4 recordsize=16K atime=off readonly=off exec=off setuid=off devices=off copies=2 \
    dedup=off xattr=sa acltype=posix sync=disabled primarycache=metadata checksum=sha256 snapdir=visible \
    mountpoint=/data logbias=throughput redundant_metadata=most special_small_blocks=0 user:prop=value canmount=on; do
    good "zfs set ${setting%=*}" inside "zfs set $setting $root"
done
good "zfs inherit" inside "zfs inherit recordsize $root && zfs inherit -S user:prop $root"
for setting in quota=64M reservation=1M refquota=32M refreservation=1M filesystem_limit=9 snapshot_limit=9 \
    userquota@1000000005=1M groupquota@1000000005=1M; do
    good "zfs set $setting on a child" inside "zfs set $setting $home"
done
inside "zfs create -o compression=zstd $root/work && touch /data/./work/file" >/dev/null 2>&1
inside "zfs create -p $root/deep/er" >/dev/null 2>&1
good "zfs create -V" inside "zfs create -V 4M $root/vol && zfs set volsize=8M $root/vol"
inside "echo long enough | zfs create -o encryption=on -o keyformat=passphrase $root/secret" >/dev/null 2>&1
good "zfs change-key" inside "printf 'another one\n' | zfs change-key -o keyformat=passphrase $root/secret"
inside "zfs unmount $root/secret && zfs unload-key $root/secret && echo another one | zfs load-key $root/secret" >/dev/null 2>&1
good "zfs snapshot -r" inside "zfs snapshot -r $root/work@1 && zfs snapshot -o user:x=y $root/work@2"
inside "zfs rename $root/work@2 @3 && zfs rename $root/deep/er $root/er" >/dev/null 2>&1
inside "zfs clone -o atime=off $root/work@1 $root/clone" >/dev/null 2>&1
good "zfs promote" inside "zfs promote $root/clone && zfs promote $root/work"
good "zfs hold and release" inside "zfs hold tag $root/work@1 && zfs holds $root/work@1 && zfs release tag $root/work@1"
good "zfs bookmark" inside "zfs bookmark $root/work@1 '#b' && zfs list -t bookmark $root/work && zfs destroy $root/work#b"
good "zfs send and receive" inside "zfs send -R $root/work@3 | zfs receive -u $root/copy && zfs list $root/copy@1"
good "resumable" inside "zfs send $root/work@1 | head -c 2000 | zfs receive -s -u $root/part; zfs send -t \$(zfs get -Ho value receive_resume_token $root/part) | zfs receive -s -u $root/part"
good "raw and compressed" inside "zfs snapshot $root/secret@1 && zfs send -w $root/secret@1 | zfs receive -u $root/raw"
good "a stream from a file" inside "zfs send $root/work@1 >/root/file && zfs receive -u -o compression=off -x atime $root/filed </root/file"
inside "touch /data/./work/more && zfs diff $root/work@1" >/dev/null 2>&1
good "zfs rollback" inside "zfs rollback -r $root/work@1"
inside "zfs unmount $root/work && zfs mount $root/work" >/dev/null 2>&1
good "zfs userspace" inside "zfs userspace $root/work"
good "zfs get all, list, zpool list" inside "zfs get -r all $root && zfs list -t all && zpool list && zpool get all tank"
inside "echo ann:x:1005:1005::/tmp:/bin/sh >>/etc/passwd"
refused "another user of the zone may not" "permission denied" zlogin -l ann zion "ZFS_MODULE_TIMEOUT=0 zfs set compression=off $root/work"
good "zfs allow" inside "zfs allow -u 1000001005 compression,snapshot,create,mount $root/work"
good "now that user may" zlogin -l ann zion "ZFS_MODULE_TIMEOUT=0; export ZFS_MODULE_TIMEOUT; zfs set compression=off $root/work && zfs snapshot $root/work@ann"
refused "but not another property" "permission denied" zlogin -l ann zion "ZFS_MODULE_TIMEOUT=0 zfs set atime=off $root/work"
locked "nor what is locked" zlogin -l ann zion "ZFS_MODULE_TIMEOUT=0 zfs set sharenfs=on $root/work"
inside "for d in clone copy part raw filed secret vol deep er work; do zfs destroy -r $root/\$d || exit; done" >/dev/null 2>&1
gives "no limit has changed after all that" "$before" limits

echo "-- the log"
log=/var/lib/zones/zion/guard.log
good "tells of a refusal who, what, why" grep -Eq "^2[0-9-]+T[0-9:]+Z refused SET_PROP: set on $root: property reservation is locked; pid [0-9]+ \([0-9]+ in the zone\), uid 1000000000, zfs$" $log
good "and what was left out of a stream" grep -Eq "left out of receive on $root/got: sharenfs;" $log
good "and only root of the host reads it" eval '[ "$(stat -c %a $log)" = 600 ]'
inside "for i in \$(seq 3); do python3 /root/attack.py race 60 $root $root/none; done" >/dev/null
good "a flood is bounded" eval '[ $(stat -c %s $log) -lt 300000 ]'

echo "-- more locks"
zoneadm -z zion halt
delegates "$(dataset $root lock=compression,user:prop)"
zoneadm -z zion boot
locked "a property of the lock list" inside "zfs set compression=zle $root"
locked "and below" inside "zfs create -o compression=zle $root/born"
locked "a user property" inside "zfs set user:prop=other $home"
good "and no other" inside "zfs set user:other=x recordsize=16K $home"
zoneadm -z zion halt
gives "the guard ends with the zone" "" guard_pid
zfs destroy -r tank/guard
