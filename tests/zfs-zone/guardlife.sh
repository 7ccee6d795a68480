# The life of the guard: ready, reboot, death of any of our processes.
# images: bookworm
# files: attack.py guard-common.lib
# machine: guard
. ./guard-common.lib
until_other() { for ((i = 0; i < 100; i++)); do p=$(guard_pid); [ -n "$p" ] && [ "$p" != "$1" ] && return; sleep 0.1; done; false; }

good "ready" zoneadm -z zion ready
good "a ready zone has its guard" test -n "$(guard_pid)"
good "and boots" zoneadm -z zion boot
guarded "from ready"
first=$(guard_pid)
inside "python3 -c 'import ctypes; ctypes.CDLL(None).reboot(0x1234567)'" >/dev/null 2>&1
for ((i = 0; i < 100; i++)); do [ "$(state)" = running ] && [ "$(guard_pid)" != "$first" ] && [ -n "$(guard_pid)" ] && break; sleep 0.1; done
good "reboots from inside" test "$(guard_pid)" != "$first"
gives "and runs" running state
guarded "rebooted from inside"
gives "with one guard" 1 eval 'guard_pid | wc -w'

# A process that lives through all of it, on its own in the zone.
inside "cat >/root/long.sh <<'X'
while read -r line; do python3 /root/attack.py \$line >/root/answer.new 2>&1; mv /root/answer.new /root/answer; done
X
mkfifo /root/ask; (exec setsid sh /root/long.sh <>/root/ask >/dev/null 2>&1 &)"
long() {
    rm -f /zones/zion/root/root/answer
    echo "$*" >/zones/zion/root/root/ask
    for ((i = 0; i < 300; i++)); do [ -e /zones/zion/root/root/answer ] && break; sleep 0.1; done
    cat /zones/zion/root/root/answer
}
gives "a process that stays: locked" EPERM long set ioctl native $root reservation=16777216
gives "and not locked" OK long set ioctl native $root compression=15

old=$(guard_pid); kill -9 $old
good "kill -9 of the guard: another one takes its place" until_other $old
gives "who was there is guarded by it" EPERM long set ioctl native $root reservation=16777216
gives "and served" OK long set ioctl native $root compression=15
guarded "new logins"
for n in 1 2 3 4 5; do old=$(guard_pid); kill -9 $old; until_other $old; done
gives "again and again" OK long set ioctl native $root compression=15

kill -9 $(supervisor); sleep 0.3
gives "kill -9 of zoneadmd: who was there is served" OK long set ioctl native $root compression=15
gives "and guarded" EPERM long set ioctl native $root reservation=16777216
guarded "a login brings zoneadmd back"
good "zoneadmd is there" kill -0 $(supervisor)
old=$(guard_pid); kill -9 $old
good "which replaces a guard that it has not started" until_other $old
gives "with all that it heard" OK long set ioctl native $root compression=15

kill -9 $(supervisor) $(guard_pid); sleep 0.3
gives "kill -9 of both: requests that are checked fail" ENOSYS long set ioctl native $root compression=15
gives "locked or not" ENOSYS long set ioctl native $root reservation=16777216
gives "all others go on" OK long number 5a12 $root
gives "and none is answered by the zone itself" EBUSY long answer-myself $root reservation=16777216
refused "the next login tells what remains" "fail in all processes that run now, until the zone is rebooted; new logins are guarded again" inside "false"
guarded "a login afterwards"
gives "who was there is still refused" ENOSYS long set ioctl native $root compression=15
good "and told only once" eval '! inside "false" 2>&1 | grep -q WARNING'
gives "reservation is what it was" 8388608 reservation
kill -9 $(supervisor) $(guard_pid); sleep 0.3
good "boot tells it, too" eval 'zoneadm -z zion boot 2>&1 | grep -q "until the zone is rebooted"'
good "reboot" zoneadm -z zion reboot
guarded "rebooted"
kill -9 $(supervisor) $(guard_pid); sleep 0.3
good "halt without both" zoneadm -z zion halt
gives "no guard is left" "" guard_pid
zfs destroy -r tank/guard
