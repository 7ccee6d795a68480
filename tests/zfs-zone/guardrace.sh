# A thread that rewrites a request while it is checked.
# images: bookworm
# files: attack.py guard-common.lib
# machine: bypass
. ./guard-common.lib

zoneadm -z zion boot
inside "python3 /root/attack.py race ${ROUNDS:-1000} $root $root/none" >/tmp/race
sed 's/^/      /' /tmp/race
good "every round is made" eval 'grep -q "^${ROUNDS:-1000} rounds: " /tmp/race'
good "some were refused, and some found no dataset" eval 'grep -q "EPERM [0-9]* .*ENOENT" /tmp/race || grep -q "ENOENT.* EPERM" /tmp/race'
gives "and none has changed what is locked" 8388608 reservation
zoneadm -z zion halt

# The same without the guard's copy would change it: the kernel is asked about one thing only. On a busy machine the
# two threads may hardly run at the same time, so one try is not enough.
export ZONES_TEST_UNGUARDED=1
zoneadm -z zion boot
for _ in $(seq 40); do
    inside "python3 /root/attack.py race 200 $root $root/none" | sed 's/^/      without the guard: /'
    [ "$(reservation)" = 8388608 ] || break
done
bad "without the guard it is changed" test "$(reservation)" = 8388608
zoneadm -z zion halt
unset ZONES_TEST_UNGUARDED
zfs destroy -r tank/guard
