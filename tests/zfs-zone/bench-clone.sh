#!/bin/bash
# In the machine with real ZFS: what a clone of a zone costs, beside `cp -a` of its zonepath, and how that
# depends on its size. The last line is for the bench: the ratio of cp -a to clone for 1 GiB, and that of
# the clone of 1 GiB to the clone of 16 MiB.
#
#   tests/vm/vm run bookworm tests/zfs-zone/bench-clone.sh target/debug/{zonecfg,zoneadm}
cd "$(dirname "$0")" || exit 2
export PATH=$PWD:$PATH
truncate -s 900M /dev/shm/tank
zpool create -O mountpoint=/bench -O compression=lz4 -o cachefile=none tank /dev/shm/tank || exit 2
now() { date +%s%N; }
# ms COMMAND...: how long it takes, in milliseconds
ms() { local start; start=$(now); "$@" >/dev/null || exit 2; echo $((($(now) - start) / 1000000)); }
median() { sort -n | sed -n "$((($1 + 1) / 2))p"; }

# Files of 64 KiB that compress by about ten: the pool lies in memory, and cp has to read and write them all.
fill() {
    local i
    mkdir -p "$1/data"
    for ((i = 0; i < $2 * 16; i++)); do
        { head -c 6000 /dev/urandom; yes "line $i" | head -c 59536; } >"$1/data/$i"
    done
}
for size in 16 1024; do
    zonecfg -z "of$size" "create; set zonepath=/bench/of$size" && zoneadm -z "of$size" install >/dev/null || exit 2
    fill "/bench/of$size/root" $size
    zonecfg -z "to$size" "create; set zonepath=/bench/to$size"
done
sync; zpool sync tank
for size in 16 1024; do
    for _ in 1 2 3 4 5; do
        ms zoneadm -z "to$size" clone "of$size"
        zoneadm -z "to$size" uninstall -F >/dev/null
    done | median 5 >/tmp/clone.$size
done
copy=$(ms cp -a /bench/of1024 /bench/copy)
small=$(cat /tmp/clone.16) large=$(cat /tmp/clone.1024)
echo "clone of 16 MiB: $small ms; of 1 GiB: $large ms; cp -a of 1 GiB: $copy ms"
awk -v copy="$copy" -v small="$small" -v large="$large" \
    'BEGIN { printf "ratio cp/clone %.1f, clone 1 GiB/16 MiB %.2f\n", copy / large, large / small }'
zpool destroy tank
