# Delegating datasets to a zone.
dataset() { printf 'add dataset\nset name=%s\n%send\n' "$1" "${2:+set $2
}"; }
# delegates LINES: the dataset resources of zion are exactly these
delegates() {
    printf 'remove -F fs\nremove -F device\nremove -F dataset\nremove -F attr\n%s\nexit\n' "$1" |
        zonecfg -z zion >/dev/null || fail "zonecfg takes: $1"
}
zone_names() { inside "zfs list -Ho name" | xargs; }

zfs create tank/data
zfs create tank/data/matrix
zfs create tank/data/zion
zfs create tank/data/zion/home
[ -e /etc/zones.d/zion.toml ] || zone zion </dev/null
delegates "$(dataset tank/data/zion)"
good "verify" zoneadm -z zion verify
good "boot" zoneadm -z zion boot
gives "ancestors, the dataset and its children are visible" "tank tank/data tank/data/zion tank/data/zion/home" zone_names
gives "they are mounted inside" "yes yes" eval 'inside "zfs get -Ho value mounted tank/data/zion tank/data/zion/home" | xargs'
good "the zone creates a child" inside "zfs create tank/data/zion/new && touch /tank/data/zion/new/x"
good "halt" zoneadm -z zion halt
bad "nothing is kept" test -e /run/zones/zion
good "and everything can be destroyed at once" zfs destroy -r tank/data
