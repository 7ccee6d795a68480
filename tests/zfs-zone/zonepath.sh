# A zonepath below the mount point of a ZFS file system is a file system of its own.
zfs create -o mountpoint=/pool/zones tank/zones
made="A ZFS file system has been created for this zone."
gone="The ZFS file system for this zone has been destroyed."
zonecfg -z zp 'create; set zonepath=/pool/zones/zp' || exit 2
install() { zoneadm -z zp install "$@" 2>&1; }
uninstall() { zoneadm -z zp uninstall -F 2>&1; }
says() { local name=$1 text=$2; shift 2; good "$name" eval "out=\$($* 2>&1) || { echo \"\$out\"; false; } && case \$out in *'$text'*) ;; *) echo \"\$out\"; false ;; esac"; }
absent() { ! zfs list tank/zones/zp >/dev/null 2>&1 && ! [ -e /pool/zones/zp ] && [ "$(state zp)" = configured ]; }

good "the plan of install names it" eval "zoneadm -z zp plan install | grep -q 'make ZFS file system tank/zones/zp, mounted on /pool/zones/zp (mode 0700)'"
says "install makes it and says so" "$made" install
gives "mounted by inheritance" "tank/zones/zp inherited from tank/zones" eval "echo \$(findmnt -no SOURCE /pool/zones/zp) \$(zfs get -Ho source mountpoint tank/zones/zp)"
gives "sharenfs and sharesmb are off" "off local off local" eval "zfs get -Ho value,source sharenfs,sharesmb tank/zones/zp | xargs"
gives "mode 0700, root's" "700 0 0" stat -c '%a %u %g' /pool/zones/zp
good "zfs unmounts and mounts it like any other" eval "zfs unmount tank/zones/zp && zfs mount tank/zones/zp"
good "the zone boots from it" zoneadm -z zp boot
good "and works" zlogin zp 'touch /root/file && [ "$(stat -c %u /root/file)" = 0 ]'
good "halt" zoneadm -z zp halt
zfs snapshot tank/zones/zp@one; zfs snapshot tank/zones/zp@two
says "uninstall destroys it with its snapshots and says so" "$gone" uninstall
good "nothing is left of it" absent

install >/dev/null
zfs set snapdir=visible tank/zones/zp
says "a visible snapshot folder is no user data" "$gone" uninstall
install >/dev/null; touch /pool/zones/zp/mine
says "with user data the file system stays" "because it contains additional user data" uninstall
good "and the user data with it" test -e /pool/zones/zp/mine
zfs destroy tank/zones/zp
install >/dev/null
zfs snapshot tank/zones/zp@base; zfs clone -o mountpoint=none tank/zones/zp@base tank/zones/other
says "a clone of it is promoted" "tank/zones/other has been promoted" uninstall
good "and unharmed" zfs list tank/zones/other tank/zones/other@base
good "nothing else is left of it" absent
zfs destroy -r tank/zones/other
install >/dev/null
cd /pool/zones/zp || exit 2
says "one that is busy is emptied" "cannot be unmounted" uninstall
cd - >/dev/null || exit 2
zfs destroy tank/zones/zp
rmdir /pool/zones/zp 2>/dev/null

good "-x nodataset makes a directory" install -x nodataset
bad "and no file system" zfs list tank/zones/zp
good "which uninstall removes" uninstall
bad "another word after -x is refused" install -x other
mkdir -m 700 /pool/zones/zp
install >/dev/null
bad "a directory that is there is used as it is" zfs list tank/zones/zp
uninstall >/dev/null
rmdir /pool/zones/zp 2>/dev/null
zfs create -o mountpoint=/pool/zones/zp tank/zones/byhand
install >/dev/null
uninstall >/dev/null
good "a file system that the administrator made is emptied, not destroyed" eval "zfs list tank/zones/byhand && test ! -e /pool/zones/zp/root"
zfs destroy tank/zones/byhand
rmdir /pool/zones/zp 2>/dev/null
zfs create -o canmount=off tank/zones/zp
refused "an unmounted one of that name is not hidden below" "the ZFS file system tank/zones/zp exists and is not mounted" install
zfs destroy tank/zones/zp
install >/dev/null
zfs unmount tank/zones/zp
refused "an installed zone whose file system is not mounted is not removed" "use zfs mount tank/zones/zp" uninstall
zfs mount tank/zones/zp
uninstall >/dev/null
zfs set mountpoint=legacy tank/zones; mount -t zfs tank/zones /pool/zones
install >/dev/null
bad "below a legacy mount there is nothing to inherit: a directory" zfs list tank/zones/zp
uninstall >/dev/null
umount /pool/zones; zfs set mountpoint=/pool/zones tank/zones
# Names have at most fifty components.
deep=$(printf '/1%.0s' {1..49})
zfs create -p -o mountpoint=/deep "tank/deep" && zfs create -p "tank${deep/1/deep}"
zonecfg -z zp "set zonepath=/deep${deep#/1}/zp"
says "where none can be made the zonepath becomes a directory" "becomes a directory" install
gives "and the zone is installed" installed state zp
good "and uninstalled" eval 'uninstall && ! test -e "/deep${deep#/1}/zp"'
zonecfg -z zp 'set zonepath=/pool/zones/zp'
zfs destroy -r tank/deep

# kill -9 at every step of install and uninstall.
kills=0
for ((n = 1; n < 60; n++)); do
    ZONES_TEST_KILL_AT=$n zoneadm -z zp install >/dev/null 2>&1 && break
    kills=$((kills + 1))
    [ "$(state zp)" = configured ] || uninstall >/tmp/out || fail "install killed at $n: uninstall" "$(cat /tmp/out)"
    absent || { fail "install killed at $n leaves something" "$(zfs list -r tank/zones; ls -la /pool/zones; state zp)"; zfs destroy -r tank/zones/zp; rmdir /pool/zones/zp; }
done
good "install killed at each of $kills moments: uninstall clears everything" test "$kills" -gt 8
kills=0
for ((n = 1; n < 60; n++)); do
    [ "$(state zp)" = installed ] || install >/dev/null || fail "cannot install again"
    ZONES_TEST_KILL_AT=$n zoneadm -z zp uninstall -F >/dev/null 2>&1 && break
    kills=$((kills + 1))
    [ "$(state zp)" = configured ] || uninstall >/tmp/out || fail "uninstall killed at $n: uninstall" "$(cat /tmp/out)"
    absent || { fail "uninstall killed at $n leaves something" "$(zfs list -r tank/zones; ls -la /pool/zones; state zp)"; zfs destroy -r tank/zones/zp; rmdir /pool/zones/zp; }
done
good "uninstall killed at each of $kills moments: another clears everything" test "$kills" -gt 5
zonecfg -z zp delete -F
good "the file system above can be destroyed" zfs destroy tank/zones
