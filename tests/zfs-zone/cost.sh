# The cost of a boot for each file system of a dataset, counted: the requests to ZFS and the calls that
# mount, by our programs (ioctl, move_mount and fsopen to fspick of x86-64).
# machine: storage
trace=/sys/kernel/tracing
mount -t tracefs tracefs $trace 2>/dev/null
counts=()
zone many </dev/null
for n in 4 8 16; do
    zfs create -o mountpoint=/many tank/many$n
    for ((i = 0; i < n; i++)); do zfs create -u tank/many$n/c$i 2>/dev/null || zfs create tank/many$n/c$i; done
    printf 'remove -F dataset\n%s\nexit\n' "$(dataset tank/many$n)" | zonecfg -z many
    zoneadm -z many boot >/dev/null 2>&1; zoneadm -z many halt
    echo 'hist:keys=common_pid.execname,id' >$trace/events/raw_syscalls/sys_enter/trigger
    began=$(date +%s%N)
    zoneadm -z many boot
    took=$((($(date +%s%N) - began) / 1000000))
    count=$(sed -n 's/^{ common_pid: zoneadm.*, id: *\(16\|429\|43[0-3]\) } hitcount: *\([0-9]*\).*/\2/p' \
        $trace/events/raw_syscalls/sys_enter/hist | awk '{ n += $1 } END { print n + 0 }')
    echo '!hist:keys=common_pid.execname,id' >$trace/events/raw_syscalls/sys_enter/trigger
    gives "a dataset with $n children has them all mounted" $((n + 1)) eval "zlogin many 'findmnt -lnt zfs | wc -l'"
    echo "      $n children: $count calls of the kernel, $took ms"
    counts+=("$count")
    zoneadm -z many halt
done
# What sixteen take more than eight is twice what eight take more than four; a tenth may come from elsewhere.
good "each file system costs something" test "${counts[0]}" -gt 20
good "the cost of a boot grows in proportion to the file systems (${counts[*]})" \
    test $((10 * (counts[2] - counts[1]))) -le $((22 * (counts[1] - counts[0])))
gone many
zfs destroy -r tank/many4; zfs destroy -r tank/many8; zfs destroy -r tank/many16
