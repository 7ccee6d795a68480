# Callers whose memory belongs to a program that does not answer.
# images: bookworm
# files: attack.py guard-common.lib
# machine: guard
. ./guard-common.lib

zoneadm -z zion boot
if inside "test -c /dev/fuse"; then
    # Memory that comes from a program of the attacker's: it never answers.
    inside "python3 /root/attack.py blocked list 20 $root >/root/blocked 2>&1"
    gives "lists in memory that never comes are not there" "20 EFAULT" eval "grep EFAULT /zones/zion/root/root/blocked | uniq -c | xargs"
    blocked() {
        inside "exec setsid python3 /root/attack.py blocked answer 20 $root >/root/blocked 2>&1 &"
        for ((i = 0; i < 300; i++)); do grep -q waiting /zones/zion/root/root/blocked 2>/dev/null && break; sleep 0.1; done
        sleep 3
    }
    blocked
    gives "20 callers whose place for the answer never comes wait" waiting cat /zones/zion/root/root/blocked
    guarded "beside them"
    good "and can be killed" eval 'inside "pkill -9 -f attack.py"; sleep 3; ! inside "pgrep -f attack.p[y]"'
    guarded "after them"
    blocked
    good "a zone halts with such callers" zoneadm -z zion halt
    sleep 1
    gives "and no process of ours is left" "" eval 'ps -eo args | grep "^[z]oneadmd" | cat'
else
    echo "      this machine has no FUSE: callers with memory that never comes are not tried"
    zoneadm -z zion halt
fi
zfs destroy -r tank/guard
