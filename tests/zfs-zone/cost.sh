# The cost of a boot and of verify, counted: the requests to ZFS, the calls that mount, and what is read of the
# host's table of mounts, by our programs (numbers of x86-64).
# machine: storage
trace=/sys/kernel/tracing
mount -t tracefs tracefs $trace 2>/dev/null

# counted CALLS COMMAND...: how many of these system calls zoneadm makes while the command runs
counted() {
    local calls=$1
    shift
    echo 'hist:keys=common_pid.execname,id' >$trace/events/raw_syscalls/sys_enter/trigger
    "$@" >/dev/null 2>&1
    sed -n "s/^{ common_pid: zoneadm.*, id: *\($calls\) } hitcount: *\([0-9]*\).*/\2/p" \
        $trace/events/raw_syscalls/sys_enter/hist | awk '{ n += $1 } END { print n + 0 }'
    echo '!hist:keys=common_pid.execname,id' >$trace/events/raw_syscalls/sys_enter/trigger
}
requests='16'
# ioctl, move_mount, and fsopen to fspick
mounts='16\|429\|43[0-3]'
reads='0'

counts=()
zone many </dev/null
for n in 4 8 16; do
    zfs create -o mountpoint=/many tank/many$n
    for ((i = 0; i < n; i++)); do zfs create -u tank/many$n/c$i 2>/dev/null || zfs create tank/many$n/c$i; done
    printf 'remove -F dataset\n%s\nexit\n' "$(dataset tank/many$n)" | zonecfg -z many
    zoneadm -z many boot >/dev/null 2>&1; zoneadm -z many halt
    count=$(counted "$mounts" zoneadm -z many boot)
    gives "a dataset with $n children has them all mounted" $((n + 1)) eval "zlogin many 'findmnt -lnt zfs | wc -l'"
    echo "      $n children: $count calls of the kernel"
    counts+=("$count")
    zoneadm -z many halt
done
# What sixteen take more than eight is twice what eight take more than four; a tenth may come from elsewhere.
good "each file system costs something" test "${counts[0]}" -gt 20
good "the cost of a boot grows in proportion to the file systems (${counts[*]})" \
    test $((10 * (counts[2] - counts[1]))) -le $((22 * (counts[1] - counts[0])))
gone many
zfs destroy -r tank/many4; zfs destroy -r tank/many8; zfs destroy -r tank/many16

# File systems that the spec names, of a zone on ZFS.
counts=()
zfs create -o mountpoint=/zones tank/few
zone few </dev/null
for n in 1 2 3 4 5; do
    zfs create -o mountpoint=legacy tank/few/fs$n
    printf 'add fs; set type=zfs; set special=tank/few/fs%s; set dir=/few/%s; end\nexit\n' $n $n | zonecfg -z few
    zoneadm -z few boot; zoneadm -z few halt
    count=$(counted $requests zoneadm -z few boot)
    counts+=("$count")
    zoneadm -z few halt
done
good "each further file system is asked about once, and its pool not again (${counts[*]})" \
    test $((counts[4] - counts[1])) = 3

# A usual zonepath, and mounts that have nothing to do with it.
for n in 1 2; do zoneadm -z few verify >/dev/null 2>&1; sleep 3; done
few=$(counted $reads zoneadm -z few verify)
mkdir /elsewhere
for ((i = 0; i < 200; i++)); do mkdir /elsewhere/$i; mount -t tmpfs -o size=4k none /elsewhere/$i; done
many=$(counted $reads zoneadm -z few verify)
for ((i = 0; i < 200; i++)); do umount /elsewhere/$i; done
rm -r /elsewhere
good "verify does not read the mounts of the host (reads: $few, $many)" test "$few" -gt 0 -a "$few" = "$many"
gone few
zfs destroy -r tank/few
