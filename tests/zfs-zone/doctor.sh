# What zoneadm doctor says of ZFS.
# images: bookworm
# machine: host
# topic NAME: state and finding; advice NAME
doctor() { zoneadm doctor --json >/tmp/doctor; }
field() { python3 -c 'import json,sys
for c in json.load(open("/tmp/doctor"))["checks"]:
    if c["topic"] == sys.argv[1]: print(c["state"] if sys.argv[2] == "state" else c[sys.argv[2]])' "$1" "$2"; }
topic() { doctor; echo "$(field "$1" state) $(field "$1" found)"; }
module=$(cat /sys/module/zfs/version)
zfs create -o mountpoint=/pool/zones tank/zones
zonecfg -z zion 'create; set zonepath=/pool/zones/zion; add dataset; set name=tank/given; end' >/dev/null 2>&1 || exit 2

good "zones can run" zoneadm doctor
gives "the module's release" "ok module $module" topic ZFS
gives "delegation" "ok there" topic "ZFS delegation"
case $module in
2.3.2*) open="warning open in upstream's 2.3.2" ;;
*) open="ok mended in ${module%%-*}" ;;
esac
gives "the open hole, by the release" "$open" topic CVE-2026-79619
gives "the library" "ok libzfs_core.so.3" topic "ZFS library"
gives "the command, of the module's release" "ok" eval 'topic "zfs command" | cut -d" " -f1'
gives "a zonepath on ZFS maps ids" "ok zfs can be mounted with mapped ids" topic "ids on /pool/zones/zion"
gives "and has quotas" "ok zfs" topic "quotas on /pool/zones/zion"
gives "control groups" "ok version 2" topic "control groups"
gives "all controllers" "ok cpu, cpuset, memory, pids" topic controllers

mode=$(stat -c %a /dev/zfs)
chmod 666 /dev/zfs
gives "the node for everybody, where the hole is open" "${open%% *} mode 0666" topic /dev/zfs
chmod 600 /dev/zfs
gives "the node for root" "ok mode 0600" topic /dev/zfs
chmod "$mode" /dev/zfs

gives "no zoned dataset" "ok none" topic "zoned datasets"
zfs create -o zoned=on -o mountpoint=none tank/given
zfs create -o mountpoint=none tank/given/below
gives "one that a zone has" "ok 1, each of a configured zone" topic "zoned datasets"
zfs create -o zoned=on -o mountpoint=none tank/lost
gives "one that nobody has" "warning no zone has tank/lost" topic "zoned datasets"
gives "and the way to have it back" "give each to a zone again, or have it looked at: zoneadm reclaim tank/lost" field "zoned datasets" advice
zfs destroy tank/lost

gives "no units" "ok no dataset of a zone is in /etc/zfs/zfs-list.cache" topic "ZFS mount units"
mkdir -p /etc/zfs/zfs-list.cache
zfs list -H -t filesystem -o name,mountpoint,canmount -r tank >/etc/zfs/zfs-list.cache/tank
gives "a cache that would mount a zone's dataset on the host" "warning zfs-mount-generator knows tank/given, tank/given/below" topic "ZFS mount units"
rm -r /etc/zfs/zfs-list.cache

mkdir -p /etc/systemd/system/zone@.service.d
printf '[Service]\nPrivateUsers=yes\n' >/etc/systemd/system/zone@.service.d/hard.conf
gives "PrivateUsers" "warning set in /etc/systemd/system/zone@.service.d/hard.conf" topic PrivateUsers
rm -r /etc/systemd/system/zone@.service.d
gives "PrivateUsers no more" "ok not set for the units of zones" topic PrivateUsers

library=$(ldconfig -p | sed -n 's/.*libzfs_core\.so\.3 .*=> //p' | head -n 1)
mount --bind /dev/null "$library"
gives "without the library" "missing" eval 'topic "ZFS library" | cut -d" " -f1'
umount "$library"
gives "without /dev/zfs" "missing" eval 'mv /dev/zfs /dev/away; topic /dev/zfs | cut -d" " -f1; mv /dev/away /dev/zfs'
good "from a user namespace no pool can be seen, and the doctor says why" eval "unshare -Ur zoneadm doctor --json >/tmp/doctor; field host found | grep -q PrivateUsers"

zonecfg -z zion delete -F
good "what was made can be destroyed" eval 'zfs destroy -r tank/given && zfs destroy tank/zones'
