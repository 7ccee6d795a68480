# A dataset that a zone has had goes back to the host.
# machine: plain
gone zion
zone zion </dev/null
zfs create -o mountpoint=/back tank/back
zfs create tank/back/child
delegates "$(dataset tank/back)"
zoneadm -z zion boot
inside 'cp /bin/true /back/child/true; echo plain >/back/file; zfs snapshot tank/back/child@plain'
reclaims() { zoneadm reclaim "$@" 2>&1; }
refused "in use by a running zone" "tank/back is in use: zone 'zion' runs with it; halt it with zoneadm -z zion halt" zoneadm reclaim tank/back
refused "a child of it as well" "is zoned because tank/back is; reclaim tank/back" zoneadm reclaim tank/back/child
delegates ""
refused "also when the zone is not configured to have it any more" "zone 'zion' runs with it" zoneadm reclaim tank/back
delegates "$(dataset tank/back)"
zoneadm -z zion halt
refused "in use by a configured zone, with the command to type" "zonecfg -z zion 'remove dataset name=tank/back'" zoneadm reclaim tank/back
refused "-F does not help" "zone 'zion' is configured to have tank/back" zoneadm reclaim -F tank/back
good "the command does" eval "$(reclaims tank/back | tail -1)"
good "reclaim" zoneadm reclaim tank/back
gives "zoned is off, and nothing is set any more" "off off - -" eval 'echo $(zfs get -Ho value zoned tank/back tank/back/child) $(zfs get -Ho source -s local zoned tank/back tank/back/child || true) - -'
bad "nothing is mounted by itself" findmnt -S tank/back
good "the host can mount it" eval 'zfs mount tank/back && zfs mount tank/back/child && [ "$(cat /back/file)" = plain ]'
refused "a second time" "is not zoned" zoneadm reclaim tank/back
refused "one that is not there" "does not exist" zoneadm reclaim tank/nothing
zfs create -V 8M tank/backvol
refused "a volume" "is not a file system" zoneadm reclaim tank/backvol
refused "a snapshot" "is not a file system" zoneadm reclaim tank/back/child@plain
zfs destroy tank/backvol
bad "without a name" zoneadm reclaim
refused "from a zone's place" "usage" zoneadm reclaim -x tank/back

# What the zone has left.
again() { # the zone has it once more, does this, and it is taken away
    delegates "$(dataset tank/back)"
    zoneadm -z zion boot 2>/dev/null || fail "the zone gets it again"
    inside "$1" || fail "inside: $1"
    zoneadm -z zion halt; delegates ""
}
refuses() {
    refused "$1" "$2" zoneadm reclaim tank/back
    gives "and zoned stays on" "on" value zoned tank/back
}
again 'cp /bin/true /back/child/suid; chmod 4755 /back/child/suid'
refuses "a setuid file, by its name" "tank/back/child: /suid (setuid)"
refused "the way out is told" "put it right and try again, or use -F" zoneadm reclaim tank/back
again 'rm /back/child/suid; mkdir -p /back/a/b; cp /bin/true /back/a/b/sgid; chmod 2755 /back/a/b/sgid'
refuses "a setgid file" "tank/back: /a/b/sgid (setgid)"
again 'rm -r /back/a; cp /bin/true /back/cap'
mount -i -t zfs tank/back /mnt
# setxattr(2) of 64-bit machines: cap_net_raw+ep
perl -e '$f = "/mnt/cap"; $n = "security.capability"; $v = pack("H*", "0100000200200000000000000000000000000000");
    exit(syscall(188, $f, $n, $v, 20, 0) != 0)' || fail "setxattr"
umount /mnt
refuses "a file with capabilities" "tank/back: /cap (file capabilities)"
again 'rm /back/cap'
# A zone cannot make device nodes, but receive them.
mount -i -t zfs tank/back /mnt && mknod /mnt/node c 1 3 && umount /mnt
refuses "a device node" "tank/back: /node (device)"
zfs set devices=off tank/back
good "devices=off answers for it" zoneadm reclaim tank/back
zfs inherit devices tank/back
mount -i -t zfs tank/back /mnt && rm /mnt/node && umount /mnt
again 'i=0; while [ $i -lt 30 ]; do cp /bin/true /back/s$i; chmod 4755 /back/s$i; i=$((i+1)); done'
refuses "many files: some are named, all counted" "tank/back: and 10 more such files"
zfs set setuid=off tank/back
good "setuid=off answers for them" zoneadm reclaim tank/back
zfs inherit setuid tank/back
again 'rm /back/s*; cp /bin/true /back/child/suid; chmod 4755 /back/child/suid; zfs snapshot tank/back/child@bad; rm /back/child/suid'
refuses "a setuid file in a snapshot" "tank/back/child@bad: /suid (setuid)"
zfs destroy tank/back/child@bad
for path in / /etc /var/x /home; do
    again "zfs set canmount=noauto tank/back; zfs set mountpoint=$path tank/back"
    refuses "mountpoint $path" "tank/back: mountpoint $path is a folder of the system; use zfs set mountpoint=none tank/back"
