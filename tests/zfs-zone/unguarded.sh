# What the guard is good for (what it costs: bench/zfs-bench).
# images: bookworm
# files: attack.py guard-common.lib
. ./guard-common.lib

echo "-- without the guard, in a build for tests"
export ZONES_TEST_UNGUARDED=1
zoneadm -z zion boot
good "the zone takes more space for itself" inside "zfs set reservation=64M $root"
gives "than it was given" 67108864 reservation
zfs set reservation=8M $root
good "shares what it likes" attack set ioctl native $root sharenfs=on
good "takes its own limits away" inside "umount /data; zfs destroy -r $root"
zfs create -o mountpoint=/data -o reservation=8M -o quota=256M -o zoned=on $root
zfs snapshot tank/guard/sibling@plain
zfs send tank/guard/sibling@plain >/zones/zion/root/root/plain
for which in old new; do
    attack receive $which $root tank/guard/$which@s /root/plain | sed "s/^/      the $which request beside it: /"
done
inside "echo 'zfs.sync.destroy(\"tank/guard/sibling@s\")' >/tmp/p; zfs program tank /tmp/p" >/tmp/out 2>&1
case $(cat /sys/module/zfs/version) in
2.3.2*) bad "and destroys an invisible sibling's snapshot" zfs list tank/guard/sibling@s ;;
*) good "but this ZFS refuses the channel program by itself" zfs list tank/guard/sibling@s ;;
esac
zoneadm -z zion halt
unset ZONES_TEST_UNGUARDED
zfs list -t all -r tank/guard
zfs destroy -r tank/guard
