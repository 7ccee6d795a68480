# The guard: what is locked cannot be changed from inside, by any means.
dataset() { printf 'add dataset\nset name=%s\n%send\n' "$1" "${2:+set $2
}"; }
# delegates LINES: the dataset resources of zion are exactly these
delegates() {
    printf 'remove -F fs\nremove -F device\nremove -F dataset\nremove -F attr\n%s\nexit\n' "$1" |
        zonecfg -z zion >/dev/null || fail "zonecfg takes: $1"
}
zfs create tank/guard
zfs create -o mountpoint=/data -o reservation=8M -o quota=256M tank/guard/zion
zfs create tank/guard/sibling
[ -e /etc/zones.d/zion.toml ] || zone zion </dev/null
delegates "$(dataset tank/guard/zion)"
good "boot" zoneadm -z zion boot
ps -eo pid,args | grep guard
bad "set reservation" inside "zfs set reservation=16M tank/guard/zion"
inside "zfs set reservation=16M tank/guard/zion"
inside "zfs set compression=lz4 tank/guard/zion"
inside "zfs create tank/guard/zion/a"
inside "zfs set reservation=1M tank/guard/zion/a"
inside "zfs get -r all tank/guard/zion" | grep -e reserv -e compression
inside "echo 'zfs.sync.destroy(\"tank/guard/sibling\")' >/tmp/p; zfs program tank /tmp/p"
zfs list
inside "zfs destroy tank/guard/zion"
inside "zfs rename tank/guard/zion tank/guard/zion2"
inside "zfs destroy tank/guard/zion/a"
cat /var/lib/zones/zion/guard.log
good "halt" zoneadm -z zion halt
ps -eo pid,args | grep guard
zfs destroy -r tank/guard
