# The guard lets everything through that the guide allows.
# files: attack.py guard-common.lib
# machine: guard
. ./guard-common.lib

zoneadm -z zion boot
serve
inside "zfs create $home && zfs create $root/other"
before=$(limits)

for setting in compression=lz4 recordsize=16K atime=off readonly=off exec=off setuid=off devices=off copies=2 \
    dedup=off xattr=sa acltype=posix sync=disabled primarycache=metadata checksum=sha256 \
    mountpoint=/data logbias=throughput redundant_metadata=most special_small_blocks=0 user:prop=value canmount=on; do
    good "zfs set ${setting%=*}" inside "zfs set $setting $root"
done
good "zfs inherit" inside "zfs inherit recordsize $root && zfs inherit -S user:prop $root"
for setting in quota=64M reservation=1M refquota=32M refreservation=1M filesystem_limit=9 snapshot_limit=9 \
    userquota@1000000005=1M groupquota@1000000005=1M; do
    good "zfs set $setting on a child" inside "zfs set $setting $home"
done
good "zfs create -o" inside "zfs create -o compression=zstd $root/papers && touch /data/papers/file"
good "zfs create -p" inside "zfs create -p $root/deep/er"
good "zfs create -V" inside "zfs create -V 4M $root/vol && zfs set volsize=8M $root/vol"
good "zfs create of an encrypted one" inside "echo long enough | zfs create -o encryption=on -o keyformat=passphrase $root/secret"
good "zfs change-key" inside "printf 'another one\n' | zfs change-key -o keyformat=passphrase $root/secret"
good "zfs unload-key, load-key" inside "zfs unmount $root/secret && zfs unload-key $root/secret && echo another one | zfs load-key $root/secret"
good "zfs snapshot -r" inside "zfs snapshot -r $root/papers@1 && zfs snapshot -o user:x=y $root/papers@2"
good "zfs rename" inside "zfs rename $root/papers@2 @3 && zfs rename $root/deep/er $root/er"
good "zfs clone -o" inside "zfs clone -o atime=off $root/papers@1 $root/clone"
good "zfs promote" inside "zfs promote $root/clone && zfs promote $root/papers"
good "zfs hold and release" inside "zfs hold tag $root/papers@1 && zfs holds $root/papers@1 && zfs release tag $root/papers@1"
good "zfs bookmark" inside "zfs bookmark $root/papers@1 '#b' && zfs list -t bookmark $root/papers && zfs destroy $root/papers#b"
good "zfs send and receive" inside "zfs send -R $root/papers@3 | zfs receive -u $root/copy && zfs list $root/copy@1"
good "resumable" inside "zfs send $root/papers@1 | head -c 2000 | zfs receive -s -u $root/part; zfs send -t \$(zfs get -Ho value receive_resume_token $root/part) | zfs receive -s -u $root/part"
good "raw and compressed" inside "zfs snapshot $root/secret@1 && zfs send -w $root/secret@1 | zfs receive -u $root/raw"
good "a stream from a file" inside "zfs send $root/papers@1 >/root/file && zfs receive -u -o compression=off -x atime $root/filed </root/file"
# It looks below .zfs, where a zone finds nothing (snapshots.sh says why).
refused "zfs diff" "Cannot stat /data/papers/.zfs/shares/" inside "touch /data/papers/more && zfs diff $root/papers@1"
good "zfs rollback" inside "zfs rollback -r $root/papers@1"
good "zfs unmount, mount" inside "zfs unmount $root/papers && zfs mount $root/papers && test -e /data/papers/file"
good "zfs userspace" inside "zfs userspace $root/papers"
good "zfs get all, list, zpool list" inside "zfs get -r all $root && zfs list -t all && zpool list && zpool get all tank"
inside "echo ann:x:1005:1005::/tmp:/bin/sh >>/etc/passwd"
refused "another user of the zone may not" "permission denied" zlogin -l ann zion "ZFS_MODULE_TIMEOUT=0 zfs set compression=off $root/papers"
good "zfs allow" inside "zfs allow -u 1000001005 compression,snapshot,create,mount $root/papers"
good "now that user may" zlogin -l ann zion "ZFS_MODULE_TIMEOUT=0; export ZFS_MODULE_TIMEOUT; zfs set compression=off $root/papers && zfs snapshot $root/papers@ann"
refused "but not another property" "permission denied" zlogin -l ann zion "ZFS_MODULE_TIMEOUT=0 zfs set atime=off $root/papers"
locked "nor what is locked" zlogin -l ann zion "ZFS_MODULE_TIMEOUT=0 zfs set sharenfs=on $root/papers"
good "zfs destroy -r" inside "for d in clone copy part raw filed secret vol deep er papers; do zfs destroy -r $root/\$d || exit; done"
gives "no limit has changed after all that" "$before" limits

unserve
zoneadm -z zion halt
zfs destroy -r tank/guard