done
# A link of the zone's on the way of the child, or of somebody else, once it is mounted.
again 'zfs set mountpoint=/back tank/back; zfs set canmount=on tank/back'
again 'zfs unmount tank/back/child; rmdir /back/child; ln -s /etc /back/child'
refuses "a link in the place of a child" "tank/back: mountpoint /back would have the symbolic link /back/child below it, on the way to tank/back/child"
zfs create -o mountpoint=/back/a/b/c -o canmount=noauto tank/beside
again 'rm /back/child; mkdir /back/a; ln -s /etc /back/a/b'
refuses "on the way of another dataset" "the symbolic link /back/a/b below it, on the way to tank/beside"
zfs destroy tank/beside
# Two of one zone: the link in the one, the mount point in the other.
zfs create -o mountpoint=/one tank/one; zfs create -o mountpoint=/two tank/two
delegates "$(dataset tank/one; dataset tank/two)"
zoneadm -z zion boot
inside 'ln -s /etc /one/x; zfs unmount tank/two; zfs set canmount=noauto tank/two; zfs set mountpoint=/one/X/systemd tank/two'
zoneadm -z zion halt; delegates ""
refused "of two datasets that with the link" "the symbolic link /one/x below it, on the way to tank/two" zoneadm reclaim tank/one
refused "and that with the mount point" "tank/two: mountpoint /one/X/systemd lies below that of tank/one, which is not mounted now" zoneadm reclaim tank/two
zfs destroy tank/one; zfs destroy tank/two
again 'ln -s /etc /back/harmless'
good "other links are no harm" zoneadm reclaim tank/back
again 'rm -r /back/a /back/harmless; zfs mount tank/back/child || zfs mount -a'
# Permissions that the zone gives count for the host's ids.
again "zfs allow -u 1000 mount,mountpoint tank/back; zfs allow -e destroy tank/back/child"
gives "permissions are taken away" "2" eval "reclaims tank/back | grep -c 'permissions that were given by zfs allow taken away: [ue]'"
gives "all of them" "" eval 'zfs allow tank/back; zfs allow tank/back/child'
zfs create -o mountpoint=/theirs tank/theirs
again 'zfs set mountpoint=/theirs tank/back'
refuses "the mountpoint of another dataset" "mountpoint /theirs is that of tank/theirs, too"
mkdir -p /full/x; touch /full/x/file; ln -sfn /etc /led
again 'zfs set mountpoint=/full tank/back'
refuses "a mountpoint that hides files" "mountpoint /full is a directory with files in it"
again 'zfs set mountpoint=/led/x tank/back'
refuses "one behind a symbolic link" "mountpoint /led/x leads through the symbolic link /led"
again 'zfs set mountpoint=/zones/zion tank/back'
refuses "one that meets a zonepath" "meets the zonepath /zones/zion"
again 'zfs set mountpoint=/back tank/back; zfs set canmount=on tank/back; zfs set mountpoint=/etc tank/back/child'
refuses "a child's mountpoint" "tank/back/child: mountpoint /etc is a folder of the system"
zfs set mountpoint=none tank/back/child
good "the host may set it to none" zoneadm reclaim tank/back
zfs inherit mountpoint tank/back/child
again 'zfs set org.openzfs.systemd:required-by=multi-user.target tank/back; zfs set user:mine=kept tank/back'
refused "what systemd would act on is cleared and told" "tank/back: org.openzfs.systemd:required-by cleared, it was multi-user.target" eval 'reclaims tank/back; false'
gives "other properties stay" "- kept" eval 'echo $(value org.openzfs.systemd:required-by tank/back) $(value user:mine tank/back)'
echo 'a long enough key' >/tmp/key
zfs create -o encryption=on -o keyformat=passphrase -o keylocation=file:///tmp/key tank/back/secret
again 'cp /bin/true /back/secret/suid; chmod 4755 /back/secret/suid'
zfs unload-key tank/back/secret
refuses "what cannot be looked into" "tank/back/secret: cannot be looked through: its key is not loaded"
refuses "a key from where the zone says" "its key would be read from file:///tmp/key"
zfs destroy tank/back/secret

# -F
again 'cp /bin/true /back/suid; chmod 4755 /back/suid; zfs set mountpoint=/etc tank/back/child'
good "-F reclaims all the same" zoneadm reclaim -F tank/back
gives "with what was found made harmless" "off noauto off" eval 'echo $(value setuid tank/back) $(value canmount tank/back/child) $(value zoned tank/back)'
zfs mount -a
bad "so that mount -a does not cover /etc" findmnt -S tank/back/child
good "and the program has no effect" eval "findmnt -no OPTIONS -S tank/back | grep -q nosuid"

# A zone that died with it.
delegates "$(dataset tank/back)"
zfs unmount tank/back
zoneadm -z zion boot
kill -9 $(sed 's/.*init=\([0-9]*\) .*supervisor=\([0-9]*\).*/\1 \2/' /run/zones/zion/running)
soon eval '[ "$(state)" = installed ]'
zoneadm -z zion mark -F configured; zonecfg -z zion delete -F
zfs destroy -R tank/back/child; zfs create tank/back/child
inode=$(stat -L -c %i /run/zones/zion/userns)
good "what a deleted zone has left is taken back" eval '[ -n "$inode" ] && zoneadm reclaim tank/back'
good "and nothing is pinned any more" nothing_left
rm -rf /full /led /zones/zion
zfs destroy -r tank/back; zfs destroy tank/theirs
