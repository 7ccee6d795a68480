# Read-only roots (file-mac-profile) where the zonepath, a delegated dataset and an fs resource are ZFS.
# images: bookworm
# machine: host
zfs create -o mountpoint=/pools tank/zone/pools
zfs create tank/zone/data
zfs create tank/zone/data/child
zfs create -o mountpoint=legacy tank/zone/legacy
chmod 700 /pools
gone zion
zonecfg -z zion <<'X' >/dev/null 2>&1
create
set zonepath=/pools/zion
set file-mac-profile=strict
add dataset
set name=tank/zone/data
end
add fs
set type=zfs
set special=tank/zone/legacy
set dir=/export/legacy
end
X
good "a zone with a read-only root is installed on ZFS" zoneadm -z zion install
gives "its root is a file system of its own" "zfs tank/zone/pools/zion" eval 'findmnt -no FSTYPE,SOURCE -T /pools/zion/root | xargs'
good "the plan makes the mount points before" eval 'zoneadm -z zion plan boot | grep -q "file-mac-profile=strict: make / read-only, after /proc /sys /tank/zone/data$"'
good "it boots" zoneadm -z zion boot
gives "the datasets are mounted inside" "/ /export/legacy /tank/zone/data /tank/zone/data/child" eval 'inside "zfs mount" | awk "{ print \$2 }" | xargs'
for dir in /tank/zone/data /tank/zone/data/child /export/legacy /tmp; do
    good "$dir is writable" inside "echo x >$dir/file"
done
for dir in / /etc /var /root /export /tank; do
    refused "$dir is not" "Read-only file system" inside "echo x >$dir/file"
done
good "a child that the zone makes is mounted and writable" inside "zfs create tank/zone/data/more && echo x >/tank/zone/data/more/file"
for attack in "mount -o remount,rw /" "mount -o remount,bind,rw /" "umount -l /" "zfs set readonly=off tank/zone/pools/zion" \
    "zfs rollback tank/zone/pools/zion@x" "mount -t zfs tank/zone/pools/zion /tmp"; do
    bad "its root does not get by with: $attack" inside "$attack"
    refused "the root is read-only after that" "Read-only file system" inside "echo x >/etc/file"
done
# Mounted over what decides what a zone runs, a dataset would undo it at every boot.
inside "zfs create -u -o mountpoint=/etc tank/zone/data/etc; zfs create -u -o mountpoint=/root tank/zone/data/root; ln -s /usr /tank/zone/data/link; zfs create -u -o mountpoint=/tank/zone/data/link/lib tank/zone/data/lib"
for how in "" -w; do
    said=$(zoneadm -z zion reboot $how 2>&1)
    good "a dataset on /root is not mounted at boot $how" tells "cannot mount tank/zone/data/root on /root: nothing is mounted there under file-mac-profile=strict" echo "$said"
    good "nor one on /etc, whatever the profile" tells "cannot mount tank/zone/data/etc on /etc: it would cover /etc, a directory of the system" echo "$said"
    bad "nothing is mounted on /etc" inside "findmnt /etc"
    bad "nothing is mounted on /root" inside "findmnt /root"
    bad "nor behind a link of the zone's" inside "findmnt -S tank/zone/data/lib"
done
inside "zfs destroy tank/zone/data/etc; zfs destroy tank/zone/data/root; zfs destroy tank/zone/data/lib"
zoneadm -z zion reboot
good "it reboots with a writable root" zoneadm -z zion reboot -w
good "which is writable then" inside "echo x >/etc/maintained"
good "and reboots without" zoneadm -z zion reboot
refused "which is not" "Read-only file system" inside "echo x >/etc/file"
good "what was written is there" inside "test -s /etc/maintained"
zoneadm -z zion halt
printf 'create\nset zonepath=/pools/twin\nset file-mac-profile=strict\n' | zonecfg -z twin >/dev/null 2>&1
good "a clone of it" zoneadm -z twin clone zion
good "boots" zoneadm -z twin boot
refused "and is read-only as well" "Read-only file system" zlogin twin "echo x >/etc/file"
good "with what the first one had" zlogin twin "test -s /etc/maintained"
gone twin
gone zion
good "nothing is left of its datasets" unmounted tank/zone/data
good "and they can be destroyed" eval 'for d in pools data legacy; do zfs destroy -r tank/zone/$d || return; done'
