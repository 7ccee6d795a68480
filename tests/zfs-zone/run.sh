#!/bin/bash
# In the machine with real ZFS: what the Solaris guide says about ZFS file systems and volumes in a
# zone, each sentence a case, with the real programs. One line for each case, a count at the end.
cd "$(dirname "$0")" || exit 2
export PATH=$PWD:$PATH
. ./lib.sh

truncate -s 512M /dev/shm/tank
zpool create -O canmount=off -o cachefile=none tank /dev/shm/tank || exit 2
zfs create -o canmount=off tank/zone

all="files volumes zonepath datasets attach reclaim guard-zfs guard-raw guard-allowed lifecycle clone-datasets lifecycle-kill storage places"
# Removes the zones and the datasets that a part has left.
afresh() {
    for zone in $(zoneadm list -c 2>/dev/null); do [ "$zone" = global ] || gone "$zone"; done
    for dataset in $(zfs list -Ho name -d 1 tank) $(zfs list -Ho name -d 1 tank/zone); do
        case $dataset in tank | tank/zone) ;; *) zfs destroy -r "$dataset" ;; esac
    done
}

earlier=
for part in ${*:-$all}; do
    echo "== $part"
    # What the first one finds may have been made before the machine was reset.
    [ -z "$earlier" ] || afresh
    earlier=yes
    passed_before=$passed
    # Without bash's own word on processes that a test has killed.
    . "./$part.sh" 2> >(grep -v ': line [0-9]*: *[0-9]* Killed ' >&2)
    [ "$passed" -gt "$passed_before" ] || fail "$part checks something"
done

echo "== afterwards"
good "no mount of the pool is left" eval '! grep -q "zfs tank/" /proc/self/mountinfo'
good "every dataset can be destroyed" zfs destroy -r tank/zone
good "the pool can be destroyed" zpool destroy tank
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
