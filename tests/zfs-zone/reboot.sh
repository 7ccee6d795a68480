# The machine loses its power while a zone with datasets runs.
# The kernel forgets all attachments then, and /run is empty; what must hold is what is on the disk.
if [ ! -e /var/kept ]; then
    truncate -s 256M /var/kept
    zpool create -O mountpoint=none -o cachefile=none kept /var/kept
    zfs create -o mountpoint=/kept/global kept/global
    zfs create -o mountpoint=/kept/zion -o reservation=8M kept/zion
    zfs create -o mountpoint=legacy kept/shared
    zone zion </dev/null
    delegates "$(dataset kept/zion; fs kept/shared /export/shared)"
    good "the zone boots" zoneadm -z zion boot
    good "and works on its datasets" inside "zfs create kept/zion/child && echo before >/kept/zion/child/file && echo before >/export/shared/file"
    # A mount point that would take the host's own programs away.
    good "and gives one a mount point that the host would not like" inside "zfs create -o canmount=noauto -o mountpoint=/etc/cron.d kept/zion/trap && zfs set canmount=on kept/zion/trap"
    echo "$passed $failed" >/var/before
    zpool sync
    touch /var/zvm-again
    sync
    echo b >/proc/sysrq-trigger
    sleep 60
fi

read -r passed failed </var/before
gives "after the reset the zone is installed, not running" installed state
good "the pool is imported" zpool import -d /var -o cachefile=none kept
good "and everything mounted, as a host does when it starts" zfs mount -a
good "the host's own file system is" findmnt -S kept/global
for d in zion zion/child zion/trap; do bad "kept/$d is not" findmnt -S kept/$d; done
good "nor shared" eval '! zfs share -a 2>&1 | grep kept/zion'
gives "zoned is on, on the dataset itself" "on local" eval 'zfs get -Ho value,source zoned kept/zion | xargs'
gives "nobody sees it but the host" "no datasets available" eval 'unshare -Ur zfs list 2>&1'
good "the zone boots again" zoneadm -z zion boot
gives "its files are there" "before before" inside "cat /kept/zion/child/file /export/shared/file | xargs"
refused "its limits are locked" "permission denied" inside "zfs set reservation=16M kept/zion"
good "and all else is its own" inside "zfs set compression=lz4 kept/zion && zfs snapshot kept/zion/child@s"
good "it halts" zoneadm -z zion halt
good "nothing is kept of it" nothing_left
good "every dataset can be destroyed" zfs destroy -r kept/zion
zpool destroy kept
