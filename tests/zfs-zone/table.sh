# The table of the guide: of each dataset whether the zone sees it, can write to it, and what it cannot change.
# files: attack.py guard-common.lib
# machine: bypass
. ./guard-common.lib

zfs create -o canmount=off tank/home
zfs create -o canmount=off tank/data
zfs create -o canmount=off tank/data/matrix
zfs create -o mountpoint=/data tank/data/zion
zfs create tank/data/zion/home
delegates "$(dataset tank/data/zion)"
good "the zone boots" zoneadm -z zion boot
serve

# changes PROPERTY VALUE NUMBER DATASET: by ZFS' own command, whose library refuses some by itself, or by hand
changes() {
    inside "zfs set $1=$2 $4" >/dev/null 2>&1 || attack set ioctl native "$4" "$1=$3" >/dev/null 2>&1 ||
        inside "zfs inherit -S $1 $4 && test \"\$(zfs get -Ho source $1 $4)\" != '$(zfs get -Ho source "$1" "$4")'" >/dev/null 2>&1
}
row() {
    local d=$1 immutable=
    inside "zfs list $d" >/dev/null 2>&1 || { echo "no - -"; return; }
    inside "zfs set user:prop=$RANDOM $d" >/dev/null 2>&1 || { echo "yes no -"; return; }
    for property in "sharenfs on on" "zoned off 0" "quota 64M 67108864" "reservation 1M 1048576" "atime off 0" \
        "compression gzip 9" "readonly off 0" "exec off 0" "setuid off 0" "recordsize 16K 16384"; do
        changes $property "$d" || immutable="$immutable${immutable:+,}${property%% *}"
    done
    echo "yes yes ${immutable:--}"
}
while read -r d wanted; do
    gives "$d: visible, writable, immutable" "$wanted" row "$d"
done <<X
tank yes no -
tank/home no - -
tank/data yes no -
tank/data/matrix no - -
tank/data/zion yes yes sharenfs,zoned,quota,reservation
tank/data/zion/home yes yes sharenfs,zoned
X
unserve
zoneadm -z zion halt

# Without the guard it does not hold: the reservation is the zone's to set, on every release.
export ZONES_TEST_UNGUARDED=1
zoneadm -z zion boot
serve
gives "without the guard the last row is another" "yes yes zoned" row tank/data/zion/home
gives "and that of the dataset itself" "yes yes zoned,quota" row tank/data/zion
unserve
zoneadm -z zion halt
unset ZONES_TEST_UNGUARDED
zfs destroy -r tank/data
zfs destroy tank/home
zfs destroy -r tank/guard
