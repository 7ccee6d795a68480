# kill -9 at every step of clone, move and uninstall: the next command brings everything in order.
# files: lifecycle.lib
# images: bookworm
. ./lifecycle.lib
conf lc0 /lc/lc0; conf lc1 /lc/lc1

adm lc0 install >/dev/null
clean() { gone tank/lc/lc1 && ! test -e /lc/lc1 && [ "$(state lc1)" = configured ] && [ -z "$(snaps tank/lc/lc0)" ]; }
kills=0
for ((n = 1; n < 80; n++)); do
    killed $n -z lc1 clone lc0 && break
    kills=$((kills + 1))
    [ "$(state lc1)" = configured ] || adm lc1 uninstall -F >/tmp/out 2>&1 || fail "clone killed at $n: uninstall" "$(cat /tmp/out)"
    clean || { fail "clone killed at $n leaves something" "$(zfs list -t all -r tank/lc; ls -la /lc; state lc1; cat /tmp/out)"; zfs destroy -r tank/lc/lc1; zfs destroy -r tank/lc/lc0@%; rmdir /lc/lc1; }
done
good "clone killed at each of $kills moments: uninstall clears everything" test "$kills" -gt 12
adm lc1 uninstall -F >/dev/null
kills=0
for ((n = 1; n < 80; n++)); do
    killed 11 -z lc1 clone lc0
    killed $n -z lc1 uninstall -F && break
    kills=$((kills + 1))
    [ "$(state lc1)" = configured ] || adm lc1 uninstall -F >/tmp/out 2>&1 || fail "uninstall after clone killed at $n" "$(cat /tmp/out)"
    clean || { fail "uninstall of half a clone killed at $n leaves something" "$(zfs list -t all -r tank/lc; ls -la /lc; state lc1; cat /tmp/out)"; zfs destroy -r tank/lc/lc1; zfs destroy -r tank/lc/lc0@%; rmdir /lc/lc1; }
done
good "uninstall of half a clone killed at each of $kills moments: another clears everything" test "$kills" -gt 8
kills=0
for ((n = 1; n < 80; n++)); do
    [ "$(state lc0)" = installed ] || adm lc0 install >/dev/null
    adm lc1 clone lc0 >/dev/null 2>&1 || fail "cannot clone again ($n)"
    zfs snapshot tank/lc/lc1@SUNWzone1
    if killed $n -z lc0 uninstall -F; then done=1; else done=; kills=$((kills + 1)); fi
    [ "$(state lc0)" = configured ] || adm lc0 uninstall -F >/tmp/out 2>&1 || fail "uninstall of an origin killed at $n" "$(cat /tmp/out)"
    gone tank/lc/lc0 && test -e /lc/lc1/root/etc/hostname || fail "uninstall of an origin killed at $n" "$(zfs list -t all -r tank/lc; cat /tmp/out)"
    adm lc1 uninstall -F >/dev/null; gives "" "tank/lc" eval "zfs list -Ht all -ro name tank/lc" >/dev/null
    [ "$(zfs list -Ht all -ro name tank/lc)" = tank/lc ] || { fail "snapshots are left ($n)" "$(zfs list -t all -r tank/lc)"; zfs destroy -R tank/lc/lc0; zfs destroy -R tank/lc/lc1; }
    [ -z "$done" ] || break
done
good "uninstall of an origin killed at each of $kills moments: its clone lives on" test "$kills" -gt 6
# whole WHERE DATASET: the zone is there and nowhere else
whole() { [ "$(state lc0)" = installed ] && [ "$(findmnt -no SOURCE "$1")" = "$2" ] && test -e "$1/root/etc/hostname" && grep -q "zonepath = \"$1\"" /etc/zones.d/lc0.toml; }
adm lc0 install >/dev/null
kills=0 forward=0
for ((n = 1; n < 80; n++)); do
    killed $n -z lc0 move /lc/moved && break
    kills=$((kills + 1))
    adm lc0 verify >/tmp/out 2>&1 || fail "move killed at $n: verify" "$(cat /tmp/out)"
    if whole /lc/lc0 tank/lc/lc0 && gone tank/lc/moved && ! test -e /lc/moved; then continue; fi
    if whole /lc/moved tank/lc/moved && gone tank/lc/lc0 && ! test -e /lc/lc0; then
        forward=$((forward + 1)); adm lc0 move /lc/lc0 || fail "move back"
        continue
    fi
    fail "move killed at $n" "$(cat /tmp/out; zfs list -r tank/lc; ls /lc; cat /etc/zones.d/lc0.toml)"
done
good "move killed at each of $kills moments: here or there, and whole ($forward times there)" test "$kills" -ge 8 -a "$forward" -gt 0
adm lc0 uninstall -F >/dev/null

adm lc0 install >/dev/null 2>&1
zfs create -o canmount=off -o mountpoint=none tank/deleg
zfs create -o mountpoint=/export tank/deleg/lc0
zonecfg -z lc0 'add dataset; set name=tank/deleg/lc0; end'
zonecfg -z lc1 'add dataset; set name=tank/deleg/lc1; end'
adm lc0 boot && zlogin lc0 'ZFS_MODULE_TIMEOUT=0 zfs create tank/deleg/lc0/sub' && adm lc0 halt || fail "a zone with a dataset"
kills=0
for ((n = 1; n < 90; n++)); do
    killed $n -z lc1 clone --with-datasets lc0 && break
    kills=$((kills + 1))
    [ "$(state lc1)" = configured ] || adm lc1 uninstall -F >/tmp/out 2>&1 || fail "clone with datasets killed at $n: uninstall" "$(cat /tmp/out)"
    gone tank/lc/lc1 && gone tank/deleg/lc1 && [ "$(state lc1)" = configured ] && ! snaps tank | grep -q SUNWzone ||
        { fail "clone with datasets killed at $n leaves something" "$(zfs list -t all -r tank; state lc1; cat /tmp/out)"; zfs destroy -r tank/lc/lc1; zfs destroy -r tank/deleg/lc1; }
done
good "clone with datasets killed at each of $kills moments: uninstall clears everything" test "$kills" -gt 18
adm lc1 uninstall -F >/dev/null; zfs destroy -r tank/deleg/lc1
zonecfg -z lc0 'remove -F dataset'
adm lc0 uninstall -F >/dev/null
zfs destroy -r tank/deleg
for z in lc0 lc1 lc2 lc3 lc4 lcx; do zonecfg -z $z delete -F 2>/dev/null; done
good "the pool is free" zpool destroy other
good "and the folder" zfs destroy tank/lc
