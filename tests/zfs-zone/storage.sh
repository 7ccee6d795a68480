# A zone whose storage cannot be seen is not forgotten: uninstall refuses, list says it, verify and boot say what to type.
# machine: storage
truncate -s 256M /dev/shm/away
zpool create -o cachefile=none -O mountpoint=/away away /dev/shm/away || exit 2
zfs create away/zones
zonecfg -z far 'create; set zonepath=/away/zones/far' || exit 2
zoneadm -z far install >/dev/null || exit 2
of_far() { zoneadm -z far list -p | cut -d: -f5; cat /var/lib/zones/far/idmap; }
zoneadm -z far verify >/dev/null 2>&1; zoneadm -z far boot >/dev/null 2>&1; zoneadm -z far halt
identity=$(of_far)
# missing NAME TEXT: nothing forgets the zone, and everything says this
missing() {
    refused "$1: uninstall -F refuses" "$2" zoneadm -z far uninstall -F
    gives "$1: it keeps its uuid and its ids" "$identity" of_far
    gives "$1: list says unavailable" unavailable state far
    refused "$1: verify says what to type" "$2" zoneadm -z far verify
    refused "$1: boot says what to type" "$2" zoneadm -z far boot
}

zfs unmount away/zones
missing "parent not mounted" "ZFS file systems away/zones and away/zones/far are not mounted; use zfs mount away/zones && zfs mount away/zones/far"
good "the list for programs as well" tells '"state":"unavailable"' zoneadm -z far list --json
refused "detach says it as well" "use zfs mount away/zones" zoneadm -z far detach
refused "move says it as well" "use zfs mount away/zones" zoneadm -z far move /zones/far
zonecfg -z twin 'create; set zonepath=/zones/twin'
refused "a zone that is cloned is said the same of" "use zfs mount away/zones" zoneadm -z twin clone far
zonecfg -z twin delete -F
zfs mount away/zones && zfs mount away/zones/far
gives "what was to be typed helps" installed state far

zpool export away
missing "pool exported" "no file system of an imported pool is the zone's; use zpool import"
zpool import -d /dev/shm -o cachefile=none away
gives "once it is imported it is installed" installed state far

zfs rename away/zones/far away/zones/near
missing "file system renamed" "away/zones/near is marked as the zone's and is mounted on /away/zones/near; use zfs set mountpoint=/away/zones/far away/zones/near"
zfs set mountpoint=/away/zones/far away/zones/near
gives "what was to be typed helps here, too" installed state far
zfs rename away/zones/near away/zones/far; zfs inherit mountpoint away/zones/far
zfs set canmount=off away/zones/far
missing "canmount=off" "away/zones/far is not mounted; use zfs set canmount=on away/zones/far && zfs mount away/zones/far"
zfs set canmount=on away/zones/far; zfs mount away/zones/far 2>/dev/null
zfs unmount away/zones/far
missing "the zone's own not mounted" "its ZFS file system away/zones/far is not mounted; use zfs mount away/zones/far"
zfs mount away/zones/far
gives "there again" installed state far

# A key.
echo 'a long enough key' | zfs create -o encryption=on -o keyformat=passphrase away/secret
zonecfg -z key 'create; set zonepath=/away/secret/key'
zoneadm -z key install >/dev/null
zfs unmount away/secret; zfs unload-key away/secret
refused "key not loaded: uninstall" "their key is not loaded; use zfs mount -l away/secret && zfs mount -l away/secret/key" zoneadm -z key uninstall -F
refused "key not loaded: boot" "use zfs mount -l away/secret" zoneadm -z key boot
gives "key not loaded: list" unavailable state key
echo 'a long enough key' | zfs mount -l away/secret && zfs mount -l away/secret/key
good "with the key it can be uninstalled" zoneadm -z key uninstall -F
zonecfg -z key delete -F

# A zonepath that is a directory of a file system, without a mark.
zonecfg -z plain 'create; set zonepath=/away/plain/z'
zfs create away/plain; zoneadm -z plain install -x nodataset >/dev/null; zfs unmount away/plain
refused "a directory of a file system that is not mounted" "its ZFS file system away/plain is not mounted; use zfs mount away/plain" zoneadm -z plain uninstall -F
gives "is unavailable, too" unavailable state plain
zfs mount away/plain; zoneadm -z plain uninstall -F >/dev/null; zonecfg -z plain delete -F

# One that is incomplete, and has something.
zfs rename away/zones/far away/zones/near; zoneadm -z far mark incomplete
refused "an incomplete zone is not forgotten while a file system is marked as its own" "away/zones/near is marked as the zone's" zoneadm -z far uninstall -F
zfs rename away/zones/near away/zones/far
zoneadm -z far mark -F installed
# Gone for good.
zpool destroy away
refused "a pool that is gone: the second word is named" "if its files are gone for good, use zoneadm -z far mark incomplete && zoneadm -z far uninstall -F" zoneadm -z far uninstall -F
good "the second word does it" eval "zoneadm -z far mark incomplete && zoneadm -z far uninstall -F"
gives "and the zone is configured" configured state far
zonecfg -z far delete -F
rm -rf /away /dev/shm/away
