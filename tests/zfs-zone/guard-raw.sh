# The guard, asked by hand: raw requests, other ABIs, threads, filters, nested namespaces, terminals.
# files: attack.py guard-common.lib
# machine: bypass
. ./guard-common.lib

zoneadm -z zion boot
serve
inside "zfs create $home && zfs create $root/other"
before=$(limits)
inside "zfs snapshot $home@s"

echo "-- by hand"
for how in ioctl high int80 x32; do
    for encoding in native xdr; do
        locked "SET_PROP by $how in $encoding form" attack set $how $encoding $root reservation=16777216
        locked "two at once" attack set $how $encoding $root compression=15 reservation=16777216
        locked "sharenfs of a child" attack set $how $encoding $home sharenfs=on
    done
    locked "INHERIT_PROP by $how" attack inherit $how $root reservation 0
    locked "INHERIT_PROP by $how, received" attack inherit $how $root reservation 1
done
for how in ioctl high int80; do
    good "what is not locked can be set by $how" attack set $how native $root compression=15
done
locked "as received" attack set-received $root compression=15
locked "in capital letters" attack set ioctl native $root RESERVATION=16777216
locked "CREATE" attack create $root/born sharenfs=on
locked "CLONE" attack clone $root/born $home@s sharenfs=on
refused "a clone of what is not the zone's" ENOENT attack clone $root/born tank/guard/sibling@s
refused "an ancestor" EPERM attack set ioctl native tank/guard compression=15
refused "a sibling" ENOENT attack set ioctl native tank/guard/sibling compression=15
refused "what is not there, beside" ENOENT attack set ioctl native tank/guard/none compression=15
refused "waiting for a sibling tells nothing" ENOENT attack wait tank/guard/sibling
refused "as for what is not there" ENOENT attack wait tank/guard/none
good "waiting for the zone's own" inside "zfs wait $home"
for number in 5a00 5a01 5a02 5a03 5a06 5a0a 5a0b 5a1d 5a20 5a24 5a26 5a2a 5a2c 5a3c 5a3f 5a47 5a48 5a51 5a53 5a55 5a56 5a57 5a60 5a81 5a82 5a85 5a86 5a87 5a88 5aff; do
    refused "request $number" EPERM attack number $number tank
done
refused "a channel program by int80" EPERM attack number 5a48 tank int80
good "addresses and lists that are none" attack wrong-memory $root
gives "other descriptors" "ENOTTY EBADF OK" attack wrong-descriptor $root reservation=16777216
locked "from another thread" attack thread $root reservation=16777216
good "which may set others" attack thread $root compression=15
good "callers that are killed" attack killed $root
gives "callers that are interrupted" "OK 100" attack signals $root/other
inside "zfs destroy -r $root/other; zfs create $root/other"

echo "-- filters, namespaces, terminals"
refused "a second listener" EBUSY attack listener
refused "an inner filter that asks" ENOSYS attack inner-ask $root reservation=16777216
locked "a listener that answers itself" attack answer-myself $root reservation=16777216
locked "an inner filter that traces" attack inner-trace $root reservation=16777216
locked "a nested user namespace" inside "unshare -Ur python3 /root/attack.py set ioctl native $root reservation=16777216"
locked "a nested one, as another user" inside "unshare -U python3 /root/attack.py set ioctl native $root compression=15"
locked "a program in a nested user namespace" inside "echo 'zfs.sync.destroy(\"tank/guard/sibling\", true)' >/tmp/p; unshare -Urmpf --mount-proc zfs program tank /tmp/p"
locked "zlogin -S" zlogin -S zion "ZFS_MODULE_TIMEOUT=0 zfs set reservation=16M $root"
refused "nothing that was refused left a process waiting" "not found" eval '[ -z "$(ps -eo stat,args | grep "[a]ttack.py" | grep -v " serve$")" ] && echo not found && false'
cat >/zones/zion/root/etc/rc.local <<X
#!/bin/sh
export ZFS_MODULE_TIMEOUT=0
python3 /root/attack.py set ioctl native $root reservation=16777216 >/root/rc
python3 /root/attack.py set ioctl native $root compression=9 >>/root/rc
X
chmod 755 /zones/zion/root/etc/rc.local
zfs inherit compression $root
unserve
zoneadm -z zion reboot
for ((i = 0; i < 300; i++)); do [ "$(wc -l </zones/zion/root/root/rc)" = 2 ] && break; sleep 0.1; done
gives "what init starts is refused the one and not the other" "EPERM OK" eval 'xargs </zones/zion/root/root/rc'
rm /zones/zion/root/etc/rc.local /zones/zion/root/root/rc
(sleep 1; echo "python3 /root/attack.py set ioctl native $root reservation=16777216 >/root/console"; sleep 3; echo '~.') | zlogin -C zion >/dev/null 2>&1
gives "a shell on the console" EPERM cat /zones/zion/root/root/console
gives "no limit has changed" "$before" limits

unserve
zoneadm -z zion halt
gives "the guard ends with the zone" "" guard_pid
zfs destroy -r tank/guard
