#!/bin/bash
# A zone's whole life, from its first line of configuration to its removal, on this host and without a
# download. Everything lies below a folder of its own; the host's real zones are not touched.
#
#   demo/demo.sh [folder of the programs]
set -eu -o pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
programs=$(cd "${1:-$here/target/release}" && pwd)
for p in zonecfg zoneadm zlogin; do
    [ -x "$programs/$p" ] || { echo "demo: $programs/$p is missing: run 'make' first" >&2; exit 1; }
done
[ "$(id -u)" = 0 ] || { echo "demo: only root can boot a zone; try: sudo make demo" >&2; exit 1; }
PATH=$programs:$PATH

if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; else bold= dim= plain=; fi

# On a disk: before Linux 6.3, tmpfs cannot be mounted with mapped ids.
work=$(mktemp -d /var/tmp/zones-demo.XXXXXX)
export ZONES_ROOT=$work/root
mkdir -p "$ZONES_ROOT/etc/zones.d" "$work/shared" "$work/before" "$work/after"
chmod 0755 "$work"
chmod 1777 "$work/shared"

# Whatever happens, nothing stays behind.
clean() {
    status=$?
    trap - EXIT INT TERM
    if [ -e "$ZONES_ROOT/etc/zones.d/zion.toml" ]; then
        zoneadm -z zion halt >/dev/null 2>&1 || true
        zoneadm -z zion uninstall -F >/dev/null 2>&1 || true
    fi
    if grep -q " $work" /proc/self/mountinfo; then
        echo "demo: mounts below $work are left; the folder stays for a look" >&2
        status=1
    else
        rm -rf --one-file-system "$work"
    fi
    exit "$status"
}
trap clean EXIT
trap 'exit 130' INT TERM

say() { printf '\n%s%s%s\n' "$dim" "# $*" "$plain"; }
run() {
    local word line=
    for word in "$@"; do
        case $word in *[!A-Za-z0-9/._=,+:@%-]*) line+=" '$word'" ;; *) line+=" $word" ;; esac
    done
    printf '%s$%s%s\n' "$bold" "$line" "$plain"
    "$@"
}
# What this host has: mounts, network links, loop devices, and of the processes those that have to do
# with our folder: programs of zones, and whatever runs in namespaces of its own.
look() {
    cut -d' ' -f3- /proc/self/mountinfo | sort >"$1/mounts"
    local own process space name stat
    own=$(readlink /proc/self/ns/pid)
    for process in /proc/[0-9]*; do
        space=$(readlink "$process/ns/pid" 2>/dev/null) || continue
        { read -r name <"$process/comm" && read -r stat <"$process/stat"; } 2>/dev/null || continue
        case ${stat##*) } in Z*) continue ;; esac # ended, and not yet collected by its parent
        case $name in
            zone*) ;;
            *) [ "$space" != "$own" ] || continue ;;
        esac
        grep -qsF "${work##*/}" "$process/environ" "$process/mountinfo" || continue
        echo "${process#/proc/} $name"
    done | sort >"$1/processes"
    ls /sys/class/net | sort >"$1/links"
    { losetup -a 2>/dev/null || true; } | sort >"$1/loop devices"
}

exec 2>&1 # what the programs complain about belongs where it happens
look "$work/before"
begin=$(date +%s%N)

say "A zone is configured as on Solaris. The template gives it the host's software, read-only."
cat >"$work/zion.zcfg" <<EOT
create
set autoboot=false
add fs
set type=lofs
set dir=/export/shared
set special=$work/shared
end
add attr
set name=comment
set type=string
set value="the zone of the demo"
end
commit
EOT
printf '%s$ zonecfg -z zion <<EOT\n%sEOT%s\n' "$bold" "$(cat "$work/zion.zcfg")"$'\n' "$plain"
zonecfg -z zion <"$work/zion.zcfg"
run zonecfg -z zion info fs

say "Install makes its root; boot starts it."
run zoneadm -z zion install
run zoneadm -z zion boot
run zoneadm list -v

say "Inside it is a system of its own: root, its own name, its own processes only."
run zlogin zion 'id; hostname; ps -ef'

say "The shared directory can be written, the host's software cannot."
run zlogin zion 'cut -d" " -f5,6 /proc/self/mountinfo | grep -E "^(/|/usr|/export/shared) "'
run zlogin zion 'echo "written by $(whoami) of $(hostname)" > /export/shared/greeting; touch /usr/bin/intruder; true'
run cat "$work/shared/greeting"

say "Root of the zone is nobody in particular on the host."
init=$(sed -n 's/.*init=\([0-9]*\).*/\1/p' "$ZONES_ROOT/run/zones/zion/running")
run ps -o pid,uid,args -p "$init"
group=$(sed -n 's/.*cgroup=//p' "$ZONES_ROOT/run/zones/zion/running")

say "And away again."
run zoneadm -z zion halt
run zoneadm list -cv
run zoneadm -z zion uninstall -F
run zonecfg -z zion delete -F
run zoneadm list -cv

end=$(date +%s%N)
look "$work/after"
say "Is the host as it was before?"
same=yes
for what in mounts processes links "loop devices"; do
    if diff -u "$work/before/$what" "$work/after/$what"; then
        echo "$what: as before"
    else
        echo "$what: DIFFERENT" >&2
        same=no
    fi
done
if [ -n "$group" ] && [ -e "$group" ]; then
    echo "control group: $group is left" >&2
    same=no
else
    echo "control group: gone"
fi
left=$(find "$ZONES_ROOT/zones" "$ZONES_ROOT/run/zones" "$ZONES_ROOT/etc/zones.d" \
    -mindepth 1 ! -name '.*' 2>/dev/null || true)
if [ -n "$left" ]; then
    echo "files: left behind:" >&2
    echo "$left" >&2
    same=no
else
    echo "files: nothing left"
fi
[ "$same" = yes ] || exit 1
printf '\nA zone from nothing and back in %d ms.\n' $(((end - begin) / 1000000))
